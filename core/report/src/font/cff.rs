//! A `CFF ` table without its outlines, to which the outlines of a few glyphs can be added
//! (Adobe Technical Note 5176, "The Compact Font Format Specification").
//!
//! The table keeps its order: what stood before the CharStrings INDEX stays, the INDEX is written anew with
//! empty entries for unused glyphs, what stood behind moves forward. Offsets to what moved are patched where
//! they stand, which needs them to be written as five-byte numbers, as every font above 32 KiB has them.

use std::collections::BTreeSet;
use std::ops::Range;

use super::FontFile;
use super::sfnt::{u16_at, u32_at};
use crate::error::FontError;

const TABLE: &str = "CFF ";
/// What stands before the outlines: names, strings, global subroutines, charset, glyph-to-dictionary map.
const MAX_LEAD_BYTES: u32 = 4 << 20;
/// What stands behind them: dictionaries and local subroutines.
const MAX_TAIL_BYTES: u32 = 8 << 20;
/// First guess for the bytes up to and including the Top DICT.
const PROBE_BYTES: u32 = 4096;
/// DICT operators with an offset from the start of the table (§9, table 9).
const CHARSET: u16 = 15;
const ENCODING: u16 = 16;
const CHAR_STRINGS: u16 = 17;
const PRIVATE: u16 = 18;
const FD_ARRAY: u16 = 0x0c24;
const FD_SELECT: u16 = 0x0c25;

/// Outlines by position in the file.
#[derive(Debug)]
pub(super) struct CffOutlines {
    /// Table bytes before the CharStrings INDEX, offsets as in the file.
    lead: Vec<u8>,
    /// Table bytes behind it.
    tail: Vec<u8>,
    /// Start of the tail in the table.
    tail_at: usize,
    /// The offset array of the INDEX as in the file.
    offsets: Vec<u8>,
    offset_size: usize,
    count: u16,
    /// Position in the file of the byte before the first outline, to which INDEX offsets are relative.
    data_at: u64,
    /// Where the five-byte numbers to patch are: in `lead`, and in `tail`.
    lead_patches: Vec<usize>,
    tail_patches: Vec<usize>,
}

/// One operand of a DICT: its value, and where it stands.
#[derive(Debug, Clone)]
struct Operand {
    value: i64,
    at: Range<usize>,
}

impl CffOutlines {
    /// Reads everything but the outlines of the table at `offset` of the file.
    pub(super) fn load(file: &FontFile, offset: u64, length: u32) -> Result<Self, FontError> {
        let bad = |reason| file.malformed(TABLE, reason);
        let probe = file.read(TABLE, offset, length.min(PROBE_BYTES))?;
        let top_range = top_dict(&probe).ok_or_else(|| bad("Top DICT not within the first 4 KiB"))?;
        let top = dict(&probe, top_range).ok_or_else(|| bad("Top DICT"))?;
        let start = only(&top, CHAR_STRINGS).ok_or_else(|| bad("no CharStrings"))?;
        let start = u32::try_from(start).ok().filter(|s| *s < length && *s < MAX_LEAD_BYTES);
        let start = start.ok_or_else(|| bad("CharStrings offset out of range"))?;

        let lead = file.read(TABLE, offset, start)?;
        let header = file.read(TABLE, offset + u64::from(start), 3)?;
        let count = u16_at(&header, 0).unwrap_or(0);
        let offset_size = usize::from(header[2]);
        if count == 0 || !(1..=4).contains(&offset_size) {
            return Err(bad("CharStrings INDEX"));
        }
        let array = (u32::from(count) + 1) * u32::from(header[2]);
        let offsets = file.read(TABLE, offset + u64::from(start) + 3, array)?;
        let data = start + 3 + array - 1;
        let end = entry(&offsets, offset_size, usize::from(count))
            .and_then(|e| data.checked_add(e))
            .filter(|e| *e <= length && length - *e <= MAX_TAIL_BYTES)
            .ok_or_else(|| bad("CharStrings INDEX end out of range"))?;
        let tail = file.read(TABLE, offset + u64::from(end), length - end)?;
        let mut outlines = Self {
            lead,
            tail,
            tail_at: end as usize,
            offsets,
            offset_size,
            count,
            data_at: offset + u64::from(data),
            lead_patches: Vec::new(),
            tail_patches: Vec::new(),
        };
        outlines.find_patches(&top).ok_or_else(|| bad("an offset cannot be rewritten"))?;
        Ok(outlines)
    }

    /// Notes every number that points behind the outlines.
    fn find_patches(&mut self, top: &[(u16, Vec<Operand>)]) -> Option<()> {
        let mut places = Vec::new();
        for (operator, operands) in top {
            match *operator {
                CHARSET | ENCODING | FD_ARRAY | FD_SELECT | PRIVATE => places.push(operands.last()?.clone()),
                _ => {}
            }
        }
        if let Some(at) = only(top, FD_ARRAY) {
            let base = usize::try_from(at).ok()?.checked_sub(self.tail_at)?;
            for range in index(&self.tail, base)?.0 {
                let font_dict = dict(&self.tail, range)?;
                let private = font_dict.iter().find(|(op, _)| *op == PRIVATE)?.1.last()?.clone();
                if self.moves(&private)? {
                    self.tail_patches.push(private.at.start);
                }
            }
        }
        for operand in places {
            if self.moves(&operand)? {
                self.lead_patches.push(operand.at.start);
            }
        }
        Some(())
    }

    /// True when the target moves; `None` when it does but the number has no room.
    fn moves(&self, operand: &Operand) -> Option<bool> {
        let moves = usize::try_from(operand.value).ok()? >= self.tail_at;
        (!moves || operand.at.len() == 5).then_some(moves)
    }

