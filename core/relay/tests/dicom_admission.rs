//! The rule of admission on files made here, one fault each.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use relay_core::codes::Code;
use relay_core::formats::dicom::{AdmitError, DicomFacts, Note, PixelForm, admit};
use std::io::{Cursor, Write};

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const BIG: &str = "1.2.840.10008.1.2.2";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const LONG: [&[u8; 2]; 5] = [b"OB", b"OW", b"SQ", b"UN", b"UT"];

/// A file under construction.
struct Maker {
    syntax: &'static str,
    out: Vec<u8>,
}

impl Maker {
    fn new(syntax: &'static str) -> Self {
        Self { syntax, out: Vec::new() }
    }

    fn u16(&mut self, n: u16) {
        let bytes = if self.syntax == BIG { n.to_be_bytes() } else { n.to_le_bytes() };
        self.out.extend(bytes);
    }

    fn u32(&mut self, n: u32) {
        let bytes = if self.syntax == BIG { n.to_be_bytes() } else { n.to_le_bytes() };
        self.out.extend(bytes);
    }

    fn header(&mut self, group: u16, element: u16, vr: &[u8; 2], length: u32) -> &mut Self {
        self.u16(group);
        self.u16(element);
        if self.syntax == IMPLICIT || group == 0xFFFE {
            self.u32(length);
        } else if LONG.contains(&vr) {
            self.out.extend(vr);
            self.out.extend([0, 0]);
            self.u32(length);
        } else {
            self.out.extend(vr);
            self.u16(u16::try_from(length).expect("short"));
        }
        self
    }

