//! The endpoint: accepts, admits, and ends connections when a certificate is revoked or the gateway stops.

use super::connection::{self, Shared};
use super::ports::Custody;
use super::presence::{Live, Registry};
use super::transport::{self, ListenError, TransportSettings};
use super::turns::Turns;
use super::window::Windows;
use super::{Peer, Reception};
use relay_certs::serial::Serial;
use relay_core::clock::Clock;
use relay_core::codes::{Code, Refusal};
use relay_core::link::frame::FilmSpeeds;
use relay_core::link::gateway::GatewaySettings;
use relay_core::link::limits::HEARTBEAT_INTERVAL_MS;
use relay_core::link::{CAPABILITY_FILM, close_code};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections above the admission limit that are still answered (with *busy*); beyond, packets are refused.
const MAX_TURNED_AWAY: usize = 64;
/// Handshakes in progress beyond which a new address must first prove that it is one.
const HANDSHAKES_BEFORE_RETRY: usize = 32;
/// A handshake must be over within this time.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause that a clinic is asked for when the gateway is full.
const BUSY_PAUSE_MS: u64 = 5_000;
/// Time for connections to say goodbye and for objects to be finished when the gateway stops.
const GRACE: Duration = Duration::from_secs(10);

/// What the county has revoked.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Serial numbers that may no longer be used and may be on a live connection.
    pub serials: BTreeSet<Serial>,
    /// The list in force (DER), told to every clinic; empty: none is told.
    pub list: Vec<u8>,
}

/// The same, shared.
pub type Revoked = Arc<Revocations>;

/// What the listener is told.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// UDP address, port 0 for any.
    pub address: SocketAddr,
    /// Mutual TLS 1.3 with the county's CA, ALPN [`relay_core::link::ALPN`].
    pub tls: Arc<rustls::ServerConfig>,
    /// Name and version of this software.
    pub software: String,
    /// Connections admitted at once: one a clinic, and room for reconnects.
    pub max_connections: usize,
    /// How often agents send a heartbeat, in ms.
    pub heartbeat_ms: u64,
    /// What it can do beyond the version: words of `relay_core::link`.
    pub capabilities: Vec<String>,
    /// How fast this machine restores films, when that was measured.
    pub film_speeds: Option<FilmSpeeds>,
    /// Timers, windows, congestion control.
    pub transport: TransportSettings,
}

impl LinkConfig {
    /// The defaults for a county of up to a thousand clinics.
    #[must_use]
    pub fn new(address: SocketAddr, tls: Arc<rustls::ServerConfig>) -> Self {
        Self {
            address,
            tls,
            software: concat!("relay-gateway ", env!("CARGO_PKG_VERSION")).to_owned(),
            max_connections: 2_000,
            heartbeat_ms: HEARTBEAT_INTERVAL_MS,
            capabilities: vec![CAPABILITY_FILM.to_owned()],
            film_speeds: None,
            transport: TransportSettings::default(),
        }
    }
}

/// Changes the listener while it runs.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    endpoint: quinn::Endpoint,
    transport: TransportSettings,
}

impl LinkHandle {
    /// Waits until every connection is over and forgotten, so that the port is free once the listener is dropped.
    pub async fn drained(&self) {
        self.endpoint.wait_idle().await;
    }

    /// New connections get this TLS configuration (new CRL, renewed certificate); live ones stay as they are.
    ///
    /// # Errors
    /// [`ListenError`] when it is not one for QUIC; the old one stays.
    pub fn set_tls(&self, tls: &Arc<rustls::ServerConfig>) -> Result<(), ListenError> {
        self.endpoint.set_server_config(Some(transport::server_config(tls, &self.transport)?));
        Ok(())
    }
}

/// The gateway's end of all links.
pub struct LinkListener {
    endpoint: quinn::Endpoint,
    shared: Arc<Shared>,
    config: LinkConfig,
    revoked: watch::Receiver<Revoked>,
    live: Registry,
    next_id: u64,
}

