//! Writing a letter to a clinic inside the transaction that decides it. The body is a durable blob before that.

use super::bytes::blocking;
use crate::queue::StoredItem;
use crate::store::{Store, StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{LetterId, ObjectHash};
use relay_core::letter::LetterKind;
use sqlx::SqliteConnection;

/// The body of a letter, durable before a row names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// Blob that holds it.
    pub hash: ObjectHash,
    /// Its length in bytes.
    pub length: u64,
}

impl Body {
    /// Stores what a letter says, as canonical JSON.
    ///
    /// # Errors
    /// Storage refusals.
    pub(super) async fn of(store: &Store, what: &impl serde::Serialize) -> Result<Self, Refusal> {
        let bytes = relay_core::report::canonical_json(what)
            .map_err(|e| Refusal::new(Code::Internal, "letter", e.to_string()))?;
        Self::put(store, bytes).await
    }

    /// Stores these bytes.
    ///
    /// # Errors
    /// Storage refusals.
    pub(super) async fn put(store: &Store, bytes: Vec<u8>) -> Result<Self, Refusal> {
        let (blobs, length) = (store.blobs().clone(), bytes.len() as u64);
        Ok(Self { hash: blocking(move || blobs.put(&bytes)).await?, length })
    }
}

/// A letter id that no other life of this store gives out: `<what>-<life><study>-<number>`.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn numbered(
    tx: &mut SqliteConnection,
    what: &str,
    study_id: i64,
    number: i64,
) -> Result<LetterId, StoreError> {
    let life = crate::store::incarnation(tx).await?;
    letter_id(&format!("{what}-{life}{study_id}-{number}"))
}

pub(super) fn letter_id(text: &str) -> Result<LetterId, StoreError> {
    LetterId::parse(text).map_err(|e| StoreError::refuse(Code::Internal, "letter id", e.to_string()))
}

const fn priority(kind: LetterKind, urgent: bool) -> i64 {
    match (kind, urgent) {
        (LetterKind::CriticalNotice, _) => 0,
        (LetterKind::ReportVoid, _) | (LetterKind::Report | LetterKind::TreatmentPlan, true) => 1,
        (LetterKind::Report | LetterKind::TreatmentPlan, false) => 2,
        (LetterKind::RetakeRequest, _) => 3,
        (LetterKind::StudyStatus, _) => 4,
    }
}

/// Appends a letter about the study of `about` to the outbox. The id is the same however often the transaction is tried.
///
/// # Errors
/// [`StoreError`].
pub async fn post(
    tx: &mut SqliteConnection,
    id: &LetterId,
    kind: LetterKind,
    about: &StoredItem,
    body: Body,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO letter (id, clinic, kind, study_uid, study_id, body_hash, length, priority, written_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.as_str())
    .bind(about.clinic.as_str())
    .bind(kind.word())
    .bind(about.study_uid.as_str())
    .bind(about.study_id)
    .bind(&body.hash.0[..])
    .bind(signed(body.length)?)
    .bind(priority(kind, about.class().is_urgent()))
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("write a letter"))?;
    Ok(())
}
