//! HL7 v3 annotated ECG (FDA aECG implementation guide, 2005): rhythm and derived series, annotations, control variables.

use super::xml::{At, Tree, number};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, LeadId, Samples};
use crate::limits::MAX_ITEMS;
use crate::model::{Acquired, DeviceMark, Ecg, SeriesPlace};
use crate::text;

/// MDC annotation codes to keys.
const MEASUREMENTS: [(&str, &str, &str); 22] = [
    ("MDC_ECG_HEART_RATE", "rate_bpm", "/min"),
    ("MDC_ECG_HEART_RATE_ATRIAL", "atrial_rate_bpm", "/min"),
    ("MDC_ECG_TIME_PD_RR", "rr_ms", "ms"),
    ("MDC_ECG_TIME_PD_RR_GL", "rr_ms", "ms"),
    ("MDC_ECG_TIME_PD_PP", "pp_ms", "ms"),
    ("MDC_ECG_TIME_PD_P", "p_ms", "ms"),
    ("MDC_ECG_TIME_PD_P_GL", "p_ms", "ms"),
    ("MDC_ECG_TIME_PD_PR", "pr_ms", "ms"),
    ("MDC_ECG_TIME_PD_PR_GL", "pr_ms", "ms"),
    ("MDC_ECG_TIME_PD_PQ", "pr_ms", "ms"),
    ("MDC_ECG_TIME_PD_QRS", "qrs_ms", "ms"),
    ("MDC_ECG_TIME_PD_QRS_GL", "qrs_ms", "ms"),
    ("MDC_ECG_TIME_PD_QT", "qt_ms", "ms"),
    ("MDC_ECG_TIME_PD_QT_GL", "qt_ms", "ms"),
    ("MDC_ECG_TIME_PD_QTc", "qtc_ms", "ms"),
    ("MDC_ECG_TIME_PD_QTC", "qtc_ms", "ms"),
    ("MDC_ECG_TIME_PD_QTcB", "qtcb_ms", "ms"),
    ("MDC_ECG_TIME_PD_QTcF", "qtcf_ms", "ms"),
    ("MDC_ECG_ANGLE_P_FRONT", "p_axis_deg", "deg"),
    ("MDC_ECG_ANGLE_QRS_FRONT", "qrs_axis_deg", "deg"),
    ("MDC_ECG_ANGLE_T_FRONT", "t_axis_deg", "deg"),
    ("MDC_ECG_QRS_COUNT", "qrs_count", "1"),
];

/// Reads an aECG document. A document with several rhythm series is read to its first; its place in the series is kept.
///
/// # Errors
/// Not well formed, no rhythm series, a sequence without time base or scale, digits that are no numbers.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Aecg)?;
    let root = tree.root();
    if root.name() != "AnnotatedECG" {
        return Err(root.malformed("is not AnnotatedECG"));
    }
    let mut ecg = Ecg::new(Format::Aecg);
    let all: Vec<At<'_>> = root.named("component").filter_map(|c| c.child("series")).collect();
    let coded = |s: &At<'_>, code: &str| s.child("code").and_then(|c| c.attr("code")) == Some(code);
    let rhythms: Vec<&At<'_>> = all.iter().filter(|s| !coded(s, "REPRESENTATIVE_BEAT")).collect();
    let Some(series) = rhythms.first() else {
        return Err(root.kind(ErrorKind::NotEcg, "holds no rhythm series"));
    };
    if rhythms.len() > 1 {
        ecg.warnings.push(format!("1 of {} rhythm series is read", rhythms.len()));
        ecg.series = Some(place(&rhythms));
    }
    person(root, &mut ecg);
    device(**series, &mut ecg);
    ecg.rhythm = sequences(**series, &mut ecg.warnings)?;
    let derived = series.named("derivation").filter_map(|d| d.child("derivedSeries"));
    let beats: Vec<At<'_>> =
        derived.chain(all.iter().filter(|s| coded(s, "REPRESENTATIVE_BEAT")).copied()).collect();
    for beat in &beats {
        if ecg.median.is_empty() {
            ecg.median = sequences(*beat, &mut ecg.warnings)?;
        }
    }
    super::calibration::mark(&mut ecg);
    ecg.acquired = acquired(root, **series);
    annotations(**series, &mut ecg, false);
    for beat in beats {
        annotations(beat, &mut ecg, true);
    }
    if ecg.rhythm.is_empty() {
        return Err(series.kind(ErrorKind::NotEcg, "holds no lead"));
    }
    Ok(ecg)
}

