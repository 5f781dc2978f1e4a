//! Checked reads from a byte slice: every access names the field it is for.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;

/// A file's bytes, with the format for error messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) format: Format,
}

macro_rules! number {
    ($name:ident, $ty:ty, $from:ident) => {
        pub(crate) fn $name(&self, at: usize, field: &str) -> Result<$ty, ReadError> {
            Ok(<$ty>::$from(self.array(at, field)?))
        }
    };
}

impl<'a> View<'a> {
    pub(crate) fn new(data: &'a [u8], format: Format) -> Self {
        Self { data, format }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// `len` bytes at `at`.
    pub(crate) fn slice(&self, at: usize, len: usize, field: &str) -> Result<&'a [u8], ReadError> {
        at.checked_add(len).and_then(|end| self.data.get(at..end)).ok_or_else(|| {
            let have = self.data.len().saturating_sub(at);
            self.error(ErrorKind::Truncated, field, at, format!("needs {len} bytes, {have} are left"))
        })
    }

    fn array<const N: usize>(&self, at: usize, field: &str) -> Result<[u8; N], ReadError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(at, N, field)?);
        Ok(out)
    }

    number!(u8, u8, from_le_bytes);
    number!(u16_le, u16, from_le_bytes);
    number!(i16_le, i16, from_le_bytes);
    number!(u32_le, u32, from_le_bytes);
    number!(i32_le, i32, from_le_bytes);

    pub(crate) fn error(
        &self,
        kind: ErrorKind,
        field: &str,
        at: usize,
        reason: impl Into<String>,
    ) -> ReadError {
        ReadError::new(self.format, kind, field, at, reason)
    }

    pub(crate) fn malformed(&self, field: &str, at: usize, reason: impl Into<String>) -> ReadError {
        self.error(ErrorKind::Malformed, field, at, reason)
    }

    pub(crate) fn unsupported(&self, field: &str, at: usize, reason: impl Into<String>) -> ReadError {
        self.error(ErrorKind::Unsupported, field, at, reason)
    }

    pub(crate) fn limit(&self, field: &str, at: usize, reason: impl Into<String>) -> ReadError {
        self.error(ErrorKind::Limit, field, at, reason)
    }

    /// The rate, if it is one a reader accepts.
    pub(crate) fn rate(&self, hz: f64, field: &str, at: usize) -> Result<f64, ReadError> {
        use crate::limits::{MAX_RATE_HZ, MIN_RATE_HZ};
        if hz.is_finite() && (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&hz) {
            return Ok(hz);
        }
        Err(self.malformed(
            field,
            at,
            format!("sampling rate {hz} Hz is outside {MIN_RATE_HZ}..{MAX_RATE_HZ}"),
        ))
    }
}

/// ITU-T G.711 µ-law octet to 14-bit linear.
pub(crate) fn mu_law(octet: u8) -> i16 {
    let u = !octet;
    let magnitude = ((i16::from(u & 0x0F) << 3) + 0x84) << ((u & 0x70) >> 4);
    let value = magnitude - 0x84;
    (if u & 0x80 == 0 { value } else { -value }) >> 2
}

/// ITU-T G.711 A-law octet to 13-bit linear.
pub(crate) fn a_law(octet: u8) -> i16 {
    let a = octet ^ 0x55;
    let segment = (a & 0x70) >> 4;
    let base = i16::from(a & 0x0F) << 4;
    let magnitude = if segment == 0 { base + 8 } else { (base + 0x108) << (segment - 1) };
    (if a & 0x80 == 0 { -magnitude } else { magnitude }) >> 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companded_zero_is_zero_and_the_ends_are_far() {
        assert_eq!((mu_law(0xFF), mu_law(0x7F)), (0, 0));
        assert_eq!((mu_law(0x80), mu_law(0x00)), (8031, -8031));
        assert_eq!((a_law(0xD5), a_law(0x55)), (1, -1));
        assert_eq!((a_law(0xAA), a_law(0x2A)), (4032, -4032));
    }

    #[test]
    fn a_read_past_the_end_names_its_field() {
        let view = View::new(&[1, 2, 3], Format::Scp);
        let error = view.u32_le(1, "record length").unwrap_err();
        assert_eq!(error.to_string(), "record length@1: needs 4 bytes, 2 are left");
    }
}
