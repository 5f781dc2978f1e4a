//! DICOM files as the viewer needs them: header, facts of a frame, samples, pictures.
//!
//! Everything here blocks and reads untrusted bytes: callers run it through [`pool::DecodePool`], which bounds memory
//! and turns a decoder's panic into a refusal.

mod bounds;
mod codestream;
pub mod decode;
pub mod facts;
pub mod grey;
pub mod header;
pub mod metadata;
pub mod native;
pub mod pool;
pub mod preview;
pub mod render;
mod rle;
