//! The formats, and how the first 4 KiB of a file tell one from another.

use serde::{Deserialize, Serialize};

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
    crate::read::wfdb::looks_like(head, extension).then_some(Format::Wfdb)
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
