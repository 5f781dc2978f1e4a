//! The beginning of a file: preamble, file meta, and how the data set is really encoded (PS3.10 §7.1).

use super::AdmitError;
use super::element::{Next, is_known_vr, next};
use super::facts::Note;
use super::input::Input;
use super::syntax::{Coding, DEFLATED_LE};
use super::tag::Tag;
use super::walk::beyond;
use crate::codes::{Code, Refusal};
use std::collections::BTreeSet;
use std::io::{Read, Seek};

/// Longest file meta value that is kept, in bytes; a UID has at most 64.
const META_VALUE_BYTES: u64 = 256;
/// Longest first element of a bare implicit data set that is believed, in bytes: it is a group length, a character
/// set or a UID.
const BARE_FIRST_BYTES: u32 = 1024;

/// A file whose beginning has been read; `input` stands at the data set.
#[derive(Debug)]
pub(super) struct Opened<R> {
    pub(super) input: Input<R>,
    pub(super) coding: Coding,
    /// Declared, or inferred.
    pub(super) transfer_syntax: String,
    pub(super) meta_sop_class: Option<String>,
    pub(super) meta_sop_instance: Option<String>,
    pub(super) notes: BTreeSet<Note>,
}

/// Whether bytes without preamble begin like a DICOM data set or file meta group.
///
/// The group must be one a data set can begin with, and be followed by a known VR or a small implicit length.
pub(in super::super) fn looks_like_bare_data_set(head: &[u8]) -> bool {
    let Some(&[a, b, _, _, v0, v1, l0, l1]) = head.first_chunk::<8>() else { return false };
    let begins = |group: u16| matches!(group, 0x0002 | 0x0004 | 0x0008 | 0x0010);
    let length = [v0, v1, l0, l1];
    let known = is_known_vr([v0, v1]);
    (begins(u16::from_le_bytes([a, b])) && (known || u32::from_le_bytes(length) <= BARE_FIRST_BYTES))
        || (begins(u16::from_be_bytes([a, b])) && (known || u32::from_be_bytes(length) <= BARE_FIRST_BYTES))
}

/// Reads up to the data set.
pub(super) fn open<R: Read + Seek>(source: R) -> Result<Opened<R>, AdmitError> {
    let mut notes = BTreeSet::new();
    let mut input = Input::new(source)?;
    let mut head = [0u8; 140];
    let count = input.fill(&mut head)?;
    let head = &head[..count];
    // `DICM` may stand at byte 128 of a bare data set by chance, inside a text.
    let by_chance = || looks_like_bare_data_set(head) && !looks_like_bare_data_set(&head[132..]);
    let begin = if head.get(128..132) == Some(b"DICM") && !by_chance() {
        132
    } else if head.starts_with(b"DICM") {
        notes.insert(Note::NoPreamble);
        4
    } else if looks_like_bare_data_set(head) {
        notes.insert(Note::NoPreamble);
        0
    } else {
        let reason = if count == 0 {
            "the file is empty".to_owned()
        } else {
            format!(
                "no DICM at byte 128 and the first of {} bytes are no DICOM element",
                input.pos() + input.left()
            )
        };
        return Err(Refusal::new(Code::RefusedFormat, "file", reason).into());
    };
    input.rewind_to(begin)?;
    let meta = read_meta(&mut input)?;
    if meta.elements == 0 {
        notes.insert(Note::NoFileMeta);
    } else if meta.transfer_syntax.is_none() {
        notes.insert(Note::NoTransferSyntax);
    }
    if meta.transfer_syntax.as_deref() == Some(DEFLATED_LE) {
        input = begin_inflating(input, &mut notes)?;
    }
    let coding = detect(&mut input, meta.transfer_syntax.as_deref(), &mut notes)?;
    Ok(Opened {
        input,
        coding,
        transfer_syntax: meta.transfer_syntax.unwrap_or_else(|| coding.uid().to_owned()),
        meta_sop_class: meta.sop_class,
        meta_sop_instance: meta.sop_instance,
        notes,
    })
}

