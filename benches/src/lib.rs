//! Workloads, peers side by side, link lab
