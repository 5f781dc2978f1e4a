//! The film coder over any bytes under any layout: they come back, and never grow by more than the frame of the stream.
//!
//! At start the harness proves itself: a slope becomes smaller and comes back, and its cut is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_film::{Layout, Mode, decode_file, encode_file};
use std::sync::Once;

/// What heads and end of a small stream cost, at most.
const FRAME_BYTES: usize = 64;

static PROVED: Once = Once::new();

fn prove() {
    let film: Vec<u8> =
        (0..6000u32).flat_map(|i| (1000 + i % 77 + i / 77).to_le_bytes()[..2].to_vec()).collect();
    let layout = Layout {
        rows: 60,
        columns: 100,
        samples: 1,
        bits_allocated: 16,
        length: 12_000,
        ..Layout::default()
    };
    for mode in [Mode::Quick, Mode::Strong] {
        let coded = encode_file(&film, Some(&layout), mode);
        assert!(coded.len() < film.len() / 2, "a slope becomes smaller");
        assert!(decode_file(&coded, 12_000).is_ok_and(|back| back == film), "and comes back");
        assert!(decode_file(&coded[..coded.len() - 1], 12_000).is_err(), "its cut is refused");
    }
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(prove);
    let Some((head, file)) = data.split_first_chunk::<10>() else { return };
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let layout = Layout {
        rows: u32::from(number(0)),
        columns: u32::from(number(2)) % 600,
        samples: u16::from(head[4] & 7),
        planar: head[5] & 1 > 0,
        bits_allocated: [8, 16, 16, 32][usize::from(head[5] >> 6)],
        signed: head[5] & 2 > 0,
        big_endian: head[5] & 4 > 0,
        offset: u64::from(head[6]),
        length: u64::from(number(7)) << (head[9] & 7),
    };
    for mode in [Mode::Stored, Mode::Quick, Mode::Strong] {
        let coded = encode_file(file, Some(&layout), mode);
        let back = decode_file(&coded, file.len() as u64);
        assert!(back.as_deref() == Ok(file), "{mode:?} {layout:?}");
        assert!(
            coded.len() <= file.len() + FRAME_BYTES,
            "{mode:?} {layout:?}: {} of {}",
            coded.len(),
            file.len()
        );
    }
});
