//! A coded stream back into the file, piece by piece.

use crate::container::{Head, Kind, piece_head, stream_head};
use crate::error::{DecodeError, damaged};
use crate::layout::Geometry;
use crate::limits::{MAX_END_BYTES, MAX_PIECE_HEAD_BYTES, MAX_STREAM_HEAD_BYTES};
use crate::{quick, strong};

/// Bytes in which every head ends or is refused.
const MAX_HEAD_BYTES: usize =
    if MAX_STREAM_HEAD_BYTES > MAX_END_BYTES { MAX_STREAM_HEAD_BYTES } else { MAX_END_BYTES };
const _: () = assert!(MAX_PIECE_HEAD_BYTES <= MAX_HEAD_BYTES);

#[derive(Debug, Clone, Copy)]
enum State {
    StreamHead,
    PieceHead,
    Piece { kind: Kind, raw: usize, coded: usize },
    Ended,
    Refused,
}

/// Takes a coded stream and gives the bytes of the file. Holds one coded piece, one strip of rows and the model, whatever the
/// stream claims.
///
/// What comes out is as long as the caller expects, or an error; whether it is the file that was coded only its hash says.
#[derive(Debug)]
pub struct Decoder {
    expected: u64,
    decoded: u64,
    state: State,
    pending: Vec<u8>,
    geometry: Option<Geometry>,
    quick: Option<quick::Coder>,
    strong: Option<strong::Coder>,
}

impl Decoder {
    /// A decoder for a file of `expected` bytes.
    #[must_use]
    pub fn new(expected: u64) -> Self {
        Self {
            expected,
            decoded: 0,
            state: State::StreamHead,
            pending: Vec::new(),
            geometry: None,
            quick: None,
            strong: None,
        }
    }

    /// Bytes of the file decoded so far.
    #[must_use]
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Takes bytes of the stream up to the end of the current piece and says how many; call again with the rest. At most one
    /// piece, of at most [`crate::limits::MAX_STRIP_BYTES`], is appended to `out`. Takes at least one byte of a `bytes` that
    /// is not empty.
    ///
    /// # Errors
    /// When the stream is none of this coder, or would be longer than expected. The decoder is of no further use then.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let taken = self.step(bytes, out);
        if taken.is_err() {
            self.state = State::Refused;
        }
        taken
    }

    /// The stream has no more bytes.
    ///
    /// # Errors
    /// When it stopped before its end.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.state {
            State::Ended => Ok(()),
            _ => Err(DecodeError::Unfinished { decoded: self.decoded, expected: self.expected }),
        }
    }

    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.state {
            State::StreamHead | State::PieceHead => self.head(bytes),
            State::Piece { kind, raw, coded } => {
                let taken = bytes.len().min(coded - self.pending.len());
                if taken == coded {
                    self.piece(kind, raw, &bytes[..taken], out)?;
                } else {
                    self.pending.extend_from_slice(&bytes[..taken]);
                    if self.pending.len() == coded {
                        let pending = std::mem::take(&mut self.pending);
                        self.piece(kind, raw, &pending, out)?;
                    }
                }
                Ok(taken)
            }
            State::Ended => Err(damaged("end", "bytes after the end of the stream")),
            State::Refused => Err(damaged("stream", "refused before")),
        }
    }

    /// Takes the bytes of a head, as far as they are here.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let before = self.pending.len();
        let offered = bytes.len().min(MAX_HEAD_BYTES - before);
        self.pending.extend_from_slice(&bytes[..offered]);
        let length = if matches!(self.state, State::StreamHead) {
            stream_head(&self.pending)?.map(|(geometry, length)| {
                self.geometry = geometry;
                self.state = State::PieceHead;
                length
            })
        } else {
            match piece_head(&self.pending, self.geometry)? {
                Some((head, length)) => {
                    self.begin(head)?;
                    Some(length)
                }
                None => None,
            }
        };
        let Some(length) = length else {
            if self.pending.len() == MAX_HEAD_BYTES {
                return Err(damaged("head", "without end"));
            }
            return Ok(offered);
        };
        self.pending.clear();
        Ok(length - before)
    }

    fn begin(&mut self, head: Head) -> Result<(), DecodeError> {
        match head {
            Head::Piece { kind, raw, coded } => {
                let claimed = self.decoded.saturating_add(raw as u64);
                if claimed > self.expected {
                    let limit = self.expected;
                    return Err(DecodeError::TooLong { field: "length of the file", claimed, limit });
                }
                self.state = State::Piece { kind, raw, coded };
            }
            Head::End { file } => {
                if file != self.decoded {
                    let reason = format!("{file}, but {} bytes came", self.decoded);
                    return Err(damaged("length of the file", reason));
                }
                if self.decoded != self.expected {
                    return Err(DecodeError::Unfinished { decoded: self.decoded, expected: self.expected });
                }
                self.state = State::Ended;
            }
        }
        Ok(())
    }

    fn piece(&mut self, kind: Kind, raw: usize, coded: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let before = out.len();
        match (kind, self.geometry) {
            (Kind::Quick, Some(geometry)) => {
                self.quick.get_or_insert_with(|| quick::Coder::new(geometry)).decode(coded, raw, out)?;
            }
            (Kind::Strong, Some(geometry)) => {
                self.strong.get_or_insert_with(|| strong::Coder::new(geometry)).decode(coded, raw, out)?;
            }
            (Kind::Stored, _) => out.extend_from_slice(coded),
            (Kind::Zstd, _) => {
                let bytes = zstd::bulk::decompress(coded, raw)
                    .map_err(|error| damaged("bytes under zstd", error.to_string()))?;
                out.extend_from_slice(&bytes);
            }
            _ => return Err(damaged("kind of piece", "a strip without a row width")),
        }
        if kind != Kind::Strong
            && let Some(strong) = &mut self.strong
        {
            strong.forget();
        }
        let came = out.len() - before;
        if came != raw {
            return Err(damaged("length of a piece", format!("{raw}, but {came} bytes came")));
        }
        self.decoded += raw as u64;
        self.state = State::PieceHead;
        Ok(())
    }
}

/// Decodes a whole stream in memory to a file of `expected` bytes.
///
/// # Errors
/// When the stream is damaged, cut, or not of this length.
pub fn decode_file(coded: &[u8], expected: u64) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(expected);
    let mut out = Vec::new();
    let mut rest = coded;
    while !rest.is_empty() {
        let taken = decoder.push(rest, &mut out)?;
        rest = &rest[taken..];
    }
    decoder.finish()?;
    Ok(out)
}
