//! Whatever the layout says and whatever the bytes are, they come back.

use crate::made::{Dice, MODES, decode_by, encode_by, film, grey};
use proptest::prelude::*;
use relay_film::{Layout, Mode, decode_file, encode_file};

fn comes_back(file: &[u8], layout: Option<&Layout>, mode: Mode) -> usize {
    let coded = encode_file(file, layout, mode);
    let back = decode_file(&coded, file.len() as u64);
    assert!(back.as_deref() == Ok(file), "{mode:?} {layout:?}: {:?}", back.map(|back| back.len()));
    coded.len()
}

#[test]
fn films_of_every_depth_come_back_and_the_strong_coder_beats_the_quick_one() {
    for (bits, gap) in [(8, 1), (10, 1), (12, 1), (12, 5), (14, 1), (16, 1), (16, 16)] {
        let file = film(200, 301, bits, gap, 1);
        let layout = grey(200, 301, &file);
        let [stored, quick, strong] = MODES.map(|mode| comes_back(&file, Some(&layout), mode));
        assert!(
            stored >= file.len() && quick < file.len() && strong < quick,
            "{bits} {gap}: {stored} {quick} {strong}"
        );
    }
}

#[test]
fn a_head_before_and_a_tail_after_the_pixels_come_back() {
    let pixels = film(60, 100, 12, 1, 2);
    let mut file = b"a head that says what follows, and says it, and says it again".repeat(30);
    let offset = file.len() as u64;
    file.extend(&pixels);
    file.extend([0; 77]);
    for length in [pixels.len(), pixels.len() - 1, pixels.len() + 50, pixels.len() + 5000, 199, 1, 0] {
        let layout = Layout { offset, length: length as u64, ..grey(60, 100, &pixels) };
        for mode in MODES {
            comes_back(&file, Some(&layout), mode);
        }
    }
}

#[test]
fn a_signed_film_a_big_endian_film_and_overlays_in_the_high_bits_come_back() {
    let file = film(90, 80, 12, 1, 3);
    for (signed, big_endian) in [(false, true), (true, false), (true, true)] {
        let turned: Vec<u8> =
            if big_endian { file.chunks(2).flat_map(|c| [c[1], c[0]]).collect() } else { file.clone() };
        let layout = Layout { signed, big_endian, ..grey(90, 80, &turned) };
        let quick = comes_back(&turned, Some(&layout), Mode::Quick);
        let strong = comes_back(&turned, Some(&layout), Mode::Strong);
        assert!(strong < quick && quick < turned.len() * 2 / 3, "{signed} {big_endian}: {strong} {quick}");
    }
    let overlay: Vec<u8> = file
        .chunks(2)
        .enumerate()
        .flat_map(|(i, c)| [c[0], c[1] | if i % 97 < 20 { 0x80 } else { 0 }])
        .collect();
    for mode in MODES {
        comes_back(&overlay, Some(&grey(90, 80, &overlay)), mode);
    }
}

#[test]
fn grey_kept_as_colour_costs_little_more_than_grey() {
    let grey_film = film(120, 150, 8, 1, 4);
    let colour: Vec<u8> = grey_film.iter().flat_map(|v| [*v; 3]).collect();
    let layout = Layout {
        rows: 120,
        columns: 150,
        samples: 3,
        bits_allocated: 8,
        length: colour.len() as u64,
        ..Layout::default()
    };
    let one = comes_back(&grey_film, Some(&grey(120, 150, &grey_film)), Mode::Strong);
    let three = comes_back(&colour, Some(&layout), Mode::Strong);
    assert!(three < one + one / 8, "{one} {three}");
    comes_back(&colour, Some(&layout), Mode::Quick);
    comes_back(&colour, Some(&Layout { planar: true, ..layout }), Mode::Strong);
    comes_back(&colour, Some(&Layout { samples: 4, ..layout }), Mode::Strong);
    comes_back(&colour, Some(&Layout { samples: 2, ..layout }), Mode::Quick);
}

