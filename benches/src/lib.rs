//! Workloads, peers side by side, link lab.
//!
//! Every measurement runs its peer or its physical limit in the same run, on the same bytes, and prints the ratio. Nothing
//! here is a test: a figure that is missed is printed, not asserted.

pub mod county;
pub mod disk;
pub mod ecg;
pub mod film;
pub mod held;
pub mod ingest;
pub mod link;
pub mod load;
pub mod memory;
pub mod objects;
pub mod orthanc;
pub mod process;
pub mod table;
