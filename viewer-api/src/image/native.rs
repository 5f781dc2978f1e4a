//! Pixels that are not compressed, read from the file by range: a film of any size is shown within a fixed memory.

use super::decode::Frame;
use super::header::{Source, Values as _, failed};
use super::{facts, grey};
use crate::api::image::FrameInfo;
use crate::limits::{MAX_STRIP_BYTES, STRIP_BYTES};
use crate::problem::Problem;
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use relay_core::codes::Code;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;

/// One uncompressed frame in its file, little endian, samples of one pixel side by side.
#[derive(Debug)]
pub struct Native {
    /// Facts of the whole frame.
    pub info: FrameInfo,
    file: File,
    /// Position of the frame's first byte.
    at: u64,
    sample_bytes: usize,
    high_bit: u16,
    /// `YBR_FULL` and the like, before [`Frame`] makes it RGB.
    photometric: String,
}

impl Native {
    /// The frame, counted from 1, when the file holds it in this form; `None` for every other form (compressed, deflated,
    /// big endian, planes, single bits), which the codecs read.
    ///
    /// # Errors
    /// `UNDECODABLE_IMAGE` naming the attribute, `NOT_FOUND` for the frame, `STORAGE_FAILED`.
    pub fn of(source: &Source<'_>, header: &DefaultDicomObject, frame: u32) -> Result<Option<Self>, Problem> {
        let info = facts::unbounded(header, frame)?;
        let Some((pixels_at, pixels_length)) = source.native_pixels() else { return Ok(None) };
        let syntax = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN];
        let sample_bytes = match info.bits_allocated {
            8 => 1,
            16 => 2,
            _ => return Ok(None),
        };
        let photometric =
            header.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| "MONOCHROME2".into());
        let lawful = if info.samples_per_pixel == 3 {
            let side_by_side = header.int(tags::PLANAR_CONFIGURATION).unwrap_or(0) == 0;
            sample_bytes == 1 && side_by_side && ["RGB", "YBR_FULL"].contains(&photometric.as_str())
        } else {
            photometric.starts_with("MONOCHROME")
        };
        if !lawful || !syntax.contains(&info.transfer_syntax.as_str()) {
            return Ok(None);
        }
        let bytes = frame_bytes(&info, sample_bytes);
        let before = bytes.saturating_mul(u64::from(frame - 1));
        if before.saturating_add(bytes) > pixels_length {
            let reason = format!("frame {frame} ends behind the {pixels_length} bytes of the value");
            return Err(Problem::new(Code::UndecodableImage, "(7FE0,0010) PixelData", reason));
        }
        let stored = info.bits_stored.max(1);
        let high_bit =
            header.int(tags::HIGH_BIT).and_then(|bit| u16::try_from(bit).ok()).unwrap_or(stored - 1);
        Ok(Some(Self {
            file: File::open(source.path()).map_err(failed)?,
            at: pixels_at + before,
            sample_bytes,
            high_bit: high_bit.min(info.bits_allocated - 1),
            photometric,
            info,
        }))
    }

    /// Bytes of one line of the frame.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        frame_bytes(&FrameInfo { rows: 1, ..shape(&self.info) }, self.sample_bytes)
    }

    /// Lines of the frame as a frame of their own.
    ///
    /// # Errors
    /// `STORAGE_FAILED`; `REFUSED_TOO_LARGE` above `limit` bytes.
    pub fn lines(&mut self, lines: Range<u32>, limit: u64) -> Result<Frame, Problem> {
        let bytes = self.line_bytes().saturating_mul(u64::from(lines.end - lines.start));
        if bytes > limit {
            let reason = format!("{bytes} bytes at once, at most {limit} are read");
            return Err(Problem::new(Code::RefusedTooLarge, "frame", reason));
        }
        let from = self.at + self.line_bytes() * u64::from(lines.start);
        self.file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut container = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.file.read_exact(&mut container).map_err(failed)?;
        let info = FrameInfo { rows: lines.end - lines.start, ..shape(&self.info) };
        let frame = Frame::of_native(info, container, self.sample_bytes, self.high_bit);
        if self.info.samples_per_pixel == 3 { frame.into_rgb(&self.photometric) } else { Ok(frame) }
    }

    /// How often each 16-bit value stands in the frame.
    ///
    /// # Errors
    /// As [`Self::lines`].
    pub fn histogram(&mut self) -> Result<Vec<u64>, Problem> {
        let mut counts = grey::no_counts();
        let step = u32::try_from(STRIP_BYTES / self.line_bytes().max(1)).unwrap_or(u32::MAX).max(1);
        let mut line = 0;
        while line < self.info.rows {
            let end = line.saturating_add(step).min(self.info.rows);
            grey::count(&self.lines(line..end, MAX_STRIP_BYTES)?, &mut counts);
            line = end;
        }
        Ok(counts)
    }
}

/// The facts that a part of the frame needs: without tables, which may be long.
fn shape(info: &FrameInfo) -> FrameInfo {
    FrameInfo { modality_lut: None, voi_lut: None, windows: Vec::new(), ..info.clone() }
}

fn frame_bytes(info: &FrameInfo, sample_bytes: usize) -> u64 {
    u64::from(info.rows)
        .saturating_mul(u64::from(info.columns))
        .saturating_mul(u64::from(info.samples_per_pixel))
        .saturating_mul(sample_bytes as u64)
}
