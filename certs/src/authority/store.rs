//! The inside of the verbs: lock, load, issue, store.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::CryptoRng;
use relay_core::clock::UtcMs;
use relay_core::ids::Sha256;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::ledger::{LEDGER_FORMAT, MAX_LEDGER_BYTES};
use super::{
    AGENT_VALID_DAYS, Authority, AuthorityError, CRL_FILE, CertificateRecord, CodeRecord, IssuedCertificate,
    LEDGER_FILE, LOCK_FILE, Ledger, MAX_CRL_BYTES, MAX_PEM_BYTES, RevocationReason, Subject, Validity, lock,
    profile,
};
use crate::serial::Serial;

/// Most enrolment codes kept; used or expired ones beyond it are forgotten, oldest first.
const MAX_CODES: usize = 4_096;

pub(super) fn io_error(path: &Path, source: std::io::Error) -> AuthorityError {
    AuthorityError::Io { file: path.display().to_string(), source }
}

pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    crate::files::write_public(path, bytes).map_err(|source| io_error(path, source))
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// [`AuthorityError`] naming the file.
pub fn load_certificate(path: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    let bytes = crate::files::read_limited(path, MAX_PEM_BYTES).map_err(|source| io_error(path, source))?;
    CertificateDer::from_pem_slice(&bytes).map_err(|e| AuthorityError::Damaged {
        file: path.display().to_string(),
        reason: format!("not a PEM certificate: {e}"),
    })
}

