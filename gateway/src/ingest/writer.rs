//! One object arriving.

use super::facts::{self, NotAdmitted, ObjectFacts};
use super::open::{PartialState, Shared, name_of};
use super::ranges::Ranges;
use super::restore::{self, RestoreError};
use super::{Ingest, SYNC_BYTES, full, record, together_key};
use crate::link::ports::{ObjectReceipt, ObjectWriter};
use crate::store::QUARANTINE_DIR;
use async_trait::async_trait;
use bytes::Bytes;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::{BlobError, BlobStore, Partial};
use relay_core::ids::{ClinicId, ObjectHash, Sha256, StudyUid};
use relay_core::study::ManifestObject;
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// Bytes gathered before they are handed to the blocking pool.
const BUFFER_BYTES: usize = 256 * 1024;
/// A coded form that came whole in one stream and is no longer than its buffer is restored in memory up to this size:
/// one file is made for it and not three. An ECG of ten seconds is half as long.
const IN_MEMORY_BYTES: u64 = 512 * 1024;

/// Writes the coded form from `at` on. Dropping it keeps what was written.
pub(super) struct PartialWriter {
    ingest: Ingest,
    state: Shared,
    clinic: ClinicId,
    study: StudyUid,
    object: ManifestObject,
    /// Position of the first byte in `buffer`.
    at: u64,
    buffer: Vec<u8>,
}

fn disk_refusal(error: &BlobError) -> Refusal {
    if error.is_full() {
        return full("disk");
    }
    tracing::error!(error = error as &dyn std::error::Error, "writing an object");
    Refusal::new(Code::StorageFailed, "disk", "the county's disk failed; nothing was acknowledged")
}

fn lost_task(_: tokio::task::JoinError) -> Refusal {
    Refusal::new(Code::Internal, "ingest", "a storage task ended early; nothing was acknowledged")
}

/// What the blocking part of finishing gave.
enum Finished {
    Durable(Sha256, Box<ObjectFacts>),
    Refused(Refusal),
    Failed(Refusal),
    /// The partial is not there, though its ranges were noted.
    Lost,
}

impl PartialWriter {
    pub(super) fn new(
        ingest: Ingest,
        state: Shared,
        clinic: ClinicId,
        study: StudyUid,
        object: ManifestObject,
        offset: u64,
    ) -> Self {
        let coming =
            usize::try_from(object.coded.length - offset.min(object.coded.length)).unwrap_or(usize::MAX);
        let buffer = Vec::with_capacity(coming.min(BUFFER_BYTES));
        Self { ingest, state, clinic, study, object, at: offset, buffer }
    }

