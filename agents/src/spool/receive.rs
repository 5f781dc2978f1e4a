//! One object coming in: written to an unfinished blob while it is hashed, never whole in memory.

use super::room::Reservation;
use super::{Spool, SpoolError};
use relay_core::codes::{Code, Refusal};
use relay_core::durable::{BlobStore, Partial};
use relay_core::ids::{ObjectHash, Sha256};
use relay_core::limits::MAX_OBJECT_BYTES;
use sha2::Digest as _;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Room is asked for in steps of so many bytes when the length is not known.
const ROOM_STEP_BYTES: u64 = 16 * 1024 * 1024;

/// An object that is still arriving. Blocks on the disk; dropping it drops what has arrived.
#[derive(Debug)]
pub struct Receiving {
    room: Reservation,
    unfinished: Unfinished,
    partial: Partial,
    blake: blake3::Hasher,
    sha: sha2::Sha256,
    length: u64,
}

/// Removes an unfinished blob unless it became a blob.
#[derive(Debug)]
struct Unfinished {
    blobs: BlobStore,
    name: String,
    keep: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.keep && self.blobs.discard(&self.name).is_err() {
            tracing::warn!(partial = %self.name, "an unfinished reception could not be removed");
        }
    }
}

/// An object that has arrived whole but is not in custody yet.
#[derive(Debug)]
pub struct Received {
    /// Held until the object counts as waiting for its receipt, so that its bytes are never forgotten in between.
    room: Reservation,
    unfinished: Unfinished,
    partial: Partial,
    /// BLAKE3 of what arrived.
    pub hash: ObjectHash,
    /// SHA-256 of what arrived.
    pub sha256: Sha256,
    /// Bytes.
    pub length: u64,
}

impl Spool {
    /// Begins a reception, if there is room.
    ///
    /// # Errors
    /// `STORAGE_FULL` or `STORAGE_FAILED`.
    pub fn receive(&self, expected_bytes: Option<u64>) -> Result<Receiving, Refusal> {
        let room = self.reserve(expected_bytes.unwrap_or(ROOM_STEP_BYTES))?;
        let name = format!("in-{}", self.0.next_partial.fetch_add(1, Ordering::SeqCst));
        let partial = self.0.blobs.partial(&name).map_err(|e| SpoolError::from(e).refusal())?;
        let unfinished = Unfinished { blobs: self.0.blobs.clone(), name, keep: false };
        Ok(Receiving {
            room,
            unfinished,
            partial,
            blake: blake3::Hasher::new(),
            sha: sha2::Sha256::new(),
            length: 0,
        })
    }
}

impl Receiving {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `REFUSED_TOO_LARGE`, `STORAGE_FULL` or `STORAGE_FAILED`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let length = self.length + bytes.len() as u64;
        if length > MAX_OBJECT_BYTES {
            let reason = format!("more than {MAX_OBJECT_BYTES} bytes");
            return Err(Refusal::new(Code::RefusedTooLarge, "", reason));
        }
        if length > self.room.reserved() {
            self.room.extend(length - self.room.reserved() + ROOM_STEP_BYTES)?;
        }
        self.partial.write_at(self.length, bytes).map_err(|e| SpoolError::from(e).refusal())?;
        self.blake.update(bytes);
        self.sha.update(bytes);
        self.length = length;
        self.room.wrote(bytes.len() as u64);
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// All bytes have come.
    #[must_use]
    pub fn finish(self) -> Received {
        Received {
            room: self.room,
            unfinished: self.unfinished,
            partial: self.partial,
            hash: ObjectHash(*self.blake.finalize().as_bytes()),
            sha256: Sha256(self.sha.finalize().into()),
            length: self.length,
        }
    }
}

impl Received {
    /// Where the bytes are, for reading them.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Syncs the bytes, proves them by reading them back, and gives them their name; gives the room back that the
    /// caller holds until the object counts.
    ///
    /// # Errors
    /// [`SpoolError::Blob`]; then there is no blob.
    pub(super) fn commit(self, blobs: &BlobStore) -> Result<Reservation, SpoolError> {
        let Self { mut unfinished, partial, hash, room, .. } = self;
        blobs.commit(partial, &hash)?;
        unfinished.keep = true;
        Ok(room)
    }
}
