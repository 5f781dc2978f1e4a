//! Writing a letter to a clinic inside the transaction that decides it. The body is a durable blob before that.

use crate::store::{StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, LetterId, ObjectHash, StudyUid};
use relay_core::letter::LetterKind;
use sqlx::SqliteConnection;

/// A letter to write.
#[derive(Debug, Clone)]
pub struct NewLetter<'a> {
    /// Its id, the same however often the transaction is tried.
    pub id: LetterId,
    /// To whom.
    pub clinic: &'a ClinicId,
    /// What.
    pub kind: LetterKind,
    /// About which study.
    pub study_uid: &'a StudyUid,
    /// Row of `study`.
    pub study_id: i64,
    /// Blob that holds the body.
    pub body: ObjectHash,
    /// Its length in bytes.
    pub length: u64,
    /// True for green and emergency studies.
    pub urgent: bool,
}

const fn priority(kind: LetterKind, urgent: bool) -> i64 {
    match (kind, urgent) {
        (LetterKind::CriticalNotice, _) => 0,
        (LetterKind::Report | LetterKind::TreatmentPlan, true) => 1,
        (LetterKind::Report | LetterKind::TreatmentPlan, false) => 2,
        (LetterKind::RetakeRequest, _) => 3,
        (LetterKind::StudyStatus, _) => 4,
    }
}

/// Appends the letter to the outbox.
///
/// # Errors
/// [`StoreError`].
pub async fn post(tx: &mut SqliteConnection, letter: NewLetter<'_>, now: UtcMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO letter (id, clinic, kind, study_uid, study_id, body_hash, length, priority, written_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(letter.id.as_str())
    .bind(letter.clinic.as_str())
    .bind(letter.kind.word())
    .bind(letter.study_uid.as_str())
    .bind(letter.study_id)
    .bind(&letter.body.0[..])
    .bind(signed(letter.length)?)
    .bind(priority(letter.kind, letter.urgent))
    .bind(now.0)
    .execute(tx)
    .await
    .map_err(StoreError::database("write a letter"))?;
    Ok(())
}