    /// Moves the buffer into the file.
    async fn flush(&mut self) -> Result<(), Refusal> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        let (from, to) = (self.at, self.at + bytes.len() as u64);
        let shared = Arc::clone(&self.state);
        let mut state = shared.state.lock().await;
        if state.done.is_some() {
            self.at = to;
            return Ok(());
        }
        let sync = state.unsynced + bytes.len() as u64 >= SYNC_BYTES;
        let file = state.file.take();
        let (blobs, name) = (self.ingest.0.store.blobs().clone(), name_of(&self.clinic, &self.object));
        let (file, written) =
            tokio::task::spawn_blocking(move || write_at(&blobs, &name, file, from, &bytes, sync))
                .await
                .map_err(lost_task)?;
        state.file = file;
        written.map_err(|e| disk_refusal(&e))?;
        shared.wrote(from..to);
        state.unsynced += to - from;
        self.at = to;
        if sync {
            state.unsynced = 0;
            self.remember(shared.written()).await?;
        }
        Ok(())
    }

    /// The short way for a small object that is here whole, in memory. `None`: something is wrong or was begun before, and the
    /// long way, which keeps the bytes for a person to look at, says what.
    async fn complete_in_memory(&mut self, now: UtcMs) -> Result<Option<ObjectReceipt>, Refusal> {
        let object = &self.object;
        let whole = self.at == 0 && self.buffer.len() as u64 == object.coded.length;
        if !whole || object.length > IN_MEMORY_BYTES {
            return Ok(None);
        }
        let shared = Arc::clone(&self.state);
        let mut state = shared.state.lock().await;
        if state.done.is_some() || state.file.is_some() || shared.written() != Ranges::default() {
            return Ok(None);
        }
        let (blobs, object, study) =
            (self.ingest.0.store.blobs().clone(), self.object.clone(), self.study.clone());
        let coded = std::mem::take(&mut self.buffer);
        let _turn = self.ingest.0.decoders.turn(&object).await;
        let stored = tokio::task::spawn_blocking(move || {
            let stored = put_small(&blobs, &coded, &object, &study);
            (coded, stored)
        });
        let (coded, stored) = stored.await.map_err(lost_task)?;
        self.buffer = coded;
        let Some((sha256, facts)) = stored else { return Ok(None) };
        let receipt = self.record(sha256, facts, now).await?;
        self.finished(&mut state, &receipt);
        Ok(Some(receipt))
    }

    fn finished(&self, state: &mut MutexGuard<'_, PartialState>, receipt: &ObjectReceipt) {
        state.done = Some(Ok(receipt.clone()));
        self.ingest.0.open.close(&self.clinic, &self.object);
        metrics::counter!("relay_ingest_objects_total").increment(1);
        metrics::counter!("relay_ingest_bytes_total").increment(self.object.length);
    }

    /// Records what is synced. Called right after a sync, with the state still locked.
    async fn remember(&self, ranges: Ranges) -> Result<(), Refusal> {
        let (clinic, object) = (self.clinic.clone(), self.object.clone());
        let now = self.ingest.0.clock.now();
        let store = &self.ingest.0.store;
        store
            .write(move |tx| {
                Box::pin(async move { record::partial(tx, &clinic, &object, &ranges, now).await })
            })
            .await
            .map_err(Refusal::from)
    }

    /// Everything is here: restore, admit, prove, name, record.
    async fn complete(
        &self,
        state: &mut MutexGuard<'_, PartialState>,
        now: UtcMs,
    ) -> Result<ObjectReceipt, Refusal> {
        let (blobs, name) = (self.ingest.0.store.blobs().clone(), name_of(&self.clinic, &self.object));
        let (object, study, file) = (self.object.clone(), self.study.clone(), state.file.take());
        let _turn = self.ingest.0.decoders.turn(&object).await;
        let finished =
            tokio::task::spawn_blocking(move || finish_blocking(&blobs, &name, file, &object, &study))
                .await
                .map_err(lost_task)?;
        let result = match finished {
            Finished::Durable(sha256, facts) => self.record(sha256, *facts, now).await?,
            Finished::Failed(refusal) => return Err(refusal),
            Finished::Lost => {
                // What was received is not on the disk any more (a failed sync took it): ask for all of it again.
                self.state.lost();
                self.remember(Ranges::default()).await?;
                let reason = "the county lost the bytes before they were named; they are asked for again";
                return Err(Refusal::new(Code::StorageFailed, "disk", reason));
            }
            Finished::Refused(refusal) => return self.refuse(state, refusal, now).await,
        };
        self.discard_leftovers().await;
        self.finished(state, &result);
        Ok(result)
    }

    async fn record(&self, sha256: Sha256, facts: ObjectFacts, now: UtcMs) -> Result<ObjectReceipt, Refusal> {
        let arrived = record::Arrived {
            clinic: self.clinic.clone(),
            study: self.study.clone(),
            object: self.object.clone(),
            sha256,
            facts,
            now,
        };
        let (store, policy) = (&self.ingest.0.store, Arc::clone(&self.ingest.0.policy));
        let arrived = Arc::new(arrived);
        store
            .write_together(together_key(&self.clinic, &self.study), move |batch| {
                let (arrived, policy) = (Arc::clone(&arrived), Arc::clone(&policy));
                Box::pin(async move { record::object(batch, &policy, &arrived).await })
            })
            .await
            .map_err(Refusal::from)
    }

    /// Coded form and stale plaintext of a finished object. Left-overs are swept at the next start.
    async fn discard_leftovers(&self) {
        let (blobs, name) = (self.ingest.0.store.blobs().clone(), name_of(&self.clinic, &self.object));
        let swept = tokio::task::spawn_blocking(move || blobs.discard(&name)).await;
        if !matches!(swept, Ok(Ok(()))) {
            tracing::warn!(object = %self.object.hash, "the coded form of a stored object was not removed");
        }
    }

    /// Quarantine, refusal row and event; the reason goes back to the clinic.
    async fn refuse(
        &self,
        state: &mut MutexGuard<'_, PartialState>,
        refusal: Refusal,
        now: UtcMs,
    ) -> Result<ObjectReceipt, Refusal> {
        let file = quarantine(&self.ingest, &self.clinic, &self.object).await;
        let (clinic, study, object) = (self.clinic.clone(), self.study.clone(), self.object.clone());
        let (told, policy) = (refusal.clone(), Arc::clone(&self.ingest.0.policy));
        let store = &self.ingest.0.store;
        store
            .write(move |tx| {
                Box::pin(async move {
                    let refused = record::Refused {
                        policy: &policy,
                        clinic: &clinic,
                        study: &study,
                        object: &object,
                        refusal: &told,
                        quarantine: file,
                    };
                    record::refusal(tx, refused, now).await
                })
            })
            .await?;
        tracing::warn!(clinic = %self.clinic, object = %self.object.hash, %refusal, "an object was refused");
        metrics::counter!("relay_ingest_refused_total", "code" => refusal.code.name()).increment(1);
        state.done = Some(Err(refusal.clone()));
        self.ingest.0.open.close(&self.clinic, &self.object);
        Err(refusal)
    }
}

