//! What a file is, before it may enter custody: DICOM by the county's own rule, ECG files by their signature.

use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::formats::dicom::{self, AdmitError, DicomFacts, SyntaxFamily};
use relay_core::formats::{self, Sniffed};
use relay_core::ids::{InstanceUid, SeriesUid, StudyUid};
use relay_core::study::{Kind, ObjectKind};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Modalities that are read as X-ray (PS3.3 C.7.3.1.1.1): plain films, mammography, dental, fluoroscopy.
const XRAY_MODALITIES: &[&str] = &["CR", "DX", "DR", "RG", "MG", "IO", "PX", "XA", "RF"];

/// What a file says of itself, as far as the spool needs it.
#[derive(Debug, Clone)]
pub struct Sniff {
    /// DICOM, ECG or document.
    pub object: ObjectKind,
    /// Which specialist reads it.
    pub kind: Kind,
    /// The study it names; an ECG of another format names none.
    pub study: Option<StudyUid>,
    /// SOPInstanceUID where it has one.
    pub instance: Option<InstanceUid>,
    /// SeriesInstanceUID where it has one.
    pub series: Option<SeriesUid>,
    /// When the exam was, by the file.
    pub exam: Option<UtcMs>,
    /// The text it was read from.
    pub exam_text: Option<String>,
    /// The file's time cannot be relied on.
    pub exam_doubtful: bool,
    /// False when the content is compressed already, so that coding it again costs time and saves nothing.
    pub compressible: bool,
    /// Who was examined. Personal data.
    pub person: Person,
}

/// Who was examined, as the file says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// (0010,0010).
    pub name: Option<String>,
    /// (0010,0020).
    pub patient_id: Option<String>,
    /// (0010,0040).
    pub sex: Option<String>,
    /// (0010,0030).
    pub birth_date: Option<String>,
}

