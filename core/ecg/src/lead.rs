//! Leads: their names, their samples in stored units, their scale.

use serde::{Deserialize, Serialize};

/// A lead a reader of ECGs knows by name. Posterior and right-sided leads have names of their own and never pass as V1-V6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the lead's own name")]
pub enum LeadId {
    I,
    II,
    III,
    #[serde(rename = "aVR")]
    AVR,
    #[serde(rename = "aVL")]
    AVL,
    #[serde(rename = "aVF")]
    AVF,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
    V9,
    V2R,
    V3R,
    V4R,
    V5R,
    V6R,
    V7R,
    V8R,
    V9R,
    /// Frank leads.
    X,
    Y,
    Z,
    /// Anything else: see [`Lead::label`].
    Other,
}

/// The standard twelve in the order of the paper.
pub const STANDARD_12: [LeadId; 12] = [
    LeadId::I,
    LeadId::II,
    LeadId::III,
    LeadId::AVR,
    LeadId::AVL,
    LeadId::AVF,
    LeadId::V1,
    LeadId::V2,
    LeadId::V3,
    LeadId::V4,
    LeadId::V5,
    LeadId::V6,
];

/// The eight leads that carry all the information of the twelve.
pub const INDEPENDENT_8: [LeadId; 8] =
    [LeadId::I, LeadId::II, LeadId::V1, LeadId::V2, LeadId::V3, LeadId::V4, LeadId::V5, LeadId::V6];

const NAMES: [(LeadId, &str); 26] = [
    (LeadId::I, "I"),
    (LeadId::II, "II"),
    (LeadId::III, "III"),
    (LeadId::AVR, "aVR"),
    (LeadId::AVL, "aVL"),
    (LeadId::AVF, "aVF"),
    (LeadId::V1, "V1"),
    (LeadId::V2, "V2"),
    (LeadId::V3, "V3"),
    (LeadId::V4, "V4"),
    (LeadId::V5, "V5"),
    (LeadId::V6, "V6"),
    (LeadId::V7, "V7"),
    (LeadId::V8, "V8"),
    (LeadId::V9, "V9"),
    (LeadId::V2R, "V2R"),
    (LeadId::V3R, "V3R"),
    (LeadId::V4R, "V4R"),
    (LeadId::V5R, "V5R"),
    (LeadId::V6R, "V6R"),
    (LeadId::V7R, "V7R"),
    (LeadId::V8R, "V8R"),
    (LeadId::V9R, "V9R"),
    (LeadId::X, "X"),
    (LeadId::Y, "Y"),
    (LeadId::Z, "Z"),
];

/// SCP-ECG lead numbers (EN 1064 table of lead identifications); MDC nomenclature (IEEE 11073-10101, partition 2) uses the same ones.
const SCP_CODES: [(u16, LeadId); 26] = [
    (1, LeadId::I),
    (2, LeadId::II),
    (3, LeadId::V1),
    (4, LeadId::V2),
    (5, LeadId::V3),
    (6, LeadId::V4),
    (7, LeadId::V5),
    (8, LeadId::V6),
    (9, LeadId::V7),
    (10, LeadId::V2R),
    (11, LeadId::V3R),
    (12, LeadId::V4R),
    (13, LeadId::V5R),
    (14, LeadId::V6R),
    (15, LeadId::V7R),
    (16, LeadId::X),
    (17, LeadId::Y),
    (18, LeadId::Z),
    (61, LeadId::III),
    (62, LeadId::AVR),
    (63, LeadId::AVL),
    (64, LeadId::AVF),
    (66, LeadId::V8),
    (67, LeadId::V9),
    (68, LeadId::V8R),
    (69, LeadId::V9R),
];

