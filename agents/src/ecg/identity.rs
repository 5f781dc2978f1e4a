//! An ECG handed on in a standard format: identity and time come from the file; identifiers from its bytes, so that the same
//! file always gives the same object.

use super::Loaded;
use relay_ecg::Ecg;
use relay_ecg::write::{self, DicomIdentity, ScpIdentity, WriteError};

/// A UID below 2.25 (PS3.5 B.2) from the file's digest and a purpose.
fn uid(digest: &[u8; 32], purpose: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(digest);
    hasher.update(purpose.as_bytes());
    let mut half = [0_u8; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    format!("2.25.{}", u128::from_be_bytes(half))
}

/// `YYYY`, `MM`, `DD`, `hh`, `mm`, `ss` of the acquisition, if the file states a readable time.
fn acquired(ecg: &Ecg) -> Option<[u16; 6]> {
    let local = ecg.acquired.as_ref()?.local.as_ref()?;
    let mut parts = local.split(['-', 'T', ':', '.']).map(str::parse);
    let mut next = || parts.next()?.ok();
    Some([next()?, next()?, next()?, next()?, next()?, next()?])
}

/// What stands for a time that is not known, where a format demands one: no living person's ECG, and read back as unknown.
const UNKNOWN: [u16; 6] = [1900, 1, 1, 0, 0, 0];

/// The file states a time that can be read.
pub fn has_time(ecg: &Ecg) -> bool {
    acquired(ecg).is_some()
}

/// A standard DICOM ECG object.
///
/// # Errors
/// [`WriteError`] when the record fits no DICOM ECG class, or has no samples.
pub fn dicom(loaded: &Loaded) -> Result<Vec<u8>, WriteError> {
    let ecg = &loaded.ecg;
    samples(ecg)?;
    let stored = ecg.dicom.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let birth: String = text(&ecg.patient.birth_date).chars().filter(char::is_ascii_digit).collect();
    let identity = DicomIdentity {
        // a DICOM original keeps its study, if its UID is one
        study_uid: stored
            .map(|d| d.study.clone())
            .filter(|u| write::lawful_uid(u))
            .unwrap_or_else(|| uid(&loaded.digest, "study")),
        series_uid: uid(&loaded.digest, "series"),
        instance_uid: uid(&loaded.digest, "instance"),
        patient_id: text(&ecg.patient.id),
        patient_name: text(&ecg.patient.name),
        birth_date: if birth.len() == 8 { birth } else { String::new() },
        sex: sex(ecg.patient.sex.as_deref()),
        acquired: digits(acquired(ecg).unwrap_or(UNKNOWN)),
        offset_min: ecg.acquired.as_ref().and_then(|a| a.offset_min),
        accession: String::new(),
        institution: text(&ecg.device.institution),
        station: String::new(),
    };
    write::dicom(ecg, &identity)
}

/// An SCP-ECG record.
///
/// # Errors
/// [`WriteError`] when SCP-ECG cannot hold the record, or it has no samples.
pub fn scp(loaded: &Loaded) -> Result<Vec<u8>, WriteError> {
    let ecg = &loaded.ecg;
    samples(ecg)?;
    let [y, mo, d, h, mi, s] = acquired(ecg).unwrap_or(UNKNOWN);
    let byte = |v: u16| u8::try_from(v).unwrap_or(0);
    let name = ecg.patient.name.clone().unwrap_or_default();
    let (last, first) = name.split_once('^').unwrap_or((name.as_str(), ""));
    let birth = ecg.patient.birth_date.as_deref().and_then(|d| {
        let mut parts = d.split('-');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    let identity = ScpIdentity {
        patient_id: ecg.patient.id.clone().unwrap_or_default(),
        last_name: last.to_owned(),
        first_name: first.to_owned(),
        birth,
        sex: ecg.patient.sex.as_deref().and_then(|s| s.chars().next()),
        acquired: (y, byte(mo), byte(d), byte(h), byte(mi), byte(s)),
        offset_min: ecg.acquired.as_ref().and_then(|a| a.offset_min).and_then(|m| i16::try_from(m).ok()),
    };
    write::scp(ecg, &identity)
}

fn digits([y, mo, d, h, mi, s]: [u16; 6]) -> String {
    format!("{y:04}{mo:02}{d:02}{h:02}{mi:02}{s:02}")
}

/// `M`, `F`, `O` or nothing (PS3.3 C.7.1.1).
fn sex(stored: Option<&str>) -> String {
    let first = stored.and_then(|s| s.trim().chars().next()).map(|c| c.to_ascii_uppercase());
    first.filter(|c| matches!(c, 'M' | 'F' | 'O')).map(String::from).unwrap_or_default()
}

fn samples(ecg: &Ecg) -> Result<(), WriteError> {
    if ecg.is_view_only() {
        let reason = "a page to look at: it holds no samples".to_owned();
        return Err(WriteError { field: "document".into(), reason });
    }
    Ok(())
}
