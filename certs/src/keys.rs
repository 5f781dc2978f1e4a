//! P-256 private keys: made from the caller's randomness, wiped on drop, kept on disk with mode 0600.

use std::fmt;
use std::path::Path;

use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rand::CryptoRng;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Most bytes of a key file: a P-256 PKCS#8 PEM has about 240.
const MAX_KEY_FILE_BYTES: u64 = 16 * 1024;
/// Draws before the random source is called broken: one draw fails with probability 2^-32.
const MAX_KEY_DRAWS: usize = 16;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Group or others may read the file.
    #[error("key file {file} has mode {mode:03o}; only its owner may read it (chmod 600)")]
    Mode {
        /// The file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a PKCS#8 P-256 key.
    #[error("{file}: not a P-256 private key in PKCS#8 form")]
    Format {
        /// The file, or `key` when it came from memory.
        file: String,
    },
    /// The random source gave no lawful scalar.
    #[error("the random source is broken: no lawful P-256 key in {MAX_KEY_DRAWS} draws")]
    Randomness,
}

/// A P-256 private key. Its scalar is wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct PrivateKey(p256::SecretKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(P-256, hidden)")
    }
}

impl PrivateKey {
    /// A new key from the caller's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the source keeps giving unlawful scalars.
    pub fn generate(rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        for _ in 0..MAX_KEY_DRAWS {
            rng.fill_bytes(bytes.as_mut());
            if let Ok(secret) = p256::SecretKey::from_slice(bytes.as_ref()) {
                return Ok(Self(secret));
            }
        }
        Err(KeyError::Randomness)
    }

    /// From PKCS#8 DER.
    ///
    /// # Errors
    /// [`KeyError::Format`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        p256::SecretKey::from_pkcs8_der(der)
            .map(Self)
            .map_err(|_| KeyError::Format { file: "key".to_owned() })
    }

    /// From a PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Format`].
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        p256::SecretKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| KeyError::Format { file: "key".to_owned() })
    }

    /// Reads a PEM key file. A file that group or others may read is refused: a key that has been readable is no key.
    ///
    /// # Errors
    /// [`KeyError`] naming the file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = path.display().to_string();
        check_mode(path, &file)?;
        let bytes = crate::files::read_limited(path, MAX_KEY_FILE_BYTES)
            .map_err(|source| KeyError::Io { file: file.clone(), source })?;
        let bytes = Zeroizing::new(bytes);
        let pem = std::str::from_utf8(&bytes).map_err(|_| KeyError::Format { file: file.clone() })?;
        Self::from_pkcs8_pem(pem).map_err(|_| KeyError::Format { file })
    }

    /// Writes the key as PEM, mode 0600 from its first byte on, durable.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let pem = self.to_pkcs8_pem();
        crate::files::write_private(path, pem.as_bytes())
            .map_err(|source| KeyError::Io { file: path.display().to_string(), source })
    }

    /// PKCS#8 DER, wiped on drop.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_pkcs8_der().expect("invariant: a P-256 key has a PKCS#8 form").to_bytes()
    }

    /// PKCS#8 PEM, wiped on drop.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        self.0.to_pkcs8_pem(LineEnding::LF).expect("invariant: a P-256 key has a PKCS#8 form")
    }

    /// SubjectPublicKeyInfo in DER (RFC 5480).
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        self.0.public_key().to_public_key_der().expect("invariant: a P-256 point has an SPKI form").into_vec()
    }

    /// ECDSA over SHA-256 of `message`, DER form, deterministic (RFC 6979), low s.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(&self.0).sign(message);
        signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec()
    }

    /// The key in the form rustls takes.
    #[must_use]
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.to_pkcs8_der().to_vec()))
    }

    /// The key in the form the certificate writer takes.
    pub(crate) fn to_issuer_key(&self) -> Result<rcgen::KeyPair, rcgen::Error> {
        rcgen::KeyPair::try_from(self.to_pkcs8_der().as_slice())
    }
}

/// The one accepted form of an ECDSA P-256 signature: of the two values of s that verify, the lower. Tokens give either.
pub(crate) fn low_s(signature_der: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_der(signature_der).ok()?;
    Some(signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec())
}

/// Verifies an ECDSA P-256/SHA-256 signature in DER form and low s against a SubjectPublicKeyInfo.
#[must_use]
pub(crate) fn verify_p256(public_key_der: &[u8], message: &[u8], signature_der: &[u8]) -> bool {
    use p256::ecdsa::signature::Verifier as _;
    use p256::pkcs8::DecodePublicKey as _;
    let Ok(key) = p256::PublicKey::from_public_key_der(public_key_der) else { return false };
    let Ok(signature) = p256::ecdsa::Signature::from_der(signature_der) else { return false };
    signature.normalize_s().is_none()
        && p256::ecdsa::VerifyingKey::from(&key).verify(message, &signature).is_ok()
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &str) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(path).map_err(|source| KeyError::Io { file: file.to_owned(), source })?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Mode { file: file.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &str) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    #[test]
    fn the_same_randomness_makes_the_same_key() {
        let one = PrivateKey::generate(&mut StdRng::seed_from_u64(7)).unwrap();
        let two = PrivateKey::generate(&mut StdRng::seed_from_u64(7)).unwrap();
        assert_eq!(one.public_key_der(), two.public_key_der());
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = PrivateKey::generate(&mut StdRng::seed_from_u64(7)).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P-256, hidden)");
    }

    #[test]
    fn a_signature_verifies_and_one_flipped_bit_does_not() {
        let key = PrivateKey::generate(&mut StdRng::seed_from_u64(1)).unwrap();
        let signature = key.sign(b"abc");
        assert!(verify_p256(&key.public_key_der(), b"abc", &signature));
        assert!(!verify_p256(&key.public_key_der(), b"abd", &signature));
        assert!(!verify_p256(&key.public_key_der(), b"abc", b"garbage"));
    }

    #[test]
    fn a_signature_has_one_accepted_form() {
        let key = PrivateKey::generate(&mut StdRng::seed_from_u64(1)).unwrap();
        for message in 0..16_u8 {
            let low = key.sign(&[message]);
            let signature = p256::ecdsa::Signature::from_der(&low).unwrap();
            let (r, s) = signature.split_scalars();
            let high = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap().to_der().as_bytes().to_vec();
            assert!(verify_p256(&key.public_key_der(), &[message], &low));
            assert!(!verify_p256(&key.public_key_der(), &[message], &high));
            assert_eq!(low_s(&high), Some(low));
        }
        assert_eq!(low_s(b"x"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_0600_and_one_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.key");
        let key = PrivateKey::generate(&mut StdRng::seed_from_u64(3)).unwrap();
        key.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PrivateKey::load(&path).unwrap().public_key_der(), key.public_key_der());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(PrivateKey::load(&path), Err(KeyError::Mode { mode: 0o644, .. })));
    }
}
