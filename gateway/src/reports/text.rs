//! The personal words of reports, apart from everything else (table `report_text`).

use crate::store::{Columns, StoreError, one_row};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use sqlx::SqliteConnection;

/// Stores words and gives their row. `purpose`: draft, version, critical, read_back, action, retake, void.
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
    let body = json(body)?;
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

/// Puts other words in place of those of a row.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn replace_text(
    tx: &mut SqliteConnection,
    text_id: i64,
    body: &impl serde::Serialize,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE report_text SET body = $2, at = $3 WHERE id = $1")
        .bind(text_id)
        .bind(json(body)?)
        .bind(now.0)
        .execute(tx)
        .await
        .map_err(StoreError::database("replace a text"))?;
    one_row(&done, "report_text", text_id)
}

fn json(body: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(body)
        .map_err(|e| StoreError::refuse(Code::FieldInvalid, "text", format!("not serialisable: {e}")))
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
