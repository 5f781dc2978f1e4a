//! The link in a test: models of what each end keeps, adapters that put them behind the drivers' ports, and a simulator
//! that runs both state machines in virtual time.

pub mod clinic;
pub mod county;
pub mod ports;
pub mod world;
