//! Samples of one frame, as they are stored: no modality transformation, no window, no colour transform of grey.

use super::header::Values as _;
use super::native::Native;
use super::{codestream, facts, header, rle};
use crate::api::image::FrameInfo;
use crate::problem::Problem;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex as _;
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::PixelDecoder as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use relay_core::codes::Code;
use std::path::Path;

/// A decoded frame.
#[derive(Debug)]
pub struct Frame {
    /// Its facts.
    pub info: FrameInfo,
    /// Samples in their container, little-endian, row by row; colour interleaved. Unused bits are not masked.
    pub container: Vec<u8>,
    /// Bytes of one sample in `container`: 1 or 2.
    pub sample_bytes: usize,
    high_bit: u16,
}

/// Decodes frame `frame`, counted from 1. Blocks; run it in a `DecodePool`.
///
/// # Errors
/// `UNDECODABLE_IMAGE` naming attribute or transfer syntax, `REFUSED_TOO_LARGE`, `NOT_FOUND` for the frame.
pub fn frame(path: &Path, frame: u32) -> Result<Frame, Problem> {
    // The header first: what is too large or not there is refused before its pixels are read.
    let source = header::Source::of(path)?;
    let header = source.header()?;
    facts::frame_info(&header, frame)?;
    if let Some(mut native) = Native::of(&source, &header, frame)? {
        let rows = native.info.rows;
        let lines = native.lines(0..rows, u64::MAX)?;
        return Ok(Frame { info: FrameInfo { rows, ..native.info }, ..lines }.settled());
    }
    drop(header);
    coded(&source, frame)
}

/// A frame that only its codec can read: the whole object is in memory meanwhile.
///
/// # Errors
/// As [`frame`].
pub(super) fn coded(source: &header::Source<'_>, frame: u32) -> Result<Frame, Problem> {
    let object = source.whole()?;
    let info = facts::frame_info(&object, frame)?;
    let syntax = TransferSyntaxRegistry.get(&info.transfer_syntax).filter(|syntax| syntax.can_decode_all());
    if syntax.is_none() {
        return Err(header::unknown(&info.transfer_syntax));
    }
    if object.get(tags::PIXEL_DATA).is_none() {
        return Err(Problem::new(Code::UndecodableImage, "(7FE0,0010) PixelData", "is absent"));
    }
    let Decoded { planar, photometric, high_bit, container } = decoded(&object, &info, frame)?;
    drop(object);
    let samples = info.rows as usize * info.columns as usize * usize::from(info.samples_per_pixel);
    // The codec decides the container; the header's word counts where one padded sample could be either.
    let sample_bytes = match container.len() {
        length if length == 2 * samples && (info.bits_allocated == 16 || samples > 1) => 2,
        length if length == samples || length == samples + 1 => 1,
        length => {
            let reason =
                format!("{}: {length} bytes were decoded for {samples} samples", info.transfer_syntax);
            return Err(Problem::new(Code::UndecodableImage, "pixel data", reason));
        }
    };
    let mut frame = Frame { container, sample_bytes, high_bit, info };
    frame.container.truncate(samples * sample_bytes);
    frame = frame.settled();
    if frame.info.samples_per_pixel == 3 {
        frame.colour(planar, &photometric)?;
    } else if !photometric.starts_with("MONOCHROME") {
        let reason = format!("{photometric} with one sample is not shown here");
        return Err(Problem::new(Code::UndecodableImage, "(0028,0004) PhotometricInterpretation", reason));
    }
    Ok(frame)
}

/// What a codec gives.
struct Decoded {
    planar: bool,
    photometric: String,
    high_bit: u16,
    container: Vec<u8>,
}

/// How many times the samples of the header a codestream may claim: odd files say 3 components where one is meant.
const MAX_CLAIM: u128 = 4;

