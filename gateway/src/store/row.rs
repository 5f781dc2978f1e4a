//! Typed access to columns; a value that does not fit names table, row and column.

use super::StoreError;
use relay_core::clock::UtcMs;
use relay_core::ids::{ObjectHash, Sha256};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use std::fmt::Display;
use std::str::FromStr;

/// One row with the table it comes from and its key in words, for error messages.
#[derive(Clone, Copy)]
pub struct Columns<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: &'r str,
}

impl std::fmt::Debug for Columns<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Columns").field("table", &self.table).field("key", &self.key).finish_non_exhaustive()
    }
}

impl<'r> Columns<'r> {
    /// Looks at a row of `table`; `key` names the row in errors and must hold no personal data.
    #[must_use]
    pub const fn of(row: &'r SqliteRow, table: &'static str, key: &'r str) -> Self {
        Self { row, table, key }
    }

    fn corrupt(&self, column: &'static str, reason: impl Display) -> StoreError {
        let reason = reason.to_string();
        StoreError::Corrupt { table: self.table, column, row: self.key.to_owned(), reason }
    }

    /// A value of a type the driver knows (`i64`, `String`, `Vec<u8>`, `Option` of them …).
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: for<'a> sqlx::Decode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.row.try_get(column).map_err(|e| self.corrupt(column, e))
    }

    /// A text that parses: an id or a word.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn parsed<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        text.parse().map_err(|e| self.corrupt(column, e))
    }

    /// A text that parses, where there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn parsed_or_none<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|t| t.parse().map_err(|e| self.corrupt(column, e))).transpose()
    }

    /// JSON text.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        // The parser's message may quote the value, which may be personal: only its place is kept.
        serde_json::from_str(&text)
            .map_err(|e| self.corrupt(column, format!("not the expected JSON at column {}", e.column())))
    }

    /// A BLAKE3 address.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn hash(&self, column: &'static str) -> Result<ObjectHash, StoreError> {
        let bytes: Vec<u8> = self.get(column)?;
        ObjectHash::from_slice(&bytes)
            .ok_or_else(|| self.corrupt(column, format!("{} bytes are no digest", bytes.len())))
    }

    /// A SHA-256.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn sha256(&self, column: &'static str) -> Result<Sha256, StoreError> {
        Ok(Sha256(self.hash(column)?.0))
    }

    /// A time.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn time(&self, column: &'static str) -> Result<UtcMs, StoreError> {
        Ok(UtcMs(self.get(column)?))
    }

    /// A time, where there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn time_or_none(&self, column: &'static str) -> Result<Option<UtcMs>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(UtcMs))
    }

    /// A number that cannot be negative.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn unsigned<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|_| self.corrupt(column, format!("{value} is out of range")))
    }
}

/// Proves that a write changed exactly one row.
///
/// # Errors
/// [`StoreError::Changed`].
pub fn one_row(done: &SqliteQueryResult, table: &'static str, row: impl Display) -> Result<(), StoreError> {
    match done.rows_affected() {
        1 => Ok(()),
        changed => Err(StoreError::Changed { table, row: row.to_string(), changed }),
    }
}

/// A count or length as the database holds it.
///
/// # Errors
/// [`StoreError::Refused`] when it does not fit (no lawful value does not).
pub fn signed(value: impl TryInto<i64>) -> Result<i64, StoreError> {
    value.try_into().map_err(|_| {
        StoreError::refuse(relay_core::codes::Code::FieldInvalid, "number", "larger than the store can hold")
    })
}
