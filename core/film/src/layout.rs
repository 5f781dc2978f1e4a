//! What the caller knows about the pixels of a file.

use crate::choose::MAX_SAMPLE_BYTES;
use crate::limits::{MAX_ROW_BYTES, MAX_STEP};
use std::ops::Range;

/// A stack of native frames inside a file, as the elements of the DICOM data set describe it (PS3.3 C.7.6.3, PS3.5 8).
///
/// It is a hint and no more: whatever it says and whatever the bytes are, decoding gives the same bytes back. A wrong layout
/// costs bytes on the line, never content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Rows of a frame.
    pub rows: u32,
    /// Columns of a frame.
    pub columns: u32,
    /// Samples per pixel: 1 for grey, 3 for colour.
    pub samples: u16,
    /// Colour by plane (Planar Configuration 1): each plane is then coded like a grey frame.
    pub planar: bool,
    /// Bits allocated: 8 and 16 are modelled, everything else passes as bytes.
    pub bits_allocated: u16,
    /// Pixel Representation 1.
    pub signed: bool,
    /// Explicit VR Big Endian.
    pub big_endian: bool,
    /// Byte in the file at which the value of PixelData begins.
    pub offset: u64,
    /// Length of that value in bytes, as far as it is in the file. Frames beyond `rows` follow without a gap.
    pub length: u64,
}

/// What of a [`Layout`] the coded stream carries: how to cut bytes into rows of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Samples of a row, all components counted.
    pub(crate) width: usize,
    /// Samples from one pixel to the next.
    pub(crate) step: usize,
    /// Two bytes a sample.
    pub(crate) wide: bool,
    /// The sign bit is turned, so that values are in order.
    pub(crate) signed: bool,
    /// High byte first.
    pub(crate) big_endian: bool,
}

impl Layout {
    /// How the rows lie, if they can be modelled.
    pub(crate) fn geometry(&self) -> Option<Geometry> {
        let wide = match self.bits_allocated {
            8 => false,
            16 => true,
            _ => return None,
        };
        let step = if self.planar { 1 } else { usize::from(self.samples) };
        let width = usize::try_from(self.columns).ok()?.checked_mul(step)?;
        let geometry = Geometry { width, step, wide, signed: self.signed, big_endian: self.big_endian };
        (self.rows > 0 && geometry.is_lawful()).then_some(geometry)
    }

    /// The whole rows of the value, as bytes of the file. Empty when the rows cannot be modelled.
    pub(crate) fn pixels(&self) -> Range<u64> {
        let Some(geometry) = self.geometry() else { return 0..0 };
        let row = geometry.row_bytes() as u64;
        self.offset..self.offset.saturating_add(self.length / row * row)
    }

    /// The bytes of the file that [`crate::choose`] should be shown: whole rows from the middle of the pixels, at most
    /// [`crate::MAX_SAMPLE_BYTES`]. Empty when the rows cannot be modelled.
    #[must_use]
    pub fn sample(&self) -> Range<u64> {
        let pixels = self.pixels();
        let Some(geometry) = self.geometry() else { return pixels };
        let row = geometry.row_bytes() as u64;
        let rows = (pixels.end - pixels.start) / row;
        let shown = rows.min(MAX_SAMPLE_BYTES as u64 / row);
        let start = pixels.start + (rows - shown) / 2 * row;
        start..start + shown * row
    }
}

impl Geometry {
    pub(crate) fn is_lawful(self) -> bool {
        (1..=MAX_STEP).contains(&self.step)
            && self.width >= self.step
            && self.width.is_multiple_of(self.step)
            && self.width <= MAX_ROW_BYTES / if self.wide { 2 } else { 1 }
    }

    pub(crate) fn row_bytes(self) -> usize {
        self.width * if self.wide { 2 } else { 1 }
    }

