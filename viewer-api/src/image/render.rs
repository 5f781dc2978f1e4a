//! A frame as PNG or JPEG.

use super::decode::{self, Frame};
use super::header::Source;
use super::native::Native;
use super::{facts, grey};
use crate::api::image::{FrameInfo, VoiFunction};
use crate::limits::{JPEG_QUALITY, MAX_STRIP_BYTES, STRIP_BYTES};
use crate::problem::Problem;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use relay_core::codes::Code;
use std::ops::Range;
use std::path::Path;
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

/// Frame `frame` of a file, counted from 1, as a picture: strip by strip where the file holds it uncompressed. Blocks.
///
/// # Errors
/// As [`decode::frame`] and [`picture`].
pub fn of_file(path: &Path, frame: u32, options: &Options) -> Result<Vec<u8>, Problem> {
    let source = Source::of(path)?;
    let header = source.header()?;
    // What is too large is refused before its pixels are read.
    facts::frame_info(&header, frame)?;
    if let Some(mut native) = Native::of(&source, &header, frame)? {
        drop(header);
        return native_picture(&mut native, options);
    }
    drop(header);
    picture(decode::coded(&source, frame)?, options)
}

/// Renders a frame. Blocks.
///
/// # Errors
/// `INTERNAL` when the encoder fails.
pub fn picture(frame: Frame, options: &Options) -> Result<Vec<u8>, Problem> {
    let boxes = Boxes::of(&frame.info, options.max_side);
    let mut pixels = Vec::with_capacity(boxes.bytes());
    if frame.info.samples_per_pixel == 3 {
        boxes.colour(&frame, 0, 0..boxes.height, &mut pixels);
    } else {
        let counts = || {
            let mut counts = grey::no_counts();
            grey::count(&frame, &mut counts);
            Ok::<_, Problem>(counts)
        };
        let table = grey::table(&frame.info, options.window, options.function, counts)?;
        boxes.grey(&frame, &table, 0, 0..boxes.height, &mut pixels);
    }
    drop(frame);
    boxes.encoded(&pixels, options.format)
}

/// Renders an uncompressed frame strip by strip: memory is that of a strip and of the picture. Blocks.
///
/// # Errors
/// As [`picture`]; `STORAGE_FAILED`; `REFUSED_TOO_LARGE` for a frame whose single lines are beyond [`MAX_STRIP_BYTES`].
pub fn native_picture(native: &mut Native, options: &Options) -> Result<Vec<u8>, Problem> {
    let info = native.info.clone();
    let boxes = Boxes::of(&info, options.max_side);
    let table = if boxes.channels == 3 {
        Vec::new()
    } else {
        grey::table(&info, options.window, options.function, || native.histogram())?
    };
    let mut pixels = Vec::with_capacity(boxes.bytes());
    let mut y = 0;
    while y < boxes.height {
        let fits = |end: u32| {
            u64::from(boxes.lines(y..end).end - boxes.lines(y..end).start) * native.line_bytes()
                <= STRIP_BYTES
        };
        let end = (y + 1..boxes.height).take_while(|end| fits(end + 1)).last().map_or(y + 1, |end| end + 1);
        let lines = boxes.lines(y..end);
        let first = lines.start as usize;
        let strip = native.lines(lines, MAX_STRIP_BYTES)?;
        if boxes.channels == 3 {
            boxes.colour(&strip, first, y..end, &mut pixels);
        } else {
            boxes.grey(&strip, &table, first, y..end, &mut pixels);
        }
        y = end;
    }
    boxes.encoded(&pixels, options.format)
}

/// Means over boxes of a frame, channel by channel.
struct Boxes {
    columns: u32,
    rows: u32,
    width: u32,
    height: u32,
    channels: usize,
}

/// First source index of target index `at`, of `target` that cover `source`.
fn edge(at: u32, target: u32, source: u32) -> u32 {
    (u64::from(at) * u64::from(source) / u64::from(target)) as u32
}

impl Boxes {
    /// Never larger than the frame, never zero.
    fn of(info: &FrameInfo, max_side: Option<u32>) -> Self {
        let (columns, rows) = (info.columns, info.rows);
        let long = columns.max(rows);
        let (width, height) = match max_side.filter(|max| *max < long) {
            None => (columns, rows),
            Some(max) => {
                let scaled = |side: u32| (u64::from(side) * u64::from(max) / u64::from(long)).max(1) as u32;
                (scaled(columns), scaled(rows))
            }
        };
        Self { columns, rows, width, height, channels: usize::from(info.samples_per_pixel) }
    }

    const fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * self.channels
    }

    /// Lines of the frame that these lines of the picture cover.
    fn lines(&self, y: Range<u32>) -> Range<u32> {
        edge(y.start, self.height, self.rows)..edge(y.end, self.height, self.rows)
    }

    fn grey(&self, strip: &Frame, table: &[u8], first: usize, y: Range<u32>, out: &mut Vec<u8>) {
        self.shrink(first, y, out, |index| table[usize::from(strip.value(index))]);
    }

    fn colour(&self, strip: &Frame, first: usize, y: Range<u32>, out: &mut Vec<u8>) {
        self.shrink(first, y, out, |index| strip.container[index]);
    }

    /// Lines `y` of the picture from a strip whose first line is line `first` of the frame; `sample` gives a byte of it.
    fn shrink(&self, first: usize, y: Range<u32>, out: &mut Vec<u8>, sample: impl Fn(usize) -> u8) {
        for y in y {
            let lines = self.lines(y..y + 1);
            let lines = lines.start as usize - first..lines.end as usize - first;
            for x in 0..self.width {
                let cells = edge(x, self.width, self.columns)..edge(x + 1, self.width, self.columns);
                let cells = cells.start as usize..cells.end as usize;
                let count = (lines.len() * cells.len()).max(1) as u64;
                for channel in 0..self.channels {
                    let at = |line: usize, cell: usize| {
                        (line * self.columns as usize + cell) * self.channels + channel
                    };
                    let sum: u64 = lines
                        .clone()
                        .flat_map(|line| cells.clone().map(move |cell| (line, cell)))
                        .map(|(line, cell)| u64::from(sample(at(line, cell))))
                        .sum();
                    out.push(((sum + count / 2) / count) as u8);
                }
            }
        }
    }

    fn encoded(&self, pixels: &[u8], format: Format) -> Result<Vec<u8>, Problem> {
        let kind = if self.channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
        let mut out = Vec::new();
        let encoded = match format {
            Format::Png => PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Up)
                .write_image(pixels, self.width, self.height, kind),
            Format::Jpeg => JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).write_image(
                pixels,
                self.width,
                self.height,
                kind,
            ),
        };
        encoded.map_err(|error| Problem::new(Code::Internal, "encoder", error.to_string()))?;
        Ok(out)
    }
}
