//! Files of every format, made here from one record: seeds of the fuzz targets, and variants that no sample file holds.
//!
//! Written from the formats' descriptions, not with the library's writers (except DICOM and SCP-ECG), so that a reader's
//! mistake does not hide in its own mirror.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test that includes this file uses a part of it"
)]

mod binary;
mod text;

pub use binary::{contec, crc, edf, healforce, ishne, mfer, pdf, wfdb};
pub use text::{aecg, cardiosoft, mortara, muse, schiller, sierra};

use relay_ecg::synth::{self, Spec};
use relay_ecg::write::{self, DicomIdentity, ScpIdentity};
use relay_ecg::{Ecg, Format, Lead};

/// A made file, and the further files of its record.
#[derive(Debug, Clone)]
pub struct Specimen {
    /// What it is.
    pub format: Format,
    /// Its file name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Further files of the record.
    pub companions: Vec<(&'static str, Vec<u8>)>,
}

/// Every format that has samples, and PDF.
pub const FORMATS: [Format; 15] = [
    Format::Aecg,
    Format::Cardiosoft,
    Format::Contec,
    Format::Dicom,
    Format::Edf,
    Format::Healforce,
    Format::Ishne,
    Format::Mfer,
    Format::Mortara,
    Format::Muse,
    Format::Pdf,
    Format::Schiller,
    Format::Scp,
    Format::Sierra,
    Format::Wfdb,
];

/// A short record: small enough to be a seed.
pub fn record() -> Ecg {
    synth::ecg(&Spec { seconds: 1.2, rate_hz: 100.0, ..Spec::normal(5) })
}

/// The stored integers of a lead.
pub fn stored(lead: &Lead) -> Vec<i32> {
    (0..lead.len()).map(|i| lead.samples.get(i).expect("in range")).collect()
}

/// `ecg` as a file of `format`.
pub fn make(format: Format, ecg: &Ecg) -> Specimen {
    let (name, bytes) = match format {
        Format::Dicom => ("made.dcm", dicom(ecg)),
        Format::Scp => ("made.scp", scp(ecg)),
        Format::Aecg => ("made.xml", aecg(ecg).into_bytes()),
        Format::Muse => ("made.xml", muse(ecg).into_bytes()),
        Format::Sierra => ("made.xml", sierra(ecg, "1.04").into_bytes()),
        Format::Mortara => ("made.xml", mortara(ecg).into_bytes()),
        Format::Cardiosoft => ("made.xml", cardiosoft(ecg).into_bytes()),
        Format::Schiller => ("made.xml", schiller(ecg).into_bytes()),
        Format::Edf => ("made.edf", edf(ecg)),
        Format::Mfer => ("made.mwf", mfer(ecg, false)),
        Format::Ishne => ("made.ecg", ishne(ecg)),
        Format::Contec => ("made.ECG", contec(ecg)),
        Format::Healforce => ("made.scp", healforce(ecg)),
        Format::Pdf => ("made.pdf", pdf()),
        Format::Image => ("made.png", b"\x89PNG\r\n\x1a\nmade".to_vec()),
        Format::Wfdb => {
            let (header, signal) = wfdb(ecg, 16);
            return Specimen {
                format,
                name: "made.hea",
                bytes: header,
                companions: vec![("made.dat", signal)],
            };
        }
    };
    Specimen { format, name, bytes, companions: Vec::new() }
}

fn dicom(ecg: &Ecg) -> Vec<u8> {
    let identity = DicomIdentity {
        study_uid: "2.25.1".into(),
        series_uid: "2.25.2".into(),
        instance_uid: "2.25.3".into(),
        patient_id: "P1".into(),
        patient_name: "Zhang^San=张^三".into(),
        acquired: "20240305093015".into(),
        ..DicomIdentity::default()
    };
    write::dicom(ecg, &identity).expect("the record fits DICOM")
}

fn scp(ecg: &Ecg) -> Vec<u8> {
    let identity =
        ScpIdentity { patient_id: "P1".into(), acquired: (2024, 3, 5, 9, 30, 15), ..ScpIdentity::default() };
    write::scp(ecg, &identity).expect("the record fits SCP-ECG")
}
