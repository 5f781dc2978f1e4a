//! Why a coded stream is refused.

/// A coded stream that cannot be decoded. Nothing that was decoded before it may be trusted either: only the hash of the whole
/// file proves a film.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field says what no coder writes.
    #[error("coded film, {field}: {reason}")]
    Damaged {
        /// The field of the stream, as docs/film.md names it.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A length beyond what the limits or the caller's expected length allow.
    #[error("coded film, {field}: {claimed} bytes, at most {limit} are allowed")]
    TooLong {
        /// The field of the stream, as docs/film.md names it.
        field: &'static str,
        /// What the stream claims.
        claimed: u64,
        /// What is allowed here.
        limit: u64,
    },
    /// The stream stops before its end, or before the expected length.
    #[error("coded film: ends after {decoded} of {expected} bytes")]
    Unfinished {
        /// Bytes decoded so far.
        decoded: u64,
        /// Bytes that the caller expects.
        expected: u64,
    },
}

pub(crate) fn damaged(field: &'static str, reason: impl Into<String>) -> DecodeError {
    DecodeError::Damaged { field, reason: reason.into() }
}
