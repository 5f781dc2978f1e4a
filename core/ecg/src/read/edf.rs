//! EDF and EDF+ (Kemp 1992, Kemp & Olivan 2003): whole-file reading, annotations of EDF+, gaps of EDF+D as missing samples.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, LeadId, Samples, Unit};
use crate::limits::{MAX_ITEMS, MAX_LEADS, MAX_SAMPLES};
use crate::model::{Acquired, Annotation, Ecg, NotEcg};
use crate::text;
use crate::view::View;

/// Version field `0` and eight blanks, then printable text.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    head.starts_with(b"0       ")
        && head.get(8..184).is_some_and(|t| t.iter().all(|b| (32..127).contains(b) || *b >= 0x80))
        && head.get(168..176).is_some_and(|d| d[2] == b'.' && d[5] == b'.')
}

/// Samples that stand for the gaps of a discontinuous file, all signals together: a day of three leads at 250 Hz is 6.5e7.
const MAX_GAP_SAMPLES: usize = 70_000_000;

#[derive(Debug)]
struct Signal {
    label: String,
    scale: f64,
    offset: f64,
    unit: Unit,
    per_record: usize,
    prefilter: String,
    annotations: bool,
}

/// Reads an EDF or EDF+ file.
///
/// # Errors
/// Fields that are no numbers, digital or physical ranges of zero, records beyond the file, no ECG signal.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Edf);
    let field =
        |at: usize, len: usize, name: &str| Ok::<_, ReadError>(text::eight_bit(view.slice(at, len, name)?));
    let number = |at: usize, len: usize, name: &str| {
        let shown = field(at, len, name)?;
        let value = shown.replace(',', ".").parse::<f64>().ok().filter(|v| v.is_finite());
        value.ok_or_else(|| view.malformed(name, at, format!("'{shown}' is no number")))
    };
    let mut ecg = Ecg::new(Format::Edf);
    let reserved = field(192, 44, "reserved")?;
    let plus = reserved.starts_with("EDF+");
    ecg.variant = if plus { reserved.chars().take(5).collect() } else { "EDF".into() };
    let head = number(184, 8, "header bytes")? as usize;
    let records = number(236, 8, "number of records")?;
    let duration = number(244, 8, "record duration")?;
    let count = number(252, 4, "number of signals")? as usize;
    if count == 0 || count > MAX_LEADS || head != 256 * (count + 1) {
        return Err(view.malformed(
            "number of signals",
            252,
            format!("{count} signals and a head of {head} bytes"),
        ));
    }
    let mut signals = Vec::with_capacity(count);
    for n in 0..count {
        signals.push(signal(&view, n, count)?);
    }
    let record_bytes: usize = signals.iter().map(|s| s.per_record * 2).sum();
    let available = bytes.len().saturating_sub(head).checked_div(record_bytes).unwrap_or(0);
    let records = if records < 0.0 { available } else { records as usize };
    if records > available {
        let reason = format!("{records} records of {record_bytes} bytes stated, {available} are there");
        return Err(view.error(ErrorKind::Truncated, "number of records", 236, reason));
    }
    if records.saturating_mul(record_bytes) / 2 > MAX_SAMPLES {
        return Err(view.limit(
            "number of records",
            236,
            format!("{records} records of {record_bytes} bytes"),
        ));
    }
    facts(
        &field(8, 80, "patient")?,
        &field(88, 80, "recording")?,
        &field(168, 8, "start date")?,
        &field(176, 8, "start time")?,
        plus,
        &mut ecg,
    );
    let layout = Layout { head, record_bytes, records, duration };
    samples(&view, &signals, &layout, &mut ecg)?;
    if !ecg.rhythm.iter().any(|l| l.is_ecg) {
        return Err(view.error(ErrorKind::NotEcg, "labels", 256, "no signal is an ECG lead"));
    }
    Ok(ecg)
}

struct Layout {
    head: usize,
    record_bytes: usize,
    records: usize,
    duration: f64,
}

