//! Sections 1, 7, 8, 10 and 11: patient, device, what the cart measured and said.

use super::Section;
use crate::error::ReadError;
use crate::limits::MAX_ITEMS;
use crate::model::{Acquired, DeviceMark, Ecg, PacingMark, SeriesPlace};
use crate::text;
use crate::view::View;

/// Section 7 writes "not computed" and "no such wave" as values from here on.
const NOT_A_VALUE: u16 = 29_996;

fn known(value: u16) -> Option<f64> {
    (value < NOT_A_VALUE).then(|| f64::from(value))
}

fn known_signed(value: i16) -> Option<f64> {
    (i32::from(value) < i32::from(NOT_A_VALUE)).then(|| f64::from(value))
}

/// Section 1: tagged fields.
pub(super) fn patient_and_device(view: &View<'_>, section: Section, ecg: &mut Ecg) -> Result<(), ReadError> {
    const FIELD: &str = "section 1";
    let (mut last, mut first, mut day, mut time) = (String::new(), String::new(), None, None);
    let mut offset = None;
    let mut at = section.start;
    while at + 3 <= section.end {
        let tag = view.u8(at, FIELD)?;
        let len = usize::from(view.u16_le(at + 1, FIELD)?);
        if tag == 255 {
            break;
        }
        if at + 3 + len > section.end {
            return Err(view.malformed(FIELD, at, format!("tag {tag} of {len} bytes passes the section")));
        }
        let raw = view.slice(at + 3, len, FIELD)?;
        let words = || Some(text::eight_bit(raw)).filter(|t| !t.is_empty());
        let u16_at = |i: usize| Some(u16::from_le_bytes([*raw.get(i)?, *raw.get(i + 1)?]));
        match tag {
            0 => last = words().unwrap_or_default(),
            1 => first = words().unwrap_or_default(),
            2 => ecg.patient.id = words(),
            4 => ecg.patient.age = u16_at(0).filter(|a| *a > 0).map(|a| a.to_string()),
            5 => {
                ecg.patient.birth_date = u16_at(0)
                    .filter(|y| *y > 0)
                    .zip(raw.get(2..4))
                    .map(|(y, md)| format!("{y:04}-{:02}-{:02}", md[0], md[1]))
            }
            8 => {
                ecg.patient.sex = raw.first().map(|s| {
                    match s {
                        1 => "M",
                        2 => "F",
                        9 => "unspecified",
                        _ => "unknown",
                    }
                    .into()
                })
            }
            14 => device(raw, ecg),
            16 => ecg.device.institution = words(),
            25 => day = u16_at(0).zip(raw.get(2..4)).map(|(y, md)| format!("{y:04}{:02}{:02}", md[0], md[1])),
            26 => time = raw.get(..3).map(|t| format!("{:02}{:02}{:02}", t[0], t[1], t[2])),
            27 => {
                ecg.device.filters.high_pass_hz = u16_at(0).filter(|v| *v > 0).map(|v| f64::from(v) / 100.0)
            }
            28 => ecg.device.filters.low_pass_hz = u16_at(0).filter(|v| *v > 0).map(f64::from),
            29 => filter_bits(raw.first().copied().unwrap_or(0), ecg),
            31 => {
                let index = words().and_then(|w| w.parse().ok());
                ecg.series = index.map(|index| SeriesPlace { index, of: None, interval_s: None });
            }
            34 => {
                offset = raw
                    .get(..2)
                    .map(|b| i32::from(i16::from_le_bytes([b[0], b[1]])))
                    .filter(|m| *m != 0x7FFF && m.abs() <= 14 * 60)
            }
            _ => {}
        }
        at += 3 + len;
    }
    let parts: Vec<String> = [last, first].into_iter().filter(|p| !p.is_empty()).collect();
    ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
    if let Some(day) = day {
        let stored = day + &time.unwrap_or_default();
        let (local, _) = text::compact_time(&stored);
        ecg.acquired = Some(Acquired {
            text: stored,
            source: "section 1 tags 25, 26".into(),
            local,
            offset_min: offset,
        });
    }
    Ok(())
}

