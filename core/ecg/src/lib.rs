//! ECG library: readers of what carts export, one model, checks, measurement, drawing to the millimetre, writers.
//!
//! Pure and usable alone: no files, no clock, no randomness of its own. [`read`](fn@read) turns bytes into an [`Ecg`];
//! what the cart measured or claimed is kept in [`model::Device`], apart from everything computed here.

pub mod checks;
pub mod draw;
pub mod error;
pub mod filter;
pub mod format;
pub mod hints;
pub mod holter;
pub mod json;
pub mod lead;
pub mod limits;
pub mod measure;
pub mod model;
pub mod read;
pub mod synth;
mod text;
mod view;
pub mod write;

pub use error::{ErrorKind, ReadError};
pub use format::{Format, SNIFF_BYTES, admit, sniff};
pub use lead::{Filters, Lead, LeadId, Samples, Unit};
pub use model::Ecg;
pub use read::{Companion, Hints, read};
