//! The one way in which files are written: temp on the same device, sync, rename, sync the directory.
//!
//! Everything blocks; async callers wrap it in their blocking pool. [`Disk`] is the seam for faults in tests.

mod blob;
mod disk;
mod faulty;

pub use blob::{BlobError, BlobStore, Partial};
pub use disk::{Disk, DiskFile, RealDisk};
pub use faulty::{Faults, FaultyDisk};

use std::io;
use std::path::Path;

/// Writes a small file so that after a power cut there is either the old content or the new, never a mixture.
///
/// # Errors
/// The error of the first step that failed; then the old content still stands.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir =
        path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no parent"))?;
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no name"))?;
    let temp = dir.join(format!(".{}.new", name.to_string_lossy()));
    let written = (|| {
        let mut file = disk.create(&temp, mode)?;
        file.write_at(0, bytes)?;
        file.sync()
    })();
    if let Err(error) = written {
        // Best effort: a left-over temp is overwritten by the next attempt.
        let _ = disk.remove(&temp);
        return Err(error);
    }
    disk.rename(&temp, path)?;
    disk.sync_dir(dir)
}
