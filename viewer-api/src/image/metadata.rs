//! The header as DICOM JSON (PS3.18 annex F): always UTF-8, whatever the file says of its characters.

use super::header::{self, Values as _};
use crate::limits::MAX_JSON_VALUE_BYTES;
use crate::problem::Problem;
use dicom_core::header::Header as _;
use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use relay_core::codes::Code;
use relay_core::formats::text::{Charset, Field};
use std::path::Path;

/// Depth of nested sequences that is looked into; real objects have five.
const MAX_DEPTH: usize = 16;

/// The header as a DICOM JSON data set; pixel data, waveforms and other long values are left out.
///
/// # Errors
/// `UNDECODABLE_IMAGE` when the file is no DICOM file that can be read.
pub fn dicom_json(path: &Path) -> Result<serde_json::Value, Problem> {
    let object = header::open(path)?.into_inner();
    let raw = object.text(tags::SPECIFIC_CHARACTER_SET).unwrap_or_default();
    let mut object = cleaned(object, &Texts::of(&raw), 0);
    object.put(DataElement::new(tags::SPECIFIC_CHARACTER_SET, VR::CS, PrimitiveValue::from("ISO_IR 192")));
    dicom_json::to_value(&object)
        .map_err(|error| Problem::new(Code::Internal, "DICOM JSON", error.to_string()))
}

/// How the texts of this file are read again.
struct Texts {
    charset: Charset,
    /// The library read every byte as one character: the bytes can be taken back.
    bytes_kept: bool,
}

impl Texts {
    fn of(raw: &str) -> Self {
        let first = raw.split('\\').next().unwrap_or_default().trim();
        let kept = ["", "ISO_IR 6", "ISO 2022 IR 6", "ISO_IR 100", "ISO 2022 IR 100"];
        Self { charset: Charset::of(raw), bytes_kept: kept.contains(&first) }
    }

    fn again(&self, text: &str, field: Field) -> Option<String> {
        if !self.bytes_kept || (text.is_ascii() && !text.contains('\u{1B}')) {
            return None;
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        Some(self.charset.decode(&bytes?, field).text)
    }
}

fn field_of(vr: VR) -> Option<Field> {
    match vr {
        VR::PN => Some(Field::Name),
        VR::LO | VR::SH | VR::UC => Some(Field::Line),
        VR::LT | VR::ST | VR::UT => Some(Field::Paragraph),
        _ => None,
    }
}

fn cleaned(object: InMemDicomObject, texts: &Texts, depth: usize) -> InMemDicomObject {
    let mut out = InMemDicomObject::new_empty();
    for element in object {
        let (tag, vr) = (element.tag(), element.vr());
        if tag == tags::PIXEL_DATA || tag == Tag(0x5400, 0x1010) {
            continue;
        }
        match element.into_value() {
            Value::Sequence(sequence) if depth < MAX_DEPTH => {
                let items: Vec<InMemDicomObject> =
                    sequence.into_items().into_iter().map(|item| cleaned(item, texts, depth + 1)).collect();
                out.put(DataElement::new(tag, vr, DataSetSequence::new(items, Length::UNDEFINED)));
            }
            Value::Primitive(value) if value.calculate_byte_len() <= MAX_JSON_VALUE_BYTES => {
                out.put(DataElement::new(tag, vr, reread(value, vr, texts)));
            }
            _ => {}
        }
    }
    out
}

fn reread(value: PrimitiveValue, vr: VR, texts: &Texts) -> PrimitiveValue {
    let Some(field) = field_of(vr) else { return value };
    let parts = match &value {
        PrimitiveValue::Str(text) => vec![text.clone()],
        PrimitiveValue::Strs(parts) => parts.to_vec(),
        _ => return value,
    };
    let again: Vec<String> =
        parts.into_iter().map(|part| texts.again(&part, field).unwrap_or(part)).collect();
    PrimitiveValue::Strs(again.into())
}
