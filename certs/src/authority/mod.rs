//! The county CA in a directory: `ca.pem`, `ca.key` (0600), `ledger.json` (0600), `crl.der`, `lock`.
//!
//! Every verb takes the directory's lock, reads the ledger, changes it and replaces it atomically before it answers: a
//! running gateway and the command line can both use the directory, and what was answered is durable. Every public
//! verb writes one audit line, for success and for refusal.

mod ledger;
mod lock;
mod profile;
mod request;
mod store;
mod types;

use std::path::{Path, PathBuf};

use rand::CryptoRng;
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::{ClinicId, Sha256};
use rustls_pki_types::CertificateDer;

use ledger::Ledger;
pub use ledger::{CertificateRecord, CodeRecord, Revocation, RevocationReason, Subject};
pub use request::{MAX_REQUEST_BYTES, RequestError, check_request};
pub use store::load_certificate;
pub(crate) use store::{Redeemed, to_pem};
use store::{check_subject_text, io_error, write_public};
pub use types::{AuthorityError, Doctor, IssuedCertificate, IssuedIdentity, RevokeTarget, Validity};

use crate::certificate::{self, PeerIdentity, fingerprint};
use crate::keys::PrivateKey;
use crate::serial::Serial;

/// Validity of a county CA.
pub const CA_VALID_DAYS: i64 = 20 * 365;
/// Validity of a gateway's certificate.
pub const SERVER_VALID_DAYS: i64 = 2 * 365;
/// Validity of an agent's certificate; renewed by the agent at two thirds of it.
pub const AGENT_VALID_DAYS: i64 = 2 * 365;
/// Validity of a doctor's certificate.
pub const DOCTOR_VALID_DAYS: i64 = 3 * 365;
/// Certificates are dated back by a day, so that a clinic whose clock is hours slow still accepts them.
pub const BACKDATE_MS: i64 = DAY_MS;
/// Most bytes of a CRL that is read: about 40 bytes an entry, so room for a hundred thousand.
pub const MAX_CRL_BYTES: u64 = 4 * 1024 * 1024;
/// Most bytes of a file of PEM certificates.
pub(crate) const MAX_PEM_BYTES: u64 = 256 * 1024;

const CA_CERTIFICATE_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const LEDGER_FILE: &str = "ledger.json";
/// Name of the CRL copy inside a CA directory.
pub const CRL_FILE: &str = "crl.der";
const LOCK_FILE: &str = "lock";

/// The county CA of one directory. Cheap to share; holds no lock between verbs.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    county: String,
    certificate: CertificateDer<'static>,
    ca_not_after: UtcMs,
    ca_not_before: UtcMs,
    key: PrivateKey,
}

/// One audit line for each verb, done or refused. Subjects are ids, never names of persons.
fn audited<T>(
    verb: &'static str,
    subject: &str,
    result: Result<T, AuthorityError>,
) -> Result<T, AuthorityError> {
    match &result {
        Ok(_) => tracing::info!(target: "relay_certs::audit", verb, subject, outcome = "done"),
        Err(error) => tracing::warn!(
            target: "relay_certs::audit", verb, subject, outcome = "refused", code = error.code().name(), %error
        ),
    }
    result
}

