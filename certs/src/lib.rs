//! The county's public-key infrastructure: CA, enrolment, revocation, TLS trust, signatures.
//!
//! Everything that knows X.509, CMS or a TLS configuration lives here; other crates see clinic ids, doctors and
//! [`trust`] configurations. Time and randomness are arguments; the only files touched are those of a CA directory
//! and the key files named by the caller.
#![warn(missing_docs)]

pub mod authority;
pub mod certificate;
pub mod enrol;
mod files;
pub mod keys;
pub mod serial;
pub mod signing;
#[cfg(any(test, feature = "test-pki"))]
pub mod testing;
pub mod trust;
