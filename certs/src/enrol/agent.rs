//! The clinic's side of enrolment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::CryptoRng;
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, Sha256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{EnrolReply, EnrolRequest, Invitation};
use crate::certificate::{self, CertificateError, PeerIdentity, fingerprint};
use crate::keys::{KeyError, PrivateKey};
use crate::trust::TrustStore;

/// A key made at the clinic and the request for its certificate. The key never leaves the clinic.
#[derive(Debug)]
pub struct AgentRequest {
    /// The key. Store it (0600) before sending the request: then a lost answer can be asked for again.
    pub key: PrivateKey,
    /// PKCS#10 request in DER.
    pub csr_der: Vec<u8>,
}

/// Why the county's answer is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolReplyError {
    /// The county refused.
    #[error("the county refused: {code}: {en}")]
    Refused {
        /// Name in the list of codes.
        code: String,
        /// What a Chinese user is told.
        zh: String,
        /// What an English user is told.
        en: String,
    },
    /// The chain cannot be read.
    #[error("the county's answer cannot be read: {0}")]
    Unreadable(String),
    /// The CA is not the one on the invitation: somebody else answered.
    #[error("the CA that answered has fingerprint {found}, the invitation says {pinned}")]
    WrongCa {
        /// Of the answer.
        found: Sha256,
        /// Of the invitation.
        pinned: Sha256,
    },
    /// The certificate is not signed by the CA.
    #[error("the certificate is not signed by the county CA")]
    NotSignedByCa,
    /// The certificate is for another key.
    #[error("the certificate is for another key")]
    WrongKey,
    /// The certificate is for another clinic.
    #[error("the certificate is for clinic {found}, the invitation for {expected}")]
    WrongClinic {
        /// In the certificate.
        found: ClinicId,
        /// On the invitation.
        expected: ClinicId,
    },
    /// The certificate is not valid now.
    #[error("the certificate is not valid now; check this machine's clock")]
    NotValidNow,
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A clinic's identity after enrolment.
#[derive(Debug, Clone)]
pub struct AgentIdentity {
    /// Clinic, serial and end of validity.
    pub identity: PeerIdentity,
    /// Leaf first, CA last.
    pub chain: Vec<CertificateDer<'static>>,
    /// The county CA and, when the county sent one that verifies, its revocation list.
    pub trust: TrustStore,
}

impl AgentIdentity {
    /// The county CA: trust anchor for the gateway and for doctors' signatures.
    #[must_use]
    pub fn ca(&self) -> &CertificateDer<'static> {
        self.chain.last().expect("invariant: accepted chains have two certificates")
    }

    /// The chain as PEM, leaf first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|c| crate::authority::to_pem("CERTIFICATE", c.as_ref())).collect()
    }
}

/// Makes a key and its request. The subject is a courtesy for people who look at requests: the CA ignores it.
///
/// # Errors
/// [`KeyError`] when the random source is broken.
pub fn make_csr(clinic: &ClinicId, rng: &mut dyn CryptoRng) -> Result<AgentRequest, KeyError> {
    AgentRequest::for_key(clinic, PrivateKey::generate(rng)?)
}

impl AgentRequest {
    /// The request for a key that exists already: a repeated attempt, or a renewal.
    ///
    /// # Errors
    /// [`KeyError::Format`] when the key cannot sign.
    pub fn for_key(clinic: &ClinicId, key: PrivateKey) -> Result<Self, KeyError> {
        let unusable = |_| KeyError::Format { file: "key".to_owned() };
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, clinic.as_str());
        let request = params.serialize_request(&key.to_issuer_key().map_err(unusable)?).map_err(unusable)?;
        Ok(Self { csr_der: request.der().to_vec(), key })
    }

    /// The body to post.
    #[must_use]
    pub fn body(&self, invitation: &Invitation) -> EnrolRequest {
        EnrolRequest { code: invitation.code.reveal().to_string(), csr: BASE64.encode(&self.csr_der) }
    }

    /// Accepts the county's answer only when its CA is the pinned one and the certificate is signed by it, for this
    /// key, for the invited clinic, and valid now.
    ///
    /// # Errors
    /// [`EnrolReplyError`].
    pub fn accept(
        &self,
        reply: &EnrolReply,
        invitation: &Invitation,
        now: UtcMs,
    ) -> Result<AgentIdentity, EnrolReplyError> {
        let (chain_pem, crl) = match reply {
            EnrolReply::Issued { chain_pem, crl } => (chain_pem, crl),
            EnrolReply::Refused { code, zh, en } => {
                return Err(EnrolReplyError::Refused { code: code.clone(), zh: zh.clone(), en: en.clone() });
            }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| EnrolReplyError::Unreadable(e.to_string()))?;
        let [leaf, ca] = chain.as_slice() else {
            let reason = format!("{} certificates, two are expected", chain.len());
            return Err(EnrolReplyError::Unreadable(reason));
        };
        let found = fingerprint(ca);
        if found != invitation.ca_fingerprint {
            return Err(EnrolReplyError::WrongCa { found, pinned: invitation.ca_fingerprint });
        }
        let (parsed, parsed_ca) = (certificate::parse(leaf)?, certificate::parse(ca)?);
        parsed.verify_signature(Some(parsed_ca.public_key())).map_err(|_| EnrolReplyError::NotSignedByCa)?;
        if parsed.public_key().raw != self.key.public_key_der().as_slice() {
            return Err(EnrolReplyError::WrongKey);
        }
        let identity = PeerIdentity::from_certificate(leaf)?;
        if identity.clinic != *invitation.code.clinic() {
            let expected = invitation.code.clinic().clone();
            return Err(EnrolReplyError::WrongClinic { found: identity.clinic, expected });
        }
        if now < certificate::not_before(&parsed) || now > identity.not_after {
            return Err(EnrolReplyError::NotValidNow);
        }
        let mut trust = TrustStore::new(ca.clone());
        // Without a good list the clinic is still enrolled; verified reports then say that there is none yet.
        if let Err(error) = BASE64
            .decode(crl)
            .map_err(|e| e.to_string())
            .and_then(|der| trust.update_crl(&der).map_err(|e| e.to_string()))
        {
            tracing::warn!(%error, "the county sent no usable revocation list");
        }
        Ok(AgentIdentity { identity, chain, trust })
    }
}
