//! The paper: one pure layout in millimetres; SVG, PDF and JSON geometry are made from it and from nothing else.

mod layout;
mod pdf;
mod svg;

pub use layout::layout;
pub use pdf::{Glyph, Step, pdf};
pub use svg::svg;

use serde::{Deserialize, Serialize};

use crate::lead::LeadId;

/// Which leads stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Three rows of four columns and one rhythm row.
    ThreeByFourPlus1,
    /// Three rows of four columns and three rhythm rows (II, V1, V5).
    ThreeByFourPlus3,
    /// Six rows of two columns.
    SixByTwo,
    /// One row a lead.
    TwelveByOne,
}

/// Filters of the display only, zero phase; `None` = as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DisplayFilters {
    /// High-pass corner, Hz.
    pub high_pass_hz: Option<f64>,
    /// Low-pass corner, Hz.
    pub low_pass_hz: Option<f64>,
    /// Notch, Hz.
    pub notch_hz: Option<f64>,
}

/// How to draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Paper speed, mm/s: 12.5, 25, 50.
    pub speed_mm_s: f64,
    /// Gain, mm/mV: 2.5, 5, 10, 20.
    pub gain_mm_mv: f64,
    /// Arrangement.
    pub format: Format,
    /// Lead of the single rhythm row.
    pub rhythm: LeadId,
    /// Limb leads as aVL, I, -aVR, II, aVF, III.
    pub cabrera: bool,
    /// Display filters.
    pub filters: DisplayFilters,
    /// First second shown.
    pub start_s: f64,
    /// Seconds of a full row.
    pub seconds: f64,
    /// At most this many columns of points per mm; each keeps its minimum and maximum. `None` = every sample.
    pub columns_per_mm: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            speed_mm_s: 25.0,
            gain_mm_mv: 10.0,
            format: Format::ThreeByFourPlus1,
            rhythm: LeadId::II,
            cabrera: false,
            filters: DisplayFilters::default(),
            start_s: 0.0,
            seconds: 10.0,
            columns_per_mm: None,
        }
    }
}

/// A lead in a stretch of time. Points are millimetres from the left and upper edge of the paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Lead name as printed.
    pub lead: String,
    /// Seconds of the record the trace starts and ends at.
    pub start_s: f64,
    /// End, s.
    pub end_s: f64,
    /// Left end, mm.
    pub x: f64,
    /// Height of `baseline_uv`, mm.
    pub y: f64,
    /// Level drawn at `y`: the median of the shown lead, µV.
    pub baseline_uv: f64,
    /// -1 for an inverted lead (-aVR), else 1.
    pub sign: f64,
    /// Runs of points; a gap in the record ends a run.
    pub runs: Vec<Vec<[f64; 2]>>,
}

/// Words on the paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// Left end of the words, mm.
    pub x: f64,
    /// Base line, mm.
    pub y: f64,
    /// Size of the letters, mm.
    pub size: f64,
    /// The words.
    pub text: String,
}

/// A pacing tick from the file's marks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    /// Place, mm.
    pub x: f64,
    /// Upper end, mm.
    pub y: f64,
    /// Height, mm.
    pub height: f64,
}

/// The whole paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paper {
    /// Width, mm.
    pub width: f64,
    /// Height, mm.
    pub height: f64,
    /// Grid: left, top, width, height, mm; lines each 1 mm, bold each 5 mm from its corner.
    pub grid: [f64; 4],
    /// mm/s.
    pub speed_mm_s: f64,
    /// mm/mV.
    pub gain_mm_mv: f64,
    /// Leads.
    pub traces: Vec<Trace>,
    /// Calibration pulses, one a row: 1 mV, 200 ms.
    pub pulses: Vec<Vec<[f64; 2]>>,
    /// Lead names, scales, filters.
    pub labels: Vec<Label>,
    /// Pacing marks.
    pub pacing: Vec<Tick>,
}

impl Paper {
    /// Geometry for the browser.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}
