//! The one error of every reader: which format, which field, where, why.

use crate::format::Format;

/// What sort of refusal this is; callers choose the wording for a person by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The bytes end before what they declare.
    Truncated,
    /// A field contradicts its format or another field.
    Malformed,
    /// Lawful, but a variant this reader does not decode (the reason says which).
    Unsupported,
    /// A stated size passes one of the limits of [`crate::limits`].
    Limit,
    /// Readable, but it holds no ECG.
    NotEcg,
    /// A name in the file points outside the record.
    UnsafeName,
    /// A second file of the record is needed and was not given.
    MissingCompanion,
}

/// A refusal to read, naming format, field, place and reason.
///
/// `Display` is `FIELD@OFFSET: reason`; offsets are bytes from the start of the file (for XML: of its text as UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}@{offset}: {reason}")]
pub struct ReadError {
    /// The format that was being read, if one was recognised.
    pub format: Option<Format>,
    /// Field, tag, section or element.
    pub field: String,
    /// Byte offset of the field.
    pub offset: u64,
    /// Sort of refusal.
    pub kind: ErrorKind,
    /// Why, in one sentence.
    pub reason: String,
}

impl ReadError {
    /// A refusal of `kind` at `field`.
    pub fn new(
        format: Format,
        kind: ErrorKind,
        field: impl Into<String>,
        offset: usize,
        reason: impl Into<String>,
    ) -> Self {
        Self { format: Some(format), field: field.into(), offset: offset as u64, kind, reason: reason.into() }
    }

    /// Nothing here is recognised as an ECG.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { format: None, field: "file".into(), offset: 0, kind: ErrorKind::NotEcg, reason: reason.into() }
    }
}
