//! The lab: real processes, real sockets, the real command lines. Shared by the demo and by the end-to-end tests.
//!
//! Everything that knows how a program of the Relay is called lives here: [`county`] for `relay-gateway` and
//! `relay-certs`, [`clinic`] for `relay-agent`. Nothing waits without a deadline, and a wait that fails says what it saw
//! last ([`wait`]).

pub mod clinic;
pub mod county;
pub mod ecgs;
pub mod http;
pub mod power;
pub mod process;
pub mod reading;
pub mod scu;
pub mod wait;

use anyhow::Context as _;
use relay_core::durable::{RealDisk, write_atomic};
use std::path::Path;

/// Files with secrets are for their owner alone.
const PRIVATE: u32 = 0o600;

/// Makes a directory with its parents.
///
/// # Errors
/// Of the operating system, naming the path.
pub fn make_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a whole file, 0600.
///
/// # Errors
/// Of the operating system, naming the path.
pub fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomic(&RealDisk, path, bytes, PRIVATE).with_context(|| format!("cannot write {}", path.display()))
}