fn place(rhythms: &[&At<'_>]) -> SeriesPlace {
    let start = |s: &At<'_>| {
        let low = s.path(&["effectiveTime", "low"]).and_then(|l| l.attr("value"))?;
        let (local, _) = text::compact_time(low);
        let clock = local?;
        let mut parts = clock.get(11..19)?.split(':').filter_map(|p| p.parse::<f64>().ok());
        Some(parts.next()? * 3600.0 + parts.next()? * 60.0 + parts.next()?)
    };
    let interval =
        rhythms.get(1).and_then(|s| start(s)).zip(start(rhythms[0])).map(|(b, a)| b - a).filter(|d| *d > 0.0);
    SeriesPlace { index: 1, of: u32::try_from(rhythms.len()).ok(), interval_s: interval }
}

fn person(root: At<'_>, ecg: &mut Ecg) {
    let Some(subject) = root.find("trialSubject") else { return };
    let id = subject.child("id");
    ecg.patient.id = id.and_then(|i| i.attr("extension").or_else(|| i.attr("root"))).map(str::to_owned);
    if let Some(who) = subject.child("subjectDemographicPerson") {
        ecg.patient.name = who.child("name").map(|n| {
            let parts: Vec<&str> = n.descendants().map(|p| p.text()).filter(|t| !t.is_empty()).collect();
            if parts.is_empty() { n.text().to_owned() } else { parts.join("^") }
        });
        ecg.patient.name = ecg.patient.name.take().filter(|n| !n.is_empty());
        ecg.patient.sex =
            who.child("administrativeGenderCode").and_then(|g| g.attr("code")).map(str::to_owned);
        ecg.patient.birth_date = who.child("birthTime").and_then(|b| b.attr("value")).map(text::date);
    }
    // LOINC 21612-7 and 30525-0: reported age
    ecg.patient.age = root.descendants().filter(|n| n.name() == "relatedObservation").find_map(|o| {
        let code = o.child("code")?.attr("code")?;
        matches!(code, "21612-7" | "30525-0")
            .then(|| o.child("value")?.attr("value"))
            .flatten()
            .map(str::to_owned)
    });
}

fn device(series: At<'_>, ecg: &mut Ecg) {
    let made = series.find("manufacturedSeriesDevice");
    ecg.device.model = made.and_then(|d| d.text_of("manufacturerModelName")).map(str::to_owned);
    ecg.device.software = made.and_then(|d| d.text_of("softwareName")).map(str::to_owned);
    let author = series.find("seriesAuthor");
    ecg.device.serial =
        author.and_then(|a| a.child("id")).and_then(|i| i.attr("extension")).map(str::to_owned);
    ecg.device.manufacturer =
        author.and_then(|a| a.path(&["manufacturerOrganization", "name"])).map(|n| n.text().to_owned());
    for variable in series.named("controlVariable").flat_map(|c| c.named("controlVariable")) {
        let Some(code) = variable.child("code").and_then(|c| c.attr("code")) else { continue };
        let values: Vec<f64> = variable
            .descendants()
            .filter(|n| n.name() == "value")
            .filter_map(|v| v.attr("value").and_then(number))
            .collect();
        filter(&mut ecg.device.filters, code, values.first().copied());
    }
}

fn filter(filters: &mut Filters, code: &str, value: Option<f64>) {
    if code.ends_with("FILTER_LOW_PASS") {
        filters.low_pass_hz = value;
    } else if code.ends_with("FILTER_HIGH_PASS") {
        filters.high_pass_hz = value;
    } else if code.ends_with("FILTER_NOTCH") {
        filters.notch_hz = value;
    } else if code.contains("FILTER") {
        filters.other.push(code.trim_start_matches("MDC_ECG_CTL_VBL_ATTR_").to_owned());
    }
}

fn seconds(node: At<'_>) -> Option<f64> {
    let value = node.attr("value").and_then(number)?;
    match node.attr("unit").unwrap_or("s") {
        "s" => Some(value),
        "ms" => Some(value / 1e3),
        "us" => Some(value / 1e6),
        _ => None,
    }
}

