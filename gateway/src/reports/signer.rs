//! Where doctors' signers come from. The gateway holds no doctor's key: the demonstration vault holds PKCS#12 files
//! that only the doctor's PIN opens; a token or a remote signer is another implementation of the port.

use relay_certs::signing::{Pkcs12Error, Signer, SoftwareSigner};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::PersonId;
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
