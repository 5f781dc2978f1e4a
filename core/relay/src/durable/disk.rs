//! The operating system's files behind a trait, so that tests can make them fail.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What the Relay asks of a disk. Every method blocks.
pub trait Disk: Send + Sync + Debug {
    /// Creates a directory and its parents with mode 0700, and syncs each parent that got a new entry.
    ///
    /// # Errors
    /// Of the operating system.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates or empties a file with these permission bits.
    ///
    /// # Errors
    /// Of the operating system.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for writing, keeping its content; creates it (0600) when absent.
    ///
    /// # Errors
    /// Of the operating system.
    fn open_for_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames within one file system.
    ///
    /// # Errors
    /// Of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// Of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory's entries durable.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that an unprivileged user may still write there.
    ///
    /// # Errors
    /// Of the operating system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// A file open for writing.
pub trait DiskFile: Send + Debug {
    /// Writes all bytes at the offset.
    ///
    /// # Errors
    /// Of the operating system.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// Of the operating system.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Current length in bytes.
    ///
    /// # Errors
    /// Of the operating system.
    fn length(&self) -> io::Result<u64>;
}

/// The real thing.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.sync_dir(parent.unwrap_or_else(|| Path::new(".")))
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_for_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    #[expect(clippy::disallowed_methods, reason = "the durable primitive itself")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
