//! Watched folders, by looking again and again: a share that others write to sends no events to rely on.
//!
//! A file is taken when its size and time have stood still for a while, nobody on this machine has it open for writing, no
//! room in it is reserved and unwritten, and it is whole: DICOM parses to its end, an ECG decodes to its end. What is not
//! whole is waited for some minutes, then it is judged as it is. It is in custody before it is moved to `done/` (or to
//! `rejected/` with a reason beside it), and looked at once more for half an hour: a writer that kept it open through the
//! move may still change it, and then its new content is taken too. A power cut in between means that the file is met again:
//! its bytes are known, nothing is doubled, and it is moved then.

mod again;
mod files;
mod health;
mod whole;
mod writers;

pub use health::FolderHealth;

use crate::config::Folder;
use crate::spool::{Origin, Received, Spool, SpoolError, blocking};
use again::{Lately, Moved};
use files::Look;
use relay_core::clock::{HOUR_MS, MINUTE_MS};
use relay_core::codes::{Code, Fault, Refusal};
use relay_core::durable::{Disk, RealDisk};
use relay_core::ids::ObjectHash;
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use writers::Writers;

/// Where taken files go.
const DONE: &str = "done";
/// Where refused files go.
const REJECTED: &str = "rejected";
/// Files looked at in one round, so that a share with a million files does not fill the memory.
const MAX_FILES: usize = 10_000;
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// What stands still and is not whole is waited for so long (milliseconds since its last change): a copy whose network
/// stalls goes on within that, and an ECG that only looks cut off is still read in time.
const UNFINISHED_MS: u64 = 2 * MINUTE_MS.unsigned_abs();
/// A file that stands still for so long is taken although the kernel was not heard to close it: it may have missed that.
const OPEN_TRUSTED_MS: u64 = HOUR_MS.unsigned_abs();
/// Longest pause before a file that failed is tried again, in milliseconds.
const REST_MAX_MS: u64 = 10 * MINUTE_MS.unsigned_abs();
/// The same for a file that is not whole: when its bytes come, it is not left waiting.
const UNFINISHED_REST_MS: u64 = 15 * 1000;
/// How often `done/` is looked through for copies that may go, in milliseconds of the watcher's own rounds.
const TIDY_MS: u64 = HOUR_MS.unsigned_abs();
/// Files of `done/` that are hashed in one look: 200 films of 30 MB take a minute of one slow disk.
const TIDY_FILES: usize = 200;
/// Names of `done/` in memory at a time: years of a busy clinic.
const MAX_DONE: usize = 100_000;

/// A file waiting to stand still, or to be tried again. Milliseconds by the watcher's own count of rounds.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    look: Look,
    /// It has stood still for so long.
    still_ms: u64,
    /// Not before so much more time.
    rest_ms: u64,
    /// The last pause; the next is twice as long.
    step_ms: u64,
    /// It is in custody, or refused, and cannot be moved away.
    stuck: bool,
    /// It is open, or not whole.
    unfinished: bool,
}

impl Waiting {
    const fn new(look: Look) -> Self {
        Self { look, still_ms: 0, rest_ms: 0, step_ms: 0, stuck: false, unfinished: false }
    }

    const fn older(mut self, ms: u64) -> Self {
        self.still_ms = self.still_ms.saturating_add(ms);
        self.rest_ms = self.rest_ms.saturating_sub(ms);
        self
    }

    fn rest(&mut self, first_ms: u64, most_ms: u64) {
        self.step_ms = (self.step_ms * 2).clamp(first_ms.min(most_ms), most_ms);
        self.rest_ms = self.step_ms;
    }
}

/// What reading a file gave.
enum Copied {
    Whole(Received),
    /// It has changed while it was read.
    Changed,
    /// It is not written to its end; why that is thought.
    Unfinished(String),
}

/// One watched folder.
#[derive(Debug)]
pub struct Watcher {
    folder: Folder,
    root: PathBuf,
    spool: Spool,
    waiting: HashMap<PathBuf, Waiting>,
    writers: Arc<Mutex<Writers>>,
    lately: Lately,
    /// It was there before.
    known: bool,
    /// What lay in `done/` and `rejected/` at the start is known.
    recalled: bool,
    health: FolderHealth,
    /// Since `done/` was looked through.
    untidy_ms: u64,
    /// Where the next look through `done/` goes on.
    tidied_to: Option<PathBuf>,
}

impl Watcher {
    /// A watcher for a folder; a relative path is under `home`. The first round makes the folder with `done` and `rejected`;
    /// a share that is not there keeps nothing else waiting.
    #[must_use]
    pub fn new(folder: Folder, home: &Path, spool: Spool) -> Self {
        let root = home.join(&folder.path);
        Self {
            health: FolderHealth::of(root.clone()),
            folder,
            root,
            spool,
            waiting: HashMap::new(),
            writers: Arc::new(Mutex::new(Writers::new())),
            lately: Lately::default(),
            known: false,
            recalled: false,
            untidy_ms: TIDY_MS,
            tidied_to: None,
        }
    }

