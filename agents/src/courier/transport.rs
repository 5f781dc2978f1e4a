//! How QUIC is set up at the agent: timers, windows, congestion control.

use quinn::congestion::ControllerFactory;
use quinn::crypto::rustls::QuicClientConfig;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that may be on their way to this agent on one stream: letters are at most 16 MiB and rare.
const STREAM_RECEIVE_WINDOW: u32 = 1024 * 1024;
/// Bytes that may be on their way to this agent at all, not yet read.
const RECEIVE_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes by which probes may widen that window, one each; then it falls back.
const MAX_PROBES: u32 = 64 * 1024;
/// Letter bodies that the gateway may send at once; as many as the protocol allows, twice.
const MAX_LETTER_STREAMS: u32 = 8;
/// Socket buffer: a burst of 2 MiB is 10 ms at 1 Gbit/s.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// What a site may need to change.
#[derive(Clone)]
pub struct TransportSettings {
    /// Distance of keep-alive packets: below the UDP timeout of the site's NAT.
    pub keep_alive: Duration,
    /// A path without any answer for this long is dead.
    pub idle_timeout: Duration,
    /// Most bytes given to the transport ahead of the wire: twice 60 Mbit/s at 400 ms and what is behind a lost packet. The
    /// courier takes less on every slower line.
    pub send_window: u64,
    /// Congestion control.
    pub congestion: Arc<dyn ControllerFactory + Send + Sync>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(15),
            send_window: 8 * 1024 * 1024,
            // Connections of one agent follow each other over one line.
            congestion: Arc::new(relay_pace::Factory::one_line(now)),
        }
    }
}

impl std::fmt::Debug for TransportSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportSettings")
            .field("keep_alive", &self.keep_alive)
            .field("idle_timeout", &self.idle_timeout)
            .field("send_window", &self.send_window)
            .finish_non_exhaustive()
    }
}

/// Why no connection can be configured at all.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The TLS configuration is not one for QUIC (TLS 1.3 with an initial cipher suite).
    #[error("the TLS configuration cannot carry QUIC: {0}")]
    Tls(String),
    /// The idle timeout is out of range.
    #[error("idle_timeout {0:?} is too long")]
    IdleTimeout(Duration),
    /// No UDP socket.
    #[error("no UDP socket for {family}: {source}")]
    Socket {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Has a packet sent that the gateway must acknowledge, whatever else waits: one more byte of receive window is told. What it
/// brings back says what was lost; the transport's own probes come at doubling distance.
pub(super) fn probe(connection: &quinn::Connection, probes: &mut u32) {
    *probes = probes.wrapping_add(1) % MAX_PROBES;
    connection.set_receive_window((RECEIVE_WINDOW + *probes).into());
}

pub(super) fn client_config(
    tls: &Arc<rustls::ClientConfig>,
    settings: &TransportSettings,
) -> Result<quinn::ClientConfig, TransportError> {
    let crypto =
        QuicClientConfig::try_from(Arc::clone(tls)).map_err(|e| TransportError::Tls(e.to_string()))?;
    let idle = settings.idle_timeout;
    let idle = quinn::IdleTimeout::try_from(idle).map_err(|_| TransportError::IdleTimeout(idle))?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .keep_alive_interval(Some(settings.keep_alive))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(STREAM_RECEIVE_WINDOW.into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(settings.send_window)
        .max_concurrent_uni_streams(MAX_LETTER_STREAMS.into())
        .max_concurrent_bidi_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(Arc::clone(&settings.congestion));
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// An endpoint of the family of `target`.
pub(super) fn endpoint_for(target: SocketAddr) -> Result<quinn::Endpoint, TransportError> {
    let (local, family) = match target {
        SocketAddr::V4(_) => (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), "IPv4"),
        SocketAddr::V6(_) => (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), "IPv6"),
    };
    let wrap = |source| TransportError::Socket { family, source };
    let socket = std::net::UdpSocket::bind(local).map_err(wrap)?;
    // The system may allow less; then the default stays, which is slower and not wrong.
    let raised = socket2::SockRef::from(&socket)
        .set_send_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES));
    if let Err(error) = raised {
        tracing::debug!(%error, "socket buffers stay at the system's default");
    }
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).map_err(wrap)
}
