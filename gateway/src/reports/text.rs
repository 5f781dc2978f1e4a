//! The personal words of reports, apart from everything else (table `report_text`).

use crate::store::{Columns, StoreError};
use relay_core::clock::UtcMs;
use sqlx::SqliteConnection;

/// Stores words and gives their row. `purpose`: draft, version, critical, read_back, action, retake.
///
/// # Errors
/// [`StoreError`].
pub async fn put_text(
    tx: &mut SqliteConnection,
    study_id: i64,
    purpose: &'static str,
    body: &impl serde::Serialize,
    now: UtcMs,
) -> Result<i64, StoreError> {
    let body = serde_json::to_string(body).map_err(|e| {
        StoreError::refuse(relay_core::codes::Code::FieldInvalid, purpose, format!("not serialisable: {e}"))
    })?;
    let done = sqlx::query("INSERT INTO report_text (study_id, purpose, body, at) VALUES ($1, $2, $3, $4)")
        .bind(study_id)
        .bind(purpose)
        .bind(body)
        .bind(now.0)
        .execute(tx)
        .await
        .map_err(StoreError::database("store a text"))?;
    Ok(done.last_insert_rowid())
}

/// The words of a row.
///
/// # Errors
/// [`StoreError::Corrupt`] when they are not of the expected shape.
pub async fn text_of<T: serde::de::DeserializeOwned>(
    tx: &mut SqliteConnection,
    text_id: i64,
) -> Result<T, StoreError> {
    let row = sqlx::query("SELECT body FROM report_text WHERE id = $1")
        .bind(text_id)
        .fetch_one(tx)
        .await
        .map_err(StoreError::database("read a text"))?;
    Columns::of(&row, "report_text", &text_id.to_string()).json("body")
}
