//! WFDB signal formats (signal(5)): bytes to samples, in the order of the frame.

/// How one format stores samples, and which value means "no sample".
pub(super) fn missing(format: u16) -> Option<i32> {
    match format {
        16 | 61 | 160 => Some(-32_768),
        24 => Some(-8_388_608),
        32 => Some(i32::MIN),
        80 => Some(-128),
        212 => Some(-2048),
        310 | 311 => Some(-512),
        _ => None,
    }
}

/// Bytes that `samples` samples of `format` take.
pub(super) fn bytes_for(format: u16, samples: usize) -> Option<usize> {
    match format {
        8 | 80 => Some(samples),
        16 | 61 | 160 => samples.checked_mul(2),
        24 => samples.checked_mul(3),
        32 => samples.checked_mul(4),
        212 => samples.checked_mul(3).map(|n| n.div_ceil(2)),
        // three 10-bit samples in four bytes
        310 | 311 => samples.div_ceil(3).checked_mul(4),
        _ => None,
    }
}

/// Decodes `count` samples. `None` where the bytes end early (callers check the length first).
pub(super) fn decode(format: u16, data: &[u8], count: usize) -> Option<Vec<i32>> {
    let mut out = Vec::with_capacity(count);
    match format {
        8 => out.extend(data.iter().map(|b| i32::from(b.cast_signed()))),
        80 => out.extend(data.iter().map(|b| i32::from(*b) - 128)),
        16 => out.extend(data.as_chunks::<2>().0.iter().map(|w| i32::from(i16::from_le_bytes(*w)))),
        61 => out.extend(data.as_chunks::<2>().0.iter().map(|w| i32::from(i16::from_be_bytes(*w)))),
        160 => out.extend(data.as_chunks::<2>().0.iter().map(|w| i32::from(u16::from_le_bytes(*w)) - 32_768)),
        24 => {
            out.extend(data.as_chunks::<3>().0.iter().map(|b| i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8))
        }
        32 => out.extend(data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b))),
        212 => two_of_twelve(data, &mut out),
        310 => three_of_ten(data, &mut out),
        311 => three_of_ten_packed(data, &mut out),
        _ => return None,
    }
    out.truncate(count);
    (out.len() == count).then_some(out)
}

fn extend(value: u16, bits: u32) -> i32 {
    let shift = 32 - bits;
    (i32::from(value) << shift) >> shift
}

fn two_of_twelve(data: &[u8], out: &mut Vec<i32>) {
    for three in data.chunks(3) {
        let (low, middle) = (u16::from(three[0]), u16::from(three.get(1).copied().unwrap_or(0)));
        out.push(extend(low | (middle & 0x0F) << 8, 12));
        if let Some(high) = three.get(2) {
            out.push(extend(u16::from(*high) | (middle & 0xF0) << 4, 12));
        }
    }
}

/// Two words of 16 bits: samples 1 and 2 in bits 1-10, sample 3 from the five high bits of each.
fn three_of_ten(data: &[u8], out: &mut Vec<i32>) {
    for four in data.as_chunks::<4>().0 {
        let (a, b) = (u16::from_le_bytes([four[0], four[1]]), u16::from_le_bytes([four[2], four[3]]));
        out.push(extend(a >> 1 & 0x3FF, 10));
        out.push(extend(b >> 1 & 0x3FF, 10));
        out.push(extend(a >> 11 | (b >> 11) << 5, 10));
    }
}

/// One word of 32 bits: three samples from the low bits up.
fn three_of_ten_packed(data: &[u8], out: &mut Vec<i32>) {
    for four in data.as_chunks::<4>().0 {
        let word = u32::from_le_bytes(*four);
        for n in 0..3 {
            out.push(extend((word >> (10 * n) & 0x3FF) as u16, 10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bit_pairs_keep_their_sign() {
        // 0x123 and -1: bytes 23, F1, FF
        assert_eq!(decode(212, &[0x23, 0xF1, 0xFF], 2).unwrap(), [0x123, -1]);
    }

    #[test]
    fn ten_bit_triples_unpack() {
        // 310: samples 1, -1, 5 -> a = 1<<1 | 5<<11, b = 0x3FF<<1
        let (a, b): (u16, u16) = (1 << 1 | 5 << 11, 0x3FF << 1);
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        assert_eq!(decode(310, &bytes, 3).unwrap(), [1, -1, 5]);
        let word: u32 = 1 | 0x3FF << 10 | 5 << 20;
        assert_eq!(decode(311, &word.to_le_bytes(), 3).unwrap(), [1, -1, 5]);
    }

    #[test]
    fn wide_and_offset_formats_unpack() {
        assert_eq!(decode(24, &[0xFF, 0xFF, 0xFF, 1, 0, 0], 2).unwrap(), [-1, 1]);
        assert_eq!(decode(80, &[128, 0], 2).unwrap(), [0, -128]);
        assert_eq!(decode(16, &[0], 1), None);
    }
}