#[derive(Debug, Default)]
struct Meta {
    elements: usize,
    transfer_syntax: Option<String>,
    sop_class: Option<String>,
    sop_instance: Option<String>,
}

/// Reads group 0002, always explicit little endian, by its tags and not by its group length: that is often wrong.
/// The first of two equal elements counts, so that a second transfer syntax inside the data set changes nothing.
fn read_meta<R: Read + Seek>(input: &mut Input<R>) -> Result<Meta, AdmitError> {
    let mut meta = Meta::default();
    loop {
        let (bytes, count) = input.eight()?;
        if count == 8 {
            input.push_back(bytes);
        }
        if count < 8 || bytes[..2] != [0x02, 0x00] {
            if (1..8).contains(&count) {
                let reason = "the file ends inside the file meta information";
                return Err(Refusal::new(Code::RefusedUnparsable, "file meta information", reason).into());
            }
            return Ok(meta);
        }
        let Next::Element(header) = next(input, Coding::EXPLICIT)? else { return Ok(meta) };
        let tag = header.tag;
        let Some(length) = header.length() else {
            let reason = "a file meta element of undefined length";
            return Err(Refusal::new(Code::RefusedUnparsable, tag.to_string(), reason).into());
        };
        if length > input.left() {
            return Err(beyond(tag, length, input).into());
        }
        meta.elements += 1;
        let slot = match tag {
            Tag::TRANSFER_SYNTAX => &mut meta.transfer_syntax,
            Tag::META_SOP_CLASS => &mut meta.sop_class,
            Tag::META_SOP_INSTANCE => &mut meta.sop_instance,
            _ => {
                input.skip(length)?;
                continue;
            }
        };
        let mut value = vec![0u8; usize::try_from(length.min(META_VALUE_BYTES)).unwrap_or_default()];
        input.fill(&mut value)?;
        input.skip(length.saturating_sub(META_VALUE_BYTES))?;
        let text = String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).to_owned();
        if slot.is_none() && !text.is_empty() {
            *slot = Some(text);
        }
    }
}

/// Turns on the inflater, unless the data set is not deflated at all; a zlib wrapper is stepped over.
fn begin_inflating<R: Read + Seek>(
    mut input: Input<R>,
    notes: &mut BTreeSet<Note>,
) -> Result<Input<R>, AdmitError> {
    let begin = input.pos();
    input.rewind_to(begin)?;
    let (plain, zlib) = {
        let ahead = input.peek()?;
        let zlib = ahead.first() == Some(&0x78)
            && ahead.first_chunk::<2>().is_some_and(|h| u16::from_be_bytes(*h) % 31 == 0);
        (looks_like_bare_data_set(ahead), zlib)
    };
    if plain {
        notes.insert(Note::MetaSyntaxWrong);
        return Ok(input);
    }
    if zlib {
        notes.insert(Note::MetaSyntaxWrong);
        input.skip(2)?;
    }
    Ok(input.inflate())
}

/// How the data set is encoded, by its first element; the declared syntax decides what that leaves open.
fn detect<R: Read + Seek>(
    input: &mut Input<R>,
    declared: Option<&str>,
    notes: &mut BTreeSet<Note>,
) -> Result<Coding, AdmitError> {
    let prescribed = declared.map_or(Coding::EXPLICIT, Coding::of);
    let (bytes, count) = input.eight()?;
    if count < 8 {
        let reason = "there is no data set behind the file's beginning";
        return Err(Refusal::new(Code::RefusedUnparsable, "data set", reason).into());
    }
    input.push_back(bytes);
    let [a, b, _, _, v0, v1, ..] = bytes;
    let vr = [v0, v1];
    let letters = vr.iter().all(u8::is_ascii_uppercase);
    let explicit = is_known_vr(vr) || (declared.is_some() && prescribed.explicit && letters);
    let big_endian = match (a, b) {
        (0, 0) => prescribed.big_endian,
        (0, _) => true,
        _ => false,
    };
    let coding = Coding { explicit, big_endian };
    if declared.is_some() && coding != prescribed {
        notes.insert(Note::MetaSyntaxWrong);
    }
    Ok(coding)
}
