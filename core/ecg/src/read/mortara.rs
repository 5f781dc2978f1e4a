//! Mortara ELI XML: `ECG/CHANNEL` with base64 or comma separated samples, `TYPICAL_CYCLE` as the median beat.

use super::xml::{At, Tree, number, samples16};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, Samples};
use crate::limits::MAX_LEADS;
use crate::model::{Acquired, DeviceMark, Ecg};
use crate::text;

const MEASUREMENTS: [(&str, &str, &str); 13] = [
    ("VENT_RATE", "rate_bpm", "/min"),
    ("ATRIAL_RATE", "atrial_rate_bpm", "/min"),
    ("AVERAGE_RR", "rr_ms", "ms"),
    ("P_DURATION", "p_ms", "ms"),
    ("PR_DURATION", "pr_ms", "ms"),
    ("QRS_DURATION", "qrs_ms", "ms"),
    ("QT_DURATION", "qt_ms", "ms"),
    ("QTC", "qtc_ms", "ms"),
    ("QTCB", "qtcb_ms", "ms"),
    ("QTCF", "qtcf_ms", "ms"),
    ("P_AXIS", "p_axis_deg", "deg"),
    ("QRS_AXIS", "qrs_axis_deg", "deg"),
    ("T_AXIS", "t_axis_deg", "deg"),
];

/// Reads an ELI document.
///
/// # Errors
/// Not well formed, no `CHANNEL`, a channel without rate or scale, samples that contradict `DURATION`.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Mortara)?;
    let root = tree.root();
    let mut ecg = Ecg::new(Format::Mortara);
    for channel in root.named("CHANNEL") {
        if ecg.rhythm.len() >= MAX_LEADS {
            return Err(channel.kind(ErrorKind::Limit, "too many channels"));
        }
        ecg.rhythm.push(lead(channel, channel)?);
    }
    if ecg.rhythm.is_empty() {
        return Err(root.kind(ErrorKind::NotEcg, "holds no CHANNEL"));
    }
    if let Some(cycle) = root.child("TYPICAL_CYCLE") {
        for channel in cycle.named("TYPICAL_CYCLE_CHANNEL").take(MAX_LEADS) {
            ecg.median.push(lead(channel, cycle)?);
        }
        let rate = cycle.attr("SAMPLE_FREQ").and_then(number).filter(|r| *r > 0.0);
        let points = [
            ("P_ONSET", "p_on"),
            ("P_OFFSET", "p_off"),
            ("Q_ONSET", "qrs_on"),
            ("Q_OFFSET", "qrs_off"),
            ("T_OFFSET", "t_off"),
            ("R_PEAK", "fiducial"),
        ];
        for (attribute, what) in points {
            // milliseconds of the cycle
            if let (Some(at), true) = (cycle.attr(attribute).and_then(number), rate.is_some()) {
                ecg.device.marks.push(DeviceMark { what: what.into(), at_s: at / 1000.0, on_median: true });
            }
        }
    }
    facts(root, &mut ecg);
    Ok(ecg)
}

fn lead(channel: At<'_>, shared: At<'_>) -> Result<Lead, ReadError> {
    let attribute = |name: &str| channel.attr(name).or_else(|| shared.attr(name));
    let label = attribute("NAME").ok_or_else(|| channel.malformed("has no NAME"))?;
    let rate = channel.rate(attribute("SAMPLE_FREQ").and_then(number))?;
    let units = attribute("UNITS_PER_MV").and_then(number).filter(|u| *u > 0.0);
    let units = units.ok_or_else(|| channel.malformed(format!("lead {label} has no UNITS_PER_MV")))?;
    let source = attribute("DATA").unwrap_or_else(|| channel.text());
    let signed = attribute("FORMAT").unwrap_or("SIGNED").eq_ignore_ascii_case("SIGNED");
    let base64 = attribute("ENCODING").unwrap_or("BASE64").eq_ignore_ascii_case("BASE64");
    let samples = match (base64, attribute("BITS").unwrap_or("16")) {
        (true, "16") if signed => Samples::I16(samples16(&channel.base64(source)?)),
        (true, bits) => {
            return Err(channel.unsupported(format!("lead {label}: {bits} bits, signed: {signed}")));
        }
        (false, _) => Samples::narrowest(channel.digits(source)?.0),
    };
    let stated = attribute("DURATION").and_then(number);
    if stated.is_some_and(|n| n != samples.len() as f64) {
        let reason =
            format!("lead {label}: DURATION {} but {} samples", stated.unwrap_or(0.0), samples.len());
        return Err(channel.kind(ErrorKind::Truncated, reason));
    }
    Ok(Lead::new(label, rate, samples, 1000.0 / units))
}

fn facts(root: At<'_>, ecg: &mut Ecg) {
    for (attribute, key, unit) in MEASUREMENTS {
        if let Some(stored) = root.attr(attribute) {
            ecg.device.measured(key, attribute, number(stored), unit);
        }
    }
    if let Some(stored) = root.attr("ACQUISITION_TIME_XML").or_else(|| root.attr("ACQUISITION_TIME")) {
        let (local, offset_min) = text::iso_time(stored);
        ecg.acquired =
            Some(Acquired { text: stored.into(), source: "ACQUISITION_TIME".into(), local, offset_min });
    }
    if let Some(who) = root.child("SUBJECT") {
        let own = |n: &str| who.attr(n).filter(|t| !t.is_empty()).map(str::to_owned);
        let parts: Vec<String> = ["LAST_NAME", "FIRST_NAME"].iter().filter_map(|n| own(n)).collect();
        ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
        ecg.patient.id = own("ID");
        ecg.patient.sex = own("GENDER").map(|g| g.chars().take(1).collect());
        ecg.patient.birth_date = own("DOB_XML").or_else(|| own("DOB")).map(|d| text::date(&d));
    }
    ecg.patient.age = root.attr("AGE").map(str::to_owned);
    if let Some(source) = root.child("SOURCE") {
        let own = |n: &str| source.attr(n).filter(|t| !t.is_empty()).map(str::to_owned);
        let hertz = |n: &str| source.attr(n).and_then(number).filter(|v| *v > 0.0);
        (ecg.device.manufacturer, ecg.device.model, ecg.device.serial) =
            (own("MANUFACTURER"), own("MODEL"), own("SERIAL"));
        ecg.device.filters = Filters {
            high_pass_hz: hertz("LOW_FREQ_FILTER"),
            low_pass_hz: hertz("HIGH_FREQ_FILTER"),
            notch_hz: hertz("AC_FILTER"),
            other: Vec::new(),
        };
    }
    let statements = root.child("AUTOMATIC_INTERPRETATION");
    for statement in statements.iter().flat_map(|i| i.named("STATEMENT")) {
        let words = [statement.attr("TEXT"), statement.attr("REASON")];
        let line = words.iter().flatten().filter(|w| !w.is_empty()).copied().collect::<Vec<_>>().join(" — ");
        if !line.is_empty() {
            ecg.device.statements.push(line);
        }
    }
}
