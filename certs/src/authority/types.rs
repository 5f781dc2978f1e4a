//! What the CA's verbs take, give and refuse with.

use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, PersonId};
use rustls_pki_types::CertificateDer;

use super::{BACKDATE_MS, RequestError, to_pem};
use crate::certificate::DoctorRole;
use crate::keys::{KeyError, PrivateKey};
use crate::serial::Serial;

/// Why the CA refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The directory already holds a CA.
    #[error("{dir} already holds a county CA; it is not overwritten")]
    Exists {
        /// The directory.
        dir: String,
    },
    /// A file of the directory cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process holds the directory for longer than the wait.
    #[error("{file} is held by another process for more than {waited_ms} ms")]
    Locked {
        /// The lock file.
        file: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// A file of the directory is damaged.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be written or read.
    #[error("certificate: {reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// The certificate request is refused.
    #[error("certificate request: {0}")]
    Request(#[from] RequestError),
    /// An argument is unlawful.
    #[error("{field}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// No certificate matches, or all that match are revoked already.
    #[error("no unrevoked certificate for {target}")]
    NothingToRevoke {
        /// What was asked for.
        target: String,
    },
    /// The certificate used to renew is revoked or unknown.
    #[error("certificate {serial} may not be renewed: {reason}")]
    NotRenewable {
        /// Its serial.
        serial: Serial,
        /// Why.
        reason: &'static str,
    },
    /// The key was certified before, and that certificate is revoked.
    #[error("the key belongs to certificate {serial}, which is revoked; make a new key")]
    KeyRevoked {
        /// Serial of the revoked certificate.
        serial: Serial,
    },
    /// The PKCS#12 file cannot be made.
    #[error("PKCS#12: {reason}")]
    Pkcs12 {
        /// What is wrong.
        reason: String,
    },
}

impl AuthorityError {
    /// The code that crosses a boundary.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Request(_) => Code::RequestInvalid,
            Self::Field { .. } => Code::FieldInvalid,
            Self::NothingToRevoke { .. } => Code::NotFound,
            Self::NotRenewable { .. } => Code::CertificateRevoked,
            Self::KeyRevoked { .. } => Code::KeyRevoked,
            Self::Locked { .. } => Code::Busy,
            Self::Exists { .. } => Code::StateConflict,
            Self::Io { .. } => Code::StorageFailed,
            Self::Damaged { .. } | Self::Key(_) | Self::Certificate { .. } | Self::Pkcs12 { .. } => {
                Code::Internal
            }
        }
    }
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: UtcMs,
    /// Last moment.
    pub not_after: UtcMs,
}

impl Validity {
    /// From [`BACKDATE_MS`] before `now` for `days` days from `now`.
    #[must_use]
    pub const fn days(now: UtcMs, days: i64) -> Self {
        Self { not_before: now.plus_ms(-BACKDATE_MS), not_after: now.plus_ms(days.saturating_mul(DAY_MS)) }
    }
}

/// A certificate just issued, with the CA that stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Leaf first, CA last.
    pub chain: Vec<CertificateDer<'static>>,
    /// End of validity.
    pub not_after: UtcMs,
}

impl IssuedCertificate {
    /// The chain as PEM, leaf first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|c| to_pem("CERTIFICATE", c.as_ref())).collect()
    }
}

/// A certificate with the key that was made for it here.
#[derive(Debug, Clone)]
pub struct IssuedIdentity {
    /// The certificate.
    pub certificate: IssuedCertificate,
    /// Its private key; the caller stores it (0600) or wraps it.
    pub key: PrivateKey,
}

/// A doctor to be certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doctor {
    /// Employee id.
    pub person: PersonId,
    /// Name as it appears on reports.
    pub name: String,
    /// What he may sign.
    pub role: DoctorRole,
}

/// Which certificates to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokeTarget {
    /// One certificate.
    Serial(Serial),
    /// Every agent certificate of a clinic, and its unused enrolment codes.
    Clinic(ClinicId),
    /// Every certificate of a doctor.
    Doctor(PersonId),
}

impl std::fmt::Display for RevokeTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial {serial}"),
            Self::Clinic(clinic) => write!(f, "clinic {clinic}"),
            Self::Doctor(person) => write!(f, "doctor {person}"),
        }
    }
}