impl Authority {
    /// Makes a county CA in `dir` (created, 0700, when absent).
    ///
    /// # Errors
    /// [`AuthorityError::Exists`] when there is one already.
    pub fn create(
        dir: &Path,
        county: &str,
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, AuthorityError> {
        audited("ca.create", county, Self::create_inner(dir, county, validity, now, rng))
    }

    fn create_inner(
        dir: &Path,
        county: &str,
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, AuthorityError> {
        use relay_core::durable::Disk as _;
        check_subject_text("county", county)?;
        relay_core::durable::RealDisk.create_dir_all(dir).map_err(|source| io_error(dir, source))?;
        let _lock = lock::Lock::take(&dir.join(LOCK_FILE))?;
        // The ledger is written last: without it no CA was ever announced, and left-overs may be replaced.
        if dir.join(LEDGER_FILE).exists() {
            return Err(AuthorityError::Exists { dir: dir.display().to_string() });
        }
        let key = PrivateKey::generate(rng)?;
        let certificate = profile::ca_certificate(county, &key, &Serial::generate(rng), validity)?;
        key.save(&dir.join(CA_KEY_FILE))?;
        write_public(&dir.join(CA_CERTIFICATE_FILE), to_pem("CERTIFICATE", certificate.as_ref()).as_bytes())?;
        let authority = Self::assemble(dir, certificate, key)?;
        let mut ledger = Ledger::new();
        authority.renew_crl_in(&mut ledger, now)?;
        authority.store(&ledger)?;
        Ok(authority)
    }

    /// Opens the CA of `dir`, checks that key and certificate belong together, and puts the CRL copy right.
    ///
    /// # Errors
    /// [`AuthorityError`] naming the file.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let path = dir.join(CA_CERTIFICATE_FILE);
        let certificate = load_certificate(&path)?;
        let key = PrivateKey::load(&dir.join(CA_KEY_FILE))?;
        let authority = Self::assemble(dir, certificate, key)?;
        let _lock = authority.lock()?;
        let ledger = authority.load()?;
        authority.repair_crl_copy(&ledger)?;
        Ok(authority)
    }

    fn assemble(
        dir: &Path,
        certificate: CertificateDer<'static>,
        key: PrivateKey,
    ) -> Result<Self, AuthorityError> {
        let damaged = |reason: String| AuthorityError::Damaged {
            file: dir.join(CA_CERTIFICATE_FILE).display().to_string(),
            reason,
        };
        let parsed = certificate::parse(&certificate).map_err(|e| damaged(e.to_string()))?;
        if parsed.public_key().raw != key.public_key_der().as_slice() {
            return Err(damaged("its public key is not that of ca.key".to_owned()));
        }
        if !parsed.is_ca() {
            return Err(damaged("it is not a CA certificate".to_owned()));
        }
        let county = parsed.subject().iter_organization().next().and_then(|a| a.as_str().ok());
        let county = county.unwrap_or_default().to_owned();
        let (ca_not_before, ca_not_after) =
            (certificate::not_before(&parsed), certificate::not_after(&parsed));
        Ok(Self { dir: dir.to_owned(), county, certificate, ca_not_after, ca_not_before, key })
    }

    /// The CA certificate.
    #[must_use]
    pub const fn ca_certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA certificate as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        to_pem("CERTIFICATE", self.certificate.as_ref())
    }

    /// SHA-256 of the CA certificate: printed with every enrolment code, pinned by the agent.
    #[must_use]
    pub fn ca_fingerprint(&self) -> Sha256 {
        fingerprint(&self.certificate)
    }

