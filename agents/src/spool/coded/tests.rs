use super::*;
use relay_core::durable::FaultyDisk;
use relay_film::Speed;
use std::sync::Arc;

fn store() -> (tempfile::TempDir, FaultyDisk, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let blobs = BlobStore::open(Arc::new(disk.clone()), dir.path()).unwrap();
    (dir, disk, blobs)
}

fn put(blobs: &BlobStore, bytes: &[u8]) -> Plain {
    Plain { hash: blobs.put(bytes).unwrap(), length: bytes.len() as u64 }
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect()
}

/// A head, 300 rows of a slope under noise, and a tail.
fn film() -> (Vec<u8>, Layout) {
    let mut file = vec![7; 1_000];
    let grain = noise(300 * 400);
    let grey = |i: usize| u16::try_from(1_000 + i % 400 + i / 400 + usize::from(grain[i] & 31)).unwrap();
    file.extend((0..300 * 400).flat_map(|i| grey(i).to_le_bytes()));
    let (offset, length) = (1_000, file.len() as u64 - 1_000);
    file.extend([1, 2, 3]);
    let rows = Layout { rows: 300, columns: 400, samples: 1, bits_allocated: 16, ..Layout::default() };
    (file, Layout { offset, length, ..rows })
}

fn pace(line: u64) -> Pace {
    let speed = |mb: u64| Speed { encode: mb * 1_000_000, decode: mb * 1_000_000 };
    Pace { line, speeds: Speeds { quick: speed(400), strong: speed(25) } }
}

fn left(dir: &tempfile::TempDir) -> usize {
    std::fs::read_dir(dir.path().join("partial")).unwrap().count()
}

#[test]
fn what_compresses_is_coded_the_same_way_twice_and_restores_exactly() {
    let (dir, _, blobs) = store();
    let bytes: Vec<u8> =
        (0..300_000_u32).flat_map(|i| u16::try_from(i / 9 % 4096).unwrap().to_le_bytes()).collect();
    let plain = put(&blobs, &bytes);
    let coded = code(&blobs, plain, How::Zstd, "z").unwrap();
    assert_eq!((coded.form.encoding, coded.mode), (Encoding::Zstd, None));
    assert_eq!(code(&blobs, plain, How::Zstd, "z").unwrap(), coded);
    let back = zstd::decode_all(blobs.open_blob(&coded.form.hash).unwrap()).unwrap();
    assert_eq!((ObjectHash::of(&back), left(&dir)), (plain.hash, 0));
}

#[test]
fn a_film_is_coded_for_its_line_and_the_same_way_again() {
    let (dir, _, blobs) = store();
    let (bytes, layout) = film();
    let plain = put(&blobs, &bytes);
    let by_zstd = code(&blobs, plain, How::Zstd, "z").unwrap().form.length;
    for (line, mode) in [(250_000, Mode::Strong), (30_000_000, Mode::Quick)] {
        let coded = code(&blobs, plain, How::Choose(layout, pace(line)), "f").unwrap();
        assert_eq!((coded.form.encoding, coded.mode), (Encoding::Film, Some(mode)));
        assert!(coded.form.length < by_zstd * 9 / 10, "{} of {by_zstd}", coded.form.length);
        let file = std::fs::read(blobs.path_of(&coded.form.hash)).unwrap();
        assert_eq!(relay_film::decode_file(&file, plain.length).unwrap(), bytes);
        assert_eq!(mode_of(coded.mode_number()), Some(mode));
        assert_eq!(code(&blobs, plain, How::Film(layout, mode), "f").unwrap(), coded);
    }
    assert_eq!(left(&dir), 0);
}

#[test]
fn a_layout_that_lies_costs_bytes_and_nothing_else() {
    let (_dir, _, blobs) = store();
    let (bytes, layout) = film();
    let plain = put(&blobs, &bytes);
    for lie in [
        Layout { columns: 399, ..layout },
        Layout { offset: 7, ..layout },
        Layout { big_endian: true, signed: true, ..layout },
        Layout { samples: 3, ..layout },
        Layout { rows: 0, ..layout },
        Layout { bits_allocated: 12, ..layout },
        Layout { columns: u32::MAX, ..layout },
    ] {
        let coded = code(&blobs, plain, How::Choose(lie, pace(250_000)), "f").unwrap();
        let file = std::fs::read(blobs.path_of(&coded.form.hash)).unwrap();
        let back = match coded.form.encoding {
            Encoding::Film => relay_film::decode_file(&file, plain.length).unwrap(),
            Encoding::Zstd => zstd::decode_all(&file[..]).unwrap(),
            Encoding::Identity => file,
        };
        assert!(back == bytes, "{lie:?}");
    }
}

#[test]
fn a_drawing_whose_rows_repeat_goes_by_zstd() {
    let (dir, _, blobs) = store();
    let row = noise(800);
    let bytes: Vec<u8> = std::iter::repeat_n(row, 300).flatten().collect();
    let layout = Layout {
        rows: 300,
        columns: 800,
        samples: 1,
        bits_allocated: 8,
        length: bytes.len() as u64,
        ..Layout::default()
    };
    let coded = code(&blobs, put(&blobs, &bytes), How::Choose(layout, pace(250_000)), "f").unwrap();
    assert_eq!((coded.form.encoding, left(&dir)), (Encoding::Zstd, 0));
}

#[test]
fn noise_and_compressed_syntaxes_travel_as_they_are() {
    let (dir, _, blobs) = store();
    let plain = put(&blobs, &noise(20_000));
    let rows = Layout { rows: 100, columns: 200, samples: 1, bits_allocated: 8, ..Layout::default() };
    for how in [How::Zstd, How::Choose(Layout { length: 20_000, ..rows }, pace(1))] {
        assert_eq!(code(&blobs, plain, how, "z").unwrap(), Coded::identity(plain));
    }
    let zeros = put(&blobs, &vec![0; 20_000]);
    assert_eq!(code(&blobs, zeros, How::Identity, "z").unwrap(), Coded::identity(zeros));
    assert_eq!(left(&dir), 0);
}

#[test]
fn without_room_for_a_coded_form_the_object_travels_as_it_is() {
    let (dir, disk, blobs) = store();
    let (bytes, layout) = film();
    let plain = put(&blobs, &bytes);
    for how in [How::Zstd, How::Choose(layout, pace(250_000)), How::Film(layout, Mode::Quick)] {
        disk.faults.full_after(0);
        assert_eq!(code(&blobs, plain, how, "z").unwrap(), Coded::identity(plain));
        disk.faults.room_again();
    }
    assert_eq!(left(&dir), 0);
}
