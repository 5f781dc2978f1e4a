//! Follow-up work: written in the transaction that makes it necessary, done by idempotent reconcilers.

use crate::store::{Batch, Columns, StoreError, one_row};
use relay_core::clock::{MINUTE_MS, SECOND_MS, UtcMs};
use relay_core::ids::ObjectHash;
use sqlx::SqliteConnection;

/// First wait after a failure; doubles with every attempt.
const FIRST_RETRY_MS: i64 = 5 * SECOND_MS;
/// Longest wait between attempts.
const MAX_RETRY_MS: i64 = 30 * MINUTE_MS;
/// After so many attempts a job is `failed` and waits for a person (`doctor` names it).
pub const MAX_ATTEMPTS: i64 = 12;

/// A job that was begun so often and never ended has ended the gateway each time: it is `failed` without being begun again.
pub const MAX_BEGUN: i64 = 3;

/// A job that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Row.
    pub id: i64,
    /// What it is about.
    pub subject: String,
    /// Attempts so far.
    pub attempts: i64,
}

/// Adds a job unless it is there; a finished one of the same subject is opened again.
pub fn add(batch: &mut Batch<'_>, kind: &'static str, subject: &str, now: UtcMs) {
    batch
        .add(
            "add a job",
            "INSERT INTO job (kind, subject, state, not_before, created_at) VALUES ($1, $2, 'open', $3, $3)
             ON CONFLICT (kind, subject) DO UPDATE SET state = 'open', not_before = excluded.not_before, attempts = 0, begun = 0",
        )
        .bind(kind)
        .bind(subject)
        .bind(now.0);
}

/// Jobs of a kind that are due, oldest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn due(
    tx: &mut SqliteConnection,
    kind: &str,
    now: UtcMs,
    limit: i64,
) -> Result<Vec<Job>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, subject, attempts FROM job WHERE kind = $1 AND state = 'open' AND not_before <= $2
         ORDER BY not_before LIMIT $3",
    )
    .bind(kind)
    .bind(now.0)
    .bind(limit)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read due jobs"))?;
    rows.iter()
        .map(|row| {
            let c = Columns::of(row, "job", "due");
            Ok(Job { id: c.get("id")?, subject: c.get("subject")?, attempts: c.get("attempts")? })
        })
        .collect()
}

/// Counts a beginning, durably, before the work; false when the job was begun too often and is `failed` now.
///
/// # Errors
/// [`StoreError`].
pub async fn begin(tx: &mut SqliteConnection, id: i64) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "UPDATE job SET state = CASE WHEN begun >= $2 THEN 'failed' ELSE state END,
           error = CASE WHEN begun >= $2 THEN $3 ELSE error END, begun = begun + 1 WHERE id = $1 RETURNING state",
    )
    .bind(id)
    .bind(MAX_BEGUN)
    .bind(format!("the gateway ended {MAX_BEGUN} times while it worked on this"))
    .fetch_one(tx)
    .await
    .map_err(StoreError::database("begin a job"))?;
    Ok(Columns::of(&row, "job", "begun").get::<String>("state")? == "open")
}

/// The job is done.
///
/// # Errors
/// [`StoreError`].
pub async fn done(tx: &mut SqliteConnection, id: i64, now: UtcMs) -> Result<(), StoreError> {
    let done =
        sqlx::query("UPDATE job SET state = 'done', done_at = $2, error = NULL, begun = 0 WHERE id = $1")
            .bind(id)
            .bind(now.0)
            .execute(tx)
            .await
            .map_err(StoreError::database("finish a job"))?;
    one_row(&done, "job", id)
}

/// The job is done and has made a file with this digest.
///
/// # Errors
/// [`StoreError`].
pub async fn made(
    tx: &mut SqliteConnection,
    id: i64,
    digest: ObjectHash,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET made = $2 WHERE id = $1")
        .bind(id)
        .bind(&digest.0[..])
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("keep what a job has made"))?;
    done(tx, id, now).await
}

/// The digest of what the finished job of a subject has made.
///
/// # Errors
/// [`StoreError`].
pub async fn made_by(
    tx: &mut SqliteConnection,
    kind: &str,
    subject: &str,
) -> Result<Option<ObjectHash>, StoreError> {
    let row = sqlx::query(
        "SELECT made FROM job WHERE kind = $1 AND subject = $2 AND state = 'done' AND made IS NOT NULL",
    )
    .bind(kind)
    .bind(subject)
    .fetch_optional(tx)
    .await
    .map_err(StoreError::database("read what a job has made"))?;
    row.map(|row| Columns::of(&row, "job", subject).hash("made")).transpose()
}

/// The attempt failed: try again later, for ever slower, or leave it to a person (`give_up`).
///
/// # Errors
/// [`StoreError`].
pub async fn failed(
    tx: &mut SqliteConnection,
    job: &Job,
    reason: &str,
    give_up: bool,
    now: UtcMs,
) -> Result<(), StoreError> {
    let attempts = job.attempts + 1;
    let wait = (FIRST_RETRY_MS << job.attempts.clamp(0, 16)).min(MAX_RETRY_MS);
    let state = if give_up || attempts >= MAX_ATTEMPTS { "failed" } else { "open" };
    let done = sqlx::query(
        "UPDATE job SET state = $2, attempts = $3, not_before = $4, error = $5, begun = 0
         WHERE id = $1",
    )
    .bind(job.id)
    .bind(state)
    .bind(attempts)
    .bind(now.plus_ms(wait).0)
    .bind(reason)
    .execute(tx)
    .await
    .map_err(StoreError::database("record a failed job"))?;
    one_row(&done, "job", job.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::samples::{Lab, NOW};

    async fn state(lab: &Lab) -> (String, i64) {
        let mut tx = lab.store.read().await.unwrap();
        sqlx::query_as("SELECT state, begun FROM job").fetch_one(&mut *tx).await.unwrap()
    }

    async fn begun(lab: &Lab) -> bool {
        lab.store.write(|tx| Box::pin(async move { begin(tx, 1).await })).await.unwrap()
    }

    async fn lab() -> Lab {
        let lab = Lab::new().await;
        let added = lab.store.write(|tx| {
            Box::pin(async move {
                let mut batch = Batch::on(tx);
                add(&mut batch, "preview", "00", NOW);
                batch.run().await
            })
        });
        added.await.unwrap();
        lab
    }

    #[tokio::test]
    async fn a_job_that_ends_the_gateway_each_time_is_left_to_a_person_after_three_beginnings() {
        let lab = lab().await;
        // Begun, and nothing more: the process ended.
        assert!(begun(&lab).await && begun(&lab).await && begun(&lab).await);
        assert!(!begun(&lab).await);
        assert_eq!(state(&lab).await.0, "failed");
        let mut read = lab.store.read().await.unwrap();
        assert_eq!(due(&mut read, "preview", NOW, 8).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_job_that_fails_in_order_is_begun_again_however_often() {
        let lab = lab().await;
        for attempts in 0..5 {
            assert!(begun(&lab).await);
            let job = Job { id: 1, subject: "00".into(), attempts };
            let told = lab
                .store
                .write(move |tx| Box::pin(async move { failed(tx, &job, "busy", false, NOW).await }));
            told.await.unwrap();
            assert_eq!(state(&lab).await, ("open".to_owned(), 0));
        }
    }
}
