//! The county: link, ingest, store, queue, SLA, reports, returns, audit
#![warn(missing_docs)]

pub mod audit;
pub mod custody;
pub mod ingest;
pub mod jobs;
pub mod link;
pub mod returns;
pub mod store;

// Modules over crates that are still under construction: build with `--features whole`.
#[cfg(feature = "whole")]
pub mod desk;
#[cfg(feature = "whole")]
pub mod queue;
#[cfg(feature = "whole")]
pub mod reports;
#[cfg(feature = "whole")]
pub mod sla;
