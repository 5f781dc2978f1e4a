//! A first look at a file: enough to choose a reader, never enough to accept it.

use super::dicom::looks_like_bare_data_set;

/// How much of a file's head [`sniff`] wants to see, in bytes. Shorter heads are judged as they are.
pub const SNIFF_BYTES: usize = 4096;

/// What the head of a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sniffed {
    /// `DICM` at offset 128 (PS3.10 §7.1).
    Dicom,
    /// No preamble, but `DICM` at the start, a file meta group or a data set whose first element is plausible.
    DicomNoPreamble,
    /// Text or binary that an ECG reader should be asked about.
    MaybeEcg,
    /// A PDF document.
    Pdf,
    /// A picture, an archive, a program, plain zeros or too short to say.
    Unknown,
}

/// Heads that no reader here wants: pictures, archives, programs.
const FOREIGN: &[&[u8]] = &[
    b"\xFF\xD8\xFF",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"PK\x03\x04",
    b"\x1F\x8B",
    b"7z\xBC\xAF",
    b"Rar!",
    b"MZ",
    b"\x7FELF",
];

/// Judges a file by its first bytes (up to [`SNIFF_BYTES`]).
///
/// A preamble is free text (PS3.10 §7.1), so `DICM` at 128 wins over any magic in front of it.
#[must_use]
pub fn sniff(head: &[u8]) -> Sniffed {
    if head.get(128..132) == Some(b"DICM") {
        return Sniffed::Dicom;
    }
    if head.starts_with(b"DICM") || looks_like_bare_data_set(head) {
        return Sniffed::DicomNoPreamble;
    }
    // PDF readers accept the header within the first KiB; so do the carts that write it after a byte-order mark.
    if head.iter().take(1024).collect::<Vec<_>>().windows(5).any(|w| w.iter().copied().eq(b"%PDF-")) {
        return Sniffed::Pdf;
    }
    if head.len() < 8 || FOREIGN.iter().any(|magic| head.starts_with(magic)) {
        return Sniffed::Unknown;
    }
    if head.iter().all(|b| *b == 0) {
        return Sniffed::Unknown;
    }
    Sniffed::MaybeEcg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_with_foreign_magic_is_still_dicom() {
        let mut head = vec![0u8; 132];
        head[..2].copy_from_slice(b"MZ");
        head[128..].copy_from_slice(b"DICM");
        assert_eq!(sniff(&head), Sniffed::Dicom);
    }

    #[test]
    fn bare_data_sets_are_seen_in_both_encodings() {
        assert_eq!(sniff(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"), Sniffed::DicomNoPreamble);
        assert_eq!(sniff(b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100"), Sniffed::DicomNoPreamble);
        assert_eq!(sniff(b"DICM\x02\x00\x00\x00UL\x04\x00"), Sniffed::DicomNoPreamble);
    }

    #[test]
    fn junk_is_not_dicom() {
        for junk in
            [&b"\xFF\xD8\xFF\xE0\0\x10JFIF\0"[..], b"\x1F\x8B\x08\0\0\0\0\0\0", b"", b"\0\0\0\0\0\0\0\0\0\0"]
        {
            assert_eq!(sniff(junk), Sniffed::Unknown, "{junk:?}");
        }
        assert_eq!(sniff(b"%PDF-1.7\n..."), Sniffed::Pdf);
        assert_eq!(sniff(b"<?xml version=\"1.0\"?><AnnotatedECG>"), Sniffed::MaybeEcg);
    }
}