    /// Bytes to samples whose order is that of the grey values.
    pub(crate) fn samples(self, bytes: &[u8], samples: &mut Vec<u16>) {
        samples.clear();
        if !self.wide {
            let turn = if self.signed { 0x80 } else { 0 };
            samples.extend(bytes.iter().map(|byte| u16::from(byte ^ turn)));
            return;
        }
        let turn = if self.signed { 0x8000 } else { 0 };
        let (pairs, _) = bytes.as_chunks::<2>();
        if self.big_endian {
            samples.extend(pairs.iter().map(|pair| u16::from_be_bytes(*pair) ^ turn));
        } else {
            samples.extend(pairs.iter().map(|pair| u16::from_le_bytes(*pair) ^ turn));
        }
    }

    /// Samples back to bytes.
    pub(crate) fn bytes(self, samples: &[u16], bytes: &mut Vec<u8>) {
        if !self.wide {
            let turn = if self.signed { 0x80 } else { 0 };
            bytes.extend(samples.iter().map(|sample| sample.to_le_bytes()[0] ^ turn));
            return;
        }
        let turn = if self.signed { 0x8000 } else { 0 };
        let begin = bytes.len();
        bytes.resize(begin + samples.len() * 2, 0);
        let (pairs, _) = bytes[begin..].as_chunks_mut::<2>();
        for (pair, sample) in pairs.iter_mut().zip(samples) {
            *pair =
                if self.big_endian { (sample ^ turn).to_be_bytes() } else { (sample ^ turn).to_le_bytes() };
        }
    }

    /// The highest value a sample can have.
    pub(crate) fn top(self) -> u16 {
        if self.wide { u16::MAX } else { u16::from(u8::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(columns: u32) -> Layout {
        Layout { rows: 2, columns, samples: 1, bits_allocated: 16, length: 10, ..Layout::default() }
    }

    #[test]
    fn only_whole_rows_are_pixels() {
        assert_eq!(Layout { offset: 7, ..grey(2) }.pixels(), 7..15);
        assert_eq!(Layout { offset: u64::MAX, ..grey(2) }.pixels(), u64::MAX..u64::MAX);
    }

    #[test]
    fn the_sample_is_whole_rows_from_the_middle() {
        assert_eq!(Layout { offset: 7, length: 12, ..grey(2) }.sample(), 7..19, "all of a small film");
        let large = Layout { offset: 100, length: 4_000 * 2_000, rows: 2_000, ..grey(2_000) };
        let sample = large.sample();
        // 131 rows fit, 934 are above them.
        assert_eq!(sample, 100 + 934 * 4_000..100 + (934 + 131) * 4_000);
        assert!(Layout { bits_allocated: 32, ..large }.sample().is_empty());
    }

    #[test]
    fn rows_that_cannot_be_modelled_are_no_pixels() {
        for layout in [
            Layout { bits_allocated: 32, ..grey(2) },
            Layout { samples: 0, ..grey(2) },
            Layout { rows: 0, ..grey(2) },
            grey(0),
            grey(u32::MAX),
            Layout { samples: u16::MAX, ..grey(u32::MAX) },
        ] {
            assert_eq!((layout.geometry(), layout.pixels()), (None, 0..0), "{layout:?}");
        }
    }

    #[test]
    fn samples_come_back_as_the_bytes_they_were() {
        for (wide, signed, big_endian) in (0..8).map(|n| (n & 1 > 0, n & 2 > 0, n & 4 > 0)) {
            let geometry = Geometry { width: 4, step: 1, wide, signed, big_endian };
            let bytes = [0, 1, 0x7F, 0x80, 0xFF, 0xFE, 0x12, 0x34];
            let (mut samples, mut back) = (Vec::new(), Vec::new());
            geometry.samples(&bytes, &mut samples);
            geometry.bytes(&samples, &mut back);
            assert_eq!(back, bytes, "{geometry:?}");
        }
        let mut samples = Vec::new();
        Geometry { width: 1, step: 1, wide: true, signed: true, big_endian: false }
            .samples(&[0xFF, 0xFF, 0, 0], &mut samples);
        assert_eq!(samples, [0x7FFF, 0x8000], "minus one lies below nought");
    }
}
