//! GE CardioSoft `CardiologyXML`: comma separated samples in `StripData`, median beat in `MedianSamples`.

use super::xml::{At, Tree, number};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, Samples};
use crate::limits::MAX_LEADS;
use crate::model::{Acquired, DeviceMark, Ecg};
use crate::text;

const MEASUREMENTS: [(&str, &str, &str); 12] = [
    ("VentricularRate", "rate_bpm", "/min"),
    ("PQInterval", "pr_ms", "ms"),
    ("PDuration", "p_ms", "ms"),
    ("QRSDuration", "qrs_ms", "ms"),
    ("QTInterval", "qt_ms", "ms"),
    ("QTCInterval", "qtc_ms", "ms"),
    ("RRInterval", "rr_ms", "ms"),
    ("PPInterval", "pp_ms", "ms"),
    ("PAxis", "p_axis_deg", "deg"),
    ("RAxis", "qrs_axis_deg", "deg"),
    ("TAxis", "t_axis_deg", "deg"),
    ("QRSNum", "qrs_count", "1"),
];

/// Reads a CardioSoft document (resting ECG).
///
/// # Errors
/// Not well formed, no `StripData`, a block without rate or resolution, sample counts that contradict each other.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Cardiosoft)?;
    let root = tree.root();
    let mut ecg = Ecg::new(Format::Cardiosoft);
    ecg.variant = root.text_of("ObservationType").unwrap_or("").to_owned();
    let strip = root.child("StripData").ok_or_else(|| root.kind(ErrorKind::NotEcg, "holds no StripData"))?;
    ecg.rhythm = block(strip)?;
    let measured = root.child("RestingECGMeasurements");
    if let Some(median) = measured.and_then(|m| m.child("MedianSamples")) {
        ecg.median = block(median)?;
    }
    if ecg.rhythm.is_empty() {
        return Err(strip.kind(ErrorKind::NotEcg, "holds no WaveformData"));
    }
    facts(root, &mut ecg);
    for (element, key, unit) in MEASUREMENTS {
        if let Some(stored) = measured.and_then(|m| m.text_of(element)) {
            ecg.device.measured(key, element, number(stored), unit);
        }
    }
    let points = [
        ("POnset", "p_on"),
        ("POffset", "p_off"),
        ("QOnset", "qrs_on"),
        ("QOffset", "qrs_off"),
        ("TOffset", "t_off"),
    ];
    for (element, what) in points {
        if let Some(at) = measured.and_then(|m| m.number_of(element)) {
            ecg.device.marks.push(DeviceMark { what: what.into(), at_s: at / 1000.0, on_median: true });
        }
    }
    Ok(ecg)
}

fn block(node: At<'_>) -> Result<Vec<Lead>, ReadError> {
    let rate = node.rate(node.number_of("SampleRate"))?;
    let resolution = node.child("Resolution").ok_or_else(|| node.malformed("has no Resolution"))?;
    let scale =
        number(resolution.text()).filter(|s| *s > 0.0).ok_or_else(|| resolution.malformed("is no scale"))?;
    let scale = match resolution.attr("units").unwrap_or("uVperLsb") {
        "uVperLsb" => scale,
        "mVperLsb" => scale * 1000.0,
        other => return Err(resolution.malformed(format!("unit {other}"))),
    };
    let stated = node.number_of("ChannelSampleCountTotal");
    let mut leads = Vec::new();
    for data in node.named("WaveformData") {
        if leads.len() >= MAX_LEADS {
            return Err(data.kind(ErrorKind::Limit, "too many leads"));
        }
        let label = data.attr("lead").ok_or_else(|| data.malformed("names no lead"))?;
        let (values, decimal) = data.digits(data.text())?;
        if stated.is_some_and(|n| n != values.len() as f64) {
            let reason =
                format!("lead {label}: {} samples stated, {} stored", stated.unwrap_or(0.0), values.len());
            return Err(data.kind(ErrorKind::Truncated, reason));
        }
        leads.push(Lead::new(label, rate, Samples::narrowest(values), scale * decimal));
    }
    Ok(leads)
}

fn facts(root: At<'_>, ecg: &mut Ecg) {
    if let Some(who) = root.child("PatientInfo") {
        let own = |n: &str| who.text_of(n).map(str::to_owned);
        ecg.patient.id = own("PID");
        let parts: Vec<&str> = ["FamilyName", "GivenName"]
            .iter()
            .filter_map(|n| who.child("Name").and_then(|m| m.text_of(n)))
            .collect();
        ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
        ecg.patient.sex = own("Gender").map(|g| g.chars().take(1).collect());
        ecg.patient.age = own("Age");
        ecg.patient.birth_date = who.child("BirthDateTime").and_then(|b| {
            let n = |name: &str| b.number_of(name).map(|v| v as u32);
            Some(format!("{:04}-{:02}-{:02}", n("Year")?, n("Month")?, n("Day")?))
        });
    }
    if let Some(time) = root.child("ObservationDateTime") {
        let n = |name: &str| time.text_of(name).unwrap_or("0");
        let local = text::civil(n("Year"), n("Month"), n("Day"), n("Hour"), n("Minute"), n("Second"), "");
        let stored = local.clone().unwrap_or_else(|| "unreadable".into());
        ecg.acquired =
            Some(Acquired { text: stored, source: "ObservationDateTime".into(), local, offset_min: None });
    }
    if let Some(info) = root.path(&["ClinicalInfo", "DeviceInfo"]) {
        ecg.device.model = info.text_of("Desc").map(str::to_owned);
        ecg.device.software = info.text_of("SoftwareVer").map(str::to_owned);
        ecg.device.manufacturer = Some("GE".into());
    }
    if let Some(set) = root.child("FilterSetting") {
        let on = |n: &str| set.text_of(n) == Some("Yes");
        let notch = if on("Filter50Hz") {
            Some(50.0)
        } else if on("Filter60Hz") {
            Some(60.0)
        } else {
            None
        };
        let other = if on("CubicSpline") { vec!["cubic spline baseline".to_owned()] } else { Vec::new() };
        ecg.device.filters = Filters {
            high_pass_hz: set.number_of("HighPass"),
            low_pass_hz: set.number_of("LowPass"),
            notch_hz: notch,
            other,
        };
    }
    let diagnosis = root.path(&["Interpretation", "Diagnosis"]);
    let lines = diagnosis.iter().flat_map(|d| d.named("DiagnosisText")).map(|t| t.text());
    ecg.device.statements.extend(lines.filter(|l| !l.is_empty() && *l != "---").map(str::to_owned));
}
