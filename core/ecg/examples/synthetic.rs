//! A synthetic ECG on standard output: `synthetic [normal|stemi|af|eighteen] [dicom|scp] > FILE`.

use std::io::Write as _;

use relay_ecg::synth::{Spec, ecg};
use relay_ecg::write::{DicomIdentity, ScpIdentity, dicom, scp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let spec = match args.next().as_deref() {
        Some("stemi") => Spec::inferior_stemi(1),
        Some("af") => Spec::atrial_fibrillation(1),
        Some("eighteen") => Spec::normal(1).with_eighteen_leads(),
        _ => Spec::normal(1),
    };
    let record = ecg(&spec);
    let bytes = if args.next().as_deref() == Some("scp") {
        scp(
            &record,
            &ScpIdentity {
                patient_id: "SYNTH".into(),
                acquired: (2026, 1, 2, 8, 30, 0),
                ..ScpIdentity::default()
            },
        )?
    } else {
        let identity = DicomIdentity {
            study_uid: "2.25.1001".into(),
            series_uid: "2.25.1002".into(),
            instance_uid: "2.25.1003".into(),
            patient_id: "SYNTH".into(),
            patient_name: "Zhang^San=张^三".into(),
            birth_date: "19600101".into(),
            sex: "M".into(),
            acquired: "20260102083000".into(),
            offset_min: Some(480),
            ..DicomIdentity::default()
        };
        dicom(&record, &identity)?
    };
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}
