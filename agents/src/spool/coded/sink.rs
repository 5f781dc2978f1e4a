//! Where coded bytes go.

use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::ids::ObjectHash;
use std::io::{self, Write};

/// Writes into an unfinished blob and hashes.
pub(super) struct Sink {
    partial: Partial,
    blake: blake3::Hasher,
    length: u64,
    failed: Option<BlobError>,
}

impl Sink {
    /// Into the unfinished blob `name`, which is emptied.
    pub(super) fn new(blobs: &BlobStore, name: &str) -> Result<Self, BlobError> {
        let partial = super::fresh(blobs, name)?;
        Ok(Self { partial, blake: blake3::Hasher::new(), length: 0, failed: None })
    }

    /// Bytes so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Appends.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.partial.write_at(self.length, bytes)?;
        self.blake.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Why writing by way of [`Write`] failed.
    pub(super) const fn take_failure(&mut self) -> Option<BlobError> {
        self.failed.take()
    }

    /// The unfinished blob, its hash and its length.
    pub(super) fn into_parts(self) -> (Partial, ObjectHash, u64) {
        (self.partial, ObjectHash(*self.blake.finalize().as_bytes()), self.length)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("coded form"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
