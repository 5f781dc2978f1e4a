//! The signer as a port: software key, token or remote CA behind one trait.

use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateDer;

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// A digest and a signature algorithm that belong together. SM3 with SM2 (GM/T 0010) is to be the second one; a reader
/// meets the object identifiers in every CMS and refuses by name what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureSuite {
    /// SHA-256 and ECDSA on P-256, signature in DER.
    EcdsaP256Sha256,
}

impl SignatureSuite {
    /// Every suite that this version signs and verifies.
    pub const ALL: &'static [Self] = &[Self::EcdsaP256Sha256];

    /// Name in lists and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }

    pub(super) const fn digest_oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaP256Sha256 => SHA256,
        }
    }

    pub(super) const fn signature_oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaP256Sha256 => ECDSA_WITH_SHA256,
        }
    }

    pub(super) fn from_oids(digest: ObjectIdentifier, signature: ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.digest_oid() == digest && s.signature_oid() == signature)
    }
}

/// What a signature is for. A token or a remote CA shows it to the doctor and may refuse others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignPurpose {
    /// Author of a report.
    Report,
    /// Reviewer of a report.
    Review,
    /// Clinician's treatment plan.
    Plan,
}

/// Why a signer did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signer did not sign: {reason}")]
pub struct SignerError {
    /// What it said.
    pub reason: String,
}

/// Something that holds a doctor's key. Implementations may block (token, network): async callers use their blocking
/// pool and a deadline.
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// Which suite it signs with.
    fn algorithm(&self) -> SignatureSuite;

    /// The doctor's certificate first, the CA last.
    fn certificate_chain(&self) -> &[CertificateDer<'static>];

    /// True when no third-party CA stands behind the key: the PDF then prints 演示签名·非第三方CA.
    fn is_demo(&self) -> bool;

    /// Signs these bytes (hashing included) in the form that CMS carries.
    ///
    /// # Errors
    /// [`SignerError`] when token, network or doctor refuses.
    fn sign(&self, purpose: SignPurpose, to_be_signed: &[u8]) -> Result<Vec<u8>, SignerError>;
}
