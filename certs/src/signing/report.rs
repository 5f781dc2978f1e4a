//! Signing: author over manifest, reviewer over the author's manifest and signature.

use relay_core::clock::UtcMs;
use relay_core::ids::Sha256;
use relay_core::report::{
    PURPOSE_PLAN, PURPOSE_REPORT, PURPOSE_REVIEW, ReportKind, ReviewManifest, SignedManifest, canonical_json,
};
use rustls_pki_types::CertificateDer;

use super::cms::{CmsFault, CmsParts};
use super::{SignPurpose, SignatureSuite, Signer, SignerError};
use crate::certificate::{CertificateError, DoctorIdentity, DoctorRole};

/// Why a report was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signer refused.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The signer's certificate is not a doctor's.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The manifest and the signer do not fit together.
    #[error("{field} of the manifest is {found}, but the signer says {expected}")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// Of the signer.
        expected: String,
        /// Of the manifest.
        found: String,
    },
    /// The role of the certificate does not allow it.
    #[error("a {role} may not sign {what}")]
    Role {
        /// Of the certificate.
        role: DoctorRole,
        /// What was to be signed.
        what: &'static str,
    },
    /// Reviewer and author are one person.
    #[error("the reviewer is the author")]
    ReviewerIsAuthor,
    /// Manifest or CMS cannot be written.
    #[error("cannot be encoded: {0}")]
    Encoding(String),
}

impl From<CmsFault> for SignError {
    fn from(fault: CmsFault) -> Self {
        match fault {
            CmsFault::Form(reason) | CmsFault::Suite(reason) => Self::Encoding(reason),
        }
    }
}

/// Signed bytes and the detached CMS over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical bytes of the manifest.
    pub bytes: Vec<u8>,
    /// Detached CMS in DER.
    pub cms: Vec<u8>,
}

/// Signs a report (or plan) as its author. The time in the CMS is that of the manifest.
///
/// # Errors
/// [`SignError`]; nothing is signed when manifest and signer do not fit together.
pub fn sign_report(signer: &dyn Signer, manifest: &SignedManifest) -> Result<Signed, SignError> {
    let identity = identity_of(signer)?;
    let (purpose, allowed, what) = match manifest.purpose.as_str() {
        PURPOSE_REPORT => (SignPurpose::Report, identity.role.may_author(), "a report as its author"),
        PURPOSE_PLAN => (SignPurpose::Plan, identity.role == DoctorRole::Clinician, "a treatment plan"),
        other => {
            let expected = format!("{PURPOSE_REPORT:?} or {PURPOSE_PLAN:?}");
            return Err(SignError::Mismatch { field: "purpose", expected, found: format!("{other:?}") });
        }
    };
    if !allowed {
        return Err(SignError::Role { role: identity.role, what });
    }
    expect("author", &identity.person, &manifest.author)?;
    expect("demo_signature", &signer.is_demo(), &manifest.demo_signature)?;
    let bytes = canonical_json(manifest).map_err(|e| SignError::Encoding(e.to_string()))?;
    let cms = seal(signer, purpose, &bytes, manifest.signed_at)?;
    Ok(Signed { bytes, cms })
}

/// Signs a released version as its reviewer, over the author's signed version that it is built on.
///
/// # Errors
/// [`SignError::ReviewerIsAuthor`], or what does not fit together.
pub fn sign_review(
    signer: &dyn Signer,
    author: &Signed,
    review: &ReviewManifest,
) -> Result<Signed, SignError> {
    let identity = identity_of(signer)?;
    expect("reviewer", &identity.person, &review.reviewer)?;
    expect("demo_signature", &signer.is_demo(), &review.demo_signature)?;
    if !identity.role.may_review() {
        return Err(SignError::Role { role: identity.role, what: "a report as its reviewer" });
    }
    let manifest =
        SignedManifest::from_canonical(&author.bytes).map_err(|e| SignError::Encoding(e.to_string()))?;
    if manifest.author == review.reviewer {
        return Err(SignError::ReviewerIsAuthor);
    }
    check_review(review, &manifest, author.bytes.as_slice(), author.cms.as_slice())
        .map_err(|m| SignError::Mismatch { field: m.field, expected: m.expected, found: m.found })?;
    let bytes = canonical_json(review).map_err(|e| SignError::Encoding(e.to_string()))?;
    let cms = seal(signer, SignPurpose::Review, &bytes, review.signed_at)?;
    Ok(Signed { bytes, cms })
}