fn microvolts(node: At<'_>) -> Result<f64, ReadError> {
    let value = node.attr("value").and_then(number).ok_or_else(|| node.malformed("has no value"))?;
    match node.attr("unit") {
        Some("uV") => Ok(value),
        Some("mV") => Ok(value * 1e3),
        Some("V") => Ok(value * 1e6),
        Some("nV") => Ok(value / 1e3),
        other => Err(node.malformed(format!("unit {} is no voltage", other.unwrap_or("(none)")))),
    }
}

/// All leads of a series, set after set (a cart that records three leads at a time writes several sets).
fn sequences(series: At<'_>, warnings: &mut Vec<String>) -> Result<Vec<Lead>, ReadError> {
    let mut leads: Vec<Lead> = Vec::new();
    let mut first_head: Option<f64> = None;
    for set in series.named("component").filter_map(|c| c.child("sequenceSet")) {
        let parts: Vec<At<'_>> = set.named("component").filter_map(|c| c.child("sequence")).collect();
        let code = |s: &At<'_>| s.child("code").and_then(|c| c.attr("code")).unwrap_or("").to_owned();
        let time = parts.iter().find(|s| code(s).starts_with("TIME_")).and_then(|s| s.child("value"));
        let time = time.ok_or_else(|| set.malformed("has no time sequence"))?;
        let step = time.child("increment").ok_or_else(|| time.malformed("has no increment"))?;
        let period = seconds(step).filter(|p| *p > 0.0).ok_or_else(|| step.malformed("is no time step"))?;
        // 1/0.002 is 499.999…: a rate within 1 ppm of a whole number is that number
        let rate = 1.0 / period;
        let rate = if (rate - rate.round()).abs() < rate * 1e-6 { rate.round() } else { rate };
        let rate = step.rate(Some(rate))?;
        let head = time.child("head").and_then(|h| h.attr("value")).and_then(head_seconds);
        let start = head.zip(first_head).map_or(0.0, |(h, f)| h - f);
        first_head = first_head.or(head);
        for part in parts.iter().filter(|s| !code(s).starts_with("TIME_")) {
            if let Some(mut lead) = sequence(*part, &code(part), rate)? {
                lead.start_s = if (0.0..86_400.0).contains(&start) { start } else { 0.0 };
                if leads.len() >= crate::limits::MAX_LEADS {
                    return Err(set.kind(ErrorKind::Limit, "holds too many leads"));
                }
                leads.push(lead);
            }
        }
    }
    if leads.iter().any(|l| l.start_s > 0.0) {
        warnings.push("leads start at different times".into());
    }
    Ok(leads)
}

/// Seconds of the day (absolute) or seconds (relative).
fn head_seconds(text: &str) -> Option<f64> {
    if text.len() >= 14 {
        let clock = text.get(8..14)?;
        let n = |r: std::ops::Range<usize>| clock.get(r)?.parse::<f64>().ok();
        let fraction =
            text.get(14..).filter(|f| f.starts_with('.')).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        return Some(n(0..2)? * 3600.0 + n(2..4)? * 60.0 + n(4..6)? + fraction);
    }
    number(text)
}

fn sequence(part: At<'_>, code: &str, rate: f64) -> Result<Option<Lead>, ReadError> {
    let Some(value) = part.child("value") else { return Ok(None) };
    let Some(digits) = value.child("digits") else { return Ok(None) };
    let scale_node = value.child("scale").ok_or_else(|| value.malformed("has no scale"))?;
    let scale = microvolts(scale_node)?;
    if scale == 0.0 {
        return Err(scale_node.malformed("is zero"));
    }
    let origin = value.child("origin").map(microvolts).transpose()?.unwrap_or(0.0);
    let (values, decimal) = digits.digits(digits.text())?;
    let label = code.strip_prefix("MDC_ECG_LEAD_").unwrap_or(code);
    let id = LeadId::parse(label);
    let mut lead = Lead::new(
        if id == LeadId::Other { label } else { id.name() },
        rate,
        Samples::narrowest(values),
        scale * decimal,
    );
    lead.offset = origin;
    Ok(Some(lead))
}

