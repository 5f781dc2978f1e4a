//! Flows of real quinn over one line, and what is measured of them.

use super::net::{BIN, Line, MemorySocket, Net, add};
use anyhow::Context as _;
use quinn::congestion::ControllerFactory;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes given to the transport at once.
const PIECE_BYTES: usize = 64 * 1024;
/// No flow is held back by windows: 100 Mbit/s at 400 ms, and once more for what is behind a lost packet.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The transport asks into a silence so often, as the courier does.
const PROBE_INTERVAL: Duration = Duration::from_millis(900);
/// Share of a full packet that is payload: 1,452 bytes of QUIC in 1,480 of IP, less header (1), connection id (8), number
/// (2), tag (16) and the head of the stream frame (8).
pub const PAYLOAD_SHARE: f64 = 1_417.0 / 1_480.0;

/// Congestion control of a flow.
pub type Factory = Arc<dyn ControllerFactory + Send + Sync>;

/// One upload.
#[derive(Clone)]
pub struct Flow {
    /// Its congestion control.
    pub control: Factory,
    /// When it begins.
    pub from: Duration,
    /// When it has no more to send.
    pub until: Duration,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("from", &self.from).field("until", &self.until).finish_non_exhaustive()
    }
}

/// Uploads that share a line.
#[derive(Debug, Clone)]
pub struct Race {
    /// The line.
    pub line: Line,
    /// Of everything random.
    pub seed: u64,
    /// How long.
    pub time: Duration,
    /// The uploads.
    pub flows: Vec<Flow>,
}

/// What one upload did.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// Payload that the far end read in order, in bins.
    pub payload: Vec<u64>,
    /// Bytes that arrived, headers included, in bins.
    pub arrived: Vec<u64>,
    /// Bytes that were sent, headers included.
    pub wire: u64,
}

/// What a race showed.
#[derive(Debug, Clone, Default)]
pub struct Raced {
    /// Each flow.
    pub flows: Vec<Ran>,
    /// Time that a packet would wait in the queue, a sample a bin, in microseconds.
    pub waiting: Vec<u64>,
}

fn bins(of: &[u64], from: Duration, to: Duration) -> &[u64] {
    let bin = |at: Duration| usize::try_from(at.as_micros() / BIN.as_micros()).unwrap_or(usize::MAX);
    let (from, to) = (bin(from).min(of.len()), bin(to).min(of.len()));
    &of[from..to.max(from)]
}

impl Ran {
    /// Payload bytes a second between two times.
    #[must_use]
    pub fn goodput(&self, from: Duration, to: Duration) -> f64 {
        bins(&self.payload, from, to).iter().sum::<u64>() as f64 / (to - from).as_secs_f64()
    }

    /// Wire bytes a second that arrived between two times.
    #[must_use]
    pub fn rate(&self, from: Duration, to: Duration) -> f64 {
        bins(&self.arrived, from, to).iter().sum::<u64>() as f64 / (to - from).as_secs_f64()
    }

    /// Wire bytes sent for each byte of payload that arrived.
    #[must_use]
    pub fn wire_ratio(&self) -> f64 {
        self.wire as f64 / self.payload.iter().sum::<u64>().max(1) as f64
    }

    /// Time from `begin` until `rate` wire bytes a second arrive over one `span`, which ends then.
    #[must_use]
    pub fn reaches(&self, rate: f64, begin: Duration, span: Duration) -> Option<Duration> {
        let end = BIN * u32::try_from(self.arrived.len()).ok()?;
        let mut at = begin;
        while at + span <= end {
            if self.rate(at, at + span) >= rate {
                return Some(at - begin);
            }
            at += BIN;
        }
        None
    }

    /// When the first byte arrives after `begin`.
    #[must_use]
    pub fn first_after(&self, begin: Duration) -> Option<Duration> {
        let from = usize::try_from(begin.as_micros() / BIN.as_micros()).ok()?;
        let later = self.arrived.get(from..)?.iter().position(|bytes| *bytes > 0)?;
        Some(BIN * u32::try_from(from + later).ok()?)
    }
}

impl Raced {
    /// The share `part` (0.5, 0.95) of waiting times between two times is not longer than this.
    #[must_use]
    pub fn waiting(&self, part: f64, from: Duration, to: Duration) -> Duration {
        let mut sorted = bins(&self.waiting, from, to).to_vec();
        sorted.sort_unstable();
        let at = ((sorted.len().saturating_sub(1)) as f64 * part) as usize;
        Duration::from_micros(sorted.get(at).copied().unwrap_or(0))
    }
}

/// A certificate for any number of races. Ed25519, whose signatures have one length and no random part: a handshake that is a
/// byte longer would make another race.
#[derive(Debug)]
pub struct Keys {
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
}

