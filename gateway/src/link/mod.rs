//! The link listener.

pub mod ports;
