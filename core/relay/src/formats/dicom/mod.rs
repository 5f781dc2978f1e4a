//! DICOM admission: may this file enter custody, and what does it say of itself?
//!
//! An own walker over `Read + Seek` reads preamble, file meta and data set up to the pixel data, then checks the
//! pixel data's claim. Memory is fixed (one 64 KiB buffer, one inflate window, the few values that are wanted), nesting
//! costs nothing (a counter, no stack), and the file is never read as a whole.
//!
//! # The rule
//! A file is refused only when
//! 1. it cannot be parsed up to its pixel data (`REFUSED_FORMAT`, `REFUSED_UNPARSABLE`),
//! 2. the SOP Class, SOP Instance, Study or Series Instance UID is missing or unlawful (`REFUSED_UID`),
//! 3. a length points beyond the end of the file (`REFUSED_LENGTH`),
//! 4. the pixel bytes contradict their claim (`REFUSED_PIXEL_DATA`).
//!
//! Everything else, however odd, is accepted byte for byte, and what was odd is listed in [`DicomFacts::notes`]:
//! a patient must not wait because a vendor cannot count.
//!
//! # Decisions
//! - **Leading zeros in a UID component are accepted** although PS3.5 §9.1 forbids them: real devices and real archives
//!   hold such UIDs, they are compared as text everywhere, and rewriting or refusing them would lose the exam.
//!   Letters, signs, empty components, several values and more than 64 characters are refused: such a value is no
//!   key, and some are attacks. Trailing NULs and spaces are padding and cut off.
//! - **No preamble or no file meta is accepted** when the first element is plausible: old exports are like that, the bytes
//!   are kept as they came, and the syntax is inferred from the first element (implicit or explicit, byte order).
//! - **The data set's own encoding wins over the file meta** when its first element shows that the file meta lies about
//!   implicit or explicit.
//! - **The data set's SOPInstanceUID wins over the file meta's**; a difference is noted.
//! - **More pixel bytes than claimed are accepted** (padding is common), fewer are refused. Encapsulated pixel data must
//!   have at least one fragment for each frame, start with a code stream of the family that the transfer syntax names,
//!   and, for JPEG, JPEG-LS and JPEG 2000, reach its end marker.
//! - **A missing sequence delimiter after the last fragment is accepted**: nothing of the image is missing.
//! - Parsing stops behind the pixel data: what trails it is kept, not judged.

mod claim;
mod collect;
mod element;
mod facts;
mod input;
mod start;
mod syntax;
mod tag;
mod walk;

pub use facts::{DicomFacts, Note};
pub use syntax::{PixelForm, SyntaxFamily};
pub use tag::Tag;

pub(super) use start::looks_like_bare_data_set;

use crate::codes::Refusal;
use std::io::{Read, Seek};

/// Why a file yields no facts.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The file must not enter custody; sending it again will not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk failed while reading: says nothing about the file.
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads one DICOM file from its start and applies the rule of this module.
///
/// `source` is rewound first; where it stands afterwards is unspecified.
///
/// # Errors
/// [`AdmitError::Refused`] names code, field and reason (without patient data); [`AdmitError::Io`] is the disk's.
pub fn admit<R: Read + Seek>(source: R) -> Result<DicomFacts, AdmitError> {
    let opened = start::open(source)?;
    let (mut input, collected, pixels) = collect::read(opened)?;
    let facts = collected.into_facts()?;
    claim::check(&mut input, pixels, facts)
}
