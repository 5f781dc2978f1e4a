//! The lock of a CA directory: one process at a time changes it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::AuthorityError;

/// How often the lock is tried.
const TRIES: u32 = 250;
/// Pause between tries: 250 × 20 ms = 5 s, far above the few milliseconds a verb takes.
const PAUSE: Duration = Duration::from_millis(20);

/// Held until dropped; the operating system lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, AuthorityError> {
        let io = |source| AuthorityError::Io { file: path.display().to_string(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(io)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        let waited_ms = u64::from(TRIES) * u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        Err(AuthorityError::Locked { file: path.display().to_string(), waited_ms })
    }
}
