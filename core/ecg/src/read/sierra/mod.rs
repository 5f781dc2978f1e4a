//! Philips Sierra XML 1.03, 1.04 and 1.04.01 (PageWriter, TraceMaster exports), plain or XLI compressed.
//!
//! Carts store 11 s per lead; the 11th second is not ECG (a 1 mV, 200 ms calibration pulse, then zeros). It is kept and marked.

mod xli;

use super::xml::{At, Tree, number, samples16};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, STANDARD_12, Samples};
use crate::limits::MAX_LEADS;
use crate::model::{Acquired, DeviceMark, Ecg};
use crate::text;

const MEASUREMENTS: [(&str, &str, &str); 12] = [
    ("heartrate", "rate_bpm", "/min"),
    ("meanventrate", "rate_bpm", "/min"),
    ("atrialrate", "atrial_rate_bpm", "/min"),
    ("rrint", "rr_ms", "ms"),
    ("print", "pr_ms", "ms"),
    ("qrsdur", "qrs_ms", "ms"),
    ("qtint", "qt_ms", "ms"),
    ("qtcb", "qtcb_ms", "ms"),
    ("qtcf", "qtcf_ms", "ms"),
    ("pfrontaxis", "p_axis_deg", "deg"),
    ("qrsfrontaxis", "qrs_axis_deg", "deg"),
    ("tfrontaxis", "t_axis_deg", "deg"),
];

/// Names the same values carry in the measurement block of schema 1.03 and 1.04.
const MEAN_MEASUREMENTS: [(&str, &str, &str); 5] = [
    ("meanprint", "pr_ms", "ms"),
    ("meanqrsdur", "qrs_ms", "ms"),
    ("meanqtint", "qt_ms", "ms"),
    ("meanqtc", "qtc_ms", "ms"),
    ("numberofcomplexes", "qrs_count", "1"),
];

/// Reads a Sierra document.
///
/// # Errors
/// Wrong document type or version, no waveforms, an unknown compression, chunks beyond the data.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Sierra)?;
    let root = tree.root();
    let mut ecg = Ecg::new(Format::Sierra);
    let info = root.child("documentinfo").ok_or_else(|| root.malformed("has no documentinfo"))?;
    let kind = info.child("documenttype").ok_or_else(|| info.malformed("has no documenttype"))?;
    if !matches!(kind.text(), "SierraECG" | "PhilipsECG") {
        return Err(kind.malformed(format!("'{}' is neither SierraECG nor PhilipsECG", kind.text())));
    }
    let version = info.text_of("documentversion").unwrap_or("");
    if !matches!(version, "1.03" | "1.04" | "1.04.01") {
        return Err(
            info.unsupported(format!("document version '{version}'; 1.03, 1.04 and 1.04.01 are read"))
        );
    }
    ecg.variant = version.to_owned();
    facts(root, &mut ecg);
    rhythm(root, &mut ecg)?;
    beats(root, &mut ecg)?;
    measurements(root, &mut ecg);
    super::calibration::mark(&mut ecg);
    Ok(ecg)
}

