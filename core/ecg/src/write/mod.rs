//! Writers, so that every cart's file can be shown by any viewer and handed on. The original file stays the archived truth.

mod dicom;
mod element;
mod prepare;
pub mod scp;

pub use dicom::{DicomIdentity, dicom, lawful_uid};
pub use scp::{ScpIdentity, scp};

/// Why an ECG cannot be written in a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct WriteError {
    /// What does not fit.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl WriteError {
    pub(crate) fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}
