//! Small exams in any number: 12-lead ECGs of ten seconds, 120 kB each.

use anyhow::{Context as _, anyhow};
use relay_core::clock::UtcMs;
use relay_ecg::synth::{self, Spec};
use relay_ecg::write::{DicomIdentity, dicom};

/// An ECG with everything that tests ask of it.
#[derive(Debug, Clone)]
pub struct SmallExam {
    /// StudyInstanceUID.
    pub uid: String,
    /// The file.
    pub file: Vec<u8>,
}

/// ECG number `number` of `series`, taken at `taken`.
///
/// # Errors
/// When it cannot be written.
pub fn ecg(series: &str, number: u64, taken: UtcMs) -> anyhow::Result<SmallExam> {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let local =
        jiff::Timestamp::from_millisecond(taken.0).map_err(|e| anyhow!("exam time: {e}"))?.to_zoned(zone);
    let uid = |what: &str| uid(&format!("{series}/{number}/{what}"));
    let identity = DicomIdentity {
        study_uid: uid("study"),
        series_uid: uid("series"),
        instance_uid: uid("instance"),
        patient_id: format!("{series}-{number}"),
        patient_name: "测试^心电".to_owned(),
        birth_date: "19600101".to_owned(),
        sex: "M".to_owned(),
        acquired: local.strftime("%Y%m%d%H%M%S").to_string(),
        offset_min: Some(8 * 60),
        accession: format!("E{number}"),
        institution: "示范乡镇卫生院".to_owned(),
        station: "CART01".to_owned(),
    };
    let file = dicom(&synth::ecg(&Spec::normal(number)), &identity).context("writing an ECG")?;
    Ok(SmallExam { uid: identity.study_uid, file })
}

/// A UID under 2.25 (PS3.5 §B.2) from the BLAKE3 of a text.
#[must_use]
pub fn uid(text: &str) -> String {
    let hash = blake3::hash(format!("relay lab {text}").as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    format!("2.25.{}", u128::from_be_bytes(half))
}
