//! Start and stop. The first signal asks everybody to finish; the second one stops at once. What was acknowledged is
//! durable either way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Held by the running gateway of a home directory.
const LOCK_FILE: &str = "gateway.lock";

/// A home directory that no second gateway can run on while this lives.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Takes the home directory for this process.
///
/// # Errors
/// `None` inside `Ok` when another gateway runs there; the operating system's error otherwise.
pub fn lock_home(home: &Path) -> io::Result<Option<HomeLock>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(home.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(HomeLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The two stages.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Finish what is begun, take nothing new.
    pub finish: CancellationToken,
    /// Stop now.
    pub now: CancellationToken,
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen; from here on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Turns the first signal into `finish` and the second into `now`.
    pub async fn drive(mut self, stages: Stages) {
        self.next().await;
        tracing::info!("finishing; a second signal stops at once");
        stages.finish.cancel();
        self.next().await;
        tracing::warn!("stopping at once");
        stages.now.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_gateway() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_home(dir.path()).unwrap();
        assert!(first.is_some() && lock_home(dir.path()).unwrap().is_none());
        drop(first);
        assert!(lock_home(dir.path()).unwrap().is_some());
    }
}