/// RFC 7468 text.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in BASE64.encode(der).as_bytes().chunks(64) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// A text that goes into a subject: not empty, not long, no control characters.
pub(super) fn check_subject_text(field: &'static str, text: &str) -> Result<(), AuthorityError> {
    let chars = text.chars().count();
    let reason = if text.trim().is_empty() {
        "is empty".to_owned()
    } else if chars > profile::MAX_SUBJECT_CHARS {
        format!("has {chars} characters, at most {} are lawful", profile::MAX_SUBJECT_CHARS)
    } else if text.chars().any(char::is_control) {
        "holds a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(AuthorityError::Field { field, reason })
}

impl Authority {
    pub(super) fn lock(&self) -> Result<lock::Lock, AuthorityError> {
        lock::Lock::take(&self.dir.join(LOCK_FILE))
    }

    pub(super) fn load(&self) -> Result<Ledger, AuthorityError> {
        let path = self.dir.join(LEDGER_FILE);
        let bytes =
            crate::files::read_limited(&path, MAX_LEDGER_BYTES).map_err(|source| io_error(&path, source))?;
        let damaged = |reason: String| AuthorityError::Damaged { file: path.display().to_string(), reason };
        let ledger: Ledger = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if ledger.format != LEDGER_FORMAT {
            return Err(damaged(format!("format {}, this version reads {LEDGER_FORMAT}", ledger.format)));
        }
        Ok(ledger)
    }

    /// Commits a changed ledger, then brings the CRL copy up to date.
    pub(super) fn store(&self, ledger: &Ledger) -> Result<(), AuthorityError> {
        let path = self.dir.join(LEDGER_FILE);
        let bytes = serde_json::to_vec(ledger).map_err(|e| AuthorityError::Damaged {
            file: path.display().to_string(),
            reason: e.to_string(),
        })?;
        crate::files::write_private(&path, &bytes).map_err(|source| io_error(&path, source))?;
        self.repair_crl_copy(ledger)
    }

    pub(super) fn crl_of(&self, ledger: &Ledger) -> Result<Vec<u8>, AuthorityError> {
        BASE64.decode(&ledger.crl_base64).map_err(|e| AuthorityError::Damaged {
            file: self.dir.join(LEDGER_FILE).display().to_string(),
            reason: format!("crl_base64: {e}"),
        })
    }

    /// Writes `crl.der` when it is not the ledger's CRL: after a change, or after a power cut between the two files.
    pub(super) fn repair_crl_copy(&self, ledger: &Ledger) -> Result<(), AuthorityError> {
        let path = self.dir.join(CRL_FILE);
        let crl = self.crl_of(ledger)?;
        match crate::files::read_limited(&path, MAX_CRL_BYTES) {
            Ok(copy) if copy == crl => Ok(()),
            _ => write_public(&path, &crl),
        }
    }

    /// Signs a new CRL over the ledger's revocations and puts it into the ledger.
    pub(super) fn renew_crl_in(&self, ledger: &mut Ledger, now: UtcMs) -> Result<(), AuthorityError> {
        let issuer = profile::issuer(&self.certificate, &self.key)?;
        let number = ledger.crl_number + 1;
        let crl = profile::crl(&ledger.certificates, number, now, &issuer)?;
        ledger.crl_number = number;
        ledger.crl_this_update = now;
        ledger.crl_next_update = now.plus_ms(profile::CRL_VALID_MS);
        ledger.crl_base64 = BASE64.encode(crl);
        Ok(())
    }

    /// Issues into a loaded ledger; the caller stores it before it hands the certificate out.
    #[expect(clippy::too_many_arguments, reason = "one place that all profiles share")]
    pub(super) fn issue_in(
        &self,
        ledger: &mut Ledger,
        subject: &Subject,
        display_name: &str,
        demo_key: bool,
        public_key_der: &[u8],
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, AuthorityError> {
        // A leaf never outlives its CA, and never begins before it.
        let validity = Validity {
            not_before: validity.not_before.max(self.ca_not_before),
            not_after: validity.not_after.min(self.ca_not_after),
        };
        if validity.not_after <= validity.not_before {
            let reason = "ends before it begins (within the validity of the CA)".to_owned();
            return Err(AuthorityError::Field { field: "validity", reason });
        }
        refuse_revoked_key(ledger, subject, &Sha256::of(public_key_der))?;
        let serial = Serial::generate(rng);
        let leaf = profile::Leaf {
            subject,
            display_name,
            county: &self.county,
            serial: &serial,
            validity,
            demo_key,
            public_key_der,
        };
        let certificate = profile::leaf_certificate(&leaf, &profile::issuer(&self.certificate, &self.key)?)?;
        ledger.certificates.push(CertificateRecord {
            serial: serial.clone(),
            subject: subject.clone(),
            issued_at: now,
            not_before: validity.not_before,
            not_after: validity.not_after,
            public_key_sha256: Sha256::of(public_key_der),
            pem: to_pem("CERTIFICATE", certificate.as_ref()),
            revoked: None,
        });
        let chain = vec![certificate, self.certificate.clone()];
        Ok(IssuedCertificate { serial, chain, not_after: validity.not_after })
    }

    /// Adds an enrolment code's hash.
    pub(crate) fn add_code(&self, record: CodeRecord, now: UtcMs) -> Result<(), AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        if ledger.codes.len() >= MAX_CODES {
            let dead = ledger.codes.iter().position(|c| c.used_for.is_some() || c.expires_at <= now);
            let dead = dead.ok_or_else(|| AuthorityError::Field {
                field: "enrolment codes",
                reason: format!("{MAX_CODES} codes are open; let some expire first"),
            })?;
            ledger.codes.remove(dead);
        }
        ledger.codes.push(record);
        self.store(&ledger)
    }

    /// Looks a code up and, when `decide` says so, issues the agent certificate for it: one atomic ledger change.
    pub(crate) fn redeem_code(
        &self,
        code_sha256: &Sha256,
        public_key_der: &[u8],
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<Redeemed, AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        let Some(index) = ledger.codes.iter().position(|c| c.code_sha256 == *code_sha256) else {
            return Ok(Redeemed::Unknown);
        };
        if ledger.codes[index].expires_at <= now {
            return Ok(Redeemed::Expired);
        }
        if let Some(serial) = ledger.codes[index].used_for.clone() {
            return self.delivered_before(&ledger, &serial, public_key_der);
        }
        let clinic = ledger.codes[index].clinic.clone();
        let subject = Subject::Agent { clinic };
        let validity = Validity::days(now, AGENT_VALID_DAYS);
        let issued = self.issue_in(&mut ledger, &subject, "", false, public_key_der, validity, now, rng)?;
        ledger.codes[index].used_for = Some(issued.serial.clone());
        self.store(&ledger)?;
        Ok(Redeemed::Issued(issued))
    }

    /// A used code gives the same certificate again to the same key only: the answer may have been lost on the way.
    fn delivered_before(
        &self,
        ledger: &Ledger,
        serial: &Serial,
        public_key_der: &[u8],
    ) -> Result<Redeemed, AuthorityError> {
        let record = ledger.certificates.iter().find(|r| r.serial == *serial);
        let same =
            record.filter(|r| r.public_key_sha256 == Sha256::of(public_key_der) && r.revoked.is_none());
        let Some(record) = same else { return Ok(Redeemed::Used) };
        let certificate =
            CertificateDer::from_pem_slice(record.pem.as_bytes()).map_err(|e| AuthorityError::Damaged {
                file: LEDGER_FILE.to_owned(),
                reason: format!("certificate {serial}: {e}"),
            })?;
        Ok(Redeemed::Issued(IssuedCertificate {
            serial: serial.clone(),
            chain: vec![certificate, self.certificate.clone()],
            not_after: record.not_after,
        }))
    }
}

/// A key that was in other hands is never certified again: whoever has it could go on as before. A device makes a new key
/// whatever the reason was; a doctor's token that was only out of service keeps its key.
fn refuse_revoked_key(ledger: &Ledger, subject: &Subject, key: &Sha256) -> Result<(), AuthorityError> {
    let of_key = ledger.certificates.iter().filter(|record| record.public_key_sha256 == *key);
    let mut revoked = of_key.filter_map(|record| record.revoked.as_ref().map(|r| (record, r.reason)));
    let bars = |reason: RevocationReason| match subject {
        Subject::Doctor { .. } => {
            matches!(reason, RevocationReason::KeyCompromise | RevocationReason::Unspecified)
        }
        Subject::Agent { .. } | Subject::Server { .. } => true,
    };
    match revoked.find(|(_, reason)| bars(*reason)) {
        Some((record, _)) => Err(AuthorityError::KeyRevoked { serial: record.serial.clone() }),
        None => Ok(()),
    }
}

/// What became of an enrolment code.
pub(crate) enum Redeemed {
    Unknown,
    Expired,
    Used,
    Issued(IssuedCertificate),
}
