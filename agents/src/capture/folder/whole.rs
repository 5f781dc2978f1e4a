//! Whether a file is written to its end, as far as its own words tell.

use crate::sniff::{self, SniffError};
use relay_core::codes::{Code, Refusal};
use relay_core::study::ObjectKind;
use std::io::Read as _;
use std::path::Path;

/// Bytes at the beginning that are all zero in a file whose room was reserved and nothing written.
const HEAD_BYTES: u64 = 4 * 1024;

/// Why the file seems to be cut off; `None` when it ends as it should, or is something else altogether.
pub(super) fn cut_short(path: &Path, name: Option<&str>) -> Option<String> {
    match sniff::sniff(path, name) {
        Err(SniffError::Refused(refusal)) if of_length(&refusal) || is_blank(path) => Some(refusal.reason),
        Err(_) => None,
        Ok(sniff) if sniff.object == ObjectKind::Ecg => crate::ecg::cut_short(path, name),
        Ok(_) => None,
    }
}

const fn of_length(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::RefusedLength | Code::RefusedUnparsable | Code::RefusedPixelData)
}

/// Empty, or room without content.
fn is_blank(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && head.iter().all(|byte| *byte == 0)
}
