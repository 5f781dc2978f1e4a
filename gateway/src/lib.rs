//! The county: link, ingest, store, queue, SLA, reports, returns, audit
#![warn(missing_docs)]

pub mod audit;
pub mod custody;
pub mod ingest;
pub mod jobs;
pub mod link;
pub mod returns;
pub mod sla;
pub mod store;
pub mod desk;
pub mod queue;
pub mod reports;
