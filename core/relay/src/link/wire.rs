//! Numbered fields: `tag, length, value`, the first two as QUIC variable-length integers (RFC 9000 §16).
//!
//! Numbers are big-endian without leading zero bytes, times are 8 bytes (two's complement), texts are UTF-8, groups are
//! fields again. A reader takes the fields it knows and skips the others; a known field that comes twice, where one is
//! lawful, is an error, so that two readers never see two truths.

use super::limits;
use crate::clock::UtcMs;
use crate::ids::ObjectHash;
use std::str::FromStr;

/// The first moment of the year 1, in ms: earlier and later times than these are nobody's clock, and would leave no room
/// for arithmetic.
const EARLIEST_MS: i64 = -62_135_596_800_000;
/// The last millisecond of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

/// Why a group of fields is not lawful.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The bytes end inside a field.
    #[error("the bytes end inside field {tag}")]
    Short {
        /// Field number, 0 when the number itself is cut.
        tag: u64,
    },
    /// A field that must be there is not.
    #[error("{name} is missing")]
    Missing {
        /// Which field.
        name: &'static str,
    },
    /// A field that may come once comes twice.
    #[error("{name} comes twice")]
    Twice {
        /// Which field.
        name: &'static str,
    },
    /// The value of a field is not lawful.
    #[error("{name} is unlawful: {reason}")]
    Value {
        /// Which field.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// More fields than [`limits::MAX_FIELDS`].
    #[error("more than {} fields", limits::MAX_FIELDS)]
    TooMany,
}

impl FieldError {
    /// The field's name, empty when there is none.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Missing { name } | Self::Twice { name } | Self::Value { name, .. } => name,
            Self::Short { .. } | Self::TooMany => "",
        }
    }
}

/// Largest value of a variable-length integer.
const VARINT_MAX: u64 = (1 << 62) - 1;

fn put_varint(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= VARINT_MAX, "invariant: tags and lengths are below 2^62");
    let bytes = value.to_be_bytes();
    match value {
        0..=0x3f => out.push(bytes[7]),
        0x40..=0x3fff => out.extend([bytes[6] | 0x40, bytes[7]]),
        0x4000..=0x3fff_ffff => {
            out.push(bytes[4] | 0x80);
            out.extend_from_slice(&bytes[5..]);
        }
        _ => {
            out.push(bytes[0] | 0xc0);
            out.extend_from_slice(&bytes[1..]);
        }
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let length = 1_usize << (first >> 6);
    let (head, rest) = bytes.split_at_checked(length)?;
    let mut value = u64::from(first & 0x3f);
    for byte in &head[1..] {
        value = (value << 8) | u64::from(*byte);
    }
    *bytes = rest;
    Some(value)
}

/// Writes fields in the order of the calls.
#[derive(Debug, Default)]
pub struct FieldWriter(Vec<u8>);

impl FieldWriter {
    /// No field yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The encoded fields.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A value of raw bytes.
    pub fn bytes(&mut self, tag: u64, value: &[u8]) -> &mut Self {
        put_varint(&mut self.0, tag);
        put_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A text.
    pub fn text(&mut self, tag: u64, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    /// A text, or no field.
    pub fn text_opt(&mut self, tag: u64, value: Option<&str>) -> &mut Self {
        if let Some(text) = value {
            self.text(tag, text);
        }
        self
    }

    /// A number without leading zero bytes; zero is one byte.
    pub fn number(&mut self, tag: u64, value: u64) -> &mut Self {
        let bytes = value.to_be_bytes();
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(7);
        self.bytes(tag, &bytes[start..])
    }

    /// A signed number, such as a clock offset.
    pub fn signed(&mut self, tag: u64, value: i64) -> &mut Self {
        self.bytes(tag, &value.to_be_bytes())
    }

    /// A time.
    pub fn time(&mut self, tag: u64, value: UtcMs) -> &mut Self {
        self.signed(tag, value.0)
    }

    /// A digest.
    pub fn hash(&mut self, tag: u64, value: &ObjectHash) -> &mut Self {
        self.bytes(tag, &value.0)
    }

    /// A group of fields.
    pub fn group(&mut self, tag: u64, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new();
        write(&mut inner);
        self.bytes(tag, &inner.0)
    }
}

/// One field as it stands in the bytes, with the readers of its kinds of value.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Its number.
    pub tag: u64,
    /// Its value.
    pub value: &'a [u8],
}

fn unlawful<T>(name: &'static str, reason: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::Value { name, reason: reason.into() })
}

impl<'a> Field<'a> {
    /// A text of at most `max_chars` characters.
    pub fn text(self, name: &'static str, max_chars: usize) -> Result<&'a str, FieldError> {
        let Ok(text) = std::str::from_utf8(self.value) else { return unlawful(name, "not UTF-8") };
        // A character has at most four bytes: the cheap test first.
        if text.len() > max_chars && text.chars().count() > max_chars {
            return unlawful(name, format!("more than {max_chars} characters"));
        }
        Ok(text)
    }

    /// A text that parses as `T`, such as an identifier.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(self, name: &'static str) -> Result<T, FieldError> {
        self.text(name, limits::MAX_TEXT_CHARS)?
            .parse()
            .or_else(|e: <T as FromStr>::Err| unlawful(name, e.to_string()))
    }

