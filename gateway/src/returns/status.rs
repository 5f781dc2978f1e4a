//! Study status letters: where a study stands at the county, shown at the clinic. Only the newest of a study waits.

use super::outbox;
use crate::store::{Columns, Store, StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, LetterId, ObjectHash};
use relay_core::letter::{LetterKind, StudyStatus};
use relay_core::report::canonical_json;
use sqlx::SqliteConnection;

/// Studies whose work item has changed since their newest status letter, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn stale(tx: &mut SqliteConnection, limit: i64) -> Result<Vec<i64>, StoreError> {
    sqlx::query_scalar(
        "SELECT study_id FROM work_item WHERE told_at IS NOT state_at ORDER BY state_at LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("find stale study states"))
}

/// Writes the status letter of a study unless its newest state is told. Idempotent. The time in it is that of the state: of
/// two letters the one with the later state counts, whoever wrote it when.
///
/// # Errors
/// `STORAGE_FULL`, `STORAGE_FAILED`, `INTERNAL`.
pub async fn write_status(store: &Store, study_id: i64, now: UtcMs) -> Result<(), Refusal> {
    let found = {
        let mut tx = store.read().await?;
        current(&mut tx, study_id).await?
    };
    let Some((clinic, uid, status)) = found else { return Ok(()) };
    let failed = |_| Refusal::new(Code::Internal, "status", "cannot be written as JSON");
    let body = canonical_json(&status).map_err(failed)?;
    let id = LetterId::parse(&format!("status-{study_id}-{}", status.at.0))
        .map_err(|e| Refusal::new(Code::Internal, "letter id", e.to_string()))?;
    let length = body.len();
    let hash = outbox::put(store, body).await?;
    let letter = Status { id, clinic, uid, study_id, state_at: status.at, hash, length };
    store
        .write(move |tx| Box::pin(async move { replace(tx, &letter, now).await }))
        .await
        .map_err(Refusal::from)
}

struct Status {
    id: LetterId,
    clinic: ClinicId,
    uid: String,
    study_id: i64,
    state_at: UtcMs,
    hash: ObjectHash,
    length: usize,
}

async fn current(
    tx: &mut SqliteConnection,
    study_id: i64,
) -> Result<Option<(ClinicId, String, StudyStatus)>, StoreError> {
    let row = sqlx::query(
        "SELECT s.clinic, s.uid, w.state, w.state_at, w.promise_at, a.name AS reader
         FROM work_item w JOIN study s ON s.id = w.study_id LEFT JOIN account a ON a.id = w.lease_holder
         WHERE s.id = $1",
    )
    .bind(study_id)
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("read where a study stands"))?;
    let Some(row) = row else { return Ok(None) };
    let key = study_id.to_string();
    let c = Columns::of(&row, "study", &key);
    let status = StudyStatus {
        state: c.get("state")?,
        reader_name: c.get("reader")?,
        due_at: c.time_or_none("promise_at")?,
        at: c.time("state_at")?,
    };
    Ok(Some((c.parsed("clinic")?, c.get("uid")?, status)))
}

async fn replace(tx: &mut SqliteConnection, letter: &Status, now: UtcMs) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE work_item SET told_at = state_at WHERE study_id = $1 AND state_at = $2")
        .bind(letter.study_id)
        .bind(letter.state_at.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("mark a state as told"))?;
    if done.rows_affected() == 0 {
        // It has changed since it was read: the next round tells the newer state.
        return Ok(());
    }
    let waiting: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM letter WHERE study_id = $1 AND kind = 'study_status' AND superseded_at IS NULL AND id <> $2",
    )
    .bind(letter.study_id)
    .bind(letter.id.as_str())
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::database("read status letters"))?;
    for id in waiting {
        outbox::supersede(tx, &id, now).await?;
    }
    sqlx::query(
        "INSERT INTO letter (id, clinic, kind, study_uid, study_id, body_hash, length, priority, written_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 4, $8)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(letter.id.as_str())
    .bind(letter.clinic.as_str())
    .bind(LetterKind::StudyStatus.word())
    .bind(&letter.uid)
    .bind(letter.study_id)
    .bind(&letter.hash.0[..])
    .bind(signed(letter.length)?)
    .bind(now.0)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("write a status letter"))
}
