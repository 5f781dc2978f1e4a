//! A bounded walker over a DICOM data set in memory (PS3.5): no recursion, lengths checked, deep nesting skipped.

use std::borrow::Cow;
use std::io::Read;

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::limits::{MAX_DICOM_DEPTH, MAX_DICOM_ELEMENTS, MAX_INFLATED_BYTES};

pub(crate) const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
pub(crate) const DEFLATED_LE: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const EXPLICIT_BE: &str = "1.2.840.10008.1.2.2";
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// One element; sequences hold the indices of their items.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) tag: u32,
    pub(crate) vr: [u8; 2],
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) items: Vec<usize>,
}

/// A data set as an arena of items; item 0 is the root.
#[derive(Debug)]
pub(crate) struct DataSet<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) big_endian: bool,
    pub(crate) items: Vec<Vec<Element>>,
}

#[derive(Debug, Clone, Copy)]
struct Coding {
    explicit: bool,
    big: bool,
}

fn error(kind: ErrorKind, tag: u32, at: usize, reason: impl Into<String>) -> ReadError {
    ReadError::new(Format::Dicom, kind, tag_name(tag), at, reason)
}

/// `(gggg,eeee)` and the keyword of the tags this reader speaks of.
pub(crate) fn tag_name(tag: u32) -> String {
    let keyword = match tag {
        0x0002_0010 => " TransferSyntaxUID",
        0x0008_0016 => " SOPClassUID",
        0x003A_0005 => " NumberOfWaveformChannels",
        0x003A_0010 => " NumberOfWaveformSamples",
        0x003A_001A => " SamplingFrequency",
        0x003A_0200 => " ChannelDefinitionSequence",
        0x003A_0210 => " ChannelSensitivity",
        0x0042_0011 => " EncapsulatedDocument",
        0x5400_0100 => " WaveformSequence",
        0x5400_1004 => " WaveformBitsAllocated",
        0x5400_1006 => " WaveformSampleInterpretation",
        0x5400_1010 => " WaveformData",
        _ => "",
    };
    format!("({:04X},{:04X}){keyword}", tag >> 16, tag & 0xFFFF)
}

impl<'a> DataSet<'a> {
    /// Parses a file: preamble and meta group when present, else a bare data set (explicit or implicit little endian).
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, ReadError> {
        let (syntax, at) = match file.get(128..132) {
            Some(b"DICM") => meta(file, 132)?,
            _ if file.starts_with(b"DICM") => meta(file, 4)?,
            _ if file.starts_with(&[0x02, 0x00]) => meta(file, 0)?,
            _ => (bare_syntax(file).to_owned(), 0),
        };
        let coding = match syntax.as_str() {
            IMPLICIT_LE => Coding { explicit: false, big: false },
            EXPLICIT_BE => Coding { explicit: true, big: true },
            _ => Coding { explicit: true, big: false },
        };
        let (bytes, at) = if syntax == DEFLATED_LE {
            (Cow::Owned(inflate(file, at)?), 0)
        } else {
            (Cow::Borrowed(file), at)
        };
        let mut set = Self { bytes, big_endian: coding.big, items: vec![Vec::new()] };
        set.walk(at, coding)?;
        Ok(set)
    }

    fn walk(&mut self, at: usize, coding: Coding) -> Result<(), ReadError> {
        let bytes = std::mem::take(&mut self.bytes);
        let result = Walker { bytes: &bytes, coding, items: &mut self.items, count: 0 }.run(at);
        self.bytes = bytes;
        result
    }

    pub(crate) fn find(&self, item: usize, tag: u32) -> Option<&Element> {
        self.items.get(item)?.iter().find(|e| e.tag == tag)
    }

    pub(crate) fn value(&self, element: &Element) -> &[u8] {
        self.bytes.get(element.at..element.at + element.len).unwrap_or(&[])
    }

    pub(crate) fn bytes_of(&self, item: usize, tag: u32) -> Option<&[u8]> {
        self.find(item, tag).map(|e| self.value(e))
    }

    /// Items of a sequence.
    pub(crate) fn sequence(&self, item: usize, tag: u32) -> &[usize] {
        self.find(item, tag).map_or(&[], |e| &e.items)
    }