fn decoded(object: &DefaultDicomObject, info: &FrameInfo, frame: u32) -> Result<Decoded, Problem> {
    let refused = |reason: String| {
        let reason = format!("{}: {reason}", info.transfer_syntax);
        Problem::new(Code::UndecodableImage, "pixel data", reason)
    };
    let pixels = info.rows as usize * info.columns as usize;
    let fragments = object.get(tags::PIXEL_DATA).and_then(|e| e.value().fragments()).unwrap_or_default();
    if info.transfer_syntax == uids::RLE_LOSSLESS {
        let missing = || refused(format!("no fragment for frame {frame}"));
        let fragment = fragments.get(frame as usize - 1).ok_or_else(missing)?;
        let bytes = usize::from(info.bits_allocated.div_ceil(8));
        let container = rle::decode(fragment, pixels, usize::from(info.samples_per_pixel), bytes);
        let photometric =
            object.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| "MONOCHROME2".into());
        let highest = info.bits_allocated.saturating_sub(1);
        let high_bit = object.int(tags::HIGH_BIT).and_then(|bit| u16::try_from(bit).ok()).unwrap_or(highest);
        return Ok(Decoded {
            planar: false,
            photometric,
            high_bit: high_bit.min(highest),
            container: container.map_err(|error| refused(error.to_string()))?,
        });
    }
    let most = pixels as u128 * u128::from(info.samples_per_pixel) * MAX_CLAIM;
    for size in fragments.iter().filter_map(|fragment| codestream::size(fragment)) {
        if size.samples() > most {
            let claim = format!("{} × {} × {}", size.width, size.height, size.components);
            return Err(refused(format!(
                "the codestream claims {claim}, the header {} × {}",
                info.columns, info.rows
            )));
        }
    }
    let decoded =
        object.decode_pixel_data_frame(frame - 1).map_err(|error| refused(header::chain(&error)))?;
    Ok(Decoded {
        planar: decoded.planar_configuration() == dicom_pixeldata::PlanarConfiguration::PixelFirst,
        photometric: decoded.photometric_interpretation().as_str().to_owned(),
        high_bit: decoded.high_bit().min(decoded.bits_allocated().saturating_sub(1)),
        container: decoded.into_data(),
    })
}

impl Frame {
    /// Samples as an uncompressed file holds them.
    pub(super) fn of_native(info: FrameInfo, container: Vec<u8>, sample_bytes: usize, high_bit: u16) -> Self {
        Self { info, container, sample_bytes, high_bit }.settled()
    }

    /// Facts and container agree on the bits of a sample.
    fn settled(mut self) -> Self {
        if self.sample_bytes == 1 {
            self.info.bits_stored = self.info.bits_stored.min(8);
            self.high_bit = self.high_bit.min(7);
        }
        self
    }

    /// Colour of pixels side by side as RGB.
    pub(super) fn into_rgb(mut self, photometric: &str) -> Result<Self, Problem> {
        self.colour(false, photometric)?;
        Ok(self)
    }

    /// Interleaves planes and turns YBR_FULL into RGB.
    fn colour(&mut self, planar: bool, photometric: &str) -> Result<(), Problem> {
        if self.sample_bytes != 1 {
            return Err(Problem::new(
                Code::UndecodableImage,
                "(0028,0100) BitsAllocated",
                "colour of 16 bits",
            ));
        }
        if planar {
            let plane = self.container.len() / 3;
            let (planes, interleaved) = (&self.container, (0..plane));
            self.container =
                interleaved.flat_map(|at| [planes[at], planes[at + plane], planes[at + 2 * plane]]).collect();
        }
        if photometric == "YBR_FULL" {
            for pixel in self.container.chunks_exact_mut(3) {
                let rgb = rgb_of(pixel[0], pixel[1], pixel[2]);
                pixel.copy_from_slice(&rgb);
            }
        }
        Ok(())
    }

    /// Grey value `index` without the bits that carry nothing, sign-extended when signed, as 16 bits.
    #[must_use]
    pub fn value(&self, index: usize) -> u16 {
        let word = if self.sample_bytes == 1 {
            u16::from(self.container[index])
        } else {
            u16::from_le_bytes([self.container[2 * index], self.container[2 * index + 1]])
        };
        let stored = self.info.bits_stored.clamp(1, 16);
        let word = word >> (self.high_bit + 1).saturating_sub(stored);
        let unused = 16 - stored;
        if self.info.signed {
            (((word << unused) as i16) >> unused) as u16
        } else {
            (word << unused) >> unused
        }
    }

    /// Grey as 16-bit little-endian values, colour as 8-bit RGB.
    #[must_use]
    pub fn into_raw(mut self) -> Vec<u8> {
        if self.info.samples_per_pixel == 3 {
            return self.container;
        }
        if self.sample_bytes == 1 {
            return (0..self.container.len()).flat_map(|index| self.value(index).to_le_bytes()).collect();
        }
        for index in 0..self.container.len() / 2 {
            let value = self.value(index).to_le_bytes();
            self.container[2 * index..2 * index + 2].copy_from_slice(&value);
        }
        self.container
    }
}

/// PS3.3 §C.7.6.3.1.2, YBR_FULL.
fn rgb_of(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|v| v.round().clamp(0.0, 255.0) as u8)
}
