//! The ledger of a CA directory: every certificate issued, every revocation, every enrolment code, and the current CRL.
//!
//! One JSON file, replaced atomically, is the only truth; `crl.der` beside it is a copy for those who read CRLs and is
//! put right whenever it differs.

use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, PersonId, Sha256};
use serde::{Deserialize, Serialize};

use crate::certificate::DoctorRole;
use crate::serial::Serial;

/// Version of the ledger's form.
pub(super) const LEDGER_FORMAT: u32 = 1;
/// Most bytes of a ledger: about 1.5 kB per certificate, so room for some forty thousand.
pub(super) const MAX_LEDGER_BYTES: u64 = 64 * 1024 * 1024;

/// Whom a certificate was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// A gateway (primary or standby) and its HTTPS page.
    Server {
        /// DNS names and IP addresses of its SAN.
        names: Vec<String>,
    },
    /// A clinic's agent.
    Agent {
        /// The clinic of its SAN URI.
        clinic: ClinicId,
    },
    /// A doctor who signs.
    Doctor {
        /// Employee id of its SAN URI.
        person: PersonId,
        /// What its holder may sign.
        role: DoctorRole,
    },
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server { names } => write!(f, "server {}", names.join(",")),
            Self::Agent { clinic } => write!(f, "agent {clinic}"),
            Self::Doctor { person, role } => write!(f, "doctor {person} ({role})"),
        }
    }
}

/// Why a certificate is revoked (RFC 5280 §5.3.1, those that make sense here).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevocationReason {
    /// No reason given: counts as a compromise.
    Unspecified,
    /// The key may be in other hands: no signature of it is trusted any more, whatever time it claims.
    KeyCompromise,
    /// The holder has left or changed role; what he signed before stays valid.
    AffiliationChanged,
    /// Replaced by a new certificate; what was signed before stays valid.
    Superseded,
    /// The site or post no longer exists; what was signed before stays valid.
    CessationOfOperation,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// The word in ledger and command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
        }
    }

    /// The reason of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    pub(super) const fn to_crl(self) -> rcgen::RevocationReason {
        match self {
            Self::Unspecified => rcgen::RevocationReason::Unspecified,
            Self::KeyCompromise => rcgen::RevocationReason::KeyCompromise,
            Self::AffiliationChanged => rcgen::RevocationReason::AffiliationChanged,
            Self::Superseded => rcgen::RevocationReason::Superseded,
            Self::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
        }
    }
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: UtcMs,
    /// Why.
    pub reason: RevocationReason,
}

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Its serial number.
    pub serial: Serial,
    /// Whom it is for.
    pub subject: Subject,
    /// When it was issued.
    pub issued_at: UtcMs,
    /// Start of validity.
    pub not_before: UtcMs,
    /// End of validity.
    pub not_after: UtcMs,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key_sha256: Sha256,
    /// The certificate itself.
    pub pem: String,
    /// Set when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

/// One enrolment code, without the code: only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// SHA-256 of the code with its clinic.
    pub code_sha256: Sha256,
    /// The clinic it enrols.
    pub clinic: ClinicId,
    /// When it was issued.
    pub issued_at: UtcMs,
    /// When it ends.
    pub expires_at: UtcMs,
    /// Serial of the certificate it was used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_for: Option<Serial>,
}

/// The whole ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub(super) format: u32,
    pub(super) crl_number: u64,
    pub(super) crl_this_update: UtcMs,
    pub(super) crl_next_update: UtcMs,
    /// The current CRL (DER) in base64: in the same atomic write as the revocations it lists.
    pub(super) crl_base64: String,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) codes: Vec<CodeRecord>,
}

impl Ledger {
    pub(super) const fn new() -> Self {
        Self {
            format: LEDGER_FORMAT,
            crl_number: 0,
            crl_this_update: UtcMs(0),
            crl_next_update: UtcMs(0),
            crl_base64: String::new(),
            certificates: Vec::new(),
            codes: Vec::new(),
        }
    }
}
