//! The bytes of made films: a change of the format, or of anything it learns, shows here first. Both ends of the line must agree on
//! every one of them, on every machine.

use crate::made::{film, grey};
use relay_film::{Layout, Mode, decode_file, encode_file};

/// FNV-1a: enough to see that bytes are the same.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

#[test]
fn a_film_of_eight_pixels_is_these_bytes() {
    let file = [b'h', 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, b't'];
    let layout = Layout { offset: 1, ..grey(2, 4, &file[1..17]) };
    let stored = encode_file(&file, Some(&layout), Mode::Stored);
    assert_eq!(stored, [&b"RLF\x01\0\x01\x12\x12"[..], &file, &[0, 18]].concat());
    for mode in crate::made::MODES {
        let coded = encode_file(&file, Some(&layout), mode);
        assert_eq!(decode_file(&coded, 18).unwrap(), file);
    }
}

#[test]
fn made_films_are_the_same_bytes_as_ever() {
    let mut found = Vec::new();
    for (bits, gap) in [(8, 1), (12, 1), (12, 5), (16, 1)] {
        let file = film(150, 333, bits, gap, 11);
        for mode in [Mode::Quick, Mode::Strong] {
            let coded = encode_file(&file, Some(&grey(150, 333, &file)), mode);
            // the quick form depends on the release of zstd in its bytes, though not in what they mean
            let digest = if mode == Mode::Strong && gap == 1 { digest(&coded) } else { 0 };
            found.push((bits, gap, mode, coded.len(), digest));
        }
    }
    let listed: Vec<String> = found.iter().map(|f| format!("{f:?}")).collect();
    let golden = include_str!("golden.txt");
    assert!(listed.iter().map(String::as_str).eq(golden.lines()), "\n{}\n", listed.join("\n"));
}