fn rhythm(root: At<'_>, ecg: &mut Ecg) -> Result<(), ReadError> {
    let waves = root
        .find("parsedwaveforms")
        .ok_or_else(|| root.kind(ErrorKind::NotEcg, "holds no parsedwaveforms"))?;
    let signal = root.find("signalcharacteristics");
    let of = |attribute: &str, element: &str| {
        waves.attr(attribute).and_then(number).or_else(|| signal.and_then(|s| s.number_of(element)))
    };
    let rate = waves.rate(of("samplespersecond", "samplingrate"))?;
    let scale =
        of("resolution", "resolution").or_else(|| signal.and_then(|s| s.number_of("signalresolution")));
    let scale = scale.filter(|s| *s > 0.0).ok_or_else(|| waves.malformed("states no resolution"))?;
    let bits = waves.attr("bitspersample").or_else(|| waves.attr("nbitspersample")).unwrap_or("16");
    if bits != "16" {
        return Err(waves.unsupported(format!("{bits} bits a sample; 16 are read")));
    }
    if !waves.attr("dataencoding").unwrap_or("Base64").eq_ignore_ascii_case("Base64") {
        return Err(waves.unsupported(format!("encoding {}", waves.attr("dataencoding").unwrap_or(""))));
    }
    let labels = labels(root, waves);
    let count =
        of("numberofleads", "numberchannelsvalid").map_or(labels.len(), |n| n as usize).min(MAX_LEADS);
    let raw = waves.base64(waves.text())?;
    let compressed = waves.attr("compressmethod").or_else(|| waves.attr("compression")).unwrap_or("");
    let flagged = waves.attr("compressflag").is_none_or(|f| f.eq_ignore_ascii_case("True"));
    let leads = if compressed.eq_ignore_ascii_case("XLI") && flagged {
        let mut leads = xli::decode(&raw)?;
        leads.truncate(count);
        if labels.iter().map(String::as_str).take(6).eq(STANDARD_12.iter().take(6).map(|l| l.name())) {
            xli::restore_limb_leads(&mut leads);
        }
        leads
    } else if compressed.is_empty() || compressed.eq_ignore_ascii_case("Uncompressed") || !flagged {
        let samples = samples16(&raw);
        let per_lead = samples.len() / count.max(1);
        samples
            .chunks_exact(per_lead.max(1))
            .take(count)
            .map(|c| c.iter().map(|v| i32::from(*v)).collect())
            .collect()
    } else {
        return Err(waves.unsupported(format!("compression '{compressed}'; XLI and none are read")));
    };
    if leads.len() < count || labels.len() < leads.len() {
        let reason = format!("{count} leads stated, {} stored, {} named", leads.len(), labels.len());
        return Err(waves.kind(ErrorKind::Truncated, reason));
    }
    // A chunk may carry padding past the stated length.
    let stated =
        waves.attr("durationperchannel").and_then(number).map(|ms| (ms * rate / 1000.0).round() as usize);
    for (label, mut values) in labels.iter().zip(leads) {
        match stated {
            Some(n) if values.len() < n => {
                return Err(waves.kind(
                    ErrorKind::Truncated,
                    format!("lead {label}: {n} samples stated, {} stored", values.len()),
                ));
            }
            Some(n) => values.truncate(n),
            None => {}
        }
        ecg.rhythm.push(Lead::new(label, rate, Samples::narrowest(values), scale));
    }
    Ok(())
}

fn labels(root: At<'_>, waves: At<'_>) -> Vec<String> {
    let split = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if let Some(stated) = waves.attr("leadlabels").map(split).filter(|l| !l.is_empty()) {
        return stated;
    }
    let repeated = root
        .descendants()
        .filter(|n| n.name() == "leadmeasurement")
        .filter_map(|m| m.attr("leadname"))
        .map(str::to_owned);
    let measured: Vec<String> = repeated.collect();
    let standard = || STANDARD_12.iter().map(|l| l.name().to_owned()).collect();
    if measured.len() >= STANDARD_12.len() { measured } else { standard() }
}

/// Representative beats: 1.03 holds the samples in `repbeat`, 1.04 in `repbeat/waveform`.
fn beats(root: At<'_>, ecg: &mut Ecg) -> Result<(), ReadError> {
    let Some(set) = root.find("repbeats") else { return Ok(()) };
    let rate = set.rate(set.attr("samplespersec").and_then(number))?;
    let scale = set
        .attr("resolution")
        .and_then(number)
        .filter(|s| *s > 0.0)
        .ok_or_else(|| set.malformed("has no resolution"))?;
    for beat in set.named("repbeat").take(MAX_LEADS) {
        let label = beat.attr("leadname").ok_or_else(|| beat.malformed("has no leadname"))?;
        let holder = beat.child("waveform").unwrap_or(beat);
        let samples = samples16(&holder.base64(holder.text())?);
        ecg.median.push(Lead::new(label, rate, Samples::I16(samples), scale));
    }
    let filled = |l: &Lead| l.samples.iter().filter(|v| *v == i32::from(i16::MAX)).count() * 4 > l.len();
    if ecg.median.iter().any(filled) {
        ecg.warnings.push("representative beats are filled up with 32767 after their end".into());
    }
    Ok(())
}