fn signal(view: &View<'_>, n: usize, count: usize) -> Result<Signal, ReadError> {
    // The head keeps each field of all signals together; these are the fields' widths.
    const WIDTHS: [usize; 10] = [16, 80, 8, 8, 8, 8, 8, 80, 8, 32];
    let place = |index: usize| 256 + WIDTHS[..index].iter().sum::<usize>() * count + WIDTHS[index] * n;
    let field = |index: usize, name: &str| {
        Ok::<_, ReadError>(text::eight_bit(view.slice(place(index), WIDTHS[index], name)?))
    };
    let number = |index: usize, name: &str| {
        let shown = field(index, name)?;
        let value = shown.replace(',', ".").parse::<f64>().ok().filter(|v| v.is_finite());
        value.ok_or_else(|| {
            view.malformed(name, place(index), format!("signal {}: '{shown}' is no number", n + 1))
        })
    };
    let label = field(0, "label")?;
    let annotations = label == "EDF Annotations";
    let per_record = number(8, "samples per record")?;
    if !(1.0..=1e8).contains(&per_record) {
        return Err(view.malformed(
            "samples per record",
            place(8),
            format!("{per_record} in signal {}", n + 1),
        ));
    }
    let (low, high) = (number(3, "physical minimum")?, number(4, "physical maximum")?);
    let (digital_low, digital_high) = (number(5, "digital minimum")?, number(6, "digital maximum")?);
    let dimension = field(2, "dimension")?;
    let factor = match dimension.as_str() {
        "uV" | "µV" | "\u{3BC}V" => Some(1.0),
        "mV" => Some(1e3),
        "V" => Some(1e6),
        "nV" => Some(1e-3),
        _ => None,
    };
    if !annotations && (digital_high <= digital_low || low.to_bits() == high.to_bits()) {
        let reason = format!("signal {label}: {low}..{high} {dimension} over {digital_low}..{digital_high}");
        return Err(view.malformed("physical and digital range", place(3), reason));
    }
    let scale = (high - low) / (digital_high - digital_low);
    let unit = factor.map_or_else(|| Unit::Other(dimension), |_| Unit::Microvolt);
    let factor = factor.unwrap_or(1.0);
    Ok(Signal {
        scale: scale * factor,
        offset: (low - digital_low * scale) * factor,
        unit,
        per_record: per_record as usize,
        prefilter: field(7, "prefiltering")?,
        annotations,
        label,
    })
}

fn is_ecg(label: &str, unit: &Unit) -> bool {
    let upper = label.to_ascii_uppercase();
    let named = LeadId::parse(label) != LeadId::Other || upper.contains("ECG") || upper.contains("EKG");
    let lead_like = ["MLI", "MLII", "MLIII", "CM5", "CC5", "CH1", "CH2", "CH3"].iter().any(|n| upper == *n);
    *unit == Unit::Microvolt && (named || lead_like)
}

fn samples(view: &View<'_>, signals: &[Signal], layout: &Layout, ecg: &mut Ecg) -> Result<(), ReadError> {
    let onsets = onsets(view, signals, layout, ecg);
    let (mut before, mut filled) = (0, 0_usize);
    for signal in signals {
        let start = before;
        before += signal.per_record * 2;
        if signal.annotations {
            continue;
        }
        let duration = if layout.duration > 0.0 { layout.duration } else { 1.0 };
        let rate = view.rate(round_rate(signal.per_record as f64 / duration), "samples per record", 256)?;
        let mut values: Vec<i32> = Vec::with_capacity(signal.per_record * layout.records);
        for record in 0..layout.records {
            if let Some(onset) = onsets.get(record) {
                // EDF+D: what lies between two records was not recorded
                let expected = ((onset - onsets[0]) * rate).round().max(0.0) as usize;
                if expected > values.len() + 1 {
                    filled = filled.saturating_add(expected - values.len());
                    if filled > MAX_GAP_SAMPLES {
                        let reason = format!(
                            "record {} starts at {onset} s: the gaps before it are too long",
                            record + 1
                        );
                        return Err(view.limit("annotations", layout.head, reason));
                    }
                    values.resize(expected, i32::MIN);
                }
            }
            let at = layout.head + record * layout.record_bytes + start;
            let raw = view.slice(at, signal.per_record * 2, "samples")?;
            values.extend(raw.as_chunks::<2>().0.iter().map(|w| i32::from(i16::from_le_bytes(*w))));
        }
        let label = signal
            .label
            .strip_prefix("ECG ")
            .or_else(|| signal.label.strip_prefix("EKG "))
            .unwrap_or(&signal.label);
        let mut lead = Lead::new(label, rate, Samples::narrowest(values), signal.scale);
        lead.offset = signal.offset;
        lead.missing = (!onsets.is_empty()).then_some(i32::MIN);
        lead.is_ecg = is_ecg(&signal.label, &signal.unit);
        lead.unit = signal.unit.clone();
        lead.filters = prefilter(&signal.prefilter);
        if ecg.device.filters.is_empty() {
            ecg.device.filters = lead.filters.clone();
        }
        ecg.rhythm.push(lead);
    }
    let mut previous = None;
    for onset in &onsets {
        if let Some(end) = previous.filter(|end| onset - end > 0.001) {
            ecg.not_ecg.push(NotEcg {
                start_s: end - onsets[0],
                end_s: onset - onsets[0],
                what: "gap".into(),
                lead: None,
            });
        }
        previous = Some(onset + layout.duration);
    }
    Ok(())
}

