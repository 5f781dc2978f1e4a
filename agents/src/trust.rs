//! The one place that knows certificates: the device's identity, the county's CA, and what they vouch for.

use crate::courier::ports::LinkTrust;
use crate::home::Home;
use relay_certs::certificate::PeerIdentity;
use relay_certs::keys::{KeyError, PrivateKey};
use relay_certs::signing::{
    NoteError, VerifiedReport, VerifyReportError, sign_note, verify_plan, verify_report,
};
use relay_certs::trust::{RevocationList, TlsError, TlsIdentity, TrustStore, agent_client_config};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::{Disk as _, RealDisk, write_atomic};
use relay_core::ids::ClinicId;
use relay_core::letter::{Note, NoteBody};
use relay_core::report::{PackageError, ReportPackage};
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Why the device's identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The agent was never enrolled.
    #[error(
        "{0} 不存在：本机尚未注册，请先运行 relay-agent enrol，或用 --home 指定正确的目录 / this home is not enrolled: run relay-agent enrol, or name the right --home"
    )]
    NotEnrolled(String),
    /// Chain or key cannot be read or do not belong together.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The chain file is not what enrolment wrote.
    #[error("{file}: {reason}")]
    Chain {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// The device: its key, its certificate, the county CA.
#[derive(Debug)]
pub struct Device {
    clinic: ClinicId,
    not_after: UtcMs,
    identity: TlsIdentity,
    ca: CertificateDer<'static>,
    trust: RwLock<TrustStore>,
    /// The same for the link, which follows it.
    link: watch::Sender<LinkTrust>,
    /// Where a newer revocation list is kept.
    crl: Option<PathBuf>,
    /// Held while a list is taken and kept, so that an older one is never kept over a newer.
    keeping: Mutex<()>,
}

/// Which revocation list is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListInForce {
    /// Its number; grows with every list.
    pub number: u64,
    /// When the county owes the next one: after it, a revocation may be unknown here.
    pub next_update: UtcMs,
}

/// Why a package is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not a package.
    #[error("package: {0}")]
    Package(#[from] PackageError),
    /// A part does not verify.
    #[error(transparent)]
    Report(#[from] VerifyReportError),
}

impl Invalid {
    /// As it is told to the county; the field names the part.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Package(error) => Refusal::new(Code::ReportInvalid, "package", error.to_string()),
            // Not the letter's fault, or not for ever: this clinic's clock is behind, and will be set.
            Self::Report(error @ VerifyReportError::FromTheFuture { .. }) => {
                Refusal::new(Code::Busy, "clock", format!("the clinic's clock is behind: {error}"))
            }
            Self::Report(error) => Refusal::new(error.code(), error.part().file(), error.to_string()),
        }
    }

    /// What a Chinese user is told.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Package(error) => format!("签名无效，请勿使用：报告包损坏（{error}）"),
            Self::Report(error) => {
                let why = error.zh();
                // The verifier's own first words say the same.
                format!("签名无效，请勿使用：{}", why.strip_prefix("报告无效，请勿使用：").unwrap_or(&why))
            }
        }
    }
}

impl Device {
    /// Reads what enrolment wrote.
    ///
    /// # Errors
    /// [`DeviceError`] naming the file.
    pub fn load(home: &Home) -> Result<Self, DeviceError> {
        let (chain, key) = (home.chain(), home.key());
        if !chain.exists() {
            return Err(DeviceError::NotEnrolled(chain.display().to_string()));
        }
        let identity = TlsIdentity::load(&chain, &key)?;
        let mut device = Self::of(identity)
            .map_err(|reason| DeviceError::Chain { file: chain.display().to_string(), reason })?;
        device.crl = Some(home.crl());
        if let Ok(crl) = std::fs::read(home.crl()) {
            device
                .update_crl(&crl)
                .map_err(|reason| DeviceError::Chain { file: home.crl().display().to_string(), reason })?;
        }
        Ok(device)
    }

    /// A device from its parts: leaf first, CA last.
    ///
    /// # Errors
    /// What is wrong with the chain, in words.
    pub fn of(identity: TlsIdentity) -> Result<Self, String> {
        let [leaf, .., ca] = identity.chain.as_slice() else {
            return Err(format!("{} certificates, leaf and CA are expected", identity.chain.len()));
        };
        let peer = PeerIdentity::from_certificate(leaf).map_err(|e| e.to_string())?;
        let ca = ca.clone();
        let trust = TrustStore::new(ca.clone());
        let link = watch::Sender::new(link_trust(&identity, &trust).map_err(|e| e.to_string())?);
        let trust = RwLock::new(trust);
        Ok(Self {
            clinic: peer.clinic,
            not_after: peer.not_after,
            identity,
            ca,
            trust,
            link,
            crl: None,
            keeping: Mutex::default(),
        })
    }

