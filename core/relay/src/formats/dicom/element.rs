//! Element headers in every encoding (PS3.5 §7.1), with the tolerance that files in the field need.

use super::AdmitError;
use super::input::Input;
use super::syntax::Coding;
use super::tag::Tag;
use crate::codes::{Code, Refusal};
use std::io::{Read, Seek};

/// The length that means *until a delimiter*.
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// VRs with a 16-bit length (PS3.5 Table 7.1-2).
const SHORT_VRS: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];
/// VRs with two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
const LONG_VRS: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// Whether these two bytes are a VR of PS3.5.
pub(super) fn is_known_vr(vr: [u8; 2]) -> bool {
    SHORT_VRS.contains(&&vr) || LONG_VRS.contains(&&vr)
}

/// One element header; its value has not been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) tag: Tag,
    /// `None` in implicit encoding, for delimiters, and where an explicit data set holds none.
    pub(super) vr: Option<[u8; 2]>,
    length: u32,
    /// The VR is not one of PS3.5.
    pub(super) odd_vr: bool,
}

impl Header {
    /// The length; `None` when undefined.
    pub(super) const fn length(&self) -> Option<u64> {
        if self.length == UNDEFINED { None } else { Some(self.length as u64) }
    }

    pub(super) fn is_vr(&self, vr: &[u8; 2]) -> bool {
        self.vr == Some(*vr)
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Element(Header),
    End,
    /// Fewer than eight bytes, all zero.
    ZeroTail,
}

/// Reads the next header.
pub(super) fn next<R: Read + Seek>(input: &mut Input<R>, coding: Coding) -> Result<Next, AdmitError> {
    let at = input.pos();
    let (bytes, count) = input.eight()?;
    if count == 0 {
        return Ok(Next::End);
    }
    if count < bytes.len() {
        if bytes[..count].iter().all(|b| *b == 0) {
            return Ok(Next::ZeroTail);
        }
        let reason = format!("the file ends inside the element header at byte {at}");
        return Err(Refusal::new(Code::RefusedUnparsable, "element header", reason).into());
    }
    parse(input, coding, bytes).map(Next::Element)
}

fn parse<R: Read + Seek>(input: &mut Input<R>, coding: Coding, bytes: [u8; 8]) -> Result<Header, AdmitError> {
    let [a, b, c, d, v0, v1, l0, l1] = bytes;
    let u16_of = |b| if coding.big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) };
    let u32_of = |b| if coding.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
    let tag = Tag(u16_of([a, b]), u16_of([c, d]));
    let plain = Header { tag, vr: None, length: u32_of([v0, v1, l0, l1]), odd_vr: false };
    if tag.0 == 0xFFFE || !coding.explicit {
        return Ok(plain);
    }
    let vr = [v0, v1];
    let known = is_known_vr(vr);
    if SHORT_VRS.contains(&&vr) || (!known && is_letters(vr) && [l0, l1] != [0, 0]) {
        let length = u32::from(u16_of([l0, l1]));
        return Ok(Header { tag, vr: Some(vr), length, odd_vr: !known });
    }
    if known || is_letters(vr) {
        let mut long = [0u8; 4];
        if input.fill(&mut long)? < long.len() {
            let reason = format!("the file ends inside the header of {tag}");
            return Err(Refusal::new(Code::RefusedUnparsable, tag.to_string(), reason).into());
        }
        return Ok(Header { tag, vr: Some(vr), length: u32_of(long), odd_vr: !known });
    }
    // No VR where one should be: some writers drop to implicit elements half way. Believed only if it fits.
    if plain.length().is_some_and(|length| length <= input.left()) {
        return Ok(Header { odd_vr: true, ..plain });
    }
    // Blanks or NULs for the VR with a length of 16 bits: met in files of CT consoles.
    let short = u32::from(u16_of([l0, l1]));
    if matches!(vr, [b' ', b' '] | [0, 0] | [b'?', b'?']) && u64::from(short) <= input.left() {
        return Ok(Header { tag, vr: None, length: short, odd_vr: true });
    }
    let reason =
        format!("bytes {v0:02X} {v1:02X} stand where the VR of {tag} should be, before byte {}", input.pos());
    Err(Refusal::new(Code::RefusedUnparsable, tag.to_string(), reason).into())
}

const fn is_letters(vr: [u8; 2]) -> bool {
    vr[0].is_ascii_uppercase() && vr[1].is_ascii_uppercase()
}
