//! Cuts a byte stream into frames.

use super::{FRAME_HEAD_BYTES, Frame, FrameError};

/// Collects bytes until a frame is whole. Holds at most one frame and what came after it in the same read.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    max: usize,
}

impl FrameReader {
    /// A reader that takes frames of at most `max` bytes.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, max }
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]. After `TooLarge` and `TooShort` the stream is lost; after the others the frame is skipped.
    pub fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        let waiting = &self.buffer[self.start..];
        let (head, rest) = waiting.split_first_chunk::<4>()?;
        let announced = u64::from(u32::from_be_bytes(*head));
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > self.max {
            return Some(Err(FrameError::TooLarge { length: announced, max: self.max }));
        }
        if length < FRAME_HEAD_BYTES - 4 {
            return Some(Err(FrameError::TooShort { length: announced }));
        }
        let body = rest.get(..length)?;
        let frame = Frame::decode(body);
        self.start += 4 + length;
        Some(frame)
    }

    /// Bytes that came after the last frame: on a data stream, the beginning of the data.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.start)
    }
}