    /// The clinic that the certificate names.
    #[must_use]
    pub const fn clinic(&self) -> &ClinicId {
        &self.clinic
    }

    /// End of the certificate's life.
    #[must_use]
    pub const fn not_after(&self) -> UtcMs {
        self.not_after
    }

    /// Takes a newer revocation list; false when it is not newer.
    ///
    /// # Errors
    /// Why the list is not the county's, in words.
    pub fn update_crl(&self, der: &[u8]) -> Result<bool, String> {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        let newer = trust.update_crl(der).map_err(|e| e.to_string())?;
        if newer {
            // A link that is up looks at its gateway again, and the next one is made with the new list.
            self.link.send_replace(link_trust(&self.identity, &trust).map_err(|e| e.to_string())?);
        }
        Ok(newer)
    }

    /// Takes a newer revocation list and keeps it; false when it is not newer, also when it is older.
    ///
    /// # Errors
    /// Why the list is not the county's, in words.
    pub fn take_crl(&self, der: &[u8]) -> Result<bool, String> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_force) = self.revocations()
            && RevocationList::verify(der, &self.ca).map_err(|e| e.to_string())?.number() < in_force.number
        {
            return Ok(false);
        }
        let newer = self.update_crl(der)?;
        if newer
            && let Some(path) = &self.crl
            && let Err(error) = write_atomic(&RealDisk, path, der, 0o600)
        {
            tracing::warn!(%error, "the revocation list is in force but could not be kept");
        }
        Ok(newer)
    }

    /// The revocation list in force: its number, and when the county owes the next one.
    #[must_use]
    pub fn revocations(&self) -> Option<ListInForce> {
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        trust.revocations().map(|list| ListInForce { number: list.number(), next_update: list.next_update() })
    }

    /// Whom the link trusts, from now on.
    #[must_use]
    pub fn link_trust(&self) -> watch::Receiver<LinkTrust> {
        self.link.subscribe()
    }

    /// TLS for the link.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, TlsError> {
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        let crl = trust.revocations().map(relay_certs::trust::RevocationList::der);
        agent_client_config(&self.identity, &self.ca, crl, alpn)
    }

    /// Verifies a report package for this clinic: the only way by which a report counts as valid here.
    ///
    /// # Errors
    /// [`Invalid`] naming the part.
    pub fn verify(&self, package: &[u8], now: UtcMs) -> Result<VerifiedReport, Invalid> {
        let package = ReportPackage::decode(package)?;
        let trust = self.newest(&package);
        Ok(verify_report(&package, &trust, &self.clinic, now)?)
    }

    /// Verifies a treatment plan for this clinic.
    ///
    /// # Errors
    /// [`Invalid`] naming the part.
    pub fn verify_plan(&self, package: &[u8], now: UtcMs) -> Result<VerifiedReport, Invalid> {
        let package = ReportPackage::decode(package)?;
        let trust = self.newest(&package);
        Ok(verify_plan(&package, &trust, &self.clinic, now)?)
    }

    /// What is trusted, after taking and keeping the package's revocation list where it is newer. A list that is not the county's is left to the verifier, which names it.
    fn newest(&self, package: &ReportPackage) -> TrustStore {
        if let Some(list) = package.revocations.as_deref() {
            // The verifier names a list that is not the county's.
            let _ = self.take_crl(list);
        }
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs a note with the device's key.
    ///
    /// # Errors
    /// [`NoteError`] when the note is too long.
    pub fn sign_note(&self, body: &NoteBody) -> Result<Note, NoteError> {
        let note = sign_note(&self.identity.key, body)?;
        // It travels with the note: by then the device may have a newer one.
        let certificate = self.identity.chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        Ok(Note { certificate, ..note })
    }
}

fn link_trust(identity: &TlsIdentity, trust: &TrustStore) -> Result<LinkTrust, TlsError> {
    let list = trust.revocations().cloned();
    let crl = list.as_ref().map(RevocationList::der);
    let tls = Arc::new(agent_client_config(identity, trust.ca(), crl, &[relay_core::link::ALPN])?);
    Ok(LinkTrust { tls, revoked: Arc::new(move |leaf| list.as_ref().is_some_and(|list| list.revokes(leaf))) })
}

