//! What the viewer needs to show a frame and to measure on it, and ECG samples.

use serde::Serialize;
use utoipa::ToSchema;

/// A window of the file (0028,1050/1051/1055).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Window {
    /// Centre, in values after the modality transformation.
    pub center: f64,
    /// Width.
    pub width: f64,
    /// Explanation or empty.
    pub explanation: String,
}

/// How a window maps values to grey (PS3.3 C.11.2.1.2, C.11.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoiFunction {
    /// Width and centre with the half-pixel terms of C.11.2.1.2.1.
    Linear,
    /// C.11.2.1.3.2.
    LinearExact,
    /// C.11.2.1.3.1.
    Sigmoid,
}

/// A lookup table (PS3.3 C.11.1.1, C.11.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lut {
    /// First value mapped; values below take the first entry, values above the last.
    pub first: i32,
    /// Bits of an entry: 8 to 16.
    pub bits: u16,
    /// Entries.
    pub entries: Vec<u16>,
    /// Explanation or empty.
    pub explanation: String,
}

/// On what a length in mm rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpacingBasis {
    /// PixelSpacing, calibrated (it says so, or differs from the detector's spacing).
    Calibrated,
    /// PixelSpacing without a word on calibration.
    PixelSpacing,
    /// 探测器面: ImagerPixelSpacing, lengths in the plane of the detector.
    Detector,
    /// ImagerPixelSpacing divided by the estimated magnification.
    DetectorCorrected,
}

/// Size of a pixel. Absent when the file states none above zero: then only pixels and angles can be measured.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Spacing {
    /// mm from row to row.
    pub row_mm: f64,
    /// mm from column to column.
    pub column_mm: f64,
    /// On what it rests; the page prints it beside every length.
    pub basis: SpacingBasis,
}

/// Padding of the image border (0028,0120/0121): shown as background, not counted for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Padding {
    /// Lowest stored value that is padding.
    pub low: i32,
    /// Highest stored value that is padding.
    pub high: i32,
}

/// Everything about a frame but its samples. Samples come from the `raw` route beside it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FrameInfo {
    /// Frame, counted from 1.
    pub frame: u32,
    /// Frames in the object.
    pub frames: u32,
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// 1 (grey) or 3 (RGB, interleaved).
    pub samples_per_pixel: u16,
    /// Photometric interpretation of the raw samples (`MONOCHROME1`, `MONOCHROME2`, `RGB` …).
    pub photometric: String,
    /// Bits of a raw sample: grey is always 16 (little-endian), colour 8.
    pub raw_bits: u16,
    /// Bits of the file's samples.
    pub bits_allocated: u16,
    /// Bits that carry the value; the others of a raw sample are zero, or copies of the sign.
    pub bits_stored: u16,
    /// Raw samples are two's complement.
    pub signed: bool,
    /// Rescale slope; ignored when `modality_lut` is there.
    pub rescale_slope: f64,
    /// Rescale intercept.
    pub rescale_intercept: f64,
    /// Modality LUT, if the file has one.
    pub modality_lut: Option<Lut>,
    /// Windows of the file; the first is the default. Empty: the page takes one from the samples.
    pub windows: Vec<Window>,
    /// How a window maps.
    pub voi_function: VoiFunction,
    /// VOI LUT of the file; when there is no window it is the default.
    pub voi_lut: Option<Lut>,
    /// High values are dark: MONOCHROME1 or presentation LUT shape INVERSE.
    pub invert: bool,
    /// Padding, if stated.
    pub padding: Option<Padding>,
    /// Pixel size, if known.
    pub spacing: Option<Spacing>,
    /// The stored pixels were compressed with loss.
    pub lossy: bool,
    /// Transfer syntax UID of the file.
    pub transfer_syntax: String,
}

/// One lead of an ECG.
#[derive(Debug, Serialize, ToSchema)]
pub struct EcgLead {
    /// Label such as `I`, `aVR`, `V1`.
    pub label: String,
    /// Samples per second.
    pub rate_hz: f64,
    /// Start after the beginning of the record, s.
    pub start_s: f64,
    /// Physical value of a sample = sample × scale + offset.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// Unit of the physical value, `uV` for ECG.
    pub unit: String,
    /// This sample value means *missing*.
    pub missing: Option<i32>,
    /// Computed from I and II, not stored in the file.
    pub derived: bool,
    /// Stored samples.
    pub samples: Vec<i32>,
}

/// A number that the cart measured: machine made, unconfirmed.
#[derive(Debug, Serialize, ToSchema)]
pub struct EcgMeasurement {
    /// Key, such as `rate_bpm`, `pr_ms`.
    pub key: String,
    /// Value; absent = stored as not measurable.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
}

/// A stretch of the record that is not ECG.
#[derive(Debug, Serialize, ToSchema)]
pub struct EcgGap {
    /// Start, s.
    pub start_s: f64,
    /// End, s.
    pub end_s: f64,
    /// What it is.
    pub what: String,
}

/// An ECG as samples.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waveform {
    /// Format it was read from.
    pub format: String,
    /// Leads: the standard twelve in paper order, then the others.
    pub leads: Vec<EcgLead>,
    /// Longest extent, s.
    pub duration_s: f64,
    /// Acquisition time as stated (ISO 8601 local), with offset only when the file states it.
    pub acquired: Option<String>,
    /// What the cart measured.
    pub measurements: Vec<EcgMeasurement>,
    /// What the cart claims, line by line.
    pub statements: Vec<String>,
    /// Stretches that are not ECG.
    pub not_ecg: Vec<EcgGap>,
    /// High-pass filter stated by the cart, Hz.
    pub high_pass_hz: Option<f64>,
    /// Low-pass filter stated by the cart, Hz.
    pub low_pass_hz: Option<f64>,
    /// Notch filter stated by the cart, Hz.
    pub notch_hz: Option<f64>,
    /// Oddities that a person should see.
    pub warnings: Vec<String>,
}
