//! Header readers: what a file says of itself, read within fixed memory and never trusted further than checked.
//!
//! [`dicom`] decides whether a file may enter custody and yields its facts; [`text`] turns bytes of any Chinese
//! hospital's character set into Unicode; [`time`] reads the exam time with its doubts. Pixels are never decoded here.

pub mod dicom;
pub mod text;
pub mod time;

mod sniff;

pub use sniff::{SNIFF_BYTES, Sniffed, sniff};
