//! GE MUSE `RestingECG` XML (MUSE XML 5 to 9): base64 16-bit leads, two `Waveform` blocks of which `Rhythm` is the ECG.

use super::xml::{At, Tree, number, samples16};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, Samples};
use crate::limits::{MAX_ITEMS, MAX_LEADS};
use crate::model::{Acquired, DeviceMark, Ecg, NotEcg, PacingMark};
use crate::text;

const MEASUREMENTS: [(&str, &str, &str); 13] = [
    ("VentricularRate", "rate_bpm", "/min"),
    ("AtrialRate", "atrial_rate_bpm", "/min"),
    ("PRInterval", "pr_ms", "ms"),
    ("PDuration", "p_ms", "ms"),
    ("QRSDuration", "qrs_ms", "ms"),
    ("QTInterval", "qt_ms", "ms"),
    // MUSE corrects by Bazett in this element.
    ("QTCorrected", "qtcb_ms", "ms"),
    ("QTcFrederica", "qtcf_ms", "ms"),
    ("QTcFramingham", "qtcfr_ms", "ms"),
    ("PAxis", "p_axis_deg", "deg"),
    ("RAxis", "qrs_axis_deg", "deg"),
    ("TAxis", "t_axis_deg", "deg"),
    ("QRSCount", "qrs_count", "1"),
];

/// Reads a MUSE document.
///
/// # Errors
/// Not well formed, no rhythm block, leads whose sample count contradicts their bytes, unknown amplitude units.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Muse)?;
    let root = tree.root();
    let mut ecg = Ecg::new(Format::Muse);
    ecg.variant = root.path(&["MuseInfo", "MuseVersion"]).map_or_else(String::new, |v| v.text().to_owned());
    facts(root, &mut ecg);
    for block in root.named("Waveform") {
        let kind = block.text_of("WaveformType").unwrap_or("Rhythm");
        let leads = waveform(block, &mut ecg)?;
        if kind.eq_ignore_ascii_case("median") {
            ecg.median = leads;
        } else if ecg.rhythm.is_empty() {
            ecg.rhythm = leads;
            ecg.device.filters = filters(block);
            pacing(block, &mut ecg);
        } else {
            ecg.warnings.push(format!("a further waveform of type {kind} is not read"));
        }
    }
    if ecg.rhythm.is_empty() {
        return Err(root.kind(ErrorKind::NotEcg, "holds no rhythm waveform"));
    }
    measurements(root, &mut ecg);
    Ok(ecg)
}

