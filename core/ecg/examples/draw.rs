//! Draws a file to standard output: `draw FILE [svg|pdf|json|dicom] > OUT`.

use std::io::Write as _;

use relay_ecg::draw::{Options, layout, pdf, svg};
use relay_ecg::write::{DicomIdentity, dicom};
use relay_ecg::{Hints, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("draw FILE [svg|pdf|json|dicom]")?;
    let ecg = read(&std::fs::read(&path)?, &Hints { name: Some(&path), ..Hints::default() })?;
    let paper = layout(&ecg, &Options::default());
    let out = match args.next().as_deref() {
        Some("pdf") => pdf(&paper, &|_| None),
        Some("json") => paper.json().to_string().into_bytes(),
        Some("dicom") => {
            let identity = DicomIdentity {
                study_uid: "2.25.11".into(),
                series_uid: "2.25.12".into(),
                instance_uid: "2.25.13".into(),
                patient_id: "X".into(),
                acquired: "20260102083000".into(),
                ..DicomIdentity::default()
            };
            dicom(&ecg, &identity)?
        }
        _ => svg(&paper).into_bytes(),
    };
    std::io::stdout().write_all(&out)?;
    Ok(())
}
