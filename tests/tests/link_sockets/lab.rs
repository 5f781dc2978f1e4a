//! A county and clinics over loopback.

use relay_agent::courier::ports::{LinkState, LinkTrust, Outbox};
use relay_agent::courier::{self, CourierConfig, Gateway, TransportSettings};
use relay_certs::testing::TestCounty;
use relay_certs::trust::{TlsIdentity, agent_client_config, gateway_server_config};
use relay_core::clock::{Clock, SystemClock, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, ObjectHash, StudyUid};
use relay_core::link::ALPN;
use relay_core::study::{Class, Encoding};
use relay_gateway::link::{LinkConfig, LinkHandle, LinkListener, Revoked};
use relay_tests::sim::clinic::{Clinic, noise};
use relay_tests::sim::county::County;
use relay_tests::sim::ports::{ClinicPorts, CountyPorts, OpenDoor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Seconds within which things on loopback must have happened, on a busy machine.
pub(crate) const SOON: u64 = 30;
pub(crate) const CLINIC: &str = "shilipu-01";

pub(crate) fn clinic_id() -> ClinicId {
    ClinicId::parse(CLINIC).unwrap()
}

pub(crate) struct Lab {
    pub(crate) _dir: tempfile::TempDir,
    pub(crate) pki: TestCounty,
    pub(crate) gateway: TlsIdentity,
    pub(crate) county: CountyPorts,
    pub(crate) revoked: watch::Sender<Revoked>,
    pub(crate) clock: Arc<dyn Clock>,
}

pub(crate) struct RunningGateway {
    pub(crate) address: SocketAddr,
    pub(crate) handle: LinkHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl RunningGateway {
    /// As after a power cut: no goodbye. The port is free afterwards.
    pub(crate) async fn crash(self) -> u16 {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        free_port(self.address, self.handle).await
    }

    pub(crate) async fn shut_down(self) -> u16 {
        self.stop.cancel();
        self.task.await.unwrap();
        free_port(self.address, self.handle).await
    }
}

pub(crate) async fn free_port(address: SocketAddr, handle: LinkHandle) -> u16 {
    tokio::time::timeout(Duration::from_secs(SOON), handle.drained()).await.unwrap();
    drop(handle);
    // The task that owns the socket sees that nobody needs it any more.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    address.port()
}

pub(crate) struct RunningAgent {
    pub(crate) state: watch::Receiver<LinkState>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut pki = TestCounty::new(&dir.path().join("ca"), seed, SystemClock.now());
        let gateway = pki.gateway();
        let revoked = watch::Sender::new(Revoked::default());
        let (county, clock) = (CountyPorts::new(County::default()), Arc::new(SystemClock));
        Self { _dir: dir, pki, gateway, county, revoked, clock }
    }

    pub(crate) fn server_tls(&self) -> Arc<rustls::ServerConfig> {
        let (ca, crl) = (self.pki.ca(), self.pki.crl());
        Arc::new(gateway_server_config(&self.gateway, ca, &crl, &[ALPN]).unwrap())
    }

    /// Starts the gateway.
    pub(crate) fn start_gateway(&self, port: u16) -> RunningGateway {
        self.start_gateway_with(port, |_| {})
    }

    pub(crate) fn start_gateway_with(
        &self,
        port: u16,
        change: impl FnOnce(&mut LinkConfig),
    ) -> RunningGateway {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut config = LinkConfig::new(address, self.server_tls());
        config.heartbeat_ms = 500;
        change(&mut config);
        let listener = LinkListener::bind(
            config,
            Arc::new(self.county.clone()),
            Arc::new(OpenDoor(self.county.clone())),
            Arc::clone(&self.clock),
            self.revoked.subscribe(),
        )
        .unwrap();
        let (address, handle, stop) =
            (listener.local_addr().unwrap(), listener.handle(), CancellationToken::new());
        let task = tokio::spawn(listener.run(stop.clone()));
        RunningGateway { address, handle, stop, task }
    }

    pub(crate) fn agent_tls(&mut self) -> Arc<rustls::ClientConfig> {
        let identity = self.pki.agent(CLINIC);
        self.tls_of(&identity)
    }

    pub(crate) fn tls_of(&self, identity: &TlsIdentity) -> Arc<rustls::ClientConfig> {
        Arc::new(agent_client_config(identity, self.pki.ca(), None, &[ALPN]).unwrap())
    }
}

pub(crate) fn start_agent(
    tls: Arc<rustls::ClientConfig>,
    gateways: &[SocketAddr],
    clinic: &ClinicPorts,
) -> RunningAgent {
    start_trusting(LinkTrust::fixed(tls), gateways, clinic)
}

pub(crate) fn start_trusting(
    trust: watch::Receiver<LinkTrust>,
    gateways: &[SocketAddr],
    clinic: &ClinicPorts,
) -> RunningAgent {
    start_over(trust, gateways, Arc::new(clinic.clone()), clinic)
}

pub(crate) fn start_over(
    trust: watch::Receiver<LinkTrust>,
    gateways: &[SocketAddr],
    outbox: Arc<dyn Outbox>,
    clinic: &ClinicPorts,
) -> RunningAgent {
    use rand::SeedableRng as _;
    let gateways = gateways
        .iter()
        .enumerate()
        .map(|(n, address)| Gateway {
            name: format!("gateway {n}"),
            address: address.to_string(),
            server_name: "localhost".into(),
        })
        .collect();
    let transport =
        TransportSettings { idle_timeout: Duration::from_secs(5), ..TransportSettings::default() };
    let config = CourierConfig { trust, gateways, software: "relay-agent test".into(), transport };
    let (sender, state) = watch::channel(courier::initial_state());
    let stop = CancellationToken::new();
    let inbox = Arc::new(clinic.clone());
    let rng = Box::new(rand::rngs::StdRng::seed_from_u64(1));
    let running = courier::run(config, outbox, inbox, Arc::new(SystemClock), rng, sender, stop.clone());
    let task = tokio::spawn(async move { running.await.unwrap() });
    RunningAgent { state, stop, task }
}

pub(crate) async fn until(
    state: &mut watch::Receiver<LinkState>,
    what: &str,
    is_so: impl FnMut(&LinkState) -> bool,
) -> LinkState {
    let found = tokio::time::timeout(Duration::from_secs(SOON), state.wait_for(is_so)).await;
    let found = found.map(|found| found.unwrap().clone());
    found.unwrap_or_else(|_| panic!("not within {SOON} s: {what}; the state is {:?}", *state.borrow()))
}

pub(crate) async fn until_refused(agent: &mut RunningAgent, code: Code) -> (String, String) {
    let is_so = |s: &LinkState| matches!(s, LinkState::Down { refusal: Some(r), .. } if r.code == code);
    match until(&mut agent.state, code.name(), is_so).await {
        LinkState::Down { reason, refusal: Some(refusal), .. } => (reason, refusal.field),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn stop(agent: RunningAgent) {
    agent.stop.cancel();
    agent.task.await.unwrap();
}

pub(crate) fn study(
    clinic: &mut Clinic,
    uid: &str,
    class: Class,
    objects: &[(Vec<u8>, Encoding)],
) -> StudyUid {
    clinic.add_study(uid, class, objects, UtcMs(1_000))
}

pub(crate) fn county_has(county: &County, uid: &StudyUid, plain: &[u8]) -> bool {
    let place = (clinic_id(), uid.clone(), ObjectHash::of(plain));
    county.objects.get(&place).is_some_and(|stored| stored == plain)
}

/// What the gateways and agents of one test have logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Listens to this thread as long as the guard lives.
    pub(crate) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// One line has all these words.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

/// A clinic with a green study that nobody has taken yet.
pub(crate) fn waiting_clinic() -> (ClinicPorts, StudyUid, Vec<u8>) {
    let (ecg, mut clinic) = (noise(77, 2_000), Clinic::default());
    let uid = study(&mut clinic, "1.2.77", Class::Green, &[(ecg.clone(), Encoding::Identity)]);
    (ClinicPorts::new(clinic), uid, ecg)
}

/// What waited is whole at the county once a good agent speaks for the clinic.
pub(crate) async fn arrives(
    lab: &mut Lab,
    gateway: SocketAddr,
    (clinic, uid, ecg): (ClinicPorts, StudyUid, Vec<u8>),
) {
    clinic.with(|c| assert!(!c.is_idle(), "it was kept while nobody took it"));
    lab.county.with(|county| assert!(!county_has(county, &uid, &ecg)));
    let agent = start_agent(lab.agent_tls(), &[gateway], &clinic);
    clinic.until(SOON, "what waited is receipted", Clinic::is_idle).await;
    lab.county.with(|county| assert!(county_has(county, &uid, &ecg)));
    stop(agent).await;
}
