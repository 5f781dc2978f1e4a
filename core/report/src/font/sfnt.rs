//! The OpenType container: collection header, table directory, character map, widths; and a writer.

use super::FontFile;
use crate::error::FontError;

/// Faces in one collection; Noto Sans CJK has ten.
const MAX_FACES: u32 = 64;
/// Tables of one face.
const MAX_TABLES: u16 = 64;
/// Name of the wanted face ends with this (`name` id 4, full name, or 6, PostScript name).
const WANTED: [&str; 2] = ["CJK SC", "CJKsc"];

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
}

/// Where the tables of one face are.
pub(super) struct Directory {
    tables: Vec<([u8; 4], u64, u32)>,
}

impl Directory {
    /// Finds the Simplified Chinese face of a collection, or the only face of a single font.
    pub(super) fn simplified_chinese(file: &FontFile) -> Result<Self, FontError> {
        let header = file.read("ttcf", 0, 12)?;
        if &header[..4] != b"ttcf" {
            return Self::read(file, 0);
        }
        let count = u32_at(&header, 8).unwrap_or(0);
        if count == 0 || count > MAX_FACES {
            return Err(file.malformed("ttcf", "number of faces out of range"));
        }
        let offsets = file.read("ttcf", 12, count * 4)?;
        for i in 0..count as usize {
            let directory = Self::read(file, u64::from(u32_at(&offsets, i * 4).unwrap_or(0)))?;
            if is_wanted(&directory.table(file, "name")?) {
                return Ok(directory);
            }
        }
        Err(file.malformed("name", "no face whose name has CJK SC"))
    }

    fn read(file: &FontFile, offset: u64) -> Result<Self, FontError> {
        let header = file.read("sfnt", offset, 12)?;
        let known = matches!(&header[..4], b"OTTO" | [0, 1, 0, 0] | b"true");
        let count = u16_at(&header, 4).unwrap_or(0);
        if !known || count == 0 || count > MAX_TABLES {
            return Err(file.malformed("sfnt", "not an OpenType font"));
        }
        let records = file.read("sfnt", offset + 12, u32::from(count) * 16)?;
        let tables = records.chunks_exact(16).filter_map(|r| {
            let tag: [u8; 4] = r[..4].try_into().ok()?;
            Some((tag, u64::from(u32_at(r, 8)?), u32_at(r, 12)?))
        });
        Ok(Self { tables: tables.collect() })
    }

    /// Offset in the file and length of a table.
    pub(super) fn location(&self, tag: &str) -> Option<(u64, u32)> {
        self.tables.iter().find(|(t, ..)| t == tag.as_bytes()).map(|(_, offset, length)| (*offset, *length))
    }

    /// The bytes of a table that must be there.
    pub(super) fn table(&self, file: &FontFile, tag: &'static str) -> Result<Vec<u8>, FontError> {
        let (offset, length) = self.location(tag).ok_or_else(|| file.malformed(tag, "missing"))?;
        file.read(tag, offset, length)
    }
}

/// Looks for the wanted face name among the records of a `name` table (UTF-16BE strings).
fn is_wanted(name: &[u8]) -> bool {
    let (Some(count), Some(storage)) = (u16_at(name, 2), u16_at(name, 4)) else { return false };
    (0..usize::from(count)).any(|i| {
        let record = 6 + i * 12;
        let (Some(id), Some(length), Some(offset)) =
            (u16_at(name, record + 6), u16_at(name, record + 8), u16_at(name, record + 10))
        else {
            return false;
        };
        let start = usize::from(storage) + usize::from(offset);
        let Some(bytes) = name.get(start..start + usize::from(length)) else { return false };
        let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
        let text = String::from_utf16_lossy(&units);
        let mono = text.contains("Mono");
        matches!(id, 1 | 4 | 6) && !mono && WANTED.iter().any(|w| text.contains(w))
    })
}

/// A `cmap` format 12 subtable, searched in place.
#[derive(Debug)]
pub(super) struct CharMap {
    groups: Vec<u8>,
}

impl CharMap {
    pub(super) fn new(cmap: Vec<u8>) -> Option<Self> {
        let count = u16_at(&cmap, 2)?;
        for i in 0..usize::from(count) {
            let at = u32_at(&cmap, 4 + i * 8 + 4)? as usize;
            if u16_at(&cmap, at) == Some(12) {
                let groups = u32_at(&cmap, at + 12)? as usize;
                let start = at.checked_add(16)?;
                let end = groups.checked_mul(12)?.checked_add(start)?;
                return cmap.get(start..end).map(|g| Self { groups: g.to_vec() });
            }
        }
        None
    }

    /// Glyph of a character; never glyph 0.
    pub(super) fn glyph(&self, c: char) -> Option<u16> {
        let code = c as u32;
        let (mut low, mut high) = (0, self.groups.len() / 12);
        while low < high {
            let middle = usize::midpoint(low, high);
            let (first, last) = (u32_at(&self.groups, middle * 12)?, u32_at(&self.groups, middle * 12 + 4)?);
            if code < first {
                high = middle;
            } else if code > last {
                low = middle + 1;
            } else {
                let start = u32_at(&self.groups, middle * 12 + 8)?;
                return u16::try_from(start.checked_add(code - first)?).ok().filter(|g| *g != super::NOTDEF);
            }
        }
        None
    }
}

/// How `hmtx` is laid out.
#[derive(Debug)]
pub(super) struct Widths {
    /// Glyphs with a width of their own; later ones share the last.
    long: u16,
}

impl Widths {
    pub(super) fn new(hhea: &[u8], hmtx: &[u8]) -> Option<Self> {
        let long = u16_at(hhea, 34)?;
        (long > 0 && hmtx.len() >= usize::from(long) * 4).then_some(Self { long })
    }

    /// Width in font units.
    pub(super) fn advance(&self, hmtx: &[u8], glyph: u16) -> u16 {
        u16_at(hmtx, usize::from(glyph.min(self.long - 1)) * 4).unwrap_or(0)
    }
}

/// Writes an OpenType font. Check sums stay zero: the subsetter that reads it does not look at them.
pub(super) struct SfntBuilder<'a> {
    cff: bool,
    tables: Vec<(&'a str, &'a [u8])>,
}

impl<'a> SfntBuilder<'a> {
    pub(super) fn new(cff: bool) -> Self {
        Self { cff, tables: Vec::new() }
    }

    pub(super) fn table(&mut self, tag: &'a str, bytes: &'a [u8]) {
        self.tables.push((tag, bytes));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.tables.sort_unstable_by_key(|(tag, _)| tag.as_bytes());
        let count = u16::try_from(self.tables.len()).unwrap_or(u16::MAX);
        let exponent = count.checked_ilog2().unwrap_or(0);
        let search = 16_u16 << exponent;
        let mut out = Vec::with_capacity(12 + self.tables.iter().map(|(_, b)| b.len() + 20).sum::<usize>());
        out.extend_from_slice(if self.cff { b"OTTO" } else { &[0, 1, 0, 0] });
        for value in [count, search, u16::try_from(exponent).unwrap_or(0), count * 16 - search] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        let mut offset = 12 + self.tables.len() * 16;
        for (tag, bytes) in &self.tables {
            out.extend_from_slice(tag.as_bytes());
            out.extend_from_slice(&[0; 4]);
            for value in [offset, bytes.len()] {
                out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
            }
            offset += bytes.len().next_multiple_of(4);
        }
        for (_, bytes) in &self.tables {
            out.extend_from_slice(bytes);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }
}
