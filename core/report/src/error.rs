//! What can be wrong with a report, by field.

use std::path::PathBuf;

/// A field that may not be signed or printed as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Longer than the limit for its field.
    #[error("report field {field}: {chars} characters, at most {limit} allowed")]
    TooLong {
        /// Path of the field, such as `text.findings`.
        field: &'static str,
        /// Length found.
        chars: usize,
        /// Limit, in characters.
        limit: usize,
    },
    /// A list with too many elements.
    #[error("report field {field}: {count} elements, at most {limit} allowed")]
    TooMany {
        /// Path of the field.
        field: &'static str,
        /// Elements found.
        count: usize,
        /// Limit.
        limit: usize,
    },
    /// Blank where text is needed; an absent optional field is `None`.
    #[error("report field {field}: empty")]
    Empty {
        /// Path of the field.
        field: &'static str,
    },
    /// A control or direction-changing character, with which the printed text could differ from the signed one.
    #[error("report field {field}: character U+{code:04X} at position {position} is not allowed")]
    Character {
        /// Path of the field.
        field: &'static str,
        /// Code point.
        code: u32,
        /// Position in characters, from 0.
        position: usize,
    },
    /// A time before 1970 or after 2100.
    #[error("report field {field}: time {ms} ms is outside 1970..2100")]
    Time {
        /// Path of the field.
        field: &'static str,
        /// Milliseconds.
        ms: i64,
    },
    /// A value that contradicts another one or is not of the right form.
    #[error("report field {field}: {reason}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Why a canonical document could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The content breaks a rule.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Larger than any report can be.
    #[error("canonical document: {bytes} bytes, at most {limit} allowed")]
    TooLarge {
        /// Size found.
        bytes: usize,
        /// Limit.
        limit: usize,
    },
    /// Not JSON, or not the structure that this crate writes.
    #[error("canonical document: {0}")]
    Json(#[from] serde_json::Error),
    /// An element that the document must have.
    #[error("canonical document: {element} is missing or of the wrong type")]
    Missing {
        /// Element, such as `Composition` or `Composition.attester[0].time`.
        element: &'static str,
    },
    /// Parsed, but writing it again gives other bytes: something in it is unknown, repeated or contradictory.
    #[error("canonical document: bytes differ from the canonical form at offset {offset}")]
    NotCanonical {
        /// First byte that differs.
        offset: usize,
    },
}

/// Why the fonts could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FontError {
    /// No such file.
    #[error("font {}: not found; install the Debian package fonts-noto-cjk or set the font directory", path.display())]
    NotFound {
        /// File looked for.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("font {}: {source}", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Not an OpenType font with CFF or TrueType outlines and a Chinese (SC) face.
    #[error("font {}: table {table}: {reason}", path.display())]
    Malformed {
        /// File.
        path: PathBuf,
        /// OpenType table.
        table: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Why no PDF was made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The content breaks a rule.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The canonical form, whose hash is the document id, could not be made.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Fonts.
    #[error(transparent)]
    Font(#[from] FontError),
    /// More pages than allowed, mostly because of many empty lines.
    #[error("report needs more than {limit} pages; shorten text.findings")]
    TooManyPages {
        /// Limit.
        limit: usize,
    },
    /// The ECG drawing cannot be placed.
    #[error("ECG drawing field {field}: {reason}")]
    Drawing {
        /// Field of the drawing.
        field: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The PDF writer refused.
    #[error("PDF writer: {0}")]
    Pdf(String),
}
