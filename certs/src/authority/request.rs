//! Certificate requests (PKCS#10, RFC 2986): only the public key is taken, and only with proof of possession.

use p256::pkcs8::DecodePublicKey as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Most bytes of a request: a P-256 one has about 300.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Longer than the limit.
    #[error("{0} bytes, at most {MAX_REQUEST_BYTES} are read")]
    TooLong(usize),
    /// Not a PKCS#10 request.
    #[error("not a PKCS#10 request: {0}")]
    Unreadable(String),
    /// The signature is not by the key inside.
    #[error("its signature is not by its own key: possession is not proven")]
    Signature,
    /// The key is not on P-256.
    #[error("its key is not a P-256 key")]
    KeyKind,
}

/// Checks a request and returns its SubjectPublicKeyInfo in DER. Subject and extensions are ignored on purpose: what a
/// certificate says is decided by the CA.
///
/// # Errors
/// [`RequestError`].
pub fn check_request(csr_der: &[u8]) -> Result<Vec<u8>, RequestError> {
    if csr_der.len() > MAX_REQUEST_BYTES {
        return Err(RequestError::TooLong(csr_der.len()));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(csr_der).map_err(|e| RequestError::Unreadable(e.to_string()))?;
    if !rest.is_empty() {
        return Err(RequestError::Unreadable(format!("{} bytes after its end", rest.len())));
    }
    let public = request.certification_request_info.subject_pki.raw;
    p256::PublicKey::from_public_key_der(public).map_err(|_| RequestError::KeyKind)?;
    request.verify_signature().map_err(|_| RequestError::Signature)?;
    Ok(public.to_vec())
}
