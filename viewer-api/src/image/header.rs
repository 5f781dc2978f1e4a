//! Opening DICOM files: header only, or whole; files without file meta information too.

use super::bounds::{self, Extent};
use crate::limits::{MAX_DECODE_FILE_BYTES, MAX_DICOM_HEADER_BYTES as MAX_HEADER_BYTES};
use crate::problem::Problem;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex as _;
use dicom_object::file::ReadPreamble;
use dicom_object::{
    DefaultDicomObject, FileMetaTable, FileMetaTableBuilder, InMemDicomObject, OpenFileOptions,
};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use relay_core::codes::Code;
use relay_core::formats::dicom::{self, AdmitError, DicomFacts, Note, PixelForm};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes before the first element of a file with preamble: the preamble and `DICM`.
const PREAMBLE_BYTES: u64 = 132;

/// Error and causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) fn unreadable(error: impl std::error::Error) -> Problem {
    Problem::new(Code::UndecodableImage, "data set", chain(&error))
}

pub(super) fn failed(error: std::io::Error) -> Problem {
    Problem::new(Code::StorageFailed, "object", error.to_string())
}

/// A DICOM file whose data set was found, claims no more than is read here, and is not nested too deeply.
///
/// Transfer syntax and start of the data set are those of admission, not of the file meta, which may be absent or wrong.
#[derive(Debug)]
pub struct Source<'a> {
    path: &'a Path,
    start: u64,
    meta: FileMetaTable,
    /// Bytes of the file.
    length: u64,
    pixels: PixelForm,
    deflated: bool,
}

impl<'a> Source<'a> {
    /// Looks at a file.
    ///
    /// # Errors
    /// `UNDECODABLE_IMAGE` when it is no DICOM file that can be read, `STORAGE_FAILED` when the disk fails,
    /// `REFUSED_TOO_LARGE` above [`MAX_DECODE_FILE_BYTES`].
    pub fn of(path: &'a Path) -> Result<Self, Problem> {
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let length = file.get_ref().metadata().map_err(failed)?.len();
        if length > MAX_DECODE_FILE_BYTES {
            let reason = format!("{length} bytes, at most {MAX_DECODE_FILE_BYTES} are decoded here");
            return Err(Problem::new(Code::RefusedTooLarge, "object", reason));
        }
        let facts = dicom::admit(&mut file).map_err(|error| match error {
            AdmitError::Refused(refusal) => {
                Problem::new(Code::UndecodableImage, refusal.field, refusal.reason)
            }
            AdmitError::Io(error) => failed(error),
        })?;
        let start = data_set_start(&mut file).map_err(failed)?;
        let uid = syntax_of(&facts);
        let syntax = TransferSyntaxRegistry.get(uid).ok_or_else(|| unknown(uid))?;
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        bounds::check(file, syntax, Extent::Header)?;
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(syntax.uid())
            .media_storage_sop_class_uid(&facts.sop_class)
            .media_storage_sop_instance_uid(facts.sop_instance_uid.as_str())
            .build()
            .map_err(unreadable)?;
        let deflated = uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        Ok(Self { path, start, meta, length, pixels: facts.pixels, deflated })
    }

    /// The file.
    #[must_use]
    pub const fn path(&self) -> &'a Path {
        self.path
    }

    /// Where pixels that are not compressed stand in the file, and how many bytes they are.
    #[must_use]
    pub const fn native_pixels(&self) -> Option<(u64, u64)> {
        match self.pixels {
            PixelForm::Native { offset, length } if !self.deflated => Some((offset, length)),
            _ => None,
        }
    }

    /// Bytes that [`Self::whole`] brings into memory.
    #[must_use]
    pub const fn whole_bytes(&self) -> u64 {
        match self.pixels {
            PixelForm::Native { offset, length } if self.deflated => offset.saturating_add(length),
            _ => self.length,
        }
    }

    /// Bytes before the pixels; where pixels are in fragments, with what trails them.
    const fn header_bytes(&self) -> u64 {
        match self.pixels {
            PixelForm::Native { offset, .. } => offset,
            PixelForm::Encapsulated { length, .. } => self.length.saturating_sub(length),
            PixelForm::None => self.length,
        }
    }

    /// The header, up to the pixel data.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn header(&self) -> Result<DefaultDicomObject, Problem> {
        let bytes = self.header_bytes();
        if bytes > MAX_HEADER_BYTES {
            let reason = format!("a header of {bytes} bytes, at most {MAX_HEADER_BYTES} are read here");
            return Err(Problem::new(Code::RefusedTooLarge, "header", reason));
        }
        self.read(OpenFileOptions::new().read_until(tags::PIXEL_DATA))
    }

    /// Header and pixel data; what trails them is not read.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn whole(&self) -> Result<DefaultDicomObject, Problem> {
        let uid = self.meta.transfer_syntax();
        let syntax = TransferSyntaxRegistry.get(uid).ok_or_else(|| unknown(uid))?;
        let mut file = BufReader::new(File::open(self.path).map_err(failed)?);
        file.seek(SeekFrom::Start(self.start)).map_err(failed)?;
        bounds::check(file, syntax, Extent::Pixels)?;
        self.read(OpenFileOptions::new().read_to(tags::PIXEL_DATA))
    }

    fn read(&self, options: OpenFileOptions) -> Result<DefaultDicomObject, Problem> {
        let mut file = File::open(self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.start)).map_err(failed)?;
        let mut head = b"DICM".to_vec();
        self.meta.write(&mut head).map_err(unreadable)?;
        options
            .read_preamble(ReadPreamble::Never)
            .from_reader(Cursor::new(head).chain(file))
            .map_err(unreadable)
    }
}

/// The header of a file, up to the pixel data.
///
/// # Errors
/// As [`Source::of`].
pub fn open(path: &Path) -> Result<DefaultDicomObject, Problem> {
    Source::of(path)?.header()
}

/// The syntax of the data set: the declared one, unless admission saw that implicit and explicit are mixed up.
fn syntax_of(facts: &DicomFacts) -> &str {
    match facts.transfer_syntax.as_str() {
        declared if !facts.notes.contains(&Note::MetaSyntaxWrong) => declared,
        uids::IMPLICIT_VR_LITTLE_ENDIAN => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        _ => uids::IMPLICIT_VR_LITTLE_ENDIAN,
    }
}

/// Where the data set begins: after the preamble, if any, and after group 0002, if any (PS3.10 §7.1).
fn data_set_start<R: Read + Seek>(file: &mut R) -> std::io::Result<u64> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(PREAMBLE_BYTES).read_to_end(&mut head)?;
    let mut at = if head.get(128..) == Some(b"DICM") { PREAMBLE_BYTES } else { 0 };
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut header = Vec::new();
        file.by_ref().take(12).read_to_end(&mut header)?;
        let &[2, 0, _, _, v0, v1, l0, l1, ref rest @ ..] = header.as_slice() else { return Ok(at) };
        let long = matches!(&[v0, v1], b"OB" | b"OW" | b"OF" | b"SQ" | b"UN" | b"UT");
        let (size, length) = match rest {
            &[a, b, c, d] if long => (12, u32::from_le_bytes([a, b, c, d])),
            _ if v0.is_ascii_uppercase() && v1.is_ascii_uppercase() => {
                (8, u32::from(u16::from_le_bytes([l0, l1])))
            }
            _ => (8, u32::from_le_bytes([v0, v1, l0, l1])),
        };
        at += size + u64::from(length);
    }
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
