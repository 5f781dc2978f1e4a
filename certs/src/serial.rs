//! Certificate serial numbers: 128 random bits, written as hexadecimal.

use std::fmt;
use std::str::FromStr;

use rand::CryptoRng;

/// Most bytes of a serial number (RFC 5280 §4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;
/// Bytes of the serials made here: 128 bits are unguessable and never collide.
const OWN_SERIAL_BYTES: usize = 16;

/// The text is not a serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a certificate serial number (1 to {MAX_SERIAL_BYTES} bytes in hexadecimal)")]
pub struct SerialError {
    /// What was given.
    pub text: String,
}

/// A serial number without leading zero bytes, so that one number has one form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new positive serial of 128 bits from the caller's randomness.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0_u8; OWN_SERIAL_BYTES];
        rng.fill_bytes(&mut bytes);
        // Positive and of full length: the first bit 0 and the second 1.
        bytes[0] = (bytes[0] & 0x7f) | 0x40;
        Self(bytes.to_vec())
    }

    /// From the bytes of a DER INTEGER, sign byte or not.
    ///
    /// # Errors
    /// [`SerialError`] when empty or too long.
    pub fn from_be_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        let trimmed = &bytes[start..];
        if trimmed.is_empty() || trimmed.len() > MAX_SERIAL_BYTES {
            return Err(SerialError { text: hex::encode(&bytes[..bytes.len().min(MAX_SERIAL_BYTES + 1)]) });
        }
        Ok(Self(trimmed.to_vec()))
    }

    /// Big-endian bytes without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let bytes = hex::decode(text).map_err(|_| SerialError { text: text.chars().take(64).collect() })?;
        Self::from_be_bytes(&bytes)
    }
}

impl serde::Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_string())
    }
}

impl<'de> serde::Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    #[test]
    fn serials_are_random_positive_and_round_trip() {
        let mut rng = StdRng::seed_from_u64(1);
        let (a, b) = (Serial::generate(&mut rng), Serial::generate(&mut rng));
        assert_ne!(a, b);
        assert_eq!(a.to_string().parse::<Serial>().unwrap(), a);
        assert!(a.as_bytes()[0] < 0x80);
    }

    #[test]
    fn a_sign_byte_makes_no_other_serial() {
        assert_eq!(Serial::from_be_bytes(&[0, 0x81]).unwrap(), Serial::from_be_bytes(&[0x81]).unwrap());
        assert!(Serial::from_be_bytes(&[]).is_err());
        assert!(Serial::from_be_bytes(&[1; 21]).is_err());
        assert!("xyz".parse::<Serial>().is_err());
    }
}