    /// The county, as named in the CA certificate.
    #[must_use]
    pub fn county(&self) -> &str {
        &self.county
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Key and certificate for a gateway (primary or standby) and its HTTPS page.
    ///
    /// # Errors
    /// [`AuthorityError::Field`] for a name that is neither a DNS name nor an IP address.
    pub fn issue_server(
        &self,
        names: &[String],
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedIdentity, AuthorityError> {
        let subject = Subject::Server { names: names.to_vec() };
        let result = self.issue_server_inner(&subject, names, validity, now, rng);
        audited("server.issue", &subject.to_string(), result)
    }

    fn issue_server_inner(
        &self,
        subject: &Subject,
        names: &[String],
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedIdentity, AuthorityError> {
        if names.is_empty() || names.len() > profile::MAX_SERVER_NAMES {
            let reason = format!("{} names; 1 to {} are lawful", names.len(), profile::MAX_SERVER_NAMES);
            return Err(AuthorityError::Field { field: "server names", reason });
        }
        for name in names {
            profile::server_name(name)?;
        }
        let key = PrivateKey::generate(rng)?;
        let public = key.public_key_der();
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        let certificate = self.issue_in(&mut ledger, subject, "", false, &public, validity, now, rng)?;
        self.store(&ledger)?;
        Ok(IssuedIdentity { certificate, key })
    }

    /// Certificate for a clinic's agent from its request. Only the public key is taken from the request; the subject
    /// is chosen here. Enrolment by code is [`crate::enrol::EnrolDesk`].
    ///
    /// # Errors
    /// [`AuthorityError::Request`] when the request does not prove possession of a P-256 key.
    pub fn issue_agent(
        &self,
        clinic: &ClinicId,
        csr_der: &[u8],
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let subject = Subject::Agent { clinic: clinic.clone() };
        let result = (|| {
            let public = check_request(csr_der)?;
            let _lock = self.lock()?;
            let mut ledger = self.load()?;
            let issued = self.issue_in(&mut ledger, &subject, "", false, &public, validity, now, rng)?;
            self.store(&ledger)?;
            Ok(issued)
        })();
        audited("agent.issue", &subject.to_string(), result)
    }

    /// A new certificate for an agent that is connected with a valid one. The old one stays valid until it ends.
    ///
    /// # Errors
    /// [`AuthorityError::NotRenewable`] when the connection's certificate is unknown or revoked.
    pub fn renew_agent(
        &self,
        peer: &PeerIdentity,
        csr_der: &[u8],
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let subject = Subject::Agent { clinic: peer.clinic.clone() };
        let result = (|| {
            let refuse = |reason| AuthorityError::NotRenewable { serial: peer.serial.clone(), reason };
            let public = check_request(csr_der)?;
            let _lock = self.lock()?;
            let mut ledger = self.load()?;
            let old = ledger.certificates.iter().find(|r| r.serial == peer.serial && r.subject == subject);
            let old = old.ok_or_else(|| refuse("it is not in the ledger"))?;
            if old.revoked.is_some() {
                return Err(refuse("it is revoked"));
            }
            if old.not_after < now {
                return Err(refuse("it has expired; enrol again with a code"));
            }
            let validity = Validity::days(now, AGENT_VALID_DAYS);
            let issued = self.issue_in(&mut ledger, &subject, "", false, &public, validity, now, rng)?;
            self.store(&ledger)?;
            Ok(issued)
        })();
        audited("agent.renew", &subject.to_string(), result)
    }

    /// Certificate and software key for a doctor, for demonstration and tests: the certificate says so in its subject.
    /// A doctor with a token uses [`Self::issue_doctor_for_request`].
    ///
    /// # Errors
    /// [`AuthorityError::Field`] for an unlawful name.
    pub fn issue_demo_doctor(
        &self,
        doctor: &Doctor,
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedIdentity, AuthorityError> {
        let result = (|| {
            let key = PrivateKey::generate(rng)?;
            let certificate = self.doctor_inner(doctor, &key.public_key_der(), true, validity, now, rng)?;
            Ok(IssuedIdentity { certificate, key })
        })();
        audited("doctor.issue", doctor.person.as_str(), result)
    }

    /// Certificate for a key that the doctor's token made and proves to hold.
    ///
    /// # Errors
    /// [`AuthorityError::Request`] when the request does not prove possession of a P-256 key.
    pub fn issue_doctor_for_request(
        &self,
        doctor: &Doctor,
        csr_der: &[u8],
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let result = (|| {
            let public = check_request(csr_der)?;
            self.doctor_inner(doctor, &public, false, validity, now, rng)
        })();
        audited("doctor.issue", doctor.person.as_str(), result)
    }

    fn doctor_inner(
        &self,
        doctor: &Doctor,
        public_key_der: &[u8],
        demo: bool,
        validity: Validity,
        now: UtcMs,
        rng: &mut dyn CryptoRng,
    ) -> Result<IssuedCertificate, AuthorityError> {
        check_subject_text("doctor name", &doctor.name)?;
        let subject = Subject::Doctor { person: doctor.person.clone(), role: doctor.role };
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        let issued =
            self.issue_in(&mut ledger, &subject, &doctor.name, demo, public_key_der, validity, now, rng)?;
        self.store(&ledger)?;
        Ok(issued)
    }

    /// Revokes every matching certificate that is not revoked yet, and publishes the new CRL in the same atomic write.
    /// A certificate revoked for a lesser reason can be revoked again for `KeyCompromise`. Returns the serials.
    ///
    /// # Errors
    /// [`AuthorityError::NothingToRevoke`] when none matches.
    pub fn revoke(
        &self,
        target: &RevokeTarget,
        reason: RevocationReason,
        now: UtcMs,
    ) -> Result<Vec<Serial>, AuthorityError> {
        audited("revoke", &target.to_string(), self.revoke_inner(target, reason, now))
    }

    fn revoke_inner(
        &self,
        target: &RevokeTarget,
        reason: RevocationReason,
        now: UtcMs,
    ) -> Result<Vec<Serial>, AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        let mut serials = Vec::new();
        for record in &mut ledger.certificates {
            let hit = match (target, &record.subject) {
                (RevokeTarget::Serial(serial), _) => *serial == record.serial,
                (RevokeTarget::Clinic(clinic), Subject::Agent { clinic: of }) => clinic == of,
                (RevokeTarget::Doctor(person), Subject::Doctor { person: of, .. }) => person == of,
                _ => false,
            };
            let worse = match &record.revoked {
                None => true,
                Some(old) => {
                    reason == RevocationReason::KeyCompromise && old.reason != RevocationReason::KeyCompromise
                }
            };
            if hit && worse {
                record.revoked = Some(Revocation { at: now, reason });
                serials.push(record.serial.clone());
            }
        }
        let mut codes = 0_usize;
        if let RevokeTarget::Clinic(clinic) = target {
            let open = ledger
                .codes
                .iter_mut()
                .filter(|c| c.clinic == *clinic && c.used_for.is_none() && c.expires_at > now);
            for code in open {
                code.expires_at = now;
                codes += 1;
            }
        }
        if serials.is_empty() && codes == 0 {
            return Err(AuthorityError::NothingToRevoke { target: target.to_string() });
        }
        self.renew_crl_in(&mut ledger, now)?;
        self.store(&ledger)?;
        Ok(serials)
    }

    /// Renews the CRL when half of its life is over (or `force`). Idempotent; the gateway calls it every hour or so.
    /// Says whether a new one was made.
    ///
    /// # Errors
    /// [`AuthorityError`] of the directory.
    pub fn renew_crl(&self, force: bool, now: UtcMs) -> Result<bool, AuthorityError> {
        let _lock = self.lock()?;
        let mut ledger = self.load()?;
        self.repair_crl_copy(&ledger)?;
        let age = now.since(ledger.crl_this_update);
        if !force && (0..profile::CRL_VALID_MS / 2).contains(&age) {
            return Ok(false);
        }
        let result = self.renew_crl_in(&mut ledger, now).and_then(|()| self.store(&ledger));
        audited("crl.renew", &ledger.crl_number.to_string(), result).map(|()| true)
    }

    /// The current CRL in DER.
    ///
    /// # Errors
    /// [`AuthorityError`] of the directory.
    pub fn crl_der(&self) -> Result<Vec<u8>, AuthorityError> {
        let _lock = self.lock()?;
        self.crl_of(&self.load()?)
    }

    /// Every certificate issued, in order of issue.
    ///
    /// # Errors
    /// [`AuthorityError`] of the directory.
    pub fn certificates(&self) -> Result<Vec<CertificateRecord>, AuthorityError> {
        let _lock = self.lock()?;
        Ok(self.load()?.certificates)
    }

    /// Every enrolment code, in order of issue, without the codes.
    ///
    /// # Errors
    /// [`AuthorityError`] of the directory.
    pub fn codes(&self) -> Result<Vec<CodeRecord>, AuthorityError> {
        let _lock = self.lock()?;
        Ok(self.load()?.codes)
    }
}

#[cfg(test)]
mod tests;
