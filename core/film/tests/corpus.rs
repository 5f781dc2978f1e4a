//! Every file of the corpus comes back, in every mode. Needs `RELAY_CORPUS=DIR` with `DIR/dicom/files`.

use relay_core::formats::dicom::{PixelForm, admit};
use relay_film::{Layout, Mode, decode_file, encode_file};

/// What the reader of headers says of the pixels.
fn layout(file: &[u8]) -> Option<Layout> {
    let facts = admit(std::io::Cursor::new(file)).ok()?;
    let PixelForm::Native { offset, length } = facts.pixels else { return None };
    Some(Layout {
        rows: facts.rows?,
        columns: facts.columns?,
        samples: facts.samples.unwrap_or(1),
        planar: false,
        bits_allocated: facts.bits_allocated?,
        signed: false,
        big_endian: facts.transfer_syntax == "1.2.840.10008.1.2.2",
        offset,
        length,
    })
}

#[test]
fn every_file_comes_back_in_every_mode() {
    let Some(dir) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return;
    };
    let folder = std::path::PathBuf::from(dir).join("dicom/files");
    let (mut files, mut native) = (0, 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let layout = layout(&file);
        files += 1;
        native += usize::from(layout.is_some());
        for mode in [Mode::Stored, Mode::Quick, Mode::Strong] {
            let coded = encode_file(&file, layout.as_ref(), mode);
            let back = decode_file(&coded, file.len() as u64);
            assert!(back.as_ref() == Ok(&file), "{} {mode:?}: {:?}", path.display(), back.err());
            assert!(coded.len() <= file.len() + 64, "{} {mode:?}", path.display());
        }
    }
    println!("{files} files, {native} with native pixels");
    assert!(files > 0 && native > 0, "{}", folder.display());
}
