//! Doctors' signatures over reports, and devices' signatures over notes.
//!
//! A doctor signs the canonical bytes of a manifest (RFC 8785) that names purpose, report, version, clinic, revision
//! and the SHA-256 of content and appearance; the signature is a detached CMS (RFC 5652) with CAdES-BES attributes
//! (EN 319 122-1), chain embedded, so that it verifies off line:
//! `openssl cms -verify -binary -content manifest.json -inform DER -in author.p7s -CAfile ca.pem -purpose any`.
//! The reviewer signs a manifest of his own over the author's manifest and the author's CMS.
//!
//! The CMS has one form only: [`verify_report`] builds it again from its parts and compares, so that not one byte of it
//! can be changed unseen. Unsigned attributes are allowed and ignored: later versions put time stamps there.

mod cms;
mod error;
mod note;
mod pkcs12;
mod report;
mod signer;
mod verify;

pub use error::{Part, VerifyReportError};
pub use note::{NoteError, sign_note, verify_note, verify_note_by_its_certificate};
#[cfg(any(test, feature = "test-pki"))]
pub(crate) use pkcs12::to_pkcs12_with;
pub use pkcs12::{MAX_PIN_CHARS, MIN_PIN_CHARS, Pkcs12Error, SoftwareSigner, to_pkcs12};
pub use report::{SignError, Signed, sign_report, sign_review};
pub use signer::{SignPurpose, SignatureSuite, Signer, SignerError};
pub use verify::{
    FUTURE_TOLERANCE_MS, RevocationEvidence, VerifiedReport, VerifiedSignature, verify_plan, verify_report,
};

#[cfg(test)]
mod tests;
