//! The one place that knows certificates: the device's identity, the county's CA, and what they vouch for.

use crate::home::Home;
use relay_certs::certificate::PeerIdentity;
use relay_certs::keys::{KeyError, PrivateKey};
use relay_certs::signing::{
    NoteError, VerifiedReport, VerifyReportError, sign_note, verify_plan, verify_report,
};
use relay_certs::trust::{TlsError, TlsIdentity, TrustStore, agent_client_config};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::{RealDisk, write_atomic};
use relay_core::ids::ClinicId;
use relay_core::letter::{Note, NoteBody};
use relay_core::report::{PackageError, ReportPackage};
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

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
    /// Where a newer revocation list is kept.
    crl: Option<PathBuf>,
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
            Self::Report(error) => format!("签名无效，请勿使用：{}", error.zh()),
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
        let trust = RwLock::new(TrustStore::new(ca.clone()));
        Ok(Self { clinic: peer.clinic, not_after: peer.not_after, identity, ca, trust, crl: None })
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
        self.trust.write().unwrap_or_else(PoisonError::into_inner).update_crl(der).map_err(|e| e.to_string())
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

    /// What is trusted, after taking and keeping the package's revocation list where it is newer: a clinic learns of a
    /// revocation with the next report. A list that is not the county's is left to the verifier, which names it.
    fn newest(&self, package: &ReportPackage) -> TrustStore {
        let list = package.revocations.as_deref();
        if let (Some(list), Some(path)) = (list, &self.crl)
            && self.update_crl(list).is_ok_and(|newer| newer)
            && let Err(error) = write_atomic(&RealDisk, path, list, 0o600)
        {
            tracing::warn!(%error, "the revocation list is in force but could not be kept");
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

/// The key of this home, made and stored (0600) when there is none.
///
/// # Errors
/// [`KeyError`] naming the file.
pub fn device_key(home: &Home, rng: &mut dyn rand::CryptoRng) -> Result<PrivateKey, KeyError> {
    let path = home.key();
    if path.exists() {
        return PrivateKey::load(&path);
    }
    let key = PrivateKey::generate(rng)?;
    key.save(&path)?;
    Ok(key)
}
