//! Courier and listener over real sockets on loopback, with the county's own certificates and in-memory stores.
#![expect(clippy::unwrap_used, reason = "scene helpers are test code too")]

mod certificates;
mod custody;
mod films;
mod lab;
mod strangers;
