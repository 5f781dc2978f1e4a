//! Streams that no coder wrote: an error that names the field, never a panic, never more memory than a strip.

use crate::made::{Dice, decode_by, film, grey};
use relay_film::{DecodeError, Layout, Mode, decode_file, encode_file};

fn coded(mode: Mode) -> (Vec<u8>, u64) {
    let mut file = b"head".repeat(20);
    let pixels = film(70, 90, 12, 4, 1);
    let layout = Layout { offset: file.len() as u64, ..grey(70, 90, &pixels) };
    file.extend(&pixels);
    (encode_file(&file, Some(&layout), mode), file.len() as u64)
}

#[test]
fn every_cut_is_refused() {
    for mode in crate::made::MODES {
        let (coded, expected) = coded(mode);
        for length in (0..coded.len()).step_by(5) {
            let error = decode_file(&coded[..length], expected).unwrap_err();
            assert!(matches!(error, DecodeError::Unfinished { .. } | DecodeError::Damaged { .. }), "{error}");
        }
        assert!(decode_by(&coded, expected, 1).is_ok(), "byte by byte");
    }
}

#[test]
fn flipped_bits_give_an_error_or_a_file_of_the_expected_length() {
    for mode in crate::made::MODES {
        let (coded, expected) = coded(mode);
        for bit in (0..coded.len() * 8).step_by(11) {
            let mut flipped = coded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match decode_file(&flipped, expected) {
                Ok(file) => assert_eq!(file.len() as u64, expected),
                Err(error) => assert!(error.to_string().starts_with("coded film"), "{error}"),
            }
        }
    }
}

#[test]
fn scrambled_streams_are_survived() {
    let mut dice = Dice(9);
    for mode in crate::made::MODES {
        let (coded, expected) = coded(mode);
        for _ in 0..400 {
            let mut bytes = coded.clone();
            for _ in 0..=dice.next() % 8 {
                let at = dice.next() as usize % bytes.len();
                match dice.next() % 3 {
                    0 => bytes[at] = dice.next() as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, dice.next() as u8),
                }
            }
            let _ = decode_by(&bytes, expected, 1 + dice.next() as usize % 500);
        }
    }
}

#[test]
fn a_stream_longer_or_shorter_than_expected_is_refused() {
    let (coded, expected) = coded(Mode::Strong);
    let error = decode_file(&coded, expected - 1).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { field: "length of the file", .. }), "{error}");
    assert!(matches!(decode_file(&coded, expected + 1), Err(DecodeError::Unfinished { .. })));
    let mut longer = coded;
    longer.push(0);
    assert!(decode_file(&longer, expected).unwrap_err().to_string().contains("after the end"));
}

#[test]
fn lengths_beyond_the_limits_are_refused_before_any_work() {
    let head = |geometry: &[u8]| [b"RLF\x01", geometry].concat();
    let cases: [(Vec<u8>, &str); 12] = [
        (b"RLG\x01".to_vec(), "magic"),
        (b"RLF\x02".to_vec(), "magic"),
        (head(&[0x10]), "flags"),
        (head(&[0x02]), "flags"),
        (head(&[1, 0, 1]), "row width"),
        (head(&[1, 7, 2]), "row width"),
        (head(&[1, 5, 5]), "row width"),
        (head(&[3, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1]), "row width"),
        (head(&[0, 9]), "kind of piece"),
        (head(&[0, 3, 8, 8]), "kind of piece"),
        (head(&[0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 5]), "length of a piece"),
        (head(&[3, 4, 1, 4, 6, 3]), "length of a piece"),
    ];
    for (bytes, field) in cases {
        let error = decode_file(&bytes, u64::MAX).unwrap_err().to_string();
        assert!(error.contains(field), "{bytes:?}: {error}");
    }
    for piece in [&[1u8, 5, 4][..], &[2, 5, 6], &[2, 0, 0], &[4, 8, 0]] {
        assert!(decode_file(&[b"RLF\x01\x03\x04\x01", piece].concat(), u64::MAX).is_err(), "{piece:?}");
    }
    assert!(decode_file(&[0xFF; 64], u64::MAX).is_err());
}

#[test]
fn a_refused_decoder_stays_refused() {
    let mut decoder = relay_film::Decoder::new(10);
    let mut out = Vec::new();
    assert!(decoder.push(b"nonsense", &mut out).is_err());
    assert!(decoder.push(b"RLF\x01\0", &mut out).unwrap_err().to_string().contains("refused before"));
    assert!(decoder.finish().is_err());
}
