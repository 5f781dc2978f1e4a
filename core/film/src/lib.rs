//! Lossless coder for radiographs: pure, usable alone.
//!
//! A file goes in with a [`Layout`] that says where its native pixels lie; a coded stream comes out, from which [`Decoder`] makes
//! the same bytes again, whatever the layout said and whatever the bytes are. No input or output, no clock, no floating point in
//! anything that decoding depends on. The format is in docs/film.md.
//!
//! ```
//! use relay_film::{Layout, Mode, decode_file, encode_file};
//!
//! let file: Vec<u8> = (0..=255).flat_map(|grey: u8| [grey, 3]).collect();
//! let layout = Layout { rows: 16, columns: 16, samples: 1, bits_allocated: 16, length: 512, ..Layout::default() };
//! let coded = encode_file(&file, Some(&layout), Mode::Strong);
//! assert_eq!(decode_file(&coded, 512), Ok(file));
//! ```

mod choose;
mod container;
mod decoder;
mod encoder;
mod error;
mod layout;
pub mod limits;
mod measure;
mod pack;
mod quick;
mod strong;
mod varint;

pub use choose::{MAX_SAMPLE_BYTES, Speed, Speeds, choose};
pub use decoder::{Decoder, decode_file};
pub use encoder::{Encoder, Mode, encode_file};
pub use error::DecodeError;
pub use layout::Layout;
pub use measure::measure;
