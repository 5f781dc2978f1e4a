//! Room for refused objects: so many bytes, so many files, counted once and then kept, one refusal after the other.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Files in quarantine at most, whatever their size: a person looks through them, and a directory stays quick.
const MAX_FILES: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Used {
    bytes: u64,
    files: u64,
}

/// What the quarantine holds.
#[derive(Debug)]
pub(super) struct Quarantine {
    limit_bytes: u64,
    used: Mutex<Option<Used>>,
}

impl Quarantine {
    /// At most so many bytes.
    pub(super) const fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used: Mutex::new(None) }
    }

    fn fits(&self, used: Used, length: u64) -> bool {
        used.files < MAX_FILES && used.bytes.saturating_add(length) <= self.limit_bytes
    }

    /// Runs `take` when a file of `length` bytes fits, and counts it when it says that it took it. Two refusals at the same
    /// moment cannot both take the last room. Blocks.
    pub(super) fn admit(&self, dir: &Path, length: u64, take: impl FnOnce() -> bool) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = used.unwrap_or_else(|| count(dir));
        if !self.fits(now, length) {
            // Somebody may have looked through it and made room.
            now = count(dir);
        }
        let taken = self.fits(now, length) && take();
        if taken {
            now = Used { bytes: now.bytes.saturating_add(length), files: now.files + 1 };
        }
        *used = Some(now);
        taken
    }
}

fn count(dir: &Path) -> Used {
    let lengths = std::fs::read_dir(dir)
        .map(|entries| {
            entries.flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).collect::<Vec<_>>()
        })
        .unwrap_or_default();
    Used { bytes: lengths.iter().sum(), files: lengths.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_in_number_as_well_as_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..MAX_FILES {
            std::fs::hard_link(seed(dir.path()), dir.path().join(at.to_string())).unwrap();
        }
        let quarantine = Quarantine::new(u64::MAX);
        assert!(!quarantine.admit(dir.path(), 1, || true));
        std::fs::remove_file(dir.path().join("7")).unwrap();
        std::fs::remove_file(dir.path().join("seed")).unwrap();
        assert!(quarantine.admit(dir.path(), 1, || true));
        assert!(quarantine.used.lock().unwrap().is_some_and(|used| used.files == MAX_FILES));
    }

    fn seed(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("seed");
        if !path.exists() {
            crate::ingest::samples::overwrite(&path, [0; 1]);
        }
        path
    }

    #[test]
    fn a_full_quarantine_takes_nothing_more_until_somebody_clears_it() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            crate::ingest::samples::overwrite(path, [0; 60]);
            true
        };
        let quarantine = Quarantine::new(100);
        assert!(quarantine.admit(dir.path(), 60, || put("a")));
        assert!(!quarantine.admit(dir.path(), 60, || put("b")));
        std::fs::remove_file(dir.path().join("a")).unwrap();
        assert!(quarantine.admit(dir.path(), 60, || put("c")));
    }
}
