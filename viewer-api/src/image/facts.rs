//! What a viewer needs to know of a frame, read from the header.

use super::header::Values as _;
use crate::api::image::{FrameInfo, Lut, Padding, Spacing, SpacingBasis, VoiFunction, Window};
use crate::limits::MAX_FRAME_SAMPLES;
use crate::problem::Problem;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use relay_core::codes::Code;

/// Transfer syntaxes that lose something by themselves (PS3.5 §8.2, §10).
const LOSSY_SYNTAXES: [&str; 6] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.203",
];
/// Two spacings are the same below this difference, in mm.
const SPACING_TOLERANCE_MM: f64 = 1e-6;

fn field(name: &str, reason: impl Into<String>) -> Problem {
    Problem::new(Code::UndecodableImage, name, reason)
}

fn required(object: &InMemDicomObject, tag: Tag, name: &str) -> Result<u32, Problem> {
    let value = object.int(tag).and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
    value.ok_or_else(|| field(name, "is absent or zero"))
}

/// The facts of frame `frame`, counted from 1.
///
/// # Errors
/// `UNDECODABLE_IMAGE` naming the attribute, `NOT_FOUND` for a frame that is not there.
pub fn frame_info(object: &DefaultDicomObject, frame: u32) -> Result<FrameInfo, Problem> {
    let info = unbounded(object, frame)?;
    let samples = u64::from(info.rows) * u64::from(info.columns) * u64::from(info.samples_per_pixel);
    if samples > MAX_FRAME_SAMPLES {
        let reason = format!("{samples} samples, at most {MAX_FRAME_SAMPLES} are decoded here");
        return Err(Problem::new(Code::RefusedTooLarge, "frame", reason));
    }
    Ok(info)
}

