//! The preview that the gateway makes after ingest.

use super::decode;
use super::pool::on_deep_stack;
use super::render::{self, Format, Options};
use crate::limits::PREVIEW_LONG_SIDE;
use crate::problem::Problem;
use relay_core::codes::Code;
use relay_core::durable::{Disk, write_atomic};
use std::path::Path;

/// File mode of a preview: it shows a patient.
const PREVIEW_MODE: u32 = 0o600;

/// The preview of the first frame: JPEG, long side ≤ 1024, default window. Blocks.
///
/// # Errors
/// As [`decode::frame`].
pub fn jpeg(path: &Path) -> Result<Vec<u8>, Problem> {
    let frame = decode::frame(path, 1)?;
    let options = Options { format: Format::Jpeg, max_side: Some(PREVIEW_LONG_SIDE), ..Options::default() };
    render::picture(frame, &options)
}

/// Makes the preview of `path` and writes it to `out`; returns its length in bytes. Blocks; a decoder's panic is a
/// refusal here too.
///
/// # Errors
/// As [`jpeg`], and `STORAGE_FAILED` when it cannot be written.
pub fn make_preview(disk: &dyn Disk, path: &Path, out: &Path) -> Result<u64, Problem> {
    let bytes = on_deep_stack(|| jpeg(path))?;
    write_atomic(disk, out, &bytes, PREVIEW_MODE)
        .map_err(|error| Problem::new(Code::StorageFailed, "preview", error.to_string()))?;
    Ok(bytes.len() as u64)
}
