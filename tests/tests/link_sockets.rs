//! Courier and listener over real sockets on loopback, with the county's own certificates and in-memory stores.
#![expect(clippy::unwrap_used, reason = "scene helpers are test code too")]

use relay_agent::config::QuietSeconds;
use relay_agent::courier::ports::{LinkState, LinkTrust, Outbox};
use relay_agent::courier::{self, CourierConfig, Gateway, TransportSettings};
use relay_agent::spool::{Origin, Spool, SpoolLimits, SpoolOptions};
use relay_certs::testing::TestCounty;
use relay_certs::trust::{TlsIdentity, agent_client_config, gateway_server_config};
use relay_core::clock::{Clock, DAY_MS, ManualClock, SystemClock, UtcMs};
use relay_core::codes::Code;
use relay_core::durable::RealDisk;
use relay_core::ids::{ClinicId, ObjectHash, StudyUid};
use relay_core::letter::LetterKind;
use relay_core::limits::MAX_FRAME_BYTES;
use relay_core::link::frame::{Frame, FrameReader, Hello, ObjectData};
use relay_core::link::{ALPN, close_code, code_of_close};
use relay_core::study::{Class, Encoding};
use relay_gateway::link::{LinkConfig, LinkHandle, LinkListener, Revocations, Revoked};
use relay_tests::phantom;
use relay_tests::sim::clinic::{Clinic, noise};
use relay_tests::sim::county::County;
use relay_tests::sim::ports::{ClinicPorts, CountyPorts, OpenDoor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Seconds within which things on loopback must have happened, on a busy machine.
const SOON: u64 = 30;
const CLINIC: &str = "shilipu-01";

fn clinic_id() -> ClinicId {
    ClinicId::parse(CLINIC).unwrap()
}

struct Lab {
    _dir: tempfile::TempDir,
    pki: TestCounty,
    gateway: TlsIdentity,
    county: CountyPorts,
    revoked: watch::Sender<Revoked>,
    clock: Arc<dyn Clock>,
}

struct RunningGateway {
    address: SocketAddr,
    handle: LinkHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningGateway {
    /// As after a power cut: no goodbye. The port is free afterwards.
    async fn crash(self) -> u16 {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        free_port(self.address, self.handle).await
    }

    async fn shut_down(self) -> u16 {
        self.stop.cancel();
        self.task.await.unwrap();
        free_port(self.address, self.handle).await
    }
}

async fn free_port(address: SocketAddr, handle: LinkHandle) -> u16 {
    tokio::time::timeout(Duration::from_secs(SOON), handle.drained()).await.unwrap();
    drop(handle);
    // The task that owns the socket sees that nobody needs it any more.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    address.port()
}

struct RunningAgent {
    state: watch::Receiver<LinkState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut pki = TestCounty::new(&dir.path().join("ca"), seed, SystemClock.now());
        let gateway = pki.gateway();
        let revoked = watch::Sender::new(Revoked::default());
        let (county, clock) = (CountyPorts::new(County::default()), Arc::new(SystemClock));
        Self { _dir: dir, pki, gateway, county, revoked, clock }
    }

    fn server_tls(&self) -> Arc<rustls::ServerConfig> {
        let (ca, crl) = (self.pki.ca(), self.pki.crl());
        Arc::new(gateway_server_config(&self.gateway, ca, &crl, &[ALPN]).unwrap())
    }

    /// Starts the gateway.
    fn start_gateway(&self, port: u16) -> RunningGateway {
        self.start_gateway_with(port, |_| {})
    }

    fn start_gateway_with(&self, port: u16, change: impl FnOnce(&mut LinkConfig)) -> RunningGateway {
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

    fn agent_tls(&mut self) -> Arc<rustls::ClientConfig> {
        let identity = self.pki.agent(CLINIC);
        self.tls_of(&identity)
    }

    fn tls_of(&self, identity: &TlsIdentity) -> Arc<rustls::ClientConfig> {
        Arc::new(agent_client_config(identity, self.pki.ca(), None, &[ALPN]).unwrap())
    }
}

fn start_agent(
    tls: Arc<rustls::ClientConfig>,
    gateways: &[SocketAddr],
    clinic: &ClinicPorts,
) -> RunningAgent {
    start_trusting(LinkTrust::fixed(tls), gateways, clinic)
}

fn start_trusting(
    trust: watch::Receiver<LinkTrust>,
    gateways: &[SocketAddr],
    clinic: &ClinicPorts,
) -> RunningAgent {
    start_over(trust, gateways, Arc::new(clinic.clone()), clinic)
}

fn start_over(
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

async fn until(
    state: &mut watch::Receiver<LinkState>,
    what: &str,
    is_so: impl FnMut(&LinkState) -> bool,
) -> LinkState {
    let found = tokio::time::timeout(Duration::from_secs(SOON), state.wait_for(is_so)).await;
    let found = found.map(|found| found.unwrap().clone());
    found.unwrap_or_else(|_| panic!("not within {SOON} s: {what}; the state is {:?}", *state.borrow()))
}

async fn until_refused(agent: &mut RunningAgent, code: Code) -> (String, String) {
    let is_so = |s: &LinkState| matches!(s, LinkState::Down { refusal: Some(r), .. } if r.code == code);
    match until(&mut agent.state, code.name(), is_so).await {
        LinkState::Down { reason, refusal: Some(refusal), .. } => (reason, refusal.field),
        other => panic!("{other:?}"),
    }
}

async fn stop(agent: RunningAgent) {
    agent.stop.cancel();
    agent.task.await.unwrap();
}

fn study(clinic: &mut Clinic, uid: &str, class: Class, objects: &[(Vec<u8>, Encoding)]) -> StudyUid {
    clinic.add_study(uid, class, objects, UtcMs(1_000))
}

fn county_has(county: &County, uid: &StudyUid, plain: &[u8]) -> bool {
    let place = (clinic_id(), uid.clone(), ObjectHash::of(plain));
    county.objects.get(&place).is_some_and(|stored| stored == plain)
}

#[tokio::test]
async fn studies_letters_and_notes_cross_and_are_receipted() {
    let mut lab = Lab::new(1);
    let gateway = lab.start_gateway(0);
    let (film, ecg, text) = (noise(1, 3_000_000), noise(2, 120_000), b"many same bytes ".repeat(10_000));
    let mut clinic = Clinic::default();
    let objects = [(film.clone(), Encoding::Identity), (text.clone(), Encoding::Zstd)];
    let xray = study(&mut clinic, "1.2.1", Class::Routine, &objects);
    let chest_pain = study(&mut clinic, "1.2.2", Class::Green, &[(ecg.clone(), Encoding::Identity)]);
    clinic.add_note("note-1");
    let clinic = ClinicPorts::new(clinic);
    let letter = noise(3, 700_000);
    lab.county.with_letters(|c| c.write_letter(&clinic_id(), "r-1", LetterKind::Report, &letter, UtcMs(1)));
    let mut agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);

    clinic.until(SOON, "everything is receipted", |c| c.is_idle() && c.letters.len() == 1).await;
    lab.county
        .until(SOON, "the letter is receipted", |c| c.letters.values().all(|l| l.receipted.is_some()))
        .await;
    lab.county.with_letters(|c| {
        c.write_letter(&clinic_id(), "k-1", LetterKind::CriticalNotice, b"{}", UtcMs(2));
    });
    clinic.until(SOON, "a later letter comes at once", |c| c.letters.len() == 2).await;
    lab.county.with(|county| {
        assert!(county_has(county, &xray, &film) && county_has(county, &xray, &text));
        assert!(county_has(county, &chest_pain, &ecg));
        assert_eq!(county.notes.len(), 1);
        assert!(county.online.contains(&clinic_id()));
        assert!(county.commits.values().all(|n| *n == 1));
        assert_eq!(county.order[0].1, chest_pain, "the chest pain was durable first");
    });
    clinic.with(|c| assert_eq!(c.letters.values().map(|(_, body, _)| body.len()).max(), Some(letter.len())));
    let up = until(
        &mut agent.state,
        "measured",
        |s| matches!(s, LinkState::Up { wire_bytes_sent, .. } if *wire_bytes_sent > 3_000_000),
    )
    .await;
    let LinkState::Up { gateway: name, duty_phone, clock_offset_ms, rtt_us, .. } = up else { panic!() };
    assert_eq!((name.as_str(), duty_phone.as_deref()), ("gateway 0", Some("0555-120")));
    assert!(clock_offset_ms.abs() < 1_000 && rtt_us > 0, "{clock_offset_ms} ms, {rtt_us} µs");
    stop(agent).await;
    lab.county.until(SOON, "the clinic is seen leaving", |c| c.online.is_empty()).await;
}

#[tokio::test]
async fn a_gateway_that_crashes_in_the_middle_gets_only_what_it_lacks() {
    let mut lab = Lab::new(2);
    let gateway = lab.start_gateway(0);
    let film = noise(1, 12_000_000);
    let mut clinic = Clinic::default();
    let uid = study(&mut clinic, "1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)]);
    let clinic = ClinicPorts::new(clinic);
    lab.county.hold(ObjectHash::of(&film), 5_000_000);
    let agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    lab.county.until(SOON, "five megabytes are there", |c| c.bytes_taken >= 5_000_000).await;

    let port = gateway.crash().await;
    lab.county.with(County::crash);
    lab.county.release();
    let again = lab.start_gateway(port);
    clinic.until(SOON, "the rest has come", Clinic::is_idle).await;
    lab.county.with(|county| {
        assert!(county_has(county, &uid, &film));
        let twice = county.bytes_taken - film.len() as u64;
        assert!(twice < 1_000_000, "{twice} bytes came twice");
    });
    stop(agent).await;
    again.shut_down().await;
}

#[tokio::test]
async fn an_agent_that_restarts_in_the_middle_sends_only_what_is_missing() {
    let mut lab = Lab::new(3);
    let gateway = lab.start_gateway(0);
    let film = noise(1, 12_000_000);
    let mut clinic = Clinic::default();
    let uid = study(&mut clinic, "1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)]);
    let clinic = ClinicPorts::new(clinic);
    lab.county.hold(ObjectHash::of(&film), 5_000_000);
    let tls = lab.agent_tls();
    let agent = start_agent(Arc::clone(&tls), &[gateway.address], &clinic);
    lab.county.until(SOON, "five megabytes are there", |c| c.bytes_taken >= 5_000_000).await;
    agent.task.abort();
    let _ = agent.task.await;
    lab.county.release();
    let agent = start_agent(tls, &[gateway.address], &clinic);
    clinic.until(SOON, "the rest has come", Clinic::is_idle).await;
    lab.county.with(|county| {
        assert!(county_has(county, &uid, &film));
        // What was in the windows of the old connection is still written by it, or sent again by the new one.
        let twice = county.bytes_taken - film.len() as u64;
        assert!(twice < 4_000_000, "{twice} bytes came twice");
        assert!(county.commits.values().all(|n| *n == 1));
    });
    stop(agent).await;
}

#[tokio::test]
async fn a_chest_pain_passes_a_film_that_is_half_way_and_a_raise_reorders() {
    let mut lab = Lab::new(4);
    let gateway = lab.start_gateway(0);
    let (film, other, ecg) = (noise(1, 12_000_000), noise(2, 6_000_000), noise(3, 120_000));
    let mut clinic = Clinic::default();
    study(&mut clinic, "1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)]);
    let clinic = ClinicPorts::new(clinic);
    lab.county.hold(ObjectHash::of(&film), 4_000_000);
    let agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    lab.county.until(SOON, "the film is half way", |c| c.bytes_taken >= 4_000_000).await;

    let green = clinic.with(|c| study(c, "1.2.2", Class::Green, &[(ecg.clone(), Encoding::Identity)]));
    lab.county.until(SOON, "the ECG is there", |c| county_has(c, &green, &ecg)).await;
    let raised = clinic.with(|c| study(c, "1.2.3", Class::Screening, &[(other.clone(), Encoding::Identity)]));
    clinic.with(|c| c.raise(&raised, Class::Emergency));
    lab.county.until(SOON, "the raised study passes too", |c| county_has(c, &raised, &other)).await;
    lab.county.with(|c| assert_eq!(c.manifests[&(clinic_id(), raised.clone())].class, Class::Emergency));
    lab.county.release();
    clinic.until(SOON, "the film arrives as well", Clinic::is_idle).await;
    stop(agent).await;
}

#[tokio::test]
async fn a_bad_object_or_manifest_is_refused_with_its_code_and_stops_nothing_else() {
    let mut lab = Lab::new(5);
    let gateway = lab.start_gateway(0);
    let (good, bad, twice) = (noise(1, 50_000), noise(2, 50_000), noise(3, 1_000));
    let mut clinic = Clinic::default();
    let objects = [(bad.clone(), Encoding::Identity), (good.clone(), Encoding::Identity)];
    let mixed = study(&mut clinic, "1.2.1", Class::Routine, &objects);
    clinic.held.get_mut(&ObjectHash::of(&bad)).unwrap().coded[77] ^= 1;
    let lying = study(&mut clinic, "1.2.2", Class::Routine, &[(twice, Encoding::Identity)]);
    let manifest = &mut clinic.studies.get_mut(&lying).unwrap().manifest;
    manifest.objects.push(manifest.objects[0].clone());
    let clinic = ClinicPorts::new(clinic);
    let agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    clinic.until(SOON, "everything is answered", Clinic::is_idle).await;
    clinic.with(|c| {
        let refusal = &c.studies[&mixed].refused_objects[&ObjectHash::of(&bad)];
        assert_eq!(refusal.code, Code::RefusedDigest);
        assert!(c.studies[&mixed].receipted.contains(&ObjectHash::of(&good)));
        let refusal = c.studies[&lying].refused.as_ref().unwrap();
        assert_eq!(refusal.code, Code::RefusedManifest);
        assert!(refusal.reason.contains("named twice"), "{refusal}");
    });
    stop(agent).await;
}

#[tokio::test]
async fn certificates_that_are_wrong_are_refused_with_the_reason_at_the_clinic() {
    let mut lab = Lab::new(6);
    let mut foreign = Lab::new(7);
    let revoked = lab.pki.revoked_agent(CLINIC);
    let expired = lab.pki.expired_agent(CLINIC);
    let stranger = foreign.pki.agent(CLINIC);
    let gateway = lab.start_gateway(0);
    let clinic = ClinicPorts::new(Clinic::default());
    let of_agent = "certificate of this agent";
    let foreign_tls = foreign.tls_of(&stranger);
    let cases = [
        (lab.tls_of(&revoked), Code::CertificateRevoked, of_agent),
        (lab.tls_of(&expired), Code::CertificateExpired, of_agent),
        (lab.tls_of(&stranger), Code::CertificateUnknownCa, of_agent),
        (foreign_tls, Code::CertificateUnknownCa, "certificate of the gateway"),
        (without_certificate(&lab), Code::CertificateUnknownCa, of_agent),
    ];
    for (tls, code, field) in cases {
        let mut agent = start_agent(tls, &[gateway.address], &clinic);
        let (reason, of) = until_refused(&mut agent, code).await;
        assert_eq!(of, field, "{reason}");
        stop(agent).await;
    }
    lab.county.with(|county| assert!(county.online.is_empty() && county.manifests.is_empty()));
}

fn without_certificate(lab: &Lab) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(lab.pki.ca().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn a_revocation_cuts_the_live_connection_and_the_next_one() {
    let mut lab = Lab::new(8);
    let gateway = lab.start_gateway(0);
    let identity = lab.pki.agent(CLINIC);
    let serial = relay_certs::certificate::PeerIdentity::from_certificate(&identity.chain[0]).unwrap().serial;
    let clinic = ClinicPorts::new(Clinic::default());
    let mut agent = start_agent(lab.tls_of(&identity), &[gateway.address], &clinic);
    until(&mut agent.state, "up", |s| matches!(s, LinkState::Up { .. })).await;
    lab.pki.revoke(&identity.chain[0], relay_certs::authority::RevocationReason::KeyCompromise);
    gateway.handle.set_tls(&lab.server_tls()).unwrap();
    lab.revoked.send_replace(Arc::new(Revocations { serials: [serial].into(), list: lab.pki.crl() }));
    let (_, field) = until_refused(&mut agent, Code::CertificateRevoked).await;
    assert_eq!(field, "certificate of this agent");
    clinic.with(|c| study(c, "1.2.1", Class::Green, &[(noise(1, 1_000), Encoding::Identity)]));
    // The next attempt is refused by TLS itself, whose words come from the alert.
    let by_tls = |s: &LinkState| matches!(s, LinkState::Down { reason, .. } if reason.contains("alert") || reason.contains("crypto"));
    until(&mut agent.state, "refused by TLS", by_tls).await;
    lab.county.until(SOON, "the clinic is gone", |c| c.online.is_empty()).await;
    lab.county.with(|county| assert!(county.manifests.is_empty()));
    stop(agent).await;
}

#[tokio::test]
async fn a_gateway_whose_key_is_revoked_is_left_at_once_and_not_trusted_again() {
    let mut lab = Lab::new(81);
    let gateway = lab.start_gateway(0);
    let device = Arc::new(relay_agent::trust::Device::of(lab.pki.agent(CLINIC)).unwrap());
    let clinic = ClinicPorts::new(Clinic::default()).trusting(&device);
    let mut agent = start_trusting(device.link_trust(), &[gateway.address], &clinic);
    until(&mut agent.state, "up", |s| matches!(s, LinkState::Up { .. })).await;
    lab.pki.revoke(&lab.gateway.chain[0].clone(), relay_certs::authority::RevocationReason::KeyCompromise);
    // Told on the link: no report comes, and the agent is not started anew.
    lab.revoked.send_replace(Arc::new(Revocations { list: lab.pki.crl(), ..Revocations::default() }));
    let (reason, field) = until_refused(&mut agent, Code::CertificateRevoked).await;
    assert_eq!(field, "certificate of the gateway", "{reason}");
    clinic.with(|c| study(c, "1.2.1", Class::Green, &[(noise(1, 1_000), Encoding::Identity)]));
    let by_tls = |s: &LinkState| {
        matches!(s, LinkState::Down { reason, refusal: Some(r), .. }
        if r.code == Code::CertificateRevoked && !reason.contains("has revoked"))
    };
    until(&mut agent.state, "refused by TLS", by_tls).await;
    lab.county.with(|county| assert!(county.manifests.is_empty(), "nothing is told to a stolen key"));
    stop(agent).await;
}

#[tokio::test]
async fn the_revocation_list_is_told_after_the_hello_and_whenever_it_changes_and_never_goes_back() {
    let mut lab = Lab::new(82);
    let old = lab.pki.crl();
    lab.revoked.send_replace(Arc::new(Revocations { list: old.clone(), ..Revocations::default() }));
    let gateway = lab.start_gateway(0);
    let device = Arc::new(relay_agent::trust::Device::of(lab.pki.agent(CLINIC)).unwrap());
    let clinic = ClinicPorts::new(Clinic::default()).trusting(&device);
    let agent = start_trusting(device.link_trust(), &[gateway.address], &clinic);
    clinic.until(SOON, "the list in force is told", |c| c.revocations.as_ref() == Some(&old)).await;
    let first = device.revocations().unwrap().number;
    let _ = lab.pki.revoked_agent("another-clinic");
    let new = lab.pki.crl();
    for told in [&new, &old] {
        lab.revoked.send_replace(Arc::new(Revocations { list: told.clone(), ..Revocations::default() }));
        clinic.until(SOON, "the list is told", |c| c.revocations.as_ref() == Some(told)).await;
    }
    assert!(device.revocations().unwrap().number > first);
    stop(agent).await;
}

#[tokio::test]
async fn the_standby_serves_when_the_first_gateway_is_away() {
    let mut lab = Lab::new(9);
    let nobody = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let standby = lab.start_gateway(0);
    let film = noise(1, 100_000);
    let mut clinic = Clinic::default();
    study(&mut clinic, "1.2.1", Class::Routine, &[(film, Encoding::Identity)]);
    let clinic = ClinicPorts::new(clinic);
    let gateways = [nobody.local_addr().unwrap(), standby.address];
    let mut agent = start_agent(lab.agent_tls(), &gateways, &clinic);
    // Two rounds of attempts at the first gateway come before.
    clinic.until(60, "the study is receipted by the standby", Clinic::is_idle).await;
    let up = until(&mut agent.state, "up", |s| matches!(s, LinkState::Up { .. })).await;
    assert!(matches!(up, LinkState::Up { gateway, .. } if gateway == "gateway 1"));
    stop(agent).await;
}

#[tokio::test]
async fn a_gateway_that_shuts_down_says_so_and_the_agent_comes_back() {
    let mut lab = Lab::new(10);
    let gateway = lab.start_gateway(0);
    let clinic = ClinicPorts::new(Clinic::default());
    let mut agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    until(&mut agent.state, "up", |s| matches!(s, LinkState::Up { .. })).await;
    let port = gateway.shut_down().await;
    until_refused(&mut agent, Code::ShuttingDown).await;
    let again = lab.start_gateway(port);
    until(&mut agent.state, "up again", |s| matches!(s, LinkState::Up { .. })).await;
    stop(agent).await;
    again.shut_down().await;
}

/// A connection that speaks bytes of its own.
async fn raw(lab: &mut Lab, address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(lab.agent_tls()).unwrap();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}

async fn closed_with(connection: &quinn::Connection) -> Option<Code> {
    match tokio::time::timeout(Duration::from_secs(SOON), connection.closed()).await.unwrap() {
        quinn::ConnectionError::ApplicationClosed(close) => code_of_close(close.error_code.into_inner()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_agent_of_a_foreign_version_is_told_so() {
    let mut lab = Lab::new(11);
    let gateway = lab.start_gateway(0);
    let (_endpoint, connection) = raw(&mut lab, gateway.address).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let (version_min, version_max) = (200, 201);
    let hello =
        Hello { version_min, version_max, capabilities: vec![], software: "new".into(), now: UtcMs(0) };
    send.write_all(&Frame::Hello(hello).encode().unwrap()).await.unwrap();
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    let bye = loop {
        if let Some(frame) = reader.next_frame() {
            break frame.unwrap();
        }
        let chunk = recv.read_chunk(1_000, true).await.unwrap().unwrap();
        reader.push(&chunk.bytes);
    };
    let Frame::Bye(bye) = bye else { panic!("{bye:?}") };
    let refusal = bye.refusal.unwrap();
    assert_eq!(refusal.code, Code::VersionUnsupported);
    assert!(refusal.reason.contains("200 to 201"), "{refusal}");
    drop(recv);
    drop(send);
    assert_eq!(closed_with(&connection).await, Some(Code::VersionUnsupported));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection_before_its_bytes_come() {
    let mut lab = Lab::new(12);
    let gateway = lab.start_gateway(0);
    let (_endpoint, connection) = raw(&mut lab, gateway.address).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let length = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    send.write_all(&length.to_be_bytes()).await.unwrap();
    assert_eq!(closed_with(&connection).await, Some(Code::FrameTooLarge));
    assert_eq!(close_code(None), 256);
}

#[tokio::test]
async fn a_restored_county_gets_back_what_its_backup_lacks() {
    let mut lab = Lab::new(13);
    let gateway = lab.start_gateway(0);
    let (old, new) = (noise(1, 200_000), noise(2, 200_000));
    let clinic = ClinicPorts::new(Clinic::default());
    let agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    let first = clinic.with(|c| study(c, "1.2.1", Class::Routine, &[(old.clone(), Encoding::Identity)]));
    clinic.until(SOON, "the first study is safe", Clinic::is_idle).await;
    let backup = lab.county.with(|c| c.clone());
    let second = clinic.with(|c| study(c, "1.2.2", Class::Routine, &[(new.clone(), Encoding::Identity)]));
    clinic.with(|c| c.add_note("note-1"));
    clinic.until(SOON, "the second study and the note are safe", Clinic::is_idle).await;

    let port = gateway.crash().await;
    lab.county.with(|c| c.restore(backup, "second life".into()));
    let again = lab.start_gateway(port);
    lab.county.until(SOON, "the second study comes back", |c| county_has(c, &second, &new)).await;
    lab.county.until(SOON, "the note comes back", |c| c.notes.len() == 1).await;
    clinic.until(SOON, "everything is confirmed", Clinic::is_idle).await;
    lab.county.with(|county| {
        assert!(county_has(county, &first, &old));
        assert!(county.commits.values().all(|n| *n == 1), "what the backup held was not sent again");
    });
    stop(agent).await;
    again.shut_down().await;
}

#[tokio::test]
async fn an_object_that_the_county_has_lost_is_asked_for_and_sent_again() {
    let mut lab = Lab::new(14);
    let gateway = lab.start_gateway(0);
    let film = noise(1, 200_000);
    let mut clinic = Clinic::default();
    let uid = study(&mut clinic, "1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)]);
    let clinic = ClinicPorts::new(clinic);
    let tls = lab.agent_tls();
    let agent = start_agent(Arc::clone(&tls), &[gateway.address], &clinic);
    clinic.until(SOON, "the study is safe", Clinic::is_idle).await;
    stop(agent).await;
    lab.county.with(|c| c.rot(&(clinic_id(), uid.clone(), ObjectHash::of(&film))));
    let agent = start_agent(tls, &[gateway.address], &clinic);
    lab.county.until(SOON, "the film is there again", |c| county_has(c, &uid, &film)).await;
    lab.county.until(SOON, "nothing is damaged", |c| c.damaged.is_empty()).await;
    stop(agent).await;
}

#[tokio::test]
async fn a_certificate_that_runs_out_ends_the_live_connection() {
    let mut lab = Lab::new(15);
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    lab.clock = Arc::<ManualClock>::clone(&clock);
    let gateway = lab.start_gateway(0);
    let clinic = ClinicPorts::new(Clinic::default());
    let mut agent = start_agent(lab.agent_tls(), &[gateway.address], &clinic);
    until(&mut agent.state, "up", |s| matches!(s, LinkState::Up { .. })).await;
    clock.advance_ms(100 * 366 * DAY_MS);
    let (reason, field) = until_refused(&mut agent, Code::CertificateExpired).await;
    assert!(field.contains("certificate"), "{field}: {reason}");
    stop(agent).await;
}

#[tokio::test]
async fn streams_that_stall_keep_no_other_study_waiting() {
    let mut lab = Lab::new(16);
    let gateway = lab.start_gateway(0);
    let (_endpoint, connection) = raw(&mut lab, gateway.address).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let mut silent = Clinic::default();
    let objects: Vec<(Vec<u8>, Encoding)> = (0..64).map(|n| (noise(n, 1_000), Encoding::Identity)).collect();
    let uid = study(&mut silent, "1.2.9", Class::Routine, &objects);
    let manifest = silent.studies[&uid].manifest.clone();
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        capabilities: vec![],
        software: "silent".into(),
        now: UtcMs(0),
    };
    send.write_all(&Frame::Hello(hello).encode().unwrap()).await.unwrap();
    lab.county.until(SOON, "it is greeted", |c| !c.online.is_empty()).await;
    send.write_all(&Frame::Manifest(Box::new(manifest.clone())).encode().unwrap()).await.unwrap();
    let mut streams = Vec::new();
    for object in &manifest.objects {
        let data = ObjectData { study: uid.clone(), object: object.hash, offset: 0, length: 1_000 };
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&Frame::ObjectData(data).encode().unwrap()).await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        streams.push(stream);
    }
    // More than eight write only when others give their turns back.
    lab.county.until(SOON, "stalled streams give way", |c| c.bytes_taken >= 9).await;
    drop(streams);
}

async fn spool(dir: &std::path::Path) -> Spool {
    let options = SpoolOptions {
        dir: dir.join("spool"),
        clinic: clinic_id(),
        limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    Spool::open(options, Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap()
}

/// Puts a computed film into custody; gives its bytes.
async fn put_film(spool: &Spool, seed: u64) -> (StudyUid, Vec<u8>) {
    let request = phantom::study(seed, 1, 0.1, SystemClock.now()).films.remove(0);
    let bytes = phantom::film(&request).unwrap().file;
    let origin = Origin {
        source: "DR".into(),
        name: None,
        class: Class::Routine,
        kind: None,
        quiet: false,
        open: false,
    };
    let admitted = spool.intake(bytes.clone()).admit(&origin).await.unwrap();
    (admitted.study, bytes)
}

/// Encoding and coded length in the manifest that the county holds.
fn form_at(county: &County, uid: &StudyUid) -> (Encoding, u64) {
    let coded = &county.manifests[&(clinic_id(), uid.clone())].objects[0].coded;
    (coded.encoding, coded.length)
}

#[tokio::test]
async fn a_county_without_the_film_coder_gets_another_form_and_one_with_it_the_film() {
    let mut lab = Lab::new(17);
    let dir = tempfile::tempdir().unwrap();
    let (spool, inbox) = (spool(dir.path()).await, ClinicPorts::new(Clinic::default()));
    // Coded as a film before the county was ever asked.
    let (early, early_bytes) = put_film(&spool, 1).await;
    assert_eq!(spool.manifest(&early).await.unwrap().objects[0].coded.encoding, Encoding::Film);
    let old = lab.start_gateway_with(0, |config| config.capabilities.clear());
    let tls = LinkTrust::fixed(lab.agent_tls());
    let agent = start_over(tls.clone(), &[old.address], Arc::new(spool.clone()), &inbox);
    lab.county.until(SOON, "the film arrives", |c| county_has(c, &early, &early_bytes)).await;
    let (late, late_bytes) = put_film(&spool, 2).await;
    lab.county.until(SOON, "another one arrives", |c| county_has(c, &late, &late_bytes)).await;
    let by_zstd = lab.county.with(|c| {
        let taken = c.bytes_taken;
        assert_eq!((form_at(c, &early).0, form_at(c, &late).0), (Encoding::Zstd, Encoding::Zstd));
        assert_eq!(taken, form_at(c, &early).1 + form_at(c, &late).1, "no film was sent in vain");
        form_at(c, &late).1
    });
    let port = old.shut_down().await;
    let new = lab.start_gateway(port);
    let mut state = agent.state.clone();
    until(&mut state, "up again", |s| matches!(s, LinkState::Up { .. })).await;
    let (last, last_bytes) = put_film(&spool, 3).await;
    lab.county.until(SOON, "the last one arrives", |c| county_has(c, &last, &last_bytes)).await;
    lab.county.with(|c| {
        let (encoding, length) = form_at(c, &last);
        assert!(encoding == Encoding::Film && length < by_zstd * 9 / 10, "{encoding:?} {length} {by_zstd}");
    });
    stop(agent).await;
    new.shut_down().await;
}
