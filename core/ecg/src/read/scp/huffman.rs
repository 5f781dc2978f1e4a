//! Huffman coding of SCP-ECG sections 5 and 6 (EN 1064 annex C): the default table and tables of the record.

use crate::error::ReadError;
use crate::view::View;
use std::sync::OnceLock;

/// One code. `prefix` holds the code's bits with the first bit of the stream in bit 0 (as the standard stores them).
#[derive(Debug, Clone, Copy)]
struct Code {
    prefix_bits: u32,
    total_bits: u32,
    is_value: bool,
    value: i32,
    prefix: u32,
}

impl Code {
    /// The prefix with its first bit highest, and the bits that count.
    fn pattern(&self) -> (u32, u32) {
        (self.prefix.reverse_bits(), u32::MAX << (32 - self.prefix_bits))
    }

    /// `window` holds the next bits of the stream, the first one highest.
    fn matches(&self, window: u32, left: usize) -> bool {
        let (head, mask) = self.pattern();
        self.prefix_bits as usize <= left && (window ^ head) & mask == 0
    }
}

/// Bits that are looked up at once: the longest prefix of the default table.
const QUICK_BITS: u32 = 10;

/// The value that the next [`QUICK_BITS`] bits say, or that stands in the bits behind them.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    prefix_bits: u8,
    /// 0 = more bits are needed, or the code is no value.
    total_bits: u8,
    value: i32,
}

/// A table of codes. What is looked up in it is made once, when a lead first uses it.
#[derive(Debug, Clone)]
struct Table {
    codes: Vec<Code>,
    quick: OnceLock<Vec<Step>>,
}

impl Table {
    const fn of(codes: Vec<Code>) -> Self {
        Self { codes, quick: OnceLock::new() }
    }

    /// The code that the next bits are, of which `left` are there.
    fn find(&self, window: u32, left: usize) -> Option<&Code> {
        self.codes.iter().find(|c| c.matches(window, left))
    }

    /// For each value of the next [`QUICK_BITS`] bits the first code that they decide.
    fn quick(&self) -> &[Step] {
        self.quick.get_or_init(|| {
            const KNOWN: u32 = u32::MAX << (32 - QUICK_BITS);
            let patterns: Vec<(u32, u32)> = self.codes.iter().map(Code::pattern).collect();
            let decided = |bits: u32| {
                let window = bits << (32 - QUICK_BITS);
                let first = patterns.iter().position(|(head, mask)| (window ^ head) & mask & KNOWN == 0)?;
                // a longer code that may match comes first: the bits behind decide
                let whole = patterns[first].1 & !KNOWN == 0;
                self.codes.get(first).filter(|c| whole && c.is_value && c.total_bits <= WORD_BITS)
            };
            let step = |code: &Code| Step {
                prefix_bits: code.prefix_bits as u8,
                total_bits: code.total_bits as u8,
                value: code.value,
            };
            (0..1 << QUICK_BITS).map(|bits| decided(bits).map(step).unwrap_or_default()).collect()
        })
    }

    /// Takes values while the next bits say them at once, at most `limit` in `out`.
    fn run(&self, bits: &mut Bits<'_>, out: &mut Vec<i32>, limit: usize) {
        let quick = self.quick();
        loop {
            let (mut word, mut have) = (bits.word(), bits.left().min(WORD_BITS as usize));
            let before = have;
            // fewer bits than are looked up may hide a code that comes first in the table
            while out.len() < limit && have >= QUICK_BITS as usize {
                let step = quick[(word >> (64 - QUICK_BITS)) as usize];
                let (prefix, total) = (u32::from(step.prefix_bits), usize::from(step.total_bits));
                if total == 0 || total > have {
                    break;
                }
                let own = total as u32 - prefix;
                // the sign bit is the first one
                out.push(if own == 0 {
                    step.value
                } else {
                    (((word << prefix) as i64) >> (64 - own)) as i32
                });
                word <<= total;
                have -= total;
            }
            if have == before {
                return;
            }
            bits.at += before - have;
        }
    }
}

/// The tables of a record.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    tables: Vec<Table>,
}

/// Marks the default table in section 2.
const DEFAULT_MARK: u16 = 19_999;
/// Tables, and codes in a table, that are read; the standard's own table has 19 codes.
const MAX_TABLES: usize = 64;
const MAX_CODES: usize = 1024;

impl Tables {
    /// The default table (annex C.3.7.6): values to ±8 by prefix, then 8 and 16 bits as they are.
    pub(super) fn default_table() -> Self {
        let plain = |bits: u32, value: i32, prefix: u32| Code {
            prefix_bits: bits,
            total_bits: bits,
            is_value: true,
            value,
            prefix,
        };
        let mut codes = vec![plain(1, 0, 0)];
        for magnitude in 1..=8_i32 {
            let bits = u32::try_from(magnitude).unwrap_or(1) + 2;
            let ones = (1 << (bits - 2)) - 1;
            codes.push(plain(bits, magnitude, ones));
            codes.push(plain(bits, -magnitude, ones | 1 << (bits - 1)));
        }
        codes.push(Code { prefix_bits: 10, total_bits: 18, is_value: true, value: 0, prefix: 0x1FF });
        codes.push(Code { prefix_bits: 10, total_bits: 26, is_value: true, value: 0, prefix: 0x3FF });
        Self { tables: vec![Table::of(codes)] }
    }