    /// First item of a sequence.
    pub(crate) fn first(&self, item: usize, tag: u32) -> Option<usize> {
        self.sequence(item, tag).first().copied()
    }

    /// ASCII value (codes, numbers, UIDs), trimmed; `None` when absent or empty.
    pub(crate) fn ascii(&self, item: usize, tag: u32) -> Option<String> {
        let raw = self.bytes_of(item, tag)?;
        let text = String::from_utf8_lossy(raw);
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A decimal string (DS, IS), first value.
    pub(crate) fn decimal(&self, item: usize, tag: u32) -> Option<f64> {
        let text = self.ascii(item, tag)?;
        text.split('\\').next()?.trim().parse::<f64>().ok().filter(|v| v.is_finite())
    }

    pub(crate) fn u16_of(&self, item: usize, tag: u32) -> Option<u16> {
        self.numbers::<2>(item, tag)
            .first()
            .map(|b| if self.big_endian { u16::from_be_bytes(*b) } else { u16::from_le_bytes(*b) })
    }

    pub(crate) fn u32_of(&self, item: usize, tag: u32) -> Option<u32> {
        self.u32_list(item, tag).first().copied()
    }

    pub(crate) fn u16_list(&self, item: usize, tag: u32) -> Vec<u16> {
        let big = self.big_endian;
        self.numbers::<2>(item, tag)
            .iter()
            .map(|b| if big { u16::from_be_bytes(*b) } else { u16::from_le_bytes(*b) })
            .collect()
    }

    pub(crate) fn u32_list(&self, item: usize, tag: u32) -> Vec<u32> {
        let big = self.big_endian;
        self.numbers::<4>(item, tag)
            .iter()
            .map(|b| if big { u32::from_be_bytes(*b) } else { u32::from_le_bytes(*b) })
            .collect()
    }

    fn numbers<const N: usize>(&self, item: usize, tag: u32) -> &[[u8; N]] {
        self.bytes_of(item, tag).map_or(&[], |raw| raw.as_chunks::<N>().0)
    }
}

/// Reads the file meta group; returns transfer syntax and where the data set starts.
fn meta(file: &[u8], start: usize) -> Result<(String, usize), ReadError> {
    let coding = Coding { explicit: true, big: false };
    let (mut at, mut syntax) = (start, None);
    while let Some(group) = file.get(at..at + 2) {
        if group != [0x02, 0x00] {
            break;
        }
        let head = header(file, at, coding)?;
        let end = head
            .value_at
            .checked_add(head.len as usize)
            .filter(|e| *e <= file.len() && head.len != UNDEFINED);
        let Some(end) = end else {
            return Err(error(
                ErrorKind::Truncated,
                head.tag,
                at,
                format!("length {} passes the end of the file", head.len),
            ));
        };
        if head.tag == 0x0002_0010 {
            let text = String::from_utf8_lossy(&file[head.value_at..end]);
            syntax = Some(text.trim_matches(|c: char| c == '\0' || c == ' ').to_owned());
        }
        at = end;
    }
    let syntax = syntax.unwrap_or_else(|| bare_syntax(&file[at.min(file.len())..]).to_owned());
    Ok((syntax, at))
}

/// Explicit when the third field of the first element reads as a VR.
fn bare_syntax(data: &[u8]) -> &'static str {
    match data.get(4..6) {
        Some(vr) if vr.iter().all(u8::is_ascii_uppercase) => EXPLICIT_LE,
        _ => IMPLICIT_LE,
    }
}

