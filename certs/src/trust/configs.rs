//! The rustls configurations. All are built with an explicit provider: with two providers in one binary the default
//! constructors panic.

use std::path::Path;
use std::sync::Arc;

use relay_core::codes::Code;
use relay_core::ids::Sha256;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::pinned::PinnedCaVerifier;
use crate::authority::IssuedIdentity;
use crate::keys::{KeyError, PrivateKey};

/// Most bytes of a chain file: leaf and CA have about 2 kB.
const MAX_CHAIN_BYTES: u64 = 64 * 1024;

/// Why a configuration cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The chain file cannot be read.
    #[error("certificate chain {file}: {reason}")]
    Chain {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// CA or CRL cannot be used to verify peers.
    #[error("verifier of peers: {0}")]
    Verifier(String),
    /// rustls refuses the parts.
    #[error("TLS configuration: {0}")]
    Config(#[from] rustls::Error),
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// Leaf first. With the CA at its end, so that an agent that only knows the CA's fingerprint can enrol.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKey,
}

impl TlsIdentity {
    /// Reads a PEM chain and a PEM key (0600).
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn load(chain_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let wrong = |reason: String| TlsError::Chain { file: chain_file.display().to_string(), reason };
        let bytes =
            crate::files::read_limited(chain_file, MAX_CHAIN_BYTES).map_err(|e| wrong(e.to_string()))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|e| wrong(format!("not PEM certificates: {e}")))?;
        if chain.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        let key = PrivateKey::load(key_file)?;
        let leaf = crate::certificate::parse(&chain[0]).map_err(|e| wrong(e.to_string()))?;
        if leaf.public_key().raw != key.public_key_der().as_slice() {
            return Err(wrong(format!("its first certificate is not for the key in {}", key_file.display())));
        }
        Ok(Self { chain, key })
    }
}

impl From<IssuedIdentity> for TlsIdentity {
    fn from(issued: IssuedIdentity) -> Self {
        Self { chain: issued.certificate.chain, key: issued.key }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(ca: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn crls(crl_der: &[u8]) -> Vec<CertificateRevocationListDer<'static>> {
    vec![CertificateRevocationListDer::from(crl_der.to_vec())]
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|p| p.to_vec()).collect()
}

/// The gateway's link: TLS 1.3, mutual, client certificates of the county CA that are not on the CRL.
///
/// The CRL's own end of life is not enforced here: it is made in the same directory by the same CA, and a missed
/// renewal must not cut every clinic off. No resumption, no tickets, no 0-RTT: see the [module](super).
///
/// # Errors
/// [`TlsError`].
pub fn gateway_server_config(
    identity: &TlsIdentity,
    ca: &CertificateDer<'_>,
    crl_der: &[u8],
    alpn: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider())
        .with_crls(crls(crl_der))
        .build()
        .map_err(|e| TlsError::Verifier(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.to_rustls())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

/// An agent's link: TLS 1.3, its own certificate, the county CA as only root; a CRL that the county sent is used too,
/// so that a stolen gateway key can be revoked.
///
/// # Errors
/// [`TlsError`].
pub fn agent_client_config(
    identity: &TlsIdentity,
    ca: &CertificateDer<'_>,
    crl_der: Option<&[u8]>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let mut builder = WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider());
    if let Some(crl_der) = crl_der {
        builder = builder.with_crls(crls(crl_der));
    }
    let verifier = builder.build().map_err(|e| TlsError::Verifier(e.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain.clone(), identity.key.to_rustls())?;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

/// The county's HTTPS page: TLS 1.2 and 1.3 for hospital browsers, people log in by password and TOTP, no client
/// certificate. The chain must end with the CA when `/enrol/v1` is mounted on it.
///
/// # Errors
/// [`TlsError`].
pub fn viewer_server_config(identity: &TlsIdentity, alpn: &[&[u8]]) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.to_rustls())?;
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

/// A client of the county's HTTPS page that knows the county CA (scripts, health checks, tests).
///
/// # Errors
/// [`TlsError`].
pub fn web_client_config(ca: &CertificateDer<'_>, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

/// A client for enrolment: it does not have the CA yet, only its fingerprint from the invitation. The server must
/// present a chain that contains the CA with this fingerprint and verifies under it, for the name that was dialled.
///
/// # Errors
/// [`TlsError`].
pub fn enrolment_client_config(ca_fingerprint: Sha256, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCaVerifier::new(ca_fingerprint, provider())))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

/// The Relay's code for a TLS failure that is about certificates, on either end of the connection.
#[must_use]
pub fn refusal_code(error: &rustls::Error) -> Option<Code> {
    use rustls::Error;
    Some(match error {
        Error::InvalidCertificate(CertificateError::Revoked)
        | Error::AlertReceived(AlertDescription::CertificateRevoked) => Code::CertificateRevoked,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )
        | Error::AlertReceived(AlertDescription::CertificateExpired) => Code::CertificateExpired,
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError,
        ) => Code::CertificateUnknownCa,
        Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol)
        | Error::NoApplicationProtocol => Code::VersionUnsupported,
        _ => return None,
    })
}
