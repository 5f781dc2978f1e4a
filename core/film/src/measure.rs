//! How fast the coders are on this machine.

use crate::choose::{Speed, Speeds};
use crate::decoder::decode_file;
use crate::encoder::{Mode, encode_file};
use crate::layout::Layout;
use std::time::Duration;

/// Rows and columns of the film that is coded: 256 KiB, some ten milliseconds of the strong coder.
const SIDE: u32 = 362;
/// Rounds, of which the fastest counts: what else the machine does makes a coder only look slower.
const ROUNDS: usize = 3;

/// Measures both coders on a computed film, in about 60 ms of one core. `clock` gives the time since any fixed moment. A clock that stands
/// still gives the highest speeds.
pub fn measure(mut clock: impl FnMut() -> Duration) -> Speeds {
    let film = film();
    let layout = Layout {
        rows: SIDE,
        columns: SIDE,
        samples: 1,
        bits_allocated: 16,
        length: film.len() as u64,
        ..Layout::default()
    };
    let mut of = |mode| {
        let mut best = Speed { encode: 1, decode: 1 };
        for _ in 0..ROUNDS {
            let begin = clock();
            let coded = encode_file(&film, Some(&layout), mode);
            let between = clock();
            let back = decode_file(&coded, film.len() as u64);
            let end = clock();
            debug_assert!(back.is_ok(), "what was just coded decodes");
            best.encode = best.encode.max(speed(film.len(), between.saturating_sub(begin)));
            best.decode = best.decode.max(speed(film.len(), end.saturating_sub(between)));
        }
        best
    };
    Speeds { quick: of(Mode::Quick), strong: of(Mode::Strong) }
}

fn speed(bytes: usize, took: Duration) -> u64 {
    let nanos = took.as_nanos().max(1);
    u64::try_from(bytes as u128 * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// Slopes, an edge and noise of some bits: about 2.5 to 1, as a film of a chest.
fn film() -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 28
    };
    let mut bytes = Vec::with_capacity((SIDE * SIDE * 2) as usize);
    for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
        let edge = if x > SIDE / 2 { 700 } else { 0 };
        let value = 1_000 + x + y / 2 + edge + noise() + noise() + noise();
        let [low, high, ..] = value.to_le_bytes();
        bytes.extend([low, high]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_round_counts() {
        // Every look at the clock is a millisecond later, the first rounds of each coder are slower.
        let (mut now, mut looks) = (0, 0_u64);
        let speeds = measure(|| {
            looks += 1;
            now += if looks.is_multiple_of(9) { 1 } else { 50 };
            Duration::from_millis(now)
        });
        let bytes = u64::from(SIDE) * u64::from(SIDE) * 2;
        assert_eq!(speeds.quick, Speed { encode: bytes * 20, decode: bytes * 1_000 });
        assert_eq!(speeds.strong, Speed { encode: bytes * 20, decode: bytes * 1_000 });
    }

    #[test]
    fn a_clock_that_stands_still_divides_by_nothing() {
        assert!(measure(|| Duration::ZERO).strong.encode > 1 << 40);
    }
}
