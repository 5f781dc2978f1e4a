//! Study status letters: where a study stands at the county, shown at the clinic. Only the newest of a study waits. Their
//! few bytes stand in the letter's row: a word of progress is not worth a file and its sync.

use crate::store::{Batch, Columns, Store, StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, LetterId, ObjectHash};
use relay_core::letter::{LetterKind, StudyStatus};
use relay_core::report::canonical_json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

struct Status {
    id: LetterId,
    clinic: ClinicId,
    uid: String,
    study_id: i64,
    state_at: UtcMs,
    body: Vec<u8>,
}

/// What a round of status letters has done.
#[derive(Debug, Default)]
pub struct Round {
    /// Letters written.
    pub written: usize,
    /// More are waiting.
    pub more: bool,
    /// Studies whose row cannot be told, with the reason.
    pub failed: Vec<(i64, StoreError)>,
}

/// Writes the status letters of at most `most` studies whose work item has changed since their newest one. Idempotent. The
/// time in a letter is that of the state: of two letters the one with the later state counts, whoever wrote it when.
///
/// # Errors
/// [`StoreError`]; a row that cannot be told is in the round and keeps no other one waiting.
pub async fn write_statuses(store: &Store, most: usize, now: UtcMs) -> Result<Round, StoreError> {
    let rows = stale(&mut *store.read().await?).await?;
    let (mut round, mut letters) = (Round::default(), Vec::new());
    for row in &rows {
        if letters.len() == most {
            round.more = true;
            break;
        }
        let study_id: i64 = Columns::of(row, "work_item", "?").get("study_id")?;
        match compose(row, study_id) {
            Ok(letter) => letters.push(letter),
            Err(error) => round.failed.push((study_id, error)),
        }
    }
    round.written = letters.len();
    if !letters.is_empty() {
        store.write(move |tx| Box::pin(async move { replace(tx, &letters, now).await })).await?;
    }
    Ok(round)
}

/// Studies looked at in a round: some that cannot be told do not keep the others waiting.
const LISTED: i64 = 256;

async fn stale(tx: &mut SqliteConnection) -> Result<Vec<SqliteRow>, StoreError> {
    sqlx::query(
        "SELECT s.id AS study_id, s.clinic, s.uid, w.state, w.state_at, w.promise_at, a.name AS reader,
           (w.unattended_at IS NOT NULL AND w.state = 'waiting' AND w.first_claimed_at IS NULL) AS unattended
         FROM work_item w JOIN study s ON s.id = w.study_id LEFT JOIN account a ON a.id = w.lease_holder
         WHERE w.told_at IS NOT w.state_at ORDER BY w.state_at LIMIT $1",
    )
    .bind(LISTED)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("find stale study states"))
}

fn compose(row: &SqliteRow, study_id: i64) -> Result<Status, StoreError> {
    let key = study_id.to_string();
    let c = Columns::of(row, "work_item", &key);
    let status = StudyStatus {
        state: c.get("state")?,
        reader_name: c.get("reader")?,
        due_at: c.time_or_none("promise_at")?,
        unattended: c.get("unattended")?,
        at: c.time("state_at")?,
    };
    let unfit = |column: &'static str, reason: String| StoreError::Corrupt {
        table: "work_item",
        column,
        row: key.clone(),
        reason,
    };
    Ok(Status {
        id: LetterId::parse(&format!("status-{study_id}-{}", status.at.0))
            .map_err(|e| unfit("state_at", e.to_string()))?,
        clinic: c.parsed("clinic")?,
        uid: c.get("uid")?,
        study_id,
        state_at: status.at,
        body: canonical_json(&status).map_err(|e| unfit("state", e.to_string()))?,
    })
}

/// A state that has changed since it was read stays untold: the next round tells the newer one.
async fn replace(tx: &mut SqliteConnection, letters: &[Status], now: UtcMs) -> Result<(), StoreError> {
    let mut batch = Batch::on(tx);
    for letter in letters {
        batch
            .add(
                "replace status letters",
                "UPDATE letter SET superseded_at = $3
                 WHERE study_id = $1 AND kind = 'study_status' AND superseded_at IS NULL AND id <> $4
                   AND EXISTS (SELECT 1 FROM work_item WHERE study_id = $1 AND state_at = $2)",
            )
            .bind(letter.study_id)
            .bind(letter.state_at.0)
            .bind(now.0)
            .bind(letter.id.as_str());
        batch
            .add(
                "write a status letter",
                "INSERT INTO letter (id, clinic, kind, study_uid, study_id, body_hash, body, length, priority, written_at)
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, 4, $9
                 FROM work_item WHERE study_id = $5 AND state_at = $10
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(letter.id.as_str())
            .bind(letter.clinic.as_str())
            .bind(LetterKind::StudyStatus.word())
            .bind(&letter.uid)
            .bind(letter.study_id)
            .bind(ObjectHash::of(&letter.body).0.to_vec())
            .bind(&letter.body)
            .bind(signed(letter.body.len())?)
            .bind(now.0)
            .bind(letter.state_at.0);
        batch
            .add(
                "mark a state as told",
                "UPDATE work_item SET told_at = state_at WHERE study_id = $1 AND state_at = $2",
            )
            .bind(letter.study_id)
            .bind(letter.state_at.0);
    }
    batch.run().await
}
