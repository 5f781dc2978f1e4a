//! Opening DICOM files: header only, or whole; files without file meta information too.

use crate::limits::MAX_DECODE_FILE_BYTES;
use crate::problem::Problem;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex as _;
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject, OpenFileOptions};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use relay_core::codes::Code;
use relay_core::formats::dicom::{self, AdmitError};
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Bytes before the first element of a file with preamble: the preamble and `DICM`.
const PREAMBLE_BYTES: u64 = 132;

fn unreadable(error: impl std::error::Error) -> Problem {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    Problem::new(Code::UndecodableImage, "data set", reason)
}

fn failed(error: std::io::Error) -> Problem {
    Problem::new(Code::StorageFailed, "object", error.to_string())
}

/// The header, up to the pixel data.
///
/// # Errors
/// `UNDECODABLE_IMAGE` when it is no DICOM file that can be read, `STORAGE_FAILED` when the disk fails.
pub fn open(path: &Path) -> Result<DefaultDicomObject, Problem> {
    if has_meta(path)? {
        return OpenFileOptions::new().read_until(tags::PIXEL_DATA).open_file(path).map_err(unreadable);
    }
    without_meta(path)
}

/// The whole file.
///
/// # Errors
/// As [`open`], and `REFUSED_TOO_LARGE` above [`MAX_DECODE_FILE_BYTES`].
pub fn open_whole(path: &Path) -> Result<DefaultDicomObject, Problem> {
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_DECODE_FILE_BYTES {
        let reason = format!("{length} bytes, at most {MAX_DECODE_FILE_BYTES} are decoded here");
        return Err(Problem::new(Code::RefusedTooLarge, "object", reason));
    }
    if has_meta(path)? {
        return OpenFileOptions::new().open_file(path).map_err(unreadable);
    }
    without_meta(path)
}

/// Whether group 0002 comes first, with or without preamble.
fn has_meta(path: &Path) -> Result<bool, Problem> {
    let mut head = Vec::new();
    File::open(path).map_err(failed)?.take(PREAMBLE_BYTES + 2).read_to_end(&mut head).map_err(failed)?;
    let group = if head.get(128..132) == Some(b"DICM") { head.get(132..134) } else { head.get(..2) };
    Ok(group == Some(&[2, 0]))
}

/// Reads a bare data set in the transfer syntax that admission inferred.
fn without_meta(path: &Path) -> Result<DefaultDicomObject, Problem> {
    let mut file = File::open(path).map_err(failed)?;
    let facts = dicom::admit(BufReader::new(&file)).map_err(|error| match error {
        AdmitError::Refused(refusal) => Problem::new(Code::UndecodableImage, refusal.field, refusal.reason),
        AdmitError::Io(error) => failed(error),
    })?;
    let syntax =
        TransferSyntaxRegistry.get(&facts.transfer_syntax).ok_or_else(|| unknown(&facts.transfer_syntax))?;
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    (&file).take(PREAMBLE_BYTES).read_to_end(&mut head).map_err(failed)?;
    let start =
        if head.ends_with(b"DICM") && head.len() as u64 == PREAMBLE_BYTES { PREAMBLE_BYTES } else { 0 };
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let object = InMemDicomObject::read_dataset_with_ts(BufReader::new(file), syntax).map_err(unreadable)?;
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(&facts.transfer_syntax)
        .media_storage_sop_class_uid(&facts.sop_class)
        .media_storage_sop_instance_uid(facts.sop_instance_uid.as_str());
    object.with_meta(meta).map_err(unreadable)
}

/// The refusal that names a transfer syntax.
pub(super) fn unknown(syntax: &str) -> Problem {
    let name = TransferSyntaxRegistry.get(syntax).map_or("unknown", |known| known.name());
    Problem::new(Code::UndecodableImage, "transfer syntax", format!("{syntax} ({name}) is not decoded here"))
}

/// Texts and numbers of an element; everything that is absent, empty or of another form is `None`.
pub(super) trait Values {
    fn text(&self, tag: Tag) -> Option<String>;
    fn int(&self, tag: Tag) -> Option<i32>;
    fn ints(&self, tag: Tag) -> Option<Vec<i32>>;
    fn floats(&self, tag: Tag) -> Option<Vec<f64>>;
}

impl Values for InMemDicomObject {
    fn text(&self, tag: Tag) -> Option<String> {
        let text = self.get(tag)?.to_str().ok()?;
        let text = text.trim_end_matches(['\0', ' ']).trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn int(&self, tag: Tag) -> Option<i32> {
        self.get(tag)?.to_int::<i32>().ok()
    }

    fn ints(&self, tag: Tag) -> Option<Vec<i32>> {
        self.get(tag)?.to_multi_int::<i32>().ok().filter(|values| !values.is_empty())
    }

    fn floats(&self, tag: Tag) -> Option<Vec<f64>> {
        let values = self.get(tag)?.to_multi_float64().ok()?;
        (!values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
    }
}
