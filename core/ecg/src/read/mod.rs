//! Readers, one module a format, and the one entry point.

pub mod aecg;
mod calibration;
pub mod cardiosoft;
pub mod contec;
pub mod dicom;
pub mod edf;
pub mod healforce;
pub mod ishne;
pub mod mfer;
pub mod mortara;
pub mod muse;
pub mod page;
pub mod schiller;
pub mod scp;
pub mod sierra;
pub mod wfdb;
pub(crate) mod xml;

use crate::error::ReadError;
use crate::format::{Format, sniff};
use crate::model::Ecg;

/// A further file of the same record, already read into memory: WFDB signal and annotation files.
#[derive(Debug, Clone, Copy)]
pub struct Companion<'a> {
    /// File name without any folder.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What is known beside the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// File name, with or without folders; helps where the bytes carry no signature.
    pub name: Option<&'a str>,
    /// The other files of the record.
    pub companions: &'a [Companion<'a>],
    /// Read as this format, whatever [`sniff`] says.
    pub format: Option<Format>,
}

/// Reads an ECG of any known format. Pure: nothing but `bytes` and `hints` is looked at.
///
/// # Errors
/// [`ReadError`] with format, field, offset and reason; bad input never panics.
pub fn read(bytes: &[u8], hints: &Hints<'_>) -> Result<Ecg, ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::unknown("zero bytes"));
    }
    let Some(format) = hints.format.or_else(|| sniff(bytes, hints.name)) else {
        return Err(ReadError::unknown("no ECG format that is read here"));
    };
    match format {
        Format::Dicom => dicom::read(bytes),
        Format::Scp => scp::read(bytes),
        Format::Aecg => aecg::read(bytes),
        Format::Muse => muse::read(bytes),
        Format::Sierra => sierra::read(bytes),
        Format::Mortara => mortara::read(bytes),
        Format::Cardiosoft => cardiosoft::read(bytes),
        Format::Schiller => schiller::read(bytes),
        Format::Edf => edf::read(bytes),
        Format::Mfer => mfer::read(bytes),
        Format::Wfdb => wfdb::read(bytes, hints),
        Format::Ishne => ishne::read(bytes),
        Format::Contec => contec::read(bytes),
        Format::Healforce => healforce::read(bytes),
        Format::Pdf | Format::Image => page::read(bytes, format),
    }
}
