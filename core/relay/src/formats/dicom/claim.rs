//! The pixel data's claim against its bytes.

use super::AdmitError;
use super::element::{Header, Next, next};
use super::facts::{DicomFacts, Note};
use super::input::Input;
use super::syntax::{Coding, PixelForm, SyntaxFamily};
use super::tag::Tag;
use super::walk::beyond;
use crate::codes::{Code, Refusal};
use std::io::{Read, Seek};

/// First bytes of the first fragment that are looked at.
const HEAD_BYTES: usize = 16;
/// Last bytes of the last fragment that are searched for the end marker: room for any padding seen in the field.
const TAIL_BYTES: usize = 1024;

/// Checks the pixel data that `input` stands at and completes the facts.
pub(super) fn check<R: Read + Seek>(
    input: &mut Input<R>,
    header: Option<Header>,
    mut facts: DicomFacts,
) -> Result<DicomFacts, AdmitError> {
    facts.deflated = input.inflates();
    let Some(header) = header else { return Ok(facts) };
    let mut notes = Vec::new();
    facts.pixels = match header.length() {
        Some(length) => native(input, &header, length, &facts, &mut notes)?,
        None => encapsulated(input, &header, &facts, &mut notes)?,
    };
    facts.notes.extend(notes);
    facts.notes.sort_unstable();
    facts.notes.dedup();
    Ok(facts)
}

fn contradiction(tag: Tag, reason: impl Into<String>) -> AdmitError {
    Refusal::new(Code::RefusedPixelData, tag.to_string(), reason).into()
}

/// Bytes that Rows, Columns, samples, bits and frames claim; `None` when there is no claim.
///
/// 4:2:2 photometric interpretations share chroma between two pixels, 4:2:0 between four (PS3.3 §C.7.6.3.1.2).
/// Bits are packed, as PS3.5 §8.1.1 has it for one-bit samples.
fn claimed_bytes(facts: &DicomFacts) -> Option<u128> {
    let pixels = u128::from(facts.rows?) * u128::from(facts.columns?);
    let frames = u128::from(facts.frames.unwrap_or(1).max(1));
    let bits = u128::from(facts.bits_allocated?);
    let half_samples = match facts.photometric.as_deref() {
        Some("YBR_FULL_422" | "YBR_PARTIAL_422") => 4,
        Some("YBR_PARTIAL_420") => 3,
        _ => 2 * u128::from(facts.samples.unwrap_or(1)),
    };
    Some((pixels * frames * bits * half_samples).div_ceil(16))
}

fn native<R: Read + Seek>(
    input: &mut Input<R>,
    header: &Header,
    length: u64,
    facts: &DicomFacts,
    notes: &mut Vec<Note>,
) -> Result<PixelForm, AdmitError> {
    let (tag, offset) = (header.tag, input.pos());
    if length > input.left() {
        return Err(beyond(tag, length, input).into());
    }
    if facts.syntax_family.is_encapsulated() && tag == Tag::PIXEL_DATA {
        let syntax = &facts.transfer_syntax;
        return Err(contradiction(
            tag,
            format!("transfer syntax {syntax} demands fragments, but the value is plain"),
        ));
    }
    if [facts.rows, facts.columns].contains(&Some(0)) && length > 0 {
        return Err(contradiction(tag, format!("{length} bytes for an image of zero rows or columns")));
    }
    // What an unknown syntax does to its pixels is unknown, so there is nothing to hold its length against.
    if facts.syntax_family == SyntaxFamily::Native {
        match claimed_bytes(facts) {
            None => notes.push(Note::PixelsWithoutClaim),
            Some(claim) if u128::from(length) < claim => {
                return Err(contradiction(tag, shortage(facts, claim, length)));
            }
            Some(claim) if u128::from(length) > claim + claim % 2 => notes.push(Note::SurplusPixels),
            Some(_) => {}
        }
        if facts.bits_stored > facts.bits_allocated {
            return Err(contradiction(tag, bits(facts)));
        }
    }
    if !input.skip(length)? {
        return Err(beyond(tag, length, input).into());
    }
    Ok(PixelForm::Native { offset, length })
}

fn bits(facts: &DicomFacts) -> String {
    let number = |n: Option<u16>| n.unwrap_or_default();
    format!("{} bits stored in cells of {} bits", number(facts.bits_stored), number(facts.bits_allocated))
}

fn shortage(facts: &DicomFacts, claim: u128, length: u64) -> String {
    let number = |n: Option<u32>| n.unwrap_or_default();
    format!(
        "{} rows x {} columns x {} samples x {} frames at {} bits need {claim} bytes, the value has {length}",
        number(facts.rows),
        number(facts.columns),
        facts.samples.unwrap_or(1),
        facts.frames.unwrap_or(1),
        facts.bits_allocated.unwrap_or_default(),
    )
}

/// What the walk over the fragments saw.
#[derive(Debug, Default)]
struct Fragments {
    count: u64,
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    closed: bool,
}