/// 799.9999 is 800: record durations are written with eight characters.
fn round_rate(rate: f64) -> f64 {
    if (rate - rate.round()).abs() < rate * 1e-5 { rate.round() } else { rate }
}

/// Time-stamped annotation lists: fills the annotations; returns the record onsets of a discontinuous file.
fn onsets(view: &View<'_>, signals: &[Signal], layout: &Layout, ecg: &mut Ecg) -> Vec<f64> {
    let mut onsets = Vec::new();
    let mut before = 0;
    for signal in signals {
        let start = before;
        before += signal.per_record * 2;
        if !signal.annotations {
            continue;
        }
        for record in 0..layout.records {
            let at = layout.head + record * layout.record_bytes + start;
            let Ok(raw) = view.slice(at, signal.per_record * 2, "annotations") else { break };
            let mut first = true;
            for list in raw.split(|b| *b == 0).filter(|l| !l.is_empty()) {
                let mut parts = list.split(|b| *b == 0x14);
                let stamp = String::from_utf8_lossy(parts.next().unwrap_or(&[])).into_owned();
                let onset = stamp
                    .split('\u{15}')
                    .next()
                    .and_then(|t| t.parse::<f64>().ok())
                    .filter(|t| t.is_finite());
                let Some(onset) = onset else { continue };
                let words: Vec<String> = parts.map(text::eight_bit).filter(|t| !t.is_empty()).collect();
                if first && onsets.len() == record {
                    onsets.push(onset);
                }
                first = false;
                if ecg.annotations.len() < MAX_ITEMS {
                    ecg.annotations.extend(words.into_iter().map(|text| Annotation { at_s: onset, text }));
                }
            }
        }
    }
    let discontinuous =
        ecg.variant == "EDF+D" && onsets.len() == layout.records && onsets.windows(2).all(|w| w[1] >= w[0]);
    if ecg.variant == "EDF+D" && !discontinuous {
        ecg.warnings
            .push("a discontinuous file whose record times cannot be read: shown as continuous".into());
    }
    if discontinuous { onsets } else { Vec::new() }
}

/// `HP:0.05Hz LP:150Hz N:50Hz`.
fn prefilter(text: &str) -> Filters {
    let mut filters = Filters::default();
    for token in text.split_whitespace() {
        let Some((key, value)) = token.split_once(':') else { continue };
        let digits: String = value.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let hertz = digits.parse::<f64>().ok();
        match key {
            "HP" => filters.high_pass_hz = hertz,
            "LP" => filters.low_pass_hz = hertz,
            "N" | "BS" | "NOTCH" => filters.notch_hz = hertz,
            _ => {}
        }
    }
    filters
}

fn facts(patient: &str, recording: &str, day: &str, clock: &str, plus: bool, ecg: &mut Ecg) {
    if plus {
        let mut fields = patient.split_whitespace();
        let mut next = || fields.next().filter(|f| *f != "X").map(|f| f.replace('_', " "));
        ecg.patient.id = next();
        ecg.patient.sex = next();
        ecg.patient.birth_date = next().map(|d| edf_date(&d).unwrap_or(d));
        ecg.patient.name = next();
        let equipment = recording.split_whitespace().nth(4).filter(|e| *e != "X");
        ecg.device.model = equipment.map(|e| e.replace('_', " "));
    } else {
        ecg.patient.id = Some(patient.to_owned()).filter(|p| !p.is_empty());
    }
    // Clipping date 1985; EDF+ repeats the full year in the recording field.
    let full = recording.split_whitespace().nth(1).and_then(edf_date);
    let mut parts = day.split('.');
    let mut part = || parts.next().unwrap_or("").to_owned();
    let (d, m, y) = (part(), part(), part());
    let century = y.parse::<u32>().map(|y| if y >= 85 { 1900 + y } else { 2000 + y });
    let date = full.or_else(|| century.ok().map(|y| format!("{y}-{m}-{d}")));
    let time = clock.replace('.', ":");
    let local = date.as_ref().and_then(|d| text::iso_time(&format!("{d}T{time}")).0);
    ecg.acquired = Some(Acquired {
        text: format!("{day} {clock}"),
        source: "start date and time".into(),
        local,
        offset_min: None,
    });
}

/// `05-MAR-2024` to ISO.
fn edf_date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let mut parts = text.split('-');
    let (d, m, y) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|n| n.eq_ignore_ascii_case(m))? + 1;
    let (d, y) = (d.parse::<u32>().ok()?, y.parse::<u32>().ok()?);
    Some(format!("{y:04}-{month:02}-{d:02}"))
}
