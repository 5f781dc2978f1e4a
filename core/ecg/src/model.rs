//! One ECG, whatever file it came from. What the machine said is kept apart from what is measured here.

use crate::format::Format;
use crate::lead::{Filters, INDEPENDENT_8, Lead, LeadId, STANDARD_12, Samples, Unit};
use serde::Serialize;

/// A part of the record that is stored but is not ECG, or a gap; left out by display, measurement and detection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotEcg {
    /// Start, s after the start of the record.
    pub start_s: f64,
    /// End, s.
    pub end_s: f64,
    /// What it is: `calibration pulse`, `gap`, `fill`.
    pub what: String,
    /// Only this lead (index into [`Ecg::rhythm`]); `None` = all leads.
    pub lead: Option<usize>,
}

/// The patient as the file names him. Never merged with another source here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Patient {
    /// Local identifier.
    pub id: Option<String>,
    /// Name as decoded; DICOM component groups joined by `=`.
    pub name: Option<String>,
    /// `YYYY-MM-DD` where it can be read as a date, else as stored.
    pub birth_date: Option<String>,
    /// `M`, `F`, `O`, or as stored.
    pub sex: Option<String>,
    /// Age as stored (`042Y`, `46`).
    pub age: Option<String>,
    /// The text was stored under a wrong character set label and repaired.
    pub text_repaired: bool,
}

/// When the ECG was taken, as stated, with the doubt about its zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acquired {
    /// The stored text.
    pub text: String,
    /// Where it was found.
    pub source: String,
    /// `YYYY-MM-DDThh:mm:ss[.fff]` local time, if readable.
    pub local: Option<String>,
    /// Offset from UTC in minutes, only when the file states it; `None` = zone unknown.
    pub offset_min: Option<i32>,
}

impl Acquired {
    /// ISO 8601, with the offset only when it is stated.
    pub fn iso(&self) -> Option<String> {
        let local = self.local.as_ref()?;
        Some(match self.offset_min {
            Some(min) => {
                let sign = if min < 0 { '-' } else { '+' };
                format!("{local}{sign}{:02}:{:02}", min.abs() / 60, min.abs() % 60)
            }
            None => local.clone(),
        })
    }
}

/// A number the cart measured. Machine made, unconfirmed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceMeasurement {
    /// Common key (`rate_bpm`, `pr_ms`, `qrs_axis_deg` …), or the file's own name in snake case.
    pub key: String,
    /// Code or element it was stored under.
    pub source: String,
    /// The value; `None` = stored as "not measurable".
    pub value: Option<f64>,
    /// Unit as stored or implied (`ms`, `deg`, `/min`, `uV`).
    pub unit: String,
}

/// A fiducial, beat or other mark the cart stored. Machine made, unconfirmed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceMark {
    /// `p_on`, `p_off`, `qrs_on`, `qrs_off`, `t_on`, `t_off`, `fiducial`, `beat:N` …
    pub what: String,
    /// Seconds after the start of the record or the median beat.
    pub at_s: f64,
    /// On the median beat, not on the rhythm.
    pub on_median: bool,
}

/// What the device says of itself and of this ECG: all of it machine made, unconfirmed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Device {
    /// Maker.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Software version.
    pub software: Option<String>,
    /// Institution named in the file.
    pub institution: Option<String>,
    /// Measured values.
    pub measurements: Vec<DeviceMeasurement>,
    /// Interpretive statements, one per line.
    pub statements: Vec<String>,
    /// Fiducials and beats.
    pub marks: Vec<DeviceMark>,
    /// Filters stated for the record as a whole.
    pub filters: Filters,
}

impl Device {
    /// The measured value under `key`, when stored and measurable.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.measurements.iter().find(|m| m.key == key).and_then(|m| m.value)
    }

    /// Adds a measurement; values that make no sense for the key are kept as "not measurable".
    pub fn measured(&mut self, key: &str, source: impl Into<String>, value: Option<f64>, unit: &str) {
        if self.measurements.len() >= crate::limits::MAX_ITEMS {
            return;
        }
        // A duration or a rate of 0 is how several carts write "not measurable" (PR in atrial fibrillation).
        let value = value
            .filter(|v| v.is_finite() && !(*v == 0.0 && (key.ends_with("_ms") || key.ends_with("_bpm"))));
        self.measurements.push(DeviceMeasurement {
            key: key.into(),
            source: source.into(),
            value,
            unit: unit.into(),
        });
    }
}

/// A pacing pulse the file marks. Never inferred from the samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PacingMark {
    /// Seconds after the start of the record.
    pub at_s: f64,
    /// Pulse amplitude, µV, if stored.
    pub amplitude_uv: Option<f64>,
    /// Pulse width, µs, if stored.
    pub width_us: Option<f64>,
}

/// A beat annotation that belongs to the record (WFDB `.atr`, EDF+ annotations).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Annotation {
    /// Seconds after the start of the record.
    pub at_s: f64,
    /// Code or text (`N`, `V`, `+`, free text).
    pub text: String,
}

