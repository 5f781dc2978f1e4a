//! Software keys in an encrypted PKCS#12 file under the doctor's PIN: for demonstration and tests.

use std::fmt;

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12ImportPolicy,
    PrivateKey as P12Key, PrivateKeyChain,
};
use rustls_pki_types::CertificateDer;

use super::{SignPurpose, SignatureSuite, Signer, SignerError};
use crate::authority::IssuedIdentity;
use crate::certificate::{CertificateError, DoctorIdentity};
use crate::keys::PrivateKey;

/// Fewest characters of a PIN.
pub const MIN_PIN_CHARS: usize = 6;
/// Most characters of a PIN.
pub const MAX_PIN_CHARS: usize = 64;
/// Most bytes of a PKCS#12 file: key and two certificates have about 2 kB.
const MAX_PKCS12_BYTES: usize = 64 * 1024;
/// Rounds of key derivation: some tens of milliseconds for the doctor, as much for every guess of a thief.
const ITERATIONS: u32 = 100_000;
/// Name of the entry in the file.
const ALIAS: &str = "relay";

/// Why a PKCS#12 file cannot be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs12Error {
    /// The PIN is not the file's.
    #[error("wrong PIN (or the key file is damaged)")]
    WrongPin,
    /// The PIN is too short or too long.
    #[error("the PIN has {0} characters; {MIN_PIN_CHARS} to {MAX_PIN_CHARS} are lawful")]
    PinLength(usize),
    /// Not a PKCS#12 file of the expected form.
    #[error("not a usable PKCS#12 file: {0}")]
    Format(String),
    /// The certificate inside is not a doctor's, or not for the key.
    #[error("certificate in the PKCS#12 file: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate inside is for another key.
    #[error("the certificate in the PKCS#12 file is for another key")]
    WrongKey,
}

impl Pkcs12Error {
    /// What a Chinese user is told.
    #[must_use]
    pub const fn zh(&self) -> &'static str {
        match self {
            Self::WrongPin => "签名PIN错误（或密钥文件已损坏）",
            Self::PinLength(_) => "PIN长度不符合要求（6至64个字符）",
            Self::Format(_) => "不是可用的PKCS#12密钥文件",
            Self::Certificate(_) => "密钥文件中的证书不是医师证书",
            Self::WrongKey => "密钥文件中的证书与私钥不匹配",
        }
    }
}

/// Wraps a key and its chain under a PIN (PBES2, AES-256, PBKDF2-SHA-256; MAC SHA-256).
///
/// # Errors
/// [`Pkcs12Error::PinLength`] or what the writer says.
pub fn to_pkcs12(identity: &IssuedIdentity, pin: &str) -> Result<Vec<u8>, Pkcs12Error> {
    to_pkcs12_with(identity, pin, ITERATIONS)
}

pub(crate) fn to_pkcs12_with(
    identity: &IssuedIdentity,
    pin: &str,
    iterations: u32,
) -> Result<Vec<u8>, Pkcs12Error> {
    let chars = pin.chars().count();
    if !(MIN_PIN_CHARS..=MAX_PIN_CHARS).contains(&chars) {
        return Err(Pkcs12Error::PinLength(chars));
    }
    let format = |e: p12_keystore::error::Error| Pkcs12Error::Format(e.to_string());
    let key = P12Key::from_der(&identity.key.to_pkcs8_der()).map_err(format)?;
    let certs = identity.certificate.chain.iter().map(|c| Certificate::from_der(c.as_ref()));
    let certs = certs.collect::<Result<Vec<_>, _>>().map_err(format)?;
    let chain = PrivateKeyChain::new(identity.certificate.serial.as_bytes(), key, certs);
    let mut store = KeyStore::new();
    store.add_entry(ALIAS, KeyStoreEntry::PrivateKeyChain(chain));
    store
        .writer(pin)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(iterations)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(iterations)
        .write()
        .map_err(format)
}

/// A doctor's software key, unlocked. Lives only as long as one signature needs it; counting wrong PINs is the caller's.
pub struct SoftwareSigner {
    key: PrivateKey,
    chain: Vec<CertificateDer<'static>>,
    identity: DoctorIdentity,
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareSigner({}, key hidden)", self.identity.person)
    }
}

impl SoftwareSigner {
    /// Opens a PKCS#12 file with its PIN. Takes some tens of milliseconds on purpose.
    ///
    /// # Errors
    /// [`Pkcs12Error::WrongPin`], or what is wrong with the file.
    pub fn from_pkcs12(bytes: &[u8], pin: &str) -> Result<Self, Pkcs12Error> {
        use p12_keystore::error::Error;
        if bytes.len() > MAX_PKCS12_BYTES {
            return Err(Pkcs12Error::Format(format!(
                "{} bytes, at most {MAX_PKCS12_BYTES} are read",
                bytes.len()
            )));
        }
        let store = KeyStore::from_pkcs12(bytes, pin, Pkcs12ImportPolicy::Strict).map_err(|e| match e {
            Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => Pkcs12Error::WrongPin,
            other => Pkcs12Error::Format(other.to_string()),
        })?;
        let (_, chain) = store
            .private_key_chain()
            .ok_or_else(|| Pkcs12Error::Format("it holds no private key".to_owned()))?;
        let key = PrivateKey::from_pkcs8_der(chain.key().as_der())
            .map_err(|_| Pkcs12Error::Format("its key is not a P-256 key".to_owned()))?;
        let chain: Vec<CertificateDer<'static>> =
            chain.certs().iter().map(|c| CertificateDer::from(c.as_der().to_vec())).collect();
        let leaf = chain.first().ok_or_else(|| Pkcs12Error::Format("it holds no certificate".to_owned()))?;
        let identity = DoctorIdentity::from_certificate(leaf)?;
        if crate::certificate::parse(leaf)?.public_key().raw != key.public_key_der().as_slice() {
            return Err(Pkcs12Error::WrongKey);
        }
        Ok(Self { key, chain, identity })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn identity(&self) -> &DoctorIdentity {
        &self.identity
    }
}

impl Signer for SoftwareSigner {
    fn algorithm(&self) -> SignatureSuite {
        SignatureSuite::EcdsaP256Sha256
    }

    fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Always: a key in software is for demonstration and tests.
    fn is_demo(&self) -> bool {
        true
    }

    fn sign(&self, _purpose: SignPurpose, to_be_signed: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.key.sign(to_be_signed))
    }
}
