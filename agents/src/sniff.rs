//! What a file is, before it may enter custody: DICOM by the county's own rule, ECG files by their signature.

use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::formats::dicom::{self, AdmitError, DicomFacts, PixelForm, SyntaxFamily};
use relay_core::formats::{self, Sniffed};
use relay_core::ids::{InstanceUid, SeriesUid, StudyUid};
use relay_core::study::{Kind, ObjectKind};
use relay_film::Layout;
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
    /// SOPClassUID where it has one.
    pub sop_class: Option<String>,
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
    /// Where its native samples lie, for the film coder.
    pub layout: Option<Layout>,
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
    let admitted = |path: &Path| dicom::admit(File::open(path).map_err(AdmitError::Io)?);
    if matches!(formats::sniff(&head), Sniffed::Dicom | Sniffed::DicomNoPreamble) {
        return match admitted(path) {
            Ok(facts) => Ok(dicom_sniff(facts)),
            Err(AdmitError::Refused(refusal)) => Err(refusal.into()),
            Err(AdmitError::Io(source)) => Err(io(source)),
        };
    }
    // The county asks the same function, without a name: what it would not take is not taken here.
    match relay_ecg::admit(&head, name) {
        Ok(format) => Ok(ecg_sniff(format)),
        // The walker's words say best why a file that claims to be nothing is refused.
        Err(unknown) => match admitted(path) {
            Err(AdmitError::Io(source)) => Err(io(source)),
            Err(AdmitError::Refused(refusal)) if refusal.code != Code::RefusedFormat => Err(refusal.into()),
            _ => Err(unknown_format(length, &unknown).into()),
        },
    }
}

fn unknown_format(length: u64, unknown: &relay_ecg::ReadError) -> Refusal {
    let reason = if length == 0 {
        "the file is empty".to_owned()
    } else if unknown.format.is_some() {
        unknown.reason.clone()
    } else {
        format!("neither DICOM nor a known ECG format in {length} bytes")
    };
    Refusal::new(Code::RefusedFormat, unknown.field.clone(), reason)
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
        layout: layout_of(&facts),
        study: Some(facts.study_uid),
        sop_class: Some(facts.sop_class),
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

/// Where the native samples of a file lie; `None` when it is no film, or one that cannot be read any more.
pub(crate) fn layout(path: &Path) -> Option<Layout> {
    dicom::admit(File::open(path).ok()?).ok().as_ref().and_then(layout_of)
}

/// As the data set describes them. What it leaves out or gets wrong costs bytes on the line, never content.
fn layout_of(facts: &DicomFacts) -> Option<Layout> {
    let PixelForm::Native { offset, length } = facts.pixels else { return None };
    // The offsets of a deflated data set are none of the file.
    if facts.deflated || facts.syntax_family != SyntaxFamily::Native {
        return None;
    }
    Some(Layout {
        rows: facts.rows?,
        columns: facts.columns?,
        samples: facts.samples.unwrap_or(1),
        planar: facts.planar,
        bits_allocated: facts.bits_allocated?,
        signed: facts.signed,
        big_endian: facts.big_endian,
        offset,
        length,
    })
}

fn ecg_sniff(format: relay_ecg::Format) -> Sniff {
    let page = format.is_view_only();
    Sniff {
        object: if page { ObjectKind::Document } else { ObjectKind::Ecg },
        kind: Kind::Ecg,
        study: None,
        sop_class: None,
        instance: None,
        series: None,
        exam: None,
        exam_text: None,
        exam_doubtful: true,
        compressible: !page,
        layout: None,
        person: Person::default(),
    }
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
    fn a_film_says_where_its_samples_lie() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64);
        let path = testing::write(dir.path(), "a.dcm", &bytes);
        let layout = sniff(&path, None).unwrap().layout.unwrap();
        let offset = bytes.len() as u64 - 64 * 64 * 2;
        let rows = Layout { rows: 64, columns: 64, samples: 1, bits_allocated: 16, ..Layout::default() };
        assert_eq!(layout, Layout { offset, length: 64 * 64 * 2, ..rows });
        assert_eq!(super::layout(&path), Some(layout));
        let ecg = testing::write(dir.path(), "e.xml", testing::AECG);
        assert_eq!((sniff(&ecg, None).unwrap().layout, super::layout(&ecg)), (None, None));
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

    #[test]
    fn a_part_of_a_wfdb_record_is_refused_here_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("r.hea", &b"r 1 500 2\nr.dat 16 200 16 0 0 0 0 I\n"[..]), ("r.dat", b"\x01\x02\x03\x04")]
        {
            let path = testing::write(dir.path(), name, bytes);
            let Err(SniffError::Refused(refusal)) = sniff(&path, Some(name)) else {
                panic!("{name} was taken")
            };
            assert_eq!(refusal.code, Code::RefusedFormat, "{name}");
            assert!(refusal.reason.contains("relay-agent ecg"), "{name}: {}", refusal.reason);
        }
    }

    /// The county's rule for what is no DICOM is `relay_ecg::admit` without a name: both ends must say the same of every file.
    #[test]
    fn every_ecg_file_of_the_corpus_ends_as_it_would_at_the_county() {
        let Some(root) = std::env::var_os("RELAY_CORPUS") else {
            println!("skipped: RELAY_CORPUS is not set");
            return;
        };
        let mut dirs = vec![Path::new(&root).join("ecg")];
        let (mut taken, mut refused) = (0, 0);
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                let head = &bytes[..bytes.len().min(formats::SNIFF_BYTES)];
                let county = match formats::sniff(head) {
                    Sniffed::Dicom | Sniffed::DicomNoPreamble => {
                        dicom::admit(std::io::Cursor::new(&bytes)).is_ok()
                    }
                    _ => relay_ecg::admit(head, None).is_ok(),
                };
                let here = sniff(&path, path.file_name().and_then(|n| n.to_str()));
                if let Err(SniffError::Refused(refusal)) = &here {
                    println!("refused {}: {refusal}", path.display());
                }
                assert_eq!(here.is_ok(), county, "{}", path.display());
                *(if county { &mut taken } else { &mut refused }) += 1;
            }
        }
        println!("{taken} taken, {refused} refused, alike at both ends");
    }
}