#[test]
fn a_film_of_several_strips_is_taken_and_given_strip_by_strip() {
    // 4 MiB are 1,397 rows here; the gaps of the second half need another map
    let mut file = film(1500, 1501, 12, 4, 5);
    file.extend(film(700, 1501, 12, 3, 6));
    let layout = grey(2200, 1501, &file);
    for mode in [Mode::Quick, Mode::Strong] {
        let coded = encode_by(&file, Some(&layout), mode, 100_000);
        assert!(coded == encode_file(&file, Some(&layout), mode), "the pushes do not matter");
        assert!(coded.len() < file.len() * 2 / 3);
        let mut decoder = relay_film::Decoder::new(file.len() as u64);
        let (mut rest, mut back, mut out) = (coded.as_slice(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            rest = &rest[decoder.push(rest, &mut out).unwrap()..];
            assert!(out.len() <= relay_film::limits::MAX_STRIP_BYTES, "one piece at a time");
            back.append(&mut out);
            assert_eq!(decoder.decoded(), back.len() as u64);
        }
        decoder.finish().unwrap();
        assert!(back == file);
    }
}

#[test]
fn an_empty_file_and_a_file_cut_in_its_pixels_come_back() {
    let file = film(50, 60, 12, 1, 7);
    let layout = grey(50, 60, &file);
    for mode in MODES {
        comes_back(&[], None, mode);
        comes_back(&[], Some(&layout), mode);
        for length in [1, 119, 120, 121, 3000, file.len() - 1] {
            comes_back(&file[..length], Some(&layout), mode);
        }
    }
}

#[test]
fn what_does_not_become_smaller_grows_by_a_few_bytes_only() {
    let mut dice = Dice(8);
    let noise: Vec<u8> = (0..3_000_000).map(|_| dice.next() as u8).collect();
    for mode in MODES {
        for layout in [None, Some(grey(1000, 1500, &noise))] {
            let coded = comes_back(&noise, layout.as_ref(), mode);
            assert!(coded <= noise.len() + 64, "{mode:?} {coded}");
        }
    }
}

#[test]
fn a_flat_film_is_next_to_nothing() {
    let file = vec![7; 2 * 512 * 512];
    let layout = grey(512, 512, &file);
    assert!(comes_back(&file, Some(&layout), Mode::Strong) < 1000);
    assert!(comes_back(&file, Some(&layout), Mode::Quick) < 400);
}

fn layouts() -> impl Strategy<Value = Layout> {
    let bits = prop_oneof![Just(8u16), Just(16), Just(32), Just(1)];
    (0..70u32, 0..140u32, 0..5u16, bits, any::<(bool, bool, bool)>(), 0..300u64, 0..9000u64).prop_map(
        |(rows, columns, samples, bits_allocated, (planar, signed, big_endian), offset, length)| Layout {
            rows,
            columns,
            samples,
            planar,
            bits_allocated,
            signed,
            big_endian,
            offset,
            length,
        },
    )
}

/// Bytes of several characters: noise, runs, slopes, few values.
fn files() -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), 0..8000usize, 0..4u8).prop_map(|(seed, length, kind)| {
        let mut dice = Dice(seed);
        (0..length)
            .map(|i| match kind {
                0 => dice.next() as u8,
                1 => (i / 100) as u8,
                2 => ((i / 2) as u8).wrapping_add((dice.next() % 5) as u8),
                _ => [0, 3, 200, 255][dice.next() as usize % 4],
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_under_any_layout_come_back(file in files(), layout in layouts(), mode in 0..3usize, size in 1..9000usize) {
        let mode = MODES[mode];
        let coded = encode_by(&file, Some(&layout), mode, size);
        let length = coded.len();
        let back = decode_by(&coded, file.len() as u64, size);
        prop_assert_eq!(back, Ok(file.clone()));
        prop_assert!(length <= file.len() + 64);
    }
}
