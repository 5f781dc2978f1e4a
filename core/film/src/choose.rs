//! Which coder for this film on this line.

use crate::encoder::{Encoder, Mode};
use crate::layout::Layout;

/// Bytes of a sample that are looked at, at most: two hundred thousand pixels say what a film is like.
pub const MAX_SAMPLE_BYTES: usize = 512 << 10;

/// A coder must beat the next cheaper one by this share of its bytes, in 1/1000, to be worth its work.
const WORTH_1000: u64 = 10;

/// Raw bytes a second that one core of a machine codes and decodes, measured on that machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// At the end that sends.
    pub encode: u64,
    /// At the end that receives.
    pub decode: u64,
}

/// The speeds of both coders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speeds {
    /// Of [`Mode::Quick`].
    pub quick: Speed,
    /// Of [`Mode::Strong`].
    pub strong: Speed,
}

/// The coder with the fewest bytes among those that keep a line of `line` bytes a second full at both ends.
///
/// `sample` holds whole rows of the film, as they are in the file, from its middle at best; beyond [`MAX_SAMPLE_BYTES`] it is
/// not looked at. A coder that gives its coded bytes more slowly than the line takes them is never chosen, nor one whose
/// decoder takes them more slowly, nor one that saves less than a hundredth.
#[must_use]
pub fn choose(layout: Option<&Layout>, sample: &[u8], line: u64, speeds: &Speeds) -> Mode {
    let Some(layout) = layout.filter(|layout| layout.geometry().is_some()) else {
        return bytes(line, speeds);
    };
    let sample = &sample[..sample.len().min(MAX_SAMPLE_BYTES)];
    let layout = Layout { offset: 0, length: sample.len() as u64, ..*layout };
    if layout.pixels().is_empty() {
        return bytes(line, speeds);
    }
    let raw = layout.pixels().end;
    let pixels = &sample[..usize::try_from(raw).unwrap_or(0)];
    let mut best = (Mode::Stored, raw);
    for (mode, speed) in [(Mode::Quick, speeds.quick), (Mode::Strong, speeds.strong)] {
        // at one coded byte for each raw byte a coder is at its fastest in coded bytes: too slow then is too slow
        if speed.encode.min(speed.decode) < line {
            continue;
        }
        let coded = coded_length(&layout, pixels, mode);
        if keeps_up(speed, raw, coded, line) && coded < best.1 - best.1 * WORTH_1000 / 1000 {
            best = (mode, coded);
        }
    }
    best.0
}

/// For what is not modelled: zstd where it keeps up with the line.
fn bytes(line: u64, speeds: &Speeds) -> Mode {
    if speeds.quick.encode.min(speeds.quick.decode) >= line { Mode::Quick } else { Mode::Stored }
}

/// Whether `speed` in raw bytes is `line` or more in coded bytes.
fn keeps_up(speed: Speed, raw: u64, coded: u64, line: u64) -> bool {
    let slower = u128::from(speed.encode.min(speed.decode));
    slower * u128::from(coded) >= u128::from(line) * u128::from(raw)
}

fn coded_length(layout: &Layout, pixels: &[u8], mode: Mode) -> u64 {
    let mut encoder = Encoder::new(Some(layout), mode);
    let mut out = Vec::new();
    let mut rest = pixels;
    while !rest.is_empty() {
        let taken = encoder.push(rest, &mut out);
        rest = &rest[taken..];
    }
    encoder.finish(&mut out);
    out.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const SPEEDS: Speeds = Speeds {
        quick: Speed { encode: 400 * MB, decode: 500 * MB },
        strong: Speed { encode: 30 * MB, decode: 40 * MB },
    };

    fn layout() -> Layout {
        Layout {
            rows: 200,
            columns: 256,
            samples: 1,
            bits_allocated: 16,
            length: 102_400,
            ..Layout::default()
        }
    }

    /// A slope under noise of some bits: about 2.5 to 1.
    fn film() -> Vec<u8> {
        let mut state = 1u32;
        (0..51_200u32)
            .flat_map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 28) + (state >> 20 & 15) + (state >> 12 & 15);
                let value = 1000 + i % 256 + i / 256 + noise;
                u16::try_from(value).unwrap().to_le_bytes()
            })
            .collect()
    }

    #[test]
    fn a_slow_line_gets_the_strongest_coder_and_a_fast_one_none() {
        let film = film();
        let on = |line| choose(Some(&layout()), &film, line, &SPEEDS);
        assert_eq!(on(MB / 4), Mode::Strong);
        assert_eq!(on(2 * MB), Mode::Strong);
        assert_eq!(on(20 * MB), Mode::Quick);
        assert_eq!(on(100 * MB), Mode::Quick);
        assert_eq!(on(390 * MB), Mode::Stored);
        assert_eq!(on(1000 * MB), Mode::Stored);
    }

    #[test]
    fn the_slower_end_decides() {
        let film = film();
        let slow = Speed { encode: 40 * MB, decode: MB };
        let speeds = Speeds { strong: slow, ..SPEEDS };
        assert_eq!(choose(Some(&layout()), &film, 2 * MB, &speeds), Mode::Quick);
        let speeds = Speeds { quick: slow, strong: slow };
        assert_eq!(choose(Some(&layout()), &film, 2 * MB, &speeds), Mode::Stored);
    }

    #[test]
    fn noise_is_not_worth_coding() {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(102_400)
        .collect();
        assert_eq!(choose(Some(&layout()), &noise, MB, &SPEEDS), Mode::Stored);
    }

    #[test]
    fn without_rows_the_bytes_alone_are_packed() {
        assert_eq!(choose(None, &[], MB, &SPEEDS), Mode::Quick);
        assert_eq!(choose(None, &[], 600 * MB, &SPEEDS), Mode::Stored);
        let odd = Layout { bits_allocated: 1, ..layout() };
        assert_eq!(choose(Some(&odd), &film(), MB, &SPEEDS), Mode::Quick);
        assert_eq!(choose(Some(&layout()), &[1, 2, 3], MB, &SPEEDS), Mode::Quick);
    }

    #[test]
    fn a_line_of_no_measured_speed_takes_what_is_smallest() {
        assert_eq!(choose(Some(&layout()), &film(), 0, &SPEEDS), Mode::Strong);
    }
}
