//! What can go wrong between the county and its database.

use relay_core::codes::{Code, Refusal};
use std::sync::Arc;

/// Why a read or write failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused a statement.
    #[error("database: {what}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// The driver's error.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The disk is full: nothing of this write was kept.
    #[error("database: {what}: the disk is full")]
    Full {
        /// What was tried.
        what: &'static str,
    },
    /// A stored value is not what the schema promises.
    #[error("table {table}, row {row}, column {column}: {reason}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// The row's key in words.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row that had to change is not there or no longer in the expected state.
    #[error("table {table}, row {row}: expected to change 1 row, changed {changed}")]
    Changed {
        /// Table.
        table: &'static str,
        /// The row's key in words.
        row: String,
        /// Rows changed.
        changed: u64,
    },
    /// The rules refuse the step; nothing of this write was kept.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The writer has stopped, or did not answer within its deadline. The outcome is unknown: ask, never guess.
    #[error("the store's writer {0}")]
    Writer(&'static str),
    /// The migrations do not fit the database.
    #[error("migration: {0}")]
    Migration(String),
}

/// SQLite's primary result code for a full disk (`SQLITE_FULL`).
const SQLITE_FULL: i64 = 13;

impl StoreError {
    /// Wraps a driver error with what was tried.
    pub fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| {
            let code = source.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i64>().ok());
            if code.is_some_and(|c| c & 0xff == SQLITE_FULL) {
                return Self::Full { what };
            }
            Self::Database { what, source: Arc::new(source) }
        }
    }

    /// A domain refusal as a store error, so that `?` rolls the write back.
    pub fn refuse(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, field, reason))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal,
            StoreError::Full { .. } => Self::new(Code::StorageFull, "", "the county's disk is full"),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "store failed");
                Self::new(Code::StorageFailed, "", "the county's store failed; nothing was acknowledged")
            }
        }
    }
}
