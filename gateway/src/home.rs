//! What lies where under the gateway's home directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The county CA.
pub const CA_DIR: &str = "ca";
/// The gateway's own certificate chain and key.
pub const TLS_DIR: &str = "tls";
/// PKCS#12 files of the demonstration signer.
pub const SIGNER_DIR: &str = "signers";
/// Where the running gateway writes what it has bound.
pub const ADDRESSES_FILE: &str = "addresses.json";

/// Paths under a home.
#[derive(Debug, Clone)]
pub struct Home(pub PathBuf);

impl Home {
    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The CA's directory.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.join(CA_DIR)
    }

    /// The server's chain, PEM.
    #[must_use]
    pub fn server_chain(&self) -> PathBuf {
        self.0.join(TLS_DIR).join("server.pem")
    }

    /// The server's key, PEM, 0600.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.0.join(TLS_DIR).join("server.key")
    }

    /// The demonstration signer's files.
    #[must_use]
    pub fn signers(&self) -> PathBuf {
        self.0.join(SIGNER_DIR)
    }

    /// What the running gateway has bound.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.0.join(ADDRESSES_FILE)
    }
}

/// What a running gateway has bound; written when everything listens.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Addresses {
    /// UDP, agents.
    pub link: SocketAddr,
    /// TCP, people and enrolment.
    pub web: SocketAddr,
    /// TCP, Prometheus.
    pub metrics: Option<SocketAddr>,
    /// Process id.
    pub pid: u32,
}
