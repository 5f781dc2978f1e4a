//! The formats, and how the first 4 KiB of a file tell one from another.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, ReadError};

/// Bytes of a file that [`sniff`] needs at most.
pub const SNIFF_BYTES: usize = 4096;

/// A file format that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// DICOM waveform (PS3.3 A.34) or encapsulated PDF.
    Dicom,
    /// SCP-ECG, EN 1064.
    Scp,
    /// HL7 v3 annotated ECG.
    Aecg,
    /// GE MUSE `RestingECG` XML.
    Muse,
    /// Philips Sierra (PageWriter) XML.
    Sierra,
    /// Mortara ELI XML.
    Mortara,
    /// EDF, EDF+.
    Edf,
    /// MFER, ISO 22077-1.
    Mfer,
    /// PhysioNet WFDB.
    Wfdb,
    /// ISHNE Holter 1.0.
    Ishne,
    /// GE CardioSoft `CardiologyXML`.
    Cardiosoft,
    /// Schiller XML.
    Schiller,
    /// Contec `.ECG`.
    Contec,
    /// Heal Force portable (`.SCP` by name only).
    Healforce,
    /// PDF page: view only.
    Pdf,
    /// JPEG or PNG scan of paper: view only.
    Image,
}

impl Format {
    /// The name used in JSON, commands and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Scp => "scp",
            Self::Aecg => "aecg",
            Self::Muse => "muse",
            Self::Sierra => "sierra",
            Self::Mortara => "mortara",
            Self::Edf => "edf",
            Self::Mfer => "mfer",
            Self::Wfdb => "wfdb",
            Self::Ishne => "ishne",
            Self::Cardiosoft => "cardiosoft",
            Self::Schiller => "schiller",
            Self::Contec => "contec",
            Self::Healforce => "healforce",
            Self::Pdf => "pdf",
            Self::Image => "image",
        }
    }

    /// A page to look at, without samples.
    pub fn is_view_only(self) -> bool {
        matches!(self, Self::Pdf | Self::Image)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The ECG format that the first bytes of a file (4 KiB suffice) and its name suggest; `None` for junk and for DICOM objects that are not ECGs.
///
/// The name only helps where the bytes carry no signature (WFDB headers, Contec).
pub fn sniff(head: &[u8], name: Option<&str>) -> Option<Format> {
    let head = &head[..head.len().min(SNIFF_BYTES)];
    let extension = name.and_then(|n| n.rsplit_once('.')).map(|(_, e)| e.to_ascii_lowercase());
    let extension = extension.as_deref().unwrap_or("");
    if let Some(format) = magic(head) {
        return Some(format);
    }
    if let Some(format) = crate::read::dicom::sniff(head) {
        return format;
    }
    if crate::read::scp::looks_like(head) {
        return Some(Format::Scp);
    }
    if crate::read::healforce::looks_like(head) {
        return Some(Format::Healforce);
    }
    if let Some(format) = crate::read::xml::sniff(head) {
        return Some(format);
    }
    if crate::read::mfer::looks_like(head) {
        return Some(Format::Mfer);
    }
    if crate::read::contec::looks_like(head, extension) {
        return Some(Format::Contec);
    }
    if crate::read::wfdb::looks_like(head, extension) {
        return Some(Format::Wfdb);
    }
    // some carts write the PDF mark after a byte order mark or a banner; readers look for it in the first KiB
    crate::read::page::pdf_mark(head).map(|_| Format::Pdf)
}

/// What a WFDB record must become before it can travel.
const ONE_FILE: &str = "a WFDB record is several files and travels as one: make one of it \
    (relay-agent ecg RECORD.hea --dicom RECORD.dcm) and send that";

/// May this file, by its first bytes, be taken as an ECG of its own? The one rule of every place that takes files; DICOM is
/// judged before it. The answer depends on the bytes alone, so that it is the same where the file's name is no longer
/// known; `name` only chooses the words of a refusal.
///
/// # Errors
/// [`ReadError`]: no ECG format, a part of a WFDB record (which cannot be read without its other files), an ISHNE file of
/// beats without samples.
pub fn admit(head: &[u8], name: Option<&str>) -> Result<Format, ReadError> {
    let extension = name.and_then(|n| n.rsplit_once('.')).map(|(_, e)| e.to_ascii_lowercase());
    let refuse = |field: &str, kind, format, reason: &str| {
        Err(ReadError { format, field: field.into(), offset: 0, kind, reason: reason.into() })
    };
    match sniff(head, None) {
        Some(Format::Wfdb) => refuse("record", ErrorKind::MissingCompanion, Some(Format::Wfdb), ONE_FILE),
        Some(Format::Ishne) if head.starts_with(b"ANN  1.0") => {
            let reason = "an ISHNE annotation file: it holds beats, not samples";
            refuse("magic", ErrorKind::NotEcg, Some(Format::Ishne), reason)
        }
        Some(format) => Ok(format),
        None if matches!(extension.as_deref(), Some("hea" | "dat" | "atr" | "xyz" | "mat")) => {
            refuse("record", ErrorKind::MissingCompanion, Some(Format::Wfdb), ONE_FILE)
        }
        None if head.is_empty() => refuse("file", ErrorKind::NotEcg, None, "zero bytes"),
        None => refuse("file", ErrorKind::NotEcg, None, "no ECG format that is read here"),
    }
}

fn magic(head: &[u8]) -> Option<Format> {
    let starts = |m: &[u8]| head.starts_with(m);
    if starts(b"ISHNE1.0") || starts(b"ANN  1.0") {
        return Some(Format::Ishne);
    }
    if starts(b"%PDF-") {
        return Some(Format::Pdf);
    }
    if starts(b"\xFF\xD8\xFF") || starts(b"\x89PNG\r\n\x1a\n") {
        return Some(Format::Image);
    }
    crate::read::edf::looks_like(head).then_some(Format::Edf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_never_depends_on_the_name() {
        let contec = b"0000051\0\0\x002024-03-05 09:30:15\0\0\0";
        let wfdb = b"r 1 500 10\nr.dat 16 200 16 0 0 0 0 I\n";
        for bytes in
            [&contec[..], wfdb, b"ISHNE1.0", b"ANN  1.0", b"junk", b"", b"%PDF-1.4", b"\xEF\xBB\xBF%PDF-1.4"]
        {
            let plain = admit(bytes, None);
            for name in ["a.dat", "a.hea", "a.ecg", "a", "a.xml"] {
                assert_eq!(
                    admit(bytes, Some(name)).ok(),
                    plain.as_ref().ok().copied(),
                    "{bytes:?} as {name}"
                );
            }
        }
        assert_eq!(admit(contec, Some("x.dat")), Ok(Format::Contec));
        assert_eq!(admit(b"\xEF\xBB\xBF%PDF-1.4", None), Ok(Format::Pdf));
    }

    #[test]
    fn a_part_of_a_wfdb_record_is_refused_with_the_way_out() {
        for (bytes, name) in
            [(&b"r 1 500 10\nr.dat 16 200 16 0 0 0 0 I\n"[..], "r.hea"), (b"\x01\x02\x03", "r.dat")]
        {
            let error = admit(bytes, Some(name)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::MissingCompanion);
            assert!(error.reason.contains("relay-agent ecg"), "{error}");
        }
    }
}