#[async_trait]
impl ObjectWriter for PartialWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let end = self.at + (self.buffer.len() + chunk.len()) as u64;
        if end > self.object.coded.length {
            let reason = format!("byte {end} of a coded form of {} bytes", self.object.coded.length);
            return Err(Refusal::new(Code::RefusedUnannounced, "range", reason));
        }
        self.buffer.extend_from_slice(&chunk);
        if self.buffer.len() > BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>, now: UtcMs) -> Result<Option<ObjectReceipt>, Refusal> {
        if let Some(receipt) = self.complete_in_memory(now).await? {
            return Ok(Some(receipt));
        }
        self.flush().await?;
        let shared = Arc::clone(&self.state);
        let mut state = shared.state.lock().await;
        if let Some(done) = &state.done {
            return done.clone().map(Some);
        }
        if !shared.written().covers(self.object.coded.length) {
            return Ok(None);
        }
        self.complete(&mut state, now).await.map(Some)
    }
}

/// Restores, proves, admits and places a small object; `None` unless all of it is good.
fn put_small(
    blobs: &BlobStore,
    coded: &[u8],
    object: &ManifestObject,
    study: &StudyUid,
) -> Option<(Sha256, ObjectFacts)> {
    let plain = restore::plain_in_memory(coded, object)?;
    // What has the name already may be rotten: the long way proves it.
    let hash = ObjectHash::of(&plain);
    if hash != object.hash || blobs.contains(&object.hash) {
        return None;
    }
    let read = std::panic::AssertUnwindSafe(|| facts::admit_from(std::io::Cursor::new(&plain[..]), study));
    let facts = std::panic::catch_unwind(read).ok()?.ok()?;
    blobs.put_named(hash, &plain).ok()?;
    Some((Sha256::of(&plain), facts))
}

/// Writes (and syncs) in the blocking pool; the file comes back whatever happened.
fn write_at(
    blobs: &BlobStore,
    name: &str,
    file: Option<Partial>,
    at: u64,
    bytes: &[u8],
    sync: bool,
) -> (Option<Partial>, Result<(), BlobError>) {
    let mut file = match file.map_or_else(|| blobs.partial(name), Ok) {
        Ok(file) => file,
        Err(error) => return (None, Err(error)),
    };
    let written = file.write_at(at, bytes).and_then(|()| if sync { file.sync() } else { Ok(()) });
    (Some(file), written)
}

/// An object that has its name already, because an earlier try ended between the name and the record (full disk, kill):
/// proven again, so that it can be recorded. `None` when there is none, or it is not what its name says.
fn already_named(blobs: &BlobStore, object: &ManifestObject, study: &StudyUid) -> Option<Finished> {
    let (sha256, _) = blobs.verify(&object.hash).ok()?;
    match facts::admit(&blobs.path_of(&object.hash), study) {
        Ok(facts) => Some(Finished::Durable(sha256, Box::new(facts))),
        Err(NotAdmitted::Io(error)) => Some(Finished::Failed(read_failed(&error))),
        Err(NotAdmitted::Refused(_)) => None,
    }
}