    fn put(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> &mut Self {
        self.header(group, element, vr, u32::try_from(value.len()).expect("short"));
        self.out.extend(value);
        self
    }

    fn number(&mut self, group: u16, element: u16, n: u16) -> &mut Self {
        let bytes = if self.syntax == BIG { n.to_be_bytes() } else { n.to_le_bytes() };
        self.put(group, element, b"US", &bytes)
    }

    fn head(&mut self, instance: &[u8]) -> &mut Self {
        self.put(0x0008, 0x0016, b"UI", b"1.2.840.10008.5.1.4.1.1.1.1\0");
        self.put(0x0008, 0x0018, b"UI", instance);
        self.put(0x0008, 0x0060, b"CS", b"DX");
        self.put(0x0010, 0x0010, b"PN", b"\xd5\xc5\xc8\xfd^12 ");
        self.put(0x0020, 0x000D, b"UI", b"1.2.3\0");
        self.put(0x0020, 0x000E, b"UI", b"1.2.3.4\0")
    }

    fn image(&mut self, rows: u16, columns: u16, value: &[u8]) -> &mut Self {
        self.claim(rows, columns);
        self.put(0x7FE0, 0x0010, b"OW", value)
    }

    fn claim(&mut self, rows: u16, columns: u16) -> &mut Self {
        self.number(0x0028, 0x0002, 1).number(0x0028, 0x0010, rows).number(0x0028, 0x0011, columns);
        self.number(0x0028, 0x0100, 16).number(0x0028, 0x0101, 12)
    }

    fn file(&self) -> Vec<u8> {
        let mut meta = Self::new(EXPLICIT);
        meta.put(0x0002, 0x0010, b"UI", self.syntax.as_bytes());
        let mut file = vec![0u8; 128];
        file.extend(b"DICM");
        file.extend(meta.out);
        if self.syntax == DEFLATED {
            let mut encoder = DeflateEncoder::new(file, Compression::default());
            encoder.write_all(&self.out).expect("memory");
            return encoder.finish().expect("memory");
        }
        file.extend(&self.out);
        file
    }

    fn admit(&self) -> Result<DicomFacts, AdmitError> {
        admit(Cursor::new(self.file()))
    }

    fn refusal(&self) -> (Code, String) {
        refusal(self.admit())
    }
}

fn refusal(decision: Result<DicomFacts, AdmitError>) -> (Code, String) {
    match decision {
        Err(AdmitError::Refused(refusal)) => (refusal.code, refusal.field),
        other => panic!("not refused: {other:?}"),
    }
}

fn good(syntax: &'static str) -> Maker {
    let mut maker = Maker::new(syntax);
    maker.head(b"1.2.3.4.5\0").image(3, 2, &[7; 12]);
    maker
}

#[test]
fn a_good_image_is_accepted_in_every_native_syntax() {
    for syntax in [IMPLICIT, EXPLICIT, BIG, DEFLATED] {
        let facts = good(syntax).admit().unwrap();
        assert_eq!((facts.rows, facts.columns, facts.bits_stored), (Some(3), Some(2), Some(12)), "{syntax}");
        assert_eq!(facts.patient_name.as_deref(), Some("张三^12"));
        assert_eq!((facts.transfer_syntax.as_str(), facts.patient_name_repaired), (syntax, true));
        assert!(matches!(facts.pixels, PixelForm::Native { length: 12, .. }));
        assert_eq!(facts.notes, [Note::TextRepaired]);
    }
}

#[test]
fn every_cut_of_a_good_file_is_refused_and_never_a_panic() {
    for syntax in [IMPLICIT, EXPLICIT, BIG] {
        let file = good(syntax).file();
        for end in 0..file.len() {
            // A cut between two elements before the pixels leaves a lawful object without pixels.
            match admit(Cursor::new(&file[..end])) {
                Ok(facts) => assert!(!facts.has_pixel_data(), "{syntax} cut at {end}"),
                Err(AdmitError::Refused(_)) => {}
                Err(AdmitError::Io(error)) => panic!("{error}"),
            }
        }
    }
    let deflated = good(DEFLATED).file();
    for end in 0..deflated.len() - 1 {
        match admit(Cursor::new(&deflated[..end])) {
            Ok(facts) => assert!(!facts.has_pixel_data() || end + 8 > deflated.len(), "cut at {end}"),
            Err(AdmitError::Refused(_)) => {}
            Err(AdmitError::Io(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn uids_that_are_no_key_are_refused_by_name() {
    let instance = "(0008,0018) SOPInstanceUID".to_owned();
    for uid in
        [&b"../../../etc/passwd"[..], b"", b"1.2..3", b"1.2\\1.3", b"1.2.a", b"1.2\n", b"\0\0", &[b'1'; 66]]
    {
        let mut maker = Maker::new(EXPLICIT);
        maker.head(uid).image(3, 2, &[7; 12]);
        assert_eq!(maker.refusal(), (Code::RefusedUid, instance.clone()), "{uid:?}");
    }
    let mut maker = Maker::new(EXPLICIT);
    maker.head(b"1.2.007.1\0\0 ").image(3, 2, &[7; 12]);
    let facts = maker.admit().unwrap();
    assert_eq!(facts.sop_instance_uid.as_str(), "1.2.007.1");
    assert!(facts.has_note(Note::UidLeadingZero));
}

#[test]
fn pixels_shorter_than_their_claim_are_refused_and_longer_ones_noted() {
    let mut short = Maker::new(EXPLICIT);
    short.head(b"1.2.3.4.5\0").image(65_535, 65_535, &[7; 12]);
    assert_eq!(short.refusal(), (Code::RefusedPixelData, "(7FE0,0010) PixelData".to_owned()));
    let mut long = Maker::new(EXPLICIT);
    long.head(b"1.2.3.4.5\0").image(2, 2, &[7; 12]);
    assert!(long.admit().unwrap().has_note(Note::SurplusPixels));
    let mut none = Maker::new(EXPLICIT);
    none.head(b"1.2.3.4.5\0").image(0, 2, &[7; 12]);
    assert_eq!(none.refusal().0, Code::RefusedPixelData);
}

#[test]
fn a_length_beyond_the_file_is_refused_wherever_it_stands() {
    for length in [13, 0x7FFF_FFFF, 0xFFFF_FFFE] {
        let mut maker = Maker::new(EXPLICIT);
        maker.head(b"1.2.3.4.5\0").claim(3, 2).header(0x7FE0, 0x0010, b"OW", length);
        maker.out.extend([7; 12]);
        assert_eq!(maker.refusal().0, Code::RefusedLength, "{length:#X}");
        let mut maker = Maker::new(EXPLICIT);
        maker.head(b"1.2.3.4.5\0").header(0x0040, 0xA160, b"UT", length).out.extend([b'x'; 12]);
        assert_eq!(maker.refusal(), (Code::RefusedLength, "(0040,A160)".to_owned()));
        let mut maker = good(DEFLATED);
        maker.out.truncate(maker.out.len() - 24);
        maker.header(0x7FE0, 0x0010, b"OW", length).out.extend([7; 12]);
        assert_eq!(maker.refusal().0, Code::RefusedLength);
    }
}

#[test]
fn a_million_nested_sequences_cost_no_stack() {
    let mut maker = Maker::new(EXPLICIT);
    maker.head(b"1.2.3.4.5\0");
    for _ in 0..1_000_000 {
        maker.header(0x0040, 0xA730, b"SQ", u32::MAX).header(0xFFFE, 0xE000, b"  ", u32::MAX);
    }
    for _ in 0..1_000_000 {
        maker.header(0xFFFE, 0xE00D, b"  ", 0).header(0xFFFE, 0xE0DD, b"  ", 0);
    }
    maker.image(3, 2, &[7; 12]);
    assert!(maker.admit().unwrap().has_pixel_data());
    maker.out.truncate(maker.out.len() - 1_000_000);
    assert_eq!(maker.refusal().0, Code::RefusedUnparsable);
}

#[test]
fn an_item_larger_than_its_sequence_is_refused() {
    let mut maker = Maker::new(EXPLICIT);
    maker.head(b"1.2.3.4.5\0").header(0x0040, 0xA730, b"SQ", 12).header(0xFFFE, 0xE000, b"  ", 8);
    maker.put(0x0008, 0x0104, b"LO", b"").image(3, 2, &[7; 12]);
    assert_eq!(maker.refusal(), (Code::RefusedUnparsable, "(0040,A730)".to_owned()));
}

#[test]
fn a_private_un_of_undefined_length_is_implicit_inside() {
    let mut maker = Maker::new(EXPLICIT);
    maker.head(b"1.2.3.4.5\0").header(0x0021, 0x1001, b"UN", u32::MAX).header(
        0xFFFE,
        0xE000,
        b"  ",
        u32::MAX,
    );
    let mut inside = Maker::new(IMPLICIT);
    inside.put(0x0021, 0x1002, b"LO", b"inside").header(0x0021, 0x1003, b"SQ", u32::MAX);
    inside.header(0xFFFE, 0xE0DD, b"  ", 0);
    maker.out.extend(inside.out);
    maker.header(0xFFFE, 0xE00D, b"  ", 0).header(0xFFFE, 0xE0DD, b"  ", 0).image(3, 2, &[7; 12]);
    assert!(maker.admit().unwrap().has_pixel_data());
}

fn fragments(syntax: &'static str, streams: &[&[u8]], closed: bool) -> Maker {
    let mut maker = Maker::new(syntax);
    maker.head(b"1.2.3.4.5\0").claim(3, 2).header(0x7FE0, 0x0010, b"OB", u32::MAX);
    maker.header(0xFFFE, 0xE000, b"  ", 0);
    for stream in streams {
        maker.put(0xFFFE, 0xE000, b"  ", stream);
    }
    if closed {
        maker.header(0xFFFE, 0xE0DD, b"  ", 0);
    }
    maker
}

#[test]
fn fragments_are_held_against_their_transfer_syntax() {
    let whole: &[u8] = b"\xFF\xD8\xFF\xF7 scan \xFF\xD9";
    let facts = fragments(JPEG_LS, &[whole], true).admit().unwrap();
    assert_eq!(facts.pixels, PixelForm::Encapsulated { fragments: 1, length: whole.len() as u64 });
    assert!(fragments(JPEG_LS, &[whole], false).admit().unwrap().has_note(Note::NoSequenceDelimiter));
    for (maker, why) in [
        (fragments(JPEG_LS, &[], true), "no fragment"),
        (fragments(JPEG_LS, &[b"\xFF\x4F\xFF\x51 \xFF\xD9"], true), "another codec"),
        (fragments(JPEG_LS, &[&whole[..whole.len() - 2]], true), "cut off"),
        (fragments(EXPLICIT, &[whole], true), "native syntax"),
        (good(JPEG_LS), "plain value"),
    ] {
        assert_eq!(maker.refusal().0, Code::RefusedPixelData, "{why}");
    }
    let mut huge = fragments(JPEG_LS, &[whole], false);
    huge.header(0xFFFE, 0xE000, b"  ", 0xFFFF_FFF0);
    assert_eq!(huge.refusal().0, Code::RefusedLength);
}

#[test]
fn files_without_preamble_or_meta_are_accepted_when_the_data_set_shows_itself() {
    for syntax in [IMPLICIT, EXPLICIT, BIG] {
        let bare = good(syntax).out;
        let facts = admit(Cursor::new(&bare)).unwrap();
        assert_eq!(facts.transfer_syntax, syntax);
        assert!(facts.has_note(Note::NoPreamble) && facts.has_note(Note::NoFileMeta));
        let file = good(syntax).file();
        assert!(admit(Cursor::new(&file[128..])).unwrap().has_note(Note::NoPreamble));
    }
    for junk in [&b""[..], b"plain text", b"\xFF\xD8\xFF\xE0 JFIF", &[0; 4096]] {
        assert_eq!(refusal(admit(Cursor::new(junk))).0, Code::RefusedFormat, "{junk:?}");
    }
}

#[test]
fn a_meta_that_lies_about_the_encoding_is_overruled() {
    let mut file = good(EXPLICIT).file();
    file.truncate(132);
    let mut meta = Maker::new(EXPLICIT);
    meta.put(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2\0");
    file.extend(meta.out);
    file.extend(good(EXPLICIT).out);
    let facts = admit(Cursor::new(file)).unwrap();
    assert!(facts.has_note(Note::MetaSyntaxWrong) && facts.has_pixel_data());
}

#[test]
fn a_deflate_bomb_is_stopped() {
    let mut maker = good(DEFLATED);
    maker.out.truncate(maker.out.len() - 24);
    maker.header(0x0009, 0x1001, b"OB", 0xFFFF_FFF0);
    assert_eq!(maker.refusal().0, Code::RefusedLength);
}

#[test]
fn debug_output_shows_no_patient() {
    let facts = good(EXPLICIT).admit().unwrap();
    assert!(!format!("{facts:?}").contains('张'));
}