fn acquired(root: At<'_>, series: At<'_>) -> Option<Acquired> {
    fn pick(node: At<'_>) -> Option<&str> {
        let time = node.child("effectiveTime")?;
        ["center", "low"].iter().find_map(|n| time.child(n)?.attr("value")).or_else(|| time.attr("value"))
    }
    let (stored, source) = pick(series)
        .map(|t| (t, "series effectiveTime"))
        .or_else(|| pick(root).map(|t| (t, "effectiveTime")))?;
    let (local, offset_min) = text::compact_time(stored);
    Some(Acquired { text: stored.into(), source: source.into(), local, offset_min })
}

fn annotations(series: At<'_>, ecg: &mut Ecg, on_median: bool) {
    let sets = series.named("subjectOf").filter_map(|s| s.child("annotationSet"));
    // A set authored by a person is a reading of its own, not the cart's; it is not mixed in.
    let by_device = sets.filter(|s| s.find("assignedPerson").is_none());
    for set in by_device {
        for annotation in set.descendants().filter(|n| n.name() == "annotation") {
            if ecg.device.measurements.len() + ecg.device.marks.len() + ecg.device.statements.len()
                > MAX_ITEMS
            {
                return;
            }
            one(annotation, ecg, on_median);
        }
    }
}

fn one(annotation: At<'_>, ecg: &mut Ecg, on_median: bool) {
    let code = annotation.child("code").and_then(|c| c.attr("code")).unwrap_or("");
    let Some(value) = annotation.child("value") else { return };
    let lead_bound = annotation.path(&["support", "supportingROI"]).is_some_and(|r| {
        r.find("code").is_some()
            && r.descendants().any(|n| n.attr("code").is_some_and(|c| c.starts_with("MDC_ECG_LEAD_")))
    });
    let stored = value.attr("value").and_then(number);
    if let Some((_, key, unit)) = MEASUREMENTS.iter().find(|(c, ..)| *c == code) {
        if !lead_bound && !ecg.device.measurements.iter().any(|m| m.key == *key) {
            // seconds are lawful for PQ times
            let factor = if value.attr("unit") == Some("s") && *unit == "ms" { 1000.0 } else { 1.0 };
            ecg.device.measured(key, code, stored.map(|v| v * factor), unit);
        }
        return;
    }
    if code.starts_with("MDC_ECG_INTERPRETATION") || code == "MDC_ECG_RHY" {
        let words = if value.text().is_empty() {
            value.attr("displayName").or_else(|| value.attr("code")).unwrap_or("")
        } else {
            value.text()
        };
        if !words.is_empty() {
            ecg.device.statements.push(words.to_owned());
        }
        return;
    }
    let wave = value.attr("code").unwrap_or("");
    if code.starts_with("MDC_ECG_WAVC") && !lead_bound {
        marks(annotation, wave, ecg, on_median);
    } else if let (Some(v), true) = (stored, code.starts_with("MDC_")) {
        let key = code.trim_start_matches("MDC_ECG_").to_ascii_lowercase();
        ecg.device.measured(&key, code, Some(v), value.attr("unit").unwrap_or(""));
    }
}

/// On- and offset of a wave from its region of interest, when it is given in relative time.
fn marks(annotation: At<'_>, wave: &str, ecg: &mut Ecg, on_median: bool) {
    let name = match wave {
        "MDC_ECG_WAVC_PWAVE" => "p",
        "MDC_ECG_WAVC_QRSWAVE" => "qrs",
        "MDC_ECG_WAVC_TWAVE" => "t",
        _ => return,
    };
    let Some(roi) = annotation.path(&["support", "supportingROI"]) else { return };
    for boundary in roi.descendants().filter(|n| n.name() == "boundary") {
        if boundary.child("code").and_then(|c| c.attr("code")) != Some("TIME_RELATIVE") {
            continue;
        }
        let Some(value) = boundary.child("value") else { continue };
        for (edge, suffix) in [("low", "on"), ("high", "off")] {
            if let Some(at_s) = value.child(edge).and_then(seconds) {
                ecg.device.marks.push(DeviceMark { what: format!("{name}_{suffix}"), at_s, on_median });
            }
        }
    }
}
