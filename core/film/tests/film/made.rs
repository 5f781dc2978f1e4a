//! Made films.

use relay_film::{Decoder, Encoder, Layout, Mode};

/// A small generator of numbers that look random and are always the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

/// A grey slope with a disc and noise under it; only multiples of `gap` occur.
pub(crate) fn film(rows: u32, columns: u32, bits: u32, gap: u32, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let top = (1u32 << bits) - 1;
    let mut out = Vec::new();
    for y in 0..rows {
        for x in 0..columns {
            let (dy, dx) = (i64::from(y) - i64::from(rows / 2), i64::from(x) - i64::from(columns / 2));
            let inside = dy * dy + dx * dx < i64::from(rows.min(columns) / 3).pow(2);
            let noise = (0..4).map(|_| dice.next() % (top / 100 + 2)).sum::<u32>();
            let value =
                top / 8 + (x + y) * top / (4 * (rows + columns)) + if inside { top / 3 } else { 0 } + noise;
            let value = value.min(top) / gap * gap;
            let bytes = value.to_le_bytes();
            out.extend_from_slice(&bytes[..if bits > 8 { 2 } else { 1 }]);
        }
    }
    out
}

/// The layout of a grey film that fills its file.
pub(crate) fn grey(rows: u32, columns: u32, file: &[u8]) -> Layout {
    let length = file.len() as u64;
    let bits_allocated = if file.len() as u64 >= u64::from(rows) * u64::from(columns) * 2 { 16 } else { 8 };
    Layout { rows, columns, samples: 1, bits_allocated, length, ..Layout::default() }
}

/// Codes in pushes of `size` bytes.
pub(crate) fn encode_by(file: &[u8], layout: Option<&Layout>, mode: Mode, size: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(layout, mode);
    let mut out = Vec::new();
    for mut bytes in file.chunks(size) {
        while !bytes.is_empty() {
            let taken = encoder.push(bytes, &mut out);
            bytes = &bytes[taken..];
        }
    }
    assert_eq!(encoder.finish(&mut out), file.len() as u64);
    out
}

/// Decodes in pushes of `size` bytes.
pub(crate) fn decode_by(
    coded: &[u8],
    expected: u64,
    size: usize,
) -> Result<Vec<u8>, relay_film::DecodeError> {
    let mut decoder = Decoder::new(expected);
    let mut out = Vec::new();
    for mut bytes in coded.chunks(size) {
        while !bytes.is_empty() {
            let taken = decoder.push(bytes, &mut out)?;
            assert!(taken > 0, "a push takes something");
            bytes = &bytes[taken..];
        }
    }
    decoder.finish()?;
    Ok(out)
}

pub(crate) const MODES: [Mode; 3] = [Mode::Stored, Mode::Quick, Mode::Strong];
