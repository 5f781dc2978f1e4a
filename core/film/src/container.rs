//! The frame of a stream: what stands before, between and after the coded pieces. docs/film.md has it byte by byte.

use crate::error::{DecodeError, damaged};
use crate::layout::Geometry;
use crate::limits::{MAX_OTHER_BYTES, MAX_STRIP_BYTES};
use crate::varint;

/// First bytes of every stream; the last is the version of the format.
pub(crate) const MAGIC: [u8; 4] = *b"RLF\x01";

const HAS_ROWS: u8 = 1;
const WIDE: u8 = 2;
const SIGNED: u8 = 4;
const BIG_ENDIAN: u8 = 8;

/// How a piece is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    Stored,
    Zstd,
    Quick,
    Strong,
}

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::End => 0,
            Self::Stored => 1,
            Self::Zstd => 2,
            Self::Quick => 3,
            Self::Strong => 4,
        }
    }

    fn of(code: u8) -> Result<Self, DecodeError> {
        [Self::End, Self::Stored, Self::Zstd, Self::Quick, Self::Strong]
            .into_iter()
            .find(|kind| kind.code() == code)
            .ok_or_else(|| damaged("kind of piece", format!("{code} is unknown")))
    }

    /// Whether the piece is a strip of rows.
    pub(crate) const fn is_strip(self) -> bool {
        matches!(self, Self::Quick | Self::Strong)
    }
}

/// Head of a piece, or the end with the length of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Piece { kind: Kind, raw: usize, coded: usize },
    End { file: u64 },
}

pub(crate) fn put_stream_head(out: &mut Vec<u8>, geometry: Option<Geometry>) {
    out.extend(MAGIC);
    let Some(geometry) = geometry else {
        out.push(0);
        return;
    };
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        HAS_ROWS
            | flag(geometry.wide, WIDE)
            | flag(geometry.signed, SIGNED)
            | flag(geometry.big_endian, BIG_ENDIAN),
    );
    varint::put(out, geometry.width as u64);
    varint::put(out, geometry.step as u64);
}

/// Reads the head of a stream. None when it is not all there yet.
pub(crate) fn stream_head(bytes: &[u8]) -> Result<Option<(Option<Geometry>, usize)>, DecodeError> {
    let shown = bytes.len().min(MAGIC.len());
    if bytes[..shown] != MAGIC[..shown] {
        return Err(damaged("magic", "not a coded film of this version"));
    }
    let Some(&flags) = bytes.get(MAGIC.len()) else { return Ok(None) };
    let mut length = MAGIC.len() + 1;
    if flags == 0 {
        return Ok(Some((None, length)));
    }
    if flags & HAS_ROWS == 0 || flags & !(HAS_ROWS | WIDE | SIGNED | BIG_ENDIAN) != 0 {
        return Err(damaged("flags", format!("{flags:#04x}")));
    }
    let mut numbers = [0usize; 2];
    for (number, field) in numbers.iter_mut().zip(["row width", "step"]) {
        let Some((value, bytes)) = varint::peek(&bytes[length..], field)? else { return Ok(None) };
        *number = usize::try_from(value).map_err(|_| damaged(field, format!("{value}")))?;
        length += bytes;
    }
    let geometry = Geometry {
        width: numbers[0],
        step: numbers[1],
        wide: flags & WIDE > 0,
        signed: flags & SIGNED > 0,
        big_endian: flags & BIG_ENDIAN > 0,
    };
    if !geometry.is_lawful() {
        return Err(damaged(
            "row width",
            format!("{} samples in steps of {}", geometry.width, geometry.step),
        ));
    }
    Ok(Some((Some(geometry), length)))
}

pub(crate) fn put_piece_head(out: &mut Vec<u8>, kind: Kind, raw: usize, coded: usize) {
    out.push(kind.code());
    varint::put(out, raw as u64);
    varint::put(out, coded as u64);
}

pub(crate) fn put_end(out: &mut Vec<u8>, file: u64) {
    out.push(Kind::End.code());
    varint::put(out, file);
}

/// Reads the head of a piece and holds it to the limits. None when it is not all there yet.
pub(crate) fn piece_head(
    bytes: &[u8],
    geometry: Option<Geometry>,
) -> Result<Option<(Head, usize)>, DecodeError> {
    let Some((&code, rest)) = bytes.split_first() else { return Ok(None) };
    let kind = Kind::of(code)?;
    if kind == Kind::End {
        let file = varint::peek(rest, "length of the file")?;
        return Ok(file.map(|(file, length)| (Head::End { file }, 1 + length)));
    }
    let limit = if kind == Kind::Zstd { MAX_OTHER_BYTES } else { MAX_STRIP_BYTES };
    let Some((raw, first)) = varint::peek(rest, "length of a piece")? else { return Ok(None) };
    let raw = within(raw, limit, "length of a piece")?;
    let Some((coded, second)) = varint::peek(&rest[first..], "coded length of a piece")? else {
        return Ok(None);
    };
    let coded = within(coded, raw, "coded length of a piece")?;
    if raw == 0 || coded == 0 || (kind == Kind::Stored && coded != raw) {
        return Err(damaged("coded length of a piece", format!("{coded} of {raw}")));
    }
    if kind.is_strip() {
        let row =
            geometry.ok_or_else(|| damaged("kind of piece", "a strip without a row width"))?.row_bytes();
        if !raw.is_multiple_of(row) {
            return Err(damaged("length of a piece", format!("{raw} bytes in rows of {row}")));
        }
    }
    Ok(Some((Head::Piece { kind, raw, coded }, 1 + first + second)))
}

fn within(claimed: u64, limit: usize, field: &'static str) -> Result<usize, DecodeError> {
    let limit = limit as u64;
    if claimed > limit {
        return Err(DecodeError::TooLong { field, claimed, limit });
    }
    usize::try_from(claimed).map_err(|_| DecodeError::TooLong { field, claimed, limit })
}
