//! Watched folders, by looking again and again: no events come from a share that others write to.
//!
//! A file is taken when its size and time have stood still for a while and, if it is DICOM, it parses to its end. It is
//! in custody before it is moved to `done/` (or to `rejected/` with a reason beside it). A power cut in between means
//! that the file is met again: its bytes are known, nothing is doubled, and it is moved then.

use crate::config::Folder;
use crate::spool::{Origin, Spool, blocking};
use relay_core::codes::{Fault, Refusal};
use relay_core::durable::{Disk, RealDisk, write_atomic};
use relay_core::ids::ObjectHash;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Where taken files go.
const DONE: &str = "done";
/// Where refused files go.
const REJECTED: &str = "rejected";
/// Folders inside folders that are looked into: patient / date / series is three.
const MAX_DEPTH: usize = 8;
/// Files looked at in one round, so that a share with a million files does not fill the memory.
const MAX_FILES: usize = 10_000;
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// How often `done/` is looked through for copies that may go, in milliseconds of the watcher's own rounds.
const TIDY_MS: u64 = 60 * 60 * 1000;
/// Files of `done/` that are hashed in one look: 200 films of 30 MB take a minute of one slow disk.
const TIDY_FILES: usize = 200;
/// Names of `done/` in memory at a time: years of a busy clinic.
const MAX_DONE: usize = 100_000;

/// How a file looked when it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    size: u64,
    modified_ns: u128,
}

/// A file waiting to stand still.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    look: Look,
    /// Milliseconds that it has stood still, by the watcher's own count of rounds.
    still_ms: u64,
}

/// One watched folder.
#[derive(Debug)]
pub struct Watcher {
    folder: Folder,
    root: PathBuf,
    spool: Spool,
    waiting: HashMap<PathBuf, Waiting>,
    /// Since `done/` was looked through.
    untidy_ms: u64,
    /// Where the next look through `done/` goes on.
    tidied_to: Option<PathBuf>,
}

impl Watcher {
    /// A watcher for a folder; a relative path is under `home`. Makes the folder with `done` and `rejected`.
    ///
    /// # Errors
    /// Of the operating system, naming the path.
    pub fn new(folder: Folder, home: &Path, spool: Spool) -> io::Result<Self> {
        let root = home.join(&folder.path);
        for dir in [root.join(DONE), root.join(REJECTED)] {
            RealDisk
                .create_dir_all(&dir)
                .map_err(|e| io::Error::new(e.kind(), format!("folder.path {}: {e}", dir.display())))?;
        }
        Ok(Self { folder, root, spool, waiting: HashMap::new(), untidy_ms: TIDY_MS, tidied_to: None })
    }

