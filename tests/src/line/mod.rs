//! A line between clinic and county that is made by program: rate, drop-tail queue, delay, jitter, independent and bursty
//! loss, outages and steps of the rate.
//!
//! [`channel`] is the model of one direction, without clock or socket. [`net`] puts it under real quinn endpoints in memory;
//! in tokio's paused time a run is a pure function of its seed. [`flow`] lets flows race over one line and measures them.
//! The link lab in `benches` puts the same model under TUN devices.

pub mod channel;
pub mod flow;
pub mod net;
pub mod scenes;