/// Tag 29: which filters the cart applied.
fn filter_bits(bits: u8, ecg: &mut Ecg) {
    let filters = &mut ecg.device.filters;
    filters.notch_hz = match bits & 3 {
        1 => Some(60.0),
        2 => Some(50.0),
        _ => None,
    };
    for (bit, name) in [(2, "artefact filter"), (3, "base filter")] {
        if bits >> bit & 1 == 1 {
            filters.other.push(name.to_owned());
        }
    }
}

/// Tag 14: the acquiring device. Fixed 35 bytes, then strings.
fn device(raw: &[u8], ecg: &mut Ecg) {
    let model = raw.get(8..14).map(text::eight_bit).filter(|m| !m.is_empty());
    ecg.device.model = model;
    let Some(rest) = raw.get(35..) else { return };
    // length-prefixed analysing program, then NUL-ended serial, system software, SCP software, manufacturer
    let skip = rest.first().map_or(0, |n| usize::from(*n) + 1);
    let mut strings = rest.get(skip..).unwrap_or(&[]).split(|b| *b == 0).map(text::eight_bit);
    let mut next = || strings.next().filter(|s| !s.is_empty());
    (ecg.device.serial, ecg.device.software) = (next(), next());
    let (_scp, maker) = (next(), next());
    ecg.device.manufacturer = maker;
}

/// Section 7: global measurements, pacing spikes, beat types, rates.
pub(super) fn global_measurements(view: &View<'_>, section: Section, ecg: &mut Ecg) {
    const FIELD: &str = "section 7";
    let view = View { data: &view.data[..section.end], ..*view };
    let mut read = || -> Result<(), ReadError> {
        let beats = usize::from(view.u8(section.start, FIELD)?);
        let spikes = usize::from(view.u8(section.start + 1, FIELD)?);
        let rr = known(view.u16_le(section.start + 2, FIELD)?);
        ecg.device.measured("rr_ms", FIELD, rr, "ms");
        ecg.device.measured("pp_ms", FIELD, known(view.u16_le(section.start + 4, FIELD)?), "ms");
        let mut at = section.start + 6;
        if beats > 0 {
            beat(&view, at, ecg)?;
        }
        at += beats * 16;
        let widths = at + spikes * 4;
        for n in 0..spikes {
            let amplitude = known_signed(view.i16_le(at + n * 4 + 2, FIELD)?);
            let width = view.u16_le(widths + n * 6 + 4, FIELD).ok().and_then(known).filter(|w| *w > 0.0);
            let at_s = f64::from(view.u16_le(at + n * 4, FIELD)?) / 1000.0;
            ecg.pacing.push(PacingMark { at_s, amplitude_uv: amplitude, width_us: width });
        }
        at = widths + spikes * 6;
        let qrs = usize::from(view.u16_le(at, FIELD)?);
        if qrs < usize::from(NOT_A_VALUE) {
            ecg.device.measured("qrs_count", FIELD, (qrs > 0).then_some(qrs as f64), "1");
            at += 2 + qrs;
        } else {
            at += 2;
        }
        ecg.device.measured("rate_bpm", FIELD, known(view.u16_le(at, FIELD)?), "/min");
        ecg.device.measured("atrial_rate_bpm", FIELD, known(view.u16_le(at + 2, FIELD)?), "/min");
        let qtc = known(view.u16_le(at + 4, FIELD)?);
        let key = match view.u8(at + 6, FIELD)? {
            1 => "qtcb_ms",
            2 => "qtch_ms",
            _ => "qtc_ms",
        };
        ecg.device.measured(key, FIELD, qtc, "ms");
        Ok(())
    };
    // Sections of older writers end early: what was there is kept.
    let outcome = read();
    if let Err(cause) = outcome {
        ecg.warnings.push(format!("{cause}: the rest of the section is left out"));
    }
}

