//! The few file operations of this crate, all through the durable primitive.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use relay_core::durable::{RealDisk, write_atomic};

/// Permission bits of keys, PKCS#12 files and the ledger.
const PRIVATE_MODE: u32 = 0o600;
/// Permission bits of certificates and CRLs.
const PUBLIC_MODE: u32 = 0o644;

/// Reads a whole file; one longer than `max` bytes is an error, not a large allocation.
pub(crate) fn read_limited(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

/// Replaces a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic(&RealDisk, &with_parent(path), bytes, PRIVATE_MODE)
}

/// Replaces a file that everybody may read.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic(&RealDisk, &with_parent(path), bytes, PUBLIC_MODE)
}

/// A bare file name gets `./` before it, so that it has a directory to sync.
fn with_parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.to_owned(),
    }
}
