//! Leads made ready for 16-bit containers.

use crate::lead::{Lead, Samples};
use crate::model::Ecg;

use super::WriteError;

/// A lead as 16-bit samples with its own scale.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) lead: Lead,
    pub(super) samples: Vec<i16>,
    pub(super) scale: f64,
}

/// Value stored for a missing sample.
pub(super) const PADDING: i16 = i16::MIN;

/// Stored and derived ECG leads of one rate, cut to what is ECG, as 16-bit samples; leads of other names keep their label.
///
/// A lead whose values pass 16 bits is stored in a unit a whole number of times as large; the rounding is below half that unit.
pub(super) fn columns(ecg: &Ecg) -> Result<Vec<Column>, WriteError> {
    let leads: Vec<Lead> = ecg.all_leads();
    let Some(first) = leads.first() else {
        return Err(WriteError::new("leads", "no ECG lead"));
    };
    let range = ecg.common_range(first);
    if let Some(odd) = leads.iter().find(|l| {
        l.rate_hz.to_bits() != first.rate_hz.to_bits() || l.len() != first.len() || l.start_s != first.start_s
    }) {
        return Err(WriteError::new(
            "leads",
            format!("{} differs from {} in rate, length or start", odd.name(), first.name()),
        ));
    }
    Ok(leads.into_iter().map(|lead| column(lead, range.clone())).collect())
}

pub(super) fn column(lead: Lead, range: std::ops::Range<usize>) -> Column {
    let largest = range
        .clone()
        .filter_map(|i| lead.samples.get(i))
        .filter(|v| Some(*v) != lead.missing)
        .map(i32::unsigned_abs)
        .max()
        .unwrap_or(0);
    // smallest whole factor that keeps every sample inside ±32767
    let factor = i32::try_from(largest.div_ceil(32_767).max(1)).unwrap_or(i32::MAX);
    let value = |i: usize| {
        let raw = lead.samples.get(i).unwrap_or(0);
        if Some(raw) == lead.missing {
            return PADDING;
        }
        let rounded = (f64::from(raw) / f64::from(factor)).round();
        i16::try_from(rounded as i32).unwrap_or(0)
    };
    let samples = range.map(value).collect();
    let scale = lead.scale * f64::from(factor);
    Column { samples, scale, lead: Lead { samples: Samples::I16(Vec::new()), ..lead } }
}
