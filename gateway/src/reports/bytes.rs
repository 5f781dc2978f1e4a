//! Blobs of reports: put, and read back proven. Disk and key derivation block: off the async threads.

use crate::store::Store;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::{BlobError, BlobStore};
use relay_core::ids::ObjectHash;
use relay_core::limits::MAX_LETTER_BYTES;
use std::io::Read as _;

/// Runs a blob operation on the blocking pool and turns its error into what the caller is told.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.is_full() => {
            Err(Refusal::new(Code::StorageFull, "", "the county's disk is full; nothing was signed"))
        }
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "blob store failed");
            Err(Refusal::new(Code::StorageFailed, "", "the county's blob store failed"))
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "blocking task failed");
            Err(Refusal::new(Code::Internal, "", "an internal task failed"))
        }
    }
}

/// Signing and printing block (key derivation, fonts).
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "signing task failed");
            Err(Refusal::new(Code::Internal, "", "the signing task failed; nothing was signed"))
        }
    }
}

/// The bytes of a signed package, at most [`MAX_LETTER_BYTES`], proven by their hash: a byte that changed on our disk is
/// neither shown nor signed again. `whose` names the version in the answer.
///
/// # Errors
/// `DAMAGED` naming the version when they are absent or not what their name says.
pub async fn read_package(store: &Store, hash: ObjectHash, whose: &str) -> Result<Vec<u8>, Refusal> {
    let blobs = store.blobs().clone();
    let read = match tokio::task::spawn_blocking(move || read(&blobs, hash)).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(report = whose, package = %hash, reason = read, "a signed package cannot be read back");
    let reason = "the signed package on the county's disk is not what was signed; verify-store tells more";
    Err(Refusal::new(Code::Damaged, whose, reason))
}

/// Reads a package and proves its hash. Blocks.
pub(super) fn read(blobs: &BlobStore, hash: ObjectHash) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    let read = blobs.open_blob(&hash)?.take(MAX_LETTER_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| BlobError::Disk { step: "read", path: blobs.path_of(&hash), source })?;
    let found = ObjectHash::of(&bytes);
    if found == hash { Ok(bytes) } else { Err(BlobError::Digest { expected: hash, found }) }
}
