//! What is signed, and the package in which a report travels. What the report *says* is the crate `relay-report`;
//! how it is signed and verified is `relay-certs`.

mod package;
mod signed_manifest;

pub use package::{PackageError, ReportPackage};
pub use signed_manifest::{
    CanonicalError, PURPOSE_PLAN, PURPOSE_REPORT, PURPOSE_REVIEW, ReportKind, ReviewManifest, SignedManifest,
    canonical_json,
};
