//! Data element tags and the names of those this crate speaks about (PS3.6).

use std::fmt;

/// A data element tag: group and element number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Tag(pub u16, pub u16);

macro_rules! tags {
    ($($name:ident = $group:literal, $element:literal, $keyword:literal;)+) => {
        impl Tag {
            $(
                #[doc = concat!("(PS3.6) ", $keyword)]
                pub const $name: Self = Self($group, $element);
            )+

            /// The PS3.6 keyword of a tag this crate speaks about.
            #[must_use]
            pub const fn keyword(self) -> Option<&'static str> {
                match (self.0, self.1) {
                    $(($group, $element) => Some($keyword),)+
                    _ => None,
                }
            }
        }
    };
}

tags! {
    META_SOP_CLASS = 0x0002, 0x0002, "MediaStorageSOPClassUID";
    META_SOP_INSTANCE = 0x0002, 0x0003, "MediaStorageSOPInstanceUID";
    TRANSFER_SYNTAX = 0x0002, 0x0010, "TransferSyntaxUID";
    CHARSET = 0x0008, 0x0005, "SpecificCharacterSet";
    SOP_CLASS = 0x0008, 0x0016, "SOPClassUID";
    SOP_INSTANCE = 0x0008, 0x0018, "SOPInstanceUID";
    STUDY_DATE = 0x0008, 0x0020, "StudyDate";
    SERIES_DATE = 0x0008, 0x0021, "SeriesDate";
    ACQUISITION_DATE = 0x0008, 0x0022, "AcquisitionDate";
    CONTENT_DATE = 0x0008, 0x0023, "ContentDate";
    ACQUISITION_DATE_TIME = 0x0008, 0x002A, "AcquisitionDateTime";
    STUDY_TIME = 0x0008, 0x0030, "StudyTime";
    SERIES_TIME = 0x0008, 0x0031, "SeriesTime";
    ACQUISITION_TIME = 0x0008, 0x0032, "AcquisitionTime";
    CONTENT_TIME = 0x0008, 0x0033, "ContentTime";
    ACCESSION = 0x0008, 0x0050, "AccessionNumber";
    MODALITY = 0x0008, 0x0060, "Modality";
    MANUFACTURER = 0x0008, 0x0070, "Manufacturer";
    INSTITUTION = 0x0008, 0x0080, "InstitutionName";
    REFERRING_PHYSICIAN = 0x0008, 0x0090, "ReferringPhysicianName";
    TIMEZONE_OFFSET = 0x0008, 0x0201, "TimezoneOffsetFromUTC";
    STATION = 0x0008, 0x1010, "StationName";
    STUDY_DESCRIPTION = 0x0008, 0x1030, "StudyDescription";
    SERIES_DESCRIPTION = 0x0008, 0x103E, "SeriesDescription";
    OPERATORS_NAME = 0x0008, 0x1070, "OperatorsName";
    MODEL = 0x0008, 0x1090, "ManufacturerModelName";
    PATIENT_NAME = 0x0010, 0x0010, "PatientName";
    PATIENT_ID = 0x0010, 0x0020, "PatientID";
    BIRTH_DATE = 0x0010, 0x0030, "PatientBirthDate";
    SEX = 0x0010, 0x0040, "PatientSex";
    AGE = 0x0010, 0x1010, "PatientAge";
    BODY_PART = 0x0018, 0x0015, "BodyPartExamined";
    KVP = 0x0018, 0x0060, "KVP";
    DEVICE_SERIAL = 0x0018, 0x1000, "DeviceSerialNumber";
    PROTOCOL = 0x0018, 0x1030, "ProtocolName";
    EXPOSURE = 0x0018, 0x1152, "Exposure";
    VIEW_POSITION = 0x0018, 0x5101, "ViewPosition";
    STUDY_UID = 0x0020, 0x000D, "StudyInstanceUID";
    SERIES_UID = 0x0020, 0x000E, "SeriesInstanceUID";
    STUDY_ID = 0x0020, 0x0010, "StudyID";
    SERIES_NUMBER = 0x0020, 0x0011, "SeriesNumber";
    INSTANCE_NUMBER = 0x0020, 0x0013, "InstanceNumber";
    LATERALITY = 0x0020, 0x0060, "Laterality";
    IMAGE_LATERALITY = 0x0020, 0x0062, "ImageLaterality";
    SAMPLES = 0x0028, 0x0002, "SamplesPerPixel";
    PHOTOMETRIC = 0x0028, 0x0004, "PhotometricInterpretation";
    PLANAR = 0x0028, 0x0006, "PlanarConfiguration";
    FRAMES = 0x0028, 0x0008, "NumberOfFrames";
    ROWS = 0x0028, 0x0010, "Rows";
    COLUMNS = 0x0028, 0x0011, "Columns";
    BITS_ALLOCATED = 0x0028, 0x0100, "BitsAllocated";
    BITS_STORED = 0x0028, 0x0101, "BitsStored";
    PIXEL_REPRESENTATION = 0x0028, 0x0103, "PixelRepresentation";
    LOSSY = 0x0028, 0x2110, "LossyImageCompression";
    REQUESTING_SERVICE = 0x0032, 0x1033, "RequestingService";
    ADMISSION_ID = 0x0038, 0x0010, "AdmissionID";
    WAVEFORM_SEQUENCE = 0x5400, 0x0100, "WaveformSequence";
    FLOAT_PIXEL_DATA = 0x7FE0, 0x0008, "FloatPixelData";
    DOUBLE_PIXEL_DATA = 0x7FE0, 0x0009, "DoubleFloatPixelData";
    PIXEL_DATA = 0x7FE0, 0x0010, "PixelData";
    ITEM = 0xFFFE, 0xE000, "Item";
    ITEM_END = 0xFFFE, 0xE00D, "ItemDelimitationItem";
    SEQUENCE_END = 0xFFFE, 0xE0DD, "SequenceDelimitationItem";
}

impl Tag {
    /// Whether this element holds the pixels.
    #[must_use]
    pub const fn is_pixels(self) -> bool {
        matches!((self.0, self.1), (0x7FE0, 0x0008..=0x0010)) && matches!(self.1, 0x0008 | 0x0009 | 0x0010)
    }
}

/// `(0020,000D) StudyInstanceUID`, or the bare tag where the keyword is not known here.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.0, self.1)?;
        self.keyword().map_or(Ok(()), |keyword| write!(f, " {keyword}"))
    }
}