/// The first reference beat: on- and offsets in ms, axes in degrees; intervals follow.
fn beat(view: &View<'_>, at: usize, ecg: &mut Ecg) -> Result<(), ReadError> {
    const FIELD: &str = "section 7";
    let mut points = [None; 5];
    for (n, point) in points.iter_mut().enumerate() {
        *point = known(view.u16_le(at + n * 2, FIELD)?);
    }
    for (what, point) in ["p_on", "p_off", "qrs_on", "qrs_off", "t_off"].iter().zip(points) {
        if let Some(ms) = point {
            ecg.device.marks.push(DeviceMark { what: (*what).into(), at_s: ms / 1000.0, on_median: true });
        }
    }
    let [p_on, p_off, qrs_on, qrs_off, t_off] = points;
    let span = |from: Option<f64>, to: Option<f64>| from.zip(to).map(|(a, b)| b - a).filter(|d| *d > 0.0);
    for (key, value) in [
        ("p_ms", span(p_on, p_off)),
        ("pr_ms", span(p_on, qrs_on)),
        ("qrs_ms", span(qrs_on, qrs_off)),
        ("qt_ms", span(qrs_on, t_off)),
    ] {
        if value.is_some() {
            ecg.device.measured(key, "section 7 on- and offsets", value, "ms");
        }
    }
    for (n, key) in ["p_axis_deg", "qrs_axis_deg", "t_axis_deg"].iter().enumerate() {
        // 999 is "axis not computable" in version 1.3
        let axis = known_signed(view.i16_le(at + 10 + n * 2, FIELD)?).filter(|a| a.abs() <= 360.0);
        ecg.device.measured(key, FIELD, axis, "deg");
    }
    Ok(())
}

/// Sections 8 (as printed) and 11 (universal statement codes).
pub(super) fn statements(view: &View<'_>, section: Section, number: usize, ecg: &mut Ecg) {
    let field = format!("section {number}");
    let Ok(count) = view.u8(section.start + 8, &field) else { return };
    let mut at = section.start + 9;
    for _ in 0..count {
        let Ok(len) = view.u16_le(at + 1, &field) else { return };
        let skip = if number == 11 { 1 } else { 0 };
        let end = at + 3 + usize::from(len);
        if end > section.end || ecg.device.statements.len() > MAX_ITEMS {
            ecg.warnings.push(format!("{field}: a statement passes the section"));
            return;
        }
        let words = text::eight_bit(view.data.get(at + 3 + skip..end).unwrap_or(&[]));
        if !words.is_empty() && !ecg.device.statements.contains(&words) {
            ecg.device.statements.push(words);
        }
        at = end;
    }
}

/// Section 10: per lead, in the order of the standard.
pub(super) fn lead_measurements(view: &View<'_>, section: Section, ecg: &mut Ecg) {
    const FIELD: &str = "section 10";
    const NAMES: [(&str, &str); 19] = [
        ("p_ms", "ms"),
        ("pr_ms", "ms"),
        ("qrs_ms", "ms"),
        ("qt_ms", "ms"),
        ("q_ms", "ms"),
        ("r_ms", "ms"),
        ("s_ms", "ms"),
        ("r2_ms", "ms"),
        ("s2_ms", "ms"),
        ("q_uv", "uV"),
        ("r_uv", "uV"),
        ("s_uv", "uV"),
        ("r2_uv", "uV"),
        ("s2_uv", "uV"),
        ("j_uv", "uV"),
        ("p_uv", "uV"),
        ("p2_uv", "uV"),
        ("t_uv", "uV"),
        ("t2_uv", "uV"),
    ];
    let Ok(count) = view.u16_le(section.start, FIELD) else { return };
    let mut at = section.start + 4;
    for _ in 0..count {
        let (Ok(code), Ok(len)) = (view.u16_le(at, FIELD), view.u16_le(at + 2, FIELD)) else { return };
        let end = at + 4 + usize::from(len);
        if end > section.end || ecg.device.measurements.len() > MAX_ITEMS {
            return;
        }
        let lead = crate::lead::LeadId::from_scp(code);
        for (n, (name, unit)) in NAMES.iter().enumerate().take(usize::from(len) / 2) {
            let value = view.i16_le(at + 4 + n * 2, FIELD).ok().and_then(known_signed);
            ecg.device.measured(&format!("{lead}.{name}"), FIELD, value, unit);
        }
        at = end;
    }
}
