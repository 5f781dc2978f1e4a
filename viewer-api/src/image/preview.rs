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

/// Makes the preview of `path` and writes it to `out`; returns its bytes. Blocks; a decoder's panic is a
/// refusal here too.
///
/// # Errors
/// As [`jpeg`], and `STORAGE_FAILED` when it cannot be written.
pub fn make_preview(disk: &dyn Disk, path: &Path, out: &Path) -> Result<Vec<u8>, Problem> {
    let bytes = on_deep_stack(|| jpeg(path))?;
    write_atomic(disk, out, &bytes, PREVIEW_MODE)
        .map_err(|error| Problem::new(Code::StorageFailed, "preview", error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::phantom;
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    use relay_core::durable::RealDisk;
    use std::path::PathBuf;

    type Element = DataElement<InMemDicomObject>;

    fn number(tag: dicom_core::Tag, value: u16) -> Element {
        DataElement::new(tag, VR::US, PrimitiveValue::from(value))
    }

    fn text(tag: dicom_core::Tag, vr: VR, value: &str) -> Element {
        DataElement::new(tag, vr, PrimitiveValue::from(value))
    }

    fn file(dir: &Path, elements: Vec<Element>) -> PathBuf {
        let path = dir.join("film.dcm");
        write_atomic(&RealDisk, &path, &phantom(elements), PREVIEW_MODE).unwrap();
        path
    }

    fn grey_film(rows: u16, columns: u16) -> Vec<Element> {
        let values: Vec<u16> = (0..u32::from(rows) * u32::from(columns))
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 20) as u16)
            .collect();
        vec![
            number(tags::ROWS, rows),
            number(tags::COLUMNS, columns),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values.into())),
        ]
    }

    fn colour_film(side: u16, planar: u16) -> Vec<Element> {
        let bytes: Vec<u8> =
            (0..3 * u32::from(side) * u32::from(side)).map(|n| (n * 7 % 251) as u8).collect();
        vec![
            number(tags::ROWS, side),
            number(tags::COLUMNS, side),
            number(tags::SAMPLES_PER_PIXEL, 3),
            number(tags::PLANAR_CONFIGURATION, planar),
            number(tags::BITS_ALLOCATED, 8),
            number(tags::BITS_STORED, 8),
            number(tags::HIGH_BIT, 7),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
            DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into())),
        ]
    }

    #[test]
    fn strips_give_the_same_picture_as_the_whole_frame() {
        let dir = tempfile::tempdir().unwrap();
        let windowed = [
            grey_film(2_900, 1_777),
            vec![text(tags::WINDOW_CENTER, VR::DS, "2000"), text(tags::WINDOW_WIDTH, VR::DS, "900")],
        ]
        .concat();
        let inverted =
            [grey_film(40, 3_000), vec![text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1")]];
        for elements in [grey_film(3_100, 2_050), windowed, inverted.concat(), colour_film(1_300, 0)] {
            let path = file(dir.path(), elements);
            let options =
                Options { format: Format::Jpeg, max_side: Some(PREVIEW_LONG_SIDE), ..Options::default() };
            let source = Source::of(&path).unwrap();
            assert!(Native::of(&source, &source.header().unwrap(), 1).unwrap().is_some());
            let whole = render::picture(decode::coded(&source, 1).unwrap(), &options).unwrap();
            assert_eq!(jpeg(&path).unwrap(), whole);
            let (read, decoded) = (decode::frame(&path, 1).unwrap(), decode::coded(&source, 1).unwrap());
            assert_eq!(read.into_raw(), decoded.into_raw());
        }
    }

    #[test]
    fn what_must_be_in_memory_whole_is_refused_beyond_the_budget_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), colour_film(3_000, 1));
        let refused = jpeg(&path).unwrap_err().0;
        assert_eq!((refused.code, refused.field.as_str()), (Code::RefusedTooLarge, "preview"));
        assert!(refused.reason.contains(&PREVIEW_BUDGET_BYTES.to_string()), "{refused}");
    }
}
