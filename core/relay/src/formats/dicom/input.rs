//! The bytes being walked: a file, or the inflated data set of a deflated one. Fixed memory, exact positions.

use super::AdmitError;
use crate::codes::{Code, Refusal};
use flate2::bufread::DeflateDecoder;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

/// Read buffer in bytes: large enough that a header walk is a few reads, small beside the agent's memory.
const BUFFER_BYTES: usize = 64 * 1024;
/// Most bytes a deflated data set may inflate to: 2 GiB, the largest object in custody; stops bombs.
pub(super) const MAX_INFLATED_BYTES: u64 = 2 << 30;
/// Step in which inflated bytes are thrown away.
const DISCARD_BYTES: usize = 16 * 1024;

#[derive(Debug)]
enum Source<R> {
    Plain(BufReader<R>),
    Inflating(Box<DeflateDecoder<BufReader<R>>>),
}

/// A reader that knows where it is and how much can still come.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: Source<R>,
    pos: u64,
    /// Bytes of the file, or the most that may be inflated.
    limit: u64,
    pending: Option<[u8; 8]>,
}

impl<R: Read + Seek> Input<R> {
    /// The file from its start.
    pub(super) fn new(mut file: R) -> Result<Self, AdmitError> {
        let limit = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let source = Source::Plain(BufReader::with_capacity(BUFFER_BYTES, file));
        Ok(Self { source, pos: 0, limit, pending: None })
    }

    /// Where the next byte comes from.
    pub(super) const fn pos(&self) -> u64 {
        self.pos
    }

    /// Bytes that can still come; for an inflated data set the most that are allowed.
    pub(super) const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.pos)
    }

    /// Whether bytes come out of an inflater: lengths are then known only by reading.
    pub(super) const fn inflates(&self) -> bool {
        matches!(self.source, Source::Inflating(_))
    }

    /// The buffered bytes ahead, without consuming them; empty at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], AdmitError> {
        match &mut self.source {
            Source::Plain(reader) => Ok(reader.fill_buf()?),
            Source::Inflating(_) => Ok(&[]),
        }
    }

    /// From here on the file is a raw deflate stream (PS3.5 §A.5).
    pub(super) fn inflate(self) -> Self {
        match self.source {
            Source::Plain(reader) => Self {
                source: Source::Inflating(Box::new(DeflateDecoder::new(reader))),
                pos: 0,
                limit: MAX_INFLATED_BYTES,
                pending: None,
            },
            Source::Inflating(_) => self,
        }
    }

    /// Starts again at `pos` of a plain file.
    pub(super) fn rewind_to(&mut self, pos: u64) -> Result<(), AdmitError> {
        if let Source::Plain(reader) = &mut self.source {
            reader.seek(SeekFrom::Start(pos))?;
            self.pos = pos;
            self.pending = None;
        }
        Ok(())
    }

    /// Gives back an element header's first eight bytes.
    pub(super) const fn push_back(&mut self, header: [u8; 8]) {
        self.pending = Some(header);
        self.pos -= 8;
    }

    /// Eight bytes, or as many as there are: the count says how many.
    pub(super) fn eight(&mut self) -> Result<([u8; 8], usize), AdmitError> {
        if let Some(header) = self.pending.take() {
            self.pos += 8;
            return Ok((header, 8));
        }
        let mut bytes = [0u8; 8];
        let count = self.fill(&mut bytes)?;
        Ok((bytes, count))
    }

    /// Fills `out` as far as bytes come; fewer only at the end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, AdmitError> {
        debug_assert!(self.pending.is_none(), "a pushed-back header must be taken first");
        let mut count = 0;
        while count < out.len() {
            let got = match &mut self.source {
                Source::Plain(reader) => reader.read(&mut out[count..]),
                Source::Inflating(reader) => reader.read(&mut out[count..]),
            };
            match got {
                Ok(0) => break,
                Ok(n) => count += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The inflater's word for a stream that is cut off; a file itself ends with zero bytes read.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.inflates() => break,
                Err(error) => return Err(self.explain(error)),
            }
        }
        self.pos += count as u64;
        if self.inflates() && self.pos > self.limit {
            let reason = format!("the deflated data set inflates to more than {MAX_INFLATED_BYTES} bytes");
            return Err(Refusal::new(Code::RefusedTooLarge, "data set", reason).into());
        }
        Ok(count)
    }

    /// Passes over `count` bytes; false when they are not all there.
    pub(super) fn skip(&mut self, count: u64) -> Result<bool, AdmitError> {
        if count > self.left() {
            return Ok(false);
        }
        if let Source::Plain(reader) = &mut self.source {
            let mut rest = count;
            while rest > 0 {
                let step = i64::try_from(rest).unwrap_or(i64::MAX);
                reader.seek_relative(step)?;
                rest -= step.unsigned_abs();
            }
            self.pos += count;
            return Ok(true);
        }
        let mut scratch = [0u8; DISCARD_BYTES];
        let mut rest = count;
        while rest > 0 {
            let step = usize::try_from(rest).map_or(DISCARD_BYTES, |r| r.min(DISCARD_BYTES));
            let got = self.fill(&mut scratch[..step])?;
            if got < step {
                return Ok(false);
            }
            rest -= step as u64;
        }
        Ok(true)
    }

    /// A broken deflate stream is the file's fault, everything else the disk's.
    fn explain(&self, error: std::io::Error) -> AdmitError {
        let corrupt = matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData);
        if self.inflates() && corrupt {
            let reason = format!("the deflated data set is corrupt after {} inflated bytes", self.pos);
            return Refusal::new(Code::RefusedUnparsable, "data set", reason).into();
        }
        AdmitError::Io(error)
    }
}
