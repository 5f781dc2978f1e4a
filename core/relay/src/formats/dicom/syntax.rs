//! Transfer syntaxes: what a UID says about encoding and pixels (PS3.5 Annex A, PS3.6 Table A-1).

/// How the pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum PixelForm {
    /// No pixel data element.
    None,
    /// Uncompressed samples in one value.
    Native {
        /// Where the value begins; in a deflated file, in the inflated data set.
        offset: u64,
        /// Bytes of the value.
        length: u64,
    },
    /// Compressed fragments (PS3.5 §A.4).
    Encapsulated {
        /// Fragments behind the basic offset table.
        fragments: u64,
        /// Bytes of all these fragments.
        length: u64,
    },
}

/// What a transfer syntax does to the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyntaxFamily {
    /// Samples as they are.
    Native,
    /// JPEG of any process, lossy or lossless.
    Jpeg,
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000 and HTJ2K.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
    /// RLE lossless.
    Rle,
    /// MPEG-2, MPEG-4, HEVC: one stream for all frames.
    Video,
    /// Encapsulated in another lawful way (encapsulated uncompressed, deflated frames, referenced).
    OtherEncapsulated,
    /// A UID that is not in PS3.6: nothing is known about its pixels.
    Unknown,
}

/// Implicit VR little endian, the default.
pub(super) const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR little endian.
pub(super) const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
/// Deflated explicit VR little endian.
pub(super) const DEFLATED_LE: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR big endian (retired).
pub(super) const EXPLICIT_BE: &str = "1.2.840.10008.1.2.2";

/// How the elements of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Coding {
    pub(super) const IMPLICIT: Self = Self { explicit: false, big_endian: false };
    pub(super) const EXPLICIT: Self = Self { explicit: true, big_endian: false };

    /// The syntax that has this coding and native pixels.
    pub(super) const fn uid(self) -> &'static str {
        match (self.explicit, self.big_endian) {
            (true, true) => EXPLICIT_BE,
            (true, false) => EXPLICIT_LE,
            (false, _) => IMPLICIT_LE,
        }
    }

    /// The coding a syntax prescribes: everything but three is explicit little endian (PS3.5 §A).
    pub(super) fn of(uid: &str) -> Self {
        match uid {
            IMPLICIT_LE => Self::IMPLICIT,
            EXPLICIT_BE => Self { explicit: true, big_endian: true },
            _ => Self::EXPLICIT,
        }
    }
}

impl SyntaxFamily {
    /// The family of a transfer syntax UID.
    #[must_use]
    pub fn of(uid: &str) -> Self {
        const STANDARD: &str = "1.2.840.10008.1.2";
        let Some(rest) = uid.strip_prefix(STANDARD) else { return Self::Unknown };
        if matches!(rest, "" | ".1" | ".2" | ".1.99") {
            return Self::Native;
        }
        if rest == ".5" {
            return Self::Rle;
        }
        if rest == ".1.98" || rest.starts_with(".7.") || rest.starts_with(".8.") {
            return Self::OtherEncapsulated;
        }
        let Some(number) = rest.strip_prefix(".4.").and_then(|r| r.split('.').next()) else {
            return Self::Unknown;
        };
        match number.parse::<u16>() {
            Ok(50..=70) => Self::Jpeg,
            Ok(80 | 81) => Self::JpegLs,
            Ok(90..=93 | 201..=203) => Self::Jpeg2000,
            Ok(94 | 95 | 204 | 205) => Self::OtherEncapsulated,
            Ok(100..=108) => Self::Video,
            Ok(110..=112) => Self::JpegXl,
            _ => Self::Unknown,
        }
    }

    /// Whether the pixels must be in fragments.
    #[must_use]
    pub const fn is_encapsulated(self) -> bool {
        !matches!(self, Self::Native | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_follow_the_registry() {
        for (uid, family) in [
            (IMPLICIT_LE, SyntaxFamily::Native),
            (DEFLATED_LE, SyntaxFamily::Native),
            ("1.2.840.10008.1.2.4.57", SyntaxFamily::Jpeg),
            ("1.2.840.10008.1.2.4.80", SyntaxFamily::JpegLs),
            ("1.2.840.10008.1.2.4.201", SyntaxFamily::Jpeg2000),
            ("1.2.840.10008.1.2.4.102.1", SyntaxFamily::Video),
            ("1.2.840.10008.1.2.5", SyntaxFamily::Rle),
            ("1.2.840.113619.5.2", SyntaxFamily::Unknown),
        ] {
            assert_eq!(SyntaxFamily::of(uid), family, "{uid}");
        }
    }
}