/// Which ECG of a series this is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPlace {
    /// 1 = first.
    pub index: u32,
    /// Number of ECGs in the series, if known.
    pub of: Option<u32>,
    /// Interval between two of them, s, if known.
    pub interval_s: Option<f64>,
}

/// A page to look at: an ECG without samples. No calipers, no measuring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `application/pdf`, `image/jpeg`, `image/png`.
    pub media_type: &'static str,
    /// The whole document.
    pub bytes: Vec<u8>,
}

/// Identifiers a DICOM object carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DicomIds {
    /// SOP class UID.
    pub sop_class: String,
    /// Study instance UID.
    pub study: String,
    /// Series instance UID.
    pub series: String,
    /// SOP instance UID.
    pub instance: String,
}

/// One ECG record.
#[derive(Debug, Clone, PartialEq)]
pub struct Ecg {
    /// The format it was read from.
    pub format: Format,
    /// Version or variant of the format, as stated.
    pub variant: String,
    /// Stored rhythm leads, in stored order.
    pub rhythm: Vec<Lead>,
    /// Stored median or reference beat, in stored order.
    pub median: Vec<Lead>,
    /// Parts that are not ECG.
    pub not_ecg: Vec<NotEcg>,
    /// Patient facts.
    pub patient: Patient,
    /// Device facts and everything the machine claims.
    pub device: Device,
    /// Acquisition time.
    pub acquired: Option<Acquired>,
    /// Pacing marks from the file.
    pub pacing: Vec<PacingMark>,
    /// Annotations of the record.
    pub annotations: Vec<Annotation>,
    /// Place in a series.
    pub series: Option<SeriesPlace>,
    /// View-only document, when the record has no samples.
    pub document: Option<Document>,
    /// DICOM identifiers.
    pub dicom: Option<DicomIds>,
    /// Oddities found while reading that a person should see.
    pub warnings: Vec<String>,
}

impl Ecg {
    /// An empty record of `format`.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            variant: String::new(),
            rhythm: Vec::new(),
            median: Vec::new(),
            not_ecg: Vec::new(),
            patient: Patient::default(),
            device: Device::default(),
            acquired: None,
            pacing: Vec::new(),
            annotations: Vec::new(),
            series: None,
            document: None,
            dicom: None,
            warnings: Vec::new(),
        }
    }

    /// The stored rhythm leads.
    pub fn leads(&self) -> &[Lead] {
        &self.rhythm
    }

    /// Only a page to look at: no samples, so no calipers and no measurement.
    pub fn is_view_only(&self) -> bool {
        self.rhythm.is_empty() && self.document.is_some()
    }

    /// The stored lead `id`, if any.
    pub fn lead(&self, id: LeadId) -> Option<&Lead> {
        self.rhythm.iter().find(|l| l.id == id && l.is_ecg && id != LeadId::Other)
    }

    /// The leads that follow from I and II (III = II-I, aVR = -(I+II)/2, aVL = I-II/2, aVF = II-I/2) and are not stored.
    pub fn derived(&self) -> Vec<Lead> {
        derive(&self.rhythm)
    }

    /// As [`Ecg::derived`], of the median beat.
    pub fn derived_median(&self) -> Vec<Lead> {
        derive(&self.median)
    }

    /// Stored and derived ECG leads: the standard twelve first in paper order, then the others as stored.
    pub fn all_leads(&self) -> Vec<Lead> {
        let mut pool: Vec<Lead> = self.rhythm.iter().filter(|l| l.is_ecg).cloned().collect();
        pool.extend(self.derived());
        order(pool)
    }

    /// Longest extent of the rhythm, s.
    pub fn duration_s(&self) -> f64 {
        self.rhythm.iter().map(|l| l.start_s + l.duration_s()).fold(0.0, f64::max)
    }

    /// The stretch of lead `index` that is ECG: the longest run outside [`Ecg::not_ecg`], as sample indices.
    pub fn ecg_range(&self, index: usize) -> std::ops::Range<usize> {
        let Some(lead) = self.rhythm.get(index) else { return 0..0 };
        clip(lead, self.not_ecg.iter().filter(|n| n.lead.is_none_or(|l| l == index)))
    }

    /// As [`Ecg::ecg_range`], for marks that cover all leads (used for derived leads).
    pub fn common_range(&self, lead: &Lead) -> std::ops::Range<usize> {
        clip(lead, self.not_ecg.iter().filter(|n| n.lead.is_none()))
    }

    /// All eight independent leads are stored (or their equivalent).
    pub fn has_twelve(&self) -> bool {
        INDEPENDENT_8.iter().all(|id| self.lead(*id).is_some())
    }
}

