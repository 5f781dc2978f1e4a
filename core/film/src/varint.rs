//! Lengths of one to ten bytes, seven bits each, low bits first.

use crate::error::{DecodeError, damaged};

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Takes a number off the front of `bytes`. None when it is not all there yet.
pub(crate) fn peek(bytes: &[u8], field: &'static str) -> Result<Option<(u64, usize)>, DecodeError> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7F);
        let shift = 7 * index;
        if shift > 63 || (bits << shift) >> shift != bits {
            return Err(damaged(field, "a number of more than 64 bits"));
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

/// Takes a number off the front of `bytes`, which must hold it.
pub(crate) fn take(bytes: &mut &[u8], field: &'static str) -> Result<u64, DecodeError> {
    let (value, length) = peek(bytes, field)?.ok_or_else(|| damaged(field, "cut"))?;
    *bytes = &bytes[length..];
    Ok(value)
}

/// Takes a number that is at most `limit`.
pub(crate) fn take_up_to(bytes: &mut &[u8], limit: usize, field: &'static str) -> Result<usize, DecodeError> {
    let value = take(bytes, field)?;
    let limit = limit as u64;
    if value > limit {
        return Err(damaged(field, format!("{value}, at most {limit} is possible here")));
    }
    usize::try_from(value).map_err(|_| damaged(field, "beyond the memory of this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(take(&mut bytes.as_slice(), "n").unwrap(), value);
            assert_eq!(peek(&bytes[..bytes.len() - 1], "n").unwrap(), None);
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        assert!(take(&mut [0xFF; 20].as_slice(), "n").is_err());
        assert!(take_up_to(&mut [5].as_slice(), 4, "n").unwrap_err().to_string().contains("n: 5"));
    }
}
