//! What a data set claims, held against limits before the DICOM library believes it.
//!
//! The library allocates what a length field says, and reads unknown value representations otherwise than admission does
//! (PS3.5 §7.1.2): a few bytes may claim four gigabytes. So its own tokens are walked first, without any value.

use super::header::unreadable;
use crate::limits::{MAX_DECODE_FILE_BYTES, MAX_DICOM_HEADER_BYTES, MAX_DICOM_HEADER_ELEMENTS};
use crate::problem::Problem;
use dicom_core::{Length, Tag};
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntax;
use dicom_encoding::transfer_syntax::Codec;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::{DynStatefulDecoder, StatefulDecode};
use relay_core::codes::Code;
use std::fs::File;
use std::io::{BufReader, Read};

/// Sequences within sequences that are read; real objects have five. The DICOM library recurses, about 200 kB a level:
/// what is deeper would overflow the stack of [`super::pool`], and an overflow ends the process.
const MAX_NESTING: u32 = 64;

/// How far the library is going to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to the pixel data.
    Header,
    /// With the pixel data.
    Pixels,
}

/// Spends what a data set claims.
struct Purse {
    depth: u32,
    elements: u32,
    header_bytes: u64,
    pixel_bytes: u64,
}

impl Purse {
    fn enter(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            let reason = format!("sequences are nested more than {MAX_NESTING} deep");
            return Err(Problem::new(Code::UndecodableImage, "data set", reason));
        }
        Ok(())
    }

    fn element(&mut self) -> Result<(), Problem> {
        self.elements += 1;
        if self.elements > MAX_DICOM_HEADER_ELEMENTS {
            let reason = format!("more than {MAX_DICOM_HEADER_ELEMENTS} elements, items and fragments");
            return Err(Problem::new(Code::RefusedTooLarge, "data set", reason));
        }
        Ok(())
    }

    fn header(&mut self, tag: Tag, length: u32) -> Result<(), Problem> {
        self.header_bytes += u64::from(length);
        if self.header_bytes > MAX_DICOM_HEADER_BYTES {
            let reason = format!(
                "{tag} claims {length} bytes: a header has at most {MAX_DICOM_HEADER_BYTES} that are read here"
            );
            return Err(Problem::new(Code::RefusedTooLarge, "header", reason));
        }
        Ok(())
    }

    fn pixels(&mut self, length: u32) -> Result<(), Problem> {
        self.pixel_bytes += u64::from(length);
        if self.pixel_bytes > MAX_DECODE_FILE_BYTES {
            let reason =
                format!("pixel data claims {} bytes, at most {MAX_DECODE_FILE_BYTES}", self.pixel_bytes);
            return Err(Problem::new(Code::RefusedTooLarge, "pixel data", reason));
        }
        Ok(())
    }
}

/// Walks a data set that begins at the reader's position, and refuses what claims or nests too much.
///
/// # Errors
/// `REFUSED_TOO_LARGE` naming the element, `UNDECODABLE_IMAGE` when it is nested too deeply or cannot be walked.
pub(super) fn check(file: BufReader<File>, syntax: &TransferSyntax, extent: Extent) -> Result<(), Problem> {
    let source: Box<dyn Read> = match syntax.codec() {
        // What a few bytes inflate to has an end as well.
        Codec::Dataset(Some(adapter)) => {
            let most = MAX_DICOM_HEADER_BYTES + MAX_DECODE_FILE_BYTES;
            Box::new(adapter.adapt_reader(Box::new(file)).take(most))
        }
        _ => Box::new(file),
    };
    let parser = DynStatefulDecoder::new_with_ts(source, syntax, 0).map_err(unreadable)?;
    walk(LazyDataSetReader::new(parser), extent)
}

fn walk<S: StatefulDecode>(mut tokens: LazyDataSetReader<S>, extent: Extent) -> Result<(), Problem> {
    let mut purse = Purse { depth: 0, elements: 0, header_bytes: 0, pixel_bytes: 0 };
    // The pixel data of the object itself, not of an icon in a sequence.
    let mut in_pixels = false;
    while let Some(token) = tokens.advance() {
        let token = token.map_err(unreadable)?;
        match &token {
            LazyDataToken::PixelSequenceStart => {
                in_pixels = purse.depth == 0;
                if in_pixels && extent == Extent::Header {
                    return Ok(());
                }
                purse.enter()?;
            }
            LazyDataToken::SequenceStart { .. } => purse.enter()?,
            LazyDataToken::SequenceEnd => {
                purse.depth = purse.depth.saturating_sub(1);
                if in_pixels && purse.depth == 0 {
                    return Ok(());
                }
            }
            LazyDataToken::ElementHeader(header) if purse.depth == 0 && header.tag >= tags::PIXEL_DATA => {
                return match header.len {
                    Length(length) if extent == Extent::Pixels => purse.pixels(length),
                    _ => Ok(()),
                };
            }
            LazyDataToken::ElementHeader(_) | LazyDataToken::ItemStart { .. } => purse.element()?,
            LazyDataToken::LazyValue { header, .. } => purse.header(header.tag, header.len.0)?,
            LazyDataToken::LazyItemValue { len, .. } if in_pixels => purse.pixels(*len)?,
            LazyDataToken::LazyItemValue { len, .. } => purse.header(tags::PIXEL_DATA, *len)?,
            LazyDataToken::ItemEnd => {}
            _ => {
                return Err(Problem::new(
                    Code::UndecodableImage,
                    "data set",
                    "a token that is not known here",
                ));
            }
        }
        token.skip().map_err(unreadable)?;
    }
    Ok(())
}
