//! PDF pages and scans of paper: kept to look at. No samples, so no calipers and no measurement.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::model::{Document, Ecg};

/// Where `%PDF-` stands; readers accept it anywhere in the first KiB.
pub(crate) fn pdf_mark(bytes: &[u8]) -> Option<usize> {
    const REACH: usize = 1024;
    bytes[..bytes.len().min(REACH)].windows(5).position(|w| w == b"%PDF-")
}

/// Takes a PDF, JPEG or PNG as a view-only document.
///
/// # Errors
/// The signature is wrong, or a PDF has no end mark in its last 2 KiB (it was cut).
pub fn read(bytes: &[u8], format: Format) -> Result<Ecg, ReadError> {
    let fail = |kind, reason: &str| Err(ReadError::new(format, kind, "file", 0, reason));
    let media_type = if pdf_mark(bytes).is_some() {
        /// Writers append comments and line ends after the end mark.
        const TAIL: usize = 2048;
        let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
        if !tail.windows(5).any(|w| w == b"%%EOF") {
            return fail(ErrorKind::Truncated, "the PDF has no end mark: it was cut");
        }
        "application/pdf"
    } else if bytes.starts_with(b"\xFF\xD8\xFF") {
        "image/jpeg"
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        "image/png"
    } else {
        return fail(ErrorKind::Malformed, "is neither PDF, JPEG nor PNG");
    };
    let mut ecg = Ecg::new(format);
    ecg.document = Some(Document { media_type, bytes: bytes.to_vec() });
    ecg.warnings.push("view only: a page without samples has no calipers".into());
    Ok(ecg)
}
