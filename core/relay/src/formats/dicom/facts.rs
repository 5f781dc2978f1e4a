//! What an admitted file says of itself.

use super::syntax::{PixelForm, SyntaxFamily};
use super::tag::Tag;
use crate::formats::time::{ExamTime, ExamTimeTexts};
use crate::ids::{InstanceUid, SeriesUid, StudyUid};
use std::fmt;

/// Something odd that did not keep the file out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// No 128-byte preamble with `DICM`.
    NoPreamble,
    /// No file meta information; the transfer syntax was inferred.
    NoFileMeta,
    /// File meta without a transfer syntax; it was inferred.
    NoTransferSyntax,
    /// The data set is not encoded as the file meta says.
    MetaSyntaxWrong,
    /// The file meta's SOPInstanceUID differs from the data set's.
    MetaInstanceDiffers,
    /// An element has a VR that PS3.5 does not know, or none in an explicit data set.
    UnknownVr,
    /// An element holds an odd number of bytes.
    OddLength,
    /// An element that identifies patient or object occurs twice; the first is used.
    Duplicate(Tag),
    /// A wanted text was longer than is kept; the facts hold its beginning.
    Shortened(Tag),
    /// A text was not in the declared character set and was repaired.
    TextRepaired,
    /// A text holds bytes that no known character set explains.
    TextUnreadable,
    /// Pixel data is longer than its claim.
    SurplusPixels,
    /// Pixel data has no claim (Rows, Columns or bits absent).
    PixelsWithoutClaim,
    /// Encapsulated pixel data without its closing delimiter.
    NoSequenceDelimiter,
    /// A UID component begins with a zero.
    UidLeadingZero,
    /// The file ends with less than one element header, all zero.
    ZeroTail,
}

/// The header facts of one admitted DICOM file. Texts are decoded to Unicode and trimmed; `None` is absent or empty.
///
/// Holds personal data: `Debug` prints none of it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DicomFacts {
    /// Transfer syntax UID as declared, or as inferred (see `notes`).
    pub transfer_syntax: String,
    /// What that syntax does to the pixels.
    pub syntax_family: SyntaxFamily,
    /// (0008,0016), lawful.
    pub sop_class: String,
    /// (0008,0018), lawful.
    pub sop_instance_uid: InstanceUid,
    /// (0020,000D), lawful.
    pub study_uid: StudyUid,
    /// (0020,000E), lawful.
    pub series_uid: SeriesUid,
    /// (0008,0060), such as `DX` or `ECG`.
    pub modality: Option<String>,
    /// (0008,0005) as it stands in the file, Latin-1.
    pub charset_raw: Option<String>,

    /// (0010,0020).
    pub patient_id: Option<String>,
    /// (0010,0010) with its `^` and `=` structure.
    pub patient_name: Option<String>,
    /// (0010,0010) as it stands in the file, for another decoding later.
    pub patient_name_raw: Vec<u8>,
    /// Whether the name had to be repaired: show it with a mark.
    pub patient_name_repaired: bool,
    /// (0010,0040) `M`, `F`, `O`.
    pub sex: Option<String>,
    /// (0010,0030) `YYYYMMDD` as written.
    pub birth_date: Option<String>,
    /// (0010,1010) such as `046Y`.
    pub age: Option<String>,

    /// Every date and time text that can tell when the exam was.
    pub times: ExamTimeTexts,

    /// (0018,0015).
    pub body_part: Option<String>,
    /// (0020,0062) ImageLaterality, else (0020,0060) Laterality: `L`, `R`, `B`, `U`.
    pub laterality: Option<String>,
    /// (0018,5101) such as `PA`.
    pub view_position: Option<String>,
    /// (0018,1030).
    pub protocol: Option<String>,
    /// (0008,0050).
    pub accession: Option<String>,
    /// (0020,0010).
    pub study_id: Option<String>,
    /// (0020,0011) as written.
    pub series_number: Option<String>,
    /// (0020,0013) as written.
    pub instance_number: Option<String>,
    /// (0008,1030).
    pub study_description: Option<String>,
    /// (0008,103E).
    pub series_description: Option<String>,
    /// (0008,0090).
    pub referring_physician: Option<String>,
    /// (0008,0080).
    pub institution: Option<String>,
    /// (0008,1010).
    pub station: Option<String>,
    /// (0008,0070).
    pub manufacturer: Option<String>,
    /// (0008,1090).
    pub model: Option<String>,
    /// (0018,1000).
    pub device_serial: Option<String>,
    /// (0008,1070), who took it.
    pub operators: Option<String>,
    /// (0032,1033), the department that asked for it.
    pub requesting_service: Option<String>,
    /// (0038,0010), the number of the visit or admission.
    pub admission_id: Option<String>,
    /// (0018,0060) in kV, as written.
    pub kvp: Option<String>,
    /// (0018,1152) in mAs, as written.
    pub exposure_mas: Option<String>,

    /// (0028,0010), pixels.
    pub rows: Option<u32>,
    /// (0028,0011), pixels.
    pub columns: Option<u32>,
    /// (0028,0008); `None` = absent, which means one.
    pub frames: Option<u32>,
    /// (0028,0002).
    pub samples: Option<u16>,
    /// (0028,0100), bits.
    pub bits_allocated: Option<u16>,
    /// (0028,0101), bits.
    pub bits_stored: Option<u16>,
    /// (0028,0006): colour is stored by plane.
    #[serde(default)]
    pub planar: bool,
    /// (0028,0103): the samples are two's complement.
    #[serde(default)]
    pub signed: bool,
    /// The data set is big endian, and with it native samples.
    #[serde(default)]
    pub big_endian: bool,
    /// The data set is deflated: positions are those of the inflated one.
    #[serde(default)]
    pub deflated: bool,
    /// (0028,0004) such as `MONOCHROME2`.
    pub photometric: Option<String>,
    /// (0028,2110) says that the pixels were once lossily compressed.
    pub lossy: bool,
    /// How the pixels are stored.
    pub pixels: PixelForm,
    /// Whether a WaveformSequence is present: an ECG or another curve.
    pub is_waveform: bool,

    /// What was odd, sorted, each once.
    pub notes: Vec<Note>,
}

impl DicomFacts {
    /// Whether there is an image in it.
    #[must_use]
    pub const fn has_pixel_data(&self) -> bool {
        !matches!(self.pixels, PixelForm::None)
    }

    /// When the exam was; see [`ExamTime`] for order and doubts.
    #[must_use]
    pub fn exam_time(&self) -> ExamTime {
        ExamTime::of(&self.times)
    }

    /// Whether something was odd in this way.
    #[must_use]
    pub fn has_note(&self, note: Note) -> bool {
        self.notes.binary_search(&note).is_ok()
    }
}

/// Without personal data: fit for logs.
impl fmt::Debug for DicomFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DicomFacts")
            .field("transfer_syntax", &self.transfer_syntax)
            .field("sop_class", &self.sop_class)
            .field("modality", &self.modality)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("frames", &self.frames)
            .field("bits_stored", &self.bits_stored)
            .field("pixels", &self.pixels)
            .field("is_waveform", &self.is_waveform)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}
