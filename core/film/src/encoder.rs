//! A file into a coded stream, piece by piece.

use crate::container::{Kind, put_end, put_piece_head, put_stream_head};
use crate::layout::{Geometry, Layout};
use crate::limits::{MAX_OTHER_BYTES, MAX_STRIP_BYTES, MIN_STRIP_ROWS};
use crate::{quick, strong};
use std::ops::Range;

/// Level of zstd for what is not pixels.
const OTHER_LEVEL: i32 = 3;

/// Strips of up to this many bytes are coded both ways, and as bytes, and the smallest form wins: a model has nothing to learn
/// from in a thumbnail.
const TRY_ALL_BYTES: usize = 64 << 10;

/// How a film is coded for the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As it is: for lines faster than any coder.
    Stored,
    /// Predictor and zstd, some hundred MB/s.
    Quick,
    /// Context model, some ten MB/s: the fewest bytes.
    Strong,
}

/// Takes the bytes of one file and gives the coded stream. Holds one strip of rows and the model, whatever the size of the file.
///
/// It cannot fail: what does not become smaller is stored.
#[derive(Debug)]
pub struct Encoder {
    mode: Mode,
    geometry: Option<Geometry>,
    pixels: Range<u64>,
    /// Bytes of one strip, at most.
    strip: usize,
    /// Bytes of the file that are in finished pieces.
    position: u64,
    piece: Vec<u8>,
    coded: Vec<u8>,
    other: Vec<u8>,
    quick: Option<quick::Coder>,
    strong: Option<strong::Coder>,
    started: bool,
}

impl Encoder {
    /// An encoder for a file with these pixels; None for a file without native pixels.
    #[must_use]
    pub fn new(layout: Option<&Layout>, mode: Mode) -> Self {
        let layout = layout.filter(|_| mode != Mode::Stored);
        let geometry = layout.and_then(Layout::geometry);
        Self {
            mode,
            geometry,
            pixels: layout.map_or(0..0, Layout::pixels),
            strip: MAX_STRIP_BYTES,
            position: 0,
            piece: Vec::new(),
            coded: Vec::new(),
            other: Vec::new(),
            quick: geometry.map(quick::Coder::new),
            strong: geometry.filter(|_| mode == Mode::Strong).map(strong::Coder::new),
            started: false,
        }
    }

    /// Strips of at most `bytes` (or [`MIN_STRIP_ROWS`] rows, where that is more): less memory at both ends, some more bytes.
    #[must_use]
    pub fn in_strips(self, bytes: usize) -> Self {
        let least = self.geometry.map_or(0, |geometry| geometry.row_bytes() * MIN_STRIP_ROWS);
        Self { strip: bytes.max(least).min(MAX_STRIP_BYTES), ..self }
    }