fn encapsulated<R: Read + Seek>(
    input: &mut Input<R>,
    header: &Header,
    facts: &DicomFacts,
    notes: &mut Vec<Note>,
) -> Result<PixelForm, AdmitError> {
    let (tag, family) = (header.tag, facts.syntax_family);
    if family == SyntaxFamily::Native {
        let syntax = &facts.transfer_syntax;
        return Err(contradiction(
            tag,
            format!("the value is in fragments, but transfer syntax {syntax} has none"),
        ));
    }
    let seen = walk(input, tag)?;
    if !seen.closed {
        notes.push(Note::NoSequenceDelimiter);
    }
    if seen.count == 0 {
        return Err(contradiction(tag, "no fragment behind the offset table"));
    }
    if [facts.rows, facts.columns].contains(&Some(0)) {
        return Err(contradiction(tag, format!("{} bytes for an image of zero rows or columns", seen.bytes)));
    }
    let per_frame =
        !matches!(family, SyntaxFamily::Video | SyntaxFamily::OtherEncapsulated | SyntaxFamily::Unknown);
    let frames = u64::from(facts.frames.unwrap_or(1));
    if per_frame && seen.count < frames {
        let count = seen.count;
        return Err(contradiction(tag, format!("{count} fragments cannot hold {frames} frames")));
    }
    if !begins_as(family, &seen.head) {
        let (syntax, head) = (&facts.transfer_syntax, hex::encode(&seen.head));
        let reason = format!("the first fragment begins with {head}, which is no code stream of {syntax}");
        return Err(contradiction(tag, reason));
    }
    if has_end_marker(family) && !seen.tail.windows(2).any(|w| w == [0xFF, 0xD9]) {
        return Err(contradiction(tag, "the last code stream is cut off: it does not reach its end marker"));
    }
    if facts.bits_stored > facts.bits_allocated {
        return Err(contradiction(tag, bits(facts)));
    }
    Ok(PixelForm::Encapsulated { fragments: seen.count, length: seen.bytes })
}

/// Walks the fragments. The first item is the basic offset table; its content is not believed and not needed.
fn walk<R: Read + Seek>(input: &mut Input<R>, tag: Tag) -> Result<Fragments, AdmitError> {
    let mut seen = Fragments::default();
    let mut table = true;
    loop {
        // Fragments are always framed in little endian (PS3.5 §A.4).
        let Next::Element(item) = next(input, Coding::IMPLICIT)? else { return Ok(seen) };
        let length = match (item.tag, item.length()) {
            (Tag::SEQUENCE_END, _) => {
                seen.closed = true;
                return Ok(seen);
            }
            (Tag::ITEM, Some(length)) => length,
            (Tag::ITEM, None) => return Err(contradiction(tag, "a fragment of undefined length")),
            _ => return Ok(seen),
        };
        if length > input.left() {
            let (n, left) = (seen.count + 1, input.left());
            let reason = format!("fragment {n} claims {length} bytes, but {left} are left in the file");
            return Err(Refusal::new(Code::RefusedLength, tag.to_string(), reason).into());
        }
        if table {
            table = false;
            input.skip(length)?;
            continue;
        }
        seen.count += 1;
        seen.bytes += length;
        let head = usize::try_from(length).map_or(HEAD_BYTES, |n| n.min(HEAD_BYTES));
        let mut bytes = [0u8; HEAD_BYTES];
        input.fill(&mut bytes[..head])?;
        if seen.count == 1 {
            seen.head = bytes[..head].to_vec();
        }
        let rest = length - head as u64;
        let last = usize::try_from(rest).map_or(TAIL_BYTES, |n| n.min(TAIL_BYTES));
        input.skip(rest - last as u64)?;
        // Only the last fragment's tail is wanted, and which is last is known afterwards.
        seen.tail.clear();
        seen.tail.extend_from_slice(&bytes[..head]);
        seen.tail.resize(head + last, 0);
        input.fill(&mut seen.tail[head..])?;
    }
}

const fn has_end_marker(family: SyntaxFamily) -> bool {
    matches!(family, SyntaxFamily::Jpeg | SyntaxFamily::JpegLs | SyntaxFamily::Jpeg2000)
}

/// Whether a fragment begins like a code stream of the family. Containers (JP2, JXL) are met in the field.
fn begins_as(family: SyntaxFamily, head: &[u8]) -> bool {
    match family {
        SyntaxFamily::Jpeg | SyntaxFamily::JpegLs => head.starts_with(&[0xFF, 0xD8]),
        SyntaxFamily::Jpeg2000 => {
            head.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]) || head.starts_with(b"\0\0\0\x0CjP  ")
        }
        SyntaxFamily::JpegXl => head.starts_with(&[0xFF, 0x0A]) || head.starts_with(b"\0\0\0\x0CJXL "),
        SyntaxFamily::Rle => {
            head.first_chunk::<4>().is_some_and(|n| (1..=15).contains(&u32::from_le_bytes(*n)))
        }
        _ => true,
    }
}