fn clip<'a>(lead: &Lead, marks: impl Iterator<Item = &'a NotEcg>) -> std::ops::Range<usize> {
    let n = lead.len();
    let at = |s: f64| (((s - lead.start_s) * lead.rate_hz).round().max(0.0) as usize).min(n);
    let mut cuts: Vec<(usize, usize)> =
        marks.map(|m| (at(m.start_s), at(m.end_s))).filter(|(a, b)| a < b).collect();
    cuts.sort_unstable();
    let (mut best, mut from) = (0..0, 0);
    for (a, b) in cuts.into_iter().chain([(n, n)]) {
        if a > from && a - from > best.len() {
            best = from..a;
        }
        from = from.max(b);
    }
    best
}

fn order(pool: Vec<Lead>) -> Vec<Lead> {
    let rank = |id: LeadId| STANDARD_12.iter().position(|x| *x == id).unwrap_or(STANDARD_12.len());
    let mut keyed: Vec<(usize, Lead)> = pool.into_iter().map(|l| (rank(l.id), l)).collect();
    keyed.sort_by_key(|(rank, _)| *rank);
    keyed.into_iter().map(|(_, lead)| lead).collect()
}

/// III, aVR, aVL, aVF from stored I and II where they are absent. Exact in integers: a half unit keeps its half.
fn derive(stored: &[Lead]) -> Vec<Lead> {
    let find = |id: LeadId| stored.iter().find(|l| l.id == id && l.is_ecg && l.unit == Unit::Microvolt);
    let (Some(one), Some(two)) = (find(LeadId::I), find(LeadId::II)) else { return Vec::new() };
    if one.len() != two.len()
        || one.rate_hz.to_bits() != two.rate_hz.to_bits()
        || one.scale.to_bits() != two.scale.to_bits()
        || one.start_s.to_bits() != two.start_s.to_bits()
    {
        return Vec::new();
    }
    // twice the derived value in stored units, and twice its offset
    type Twice = (LeadId, fn(i64, i64) -> i64, fn(f64, f64) -> f64);
    let rules: [Twice; 4] = [
        (LeadId::III, |a, b| 2 * (b - a), |a, b| 2.0 * (b - a)),
        (LeadId::AVR, |a, b| -(a + b), |a, b| -(a + b)),
        (LeadId::AVL, |a, b| 2 * a - b, |a, b| 2.0 * a - b),
        (LeadId::AVF, |a, b| 2 * b - a, |a, b| 2.0 * b - a),
    ];
    rules
        .into_iter()
        .filter(|(id, ..)| find(*id).is_none())
        .map(|(id, twice, offset)| {
            let values = one.samples.iter().zip(two.samples.iter()).map(|(a, b)| {
                let gap = Some(a) == one.missing || Some(b) == two.missing;
                if gap {
                    i32::MIN
                } else {
                    i32::try_from(twice(i64::from(a), i64::from(b))).unwrap_or(i32::MIN)
                }
            });
            let mut lead = Lead::new(id.name(), one.rate_hz, Samples::I32(values.collect()), one.scale / 2.0);
            lead.offset = offset(one.offset, two.offset) / 2.0;
            lead.start_s = one.start_s;
            lead.missing = Some(i32::MIN);
            lead.filters = one.filters.clone();
            lead
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_leads() -> Ecg {
        let mut ecg = Ecg::new(Format::Scp);
        ecg.rhythm.push(Lead::new("I", 500.0, Samples::from(vec![1, 3, -5]), 5.0));
        ecg.rhythm.push(Lead::new("II", 500.0, Samples::from(vec![2, 4, 6]), 5.0));
        ecg
    }

    #[test]
    fn the_four_missing_limb_leads_follow_from_two() {
        let derived = two_leads().derived();
        let names: Vec<&str> = derived.iter().map(Lead::name).collect();
        assert_eq!(names, ["III", "aVR", "aVL", "aVF"]);
        let at = |n: usize| derived[n].uv_iter().flatten().collect::<Vec<_>>();
        assert_eq!(at(0), [5.0, 5.0, 55.0]);
        assert_eq!(at(1), [-7.5, -17.5, -2.5]);
        assert_eq!(at(2), [0.0, 5.0, -40.0]);
        assert_eq!(at(3), [7.5, 12.5, 42.5]);
    }

    #[test]
    fn a_marked_stretch_is_left_out() {
        let mut ecg = Ecg::new(Format::Sierra);
        ecg.rhythm.push(Lead::new("I", 10.0, Samples::from(vec![0; 110]), 1.0));
        ecg.not_ecg.push(NotEcg { start_s: 10.0, end_s: 11.0, what: "calibration pulse".into(), lead: None });
        assert_eq!(ecg.ecg_range(0), 0..100);
    }

    #[test]
    fn zero_duration_means_not_measurable() {
        let mut device = Device::default();
        device.measured("pr_ms", "5.13.5-7", Some(0.0), "ms");
        device.measured("qrs_axis_deg", "5.10.3-13", Some(0.0), "deg");
        assert_eq!(device.value("pr_ms"), None);
        assert_eq!(device.value("qrs_axis_deg"), Some(0.0));
    }
}
