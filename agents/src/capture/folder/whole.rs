//! Whether a file is written to its end, as far as its own words tell.

use crate::sniff::{self, SniffError};
use relay_core::codes::{Code, Refusal};
use relay_core::study::ObjectKind;
use relay_ecg::{ErrorKind, Hints};
use std::io::Read as _;
use std::path::Path;

/// Longest ECG file (bytes) that is decoded to see whether it ends: a resting ECG in the wordiest format. Longer ones are
/// judged by silence alone.
const MAX_ECG_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes at the beginning that are all zero in a file whose room was reserved and nothing written.
const HEAD_BYTES: u64 = 4 * 1024;

/// Why the file seems to be cut off; `None` when it ends as it should, or is something else altogether.
pub(super) fn cut_short(path: &Path, name: Option<&str>) -> Option<String> {
    match sniff::sniff(path, name) {
        Err(SniffError::Refused(refusal)) if of_length(&refusal) || is_blank(path) => Some(refusal.reason),
        Err(_) => None,
        Ok(sniff) if sniff.object == ObjectKind::Ecg => ecg_cut_short(path, name),
        Ok(_) => None,
    }
}

/// Not what decodes to its end, or is refused for another reason. A reader that fails on a hostile file says nothing.
fn ecg_cut_short(path: &Path, name: Option<&str>) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_ECG_BYTES + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_ECG_BYTES {
        return None;
    }
    let decode = || relay_ecg::read(&bytes, &Hints { name, companions: &[], format: None }).map(drop);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)) {
        Ok(Err(error)) if matches!(error.kind, ErrorKind::Truncated | ErrorKind::Malformed) => {
            Some(error.to_string())
        }
        _ => None,
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