/// As [`frame_info`], for frames of any size.
///
/// # Errors
/// As [`frame_info`].
pub(super) fn unbounded(object: &DefaultDicomObject, frame: u32) -> Result<FrameInfo, Problem> {
    let rows = required(object, tags::ROWS, "(0028,0010) Rows")?;
    let columns = required(object, tags::COLUMNS, "(0028,0011) Columns")?;
    let frames = object
        .int(tags::NUMBER_OF_FRAMES)
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0)
        .unwrap_or(1);
    if frame == 0 || frame > frames {
        return Err(Problem::new(
            Code::NotFound,
            "frame",
            format!("the object has {frames} frames, counted from 1"),
        ));
    }
    let samples = object.int(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
    if samples != 1 && samples != 3 {
        return Err(field("(0028,0002) SamplesPerPixel", format!("{samples} is neither 1 nor 3")));
    }
    let bits_allocated = required(object, tags::BITS_ALLOCATED, "(0028,0100) BitsAllocated")?;
    if ![1, 8, 16].contains(&bits_allocated) {
        return Err(field("(0028,0100) BitsAllocated", format!("{bits_allocated} bits are not shown here")));
    }
    let bits_stored =
        object.int(tags::BITS_STORED).and_then(|n| u32::try_from(n).ok()).unwrap_or(bits_allocated);
    if bits_stored == 0 || bits_stored > bits_allocated {
        return Err(field(
            "(0028,0101) BitsStored",
            format!("{bits_stored} does not fit {bits_allocated} allocated bits"),
        ));
    }
    let signed = object.int(tags::PIXEL_REPRESENTATION) == Some(1);
    let photometric = object.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| "MONOCHROME2".into());
    if photometric == "PALETTE COLOR" {
        return Err(field("(0028,0004) PhotometricInterpretation", "PALETTE COLOR is not shown here"));
    }
    let invert = photometric == "MONOCHROME1"
        || object.text(tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE");
    let syntax = object.meta().transfer_syntax().to_owned();
    let lossy = object.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01")
        || LOSSY_SYNTAXES.contains(&syntax.as_str());
    let slope = first(object, tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0);
    Ok(FrameInfo {
        frame,
        frames,
        rows,
        columns,
        samples_per_pixel: if samples == 3 { 3 } else { 1 },
        photometric: if samples == 3 { "RGB".into() } else { photometric },
        raw_bits: if samples == 3 { 8 } else { 16 },
        bits_allocated: bits_allocated as u16,
        bits_stored: if bits_allocated == 1 { 8 } else { bits_stored as u16 },
        signed,
        rescale_slope: slope,
        rescale_intercept: first(object, tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        modality_lut: lut(object, tags::MODALITY_LUT_SEQUENCE, signed),
        windows: windows(object),
        voi_function: voi_function(object),
        voi_lut: lut(object, tags::VOILUT_SEQUENCE, signed),
        invert,
        padding: padding(object, signed),
        spacing: spacing(object),
        lossy,
        transfer_syntax: syntax,
    })
}

fn first(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    object.floats(tag)?.first().copied()
}

fn voi_function(object: &InMemDicomObject) -> VoiFunction {
    match object.text(tags::VOILUT_FUNCTION).as_deref() {
        Some("LINEAR_EXACT") => VoiFunction::LinearExact,
        Some("SIGMOID") => VoiFunction::Sigmoid,
        _ => VoiFunction::Linear,
    }
}

fn windows(object: &InMemDicomObject) -> Vec<Window> {
    let centers = object.floats(tags::WINDOW_CENTER).unwrap_or_default();
    let widths = object.floats(tags::WINDOW_WIDTH).unwrap_or_default();
    let explained = object.text(tags::WINDOW_CENTER_WIDTH_EXPLANATION).unwrap_or_default();
    let mut explanations = explained.split('\\');
    let pairs = centers.into_iter().zip(widths);
    pairs
        .map(|(center, width)| Window {
            center,
            width,
            explanation: explanations.next().unwrap_or_default().trim().to_owned(),
        })
        .filter(|window| window.width > 0.0)
        .collect()
}

/// A value that the header may hold as unsigned although the pixels are signed.
fn as_stored(value: i32, signed: bool) -> i32 {
    if signed && (0x8000..=0xFFFF).contains(&value) { value - 0x1_0000 } else { value }
}

fn lut(object: &InMemDicomObject, sequence: Tag, signed: bool) -> Option<Lut> {
    let item = object.get(sequence)?.items()?.first()?;
    let descriptor = item.ints(tags::LUT_DESCRIPTOR)?;
    let &[count, start, bits] = descriptor.as_slice() else { return None };
    let count = if count == 0 { 0x1_0000 } else { usize::from(count as u16) };
    let bits = u16::try_from(bits).ok().filter(|bits| (8..=16).contains(bits))?;
    let data = item.get(tags::LUT_DATA)?;
    let mut entries: Vec<u16> =
        data.to_multi_int::<i32>().ok()?.into_iter().map(|value| value as u16).collect();
    if bits == 8 && entries.len() == count.div_ceil(2) && count > 1 {
        // Eight-bit entries packed two to a word, the first in the low byte.
        entries = entries.iter().flat_map(|word| word.to_le_bytes()).map(u16::from).collect();
    }
    entries.truncate(count);
    if entries.len() != count {
        return None;
    }
    let explanation = item.text(tags::LUT_EXPLANATION).unwrap_or_default();
    Some(Lut { first: as_stored(start, signed), bits, entries, explanation })
}

fn padding(object: &InMemDicomObject, signed: bool) -> Option<Padding> {
    let value = as_stored(object.int(tags::PIXEL_PADDING_VALUE)?, signed);
    let limit = object.int(tags::PIXEL_PADDING_RANGE_LIMIT).map_or(value, |limit| as_stored(limit, signed));
    Some(Padding { low: value.min(limit), high: value.max(limit) })
}

fn pair(object: &InMemDicomObject, tag: Tag) -> Option<(f64, f64)> {
    match object.floats(tag)?.as_slice() {
        &[row, column, ..] if row > 0.0 && column > 0.0 => Some((row, column)),
        _ => None,
    }
}

/// PS3.3 §10.7.1.3: what PixelSpacing means depends on how it differs from the detector's spacing.
fn spacing(object: &InMemDicomObject) -> Option<Spacing> {
    let detector = pair(object, tags::IMAGER_PIXEL_SPACING);
    if let Some((row_mm, column_mm)) = pair(object, tags::PIXEL_SPACING) {
        let same = |a: f64, b: f64| (a - b).abs() < SPACING_TOLERANCE_MM;
        let basis = match detector {
            _ if object.text(tags::PIXEL_SPACING_CALIBRATION_TYPE).is_some() => SpacingBasis::Calibrated,
            Some((row, column)) if same(row, row_mm) && same(column, column_mm) => SpacingBasis::Detector,
            Some(_) => SpacingBasis::Calibrated,
            None => SpacingBasis::PixelSpacing,
        };
        return Some(Spacing { row_mm, column_mm, basis });
    }
    let (row, column) = detector?;
    match first(object, tags::ESTIMATED_RADIOGRAPHIC_MAGNIFICATION_FACTOR).filter(|factor| *factor >= 1.0) {
        Some(factor) => Some(Spacing {
            row_mm: row / factor,
            column_mm: column / factor,
            basis: SpacingBasis::DetectorCorrected,
        }),
        None => Some(Spacing { row_mm: row, column_mm: column, basis: SpacingBasis::Detector }),
    }
}
