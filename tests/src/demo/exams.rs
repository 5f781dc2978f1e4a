//! The day's exams, all computed: a chest in two views, a hand, three ECGs. Kept in the demo's directory, so that the
//! same state is found again.

use crate::lab::{make_dir, put};
use crate::phantom;
use anyhow::{Context as _, anyhow};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::study::Class;
use relay_ecg::synth::{self, Spec};
use relay_ecg::write::{DicomIdentity, dicom};
use std::path::{Path, PathBuf};

/// How an exam gets to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// C-STORE by the machine with this AE title.
    Store(&'static str),
    /// The cart writes it into the watched folder.
    Folder,
    /// `relay-agent send`.
    Send(Class),
}

/// One exam.
#[derive(Debug, Clone)]
pub struct Exam {
    /// In words, for the table.
    pub title: &'static str,
    /// Number of the clinic.
    pub clinic: usize,
    /// How it travels.
    pub way: Way,
    /// Its files.
    pub files: Vec<PathBuf>,
}

/// File that says that the exams are whole.
const WHOLE: &str = "whole";
/// Seed of everything computed: the demo looks the same every time.
const SEED: u64 = 2026;
/// The exams were this long before now: the films are read within their time limit.
const AGE_MS: i64 = 2 * MINUTE_MS;

/// Computes the exams into `dir`, or finds them there. `scale` is the films' size against full size.
///
/// # Errors
/// When a film or an ECG cannot be made or written.
pub fn make(dir: &Path, now: UtcMs, scale: f32) -> anyhow::Result<Vec<Exam>> {
    use crate::lab::clinic::{AE_EMERGENCY, AE_ROUTINE};
    let at = |name: &str| dir.join(name);
    let exams = vec![
        exam(
            "胸部正侧位 / chest, two views",
            0,
            Way::Store(AE_ROUTINE),
            vec![at("chest-1.dcm"), at("chest-2.dcm")],
        ),
        exam("手正位 / hand", 1, Way::Store(AE_EMERGENCY), vec![at("hand-1.dcm")]),
        exam("心电图 / ECG, sinus rhythm", 0, Way::Folder, vec![at("ecg-1.dcm")]),
        exam("心电图 / ECG, atrial fibrillation", 1, Way::Folder, vec![at("ecg-2.dcm")]),
        exam("心电图 / ECG, inferior infarction", 0, Way::Send(Class::Green), vec![at("ecg-3.dcm")]),
    ];
    if dir.join(WHOLE).is_file() {
        return Ok(exams);
    }
    make_dir(dir)?;
    let taken = now.plus_ms(-AGE_MS);
    for (number, exam) in exams.iter().take(2).enumerate() {
        let study = phantom::study(SEED, number as u64, scale, taken);
        for (request, path) in study.films.iter().zip(&exam.files) {
            put(path, &phantom::film(request).with_context(|| exam.title)?.file)?;
        }
    }
    let specs = [Spec::normal(SEED), Spec::atrial_fibrillation(SEED), Spec::inferior_stemi(SEED)];
    let patients = [
        ("王^建国", "E0001", "M", "19580312"),
        ("李^秀英", "E0002", "F", "19490720"),
        ("陈^志明", "E0003", "M", "19661105"),
    ];
    for (number, (spec, patient)) in specs.iter().zip(patients).enumerate() {
        let identity = identity(number, patient, taken)?;
        put(&exams[number + 2].files[0], &dicom(&synth::ecg(spec), &identity).context("writing an ECG")?)?;
    }
    put(&dir.join(WHOLE), b"")?;
    Ok(exams)
}

fn exam(title: &'static str, clinic: usize, way: Way, files: Vec<PathBuf>) -> Exam {
    Exam { title, clinic, way, files }
}

fn identity(number: usize, patient: (&str, &str, &str, &str), taken: UtcMs) -> anyhow::Result<DicomIdentity> {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let local =
        jiff::Timestamp::from_millisecond(taken.0).map_err(|e| anyhow!("exam time: {e}"))?.to_zoned(zone);
    let uid = |what: &str| uid(&format!("{SEED}/{number}/{}/{what}", taken.0));
    let (name, id, sex, birth_date) = patient;
    Ok(DicomIdentity {
        study_uid: uid("study"),
        series_uid: uid("series"),
        instance_uid: uid("instance"),
        patient_id: id.to_owned(),
        patient_name: name.to_owned(),
        birth_date: birth_date.to_owned(),
        sex: sex.to_owned(),
        acquired: local.strftime("%Y%m%d%H%M%S").to_string(),
        offset_min: Some(8 * 60),
        accession: format!("ECG{number:04}"),
        institution: "示范乡镇卫生院".to_owned(),
        station: "CART01".to_owned(),
    })
}

/// A UID under 2.25 (PS3.5 §B.2) from the BLAKE3 of a text.
fn uid(text: &str) -> String {
    let hash = blake3::hash(format!("relay demo {text}").as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    format!("2.25.{}", u128::from_be_bytes(half))
}