/// Prints nothing of the person: fit for logs.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(hidden)")
    }
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SniffError {
    /// It is no file for the county.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk failed: says nothing about the file.
    #[error("read {path}")]
    Io {
        /// Which file.
        path: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// Reads a file's own description. `name` helps where an ECG format has no signature.
///
/// # Errors
/// [`SniffError::Refused`] with code, field and reason; [`SniffError::Io`] when the disk fails.
pub fn sniff(path: &Path, name: Option<&str>) -> Result<Sniff, SniffError> {
    let io = |source| SniffError::Io { path: path.display().to_string(), source };
    let mut head = Vec::with_capacity(formats::SNIFF_BYTES);
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    file.take(formats::SNIFF_BYTES as u64).read_to_end(&mut head).map_err(io)?;
    if length > relay_core::limits::MAX_OBJECT_BYTES {
        let reason = format!("{length} bytes, at most {} are taken", relay_core::limits::MAX_OBJECT_BYTES);
        return Err(Refusal::new(Code::RefusedTooLarge, "", reason).into());
    }
    match formats::sniff(&head) {
        Sniffed::Dicom | Sniffed::DicomNoPreamble => {}
        other => {
            return match ecg(&head, name, other) {
                Some(found) => Ok(found),
                // The walker's words say best why a file that claims to be nothing is refused.
                None => match dicom::admit(File::open(path).map_err(io)?) {
                    Err(AdmitError::Io(source)) => Err(io(source)),
                    Err(AdmitError::Refused(refusal)) if refusal.code != Code::RefusedFormat => {
                        Err(refusal.into())
                    }
                    Ok(facts) => Ok(dicom_sniff(facts)),
                    Err(AdmitError::Refused(_)) => Err(unknown_format(length).into()),
                },
            };
        }
    }
    match dicom::admit(File::open(path).map_err(io)?) {
        Ok(facts) => Ok(dicom_sniff(facts)),
        Err(AdmitError::Refused(refusal)) => Err(refusal.into()),
        Err(AdmitError::Io(source)) => Err(io(source)),
    }
}

fn unknown_format(length: u64) -> Refusal {
    let reason = if length == 0 {
        "the file is empty".to_owned()
    } else {
        format!("neither DICOM nor a known ECG format in {length} bytes")
    };
    Refusal::new(Code::RefusedFormat, "", reason)
}

fn dicom_sniff(facts: DicomFacts) -> Sniff {
    let modality = facts.modality.as_deref().unwrap_or_default();
    let kind = if facts.is_waveform || modality == "ECG" {
        Kind::Ecg
    } else if XRAY_MODALITIES.contains(&modality) {
        Kind::Xray
    } else {
        Kind::Other
    };
    let exam = facts.exam_time();
    Sniff {
        object: ObjectKind::Dicom,
        kind,
        compressible: !facts.has_pixel_data() || facts.syntax_family == SyntaxFamily::Native,
        study: Some(facts.study_uid),
        instance: Some(facts.sop_instance_uid),
        series: Some(facts.series_uid),
        exam: exam.utc_ms,
        exam_text: (!exam.text.is_empty()).then_some(exam.text),
        exam_doubtful: exam.doubtful,
        person: Person {
            name: facts.patient_name,
            patient_id: facts.patient_id,
            sex: facts.sex,
            birth_date: facts.birth_date,
        },
    }
}

fn ecg(head: &[u8], name: Option<&str>, sniffed: Sniffed) -> Option<Sniff> {
    let known = relay_ecg::sniff(head, name);
    if known.is_none() && (sniffed != Sniffed::MaybeEcg || !has_ecg_signature(head)) {
        return None;
    }
    let page = known.is_some_and(relay_ecg::Format::is_view_only);
    Some(Sniff {
        object: if page { ObjectKind::Document } else { ObjectKind::Ecg },
        kind: Kind::Ecg,
        study: None,
        instance: None,
        series: None,
        exam: None,
        exam_text: None,
        exam_doubtful: true,
        compressible: !page,
        person: Person::default(),
    })
}

/// Signatures of the ECG files that carts write, for formats that the reader library does not name.
fn has_ecg_signature(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(2048)]);
    let xml =
        ["AnnotatedECG", "RestingECG", "restingecgdata", "ECGData", "CardiologyXML", "MORTARA", "ECG_SCAN"];
    // SCP-ECG (EN 1064): section 0 begins at byte 6 with its CRC, id 0, length and "SCPECG" at byte 16.
    let scp = head.get(16..22) == Some(b"SCPECG");
    // EDF: version "0" and seven spaces. MFER: preamble or byte order block.
    let edf = head.starts_with(b"0       ");
    let mfer =
        head.starts_with(b"@ MFR") || head.starts_with(b"@ MFER") || head.starts_with(&[0x40, 0x20, b'M']);
    scp || edf || mfer || xml.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_film_names_its_study_and_is_an_x_ray() {
        let dir = tempfile::tempdir().unwrap();
        let path = testing::write(dir.path(), "a.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64));
        let found = sniff(&path, Some("a.dcm")).unwrap();
        assert_eq!(found.study.unwrap().as_str(), "1.2.3");
        assert_eq!((found.kind, found.object, found.compressible), (Kind::Xray, ObjectKind::Dicom, true));
    }

    #[test]
    fn junk_and_an_empty_file_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("empty", &b""[..]),
            ("zip.zip", b"PK\x03\x04aaaaaaaaaaaaaaaa"),
            ("text", b"hello, this is text"),
        ] {
            let path = testing::write(dir.path(), name, bytes);
            let Err(SniffError::Refused(refusal)) = sniff(&path, Some(name)) else {
                panic!("{name} was taken")
            };
            assert_eq!(refusal.code, Code::RefusedFormat, "{name}");
            assert!(!refusal.reason.is_empty());
        }
    }

    #[test]
    fn an_annotated_ecg_has_no_study_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = testing::write(dir.path(), "e.xml", testing::AECG);
        let found = sniff(&path, Some("e.xml")).unwrap();
        assert_eq!((found.kind, found.study), (Kind::Ecg, None));
    }
}