impl LeadId {
    /// The usual name; empty for [`LeadId::Other`].
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(id, _)| *id == self).map_or("", |(_, name)| name)
    }

    /// From a label as files write it: any case, with or without `Lead `, `ECG `, `MDC_ECG_LEAD_`. A modified lead (`MLII`) is not its namesake.
    pub fn parse(label: &str) -> Self {
        let mut text = label.trim();
        for prefix in ["MDC_ECG_LEAD_", "Lead ", "lead ", "LEAD ", "ECG ", "EKG ", "ecg "] {
            text = text.strip_prefix(prefix).unwrap_or(text).trim();
        }
        // "aVR, augmented voltage, right" (MDC display name)
        let text = text.split(',').next().unwrap_or(text).trim();
        let known = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(id, _)| *id);
        known.unwrap_or_else(|| match text.to_ascii_uppercase().as_str() {
            "VX" => Self::X,
            "VY" => Self::Y,
            "VZ" => Self::Z,
            "RV3" => Self::V3R,
            "RV4" => Self::V4R,
            "RV5" => Self::V5R,
            _ => Self::Other,
        })
    }

    /// From an SCP-ECG or MDC lead number.
    pub fn from_scp(code: u16) -> Self {
        SCP_CODES.iter().find(|(n, _)| *n == code).map_or(Self::Other, |(_, id)| *id)
    }

    /// The SCP-ECG or MDC lead number, if the lead has one.
    pub fn scp_code(self) -> Option<u16> {
        SCP_CODES.iter().find(|(_, id)| *id == self).map(|(n, _)| *n)
    }

    /// I, II, III, aVR, aVL, aVF.
    pub fn is_limb(self) -> bool {
        matches!(self, Self::I | Self::II | Self::III | Self::AVR | Self::AVL | Self::AVF)
    }
}

impl std::fmt::Display for LeadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Other { "?" } else { self.name() })
    }
}

/// Samples in the unit they are stored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Samples {
    /// Sixteen bits suffice.
    I16(Vec<i16>),
    /// Wider.
    I32(Vec<i32>),
}

impl Samples {
    /// The narrower form that holds all of `values`.
    pub fn narrowest(values: Vec<i32>) -> Self {
        if values.iter().all(|v| i16::try_from(*v).is_ok()) {
            Self::I16(values.iter().map(|v| i16::try_from(*v).unwrap_or_default()).collect())
        } else {
            Self::I32(values)
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        match self {
            Self::I16(v) => v.len(),
            Self::I32(v) => v.len(),
        }
    }

    /// No samples at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index` in stored units.
    pub fn get(&self, index: usize) -> Option<i32> {
        match self {
            Self::I16(v) => v.get(index).map(|s| i32::from(*s)),
            Self::I32(v) => v.get(index).copied(),
        }
    }

    /// All samples in stored units.
    pub fn iter(&self) -> Box<dyn ExactSizeIterator<Item = i32> + '_> {
        match self {
            Self::I16(v) => Box::new(v.iter().map(|s| i32::from(*s))),
            Self::I32(v) => Box::new(v.iter().copied()),
        }
    }
}

impl From<Vec<i16>> for Samples {
    fn from(values: Vec<i16>) -> Self {
        Self::I16(values)
    }
}

/// Unit of a channel after its scale is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Microvolt: every ECG lead.
    #[serde(rename = "uV")]
    Microvolt,
    /// Some other stated unit (pressure, respiration).
    #[serde(untagged)]
    Other(String),
}

impl Unit {
    /// As JSON and messages name it.
    pub fn name(&self) -> &str {
        match self {
            Self::Microvolt => "uV",
            Self::Other(name) => name,
        }
    }
}

/// Filters a cart applied before storing, as the file states them. `None` = not stated, which is not "unfiltered".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Filters {
    /// High-pass corner (baseline filter), Hz.
    pub high_pass_hz: Option<f64>,
    /// Low-pass corner (muscle filter), Hz.
    pub low_pass_hz: Option<f64>,
    /// Mains notch, Hz.
    pub notch_hz: Option<f64>,
    /// Filters the file names in words of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<String>,
}

impl Filters {
    /// Nothing is stated.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One lead: samples in stored units with the scale to microvolt.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// Which lead; `Other` when the label names none of the known ones.
    pub id: LeadId,
    /// The label as stored (trimmed).
    pub label: String,
    /// Samples per second.
    pub rate_hz: f64,
    /// Start of the first sample after the start of the record, s (carts that record three leads at a time).
    pub start_s: f64,
    /// Samples as stored.
    pub samples: Samples,
    /// Microvolt (or [`Lead::unit`]) per stored unit.
    pub scale: f64,
    /// Added after scaling, in [`Lead::unit`].
    pub offset: f64,
    /// Unit of scaled values.
    pub unit: Unit,
    /// Stored value that means "no sample".
    pub missing: Option<i32>,
    /// The channel is an ECG lead (false: pressure, respiration, status).
    pub is_ecg: bool,
    /// Filters stated for this lead.
    pub filters: Filters,
}