    /// A number of at most 8 bytes.
    pub fn number(self, name: &'static str) -> Result<u64, FieldError> {
        if self.value.is_empty() || self.value.len() > 8 {
            return unlawful(name, format!("a number of {} bytes", self.value.len()));
        }
        Ok(self.value.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }

    /// A number that `word` knows, such as a class.
    pub fn word<T>(self, name: &'static str, word: impl Fn(u8) -> Option<T>) -> Result<T, FieldError> {
        let number = self.number(name)?;
        match u8::try_from(number).ok().and_then(word) {
            Some(value) => Ok(value),
            None => unlawful(name, format!("unknown value {number}")),
        }
    }

    /// A number that fits a smaller type.
    pub fn small<T: TryFrom<u64>>(self, name: &'static str) -> Result<T, FieldError> {
        let number = self.number(name)?;
        T::try_from(number).or_else(|_| unlawful(name, format!("{number} is too large")))
    }

    /// A signed number of 8 bytes.
    pub fn signed(self, name: &'static str) -> Result<i64, FieldError> {
        match self.value.try_into() {
            Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
            Err(_) => unlawful(name, format!("{} bytes instead of 8", self.value.len())),
        }
    }

    /// A time.
    pub fn time(self, name: &'static str) -> Result<UtcMs, FieldError> {
        self.signed(name).map(|ms| UtcMs(ms.clamp(EARLIEST_MS, LATEST_MS)))
    }

    /// A truth value.
    pub fn flag(self, name: &'static str) -> Result<bool, FieldError> {
        match self.number(name)? {
            0 => Ok(false),
            1 => Ok(true),
            n => unlawful(name, format!("{n} is neither 0 nor 1")),
        }
    }

    /// A digest.
    pub fn hash(self, name: &'static str) -> Result<ObjectHash, FieldError> {
        match ObjectHash::from_slice(self.value) {
            Some(hash) => Ok(hash),
            None => unlawful(name, format!("{} bytes instead of 32", self.value.len())),
        }
    }
}

/// The fields of a group, one after the other.
///
/// # Errors
/// The first malformed field, or the error of `each`.
pub fn each_field<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(Field<'a>) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    let mut count = 0;
    while !bytes.is_empty() {
        count += 1;
        if count > limits::MAX_FIELDS {
            return Err(FieldError::TooMany);
        }
        let tag = take_varint(&mut bytes).ok_or(FieldError::Short { tag: 0 })?;
        let length = take_varint(&mut bytes).ok_or(FieldError::Short { tag })?;
        let length = usize::try_from(length).map_err(|_| FieldError::Short { tag })?;
        let (value, rest) = bytes.split_at_checked(length).ok_or(FieldError::Short { tag })?;
        bytes = rest;
        each(Field { tag, value })?;
    }
    Ok(())
}

/// A place for a field that may come once.
#[derive(Debug)]
pub struct Once<T> {
    name: &'static str,
    value: Option<T>,
}

impl<T> Once<T> {
    /// An empty place for the field `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: None }
    }

    /// Reads the field with `read`, which is given the field's name.
    ///
    /// # Errors
    /// [`FieldError::Twice`], or the error of `read`.
    pub fn set(
        &mut self,
        read: impl FnOnce(&'static str) -> Result<T, FieldError>,
    ) -> Result<(), FieldError> {
        if self.value.is_some() {
            return Err(FieldError::Twice { name: self.name });
        }
        self.value = Some(read(self.name)?);
        Ok(())
    }

    /// The value.
    ///
    /// # Errors
    /// [`FieldError::Missing`] when the field did not come.
    pub fn need(self) -> Result<T, FieldError> {
        self.value.ok_or(FieldError::Missing { name: self.name })
    }

    /// The value, where there is one.
    #[must_use]
    pub fn get(self) -> Option<T> {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_integers_are_those_of_rfc_9000() {
        // The examples of RFC 9000 appendix A.1.
        for (value, bytes) in [
            (151_288_809_941_952_652_u64, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(take_varint(&mut &out[..]), Some(value));
        }
        assert_eq!(take_varint(&mut &[0xc2, 0x19][..]), None);
    }

    #[test]
    fn an_unknown_field_is_skipped_and_a_doubled_one_is_refused() {
        let mut writer = FieldWriter::new();
        writer.number(1, 300).text(99, "from the future").number(1, 301);
        let mut seen = Once::new("count");
        let error = each_field(&writer.into_bytes(), |f| match f.tag {
            1 => seen.set(|n| f.number(n)),
            _ => Ok(()),
        });
        assert_eq!(error, Err(FieldError::Twice { name: "count" }));
        assert_eq!(seen.get(), Some(300));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let error = each_field(&[1, 5, 0, 0], |_| Ok(()));
        assert_eq!(error, Err(FieldError::Short { tag: 1 }));
    }

    #[test]
    fn numbers_round_trip_at_their_edges() {
        for value in [0, 1, 255, 256, u64::MAX] {
            let mut writer = FieldWriter::new();
            writer.number(1, value);
            let bytes = writer.into_bytes();
            let mut seen = Once::new("n");
            each_field(&bytes, |f| seen.set(|n| f.number(n))).unwrap();
            assert_eq!(seen.get(), Some(value));
        }
    }
}
