//! A frame as PNG or JPEG.

use super::decode::Frame;
use super::grey;
use crate::api::image::VoiFunction;
use crate::limits::JPEG_QUALITY;
use crate::problem::Problem;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use relay_core::codes::Code;
use utoipa::ToSchema;

/// Kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Without loss.
    #[default]
    Png,
    /// Smaller.
    Jpeg,
}

impl Format {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// How to render.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Centre and width instead of the file's default.
    pub window: Option<(f64, f64)>,
    /// Function instead of the file's.
    pub function: Option<VoiFunction>,
    /// Kind of picture.
    pub format: Format,
    /// Long side at most so many pixels.
    pub max_side: Option<u32>,
}

/// Renders a frame. Blocks.
///
/// # Errors
/// `INTERNAL` when the encoder fails.
pub fn picture(frame: Frame, options: &Options) -> Result<Vec<u8>, Problem> {
    let (width, height) = target(&frame, options.max_side);
    let colour = frame.info.samples_per_pixel == 3;
    let pixels = if colour {
        shrunk_colour(&frame, width, height)
    } else {
        shrunk_grey(&frame, options, width, height)
    };
    drop(frame);
    let kind = if colour { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let mut out = Vec::new();
    let encoded = match options.format {
        Format::Png => PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Up)
            .write_image(&pixels, width, height, kind),
        Format::Jpeg => {
            JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).write_image(&pixels, width, height, kind)
        }
    };
    encoded.map_err(|error| Problem::new(Code::Internal, "encoder", error.to_string()))?;
    Ok(out)
}

/// Width and height after shrinking; never larger than the frame, never zero.
fn target(frame: &Frame, max_side: Option<u32>) -> (u32, u32) {
    let (columns, rows) = (frame.info.columns, frame.info.rows);
    let long = columns.max(rows);
    let Some(max) = max_side.filter(|max| *max < long) else { return (columns, rows) };
    let scaled = |side: u32| (u64::from(side) * u64::from(max) / u64::from(long)).max(1) as u32;
    (scaled(columns), scaled(rows))
}

/// First source index of target index `at`, of `target` that cover `source`.
fn edge(at: u32, target: u32, source: u32) -> usize {
    (u64::from(at) * u64::from(source) / u64::from(target)) as usize
}

/// Means over boxes, channel by channel; `sample` gives the byte of (row, column, channel).
fn boxes(frame: &Frame, width: u32, height: u32, channels: usize, sample: impl Fn(usize) -> u8) -> Vec<u8> {
    let (columns, rows) = (frame.info.columns, frame.info.rows);
    let mut out = Vec::with_capacity(width as usize * height as usize * channels);
    for y in 0..height {
        let lines = edge(y, height, rows)..edge(y + 1, height, rows);
        for x in 0..width {
            let cells = edge(x, width, columns)..edge(x + 1, width, columns);
            let count = (lines.len() * cells.len()).max(1) as u32;
            for channel in 0..channels {
                let at = |row: usize, column: usize| (row * columns as usize + column) * channels + channel;
                let sum: u32 = lines
                    .clone()
                    .flat_map(|r| cells.clone().map(move |c| (r, c)))
                    .map(|(r, c)| u32::from(sample(at(r, c))))
                    .sum();
                out.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    out
}

fn shrunk_grey(frame: &Frame, options: &Options, width: u32, height: u32) -> Vec<u8> {
    let table = grey::table(frame, options.window, options.function);
    boxes(frame, width, height, 1, |index| table[usize::from(frame.value(index))])
}

fn shrunk_colour(frame: &Frame, width: u32, height: u32) -> Vec<u8> {
    boxes(frame, width, height, 3, |index| frame.container[index])
}
