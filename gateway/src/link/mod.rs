//! The link listener: clinics come in over QUIC, studies and notes go to custody, letters go out.
//!
//! Knows QUIC and the link protocol; knows the store only through [`ports`]. One task a connection, one for each data
//! stream. The protocol's decisions are made by [`relay_core::link::gateway::GatewayLink`].

mod arrival;
mod clerk;
mod connection;
mod dispatch;
mod listener;
pub mod ports;
mod presence;
mod transport;
mod turns;
mod window;

use async_trait::async_trait;
use relay_certs::certificate::{CertificateError, PeerIdentity};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ClinicId;
use relay_core::link::frame::Hello;
use relay_core::link::gateway::Greeting;
use rustls_pki_types::CertificateDer;

pub use listener::{LinkConfig, LinkHandle, LinkListener, Revocations, Revoked};
pub use transport::{ListenError, TransportSettings};

/// Who may come in, and what he is told.
#[async_trait]
pub trait Reception: Send + Sync {
    /// Greets a clinic that its certificate has identified, or refuses it (unknown here, closed, moved).
    async fn greet(&self, clinic: &ClinicId, hello: &Hello, now: UtcMs) -> Result<Greeting, Refusal>;

    /// Asked from time to time while a connection lives: the clinic may have been closed since.
    async fn still_welcome(&self, clinic: &ClinicId) -> Result<(), Refusal>;
}

/// The agent behind a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its clinic and certificate serial: the only source of identity.
    pub identity: PeerIdentity,
    /// Its certificate, against which notes are verified.
    pub certificate: CertificateDer<'static>,
}

impl Peer {
    /// The identity behind a connection whose chain TLS has verified.
    ///
    /// # Errors
    /// [`Refusal`] when there is no certificate or it names no clinic.
    pub fn of(connection: &quinn::Connection) -> Result<Self, Refusal> {
        let chain =
            connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = chain.and_then(|chain| chain.first().cloned());
        let Some(certificate) = certificate else {
            return Err(Refusal::new(
                Code::CertificateUnknownCa,
                "certificate",
                "the agent shows no certificate",
            ));
        };
        let identity = PeerIdentity::from_certificate(&certificate).map_err(|error| {
            let code = match error {
                CertificateError::NoClinic { .. } => Code::CertificateNoClinic,
                _ => Code::CertificateUnknownCa,
            };
            Refusal::new(code, "certificate", error.to_string())
        })?;
        Ok(Self { identity, certificate })
    }
}
