//! Files that were not taken into custody, so that a person can see why.

use super::cells::Cells;
use super::error::db;
use super::{Origin, Spool, SpoolError};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::Sha256;

/// Refused files in one list.
const MAX_REJECTS: i64 = 500;
/// Refused files that are remembered: a folder full of holiday pictures must not fill the database.
const MAX_KEPT: i64 = 10_000;

/// A file that was not taken.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RejectView {
    /// When.
    pub at: UtcMs,
    /// AE title, folder or `send`.
    pub source: String,
    /// Its name.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Name of the code.
    pub code: String,
    /// The code in Chinese.
    #[serde(default)]
    pub code_zh: String,
    /// Which field.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl Spool {
    /// Puts a file into the list.
    pub(crate) async fn record_reject(
        &self,
        origin: &Origin,
        sha256: Sha256,
        refusal: &Refusal,
    ) -> Result<(), SpoolError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO reject (at, source, file_name, sha256, code, field, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (source, file_name, sha256) DO UPDATE SET at = excluded.at, code = excluded.code,
                field = excluded.field, reason = excluded.reason",
        )
        .bind(self.now().0)
        .bind(&origin.source)
        .bind(origin.name.as_deref().unwrap_or_default())
        .bind(sha256.0.as_slice())
        .bind(refusal.code.number())
        .bind(&refusal.field)
        .bind(&refusal.reason)
        .execute(&mut *tx)
        .await
        .map_err(db("record a refused file"))?;
        sqlx::query("DELETE FROM reject WHERE id <= (SELECT MAX(id) FROM reject) - ?")
            .bind(MAX_KEPT)
            .execute(&mut *tx)
            .await
            .map_err(db("forget old refused files"))?;
        self.commit(tx).await
    }

    /// Files that were not taken, newest first, at most 500.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn rejects(&self) -> Result<Vec<RejectView>, SpoolError> {
        let rows =
            sqlx::query("SELECT *, CAST(id AS TEXT) AS key FROM reject ORDER BY at DESC, id DESC LIMIT ?")
                .bind(MAX_REJECTS)
                .fetch_all(&self.0.reader)
                .await
                .map_err(db("list refused files"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "reject", "key");
            let code: i64 = cells.get("code")?;
            Ok(RejectView {
                at: cells.time("at")?,
                source: cells.get("source")?,
                file: cells.get("file_name")?,
                sha256: cells.read("sha256", |bytes: Vec<u8>| Sha256::from_slice(&bytes))?,
                code: code_name(code),
                code_zh: code_of(code).map_or("", Code::zh).to_owned(),
                field: cells.get("field")?,
                reason: cells.get("reason")?,
            })
        })))
    }
}

/// The code of this number, when this version knows it.
pub(super) fn code_of(number: i64) -> Option<Code> {
    u16::try_from(number).ok().and_then(Code::from_number)
}

/// Its name; a newer version's code by number.
pub(super) fn code_name(number: i64) -> String {
    code_of(number).map_or_else(|| number.to_string(), |c| c.name().to_owned())
}
