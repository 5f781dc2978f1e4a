//! The DICOM object around the pixels: Digital X-Ray Image For Presentation (PS3.3 §A.26), complete enough that
//! `dciodvfy` has no complaint.

use super::{FilmRequest, Image, TextCoding, View};
use dicom_core::dictionary::DataDictionary;
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use jiff::tz::Offset;

/// Digital X-Ray Image Storage, For Presentation.
const DX_FOR_PRESENTATION: &str = "1.2.840.10008.5.1.4.1.1.1.1";
/// Explicit VR little endian.
const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
/// Names this writer in the file meta.
const IMPLEMENTATION: &str = "2.25.98112436570214936208413374530611826017";

/// Why a phantom could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// Bits stored out of range.
    #[error("{0} bits stored: 12 to 14 are lawful")]
    Bits(u16),
    /// Scale out of range.
    #[error("scale {0}: 0.05 to 2 is lawful")]
    Scale(f32),
    /// The exam time cannot be written as a date.
    #[error("the exam time cannot be written as a date: {0}")]
    Time(#[from] jiff::Error),
    /// The file meta is incomplete.
    #[error("file meta: {0}")]
    Meta(#[source] Box<dicom_object::meta::Error>),
    /// The object cannot be encoded.
    #[error("cannot write the object: {0}")]
    Write(#[source] Box<dicom_object::WriteError>),
}

/// An object being filled; VRs come from the dictionary.
struct Sheet(InMemDicomObject);

impl Sheet {
    fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    fn vr(tag: Tag) -> VR {
        StandardDataDictionary.by_tag(tag).map_or(VR::LO, |entry| {
            use dicom_core::dictionary::DataDictionaryEntry;
            entry.vr().relaxed()
        })
    }

    fn text(&mut self, tag: Tag, text: impl Into<String>) {
        let values: Vec<String> = text.into().split('\\').map(str::to_owned).collect();
        self.0.put(DataElement::new(tag, Self::vr(tag), PrimitiveValue::Strs(values.into())));
    }

    fn number(&mut self, tag: Tag, number: usize) {
        let value = u16::try_from(number).unwrap_or(u16::MAX);
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }

    fn signed(&mut self, tag: Tag, number: i16) {
        self.0.put(DataElement::new(tag, VR::SS, PrimitiveValue::from(number)));
    }

    fn items(&mut self, tag: Tag, items: Vec<Self>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|sheet| sheet.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }

    fn code(value: &str, scheme: &str, meaning: &str) -> Self {
        let mut sheet = Self::new();
        sheet.text(tags::CODE_VALUE, value);
        sheet.text(tags::CODING_SCHEME_DESIGNATOR, scheme);
        sheet.text(tags::CODE_MEANING, meaning);
        sheet
    }
}

/// What a view is called.
struct Words {
    body: &'static str,
    region: (&'static str, &'static str),
    position: &'static str,
    view: (&'static str, &'static str),
    study: &'static str,
    series: &'static str,
    laterality: &'static str,
    orientation: &'static str,
    kvp: &'static str,
}

impl Words {
    const fn of(view: View) -> Self {
        const PA: (&str, &str) = ("272479007", "postero-anterior projection");
        const THORAX: (&str, &str) = ("43799004", "Thorax");
        match view {
            View::ChestPa => Self {
                body: "CHEST",
                region: THORAX,
                position: "PA",
                view: PA,
                study: "胸部正侧位",
                series: "胸部后前位",
                laterality: "U",
                orientation: "L\\F",
                kvp: "120",
            },
            View::ChestLateral => Self {
                body: "CHEST",
                region: THORAX,
                position: "LL",
                view: ("399173006", "left lateral projection"),
                study: "胸部正侧位",
                series: "胸部左侧位",
                laterality: "U",
                orientation: "P\\F",
                kvp: "125",
            },
            View::Hand { left } => Self {
                body: "HAND",
                region: ("85562004", "Hand"),
                position: "PA",
                view: PA,
                study: if left { "左手正位" } else { "右手正位" },
                series: if left { "左手后前位" } else { "右手后前位" },
                laterality: if left { "L" } else { "R" },
                orientation: if left { "R\\F" } else { "L\\F" },
                kvp: "55",
            },
        }
    }
}

/// The whole file.
pub(super) fn write(request: &FilmRequest, image: Image) -> Result<Vec<u8>, PhantomError> {
    let words = Words::of(request.view);
    let mut sheet = Sheet::new();
    general(&mut sheet, request, &words)?;
    acquisition(&mut sheet, request, &words, &image);
    pixel_modules(&mut sheet, request, &image);
    let pixels: dicom_core::value::C<u16> = image.pixels.into();
    sheet.0.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels)));
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(DX_FOR_PRESENTATION)
        .media_storage_sop_instance_uid(&request.instance_uid)
        .transfer_syntax(EXPLICIT_LE)
        .implementation_class_uid(IMPLEMENTATION)
        .implementation_version_name("RELAY_PHANTOM")
        .build()
        .map_err(|error| PhantomError::Meta(Box::new(error)))?;
    let file = sheet.0.with_exact_meta(meta);
    let mut bytes = Vec::with_capacity(2 * image.rows * image.columns + 4096);
    file.write_all(&mut bytes).map_err(|error| PhantomError::Write(Box::new(error)))?;
    Ok(bytes)
}

