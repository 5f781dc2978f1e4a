//! Simulator, lab, phantoms, demo and end-to-end days

pub mod phantom;
pub mod sim;
