//! Simulator, lab, phantoms, demo and end-to-end days

pub mod demo;
pub mod lab;
pub mod line;
pub mod phantom;
pub mod sim;
