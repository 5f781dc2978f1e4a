//! Reports: drafts, signing as a fixed pipeline, second signatures, critical notices, retake requests, identity
//! corrections, withdrawals. Whatever leaves for a clinic is written as a letter in the transaction that decides it.

mod author;
mod bytes;
mod content;
mod critical;
mod draft;
mod exam;
mod files;
mod identity;
mod letter;
mod patient;
mod pin;
mod press;
mod proof;
mod release;
mod retake;
mod review;
mod signer;
mod text;
mod version;
mod void;

pub use author::sign;
pub use bytes::read_package;
pub use content::{Site, StudyFacts};
pub use critical::{escalate, of_study as critical_of_study, raise_critical, unread};
pub use draft::{load_draft, save_draft};
pub use identity::correct_identity;
pub use letter::{Body, post};
pub use patient::Told as PatientTold;
pub use pin::PinGate;
pub use press::Press;
pub use proof::{Difference, Proof, Proofs, Stated, signed_package, stated};
pub(crate) use proof::{facts_of, identity as identity_of};
pub use retake::{REASONS, Retake, request_retake};
pub use review::audit;
pub use signer::{CountyTrust, FileVault, SignerVault};
pub use text::{put_text, text_of};
pub use version::{package_hash, versions, versions_shown};
