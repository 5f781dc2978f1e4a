//! Reading certificates: whose it is comes from the SAN URI, and from nothing else.

use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, PersonId, Sha256};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::serial::Serial;

/// SAN URI prefix of an agent's certificate; the clinic id follows.
pub const CLINIC_URI_PREFIX: &str = "urn:relay:clinic:";
/// SAN URI prefix of a doctor's certificate; the employee id follows.
pub const DOCTOR_URI_PREFIX: &str = "urn:relay:doctor:";
/// Subject OU of a key that the county made in software for demonstration and tests: no third-party CA stands behind it.
pub const DEMO_KEY_UNIT: &str = "relay demonstration key";
/// Most bytes of a certificate that is read: our own have about 700.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Why a certificate cannot be used as an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not a DER certificate, or longer than the limit.
    #[error("not a readable X.509 certificate: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// The SAN names no clinic, or more than one.
    #[error(
        "the certificate's subjectAltName names {found} clinics (URI {CLINIC_URI_PREFIX}…), one is needed"
    )]
    NoClinic {
        /// How many it names.
        found: usize,
    },
    /// The SAN names no doctor, or the subject lacks role or name.
    #[error("not a doctor's certificate: {reason}")]
    NoDoctor {
        /// What is missing.
        reason: String,
    },
}

/// What a doctor's certificate lets its holder sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DoctorRole {
    /// Writes and signs reports (报告医师).
    Reader,
    /// Writes reports and audits those of others (审核医师).
    Reviewer,
    /// Writes treatment plans (临床医师).
    Clinician,
}

impl DoctorRole {
    /// The word in certificate, ledger and command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Reviewer => "reviewer",
            Self::Clinician => "clinician",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Reader, Self::Reviewer, Self::Clinician].into_iter().find(|role| role.as_str() == word)
    }

    /// May sign a report as its author.
    #[must_use]
    pub const fn may_author(self) -> bool {
        matches!(self, Self::Reader | Self::Reviewer)
    }

    /// May sign a report as its reviewer.
    #[must_use]
    pub const fn may_review(self) -> bool {
        matches!(self, Self::Reviewer)
    }
}

impl std::fmt::Display for DoctorRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who stands behind a doctor's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorIdentity {
    /// Employee id, from the SAN URI.
    pub person: PersonId,
    /// Name, from the subject's CN.
    pub name: String,
    /// Role, from the subject's title.
    pub role: DoctorRole,
    /// Serial number of the certificate.
    pub serial: Serial,
    /// A software key made by the county for demonstration and tests.
    pub demo: bool,
}

/// The clinic behind a connection. Made from the certificate that the peer proved to own: the only source of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The clinic, from the SAN URI.
    pub clinic: ClinicId,
    /// Serial number of the certificate.
    pub serial: Serial,
    /// End of its validity.
    pub not_after: UtcMs,
}

impl PeerIdentity {
    /// Reads the identity of an end-entity certificate whose chain was already verified by TLS.
    ///
    /// # Errors
    /// [`CertificateError`] when it names no clinic.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = parse(certificate)?;
        let ids = san_uris(&parsed, CLINIC_URI_PREFIX);
        let [id] = ids.as_slice() else { return Err(CertificateError::NoClinic { found: ids.len() }) };
        let clinic =
            ClinicId::parse(id).map_err(|e| CertificateError::Unreadable { reason: e.to_string() })?;
        Ok(Self { clinic, serial: serial_of(&parsed)?, not_after: not_after(&parsed) })
    }
}

impl DoctorIdentity {
    /// Reads the identity of a doctor's certificate. Says nothing about its chain.
    ///
    /// # Errors
    /// [`CertificateError::NoDoctor`] naming what is missing.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = parse(certificate)?;
        let missing = |reason: &str| CertificateError::NoDoctor { reason: reason.to_owned() };
        let ids = san_uris(&parsed, DOCTOR_URI_PREFIX);
        let [id] = ids.as_slice() else {
            return Err(missing("subjectAltName names no doctor, or more than one"));
        };
        let person = PersonId::parse(id).map_err(|e| CertificateError::NoDoctor { reason: e.to_string() })?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next().and_then(|a| a.as_str().ok());
        let name = name.ok_or_else(|| missing("subject has no name (CN)"))?.to_owned();
        let title = x509_parser::oid_registry::asn1_rs::oid!(2.5.4.12);
        let role = subject.iter_by_oid(&title).next().and_then(|a| a.as_str().ok());
        let role = role
            .and_then(DoctorRole::from_word)
            .ok_or_else(|| missing("subject has no known role (title)"))?;
        let demo = subject.iter_organizational_unit().any(|a| a.as_str() == Ok(DEMO_KEY_UNIT));
        Ok(Self { person, name, role, serial: serial_of(&parsed)?, demo })
    }
}

/// SHA-256 over the whole DER certificate: what a person compares and an agent pins.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Sha256 {
    Sha256::of(certificate.as_ref())
}

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateError> {
    let bytes: &'a [u8] = certificate.as_ref();
    if bytes.len() > MAX_CERTIFICATE_BYTES {
        let reason = format!("{} bytes, at most {MAX_CERTIFICATE_BYTES} are read", bytes.len());
        return Err(CertificateError::Unreadable { reason });
    }
    match X509Certificate::from_der(bytes) {
        Ok(([], parsed)) => Ok(parsed),
        Ok((rest, _)) => {
            Err(CertificateError::Unreadable { reason: format!("{} bytes after its end", rest.len()) })
        }
        Err(e) => Err(CertificateError::Unreadable { reason: e.to_string() }),
    }
}

pub(crate) fn serial_of(parsed: &X509Certificate<'_>) -> Result<Serial, CertificateError> {
    Serial::from_be_bytes(parsed.raw_serial())
        .map_err(|e| CertificateError::Unreadable { reason: e.to_string() })
}

pub(crate) fn not_before(parsed: &X509Certificate<'_>) -> UtcMs {
    UtcMs(parsed.validity().not_before.timestamp().saturating_mul(1_000))
}

/// End of validity; the named second still counts (RFC 5280 §4.1.2.5).
pub(crate) fn not_after(parsed: &X509Certificate<'_>) -> UtcMs {
    UtcMs(parsed.validity().not_after.timestamp().saturating_mul(1_000).saturating_add(999))
}

fn san_uris(parsed: &X509Certificate<'_>, prefix: &str) -> Vec<String> {
    let Ok(Some(san)) = parsed.subject_alternative_name() else { return Vec::new() };
    san.value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(prefix).map(str::to_owned),
            _ => None,
        })
        .collect()
}
