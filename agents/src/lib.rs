//! The clinic: capture, spool, courier, inbox, local page.
//!
//! ```text
//! modality ─C-STORE─┐                        ┌─▶ courier ═QUIC═▶ county
//! cart ─folder──────┼─▶ capture ─▶ spool ────┤
//! person ─page/send─┘                        └─◀ inbox ◀═QUIC═ county
//! ```
//! Only [`spool`] and [`inbox`] know the disk, only [`courier`] knows QUIC, only `trust` knows certificates.
#![warn(missing_docs)]

pub mod capture;
pub mod cli;
pub mod client;
pub mod config;
pub mod courier;
pub mod ecg;
pub mod health;
pub mod home;
pub mod inbox;
pub mod page;
pub mod run;
pub mod sniff;
pub mod spool;
#[cfg(test)]
mod testing;
pub mod trust;
mod words;
