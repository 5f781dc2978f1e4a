//! Rows read without trust: a damaged cell is an error that names table, column and row, and one damaged row hides no other.

use super::{Spool, SpoolError};
use relay_core::clock::UtcMs;
use relay_core::ids::{LetterId, ObjectHash, StudyUid};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};
use std::sync::PoisonError;

/// Damaged rows that are remembered: more than a few mean that the disk is to be replaced.
const MAX_DAMAGED: usize = 64;

/// One row of a table.
pub(super) struct Cells<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: String,
}

impl<'r> Cells<'r> {
    /// A row whose key stands in the text column `key`.
    pub(super) fn of(row: &'r SqliteRow, table: &'static str, key: &str) -> Self {
        let key = row.try_get::<String, _>(key).unwrap_or_else(|_| "?".to_owned());
        Self { row, table, key }
    }

    /// The error that names a column of this row.
    pub(super) fn corrupt(&self, column: &'static str) -> SpoolError {
        SpoolError::Corrupt { table: self.table, column, row: self.key.clone() }
    }

    /// A column's value.
    pub(super) fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(
        &self,
        column: &'static str,
    ) -> Result<T, SpoolError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    /// A column's value in another form; `None` from `form` means that it is not lawful.
    pub(super) fn read<T: Decode<'r, Sqlite> + Type<Sqlite>, U>(
        &self,
        column: &'static str,
        form: impl FnOnce(T) -> Option<U>,
    ) -> Result<U, SpoolError> {
        form(self.get(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// A count or a length.
    pub(super) fn count(&self, column: &'static str) -> Result<u64, SpoolError> {
        self.read(column, |n: i64| u64::try_from(n).ok())
    }

    /// An instant.
    pub(super) fn time(&self, column: &'static str) -> Result<UtcMs, SpoolError> {
        self.get(column).map(UtcMs)
    }

    /// An instant that may be absent.
    pub(super) fn maybe_time(&self, column: &'static str) -> Result<Option<UtcMs>, SpoolError> {
        Ok(self.get::<Option<i64>>(column)?.map(UtcMs))
    }

    /// Zero or one.
    pub(super) fn flag(&self, column: &'static str) -> Result<bool, SpoolError> {
        Ok(self.get::<i64>(column)? != 0)
    }

    /// A StudyInstanceUID.
    pub(super) fn study(&self, column: &'static str) -> Result<StudyUid, SpoolError> {
        self.read(column, |text: String| StudyUid::parse(&text).ok())
    }

    /// A BLAKE3 address.
    pub(super) fn hash(&self, column: &'static str) -> Result<ObjectHash, SpoolError> {
        self.read(column, |bytes: Vec<u8>| ObjectHash::from_slice(&bytes))
    }
}

impl Spool {
    /// What can be read; the rest is logged and remembered for page and `doctor`.
    pub(super) fn readable<T>(&self, rows: impl Iterator<Item = Result<T, SpoolError>>) -> Vec<T> {
        rows.filter_map(|row| row.map_err(|error| self.remember_damage(&error)).ok()).collect()
    }

    /// Logs a damaged row once and remembers it.
    pub(super) fn remember_damage(&self, error: &SpoolError) {
        let mut damaged = self.0.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < MAX_DAMAGED && damaged.insert(error.to_string()) {
            tracing::error!(%error, "a damaged row was left out; the others are shown");
        }
    }

    /// A letter whose body is not what was stored: remembered as a damaged row is.
    pub(crate) fn remember_damaged_letter(&self, letter: &LetterId) {
        self.remember_damage(&SpoolError::Corrupt {
            table: "letter",
            column: "body",
            row: letter.to_string(),
        });
    }

    /// Rows that could not be read since the start, at most 64: somebody must repair the database.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        self.0.damaged.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
