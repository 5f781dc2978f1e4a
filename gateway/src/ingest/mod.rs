//! From the link to the store: manifests, missing ranges, bytes, and one transaction for every object.
//!
//! Order of an object: bytes into a partial (synced at [`SYNC_BYTES`] steps, so at most that is sent twice), restored to
//! the plaintext, header admitted, digest proven, file named and its directory synced, *then* one transaction (object,
//! location, study, work item, events, preview job), *then* the receipt.

mod decoders;
mod exam_time;
mod facts;
mod manifest;
mod open;
mod quarantine;
mod ranges;
mod record;
mod restore;
mod settle;
mod timing;
mod writer;

pub(crate) use facts::{is_national_id, person_of};
pub use manifest::ensure_clinic;
pub(crate) use open::partial_name;
pub use settle::settle;
pub(crate) use settle::settle_with;
pub(crate) use timing::CLOCK_TOLERATED_MS;
pub use timing::clock_measured;

use crate::link::ports::{ObjectState, ObjectWriter};
use crate::store::{Batch, Store, StoreError};
use decoders::Decoders;
use open::OpenPartials;
use quarantine::Quarantine;
use relay_core::clock::{Clock, UtcMs};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, StudyUid};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Manifest, ManifestError, ManifestObject};
use std::sync::Arc;
use writer::PartialWriter;

/// Coded bytes between two syncs of an unfinished object: what is sent twice at most after a power cut.
pub const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// Space that stays free for the database, logs and reports when objects are refused for lack of room.
pub const DEFAULT_FREE_FLOOR_BYTES: u64 = 512 * 1024 * 1024;
/// Bytes of refused objects kept for a person to look at; beyond it refused bytes are dropped.
pub const DEFAULT_QUARANTINE_BYTES: u64 = 1024 * 1024 * 1024;

/// Room that ingest leaves and uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free space below which nothing is taken.
    pub free_floor_bytes: u64,
    /// Quarantine at most.
    pub quarantine_bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { free_floor_bytes: DEFAULT_FREE_FLOOR_BYTES, quarantine_bytes: DEFAULT_QUARANTINE_BYTES }
    }
}

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    policy: Arc<SlaPolicy>,
    room: Room,
    open: OpenPartials,
    decoders: Decoders,
    quarantine: Quarantine,
}

/// Ingest. Cheap to clone.
#[derive(Clone)]
pub struct Ingest(Arc<Inner>);

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("room", &self.0.room).finish_non_exhaustive()
    }
}

/// Two commands of one study never run side by side.
fn together_key(clinic: &ClinicId, study: &StudyUid) -> String {
    format!("{clinic}/{study}")
}

fn full(what: &'static str) -> Refusal {
    metrics::counter!("relay_ingest_storage_full_total").increment(1);
    Refusal::new(
        Code::StorageFull,
        what,
        "the county's disk is full; nothing was acknowledged, send again later",
    )
}

fn unlawful(error: &ManifestError) -> Refusal {
    let (code, field) = match error {
        ManifestError::TooManyObjects { .. } | ManifestError::ObjectTooLarge { .. } => {
            (Code::RefusedTooLarge, "objects")
        }
        ManifestError::TextTooLong { field, .. } => (Code::RefusedTooLarge, *field),
        _ => (Code::RefusedManifest, "objects"),
    };
    Refusal::new(code, field, error.to_string())
}

impl Ingest {
    /// Ingest into `store`.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, policy: Arc<SlaPolicy>, room: Room) -> Self {
        let quarantine = Quarantine::new(room.quarantine_bytes);
        let (open, decoders) = (OpenPartials::default(), Decoders::default());
        Self(Arc::new(Inner { store, clock, policy, room, open, decoders, quarantine }))
    }

    /// Service levels in force.
    #[must_use]
    pub fn policy(&self) -> Arc<SlaPolicy> {
        Arc::clone(&self.0.policy)
    }

    /// Records a manifest and says, object by object and in its order, what is here and what is missing. Idempotent.
    ///
    /// # Errors
    /// `REFUSED_MANIFEST`, `REFUSED_TOO_LARGE`, `STORAGE_FULL`, `STORAGE_FAILED`.
    pub async fn offered(
        &self,
        clinic: &ClinicId,
        manifest: &Manifest,
        now: UtcMs,
    ) -> Result<Vec<ObjectState>, Refusal> {
        manifest.check().map_err(|e| unlawful(&e))?;
        self.room_for(0)?;
        let standing = self.record(clinic, manifest, now).await?;
        let mut states = Vec::with_capacity(manifest.objects.len());
        for (object, standing) in manifest.objects.iter().zip(standing) {
            states.push(if standing.stored {
                ObjectState::Stored
            } else if let Some(refusal) = standing.refused {
                ObjectState::Refused(refusal)
            } else {
                let here = self.0.open.peek(&self.0.store, clinic, object, standing.ranges).await;
                ObjectState::Missing(here.missing(object.coded.length))
            });
        }
        Ok(states)
    }

    async fn record(
        &self,
        clinic: &ClinicId,
        manifest: &Manifest,
        now: UtcMs,
    ) -> Result<Vec<manifest::Standing>, StoreError> {
        let (owned, policy) = (Arc::new((clinic.clone(), manifest.clone())), Arc::clone(&self.0.policy));
        if manifest.context.retake_of.is_some() {
            // It withdraws another study, of which something else may just be arriving.
            let work = self.0.store.write(move |tx| {
                Box::pin(
                    async move { manifest::record(Batch::on(tx), &policy, &owned.0, &owned.1, now).await },
                )
            });
            return work.await;
        }
        let work = self.0.store.write_together(together_key(clinic, &manifest.study), move |batch| {
            let (owned, policy) = (Arc::clone(&owned), Arc::clone(&policy));
            Box::pin(async move { manifest::record(batch, &policy, &owned.0, &owned.1, now).await })
        });
        work.await
    }

    /// Opens a writer at `offset` of the coded form of an announced object.
    ///
    /// # Errors
    /// `REFUSED_UNANNOUNCED`, `REFUSED_MANIFEST`, `STORAGE_FULL`, `STORAGE_FAILED`.
    pub async fn open_writer(
        &self,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
        offset: u64,
    ) -> Result<Box<dyn ObjectWriter>, Refusal> {
        if offset > object.coded.length {
            let reason =
                format!("offset {offset} is behind the end of the coded form ({})", object.coded.length);
            return Err(Refusal::new(Code::RefusedUnannounced, "offset", reason));
        }
        let before = {
            let mut reader = self.0.store.read().await?;
            open::before(&mut reader, clinic, study, object).await?
        };
        self.room_for(object.coded.length - offset)?;
        let state = self.0.open.open(&self.0.store, clinic, study, object, before).await?;
        Ok(Box::new(PartialWriter::new(
            self.clone(),
            state,
            clinic.clone(),
            study.clone(),
            object.clone(),
            offset,
        )))
    }

    /// Refuses early what would not fit, so that the disk never runs full under the database.
    fn room_for(&self, bytes: u64) -> Result<(), Refusal> {
        let free = self.0.store.blobs().free_bytes().map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "reading free space");
            Refusal::new(Code::StorageFailed, "disk", "the county cannot read its free space")
        })?;
        metrics::gauge!("relay_store_free_bytes")
            .set(u32::try_from(free >> 20).map_or(f64::MAX, f64::from) * 1_048_576.0);
        if free < self.0.room.free_floor_bytes.saturating_add(bytes) { Err(full("disk")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod films;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
