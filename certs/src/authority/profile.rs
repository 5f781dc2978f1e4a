//! Certificate profiles: what goes into a CA, server, agent and doctor certificate, and into a CRL.
//!
//! All keys are P-256, all signatures ecdsa-with-SHA256 (RFC 5480, RFC 5758). Leaf certificates carry
//! `digitalSignature` only, one extended key usage, and `cA = false`.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use relay_core::clock::{DAY_MS, UtcMs};
use rustls_pki_types::CertificateDer;

use super::ledger::{CertificateRecord, Subject};
use super::{AuthorityError, Validity};
use crate::certificate::{CLINIC_URI_PREFIX, DEMO_KEY_UNIT, DOCTOR_URI_PREFIX};
use crate::keys::PrivateKey;
use crate::serial::Serial;

/// Last second that X.509 can name (9999-12-31T23:59:59Z).
const MAX_X509_SECOND: i64 = 253_402_300_799;
/// Most characters of a name in a subject (X.520 upper bound of commonName).
pub(super) const MAX_SUBJECT_CHARS: usize = 64;
/// Most names of a server certificate: a few DNS names and addresses of one machine.
pub(super) const MAX_SERVER_NAMES: usize = 16;
/// How long a CRL says it is good for. It is renewed at half of it; a clinic that is off line longer is told that its
/// list is old.
pub(super) const CRL_VALID_MS: i64 = 7 * DAY_MS;

/// What a leaf certificate is made of.
pub(super) struct Leaf<'a> {
    pub(super) subject: &'a Subject,
    /// Name shown to people (doctor's name); empty when the subject's id is the name.
    pub(super) display_name: &'a str,
    pub(super) county: &'a str,
    pub(super) serial: &'a Serial,
    pub(super) validity: Validity,
    pub(super) demo_key: bool,
    pub(super) public_key_der: &'a [u8],
}

fn bad(reason: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Certificate { reason: reason.to_string() }
}

/// Whole seconds since 1970, the precision of X.509; times outside what X.509 can name are clamped.
fn x509_seconds(at: UtcMs) -> Duration {
    Duration::from_secs(at.0.div_euclid(1_000).clamp(0, MAX_X509_SECOND).unsigned_abs())
}

fn base_params(serial: &Serial, validity: Validity) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + x509_seconds(validity.not_before);
    params.not_after = epoch + x509_seconds(validity.not_after);
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params
}

pub(super) fn name_of(common_name: &str, county: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, county);
    name.push(DnType::CommonName, common_name);
    name
}

/// A self-signed county CA.
pub(super) fn ca_certificate(
    county: &str,
    key: &PrivateKey,
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let mut params = base_params(serial, validity);
    params.distinguished_name = name_of("Relay County CA", county);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let signing_key = key.to_issuer_key().map_err(bad)?;
    Ok(params.self_signed(&signing_key).map_err(bad)?.into())
}

pub(super) type CaIssuer = Issuer<'static, rcgen::KeyPair>;

pub(super) fn issuer(ca: &CertificateDer<'_>, key: &PrivateKey) -> Result<CaIssuer, AuthorityError> {
    Issuer::from_ca_cert_der(ca, key.to_issuer_key().map_err(bad)?).map_err(bad)
}

/// A leaf certificate of one of the three profiles.
pub(super) fn leaf_certificate(
    leaf: &Leaf<'_>,
    issuer: &CaIssuer,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let mut params = base_params(leaf.serial, leaf.validity);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    match leaf.subject {
        Subject::Server { names } => {
            let first = names.first().map_or("gateway", String::as_str);
            params.distinguished_name =
                name_of(&first.chars().take(MAX_SUBJECT_CHARS).collect::<String>(), leaf.county);
            params.subject_alt_names = names.iter().map(|n| server_name(n)).collect::<Result<_, _>>()?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }
        Subject::Agent { clinic } => {
            params.distinguished_name = name_of(clinic.as_str(), leaf.county);
            params.subject_alt_names = vec![uri(CLINIC_URI_PREFIX, clinic.as_str())?];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        Subject::Doctor { person, role } => {
            let mut name = name_of(leaf.display_name, leaf.county);
            name.push(DnType::CustomDnType(vec![2, 5, 4, 12]), role.as_str());
            if leaf.demo_key {
                name.push(DnType::OrganizationalUnitName, DEMO_KEY_UNIT);
            }
            params.distinguished_name = name;
            params.subject_alt_names = vec![uri(DOCTOR_URI_PREFIX, person.as_str())?];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
            params.key_usages.push(KeyUsagePurpose::ContentCommitment);
        }
    }
    let public_key = SubjectPublicKeyInfo::from_der(leaf.public_key_der).map_err(bad)?;
    Ok(params.signed_by(&public_key, issuer).map_err(bad)?.into())
}

fn uri(prefix: &str, id: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(format!("{prefix}{id}").try_into().map_err(bad)?))
}

/// A DNS name or an IP address as SAN entry.
pub(super) fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    match rustls_pki_types::DnsName::try_from(name) {
        Ok(_) => Ok(SanType::DnsName(name.try_into().map_err(bad)?)),
        Err(_) => Err(AuthorityError::Field {
            field: "server name",
            reason: format!("{name:?} is neither a DNS name nor an IP address"),
        }),
    }
}

/// A v2 CRL with AKI and number (RFC 5280 §5).
pub(super) fn crl(
    records: &[CertificateRecord],
    number: u64,
    now: UtcMs,
    issuer: &CaIssuer,
) -> Result<Vec<u8>, AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let revoked = records.iter().filter_map(|record| {
        record.revoked.as_ref().map(|revocation| RevokedCertParams {
            serial_number: SerialNumber::from_slice(record.serial.as_bytes()),
            revocation_time: epoch + x509_seconds(revocation.at),
            reason_code: Some(revocation.reason.to_crl()),
            invalidity_date: None,
        })
    });
    let params = CertificateRevocationListParams {
        this_update: epoch + x509_seconds(now),
        next_update: epoch + x509_seconds(now.plus_ms(CRL_VALID_MS)),
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer).map_err(bad)?.der().to_vec())
}