impl Lead {
    /// An ECG lead in microvolt starting with the record.
    pub fn new(label: &str, rate_hz: f64, samples: Samples, scale: f64) -> Self {
        Self {
            id: LeadId::parse(label),
            label: label.trim().to_owned(),
            rate_hz,
            start_s: 0.0,
            samples,
            scale,
            offset: 0.0,
            unit: Unit::Microvolt,
            missing: None,
            is_ecg: true,
            filters: Filters::default(),
        }
    }

    /// The lead's name for lists and JSON: the usual spelling of a known lead (`avr` → `aVR`), else the label as stored.
    pub fn name(&self) -> &str {
        let usual = self.id.name();
        if usual.eq_ignore_ascii_case(&self.label) || self.label.is_empty() { usual } else { &self.label }
    }

    /// The name to print on paper: the usual name of a known lead, else the label.
    pub fn paper_name(&self) -> &str {
        if self.id == LeadId::Other { &self.label } else { self.id.name() }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// No samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.len() as f64 / self.rate_hz
    }

    /// Sample `index` in microvolt; `None` when missing or out of range.
    pub fn uv(&self, index: usize) -> Option<f64> {
        let raw = self.samples.get(index)?;
        (Some(raw) != self.missing).then(|| f64::from(raw) * self.scale + self.offset)
    }

    /// Samples of `range` (cut to what is there) in microvolt, NaN where missing: for arithmetic over whole leads.
    pub fn uv_range(&self, range: std::ops::Range<usize>) -> Vec<f64> {
        let range = range.start.min(self.len())..range.end.min(self.len());
        let value = |raw: i32| {
            if Some(raw) == self.missing { f64::NAN } else { f64::from(raw) * self.scale + self.offset }
        };
        match &self.samples {
            Samples::I16(v) => v[range].iter().map(|s| value(i32::from(*s))).collect(),
            Samples::I32(v) => v[range].iter().map(|s| value(*s)).collect(),
        }
    }

    /// All samples in microvolt, `None` where missing.
    pub fn uv_iter(&self) -> impl ExactSizeIterator<Item = Option<f64>> + '_ {
        self.samples
            .iter()
            .map(|raw| (Some(raw) != self.missing).then(|| f64::from(raw) * self.scale + self.offset))
    }

    /// All samples in microvolt as `f32`, missing ones as NaN (for drawing and filters).
    pub fn uv_f32(&self) -> Vec<f32> {
        self.uv_iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect()
    }

    /// Number of missing samples.
    pub fn missing_count(&self) -> usize {
        self.missing.map_or(0, |gap| self.samples.iter().filter(|s| *s == gap).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_many_files_name_the_same_lead() {
        for label in
            ["aVR", "avr", "AVR", "Lead aVR", "MDC_ECG_LEAD_AVR", "ECG aVR", "aVR, augmented voltage, right"]
        {
            assert_eq!(LeadId::parse(label), LeadId::AVR, "{label}");
        }
        assert_eq!(LeadId::parse("MLII"), LeadId::Other);
        assert_eq!(LeadId::parse("vx"), LeadId::X);
    }

    #[test]
    fn posterior_and_right_sided_leads_keep_their_names() {
        for (label, name) in [("V7", "V7"), ("V3R", "V3R"), ("v4r", "V4R"), ("RV5", "V5R"), ("V9", "V9")] {
            assert_eq!(LeadId::parse(label).name(), name);
        }
    }

    #[test]
    fn lead_numbers_go_both_ways() {
        for (code, id) in SCP_CODES {
            assert_eq!(LeadId::from_scp(code), id);
            assert_eq!(id.scp_code(), Some(code));
        }
    }

    #[test]
    fn a_missing_sample_is_never_a_value() {
        let mut lead = Lead::new("II", 500.0, Samples::from(vec![0, 10, i16::MIN]), 2.5);
        lead.missing = Some(i32::from(i16::MIN));
        assert_eq!(lead.uv_iter().collect::<Vec<_>>(), [Some(0.0), Some(25.0), None]);
        assert_eq!(lead.missing_count(), 1);
    }
}
