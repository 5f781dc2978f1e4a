//! What a signed study still asks of its author: one row for each reason, so that none hides another.

use crate::store::{Batch, StoreError, signed};
use relay_core::clock::UtcMs;
use relay_core::ids::ReportId;
use sqlx::SqliteConnection;

/// Objects came after signing: 待补充.
pub const LATE_OBJECTS: &str = "late_objects";
/// The identity of a signed study was corrected: 待更正.
pub const IDENTITY_CORRECTED: &str = "identity_corrected";

/// Asks the item's author; asked again while open, it stays as it is.
pub fn ask(batch: &mut Batch<'_>, work_item: i64, reason: &'static str, now: UtcMs) {
    batch
        .add(
            "ask for attention",
            "INSERT INTO attention (work_item, reason, owner, at) SELECT id, $2, author, $3 FROM work_item WHERE id = $1
             ON CONFLICT (work_item, reason) WHERE settled_at IS NULL DO NOTHING",
        )
        .bind(work_item)
        .bind(reason)
        .bind(now.0);
}

/// True while something is asked of the item's author.
///
/// # Errors
/// [`StoreError`].
pub async fn asked(tx: &mut SqliteConnection, work_item: i64) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM attention WHERE work_item = $1 AND settled_at IS NULL)")
        .bind(work_item)
        .fetch_one(tx)
        .await
        .map_err(StoreError::database("look for what is asked of an author"))
}

/// An author has signed a version over the study as it is now: everything asked before is answered.
///
/// # Errors
/// [`StoreError`].
pub async fn settle(
    tx: &mut SqliteConnection,
    work_item: i64,
    by: (&ReportId, u32),
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE attention SET settled_at = $2, settled_by = $3 || '/' || $4 WHERE work_item = $1 AND settled_at IS NULL",
    )
    .bind(work_item)
    .bind(now.0)
    .bind(by.0.as_str())
    .bind(signed(by.1)?)
    .execute(tx)
    .await
    .map(|_| ())
    .map_err(StoreError::database("settle what was asked for"))
}