    /// Takes bytes of the file up to the end of the current piece and says how many; call again with the rest. At most one
    /// piece is appended to `out`. Takes at least one byte of a `bytes` that is not empty.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        self.start(out);
        let (length, strip) = self.target();
        let taken = bytes.len().min(length - self.piece.len());
        if self.piece.is_empty() && taken == length {
            self.put(&bytes[..taken], strip, out);
        } else {
            self.piece.extend_from_slice(&bytes[..taken]);
            if self.piece.len() == length {
                self.flush(strip, out);
            }
        }
        taken
    }

    /// Appends what is left and the end of the stream to `out`. Returns the length of the file.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        self.start(out);
        if !self.piece.is_empty() {
            // a file that ends before its layout says: the last rows may be cut
            let whole = self.geometry.filter(|_| self.target().1).map_or(0, |geometry| {
                let row = geometry.row_bytes();
                self.piece.len() / row * row
            });
            let rest = self.piece.split_off(whole);
            if whole > 0 {
                self.flush(true, out);
            }
            self.piece = rest;
            while !self.piece.is_empty() {
                let rest = self.piece.split_off(self.piece.len().min(MAX_OTHER_BYTES));
                self.flush(false, out);
                self.piece = rest;
            }
        }
        put_end(out, self.position);
        self.position
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            put_stream_head(out, self.geometry);
            self.started = true;
        }
    }

    /// Length of the current piece, and whether it is a strip.
    fn target(&self) -> (usize, bool) {
        let upto =
            |end: u64, most: usize| usize::try_from(end - self.position).map_or(most, |left| left.min(most));
        let Some(geometry) = self.geometry.filter(|_| self.position < self.pixels.end) else {
            return (MAX_OTHER_BYTES, false);
        };
        if self.position < self.pixels.start {
            return (upto(self.pixels.start, MAX_OTHER_BYTES), false);
        }
        let row = geometry.row_bytes();
        (upto(self.pixels.end, self.strip / row * row), true)
    }

    fn flush(&mut self, strip: bool, out: &mut Vec<u8>) {
        let mut piece = std::mem::take(&mut self.piece);
        self.put(&piece, strip, out);
        piece.clear();
        self.piece = piece;
    }

    /// Codes one piece.
    fn put(&mut self, raw: &[u8], strip: bool, out: &mut Vec<u8>) {
        self.position += raw.len() as u64;
        self.coded.clear();
        let mut best = None;
        if strip {
            best = self.strip(raw);
        }
        if best.is_none() || raw.len() <= TRY_ALL_BYTES {
            self.bytes(raw, &mut best);
        }
        if best != Some(Kind::Strong)
            && let Some(strong) = &mut self.strong
            && strip
        {
            strong.forget();
        }
        match best {
            Some(kind) => {
                put_piece_head(out, kind, raw.len(), self.coded.len());
                out.extend_from_slice(&self.coded);
            }
            None => {
                for raw in raw.chunks(MAX_STRIP_BYTES) {
                    put_piece_head(out, Kind::Stored, raw.len(), raw.len());
                    out.extend_from_slice(raw);
                }
            }
        }
    }

    /// The best of the strip coders into `coded`, if it is smaller than the strip.
    fn strip(&mut self, raw: &[u8]) -> Option<Kind> {
        let mut best = None;
        if let Some(strong) = &mut self.strong {
            strong.encode(raw, &mut self.coded);
            best = (self.coded.len() < raw.len()).then_some(Kind::Strong);
            if best.is_some() && raw.len() > TRY_ALL_BYTES {
                return best;
            }
        }
        self.other.clear();
        let done = self.quick.as_mut().and_then(|quick| quick.encode(raw, &mut self.other));
        self.other(done.is_some(), Kind::Quick, raw.len(), &mut best);
        best
    }

    /// The piece as bytes into `coded`, if that is smaller than what is there.
    fn bytes(&mut self, raw: &[u8], best: &mut Option<Kind>) {
        if self.mode == Mode::Stored || raw.len() > MAX_OTHER_BYTES {
            return;
        }
        let coded = zstd::bulk::compress(raw, OTHER_LEVEL);
        let done = coded.is_ok();
        self.other = coded.unwrap_or_default();
        self.other(done, Kind::Zstd, raw.len(), best);
    }

    fn other(&mut self, done: bool, kind: Kind, raw: usize, best: &mut Option<Kind>) {
        let limit = if best.is_some() { self.coded.len() } else { raw };
        if done && self.other.len() < limit {
            std::mem::swap(&mut self.coded, &mut self.other);
            *best = Some(kind);
        }
    }
}

/// Codes a whole file in memory.
#[must_use]
pub fn encode_file(file: &[u8], layout: Option<&Layout>, mode: Mode) -> Vec<u8> {
    let mut encoder = Encoder::new(layout, mode);
    let mut out = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let taken = encoder.push(rest, &mut out);
        rest = &rest[taken..];
    }
    encoder.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::decode_file;

    #[test]
    fn smaller_strips_hold_fewer_rows_and_decode_to_the_same_file() {
        let columns = 1_000_u32;
        let file: Vec<u8> = (0..columns * 900)
            .flat_map(|i| u16::try_from((i % columns + i / columns * 3) % 5_000).unwrap_or(0).to_le_bytes())
            .collect();
        let length = file.len() as u64;
        let layout =
            Layout { rows: 900, columns, samples: 1, bits_allocated: 16, length, ..Layout::default() };
        for mode in [Mode::Quick, Mode::Strong] {
            for (strip, pieces) in [(1 << 20, 2), (300_000, 6), (1, 57), (usize::MAX, 1)] {
                let mut encoder = Encoder::new(Some(&layout), mode).in_strips(strip);
                let (mut out, mut rest, mut ends) = (Vec::new(), &file[..], 0);
                while !rest.is_empty() {
                    let before = out.len();
                    let taken = encoder.push(rest, &mut out);
                    rest = &rest[taken..];
                    ends += usize::from(out.len() > before);
                }
                encoder.finish(&mut out);
                assert_eq!(ends, pieces, "{mode:?} {strip}");
                assert!(decode_file(&out, length).is_ok_and(|back| back == file), "{mode:?} {strip}");
            }
        }
    }
}
