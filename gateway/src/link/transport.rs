//! How QUIC is set up at the gateway: socket, timers, windows, congestion control.

use super::window::ALONE_BYTES;
use quinn::congestion::ControllerFactory;
use quinn::crypto::rustls::QuicServerConfig;
use relay_core::link::limits::MAX_DATA_STREAMS;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Bytes on their way on one stream: 60 Mbit/s at 400 ms and a third more. quinn aborts the connection when one stream's buffer
/// has more than 1,024 gaps; 4 MiB are 2,900 packets, so that a loss of a third would have to hit them one by one.
pub(super) const STREAM_RECEIVE_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes given to the transport ahead of the wire, per connection: letters are small.
pub(super) const SEND_WINDOW: u64 = 2 * 1024 * 1024;
/// Socket buffers: all clinics share one socket; 4 MiB are 30 ms at 1 Gbit/s.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// What a county may need to change.
#[derive(Clone)]
pub struct TransportSettings {
    /// A path without any answer for this long is dead.
    pub idle_timeout: Duration,
    /// Distance of keep-alive packets; agents send their own too.
    pub keep_alive: Duration,
    /// Congestion control.
    pub congestion: Arc<dyn ControllerFactory + Send + Sync>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(5),
            congestion: Arc::new(relay_pace::Factory::new(now)),
        }
    }
}

impl std::fmt::Debug for TransportSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportSettings")
            .field("idle_timeout", &self.idle_timeout)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// Why the listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TLS configuration is not one for QUIC.
    #[error("the TLS configuration cannot carry QUIC: {0}")]
    Tls(String),
    /// The idle timeout is out of range.
    #[error("idle_timeout {0:?} is too long")]
    IdleTimeout(Duration),
    /// The UDP address cannot be used.
    #[error("UDP {address}: {source}")]
    Socket {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

pub(super) fn server_config(
    tls: &Arc<rustls::ServerConfig>,
    settings: &TransportSettings,
) -> Result<quinn::ServerConfig, ListenError> {
    let crypto = QuicServerConfig::try_from(Arc::clone(tls)).map_err(|e| ListenError::Tls(e.to_string()))?;
    let idle = settings.idle_timeout;
    let idle = quinn::IdleTimeout::try_from(idle).map_err(|_| ListenError::IdleTimeout(idle))?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .keep_alive_interval(Some(settings.keep_alive))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(STREAM_RECEIVE_WINDOW.into())
        .receive_window((ALONE_BYTES as u32).into())
        .send_window(SEND_WINDOW)
        .max_concurrent_uni_streams(MAX_DATA_STREAMS.into())
        .max_concurrent_bidi_streams(1_u32.into())
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(Arc::clone(&settings.congestion));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

pub(super) fn endpoint(
    address: SocketAddr,
    config: quinn::ServerConfig,
) -> Result<quinn::Endpoint, ListenError> {
    let wrap = |source| ListenError::Socket { address, source };
    let socket = UdpSocket::bind(address).map_err(wrap)?;
    // The system may allow less (net.core.rmem_max); then losses rise under load, and `doctor` says why.
    let raised = socket2::SockRef::from(&socket)
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket2::SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER_BYTES));
    if let Err(error) = raised {
        tracing::warn!(%error, "socket buffers stay at the system's default");
    }
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime).map_err(wrap)
}
