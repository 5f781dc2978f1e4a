//! Waveform annotations (PS3.3 C.10.10): what the cart measured and said. Machine made, unconfirmed.

use super::dataset::DataSet;
use crate::limits::MAX_ITEMS;
use crate::model::{Device, DeviceMark};
use crate::text;

const ANNOTATIONS: u32 = 0x0040_B020;

/// Measurement codes (PS3.16 CID 3227-3229 and TID 3700 as carts write them): code value, key, unit when the stored one cannot be right.
const MEASUREMENTS: [(&str, &str, &str); 29] = [
    ("5.10.2.5-1", "rate_bpm", "/min"),
    ("5.10.2.5-3", "atrial_rate_bpm", "/min"),
    ("5.10.2.5-5", "qtc_ms", "ms"),
    ("5.10.2.1-3", "rr_ms", "ms"),
    ("5.10.2.1-5", "pp_ms", "ms"),
    ("5.13.5-5", "p_ms", "ms"),
    ("5.13.5-7", "pr_ms", "ms"),
    ("5.13.5-9", "qrs_ms", "ms"),
    ("5.13.5-11", "qt_ms", "ms"),
    ("5.10.3-11", "p_axis_deg", "deg"),
    ("5.10.3-13", "qrs_axis_deg", "deg"),
    ("5.10.3-15", "t_axis_deg", "deg"),
    ("2:16016", "rate_bpm", "/min"),
    ("2:16020", "atrial_rate_bpm", "/min"),
    ("2:16168", "rr_ms", "ms"),
    ("2:15880", "rr_ms", "ms"),
    ("2:16136", "p_ms", "ms"),
    ("2:15872", "pr_ms", "ms"),
    ("2:16156", "qrs_ms", "ms"),
    ("2:16160", "qt_ms", "ms"),
    ("2:15876", "qtc_ms", "ms"),
    ("2:15877", "qtcb_ms", "ms"),
    ("2:15878", "qtcf_ms", "ms"),
    ("2:16128", "p_axis_deg", "deg"),
    ("2:16132", "qrs_axis_deg", "deg"),
    ("2:16176", "t_axis_deg", "deg"),
    ("8867-4", "rate_bpm", "/min"),
    ("8480-6", "systolic_mmhg", "mm[Hg]"),
    ("8462-4", "diastolic_mmhg", "mm[Hg]"),
];

/// Fiducial codes (SCPECG 5.10.3-n of the median beat, MDC 10:n).
const FIDUCIALS: [(&str, &str); 10] = [
    ("5.10.3-1", "p_on"),
    ("5.10.3-2", "p_off"),
    ("5.10.3-3", "qrs_on"),
    ("5.10.3-4", "qrs_off"),
    ("5.10.3-5", "t_off"),
    ("5.7.1-3", "fiducial"),
    ("10:256", "p_on"),
    ("10:257", "p_off"),
    ("10:272", "qrs_on"),
    ("10:273", "qrs_off"),
];

/// Reads all annotations. `rates[g]` is the sampling rate of multiplex group `g`, `median[g]` whether it is a median beat.
pub(super) fn read(
    set: &DataSet<'_>,
    charsets: &[&str],
    rates: &[f64],
    median: &[bool],
    device: &mut Device,
) {
    for &item in set.sequence(0, ANNOTATIONS) {
        if device.statements.len() + device.measurements.len() + device.marks.len() > MAX_ITEMS {
            return;
        }
        let name = set.first(item, 0x0040_A043);
        let code = name.and_then(|n| set.ascii(n, 0x0008_0100)).unwrap_or_default();
        let meaning = name
            .and_then(|n| set.bytes_of(n, 0x0008_0104))
            .map(|raw| text::dicom(raw, charsets).text)
            .unwrap_or_default();
        if let Some(raw) = set.bytes_of(item, 0x0070_0006) {
            let statement = text::dicom(raw, charsets).text;
            device
                .statements
                .extend(statement.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned));
        }
        if set.find(item, 0x0040_A30A).is_some() {
            measurement(set, item, &code, &meaning, device);
        } else if set.find(item, 0x0040_A132).is_some() {
            marks(set, item, &code, &meaning, (rates, median), device);
        }
    }
}

fn measurement(set: &DataSet<'_>, item: usize, code: &str, meaning: &str, device: &mut Device) {
    let value = set.decimal(item, 0x0040_A30A);
    let stored = set.first(item, 0x0040_08EA).and_then(|u| set.ascii(u, 0x0008_0100)).unwrap_or_default();
    // Axis annotations of some writers carry the unit ms: the code decides.
    match MEASUREMENTS.iter().find(|(c, ..)| *c == code) {
        Some((_, key, unit)) => device.measured(key, code, value, unit),
        None => device.measured(&snake(meaning, code), code, value, &stored),
    }
}

fn marks(
    set: &DataSet<'_>,
    item: usize,
    code: &str,
    meaning: &str,
    (rates, median): (&[f64], &[bool]),
    device: &mut Device,
) {
    let group = set.u16_list(item, 0x0040_A0B0).first().map_or(0, |g| usize::from(*g).saturating_sub(1));
    let Some(rate) = rates.get(group) else { return };
    let what = FIDUCIALS
        .iter()
        .find(|(c, _)| *c == code)
        .map_or_else(|| snake(meaning, code), |(_, w)| (*w).to_owned());
    for position in set.u32_list(item, 0x0040_A132) {
        if device.marks.len() >= MAX_ITEMS {
            return;
        }
        let at_s = f64::from(position) / rate;
        device.marks.push(DeviceMark {
            what: what.clone(),
            at_s,
            on_median: median.get(group).copied().unwrap_or(false),
        });
    }
}

/// A key from the file's own wording.
fn snake(meaning: &str, code: &str) -> String {
    let source = if meaning.is_empty() { code } else { meaning };
    let mut out = String::new();
    for c in source.chars().take(80) {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('_') && !out.is_empty() {
            out.push('_');
        }
    }
    out.trim_end_matches('_').to_owned()
}
