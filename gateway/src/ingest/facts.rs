//! What an object says of itself: may it enter custody, and what do lists and viewer need of its header.

use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::formats::{self, Sniffed, dicom};
use relay_core::ids::StudyUid;
use relay_core::study::ObjectKind;
use std::io::{Read, Seek};
use std::path::Path;
use viewer_api::desk::PatientFacts;

/// Columns of the table `object` that come from the file.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct ObjectFacts {
    pub(super) kind: Option<ObjectKind>,
    pub(super) instance_uid: String,
    pub(super) series_uid: String,
    pub(super) sop_class: String,
    pub(super) modality: String,
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) frames: u32,
    pub(super) body_part: String,
    pub(super) laterality: String,
    pub(super) view_position: String,
    pub(super) transfer_syntax: String,
    pub(super) description: String,
    pub(super) is_waveform: bool,
    pub(super) has_pixels: bool,
    pub(super) notes: Vec<String>,
    pub(super) person: PersonFacts,
    pub(super) exam: Option<ExamFacts>,
}

/// Personal data from the file.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct PersonFacts {
    pub(super) name: String,
    pub(super) sex: String,
    pub(super) birth_date: String,
    pub(super) age: String,
    pub(super) local_id: String,
    pub(super) national_id: String,
    pub(super) name_repaired: bool,
}

/// The exam's time as the file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExamFacts {
    pub(super) text: String,
    pub(super) source: String,
    pub(super) zone: String,
    pub(super) at: Option<UtcMs>,
    pub(super) doubtful: bool,
}

/// Why an object is not admitted.
#[derive(Debug)]
pub(super) enum NotAdmitted {
    Refused(Refusal),
    Io(std::io::Error),
}

impl From<std::io::Error> for NotAdmitted {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the header of a plaintext file. Blocks.
pub(super) fn admit(path: &Path, study: &StudyUid) -> Result<ObjectFacts, NotAdmitted> {
    admit_from(std::fs::File::open(path)?, study)
}

/// [`admit`] for bytes from anywhere.
pub(super) fn admit_from<R: Read + Seek>(mut file: R, study: &StudyUid) -> Result<ObjectFacts, NotAdmitted> {
    let mut head = Vec::with_capacity(formats::SNIFF_BYTES);
    file.by_ref().take(formats::SNIFF_BYTES as u64).read_to_end(&mut head)?;
    match formats::sniff(&head) {
        Sniffed::Dicom | Sniffed::DicomNoPreamble => match dicom::admit(file) {
            Ok(facts) => of_dicom(&facts, study),
            Err(dicom::AdmitError::Refused(refusal)) => Err(NotAdmitted::Refused(refusal)),
            Err(dicom::AdmitError::Io(error)) => Err(NotAdmitted::Io(error)),
        },
        // The clinic asks the same function before it takes a file.
        _ => match relay_ecg::admit(&head, None) {
            Ok(format) if format.is_view_only() => Ok(other(ObjectKind::Document)),
            Ok(_) => Ok(other(ObjectKind::Ecg)),
            Err(error) => {
                let reason = match error.format {
                    Some(_) => error.reason,
                    None => "neither DICOM nor a known ECG format nor a document".to_owned(),
                };
                Err(NotAdmitted::Refused(Refusal::new(Code::RefusedFormat, error.field, reason)))
            }
        },
    }
}

/// Who the patient of a stored DICOM file is; `None` when the file cannot be read. Blocks.
pub(crate) fn person_of(path: &Path, study: &StudyUid) -> Option<PatientFacts> {
    let person = admit(path, study).ok()?.person;
    Some(PatientFacts {
        name: person.name,
        sex: person.sex,
        birth_date: person.birth_date,
        age: person.age,
        local_id: person.local_id,
        national_id: person.national_id,
        name_repaired: person.name_repaired,
    })
}

fn other(kind: ObjectKind) -> ObjectFacts {
    ObjectFacts { kind: Some(kind), is_waveform: kind == ObjectKind::Ecg, ..ObjectFacts::default() }
}

fn of_dicom(facts: &dicom::DicomFacts, study: &StudyUid) -> Result<ObjectFacts, NotAdmitted> {
    if facts.study_uid != *study {
        return Err(NotAdmitted::Refused(Refusal::new(
            Code::RefusedManifest,
            "StudyInstanceUID (0020,000D)",
            format!("the file belongs to study {}, the manifest says {study}", facts.study_uid),
        )));
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let exam = facts.exam_time();
    let word = |value: Result<serde_json::Value, _>| {
        value.ok().and_then(|v: serde_json::Value| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let local_id = text(&facts.patient_id);
    Ok(ObjectFacts {
        kind: Some(ObjectKind::Dicom),
        instance_uid: facts.sop_instance_uid.as_str().to_owned(),
        series_uid: facts.series_uid.as_str().to_owned(),
        sop_class: facts.sop_class.clone(),
        modality: text(&facts.modality),
        rows: facts.rows.unwrap_or(0),
        columns: facts.columns.unwrap_or(0),
        frames: if facts.has_pixel_data() { facts.frames.unwrap_or(1) } else { 0 },
        body_part: text(&facts.body_part),
        laterality: text(&facts.laterality),
        view_position: text(&facts.view_position),
        transfer_syntax: facts.transfer_syntax.clone(),
        description: first_text([&facts.study_description, &facts.series_description, &facts.protocol]),
        is_waveform: facts.is_waveform,
        has_pixels: facts.has_pixel_data(),
        notes: facts.notes.iter().map(|note| format!("{note:?}")).collect(),
        person: PersonFacts {
            name: text(&facts.patient_name),
            sex: text(&facts.sex),
            birth_date: text(&facts.birth_date),
            age: text(&facts.age),
            national_id: if is_national_id(&local_id) { local_id.clone() } else { String::new() },
            local_id,
            name_repaired: facts.patient_name_repaired,
        },
        exam: Some(ExamFacts {
            source: word(serde_json::to_value(exam.source)),
            zone: word(serde_json::to_value(exam.zone)),
            at: exam.utc_ms,
            doubtful: exam.doubtful,
            text: exam.text,
        }),
    })
}

fn first_text<const N: usize>(texts: [&Option<String>; N]) -> String {
    texts.into_iter().flatten().find(|t| !t.is_empty()).cloned().unwrap_or_default()
}

/// A resident identity number with a right check digit (GB 11643-1999, ISO 7064 MOD 11-2).
pub(crate) fn is_national_id(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let bytes = text.as_bytes();
    if bytes.len() != 18 || !bytes[..17].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = WEIGHTS.iter().zip(bytes).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
    CHECKS[(sum % 11) as usize] == bytes[17].to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_national_id_has_a_check_digit() {
        assert!(is_national_id("11010519491231002X"));
        assert!(!is_national_id("110105194912310021"));
        for bad in ["", "0001", "11010519491231002", "卫生院卫生院"] {
            assert!(!is_national_id(bad), "{bad}");
        }
    }
}
