//! Where doctors' signers come from. The gateway holds no doctor's key: the demonstration vault holds PKCS#12 files
//! that only the doctor's PIN opens; a token or a remote signer is another implementation of the port.

use relay_certs::signing::{Pkcs12Error, Signer, SoftwareSigner};
use relay_certs::trust::TrustStore;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::PersonId;
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;

/// Gives the signer of a person. May block: called on the blocking pool.
pub trait SignerVault: Send + Sync + std::fmt::Debug {
    /// Opens the person's signer.
    ///
    /// # Errors
    /// `PIN_WRONG`, `NOT_FOUND` when the person has no key here.
    fn open(&self, person: &PersonId, pin: &str) -> Result<Box<dyn Signer>, Refusal>;
}

/// PKCS#12 files `<person>.p12` in one directory. For demonstration and tests only; the PDF says so.
#[derive(Debug, Clone)]
pub struct FileVault {
    dir: PathBuf,
}

impl FileVault {
    /// Over this directory.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
}

impl SignerVault for FileVault {
    fn open(&self, person: &PersonId, pin: &str) -> Result<Box<dyn Signer>, Refusal> {
        let path = self.dir.join(format!("{person}.p12"));
        let bytes = std::fs::read(&path).map_err(|_| {
            Refusal::new(Code::NotFound, "signer", format!("no signing key is enrolled for {person}"))
        })?;
        match SoftwareSigner::from_pkcs12(&bytes, pin) {
            Ok(signer) if signer.identity().person == *person => Ok(Box::new(signer)),
            Ok(_) => Err(Refusal::new(Code::Forbidden, "signer", "the key belongs to somebody else")),
            Err(Pkcs12Error::WrongPin) => Err(Refusal::new(Code::PinWrong, "pin", "wrong signing PIN")),
            Err(error) => {
                tracing::error!(%person, error = &error as &dyn std::error::Error, "signing key unusable");
                Err(Refusal::new(Code::Internal, "signer", "the signing key cannot be used"))
            }
        }
    }
}

/// The county's CA and where its newest revocation list stands.
#[derive(Debug, Clone)]
pub struct CountyTrust {
    ca: CertificateDer<'static>,
    list: PathBuf,
}

impl CountyTrust {
    /// Over the CA and the file that the authority keeps current.
    #[must_use]
    pub const fn new(ca: CertificateDer<'static>, list: PathBuf) -> Self {
        Self { ca, list }
    }

    /// Whom to trust now, and the list that says so. Blocks; the file is small.
    ///
    /// # Errors
    /// `INTERNAL` when the list cannot be read or is not the CA's: then nothing is signed.
    pub fn now(&self) -> Result<(TrustStore, Vec<u8>), Refusal> {
        let unusable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, list = %self.list.display(), "the revocation list cannot be used");
            Refusal::new(
                Code::Internal,
                "revocations.crl",
                "the revocation list cannot be used; nothing was signed",
            )
        };
        let der = std::fs::read(&self.list).map_err(|e| unusable(&e))?;
        let mut trust = TrustStore::new(self.ca.clone());
        trust.update_crl(&der).map_err(|e| unusable(&e))?;
        Ok((trust, der))
    }
}