fn inflate(file: &[u8], at: usize) -> Result<Vec<u8>, ReadError> {
    let mut out = Vec::new();
    let source = file.get(at..).unwrap_or(&[]);
    let read = flate2::read::DeflateDecoder::new(source).take(MAX_INFLATED_BYTES + 1).read_to_end(&mut out);
    if out.len() as u64 > MAX_INFLATED_BYTES {
        return Err(error(
            ErrorKind::Limit,
            0x0002_0010,
            at,
            format!("unfolds to more than {MAX_INFLATED_BYTES} bytes"),
        ));
    }
    match read {
        Ok(_) => Ok(out),
        // What has been unfolded is walked: the walker says where the data end.
        Err(_) if !out.is_empty() => Ok(out),
        Err(cause) => {
            Err(error(ErrorKind::Malformed, 0x0002_0010, at, format!("deflated data set: {cause}")))
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    tag: u32,
    vr: [u8; 2],
    len: u32,
    value_at: usize,
}

fn header(bytes: &[u8], at: usize, coding: Coding) -> Result<Header, ReadError> {
    let short = |at: usize| error(ErrorKind::Truncated, 0, at, "the data set ends inside an element header");
    let b8: [u8; 8] = bytes.get(at..at + 8).and_then(|s| s.try_into().ok()).ok_or_else(|| short(at))?;
    let u16_at = |i: usize| {
        let pair = [b8[i], b8[i + 1]];
        if coding.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let quad = |q: [u8; 4]| if coding.big { u32::from_be_bytes(q) } else { u32::from_le_bytes(q) };
    let tag = u32::from(u16_at(0)) << 16 | u32::from(u16_at(2));
    let vr = [b8[4], b8[5]];
    if tag >> 16 == 0xFFFE || !coding.explicit {
        let vr = if tag >> 16 == 0xFFFE { *b"na" } else { *b"--" };
        return Ok(Header { tag, vr, len: quad([b8[4], b8[5], b8[6], b8[7]]), value_at: at + 8 });
    }
    if !vr.iter().all(u8::is_ascii_uppercase) {
        return Err(error(ErrorKind::Malformed, tag, at, format!("value representation {vr:02X?} is none")));
    }
    if matches!(
        &vr,
        b"OB" | b"OW" | b"OF" | b"OD" | b"OL" | b"OV" | b"SQ" | b"UC" | b"UR" | b"UT" | b"UN" | b"SV" | b"UV"
    ) {
        let long: [u8; 4] =
            bytes.get(at + 8..at + 12).and_then(|s| s.try_into().ok()).ok_or_else(|| short(at))?;
        return Ok(Header { tag, vr, len: quad(long), value_at: at + 12 });
    }
    Ok(Header { tag, vr, len: u32::from(u16_at(6)), value_at: at + 8 })
}

/// Where the walker stands: inside an item (elements) or a sequence (items).
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Item index (item frame) or (item, element) of the sequence.
    item: usize,
    element: Option<usize>,
    /// Known end, if the length is defined.
    end: Option<usize>,
    coding: Coding,
    at: usize,
    tag: u32,
}

struct Walker<'b> {
    bytes: &'b [u8],
    coding: Coding,
    items: &'b mut Vec<Vec<Element>>,
    count: usize,
}

impl Walker<'_> {
    fn run(&mut self, start: usize) -> Result<(), ReadError> {
        let root = Frame {
            item: 0,
            element: None,
            end: Some(self.bytes.len()),
            coding: self.coding,
            at: start,
            tag: 0,
        };
        let (mut stack, mut at) = (vec![root], start);
        while let Some(frame) = stack.last().copied() {
            if frame.end.is_some_and(|end| at >= end) {
                stack.pop();
                continue;
            }
            // Trailing bytes too short for a header end the root quietly (odd padding at the end of a file).
            if stack.len() == 1 && self.bytes.len() - at < 8 {
                break;
            }
            let head = match header(self.bytes, at, frame.coding) {
                Ok(head) => head,
                Err(mut cause) => {
                    if frame.tag != 0 {
                        cause.field = tag_name(frame.tag);
                    }
                    return Err(cause);
                }
            };
            at = if frame.element.is_some() {
                self.item(&mut stack, frame, head)?
            } else {
                self.element(&mut stack, frame, head, at)?
            };
        }
        Ok(())
    }

    /// Inside a sequence: an item or the delimiter.
    fn item(&mut self, stack: &mut Vec<Frame>, frame: Frame, head: Header) -> Result<usize, ReadError> {
        match head.tag {
            0xFFFE_E000 => {
                let end = self.end_of(head, frame)?;
                self.items.push(Vec::new());
                let index = self.items.len() - 1;
                if let Some(element) = frame.element.and_then(|e| self.items[frame.item].get_mut(e)) {
                    element.items.push(index);
                }
                self.bump(head)?;
                stack.push(Frame { item: index, element: None, end, at: head.value_at, ..frame });
                Ok(head.value_at)
            }
            0xFFFE_E0DD => {
                stack.pop();
                Ok(head.value_at)
            }
            other => Err(error(
                ErrorKind::Malformed,
                frame.tag,
                frame.at,
                format!("{} stands where an item should", tag_name(other)),
            )),
        }
    }

    /// Inside an item: an element, or the item's delimiter.
    fn element(
        &mut self,
        stack: &mut Vec<Frame>,
        frame: Frame,
        head: Header,
        at: usize,
    ) -> Result<usize, ReadError> {
        if head.tag == 0xFFFE_E00D || head.tag == 0xFFFE_E0DD {
            if stack.len() > 1 {
                stack.pop();
            }
            return Ok(head.value_at);
        }
        self.bump(head)?;
        if head.len == UNDEFINED && matches!(&head.vr, b"OB" | b"OW") {
            return Err(error(
                ErrorKind::NotEcg,
                head.tag,
                at,
                "fragments of a compressed image, not a waveform",
            ));
        }
        let nested =
            head.vr == *b"SQ" || head.len == UNDEFINED || (head.vr == *b"--" && is_sequence(head.tag));
        let end = self.end_of(head, frame)?;
        let len = end.map_or(0, |e| e - head.value_at);
        let vr = if nested { *b"SQ" } else { head.vr };
        self.items[frame.item].push(Element { tag: head.tag, vr, at: head.value_at, len, items: Vec::new() });
        if !nested {
            return Ok(head.value_at + len);
        }
        if stack.len() >= MAX_DICOM_DEPTH * 2 {
            return match end {
                Some(end) => Ok(end),
                None => Err(error(
                    ErrorKind::Limit,
                    head.tag,
                    at,
                    format!("sequences nest deeper than {MAX_DICOM_DEPTH}"),
                )),
            };
        }
        // An undefined-length UN holds an implicit little endian sequence (PS3.5 6.2.2).
        let coding = if head.vr == *b"UN" { Coding { explicit: false, big: false } } else { frame.coding };
        let element = Some(self.items[frame.item].len() - 1);
        stack.push(Frame { item: frame.item, element, end, coding, at: head.value_at, tag: head.tag });
        Ok(head.value_at)
    }

    fn end_of(&self, head: Header, frame: Frame) -> Result<Option<usize>, ReadError> {
        if head.len == UNDEFINED {
            return Ok(None);
        }
        let limit = frame.end.unwrap_or(self.bytes.len()).min(self.bytes.len());
        let end = head.value_at.checked_add(head.len as usize).filter(|e| *e <= limit);
        end.map(Some).ok_or_else(|| {
            let have = limit.saturating_sub(head.value_at);
            let what = if head.tag == 0x5400_1010 { "WaveformData shorter than declared: " } else { "" };
            error(
                ErrorKind::Truncated,
                head.tag,
                head.value_at,
                format!("{what}length {} declared, {have} bytes are left", head.len),
            )
        })
    }

    fn bump(&mut self, head: Header) -> Result<(), ReadError> {
        self.count += 1;
        if self.count > MAX_DICOM_ELEMENTS {
            return Err(error(
                ErrorKind::Limit,
                head.tag,
                head.value_at,
                format!("more than {MAX_DICOM_ELEMENTS} elements"),
            ));
        }
        Ok(())
    }
}

/// Sequences this reader must recognise in implicit VR.
fn is_sequence(tag: u32) -> bool {
    matches!(
        tag,
        0x5400_0100
            | 0x003A_0200
            | 0x003A_0208
            | 0x003A_0209
            | 0x003A_0211
            | 0x0040_B020
            | 0x0040_A043
            | 0x0040_08EA
            | 0x0040_A168
            | 0x0040_0555
            | 0x0040_A195
            | 0x003A_0240
            | 0x003A_0242
    )
}