    /// The table with the outlines of `glyphs` and of glyph 0.
    pub(super) fn with_outlines(
        &self,
        file: &FontFile,
        glyphs: &BTreeSet<u16>,
    ) -> Result<Vec<u8>, FontError> {
        let bad = |reason| file.malformed(TABLE, reason);
        let mut data = Vec::new();
        let mut array = Vec::with_capacity(self.offsets.len());
        let push = |array: &mut Vec<u8>, length: usize| {
            let value = u32::try_from(length + 1).unwrap_or(u32::MAX).to_be_bytes();
            array.extend_from_slice(&value[4 - self.offset_size..]);
        };
        for glyph in 0..self.count {
            push(&mut array, data.len());
            if glyph == super::NOTDEF || glyphs.contains(&glyph) {
                let at = usize::from(glyph);
                let from = entry(&self.offsets, self.offset_size, at).unwrap_or(0);
                let to = entry(&self.offsets, self.offset_size, at + 1).unwrap_or(0);
                let length = to.checked_sub(from).filter(|_| from > 0);
                let length = length.ok_or_else(|| bad("CharStrings INDEX offsets do not grow"))?;
                data.extend(file.read(TABLE, self.data_at + u64::from(from), length)?);
            }
        }
        push(&mut array, data.len());

        let index_bytes = 3 + array.len() + data.len();
        let new_tail_at = self.lead.len() + index_bytes;
        let back = self.tail_at.checked_sub(new_tail_at).ok_or_else(|| bad("outlines overlap"))?;
        let mut out = Vec::with_capacity(new_tail_at + self.tail.len());
        out.extend_from_slice(&self.lead);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.push(u8::try_from(self.offset_size).unwrap_or(4));
        out.append(&mut array);
        out.append(&mut data);
        out.extend_from_slice(&self.tail);
        let places = self.lead_patches.iter().copied();
        for place in places.chain(self.tail_patches.iter().map(|p| p + new_tail_at)) {
            let old = u32_at(&out, place + 1).and_then(|v| v.checked_sub(u32::try_from(back).ok()?));
            let new = old.ok_or_else(|| bad("an offset cannot be rewritten"))?;
            out[place + 1..place + 5].copy_from_slice(&new.to_be_bytes());
        }
        Ok(out)
    }
}

/// One offset of an INDEX offset array.
fn entry(offsets: &[u8], size: usize, at: usize) -> Option<u32> {
    let bytes = offsets.get(at * size..(at + 1) * size)?;
    Some(bytes.iter().fold(0, |value, b| (value << 8) | u32::from(*b)))
}

/// The objects of an INDEX at `at`, and where it ends (§5).
fn index(bytes: &[u8], at: usize) -> Option<(Vec<Range<usize>>, usize)> {
    let count = usize::from(u16_at(bytes, at)?);
    if count == 0 {
        return Some((Vec::new(), at + 2));
    }
    let size = usize::from(*bytes.get(at + 2)?);
    let array = bytes.get(at + 3..at + 3 + (count + 1) * size)?;
    let data = at + 2 + (count + 1) * size;
    let position = |i: usize| entry(array, size, i).map(|o| data + o as usize);
    let ranges: Option<Vec<_>> = (0..count)
        .map(|i| {
            let range = position(i)?..position(i + 1)?;
            bytes.get(range.clone()).map(|_| range)
        })
        .collect();
    Some((ranges?, position(count)?))
}

/// Where the first Top DICT stands (§7, §8).
fn top_dict(bytes: &[u8]) -> Option<Range<usize>> {
    let header = usize::from(*bytes.get(2)?);
    let (_, names_end) = index(bytes, header)?;
    index(bytes, names_end)?.0.into_iter().next()
}

/// Operators and operands of a DICT (§4); real numbers count as 0.
fn dict(bytes: &[u8], range: Range<usize>) -> Option<Vec<(u16, Vec<Operand>)>> {
    let (mut at, end) = (range.start, range.end);
    let byte = |i: usize| bytes.get(i).copied().map(i64::from);
    let (mut entries, mut operands) = (Vec::new(), Vec::new());
    while at < end {
        let start = at;
        let first = *bytes.get(at)?;
        let b0 = i64::from(first);
        let value = match first {
            0..=21 => {
                let escaped = first == 12;
                let operator =
                    if escaped { 0x0c00 | u16::from(*bytes.get(at + 1)?) } else { u16::from(first) };
                entries.push((operator, std::mem::take(&mut operands)));
                at += if escaped { 2 } else { 1 };
                continue;
            }
            28 => {
                at += 3;
                i64::from(u16_at(bytes, start + 1)?.cast_signed())
            }
            29 => {
                at += 5;
                i64::from(u32_at(bytes, start + 1)?.cast_signed())
            }
            30 => {
                at += 1;
                // Nibbles until 0xf.
                while at < end && *bytes.get(at)? & 0x0f != 0x0f && *bytes.get(at)? >> 4 != 0x0f {
                    at += 1;
                }
                at += 1;
                0
            }
            32..=246 => {
                at += 1;
                b0 - 139
            }
            247..=250 => {
                at += 2;
                (b0 - 247) * 256 + byte(start + 1)? + 108
            }
            251..=254 => {
                at += 2;
                -(b0 - 251) * 256 - byte(start + 1)? - 108
            }
            _ => return None,
        };
        operands.push(Operand { value, at: start..at });
    }
    Some(entries)
}

/// The last operand of an operator.
fn only(entries: &[(u16, Vec<Operand>)], operator: u16) -> Option<i64> {
    entries.iter().find(|(op, _)| *op == operator).and_then(|(_, o)| o.last()).map(|o| o.value)
}