impl Keys {
    /// New ones.
    ///
    /// # Errors
    /// Of TLS.
    pub fn new() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let (certificate, key) = (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let only = [&rustls::version::TLS13];
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&only)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))?;
        server.send_tls13_tickets = 0;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate)?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&only)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

/// Lets the flows race, in virtual time.
///
/// # Errors
/// When a connection cannot be made or is lost.
pub fn race(race: &Race, keys: &Keys) -> anyhow::Result<Raced> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(run(race, keys))
}

async fn run(race: &Race, keys: &Keys) -> anyhow::Result<Raced> {
    let net = Net::new(race.line.clone(), race.seed);
    let mut flows = Vec::new();
    let mut sockets = Vec::new();
    for (number, flow) in race.flows.iter().enumerate() {
        let number = u8::try_from(number).context("too many flows")?;
        let (clinic, county) = (net.clinic(number), net.county(number));
        sockets.push(Arc::clone(&clinic));
        let payload = Arc::new(Mutex::new(Vec::new()));
        let server = server(keys, county, race.seed ^ 0x77)?;
        let client = endpoint(clinic, None, race.seed ^ u64::from(number))?;
        let task = tokio::spawn(read(server, net.clone(), Arc::clone(&payload)));
        let (flow, config, net) = (flow.clone(), client_config(keys, flow)?, net.clone());
        let target = std::net::SocketAddr::from(([10, 2, 0, number], 4433));
        let write = tokio::spawn(async move { upload(client, config, target, &flow, &net).await });
        flows.push((task, write, payload));
    }
    let mut waiting = Vec::new();
    while net.now() < race.time {
        add(&mut waiting, net.now(), u64::try_from(net.waiting_up().as_micros())?);
        tokio::time::sleep(BIN).await;
    }
    let mut raced = Raced { flows: Vec::new(), waiting };
    for ((reader, writer, payload), socket) in flows.into_iter().zip(sockets) {
        if writer.is_finished() {
            writer.await??;
        } else {
            writer.abort();
        }
        reader.abort();
        let payload = std::mem::take(&mut *payload.lock().unwrap_or_else(PoisonError::into_inner));
        let sent = net.sent_by(socket.address());
        raced.flows.push(Ran { payload, arrived: sent.arrived, wire: sent.offered });
    }
    Ok(raced)
}

fn endpoint(
    socket: Arc<MemorySocket>,
    server: Option<quinn::ServerConfig>,
    seed: u64,
) -> anyhow::Result<quinn::Endpoint> {
    let mut config = quinn::EndpointConfig::default();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    config.rng_seed(Some(bytes));
    Ok(quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(quinn::TokioRuntime))?)
}

fn transport() -> anyhow::Result<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(WINDOW_BYTES.into())
        .receive_window(WINDOW_BYTES.into())
        .send_window(u64::from(WINDOW_BYTES))
        .keep_alive_interval(Some(PROBE_INTERVAL))
        .max_idle_timeout(Some(Duration::from_secs(120).try_into()?));
    Ok(transport)
}

fn server(keys: &Keys, socket: Arc<MemorySocket>, seed: u64) -> anyhow::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(Arc::clone(&keys.server))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()?));
    endpoint(socket, Some(config), seed)
}

fn client_config(keys: &Keys, flow: &Flow) -> anyhow::Result<quinn::ClientConfig> {
    let crypto = QuicClientConfig::try_from(Arc::clone(&keys.client))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = transport()?;
    transport.congestion_controller_factory(Arc::clone(&flow.control));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn read(server: quinn::Endpoint, net: Net, payload: Arc<Mutex<Vec<u64>>>) -> anyhow::Result<()> {
    let connection = server.accept().await.context("no connection")?.await?;
    let mut stream = connection.accept_uni().await?;
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        let mut bins = payload.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut bins, net.now(), chunk.bytes.len() as u64);
    }
    connection.closed().await;
    Ok(())
}

async fn upload(
    client: quinn::Endpoint,
    config: quinn::ClientConfig,
    target: std::net::SocketAddr,
    flow: &Flow,
    net: &Net,
) -> anyhow::Result<()> {
    tokio::time::sleep(flow.from).await;
    let connection = client.connect_with(config, target, "localhost")?.await?;
    let mut stream = connection.open_uni().await?;
    let piece = bytes::Bytes::from(vec![7; PIECE_BYTES]);
    while net.now() < flow.until {
        stream.write_chunk(piece.clone()).await?;
    }
    stream.finish()?;
    stream.stopped().await?;
    connection.close(0_u32.into(), b"done");
    client.wait_idle().await;
    Ok(())
}