    /// Where it looks.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = Duration::from_secs(self.folder.poll_s);
        loop {
            if let Err(error) = self.round(self.folder.poll_s * 1000).await {
                tracing::warn!(folder = %self.root.display(), %error, "a watched folder cannot be read");
            }
            self.untidy_ms = self.untidy_ms.saturating_add(self.folder.poll_s.saturating_mul(1000));
            if self.untidy_ms >= TIDY_MS {
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
    /// Of the operating system, when the folder itself cannot be listed.
    pub async fn round(&mut self, since_ms: u64) -> io::Result<usize> {
        let root = self.root.clone();
        let found = blocking(move || list(&root)).await.map_err(io::Error::other)??;
        let mut waiting = HashMap::with_capacity(found.len());
        let mut ready = Vec::new();
        for (path, look) in found {
            let before = self.waiting.get(&path).filter(|w| w.look == look);
            let still_ms = before.map_or(0, |w| w.still_ms.saturating_add(since_ms));
            if before.is_some() && still_ms >= self.folder.stable_s * 1000 {
                ready.push(path.clone());
            }
            waiting.insert(path, Waiting { look, still_ms });
        }
        self.waiting = waiting;
        let mut moved = 0;
        for path in ready {
            moved += usize::from(self.take(&path).await);
        }
        Ok(moved)
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

    async fn take(&mut self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let origin = Origin {
            source: self
                .folder
                .path
                .file_name()
                .map_or_else(|| "folder".to_owned(), |n| n.to_string_lossy().into_owned()),
            name: name.clone(),
            class: self.folder.class,
            kind: self.folder.kind,
            quiet: true,
            open: false,
        };
        let look = self.waiting.get(path).map(|w| w.look);
        let outcome = match self.read(path, look).await {
            Ok(Some(received)) => self.spool.admit(received, &origin).await,
            // It has changed while it was read: it is not complete.
            Ok(None) => {
                self.waiting.remove(path);
                return false;
            }
            Err(refusal) => Err(refusal),
        };
        let target = match &outcome {
            Ok(_) => self.root.join(DONE),
            Err(refusal) if refusal.code.fault() == Fault::Sender => self.root.join(REJECTED),
            // Our own disk: the file stays where it is and is tried again.
            Err(refusal) => {
                tracing::error!(folder = %self.root.display(), code = refusal.code.name(), "a file stays in its folder");
                return false;
            }
        };
        let (from, reason) = (path.to_owned(), outcome.err().map(|r| reason_text(&r)));
        let moved = blocking(move || move_away(&from, &target, reason.as_deref())).await;
        self.waiting.remove(path);
        match moved {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::error!(folder = %self.root.display(), %error, "a file that was taken cannot be moved away");
                false
            }
            Err(_) => false,
        }
    }

    /// Copies the file into the spool; `None` when it changed meanwhile.
    async fn read(&self, path: &Path, look: Option<Look>) -> Result<Option<crate::spool::Received>, Refusal> {
        let (path, spool) = (path.to_owned(), self.spool.clone());
        let copied = blocking(move || {
            let file = |e: io::Error| {
                // Not the path: names of patients stand in it.
                Refusal::new(relay_core::codes::Code::StorageFailed, "file", e.to_string())
            };
            let mut source = std::fs::File::open(&path).map_err(file)?;
            let mut receiving = spool.receive(look.map(|l| l.size))?;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = source.read(&mut buffer).map_err(file)?;
                if read == 0 {
                    break;
                }
                receiving.write(&buffer[..read])?;
            }
            let after = source.metadata().and_then(|m| look_of(&m)).map_err(file)?;
            let same = Some(after) == look && receiving.length() == after.size;
            Ok(same.then(|| receiving.finish()))
        });
        copied.await.map_err(|e| e.refusal())?
    }
}

fn look_of(metadata: &std::fs::Metadata) -> io::Result<Look> {
    let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
    Ok(Look { size: metadata.len(), modified_ns: modified.map_or(0, |d| d.as_nanos()) })
}

/// Files below `root`, without `done`, `rejected`, hidden and half-written names.
fn list(root: &Path) -> io::Result<Vec<(PathBuf, Look)>> {
    let mut found = Vec::new();
    let mut dirs = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            // A sub-folder that vanished or is closed to us does not stop the others.
            Err(error) => {
                tracing::debug!(folder = %root.display(), depth, %error, "a sub-folder was skipped");
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let unfinished = [".tmp", ".part", ".partial", ".crdownload"]
                .iter()
                .any(|end| text.to_ascii_lowercase().ends_with(end));
            if text.starts_with(['.', '~'])
                || unfinished
                || (depth == 0 && (text == DONE || text == REJECTED))
            {
                continue;
            }
            // Links are not followed: a share must not lead us out of itself.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < MAX_DEPTH {
                dirs.push((entry.path(), depth + 1));
            } else if kind.is_file()
                && let Ok(look) = entry.metadata().and_then(|m| look_of(&m))
            {
                found.push((entry.path(), look));
                if found.len() >= MAX_FILES {
                    return Ok(found);
                }
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Files with what their bytes are, and after which name the next look goes on.
type Hashed = (Vec<(PathBuf, ObjectHash)>, Option<PathBuf>);

/// The next files of a folder in the order of their names.
fn hash_some(dir: &Path, after: Option<&Path>) -> io::Result<Hashed> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| after.is_none_or(|after| path.as_path() > after))
        .take(MAX_DONE)
        .collect();
    paths.sort();
    let more = paths.len() > TIDY_FILES;
    paths.truncate(TIDY_FILES);
    let next = if more { paths.last().cloned() } else { None };
    let mut hashed = Vec::with_capacity(paths.len());
    for path in paths {
        let mut hasher = blake3::Hasher::new();
        // A file that cannot be read is somebody else's; it stays.
        if let Ok(mut file) = std::fs::File::open(&path)
            && io::copy(&mut file, &mut hasher).is_ok()
        {
            hashed.push((path, ObjectHash(*hasher.finalize().as_bytes())));
        }
    }
    Ok((hashed, next))
}

/// What stands in `.reason.txt`.
fn reason_text(refusal: &Refusal) -> String {
    let (code, field) = (refusal.code, if refusal.field.is_empty() { "-" } else { refusal.field.as_str() });
    format!(
        "此文件未被接收：{}\n代码：{}\n字段：{field}\n原因：{}\n处理：请在设备上重新导出 DICOM 或心电原始文件，再放入监视目录；仍被拒收时请联系管理员并提供本说明。\n\n\
         This file was not taken: {}\ncode: {}\nfield: {field}\nreason: {}\n\
         what to do: export the original DICOM or ECG file again and put it into the watched folder; if it is refused again, show this text to the administrator.\n",
        code.zh(),
        code.name(),
        refusal.reason,
        code.en(),
        code.name(),
        refusal.reason
    )
}

/// Moves a file into `dir` under a free name, with its reason; gives where it is.
fn move_away(from: &Path, dir: &Path, reason: Option<&str>) -> io::Result<PathBuf> {
    let name =
        from.file_name().ok_or_else(|| io::Error::other("no file name"))?.to_string_lossy().into_owned();
    let mut target = dir.join(&name);
    let mut number = 1_u32;
    while target.exists() {
        target = dir.join(format!("{number}-{name}"));
        number += 1;
    }
    if let Some(reason) = reason {
        let mut text = target.clone().into_os_string();
        text.push(".reason.txt");
        write_atomic(&RealDisk, Path::new(&text), reason.as_bytes(), 0o644)?;
    }
    RealDisk.rename(from, &target)?;
    RealDisk.sync_dir(dir)?;
    if let Some(parent) = from.parent() {
        RealDisk.sync_dir(parent)?;
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QuietSeconds;
    use crate::courier::ports::Outbox as _;
    use crate::spool::{SpoolLimits, SpoolOptions};
    use crate::testing;
    use relay_core::clock::{ManualClock, UtcMs};
    use relay_core::durable::FaultyDisk;
    use relay_core::ids::ClinicId;
    use relay_core::study::{Class, Completeness, Kind};
    use std::sync::Arc;

    async fn spool(dir: &Path, disk: &FaultyDisk) -> Spool {
        let options = SpoolOptions {
            dir: dir.join("spool"),
            clinic: ClinicId::parse("shilipu").unwrap(),
            limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
            quiet: QuietSeconds::default(),
        };
        let clock = Arc::new(ManualClock::at(UtcMs(1_793_666_000_000)));
        Spool::open(options, Arc::new(disk.clone()), clock).await.unwrap()
    }

    fn watcher(dir: &Path, spool: &Spool) -> Watcher {
        let folder = Folder {
            path: "ecg".into(),
            class: Class::Green,
            kind: Some(Kind::Ecg),
            stable_s: 3,
            poll_s: 1,
            keep_done_days: 30,
        };
        Watcher::new(folder, dir, spool.clone()).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_is_taken_only_when_it_has_stood_still_and_goes_to_done() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let spool = spool(dir.path(), &disk).await;
        let mut watcher = watcher(dir.path(), &spool);
        let sub = dir.path().join("ecg/2026/王");
        RealDisk.create_dir_all(&sub).unwrap();
        let file = testing::write(&sub, "e.xml", &testing::AECG[..50]);
        assert_eq!(watcher.round(1000).await.unwrap(), 0);
        assert_eq!(watcher.round(2000).await.unwrap(), 0);
        testing::write(&sub, "e.xml", testing::AECG);
        assert_eq!(watcher.round(2000).await.unwrap(), 0, "it has grown: the count begins again");
        assert_eq!(watcher.round(2000).await.unwrap(), 0);
        assert_eq!(watcher.round(1000).await.unwrap(), 1);
        assert!(!file.exists());
        assert_eq!(names(&dir.path().join("ecg/done")), ["e.xml"]);
        let manifest = &spool.pending_studies(1).await.unwrap()[0];
        assert_eq!((manifest.class, manifest.completeness), (Class::Green, Completeness::Complete));
        // The same bytes under another name: moved, not doubled.
        testing::write(&sub, "copy.xml", testing::AECG);
        watcher.round(0).await.unwrap();
        assert_eq!(watcher.round(3000).await.unwrap(), 1);
        assert_eq!(spool.pending_studies(10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_copy_in_done_goes_when_the_county_has_held_its_bytes_long_enough_not_before() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let spool = spool(dir.path(), &disk).await;
        let mut watcher = watcher(dir.path(), &spool);
        testing::write(watcher.root(), "e.xml", testing::AECG);
        watcher.round(0).await.unwrap();
        watcher.round(3000).await.unwrap();
        let done = dir.path().join("ecg/done");
        testing::write(&done, "letter to the wife.txt", b"somebody keeps this here");
        assert_eq!(watcher.tidy().await.unwrap(), 0, "no receipt yet");
        let manifest = spool.pending_studies(1).await.unwrap().remove(0);
        let month_ago = spool.now().plus_ms(-31 * relay_core::clock::DAY_MS);
        spool
            .receipted(&manifest.study, manifest.generation, &[manifest.objects[0].hash], month_ago)
            .await
            .unwrap();
        watcher.folder.keep_done_days = 0;
        assert_eq!(watcher.tidy().await.unwrap(), 0, "0 keeps everything");
        watcher.folder.keep_done_days = 32;
        assert_eq!(watcher.tidy().await.unwrap(), 0, "a day is left");
        watcher.folder.keep_done_days = 30;
        assert_eq!(watcher.tidy().await.unwrap(), 1);
        assert_eq!(names(&done), ["letter to the wife.txt"]);
        assert!(spool.blobs().contains(&manifest.objects[0].hash), "the spool keeps its own copy");
    }

    #[tokio::test]
    async fn a_refused_file_goes_to_rejected_with_its_reason_in_two_languages() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let spool = spool(dir.path(), &disk).await;
        let mut watcher = watcher(dir.path(), &spool);
        testing::write(watcher.root(), "notes.doc", b"these are the minutes of the meeting");
        watcher.round(0).await.unwrap();
        assert_eq!(watcher.round(3000).await.unwrap(), 1);
        assert_eq!(names(&dir.path().join("ecg/rejected")), ["notes.doc", "notes.doc.reason.txt"]);
        let text = std::fs::read_to_string(dir.path().join("ecg/rejected/notes.doc.reason.txt")).unwrap();
        assert!(
            text.contains("此文件未被接收") && text.contains("REFUSED_FORMAT") && text.contains("not taken"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn with_a_full_disk_the_file_stays_and_is_taken_when_there_is_room() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let spool = spool(dir.path(), &disk).await;
        let mut watcher = watcher(dir.path(), &spool);
        let file = testing::write(watcher.root(), "e.xml", testing::AECG);
        disk.faults.full_after(0);
        watcher.round(0).await.unwrap();
        assert_eq!(watcher.round(3000).await.unwrap(), 0);
        assert!(file.exists());
        disk.faults.room_again();
        assert_eq!(watcher.round(3000).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn hidden_half_written_and_linked_files_are_left_alone() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let spool = spool(dir.path(), &disk).await;
        let mut watcher = watcher(dir.path(), &spool);
        for name in [".hidden", "~lock", "e.xml.part", "e.TMP"] {
            testing::write(watcher.root(), name, testing::AECG);
        }
        let outside = testing::write(dir.path(), "outside.xml", testing::AECG);
        std::os::unix::fs::symlink(outside, watcher.root().join("link.xml")).unwrap();
        watcher.round(0).await.unwrap();
        assert_eq!(watcher.round(60_000).await.unwrap(), 0);
    }
}
