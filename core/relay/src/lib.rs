//! Vocabulary, rules, wire protocol, clock and durable-file primitive shared by both ends of the Relay.
//!
//! No async, no sockets, no globals. The rules do no I/O and read no clock; the only file writer is [`durable`],
//! behind its `Disk` trait; the operating system's clock is read in one place, [`clock::SystemClock`].
#![warn(missing_docs)]

pub mod clock;
pub mod codes;
pub mod durable;
pub mod formats;
pub mod ids;
pub mod letter;
pub mod limits;
pub mod link;
pub mod report;
pub mod sla;
pub mod study;
pub mod work_item;