/// Restores, admits and commits one object in the blocking pool.
fn finish_blocking(
    blobs: &BlobStore,
    name: &str,
    file: Option<Partial>,
    object: &ManifestObject,
    study: &StudyUid,
) -> Finished {
    if let Some(finished) = already_named(blobs, object, study) {
        return finished;
    }
    let whole = |m: std::fs::Metadata| m.len() == object.coded.length;
    if file.is_none() && !std::fs::metadata(blobs.partial_path(name)).is_ok_and(whole) {
        return Finished::Lost;
    }
    let coded = match file.map_or_else(|| blobs.partial(name), Ok) {
        Ok(coded) => coded,
        Err(error) => return Finished::Failed(disk_refusal(&error)),
    };
    let plain = restore::plain(blobs, coded, &format!("{name}.plain"), object);
    let plain = match plain {
        Ok(plain) => plain,
        Err(RestoreError::Refused(refusal)) => return Finished::Refused(refusal),
        Err(RestoreError::Disk(error)) => return Finished::Failed(disk_refusal(&error)),
        Err(RestoreError::Io(error)) => return Finished::Failed(read_failed(&error)),
    };
    // A reader that fails on a hostile file refuses that file; it must not be sent again for ever.
    let read = std::panic::AssertUnwindSafe(|| facts::admit(plain.path(), study));
    let admitted = std::panic::catch_unwind(read).unwrap_or_else(|_| {
        let reason = "the header reader failed on this file";
        Err(NotAdmitted::Refused(Refusal::new(Code::RefusedUnparsable, "file", reason)))
    });
    // Wrong bytes are a digest fault first, whatever their header looks like.
    match blobs.commit_checked(plain, object, admitted) {
        Ok(finished) => finished,
        Err(BlobError::Digest { found, .. }) => Finished::Refused(Refusal::new(
            Code::RefusedDigest,
            "object",
            format!("the bytes have BLAKE3 {found}, announced was {}", object.hash),
        )),
        Err(error) => Finished::Failed(disk_refusal(&error)),
    }
}

fn read_failed(error: &std::io::Error) -> Refusal {
    tracing::error!(error = error as &dyn std::error::Error, "reading an object back");
    Refusal::new(
        Code::StorageFailed,
        "disk",
        "the county cannot read back what it wrote; nothing was acknowledged",
    )
}

trait CommitChecked {
    fn commit_checked(
        &self,
        plain: Partial,
        object: &ManifestObject,
        admitted: Result<ObjectFacts, NotAdmitted>,
    ) -> Result<Finished, BlobError>;
}

impl CommitChecked for BlobStore {
    fn commit_checked(
        &self,
        plain: Partial,
        object: &ManifestObject,
        admitted: Result<ObjectFacts, NotAdmitted>,
    ) -> Result<Finished, BlobError> {
        match admitted {
            Ok(facts) => Ok(Finished::Durable(self.commit(plain, &object.hash)?, Box::new(facts))),
            Err(NotAdmitted::Io(error)) => Ok(Finished::Failed(read_failed(&error))),
            Err(NotAdmitted::Refused(refusal)) => {
                let found = hash_of(&plain)?;
                if found == object.hash {
                    return Ok(Finished::Refused(refusal));
                }
                Err(BlobError::Digest { expected: object.hash, found })
            }
        }
    }
}

fn hash_of(plain: &Partial) -> Result<relay_core::ids::ObjectHash, BlobError> {
    let path = plain.path();
    let failed = |source| BlobError::Disk { step: "read", path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(relay_core::ids::ObjectHash(*hasher.finalize().as_bytes()))
}

/// Moves what was refused out of the way, within the quarantine's room; gives the file's name under the home.
async fn quarantine(ingest: &Ingest, clinic: &ClinicId, object: &ManifestObject) -> Option<String> {
    let (ingest, name) = (ingest.clone(), name_of(clinic, object));
    let kept = format!("{QUARANTINE_DIR}/{clinic}-{}", object.hash.to_hex());
    let moved = tokio::task::spawn_blocking(move || {
        let store = &ingest.0.store;
        let blobs = store.blobs();
        let plain = format!("{name}.plain");
        // The plaintext, where it was restored; else the coded form as it came.
        let from = if blobs.partial_path(&plain).is_file() { plain.clone() } else { name.clone() };
        let from_path = blobs.partial_path(&from);
        let length = std::fs::metadata(&from_path).map_or(0, |m| m.len());
        let moved = ingest.0.quarantine.admit(&store.home().join(QUARANTINE_DIR), length, || {
            store.disk().rename(&from_path, &store.home().join(&kept)).is_ok()
        });
        for left in [&plain, &name] {
            if let Err(error) = blobs.discard(left) {
                tracing::warn!(error = &error as &dyn std::error::Error, "dropping a refused object");
            }
        }
        moved.then_some(kept)
    });
    moved.await.ok().flatten()
}
