//! A disk that fails on demand: faults as a parameter of the tests.

use super::disk::{Disk, DiskFile, RealDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What goes wrong. Shared by clones, so a test can change it while the disk is in use.
#[derive(Debug, Default)]
pub struct Faults {
    /// Bytes that may still be written before the disk is full; negative = no limit.
    bytes_left: AtomicI64,
    limited: AtomicBool,
    sync_fails: AtomicBool,
    rename_fails: AtomicBool,
}

impl Faults {
    /// The disk is full after `bytes` more.
    pub fn full_after(&self, bytes: u64) {
        self.bytes_left.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.limited.store(true, Ordering::SeqCst);
    }

    /// There is room again.
    pub fn room_again(&self) {
        self.limited.store(false, Ordering::SeqCst);
    }

    /// Every sync fails from now on (or no longer).
    pub fn sync_fails(&self, fails: bool) {
        self.sync_fails.store(fails, Ordering::SeqCst);
    }

    /// Every rename fails from now on (or no longer).
    pub fn rename_fails(&self, fails: bool) {
        self.rename_fails.store(fails, Ordering::SeqCst);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        if !self.limited.load(Ordering::SeqCst) {
            return Ok(());
        }
        let want = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.bytes_left.fetch_sub(want, Ordering::SeqCst);
        if before < want { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

/// [`RealDisk`] with [`Faults`].
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    /// What goes wrong.
    pub faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        self.faults.take(0)?;
        Ok(Box::new(FaultyFile { inner: RealDisk.create(path, mode)?, faults: Arc::clone(&self.faults) }))
    }

    fn open_for_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile { inner: RealDisk.open_for_append(path)?, faults: Arc::clone(&self.faults) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.faults.rename_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("rename failed (injected)"));
        }
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync failed (injected)"));
        }
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.faults.limited.load(Ordering::SeqCst) {
            return Ok(u64::try_from(self.faults.bytes_left.load(Ordering::SeqCst)).unwrap_or(0));
        }
        RealDisk.free_bytes(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.faults.take(bytes.len()) {
            // A real disk tears the write that fills it.
            let torn = bytes.len() / 2;
            self.inner.write_at(offset, &bytes[..torn])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync failed (injected)"));
        }
        self.inner.sync()
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
}