    /// Section 2.
    pub(super) fn read(view: &View<'_>, at: usize, end: usize) -> Result<Self, ReadError> {
        const FIELD: &str = "section 2";
        let count = view.u16_le(at, FIELD)?;
        if count == DEFAULT_MARK {
            return Ok(Self::default_table());
        }
        if usize::from(count) > MAX_TABLES {
            return Err(view.limit(FIELD, at, format!("{count} Huffman tables")));
        }
        let (mut at, mut tables) = (at + 2, Vec::new());
        for _ in 0..count {
            let codes = usize::from(view.u16_le(at, FIELD)?);
            at += 2;
            if codes > MAX_CODES || at + codes * 9 > end {
                return Err(view.malformed(
                    FIELD,
                    at,
                    format!("a table of {codes} codes passes the section"),
                ));
            }
            let mut table = Vec::with_capacity(codes);
            for _ in 0..codes {
                let (prefix_bits, total_bits) =
                    (u32::from(view.u8(at, FIELD)?), u32::from(view.u8(at + 1, FIELD)?));
                if prefix_bits == 0
                    || prefix_bits > 32
                    || total_bits < prefix_bits
                    || total_bits - prefix_bits > 31
                {
                    return Err(view.malformed(
                        FIELD,
                        at,
                        format!("a code of {prefix_bits} of {total_bits} bits"),
                    ));
                }
                table.push(Code {
                    prefix_bits,
                    total_bits,
                    is_value: view.u8(at + 2, FIELD)? != 0,
                    value: i32::from(view.i16_le(at + 3, FIELD)?),
                    prefix: view.u32_le(at + 5, FIELD)?,
                });
                at += 9;
            }
            tables.push(Table::of(table));
        }
        Ok(Self { tables })
    }

    /// No table at all: samples are stored as 16-bit words.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Decodes at most `limit` values; stops at the end of the bits.
    pub(super) fn decode(&self, data: &[u8], limit: usize) -> Result<Vec<i32>, String> {
        let mut bits = Bits { data, at: 0 };
        let mut table = self.tables.first().ok_or("there is no Huffman table")?;
        // a sample takes at least one bit
        let mut out = Vec::with_capacity(limit.min(data.len().saturating_mul(8)));
        while out.len() < limit && bits.left() > 0 {
            table.run(&mut bits, &mut out, limit);
            let left = bits.left();
            if out.len() == limit || left == 0 {
                break;
            }
            // one code that is longer, or stands at the end, or switches the table
            let Some(code) = table.find(bits.window(), left) else {
                if left < 8 {
                    break;
                }
                return Err(format!("no Huffman code at bit {}", bits.at));
            };
            bits.at += code.prefix_bits as usize;
            let own = code.total_bits - code.prefix_bits;
            if !code.is_value {
                let index = usize::try_from(code.value).ok().and_then(|n| n.checked_sub(1));
                table = index
                    .and_then(|i| self.tables.get(i))
                    .ok_or_else(|| format!("switch to table {}", code.value))?;
                continue;
            }
            match if own == 0 { Some(code.value) } else { bits.take(own) } {
                Some(value) => out.push(value),
                None => break,
            }
        }
        Ok(out)
    }
}

/// Bits of a word that are the stream's own wherever it begins.
const WORD_BITS: u32 = 57;

struct Bits<'b> {
    data: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.data.len() * 8 - self.at
    }

    /// The next [`WORD_BITS`] bits at least, the first one highest; zeros behind the end.
    fn word(&self) -> u64 {
        let rest = self.data.get(self.at / 8..).unwrap_or(&[]);
        let eight = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            eight
        });
        u64::from_be_bytes(eight) << (self.at % 8)
    }

    /// The next 32 bits, the first one highest; zeros behind the end.
    fn window(&self) -> u32 {
        (self.word() >> 32) as u32
    }

    /// `count` bits as a two's complement number, first bit highest.
    fn take(&mut self, count: u32) -> Option<i32> {
        if (count as usize) > self.left() {
            return None;
        }
        let window = self.window();
        self.at += count as usize;
        // the sign bit is the first one
        Some(window as i32 >> (32 - count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_reads_small_and_large_values() {
        // 0 | 100 | 101 | 1100 | 1111111110 10000000 | 1111111111 0000000100000000
        let text = "0100101110011111111101000000011111111110000000100000000";
        let mut data = vec![0_u8; text.len().div_ceil(8)];
        for (i, c) in text.bytes().enumerate() {
            data[i / 8] |= u8::from(c == b'1') << (7 - i % 8);
        }
        let values = Tables::default_table().decode(&data, 6).unwrap();
        assert_eq!(values, [0, 1, -1, 2, -128, 256]);
    }

    #[test]
    fn looking_codes_up_finds_what_reading_them_one_by_one_finds() {
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u32
        };
        for round in 0..200 {
            let data: Vec<u8> = (0..97 + round % 9).map(|_| next() as u8 | next() as u8).collect();
            let mut tables = Tables::default_table();
            if round % 2 == 1 {
                // codes in any order, of any length, with bits of their own, that may hide each other
                let codes = (0..12).map(|_| {
                    let prefix_bits = 1 + next() % 14;
                    let total_bits = prefix_bits + [0, 3, 8, 31][next() as usize % 4];
                    let (value, prefix) = (next() as i32 % 99, next());
                    Code { prefix_bits, total_bits, is_value: next() % 8 > 0, value, prefix }
                });
                tables = Tables { tables: vec![Table::of(codes.collect())] };
            }
            let slow = Tables {
                tables: vec![Table {
                    codes: tables.tables[0].codes.clone(),
                    quick: OnceLock::from(vec![Step::default(); 1 << QUICK_BITS]),
                }],
            };
            for limit in [0, 5, 100_000] {
                assert_eq!(tables.decode(&data, limit), slow.decode(&data, limit), "round {round}");
            }
        }
    }
}
