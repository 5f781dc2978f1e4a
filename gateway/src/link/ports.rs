//! What the link listener needs from the rest of the gateway. The listener knows QUIC; ingest and store know the disk.

use async_trait::async_trait;
use bytes::Bytes;
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{ClinicId, LetterId, ObjectHash, Sha256, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::study::{Manifest, ManifestObject};
use std::ops::Range;
use tokio::sync::watch;

/// What the county has and lacks of one offered object, in ranges of its coded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// Durable here: receipt at once.
    Stored,
    /// These ranges are missing; everything else is safe in the partial.
    Missing(Vec<Range<u64>>),
    /// Was refused before and would be again.
    Refused(Refusal),
}

/// A durable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectReceipt {
    /// Which object.
    pub hash: ObjectHash,
    /// SHA-256 of its plaintext as the county computed it.
    pub sha256: Sha256,
    /// When the transaction that holds it was committed.
    pub stored_at: UtcMs,
}

/// One object arriving. Dropping it keeps what was synced, for resumption.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Takes bytes of the coded form at the current position. Backpressure by awaiting.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal>;

    /// The announced range has arrived. When nothing is missing any more: digest, header check and one transaction
    /// (object, study, queue, SLA, events) and then the receipt; `None` when other ranges are still missing.
    async fn finish(self: Box<Self>, now: UtcMs) -> Result<Option<ObjectReceipt>, Refusal>;
}

/// Ingest, letters and notes, as the listener sees them. `clinic` is always from the certificate.
#[async_trait]
pub trait Custody: Send + Sync {
    /// A clinic has said hello, or has gone (`online` = false).
    async fn seen(&self, clinic: &ClinicId, online: bool, clock_offset_ms: Option<i64>, now: UtcMs);

    /// Records the manifest (highest generation wins, class is only raised) and answers object by object, in the
    /// manifest's order. Idempotent.
    async fn offered(
        &self,
        clinic: &ClinicId,
        manifest: &Manifest,
        now: UtcMs,
    ) -> Result<Vec<ObjectState>, Refusal>;

    /// Opens a writer at `offset` of the coded form.
    async fn open_writer(
        &self,
        clinic: &ClinicId,
        study: &StudyUid,
        object: &ManifestObject,
        offset: u64,
    ) -> Result<Box<dyn ObjectWriter>, Refusal>;

    /// Letters for this clinic that have no receipt and may be offered at `now`: critical notices first, oldest first, those
    /// that did not get through before last. At most `limit` critical notices and `limit` others.
    async fn pending_letters(
        &self,
        clinic: &ClinicId,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<LetterHead>, Refusal>;

    /// Objects of this clinic that were durable here and are damaged or gone, at most `limit`: the clinic is asked for them.
    async fn damaged(&self, clinic: &ClinicId, limit: usize) -> Result<Vec<(StudyUid, ObjectHash)>, Refusal>;

    /// The letter could not be sent, or the clinic can neither take nor judge it just now: recorded, alarmed when it lasts,
    /// offered again later and after others.
    async fn letter_delayed(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal>;

    /// Counts up whenever [`Self::pending_letters`] may answer differently for any clinic.
    fn letter_changes(&self) -> watch::Receiver<u64>;

    /// The body of a letter (at most `MAX_LETTER_BYTES`). The attempt is recorded before it is sent.
    async fn letter_body(&self, clinic: &ClinicId, id: &LetterId, now: UtcMs) -> Result<Bytes, Refusal>;

    /// The clinic holds the letter durably since `stored_at` (its clock). Idempotent.
    async fn letter_receipted(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        stored_at: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal>;

    /// The clinic refuses the letter (does not verify, wrong clinic): recorded, alarmed, offered again after long pauses.
    async fn letter_refused(
        &self,
        clinic: &ClinicId,
        id: &LetterId,
        refusal: &Refusal,
        now: UtcMs,
    ) -> Result<(), Refusal>;

    /// A note from the clinic; the device signature is checked against the certificate of the connection
    /// (`device_certificate`: DER). Durable when this returns. Idempotent.
    async fn note(
        &self,
        clinic: &ClinicId,
        note: &Note,
        device_certificate: &[u8],
        now: UtcMs,
    ) -> Result<(), Refusal>;
}