fn facts(root: At<'_>, ecg: &mut Ecg) {
    if let Some(who) = root.path(&["patient", "generalpatientdata"]) {
        let own = |n: &str| who.text_of(n).filter(|t| *t != "---").map(str::to_owned);
        ecg.patient.id = own("patientid");
        let name = who.child("name");
        let parts: Vec<&str> = ["lastname", "firstname"]
            .iter()
            .filter_map(|n| name.and_then(|m| m.text_of(n)).filter(|t| *t != "---"))
            .collect();
        ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
        ecg.patient.sex = own("sex").map(|s| s.chars().take(1).collect());
        let age = who.child("age");
        ecg.patient.birth_date = age.and_then(|a| a.text_of("dateofbirth")).map(text::date);
        ecg.patient.age = age.and_then(|a| a.text_of("years")).map(str::to_owned);
    }
    if let Some(taken) = root.child("dataacquisition") {
        if let (Some(day), Some(time)) = (taken.attr("date"), taken.attr("time")) {
            let stored = format!("{day}T{time}");
            let (local, offset_min) = text::iso_time(&stored);
            ecg.acquired =
                Some(Acquired { text: stored, source: "dataacquisition".into(), local, offset_min });
        }
        let machine = taken.child("machine");
        ecg.device.model = machine.map(|m| m.text().to_owned()).filter(|m| !m.is_empty());
        ecg.device.serial = machine.and_then(|m| m.attr("machineid")).map(str::to_owned);
        ecg.device.software =
            machine.and_then(|m| m.attr("detaildescription")).filter(|d| !d.is_empty()).map(str::to_owned);
        ecg.device.manufacturer = Some("Philips".into());
        ecg.device.institution =
            taken.child("acquirer").and_then(|a| a.text_of("institutionname")).map(str::to_owned);
    }
    if let Some(signal) = root.find("signalcharacteristics") {
        let band = signal.text_of("signalbandwidth").and_then(|b| b.split_once('-'));
        let notched = signal.text_of("notchfiltered") == Some("True");
        ecg.device.filters = Filters {
            high_pass_hz: signal.number_of("hipass").or_else(|| band.and_then(|(l, _)| number(l))),
            low_pass_hz: signal.number_of("lowpass").or_else(|| band.and_then(|(_, h)| number(h))),
            notch_hz: signal.number_of("notchfilterfreqs").filter(|_| notched),
            other: Vec::new(),
        };
    }
}

fn measurements(root: At<'_>, ecg: &mut Ecg) {
    let interpretation = root.find("interpretation");
    let global = root.find("globalmeasurements").or_else(|| root.find("crossleadmeasurements"));
    let preferred = interpretation.and_then(|i| i.child("interpretationmeasurements"));
    for (block, table) in
        [(preferred, &MEASUREMENTS[..]), (global, &MEASUREMENTS[..]), (global, &MEAN_MEASUREMENTS[..])]
    {
        let Some(block) = block else { continue };
        for (element, key, unit) in table {
            let have = ecg.device.measurements.iter().any(|m| m.key == *key);
            if let Some(stored) = block.text_of(element).filter(|_| !have) {
                // `Failed`, `Invalid`, `Indeterminate` are kept as "not measurable"
                ecg.device.measured(key, *element, number(stored), unit);
            }
        }
    }
    for group in root.find("groupmeasurements").iter().flat_map(|g| g.named("groupmeasurement")).take(1) {
        if let Some(rr) = group.number_of("meanrrint").filter(|_| ecg.device.value("rr_ms").is_none()) {
            ecg.device.measured("rr_ms", "meanrrint", Some(rr), "ms");
        }
    }
    if let Some(interpretation) = interpretation {
        for statement in interpretation.named("statement") {
            if let Some(words) = statement.text_of("leftstatement") {
                ecg.device.statements.push(words.to_owned());
            }
        }
        if let Some(severity) = interpretation.text_of("severity") {
            ecg.device.statements.push(severity.to_owned());
        }
    }
    for (element, what) in
        [("pon", "p_on"), ("qrson", "qrs_on"), ("qrsoff", "qrs_off"), ("ton", "t_on"), ("toff", "t_off")]
    {
        if let Some(at) = global.and_then(|g| g.number_of(element)) {
            ecg.device.marks.push(DeviceMark { what: what.into(), at_s: at / 1000.0, on_median: false });
        }
    }
}