impl std::fmt::Debug for LinkListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkListener").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LinkListener {
    /// Binds the UDP address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(
        config: LinkConfig,
        custody: Arc<dyn Custody>,
        reception: Arc<dyn Reception>,
        clock: Arc<dyn Clock>,
        revoked: watch::Receiver<Revoked>,
    ) -> Result<Self, ListenError> {
        let server = transport::server_config(&config.tls, &config.transport)?;
        let endpoint = transport::endpoint(config.address, server)?;
        let settings = GatewaySettings {
            software: config.software.clone(),
            capabilities: config.capabilities.clone(),
            heartbeat_ms: config.heartbeat_ms,
            film_speeds: config.film_speeds,
        };
        let shared = Arc::new(Shared {
            custody,
            reception,
            clock,
            settings,
            turns: Turns::default(),
            windows: Windows::default(),
            started: Instant::now(),
            leaving: CancellationToken::new(),
        });
        Ok(Self { endpoint, shared, config, revoked, live: Registry::default(), next_id: 0 })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// For changes while it runs.
    #[must_use]
    pub fn handle(&self) -> LinkHandle {
        LinkHandle { endpoint: self.endpoint.clone(), transport: self.config.transport.clone() }
    }

    /// Serves until `shutdown`; then says goodbye, lets objects be finished, and closes.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut tasks),
                    None => break,
                },
                Ok(()) = self.revoked.changed() => self.cut_revoked(),
                Some(done) = tasks.join_next() => {
                    if let Err(error) = done {
                        tracing::error!(%error, "a connection's task failed");
                    }
                }
            }
        }
        self.shared.leaving.cancel();
        let gone = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, gone).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
        let refusal = Refusal::new(Code::ShuttingDown, "link", "the gateway has stopped");
        self.endpoint.close(close_code(Some(&refusal)).into(), b"the gateway has stopped");
        // Lets the last packets out; the peers' idle timers do the rest.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    fn admit(&mut self, incoming: quinn::Incoming, tasks: &mut JoinSet<()>) {
        let live = self.live.len();
        let handshakes = tasks.len().saturating_sub(live);
        if tasks.len() >= self.config.max_connections + MAX_TURNED_AWAY {
            return incoming.refuse();
        }
        if handshakes > HANDSHAKES_BEFORE_RETRY && incoming.may_retry() {
            // Fails only for an address that has proved itself, which `may_retry` excludes.
            let _ = incoming.retry();
            return;
        }
        let welcome = if live < self.config.max_connections {
            Ok(())
        } else {
            let refusal = Refusal::new(Code::Busy, "link", "the gateway is full");
            Err((BUSY_PAUSE_MS, refusal))
        };
        let id = self.next_id;
        self.next_id += 1;
        let (shared, registry, revoked) = (Arc::clone(&self.shared), self.live.clone(), self.revoked.clone());
        tasks.spawn(async move {
            let remote = incoming.remote_address();
            let connection = match incoming.accept().map(|c| tokio::time::timeout(HANDSHAKE_DEADLINE, c)) {
                Ok(handshake) => handshake.await,
                Err(error) => return tracing::debug!(%remote, %error, "no handshake"),
            };
            match connection {
                Ok(Ok(connection)) => host(&shared, &registry, &revoked, id, connection, welcome).await,
                Ok(Err(error)) => tracing::info!(%remote, %error, "handshake refused"),
                Err(_) => tracing::debug!(%remote, "the handshake took too long"),
            }
        });
    }

    fn cut_revoked(&mut self) {
        let revoked = self.revoked.borrow_and_update().clone();
        let code = close_code(Some(&revocation()));
        self.live.close(|serial| revoked.serials.contains(serial), code, "the certificate is revoked");
    }
}

fn revocation() -> Refusal {
    Refusal::new(Code::CertificateRevoked, "certificate", "the certificate is revoked")
}

async fn host(
    shared: &Arc<Shared>,
    registry: &Registry,
    revoked: &watch::Receiver<Revoked>,
    id: u64,
    connection: quinn::Connection,
    welcome: Result<(), (u64, Refusal)>,
) {
    let peer = match Peer::of(&connection) {
        Ok(peer) => peer,
        Err(refusal) => {
            tracing::warn!(remote = %connection.remote_address(), %refusal, "connection refused");
            return connection.close(close_code(Some(&refusal)).into(), refusal.reason.as_bytes());
        }
    };
    let (clinic, serial) = (peer.identity.clinic.clone(), peer.identity.serial.clone());
    let entry = Live { clinic, serial, connection: connection.clone() };
    let (presence, older) = registry.enter(id, entry);
    for connection in older {
        // The agent came back before its old connection was found dead.
        connection.close(close_code(None).into(), b"a newer connection of the same agent");
    }
    // After listing, so that a revocation in between is seen by one of the two.
    let welcome = if revoked.borrow().serials.contains(&peer.identity.serial) {
        Err((0, revocation()))
    } else {
        welcome
    };
    connection::serve(shared, &peer, connection, welcome, revoked.clone(), &presence).await;
}