    /// Where it looks.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it is, for page and `doctor`, also later.
    #[must_use]
    pub fn health(&self) -> FolderHealth {
        self.health.clone()
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = Duration::from_secs(self.folder.poll_s);
        let mut said = None;
        loop {
            let fault = self.round(self.folder.poll_s * 1000).await.err().map(|error| error.to_string());
            if fault != said {
                match &fault {
                    Some(error) => {
                        tracing::error!(folder = %self.root.display(), error, "a watched folder cannot be used; it is tried again");
                    }
                    None => {
                        tracing::info!(folder = %self.root.display(), "the watched folder is there again")
                    }
                }
                said = fault;
            }
            self.untidy_ms = self.untidy_ms.saturating_add(self.folder.poll_s.saturating_mul(1000));
            if self.untidy_ms >= TIDY_MS && said.is_none() {
                self.untidy_ms = 0;
                if let Err(error) = self.tidy().await {
                    tracing::warn!(folder = %self.root.display(), %error, "done/ cannot be tidied; it is tried again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look; `since_ms` have passed since the last. Gives how many files were moved away.
    ///
    /// # Errors
    /// Of the operating system, when the folder itself cannot be made or listed.
    pub async fn round(&mut self, since_ms: u64) -> io::Result<usize> {
        let looked = self.look(since_ms).await;
        self.health.fault(looked.as_ref().err().map(ToString::to_string));
        let ready = looked?;
        let mut moved = 0;
        for path in ready {
            moved += usize::from(self.take(&path).await);
        }
        self.look_again(since_ms).await?;
        let stuck = self.waiting.values().filter(|w| w.stuck).count();
        let unfinished =
            self.waiting.values().filter(|w| w.unfinished && w.still_ms >= UNFINISHED_MS / 2).count();
        self.health.counted(stuck, unfinished);
        Ok(moved)
    }

    /// Lists the folder; gives what may be taken now.
    async fn look(&mut self, since_ms: u64) -> io::Result<Vec<PathBuf>> {
        self.there().await?;
        let (root, writers) = (self.root.clone(), Arc::clone(&self.writers));
        let found =
            blocking(move || files::list(&root, &mut writers.lock().unwrap_or_else(PoisonError::into_inner)));
        let files::Found { files: found, skipped } = found.await.map_err(io::Error::other)??;
        if self.health.skipped(skipped.clone()) && skipped.dirs > 0 {
            let (folder, dirs, first) = (self.root.display(), skipped.dirs, &skipped.first);
            tracing::warn!(%folder, dirs, first, "sub-folders below the depth that is watched, or behind links, are not looked into");
        }
        if !self.recalled {
            let now = self.spool.now();
            self.lately.recall(&self.root.join(DONE), false, now);
            self.lately.recall(&self.root.join(REJECTED), true, now);
            self.recalled = true;
        }
        let mut waiting = HashMap::with_capacity(found.len());
        let mut ready = Vec::new();
        let stable_ms = self.folder.stable_s.saturating_mul(1000);
        for (path, look) in found {
            let before = self.waiting.get(&path).filter(|w| w.look == look);
            let mut now = before.map_or_else(|| Waiting::new(look), |w| w.older(since_ms));
            let open = now.still_ms < OPEN_TRUSTED_MS && self.is_open(&path);
            now.unfinished = open || (now.unfinished && now.rest_ms > 0);
            if before.is_some() && now.still_ms >= stable_ms && now.rest_ms == 0 && !open {
                ready.push(path.clone());
            }
            waiting.insert(path, now);
        }
        self.waiting = waiting;
        Ok(ready)
    }

    /// The folder is made once. One that was there and is missing later, or is empty down to its `done`, is a share that is
    /// not mounted: nothing is made in its place, and nobody is told that all is well.
    async fn there(&mut self) -> io::Result<()> {
        if !self.known {
            self.known = self.spool.folder_known(&self.root).await.map_err(io::Error::other)?;
        }
        let (root, known) = (self.root.clone(), self.known);
        blocking(move || {
            if known { files::still_there(&root) } else { Ok(()) }.and_then(|()| files::prepare(&root))
        })
        .await
        .map_err(io::Error::other)??;
        if !self.known {
            self.spool.remember_folder(&self.root).await.map_err(io::Error::other)?;
            self.known = true;
        }
        Ok(())
    }

    fn is_open(&self, path: &Path) -> bool {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).is_open(path)
    }

    fn origin(&self, name: Option<String>) -> Origin {
        let source = self.folder.path.file_name();
        Origin {
            source: source.map_or_else(|| "folder".to_owned(), |n| n.to_string_lossy().into_owned()),
            name,
            class: self.folder.class,
            kind: self.folder.kind,
            quiet: true,
            open: false,
            announced: None,
        }
    }

    async fn take(&mut self, path: &Path) -> bool {
        let Some(waiting) = self.waiting.get(path).copied() else { return false };
        let name = path.file_name().map(files::readable);
        let origin = self.origin(name.clone());
        let (hash, outcome) = match self.read(path, name.clone(), waiting.look, waiting.still_ms).await {
            Ok(Copied::Whole(received)) => (Some(received.hash), self.spool.admit(received, &origin).await),
            Ok(Copied::Changed) => {
                self.waiting.remove(path);
                return false;
            }
            Ok(Copied::Unfinished(reason)) => {
                tracing::info!(folder = %self.root.display(), reason, "a file is not whole yet and is waited for");
                self.rest(path, UNFINISHED_REST_MS, |w| w.unfinished = true);
                return false;
            }
            Err(refusal) => (None, Err(refusal)),
        };
        let refused = match outcome {
            Ok(_) => None,
            Err(refusal) if refusal.code.fault() == Fault::Sender => Some(refusal),
            // Our own disk: the file stays where it is and is tried again.
            Err(refusal) => {
                tracing::error!(folder = %self.root.display(), code = refusal.code.name(), "a file stays in its folder");
                self.rest(path, REST_MAX_MS, |_| {});
                return false;
            }
        };
        let into = if refused.is_some() { REJECTED } else { DONE };
        let reason = refused.map(|refusal| files::reason_text(&refusal));
        let (from, root) = (path.to_owned(), self.root.clone());
        match blocking(move || files::move_away(&from, &root, into, reason.as_deref())).await {
            Ok(Ok(target)) => {
                self.waiting.remove(path);
                self.lately.remember(Moved::new(target, name, waiting.look, hash, into == REJECTED));
                true
            }
            Ok(Err(error)) => {
                tracing::error!(folder = %self.root.display(), %error, "a file that was taken cannot be moved away; it is tried again");
                self.health.stuck_because(error.to_string());
                self.rest(path, REST_MAX_MS, |w| w.stuck = true);
                false
            }
            Err(_) => false,
        }
    }

    fn rest(&mut self, path: &Path, most_ms: u64, mark: impl FnOnce(&mut Waiting)) {
        let first_ms = self.folder.poll_s.saturating_mul(1000);
        if let Some(waiting) = self.waiting.get_mut(path) {
            waiting.rest(first_ms, most_ms);
            mark(waiting);
        }
    }

    /// Looks at what was moved away lately.
    async fn look_again(&mut self, since_ms: u64) -> io::Result<()> {
        let mut lately = std::mem::take(&mut self.lately);
        let (writers, stable_ms) = (Arc::clone(&self.writers), self.folder.stable_s.saturating_mul(1000));
        let looked = blocking(move || {
            let writers = writers.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = lately.changed(since_ms, stable_ms, |path| writers.is_open(path));
            (lately, changed)
        });
        let (lately, changed) = looked.await.map_err(io::Error::other)?;
        self.lately = lately;
        for moved in changed {
            if let Some(moved) = self.settle(moved).await {
                self.lately.remember(moved);
            }
        }
        Ok(())
    }

    /// Judges a moved file that has changed; gives it back to be looked at further.
    async fn settle(&mut self, mut moved: Moved) -> Option<Moved> {
        let path = moved.path.clone();
        let hash = blocking(move || files::hash_of(&path)).await.ok()??;
        let look = moved.seen();
        if again::known(&self.spool, &moved, &hash).await {
            moved.hold(look, hash);
            return Some(moved);
        }
        let origin = self.origin(moved.name.clone());
        let received = match self.read(&moved.path, moved.name.clone(), look, moved.still_ms()).await {
            Ok(Copied::Whole(received)) => received,
            // It goes on changing, or our own disk fails: it is looked at again.
            Ok(Copied::Changed | Copied::Unfinished(_)) | Err(_) => return Some(moved),
        };
        let (hash, sha256) = (received.hash, received.sha256);
        match self.spool.admit(received, &origin).await {
            Ok(admitted) => {
                tracing::warn!(folder = %self.root.display(), study = %admitted.study, object = %hash,
                    "a file was written on after it was moved away; its new content is taken too");
                let reason = format!("what was read before was not its end; study {}", admitted.study);
                let said = Refusal::new(Code::FileChanged, moved.place(), reason);
                if let Err(error) = self.spool.record_reject(&origin, sha256, &said).await {
                    tracing::error!(error = %crate::spool::chain(&error), "the list of files lacks an entry");
                }
                self.out_of_rejected(&mut moved).await;
            }
            Err(refusal) if refusal.code.fault() == Fault::Sender => {
                tracing::warn!(folder = %self.root.display(), code = refusal.code.name(),
                    "a file was written on after it was moved away, and is refused");
                if moved.rejected {
                    let (path, text) = (moved.path.clone(), files::reason_text(&refusal));
                    let told = blocking(move || files::write_reason(&path, &text)).await;
                    if !matches!(told, Ok(Ok(()))) {
                        tracing::warn!(folder = %self.root.display(), "the reason beside a refused file is the old one");
                    }
                }
            }
            Err(_) => return Some(moved),
        }
        moved.hold(look, hash);
        Some(moved)
    }

    /// A refused file whose new content is taken belongs to the taken ones.
    async fn out_of_rejected(&self, moved: &mut Moved) {
        if !moved.rejected {
            return;
        }
        let (from, root) = (moved.path.clone(), self.root.clone());
        let done = blocking(move || {
            let target = files::move_away(&from, &root, DONE, None)?;
            RealDisk.remove(&files::reason_path(&from))?;
            io::Result::Ok(target)
        });
        match done.await {
            Ok(Ok(target)) => (moved.path, moved.rejected) = (target, false),
            Ok(Err(error)) => {
                tracing::warn!(folder = %self.root.display(), %error, "a file that was taken stays in rejected/");
            }
            Err(_) => {}
        }
    }

    /// Copies the file into the spool and looks whether it is whole.
    async fn read(
        &self,
        path: &Path,
        name: Option<String>,
        look: Look,
        still_ms: u64,
    ) -> Result<Copied, Refusal> {
        let (path, spool, patient) = (path.to_owned(), self.spool.clone(), still_ms < UNFINISHED_MS);
        let copied = blocking(move || {
            let file = |e: io::Error| {
                // Not the path: names of patients stand in it.
                Refusal::new(Code::StorageFailed, "file", e.to_string())
            };
            let mut source = std::fs::File::open(&path).map_err(file)?;
            if patient && files::has_hole(&mut source, look.size).map_err(file)? {
                return Ok(Copied::Unfinished("a part of it is reserved and not written".to_owned()));
            }
            let mut receiving = spool.receive(Some(look.size))?;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = source.read(&mut buffer).map_err(file)?;
                if read == 0 {
                    break;
                }
                receiving.write(&buffer[..read])?;
            }
            let after = source.metadata().and_then(|m| Look::of(&m)).map_err(file)?;
            if after != look || receiving.length() != after.size {
                return Ok(Copied::Changed);
            }
            let received = receiving.finish();
            let cut = if patient { whole::cut_short(received.path(), name.as_deref()) } else { None };
            Ok(cut.map_or_else(|| Copied::Whole(received), Copied::Unfinished))
        });
        copied.await.map_err(|e| SpoolError::refusal(&e))?
    }

    /// Removes the copies in `done/` whose bytes the county has held for the configured time. What a person put there,
    /// changed, or what waits for its receipt stays. Gives how many went.
    ///
    /// # Errors
    /// Of the operating system, when `done/` cannot be listed.
    pub async fn tidy(&mut self) -> io::Result<usize> {
        if self.folder.keep_done_days == 0 {
            return Ok(0);
        }
        let (done, after) = (self.root.join(DONE), self.tidied_to.take());
        let looked = blocking(move || hash_some(&done, after.as_deref())).await.map_err(io::Error::other)?;
        let (hashed, next) = looked?;
        self.tidied_to = next;
        let mut gone = 0;
        for (path, hash) in hashed {
            let delivered = self.spool.delivered_for(&hash, self.folder.keep_done_days).await;
            if delivered.map_err(io::Error::other)? {
                blocking(move || RealDisk.remove(&path)).await.map_err(io::Error::other)??;
                gone += 1;
            }
        }
        if gone > 0 {
            tracing::info!(folder = %self.root.display(), gone, "copies in done/ went by policy; the county holds them");
        }
        Ok(gone)
    }
}

/// Files with what their bytes are, and after which name the next look goes on.
type Hashed = (Vec<(PathBuf, ObjectHash)>, Option<PathBuf>);

/// The next files of a folder in the order of their names.
fn hash_some(dir: &Path, after: Option<&Path>) -> io::Result<Hashed> {
    let mut paths: Vec<PathBuf> = files::plain_files(dir)?
        .filter(|path| after.is_none_or(|after| path.as_path() > after))
        .take(MAX_DONE)
        .collect();
    paths.sort();
    let more = paths.len() > TIDY_FILES;
    paths.truncate(TIDY_FILES);
    let next = if more { paths.last().cloned() } else { None };
    let hashed =
        paths.into_iter().filter_map(|path| files::hash_of(&path).map(|hash| (path, hash))).collect();
    Ok((hashed, next))
}

#[cfg(test)]
mod tests;