/// The key for an enrolment, stored (0600) before the county is asked: an answer that is lost is asked for again with the
/// same key. A home that has a certificate gets a new key: why it enrols again is not known here, and a key that was in
/// other hands must not come back with a new certificate. `renew`: also when the stored one was never certified.
///
/// # Errors
/// [`KeyError`] naming the file.
pub fn enrolment_key(
    home: &Home,
    renew: bool,
    rng: &mut dyn rand::CryptoRng,
) -> Result<(PrivateKey, PathBuf), KeyError> {
    let (current, next) = (home.key(), home.next_key());
    // Certified is the key that the certificate names; another one is of an enrolment that was cut off at its end.
    let certified = home.chain().exists() && TlsIdentity::load(&home.chain(), &current).is_ok();
    if !renew {
        if next.exists() {
            return Ok((PrivateKey::load(&next)?, next));
        }
        if current.exists() && !certified {
            return Ok((PrivateKey::load(&current)?, current));
        }
    }
    let path = if certified { next } else { current };
    let key = PrivateKey::generate(rng)?;
    key.save(&path)?;
    Ok((key, path))
}

/// Which clinic the home's certificate names, whether or not its key is there; `None` when it has none.
///
/// # Errors
/// What is wrong with the file, naming it.
pub fn enrolled_clinic(home: &Home) -> Result<Option<ClinicId>, DeviceError> {
    use rustls_pki_types::pem::PemObject as _;
    let file = home.chain();
    if !file.exists() {
        return Ok(None);
    }
    let wrong = |reason: String| DeviceError::Chain { file: file.display().to_string(), reason };
    let leaf = CertificateDer::from_pem_file(&file).map_err(|e| wrong(e.to_string()))?;
    let peer = PeerIdentity::from_certificate(&leaf).map_err(|e| wrong(e.to_string()))?;
    Ok(Some(peer.clinic))
}

/// Puts a certified key and its chain in the place of the old ones.
///
/// # Errors
/// Of the operating system; then the next enrolment with the same code ends what this one began.
pub fn adopt(home: &Home, key: &std::path::Path, chain_pem: &str) -> std::io::Result<()> {
    if key != home.key() {
        RealDisk.rename(key, &home.key())?;
        RealDisk.sync_dir(&home.identity())?;
    }
    home.write(&home.chain(), chain_pem.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn public(key: &PrivateKey) -> Vec<u8> {
        key.public_key_der()
    }

    #[test]
    fn a_lost_answer_is_asked_for_with_the_same_key_and_a_new_enrolment_with_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let (first, at) = enrolment_key(&home, false, &mut rng).unwrap();
        let (again, _) = enrolment_key(&home, false, &mut rng).unwrap();
        assert_eq!(public(&first), public(&again), "the answer was lost");
        let mut county =
            relay_certs::testing::TestCounty::new(&dir.path().join("ca"), 1, UtcMs(1_790_000_000_000));
        let clinic = ClinicId::parse("shilipu").unwrap();
        let mut certify = |key: &PrivateKey| {
            let request = relay_certs::enrol::AgentRequest::for_key(&clinic, key.clone()).unwrap();
            let validity = relay_certs::authority::Validity::days(UtcMs(1_790_000_000_000), 30);
            let authority = county.authority.clone();
            let now = UtcMs(1_790_000_000_000);
            authority.issue_agent(&clinic, &request.csr_der, validity, now, county.rng()).unwrap().chain_pem()
        };
        adopt(&home, &at, &certify(&first)).unwrap();
        assert_eq!(Device::load(&home).unwrap().clinic(), &clinic);
        // Enrolled again: whatever the reason was, the old key is not certified once more.
        let (second, at) = enrolment_key(&home, false, &mut rng).unwrap();
        assert_ne!(public(&first), public(&second));
        assert_eq!(
            public(&second),
            public(&enrolment_key(&home, false, &mut rng).unwrap().0),
            "nor lost twice"
        );
        Device::load(&home).unwrap();
        let pem = certify(&second);
        // The power is cut between key and chain: the same code, asked again, ends it.
        RealDisk.rename(&at, &home.key()).unwrap();
        assert!(Device::load(&home).is_err());
        let (third, at) = enrolment_key(&home, false, &mut rng).unwrap();
        assert_eq!(public(&third), public(&second));
        adopt(&home, &at, &pem).unwrap();
        Device::load(&home).unwrap();
        let (fresh, _) = enrolment_key(&home, true, &mut rng).unwrap();
        assert_ne!(public(&fresh), public(&second));
    }
}
