//! Identifiers. One newtype per noun, parsed once at the edge, never re-checked inside.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a lawful identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{noun} is empty")]
    Empty {
        /// Which identifier was parsed.
        noun: &'static str,
    },
    /// The text is longer than the limit.
    #[error("{noun} has {len} characters, at most {max} are lawful")]
    TooLong {
        /// Which identifier was parsed.
        noun: &'static str,
        /// Characters found.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A character outside the lawful set.
    #[error("{noun} holds the unlawful character {found:?} at position {at}")]
    Character {
        /// Which identifier was parsed.
        noun: &'static str,
        /// The character found.
        found: char,
        /// Zero-based position in characters.
        at: usize,
    },
    /// A DICOM UID with an empty component (`1..2`, `.1`, `1.`).
    #[error("{noun} has an empty component")]
    EmptyComponent {
        /// Which identifier was parsed.
        noun: &'static str,
    },
    /// A digest that is not 64 lower-case hexadecimal digits.
    #[error("{noun} is not 64 hexadecimal digits")]
    Hex {
        /// Which identifier was parsed.
        noun: &'static str,
    },
}

/// Longest DICOM UID in characters (PS3.5 §9.1).
pub const MAX_UID_CHARS: usize = 64;
/// Longest site, person or letter name in characters: they appear in SAN URIs, file names and log lines.
pub const MAX_NAME_CHARS: usize = 64;

fn check_uid(noun: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { noun });
    }
    let len = text.chars().count();
    if len > MAX_UID_CHARS {
        return Err(IdError::TooLong { noun, len, max: MAX_UID_CHARS });
    }
    if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_digit() && *c != '.') {
        return Err(IdError::Character { noun, found, at });
    }
    if text.split('.').any(str::is_empty) {
        return Err(IdError::EmptyComponent { noun });
    }
    Ok(())
}

fn check_name(noun: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { noun });
    }
    let len = text.chars().count();
    if len > MAX_NAME_CHARS {
        return Err(IdError::TooLong { noun, len, max: MAX_NAME_CHARS });
    }
    let lawful = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    match text.chars().enumerate().find(|(_, c)| !lawful(*c)) {
        Some((at, found)) => Err(IdError::Character { noun, found, at }),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses and checks the text.
            ///
            /// # Errors
            /// [`IdError`] naming what is unlawful.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check($noun, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text as given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// A clinic (township health centre), or a county towards its province. Lower-case letters, digits, `-`, `_`.
    /// It lives in the SAN URI of the agent's certificate and outlives agent and key.
    ClinicId, "clinic id", check_name
}
text_id! {
    /// A person who reads, reviews or administers, as enrolled at the county (employee id).
    PersonId, "person id", check_name
}
text_id! {
    /// StudyInstanceUID (0020,000D). Never an identity by itself: see [`StudyKey`].
    StudyUid, "StudyInstanceUID (0020,000D)", check_uid
}
text_id! {
    /// SeriesInstanceUID (0020,000E).
    SeriesUid, "SeriesInstanceUID (0020,000E)", check_uid
}
text_id! {
    /// SOPInstanceUID (0008,0018).
    InstanceUid, "SOPInstanceUID (0008,0018)", check_uid
}
text_id! {
    /// A report, over all its versions.
    ReportId, "report id", check_name
}
text_id! {
    /// A letter from county to clinic (report version, critical notice, retake request); unique at the county.
    LetterId, "letter id", check_name
}
text_id! {
    /// An event that happened at the clinic (report opened, critical value read back); unique at the clinic.
    NoteId, "note id", check_name
}

/// A study's identity: the clinic and the StudyInstanceUID. Two clinics may send the same UID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct StudyKey {
    /// The clinic that sent it, from its certificate.
    pub clinic: ClinicId,
    /// The StudyInstanceUID.
    pub uid: StudyUid,
}

impl fmt::Display for StudyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.clinic, self.uid)
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// 64 lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Parses 64 hexadecimal digits.
            ///
            /// # Errors
            /// [`IdError::Hex`] when it is anything else.
            pub fn from_hex(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0_u8; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Hex { noun: $noun })?;
                Ok(Self(bytes))
            }

            /// From stored bytes; `None` unless there are exactly 32.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}…)", stringify!($name), &self.to_hex()[..12])
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.to_hex())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::from_hex(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

digest! {
    /// BLAKE3 of the plaintext bytes: the address of every object.
    ObjectHash, "object hash"
}
digest! {
    /// SHA-256 of the plaintext bytes: what is shown and signed.
    Sha256, "SHA-256"
}

impl ObjectHash {
    /// The address of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl Sha256 {
    /// The SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// A study UID for an object that has none: `2.25.` and 128 bits of BLAKE3(clinic id ‖ content), PS3.5 B.2 form.
/// The same file from the same clinic always gets the same UID.
#[must_use]
pub fn derived_study_uid(clinic: &ClinicId, content: &ObjectHash) -> StudyUid {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"relay study uid v1\0")
        .update(clinic.as_str().as_bytes())
        .update(b"\0")
        .update(&content.0);
    let mut half = [0_u8; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    StudyUid(format!("2.25.{}", u128::from_be_bytes(half)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_a_uid() {
        let error = StudyUid::parse("../../etc/passwd").unwrap_err();
        assert_eq!(error, IdError::Character { noun: "StudyInstanceUID (0020,000D)", found: '/', at: 2 });
    }

    #[test]
    fn empty_components_and_long_uids_are_refused() {
        assert!(StudyUid::parse("1.2..3").is_err());
        assert!(StudyUid::parse("1.2.").is_err());
        assert!(StudyUid::parse(&"1".repeat(65)).is_err());
        assert!(StudyUid::parse(&"1".repeat(64)).is_ok());
    }

    #[test]
    fn clinic_ids_are_safe_in_file_names_and_uris() {
        assert!(ClinicId::parse("shilipu-01").is_ok());
        for bad in ["", "A", "a/b", "a b", "..", "卫生院"] {
            assert!(ClinicId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_derived_uid_is_lawful_and_depends_on_the_clinic() {
        let hash = ObjectHash::of(b"ecg");
        let one = derived_study_uid(&ClinicId::parse("a").unwrap(), &hash);
        let two = derived_study_uid(&ClinicId::parse("b").unwrap(), &hash);
        assert_ne!(one, two);
        assert!(StudyUid::parse(one.as_str()).is_ok());
    }

    #[test]
    fn digests_round_trip_as_hex() {
        let hash = ObjectHash::of(b"x");
        assert_eq!(ObjectHash::from_hex(&hash.to_hex()), Ok(hash));
        assert!(ObjectHash::from_hex("zz").is_err());
    }
}
