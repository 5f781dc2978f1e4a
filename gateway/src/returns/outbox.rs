//! Letters that wait.

use crate::store::{Batch, Columns, Store, StoreError, signed};
use bytes::Bytes;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobError;
use relay_core::ids::{ClinicId, LetterId, ObjectHash};
use relay_core::letter::{LetterHead, LetterKind};
use relay_core::limits::MAX_LETTER_BYTES;
use sqlx::SqliteConnection;
use std::io::Read as _;

pub(super) async fn pending(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    limit: usize,
    now: UtcMs,
) -> Result<Vec<LetterHead>, StoreError> {
    // Critical notices are listed apart: no number of other letters keeps one out.
    let rows = sqlx::query(
        "WITH waiting AS (
             SELECT *, kind <> $3 AS other, refusals + delays > 0 AS failed FROM letter
             WHERE clinic = $1 AND received_at IS NULL AND superseded_at IS NULL
               AND (next_try_at IS NULL OR next_try_at <= $4))
         SELECT * FROM (SELECT * FROM waiting WHERE NOT other ORDER BY failed, priority, written_at, id LIMIT $2)
         UNION ALL
         SELECT * FROM (SELECT * FROM waiting WHERE other ORDER BY failed, priority, written_at, id LIMIT $2)
         ORDER BY other, failed, priority, written_at, id",
    )
    .bind(clinic.as_str())
    .bind(signed(limit)?)
    .bind(LetterKind::CriticalNotice.word())
    .bind(now.0)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("read waiting letters"))?;
    let mut letters = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: LetterId = Columns::of(row, "letter", "?").parsed("id")?;
        let c = Columns::of(row, "letter", id.as_str());
        letters.push(LetterHead {
            kind: c.parsed::<LetterKind>("kind")?,
            study: c.parsed("study_uid")?,
            length: c.unsigned("length")?,
            hash: c.hash("body_hash")?,
            written_at: c.time("written_at")?,
            id: id.clone(),
        });
    }
    Ok(letters)
}

/// The body of a letter that stands in its row, with its hash proven; its attempts are not counted.
pub(super) async fn short_body(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row =
        sqlx::query("SELECT body, body_hash FROM letter WHERE id = $1 AND clinic = $2 AND body IS NOT NULL")
            .bind(id.as_str())
            .bind(clinic.as_str())
            .fetch_optional(tx)
            .await
            .map_err(StoreError::database("read a short letter"))?;
    let Some(row) = row else { return Ok(None) };
    let c = Columns::of(&row, "letter", id.as_str());
    let (body, hash): (Vec<u8>, ObjectHash) = (c.get("body")?, c.hash("body_hash")?);
    if ObjectHash::of(&body) == hash {
        return Ok(Some(body));
    }
    let (row, reason) = (id.to_string(), "the bytes are not those of body_hash".to_owned());
    Err(StoreError::Corrupt { table: "letter", column: "body", row, reason })
}

/// Records that the letter is about to travel; gives the address of its body.
pub(super) async fn attempt(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    id: &LetterId,
    now: UtcMs,
) -> Result<ObjectHash, StoreError> {
    let mut batch = Batch::on(tx);
    batch
        .add(
            "mark a version as sent",
            "UPDATE report_version SET delivery = 'sent', sent_at = $2 WHERE letter = $1 AND delivery = 'queued'",
        )
        .bind(id.as_str())
        .bind(now.0);
    batch
        .add(
            "record an attempt",
            "UPDATE letter SET attempts = attempts + 1, sent_at = coalesce(sent_at, $3) WHERE id = $1 AND clinic = $2
             RETURNING body_hash",
        )
        .bind(id.as_str())
        .bind(clinic.as_str())
        .bind(now.0);
    let row = batch.row().await?.ok_or_else(|| unknown(id))?;
    Columns::of(&row, "letter", id.as_str()).hash("body_hash")
}

pub(super) fn unknown(id: &LetterId) -> StoreError {
    StoreError::refuse(Code::NotFound, "letter", format!("no letter {id} for this clinic"))
}

/// Reads a body back and proves its hash: a byte that changed on our disk does not leave the county.
pub(super) async fn read_body(store: &Store, id: &LetterId, hash: ObjectHash) -> Result<Bytes, Refusal> {
    let blobs = store.blobs().clone();
    let read = tokio::task::spawn_blocking(move || {
        let file = blobs.open_blob(&hash)?;
        let mut bytes = Vec::new();
        file.take(MAX_LETTER_BYTES + 1).read_to_end(&mut bytes).map_err(|source| BlobError::Disk {
            step: "read",
            path: blobs.path_of(&hash),
            source,
        })?;
        let found = ObjectHash::of(&bytes);
        if found == hash { Ok(bytes) } else { Err(BlobError::Digest { expected: hash, found }) }
    });
    let failed = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(letter = %id, error, "a letter cannot be read back");
        Refusal::new(Code::StorageFailed, "letter", "the county cannot read the letter back")
    };
    match read.await {
        Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Stores bytes as a blob before a row names them.
pub(super) async fn put(store: &Store, bytes: Vec<u8>) -> Result<ObjectHash, Refusal> {
    let blobs = store.blobs().clone();
    match tokio::task::spawn_blocking(move || blobs.put(&bytes)).await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error)) if error.is_full() => Err(Refusal::new(
            Code::StorageFull,
            "disk",
            "the county's disk is full; nothing was acknowledged",
        )),
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "storing bytes");
            Err(Refusal::new(
                Code::StorageFailed,
                "disk",
                "the county's disk failed; nothing was acknowledged",
            ))
        }
        Err(_) => Err(Refusal::new(Code::Internal, "disk", "a storage task ended early")),
    }
}
