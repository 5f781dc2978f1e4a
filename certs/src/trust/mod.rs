//! Who is trusted on a connection: rustls configurations, peer identity, and revocation while the gateway runs.
//!
//! # Revocation and resumption
//! TLS 1.3 resumption does not look at the certificate again (RFC 8446 §2.2), so a revoked agent that kept a session
//! ticket would get in once more; rustls follows the RFC. Therefore the gateway keeps no sessions, sends no tickets and
//! accepts no 0-RTT: every connection is a full handshake against the CRL of its configuration. Live connections are
//! closed by the gateway when [`RevocationWatch::poll`] names their serial.
//!
//! # When is an agent connected?
//! With TLS 1.3 the client's handshake ends before the server has judged the client's certificate. An agent counts as
//! connected only after the gateway's first answer.

mod configs;
mod pinned;
mod revocation;

pub use crate::certificate::{CertificateError, PeerIdentity};
pub use configs::{
    TlsError, TlsIdentity, agent_client_config, enrolment_client_config, gateway_server_config, refusal_code,
    viewer_server_config, web_client_config,
};
pub use revocation::{CrlError, RevocationList, RevocationWatch, RevokedEntry, TrustStore};

#[cfg(test)]
mod tests;