/// A field of a review manifest that does not fit the author's version.
pub(super) struct ReviewMismatch {
    pub(super) field: &'static str,
    pub(super) expected: String,
    pub(super) found: String,
}

/// What a review manifest must say about the author's version; the same rule for signing and verifying.
pub(super) fn check_review(
    review: &ReviewManifest,
    manifest: &SignedManifest,
    manifest_bytes: &[u8],
    author_cms: &[u8],
) -> Result<(), ReviewMismatch> {
    let same = |field, expected: String, found: String| {
        if expected == found { Ok(()) } else { Err(ReviewMismatch { field, expected, found }) }
    };
    same("purpose", PURPOSE_REVIEW.to_owned(), review.purpose.clone())?;
    same("manifest_sha256", Sha256::of(manifest_bytes).to_hex(), review.manifest_sha256.to_hex())?;
    same("author_cms_sha256", Sha256::of(author_cms).to_hex(), review.author_cms_sha256.to_hex())?;
    same("report_id", manifest.report_id.to_string(), review.report_id.to_string())?;
    same("clinic", manifest.clinic.to_string(), review.clinic.to_string())?;
    same("study_uid", manifest.study_uid.to_string(), review.study_uid.to_string())?;
    same("previous", manifest.version.to_string(), review.previous.to_string())?;
    let mismatch = |field, expected: &str, found: String| {
        Err(ReviewMismatch { field, expected: expected.to_owned(), found })
    };
    if review.version <= manifest.version {
        return mismatch("version", "above the author's version", review.version.to_string());
    }
    if review.kind == ReportKind::Preliminary {
        return mismatch("kind", "final, addendum or correction", "preliminary".to_owned());
    }
    Ok(())
}

fn expect<T: PartialEq + std::fmt::Display>(
    field: &'static str,
    expected: &T,
    found: &T,
) -> Result<(), SignError> {
    if expected == found {
        return Ok(());
    }
    Err(SignError::Mismatch { field, expected: expected.to_string(), found: found.to_string() })
}

fn leaf_and_ca(
    signer: &dyn Signer,
) -> Result<(&CertificateDer<'static>, &CertificateDer<'static>), SignError> {
    match signer.certificate_chain() {
        [leaf, ca] => Ok((leaf, ca)),
        chain => Err(SignError::Encoding(format!(
            "the signer's chain has {} certificates; doctor and CA are needed",
            chain.len()
        ))),
    }
}

fn identity_of(signer: &dyn Signer) -> Result<DoctorIdentity, SignError> {
    Ok(DoctorIdentity::from_certificate(leaf_and_ca(signer)?.0)?)
}

/// Makes the detached CMS.
fn seal(
    signer: &dyn Signer,
    purpose: SignPurpose,
    content: &[u8],
    signed_at: UtcMs,
) -> Result<Vec<u8>, SignError> {
    let (leaf, ca) = leaf_and_ca(signer)?;
    let parts = CmsParts {
        suite: signer.algorithm(),
        leaf: leaf.clone(),
        ca: ca.clone(),
        content_sha256: Sha256::of(content),
        signing_time: signed_at,
    };
    let signature = signer.sign(purpose, &parts.to_be_signed()?)?;
    let SignatureSuite::EcdsaP256Sha256 = parts.suite;
    let signature = crate::keys::low_s(&signature)
        .ok_or_else(|| SignerError { reason: "its answer is not an ECDSA signature in DER".to_owned() })?;
    Ok(parts.assemble(&signature, None)?)
}
