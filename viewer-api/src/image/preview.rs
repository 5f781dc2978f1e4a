//! The preview that the gateway makes after ingest.

use super::header::Source;
use super::native::Native;
use super::pool::on_deep_stack;
use super::render::{self, Format, Options};
use super::{decode, facts};
use crate::api::image::FrameInfo;
use crate::limits::{PREVIEW_BUDGET_BYTES, PREVIEW_LONG_SIDE};
use crate::problem::Problem;
use relay_core::codes::Code;
use relay_core::durable::{Disk, write_atomic};
use std::path::Path;

/// File mode of a preview: it shows a patient.
const PREVIEW_MODE: u32 = 0o600;
/// JPEG 2000 and its high-throughput form, without and with loss.
const WAVELETS: [&str; 5] = [
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
];

/// The preview of the first frame: JPEG, long side ≤ 1024, default window. An uncompressed frame of any size is read strip
/// by strip; what its codec needs whole is refused beyond [`PREVIEW_BUDGET_BYTES`]. Blocks.
///
/// # Errors
/// As [`decode::frame`]; `REFUSED_TOO_LARGE` naming the budget.
pub fn jpeg(path: &Path) -> Result<Vec<u8>, Problem> {
    let options = Options { format: Format::Jpeg, max_side: Some(PREVIEW_LONG_SIDE), ..Options::default() };
    let source = Source::of(path)?;
    let header = source.header()?;
    if let Some(mut native) = Native::of(&source, &header, 1)? {
        drop(header);
        return render::native_picture(&mut native, &options);
    }
    let info = facts::frame_info(&header, 1)?;
    drop(header);
    let need = source.whole_bytes().saturating_add(decoded_bytes(&info));
    if need > PREVIEW_BUDGET_BYTES {
        let reason = format!(
            "{}: about {need} bytes of memory for a preview, at most {PREVIEW_BUDGET_BYTES} are given",
            info.transfer_syntax
        );
        return Err(Problem::new(Code::RefusedTooLarge, "preview", reason));
    }
    render::picture(decode::coded(&source, 1)?, &options)
}

/// Samples and the codec's own copies of them. JPEG 2000 (PS3.5 §A.4.4) works in 32 bits a sample.
fn decoded_bytes(info: &FrameInfo) -> u64 {
    let samples = u64::from(info.rows) * u64::from(info.columns) * u64::from(info.samples_per_pixel);
    let container = u64::from(info.bits_allocated.div_ceil(8));
    let wavelets = if WAVELETS.contains(&info.transfer_syntax.as_str()) { 4 } else { 0 };
    samples.saturating_mul(2 * container + wavelets)
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