fn general(sheet: &mut Sheet, request: &FilmRequest, words: &Words) -> Result<(), PhantomError> {
    let charset = match request.coding {
        TextCoding::Gb18030 => "GB18030",
        TextCoding::Utf8 => "ISO_IR 192",
    };
    sheet.text(tags::SPECIFIC_CHARACTER_SET, charset);
    sheet.text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY\\");
    sheet.text(tags::SOP_CLASS_UID, DX_FOR_PRESENTATION);
    sheet.text(tags::SOP_INSTANCE_UID, &request.instance_uid);
    let local =
        jiff::Timestamp::from_millisecond(request.exam_at.0)?.to_zoned(Offset::constant(8).to_time_zone());
    let (date, time) = (local.strftime("%Y%m%d").to_string(), local.strftime("%H%M%S").to_string());
    for tag in [tags::STUDY_DATE, tags::SERIES_DATE, tags::ACQUISITION_DATE, tags::CONTENT_DATE] {
        sheet.text(tag, &date);
    }
    for tag in [tags::STUDY_TIME, tags::SERIES_TIME, tags::ACQUISITION_TIME, tags::CONTENT_TIME] {
        sheet.text(tag, &time);
    }
    sheet.text(tags::TIMEZONE_OFFSET_FROM_UTC, "+0800");
    sheet.text(tags::ACCESSION_NUMBER, &request.accession);
    sheet.text(tags::MODALITY, "DX");
    sheet.text(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION");
    sheet.text(tags::MANUFACTURER, "Relay phantom");
    sheet.text(tags::INSTITUTION_NAME, &request.institution);
    sheet.text(tags::REFERRING_PHYSICIAN_NAME, "");
    sheet.text(tags::STATION_NAME, &request.station);
    sheet.text(tags::STUDY_DESCRIPTION, words.study);
    sheet.text(tags::SERIES_DESCRIPTION, words.series);
    sheet.text(tags::MANUFACTURER_MODEL_NAME, "PHANTOM-DR");
    sheet.text(tags::DEVICE_SERIAL_NUMBER, "PH0001");
    sheet.text(tags::SOFTWARE_VERSIONS, env!("CARGO_PKG_VERSION"));
    sheet.text(tags::DERIVATION_DESCRIPTION, "computed phantom, no patient");
    sheet.text(tags::PATIENT_NAME, &request.patient.name);
    sheet.text(tags::PATIENT_ID, &request.patient.id);
    sheet.text(tags::PATIENT_BIRTH_DATE, &request.patient.birth_date);
    sheet.text(tags::PATIENT_SEX, &request.patient.sex);
    sheet.text(tags::PATIENT_AGE, &request.patient.age);
    sheet.text(tags::STUDY_INSTANCE_UID, &request.study_uid);
    sheet.text(tags::SERIES_INSTANCE_UID, &request.series_uid);
    sheet.text(tags::STUDY_ID, &request.accession);
    sheet.text(tags::SERIES_NUMBER, request.series_number.to_string());
    sheet.text(tags::INSTANCE_NUMBER, "1");
    Ok(())
}

fn acquisition(sheet: &mut Sheet, request: &FilmRequest, words: &Words, image: &Image) {
    let chest = words.body == "CHEST";
    let [left, right, top, bottom] = image.field;
    sheet.text(tags::BODY_PART_EXAMINED, words.body);
    sheet.text(tags::KVP, words.kvp);
    sheet.text(tags::EXPOSURE_TIME, (8 + request.seed % 20).to_string());
    sheet.text(tags::X_RAY_TUBE_CURRENT, "320");
    sheet.text(tags::EXPOSURE, (3 + request.seed % 5).to_string());
    sheet.text(tags::RELATIVE_X_RAY_EXPOSURE, (300 + request.seed % 200).to_string());
    let spacing = format!("{0:.4}\\{0:.4}", image.pitch);
    sheet.text(tags::IMAGER_PIXEL_SPACING, &spacing);
    sheet.text(tags::PIXEL_SPACING, &spacing);
    sheet.text(tags::PIXEL_SPACING_CALIBRATION_TYPE, "GEOMETRY");
    sheet.text(tags::PIXEL_SPACING_CALIBRATION_DESCRIPTION, "detector plane");
    sheet.text(tags::COLLIMATOR_SHAPE, "RECTANGULAR");
    sheet.text(tags::SHUTTER_SHAPE, "RECTANGULAR");
    for (collimator, shutter, at) in [
        (tags::COLLIMATOR_LEFT_VERTICAL_EDGE, tags::SHUTTER_LEFT_VERTICAL_EDGE, left + 1),
        (tags::COLLIMATOR_RIGHT_VERTICAL_EDGE, tags::SHUTTER_RIGHT_VERTICAL_EDGE, right),
        (tags::COLLIMATOR_UPPER_HORIZONTAL_EDGE, tags::SHUTTER_UPPER_HORIZONTAL_EDGE, top + 1),
        (tags::COLLIMATOR_LOWER_HORIZONTAL_EDGE, tags::SHUTTER_LOWER_HORIZONTAL_EDGE, bottom),
    ] {
        sheet.text(collimator, at.to_string());
        sheet.text(shutter, at.to_string());
    }
    sheet.number(tags::SHUTTER_PRESENTATION_VALUE, 0);
    sheet.text(tags::VIEW_POSITION, words.position);
    sheet.text(tags::DETECTOR_TYPE, "SCINTILLATOR");
    sheet.text(tags::DETECTOR_CONFIGURATION, "AREA");
    sheet.text(tags::DETECTOR_ID, "FPD1");
    sheet.text(tags::FIELD_OF_VIEW_SHAPE, "RECTANGLE");
    sheet.text(tags::POSITIONER_TYPE, if chest { "COLUMN" } else { "NONE" });
    sheet.text(tags::EXPOSURE_CONTROL_MODE, if chest { "AUTOMATIC" } else { "MANUAL" });
    sheet.text(tags::PATIENT_ORIENTATION, words.orientation);
    sheet.text(tags::IMAGE_LATERALITY, words.laterality);
    sheet.text(tags::IMAGES_IN_ACQUISITION, "1");
    sheet.items(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    sheet.items(tags::ANATOMIC_REGION_SEQUENCE, vec![Sheet::code(words.region.0, "SCT", words.region.1)]);
    let mut view = Sheet::code(words.view.0, "SCT", words.view.1);
    view.items(tags::VIEW_MODIFIER_CODE_SEQUENCE, Vec::new());
    sheet.items(tags::VIEW_CODE_SEQUENCE, vec![view]);
}

fn pixel_modules(sheet: &mut Sheet, request: &FilmRequest, image: &Image) {
    let bits = usize::from(request.bits);
    sheet.number(tags::SAMPLES_PER_PIXEL, 1);
    sheet.text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2");
    sheet.number(tags::ROWS, image.rows);
    sheet.number(tags::COLUMNS, image.columns);
    sheet.number(tags::BITS_ALLOCATED, 16);
    sheet.number(tags::BITS_STORED, bits);
    sheet.number(tags::HIGH_BIT, bits - 1);
    sheet.number(tags::PIXEL_REPRESENTATION, 0);
    sheet.text(tags::BURNED_IN_ANNOTATION, "NO");
    sheet.text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG");
    sheet.signed(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, -1);
    sheet.text(tags::RESCALE_INTERCEPT, "0");
    sheet.text(tags::RESCALE_SLOPE, "1");
    sheet.text(tags::RESCALE_TYPE, "US");
    sheet.text(tags::LOSSY_IMAGE_COMPRESSION, "00");
    sheet.text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
    sheet.text(tags::WINDOW_CENTER, (1u32 << (bits - 1)).to_string());
    sheet.text(tags::WINDOW_WIDTH, (1u32 << bits).to_string());
    sheet.text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, "NORMAL");
}
