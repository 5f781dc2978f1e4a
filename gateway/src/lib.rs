//! The county: link, ingest, store, queue, SLA, reports, returns, audit
#![warn(missing_docs)]

pub mod audit;
pub mod background;
pub mod config;
pub mod custody;
pub mod desk;
pub mod enrolment;
pub mod home;
pub mod ingest;
pub mod jobs;
pub mod lifecycle;
pub mod link;
pub mod operate;
pub mod queue;
pub mod reports;
pub mod returns;
pub mod run;
pub mod sla;
pub mod store;
pub mod telemetry;
pub mod trail;
pub mod trust;
pub mod whole;
