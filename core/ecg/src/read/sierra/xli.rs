//! Philips XLI: per lead a chunk of 10-bit LZW, high and low bytes apart, second differences, limb leads as residuals.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::limits::{MAX_LEADS, MAX_SAMPLES};

/// Bits of an LZW code.
const CODE_BITS: u32 = 10;
/// The code after which the table is full.
const TABLE_FULL: usize = (1 << CODE_BITS) - 2;
/// Fills the last byte of a chunk.
const END: usize = (1 << CODE_BITS) - 1;
/// Samples are stored moved up by this much from their second difference.
const BIAS: i32 = 64;

fn fail(kind: ErrorKind, at: usize, reason: impl Into<String>) -> ReadError {
    ReadError::new(Format::Sierra, kind, "parsedwaveforms (XLI)", at, reason)
}

/// Unpacks all leads of an XLI block.
pub(super) fn decode(data: &[u8]) -> Result<Vec<Vec<i32>>, ReadError> {
    let (mut at, mut leads) = (0, Vec::new());
    /// Chunk header: i32 length, i16 unknown, i16 first value.
    const HEADER: usize = 8;
    while data.len() - at > HEADER {
        let head = &data[at..at + HEADER];
        let length =
            usize::try_from(i32::from_le_bytes([head[0], head[1], head[2], head[3]])).ok().filter(|l| *l > 0);
        let first = i32::from(i16::from_le_bytes([head[6], head[7]]));
        let body = length.and_then(|l| data.get(at + HEADER..(at + HEADER).checked_add(l)?));
        let Some(body) = body else {
            return Err(fail(ErrorKind::Truncated, at, format!("chunk {} passes the end", leads.len() + 1)));
        };
        if leads.len() >= MAX_LEADS {
            return Err(fail(ErrorKind::Limit, at, format!("more than {MAX_LEADS} chunks")));
        }
        leads.push(undo_differences(&lzw(body, at)?, first));
        at += HEADER + body.len();
    }
    Ok(leads)
}

/// 10-bit LZW, most significant bit first, no clear or end code; the table fills and stays.
fn lzw(body: &[u8], at: usize) -> Result<Vec<u8>, ReadError> {
    // an entry is its predecessor and one byte; entry lengths bound the output before it is written
    let mut previous: Vec<u16> = vec![0; 1 << CODE_BITS];
    let mut last: Vec<u8> = (0..1_usize << CODE_BITS).map(|i| (i & 0xFF) as u8).collect();
    let (mut next, mut before) = (256_usize, None::<usize>);
    let mut out: Vec<u8> = Vec::new();
    let mut entry: Vec<u8> = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in body {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        if held < CODE_BITS {
            continue;
        }
        held -= CODE_BITS;
        let code = (bits >> held & ((1 << CODE_BITS) - 1)) as usize;
        bits &= (1 << held) - 1;
        if code == END {
            break;
        }
        let known = code < 256 || code < next;
        let start = if known {
            code
        } else {
            before
                .filter(|_| code == next)
                .ok_or_else(|| fail(ErrorKind::Malformed, at, format!("code {code} is not in the table")))?
        };
        entry.clear();
        let mut walk = start;
        while walk >= 256 {
            entry.push(last[walk]);
            walk = usize::from(previous[walk]);
        }
        entry.push(last[walk]);
        entry.reverse();
        let head = entry[0];
        if !known {
            entry.push(head);
        }
        if let Some(before) = before.filter(|_| next <= TABLE_FULL) {
            previous[next] = u16::try_from(before).unwrap_or(0);
            last[next] = head;
            next += 1;
        }
        out.extend_from_slice(&entry);
        if out.len() > MAX_SAMPLES * 2 {
            return Err(fail(ErrorKind::Limit, at, "unfolds to too many samples"));
        }
        before = Some(code);
    }
    Ok(out)
}

/// High bytes first, then low bytes; then `z = 2y - x - last`, where `last` runs one sample behind.
fn undo_differences(bytes: &[u8], first: i32) -> Vec<i32> {
    let half = bytes.len() / 2;
    let (high, low) = (&bytes[..half], &bytes[half..half * 2]);
    let mut values: Vec<i32> =
        high.iter().zip(low).map(|(h, l)| i32::from(i16::from_be_bytes([*h, *l]))).collect();
    let (Some(mut x), Some(mut y)) = (values.first().copied(), values.get(1).copied()) else { return values };
    let mut last = first;
    for value in values.iter_mut().skip(2) {
        let z = y.wrapping_mul(2).wrapping_sub(x).wrapping_sub(last);
        last = *value - BIAS;
        *value = z;
        (x, y) = (y, z);
    }
    values
}

/// III, aVR, aVL and aVF are stored as what is left of them after the other leads are taken off.
pub(super) fn restore_limb_leads(leads: &mut [Vec<i32>]) {
    let [one, two, three, avr, avl, avf, ..] = leads else { return };
    let n =
        [one.len(), two.len(), three.len(), avr.len(), avl.len(), avf.len()].into_iter().min().unwrap_or(0);
    for i in 0..n {
        let (a, b) = (one[i], two[i]);
        three[i] = b.wrapping_sub(a).wrapping_sub(three[i]);
        let c = three[i];
        avr[i] = avr[i].wrapping_neg().wrapping_sub(a.wrapping_add(b).div_euclid(2));
        avl[i] = a.wrapping_sub(c).div_euclid(2).wrapping_sub(avl[i]);
        avf[i] = b.wrapping_add(c).div_euclid(2).wrapping_sub(avf[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_outside_the_table_is_an_error() {
        // the first code 0x1FF cannot be known
        assert!(lzw(&[0x7F, 0xC0], 0).is_err());
    }

    #[test]
    fn a_chunk_longer_than_the_block_is_an_error() {
        let mut data = vec![0xFF, 0xFF, 0x00, 0x00, 1, 0, 0, 0];
        data.extend([0; 10]);
        assert!(decode(&data).is_err());
    }
}
