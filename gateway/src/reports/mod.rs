//! Reports: drafts, signing as a fixed pipeline, second signatures, critical notices, retake requests, identity
//! corrections. Whatever leaves for a clinic is written as a letter in the transaction that decides it.

mod content;
mod critical;
mod draft;
mod identity;
mod letter;
mod retake;
mod sign;
mod signer;
mod text;
mod version;

pub use content::{Site, StudyFacts};
pub use critical::{of_study as critical_of_study, raise_critical};
pub use draft::{load_draft, save_draft};
pub use identity::correct_identity;
pub use letter::{NewLetter, post};
pub use retake::{REASONS, Retake, request_retake};
pub use sign::{Press, audit, sign};
pub use signer::{CountyTrust, FileVault, SignerVault};
pub use text::{put_text, text_of};
pub use version::{package_hash, versions};
