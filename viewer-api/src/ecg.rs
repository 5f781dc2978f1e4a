//! ECG files as the samples the page draws.

use crate::api::image::{EcgGap, EcgLead, EcgMeasurement, Waveform};
use crate::limits::MAX_ECG_FILE_BYTES;
use crate::problem::Problem;
use relay_core::codes::Code;
use relay_ecg::{Ecg, Hints, Lead, ReadError};
use std::path::Path;

/// Reads an ECG file of any known format. Blocks.
///
/// # Errors
/// `REFUSED_TOO_LARGE`, `STORAGE_FAILED`, or `REFUSED_FORMAT` naming format, field and reason.
pub(crate) fn waveform(path: &Path) -> Result<Waveform, Problem> {
    let failed = |error: std::io::Error| Problem::new(Code::StorageFailed, "object", error.to_string());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_ECG_FILE_BYTES {
        let reason = format!("{length} bytes, at most {MAX_ECG_FILE_BYTES} are read as an ECG");
        return Err(Problem::new(Code::RefusedTooLarge, "object", reason));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let ecg = relay_ecg::read(&bytes, &Hints::default()).map_err(refused)?;
    drop(bytes);
    if ecg.rhythm.is_empty() {
        return Err(Problem::new(
            Code::RefusedFormat,
            "leads",
            "the file holds no samples; it can only be looked at",
        ));
    }
    Ok(of(&ecg))
}

fn refused(error: ReadError) -> Problem {
    let reason = format!("{}: {}", error.format.map_or("ECG", relay_ecg::Format::name), error.reason);
    Problem::new(Code::RefusedFormat, error.field, reason)
}

fn of(ecg: &Ecg) -> Waveform {
    let stored: Vec<&str> = ecg.rhythm.iter().map(Lead::name).collect();
    Waveform {
        format: ecg.format.name().to_owned(),
        leads: ecg.all_leads().iter().map(|lead| one(lead, !stored.contains(&lead.name()))).collect(),
        duration_s: ecg.duration_s(),
        acquired: ecg.acquired.as_ref().and_then(relay_ecg::model::Acquired::iso),
        measurements: ecg
            .device
            .measurements
            .iter()
            .map(|m| EcgMeasurement { key: m.key.clone(), value: m.value, unit: m.unit.clone() })
            .collect(),
        statements: ecg.device.statements.clone(),
        not_ecg: ecg
            .not_ecg
            .iter()
            .map(|gap| EcgGap { start_s: gap.start_s, end_s: gap.end_s, what: gap.what.clone() })
            .collect(),
        high_pass_hz: ecg.device.filters.high_pass_hz,
        low_pass_hz: ecg.device.filters.low_pass_hz,
        notch_hz: ecg.device.filters.notch_hz,
        warnings: warnings(ecg),
    }
}

/// What reading found, and what the checks find: the reader sees the same as the clinic saw.
fn warnings(ecg: &Ecg) -> Vec<String> {
    /// Samples of all leads together up to which a record is checked: an hour of three leads at 250 Hz.
    const MOST: usize = 2_700_000;
    let mut all = ecg.warnings.clone();
    if ecg.rhythm.iter().map(Lead::len).sum::<usize>() <= MOST {
        let found = relay_ecg::checks::check(ecg, &relay_ecg::measure::measure(ecg));
        all.extend(found.into_iter().map(|f| format!("{}: {} / {}", f.code, f.zh, f.en)));
    }
    all
}

fn one(lead: &Lead, derived: bool) -> EcgLead {
    EcgLead {
        label: lead.name().to_owned(),
        rate_hz: lead.rate_hz,
        start_s: lead.start_s,
        scale: lead.scale,
        offset: lead.offset,
        unit: lead.unit.name().to_owned(),
        missing: lead.missing,
        derived,
        samples: lead.samples.iter().collect(),
    }
}
