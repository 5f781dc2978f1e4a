//! The county: link, ingest, store, queue, SLA, reports, returns, audit
#![warn(missing_docs)]

pub mod link;
pub mod store;