fn facts(root: At<'_>, ecg: &mut Ecg) {
    if let Some(who) = root.child("PatientDemographics") {
        let own = |n: &str| who.text_of(n).map(str::to_owned);
        ecg.patient.id = own("PatientID");
        let parts: Vec<String> =
            ["PatientLastName", "PatientFirstName"].iter().filter_map(|n| own(n)).collect();
        ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
        ecg.patient.birth_date = own("DateofBirth").map(|d| american_date(&d).unwrap_or(d));
        ecg.patient.sex = own("Gender").map(|g| g.chars().take(1).collect());
        ecg.patient.age = own("PatientAge");
    }
    if let Some(test) = root.child("TestDemographics") {
        let own = |n: &str| test.text_of(n).map(str::to_owned);
        ecg.device.institution = own("SiteName");
        ecg.device.model = own("AcquisitionDevice");
        ecg.device.software = own("AcquisitionSoftwareVersion").or_else(|| own("AnalysisSoftwareVersion"));
        ecg.device.manufacturer = Some("GE".into());
        if let Some(day) = own("AcquisitionDate") {
            let time = own("AcquisitionTime").unwrap_or_default();
            let stored = format!("{day} {time}");
            let local = american_date(&day).and_then(|d| text::iso_time(&format!("{d}T{time}")).0);
            ecg.acquired = Some(Acquired {
                text: stored.trim().into(),
                source: "AcquisitionDate".into(),
                local,
                offset_min: None,
            });
        }
    }
    let mut line = String::new();
    for statement in root.child("Diagnosis").iter().flat_map(|d| d.named("DiagnosisStatement")) {
        line.push_str(statement.text_of("StmtText").unwrap_or(""));
        if statement.named("StmtFlag").any(|f| f.text() == "ENDSLINE") {
            ecg.device.statements.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
    }
    let rest = line.trim();
    if !rest.is_empty() {
        ecg.device.statements.push(rest.to_owned());
    }
    ecg.device.statements.retain(|s| !s.trim().is_empty());
}

/// `MM-DD-YYYY` to ISO.
fn american_date(text: &str) -> Option<String> {
    let mut parts = text.split(['-', '/']);
    let (m, d, y) = (parts.next()?, parts.next()?, parts.next()?);
    (y.len() == 4 && m.len() <= 2 && d.len() <= 2).then(|| format!("{y}-{m:0>2}-{d:0>2}"))
}

fn filters(block: At<'_>) -> Filters {
    let hundredths = |v: f64| if v >= 1.0 { v / 100.0 } else { v };
    let notch = block.text_of("ACFilter").and_then(number).filter(|v| *v > 0.0);
    Filters {
        // stored in hundredths of a hertz: 16 is 0.16 Hz
        high_pass_hz: block.number_of("HighPassFilter").map(hundredths),
        low_pass_hz: block.number_of("LowPassFilter"),
        notch_hz: notch,
        other: Vec::new(),
    }
}

fn waveform(block: At<'_>, ecg: &mut Ecg) -> Result<Vec<Lead>, ReadError> {
    let base = block.number_of("SampleBase");
    let exponent = block.number_of("SampleExponent").unwrap_or(0.0);
    let rate = block.rate(base.map(|b| b * 10_f64.powf(exponent)))?;
    let mut leads = Vec::new();
    for data in block.named("LeadData") {
        if leads.len() >= MAX_LEADS {
            return Err(data.kind(ErrorKind::Limit, "too many leads"));
        }
        let label = data.text_of("LeadID").ok_or_else(|| data.malformed("has no LeadID"))?;
        let source = data
            .text_of("WaveFormData")
            .ok_or_else(|| data.malformed(format!("lead {label} has no WaveFormData")))?;
        let raw = data.base64(source)?;
        let size = data.number_of("LeadSampleSize").unwrap_or(2.0);
        if size != 2.0 {
            return Err(data.unsupported(format!("lead {label}: {size} bytes a sample; 2 are read")));
        }
        let samples = samples16(&raw);
        let stated = data.number_of("LeadSampleCountTotal");
        if stated.is_some_and(|n| n != samples.len() as f64) {
            let reason =
                format!("lead {label}: {} samples stated, {} stored", stated.unwrap_or(0.0), samples.len());
            return Err(data.kind(ErrorKind::Truncated, reason));
        }
        let per_bit = data.number_of("LeadAmplitudeUnitsPerBit").filter(|v| *v != 0.0);
        let per_bit =
            per_bit.ok_or_else(|| data.malformed(format!("lead {label} has no LeadAmplitudeUnitsPerBit")))?;
        let scale = match data.text_of("LeadAmplitudeUnits").unwrap_or("MICROVOLTS") {
            "MICROVOLTS" => per_bit,
            "MILLIVOLTS" => per_bit * 1000.0,
            other => return Err(data.malformed(format!("lead {label}: amplitude unit {other}"))),
        };
        if data.text_of("LeadOff") == Some("TRUE") {
            ecg.warnings.push(format!("the cart marks lead {label} as off"));
        }
        leads.push(Lead::new(label, rate, Samples::I16(samples), scale));
    }
    Ok(leads)
}

fn pacing(block: At<'_>, ecg: &mut Ecg) {
    let rate = ecg.rhythm.first().map_or(1.0, |l| l.rate_hz);
    let root_spikes = block.child("PaceSpikes");
    for spike in root_spikes.iter().flat_map(|p| p.children()).take(MAX_ITEMS) {
        let at =
            spike.number_of("Time").or_else(|| spike.number_of("Sample")).or_else(|| number(spike.text()));
        if let Some(at) = at {
            ecg.pacing.push(PacingMark {
                at_s: at / rate,
                amplitude_uv: spike.number_of("Amplitude"),
                width_us: spike.number_of("Width"),
            });
        }
    }
}

fn measurements(root: At<'_>, ecg: &mut Ecg) {
    let Some(block) = root.child("RestingECGMeasurements") else { return };
    for (element, key, unit) in MEASUREMENTS {
        if let Some(stored) = block.text_of(element) {
            ecg.device.measured(key, element, number(stored), unit);
        }
    }
    let times = root.child("QRSTimesTypes");
    if let Some(rr) = times.and_then(|t| t.number_of("GlobalRR")) {
        ecg.device.measured("rr_ms", "GlobalRR", Some(rr), "ms");
    }
    let base = block.number_of("ECGSampleBase").unwrap_or(500.0)
        * 10_f64.powf(block.number_of("ECGSampleExponent").unwrap_or(0.0));
    let points = [
        ("POnset", "p_on"),
        ("POffset", "p_off"),
        ("QOnset", "qrs_on"),
        ("QOffset", "qrs_off"),
        ("TOffset", "t_off"),
    ];
    for (element, what) in points {
        if let Some(at) = block.number_of(element).filter(|_| base > 0.0) {
            ecg.device.marks.push(DeviceMark { what: what.into(), at_s: at / base, on_median: true });
        }
    }
    for qrs in times.iter().flat_map(|t| t.named("QRS")).take(MAX_ITEMS) {
        if let Some(at) = qrs.number_of("Time") {
            let what = format!("beat:{}", qrs.text_of("Type").unwrap_or("0"));
            ecg.device.marks.push(DeviceMark { what, at_s: at / 1000.0, on_median: false });
        }
    }
    let full = ecg.duration_s();
    ecg.not_ecg.retain(|n: &NotEcg| n.start_s < full);
}
