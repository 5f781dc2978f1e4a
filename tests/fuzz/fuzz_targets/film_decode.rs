//! The film decoder over any bytes: a file of the expected length, or a refusal that names its field.
//!
//! At start the harness proves itself: a coded film is decoded, its cut is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_film::limits::MAX_STRIP_BYTES;
use relay_film::{Decoder, Layout, Mode, decode_file, encode_file};
use std::sync::Once;

/// Bytes that an input may ask for, at most: one strip is work enough.
const MOST: u64 = 300_000;

static PROVED: Once = Once::new();

/// A small film.
fn film() -> (Vec<u8>, Layout) {
    let slope = |i: u32| u16::try_from(1000 + i % 77 + i / 77).unwrap_or_default();
    let film: Vec<u8> = (0..1500).flat_map(|i| slope(i).to_le_bytes()).collect();
    let length = film.len() as u64;
    (film, Layout { rows: 30, columns: 50, samples: 1, bits_allocated: 16, length, ..Layout::default() })
}

fn prove() {
    let (film, layout) = film();
    for mode in [Mode::Stored, Mode::Quick, Mode::Strong] {
        let coded = encode_file(&film, Some(&layout), mode);
        assert!(decode_file(&coded, layout.length).is_ok_and(|back| back == film), "{mode:?} comes back");
        assert!(decode_file(&coded[..coded.len() - 1], layout.length).is_err(), "its cut is refused");
    }
}

/// What the input is: a stream, or changes to one of ours, so that what lies behind the first number is reached too.
fn stream(head: [u8; 4], rest: &[u8]) -> (u64, Vec<u8>) {
    if head[0] & 1 == 1 {
        return (u64::from(u32::from_le_bytes(head)) % MOST, rest.to_vec());
    }
    let (film, layout) = film();
    let mode = if head[0] & 2 == 0 { Mode::Strong } else { Mode::Quick };
    let mut stream = encode_file(&film, Some(&layout), mode);
    for change in rest.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % stream.len();
        stream[at] ^= change[2];
    }
    (film.len() as u64, stream)
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(prove);
    let Some((head, rest)) = data.split_first_chunk::<4>() else { return };
    let (expected, stream) = stream(*head, rest);
    let mut decoder = Decoder::new(expected);
    let mut out = Vec::new();
    let mut total = 0;
    for mut bytes in stream.chunks(1 + usize::from(head[3]) * 16) {
        while !bytes.is_empty() {
            match decoder.push(bytes, &mut out) {
                Ok(taken) => {
                    assert!(taken > 0 && out.len() <= MAX_STRIP_BYTES, "one piece at a time");
                    bytes = &bytes[taken..];
                }
                Err(error) => {
                    assert!(error.to_string().starts_with("coded film"), "{error}");
                    return;
                }
            }
            total += out.len() as u64;
            assert!(total == decoder.decoded() && total <= expected, "{total} of {expected}");
            out.clear();
        }
    }
    if decoder.finish().is_ok() {
        assert_eq!(total, expected);
    }
});
