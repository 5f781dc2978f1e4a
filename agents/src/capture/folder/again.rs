//! The second look: a file may still be written after it was moved, because a writer keeps its file through a rename.

use super::files::{self, Look};
use crate::spool::Spool;
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::ids::ObjectHash;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A moved file is looked at again for this long after its last change: a copy over the worst line that still lives.
const AGAIN_MS: u64 = 30 * MINUTE_MS.unsigned_abs();
/// Moved files that are remembered: at a file a second, all of them.
const MAX_MOVED: usize = 2_048;

/// A file that was moved away, as it was then.
#[derive(Debug)]
pub(super) struct Moved {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name when it was taken.
    pub(super) name: Option<String>,
    /// As it was when its bytes were read.
    pub(super) look: Look,
    /// Of the bytes that were taken or refused; `None` when that was before the start.
    pub(super) hash: Option<ObjectHash>,
    /// It lies in `rejected/`.
    pub(super) rejected: bool,
    /// As it looked last.
    seen: Look,
    still_ms: u64,
}

impl Moved {
    pub(super) const fn new(
        path: PathBuf,
        name: Option<String>,
        look: Look,
        hash: Option<ObjectHash>,
        rejected: bool,
    ) -> Self {
        Self { path, name, look, hash, rejected, seen: look, still_ms: 0 }
    }

    /// As it looked last.
    pub(super) const fn seen(&self) -> Look {
        self.seen
    }

    /// It has looked so for this long.
    pub(super) const fn still_ms(&self) -> u64 {
        self.still_ms
    }

    /// These are the bytes that are judged.
    pub(super) const fn hold(&mut self, look: Look, hash: ObjectHash) {
        (self.look, self.hash) = (look, Some(hash));
    }

    /// The directory, for people.
    pub(super) const fn place(&self) -> &'static str {
        if self.rejected { "rejected/" } else { "done/" }
    }
}

/// Everything that was moved lately.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Moved>);

impl Lately {
    /// What lies in a directory and was changed shortly before the start: the end of it may not have been seen.
    pub(super) fn recall(&mut self, dir: &Path, rejected: bool, now: UtcMs) {
        let since = u128::try_from(now.0).unwrap_or(0).saturating_sub(u128::from(AGAIN_MS)) * 1_000_000;
        // A directory that cannot be listed is told by the round.
        let Ok(paths) = files::plain_files(dir) else { return };
        for path in paths.filter(|p| !files::is_reason(p)) {
            if let Some(look) = Look::at(&path).filter(|look| look.modified_ns >= since) {
                let name = path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
                self.remember(Moved::new(path, name, look, None, rejected));
            }
        }
    }

    pub(super) fn remember(&mut self, moved: Moved) {
        if self.0.len() >= MAX_MOVED {
            self.0.pop_front();
        }
        self.0.push_back(moved);
    }

    /// Takes out those that have changed and stood still since for `stable_ms`. `since_ms` have passed since the last
    /// look. Blocks on the disk.
    pub(super) fn changed(
        &mut self,
        since_ms: u64,
        stable_ms: u64,
        is_open: impl Fn(&Path) -> bool,
    ) -> Vec<Moved> {
        let mut changed = Vec::new();
        for mut moved in std::mem::take(&mut self.0) {
            // Somebody has taken it away.
            let Some(look) = Look::at(&moved.path) else { continue };
            if look == moved.seen {
                moved.still_ms = moved.still_ms.saturating_add(since_ms);
            } else {
                (moved.seen, moved.still_ms) = (look, 0);
            }
            let news = look != moved.look || moved.hash.is_none();
            if is_open(&moved.path) {
                self.0.push_back(moved);
            } else if news && moved.still_ms >= stable_ms {
                changed.push(moved);
            } else if news || moved.still_ms < AGAIN_MS {
                self.0.push_back(moved);
            }
        }
        changed
    }
}

/// Whether the bytes are known: those that were read then, or, when that was before the start, bytes that the spool holds
/// or has refused.
pub(super) async fn known(spool: &Spool, moved: &Moved, hash: &ObjectHash) -> bool {
    match &moved.hash {
        Some(before) => before == hash,
        // Unknown is treated as known: it is asked again at the next start, and what lies in the folder is not lost.
        None => moved.rejected || spool.study_of(hash).await.map_or(true, |study| study.is_some()),
    }
}
