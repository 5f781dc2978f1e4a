use std::sync::Arc;

use super::*;
use crate::authority::RevocationReason;
use crate::testing::TestCounty;
use relay_core::clock::{Clock as _, SystemClock, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::Sha256;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

const ALPN: &[&[u8]] = &[b"relay/1"];

/// TLS reads the system's clock, so these certificates are valid around it.
fn now() -> UtcMs {
    SystemClock.now()
}

struct Outcome {
    client: Result<(), rustls::Error>,
    server: Result<Option<PeerIdentity>, rustls::Error>,
    resumed: bool,
}

/// Carries bytes between the two until both are done or one has failed, then one byte of application data each way.
fn handshake(client: ClientConfig, server: ServerConfig, name: &str) -> Outcome {
    handshake_shared(Arc::new(client), Arc::new(server), name)
}

fn handshake_shared(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Outcome {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let (mut client_result, mut server_result) = (Ok(()), Ok(()));
    for _ in 0..20 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |rest| server.read_tls(rest));
        server_result = server_result.and(server.process_new_packets().map(|_| ()));
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |rest| client.read_tls(rest));
        client_result = client_result.and(client.process_new_packets().map(|_| ()));
    }
    let identity = server
        .peer_certificates()
        .and_then(|chain| PeerIdentity::from_certificate(chain.first()?).ok())
        .filter(|_| server_result.is_ok());
    let resumed = server.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    Outcome { client: client_result, server: server_result.map(|()| identity), resumed }
}

fn feed(wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    let mut rest = wire;
    while !rest.is_empty() && read(&mut rest).unwrap() > 0 {}
}

struct Scene {
    dir: tempfile::TempDir,
    county: TestCounty,
    gateway: TlsIdentity,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut county = TestCounty::new(dir.path(), 11, now());
        let gateway = county.gateway();
        Self { dir, county, gateway }
    }

    fn server(&self) -> ServerConfig {
        gateway_server_config(&self.gateway, self.county.ca(), &self.county.crl(), ALPN).unwrap()
    }

    fn client(&self, agent: &TlsIdentity) -> ClientConfig {
        agent_client_config(agent, self.county.ca(), None, ALPN).unwrap()
    }

    fn watch(&self) -> RevocationWatch {
        RevocationWatch::open(&self.dir.path().join("crl.der"), self.county.ca().clone()).unwrap()
    }
}

fn server_code(outcome: &Outcome) -> Option<Code> {
    outcome.server.as_ref().err().and_then(refusal_code)
}

#[test]
fn a_good_agent_gets_in_and_is_known_by_its_certificate_alone() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let outcome = handshake(scene.client(&agent), scene.server(), "localhost");
    assert_eq!(outcome.client, Ok(()));
    let identity = outcome.server.unwrap().unwrap();
    assert_eq!(identity.clinic.as_str(), "shilipu");
    let outcome = handshake(scene.client(&agent), scene.server(), "127.0.0.1");
    assert!(outcome.server.unwrap().is_some());
}

#[test]
fn revoked_expired_foreign_and_wrong_kind_of_certificate_are_refused_by_code() {
    let mut scene = Scene::new();
    let revoked = scene.county.revoked_agent("shilipu");
    let expired = scene.county.expired_agent("shilipu");
    let foreign_dir = tempfile::tempdir().unwrap();
    let foreign = TestCounty::new(foreign_dir.path(), 12, now()).agent("shilipu");
    let gateway_as_agent = scene.gateway.clone();
    let doctor = scene.county.doctor("d1", crate::certificate::DoctorRole::Reader);
    let doctor_as_agent = TlsIdentity::from(doctor.identity);
    let cases = [
        ("revoked", revoked, Code::CertificateRevoked),
        ("expired", expired, Code::CertificateExpired),
        ("foreign", foreign, Code::CertificateUnknownCa),
        ("gateway", gateway_as_agent, Code::CertificateUnknownCa),
        ("doctor", doctor_as_agent, Code::CertificateUnknownCa),
    ];
    for (what, agent, code) in cases {
        let outcome = handshake(scene.client(&agent), scene.server(), "localhost");
        assert_eq!(server_code(&outcome), Some(code), "{what}: {:?}", outcome.server);
        // The other end is told too.
        let told = outcome.client.as_ref().err().and_then(refusal_code);
        assert!(told.is_some(), "{what}: {:?}", outcome.client);
    }
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    let scene = Scene::new();
    let mut client = web_client_config(scene.county.ca(), ALPN).unwrap();
    client.enable_early_data = false;
    let outcome = handshake(client, scene.server(), "localhost");
    assert_eq!(server_code(&outcome), Some(Code::CertificateUnknownCa), "{:?}", outcome.server);
}

#[test]
fn a_session_is_never_resumed_so_revocation_holds() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    // An agent that would resume if it could.
    let mut client = scene.client(&agent);
    client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    client.enable_early_data = true;
    let (client, server) = (Arc::new(client), Arc::new(scene.server()));
    assert_eq!(server.send_tls13_tickets, 0);
    assert_eq!(server.max_early_data_size, 0);
    assert!(!server.session_storage.can_cache());
    for _ in 0..3 {
        let outcome = handshake_shared(Arc::clone(&client), Arc::clone(&server), "localhost");
        assert!(outcome.server.unwrap().is_some() && !outcome.resumed);
    }
    scene.county.revoke(&agent.chain[0], RevocationReason::KeyCompromise);
    let outcome = handshake_shared(client, Arc::new(scene.server()), "localhost");
    assert_eq!(server_code(&outcome), Some(Code::CertificateRevoked));
}

#[test]
fn an_agent_refuses_a_foreign_a_wrongly_named_and_a_revoked_gateway() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let foreign_dir = tempfile::tempdir().unwrap();
    let mut foreign = TestCounty::new(foreign_dir.path(), 13, now());
    let gateway = foreign.gateway();
    let server = gateway_server_config(&gateway, scene.county.ca(), &scene.county.crl(), ALPN).unwrap();
    let outcome = handshake(scene.client(&agent), server, "localhost");
    assert_eq!(outcome.client.as_ref().err().and_then(refusal_code), Some(Code::CertificateUnknownCa));

    let outcome = handshake(scene.client(&agent), scene.server(), "elsewhere.test");
    assert!(outcome.client.is_err());

    scene.county.revoke(&scene.gateway.chain[0], RevocationReason::KeyCompromise);
    let crl = scene.county.crl();
    let client = agent_client_config(&agent, scene.county.ca(), Some(&crl), ALPN).unwrap();
    let outcome = handshake(client, scene.server(), "localhost");
    assert_eq!(outcome.client.as_ref().err().and_then(refusal_code), Some(Code::CertificateRevoked));
}

#[test]
fn another_protocol_version_is_refused_as_such() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let client = agent_client_config(&agent, scene.county.ca(), None, &[b"relay/99"]).unwrap();
    let outcome = handshake(client, scene.server(), "localhost");
    assert_eq!(server_code(&outcome), Some(Code::VersionUnsupported));
    assert_eq!(outcome.client.as_ref().err().and_then(refusal_code), Some(Code::VersionUnsupported));
}

#[test]
fn enrolment_trusts_the_pinned_ca_and_nothing_else() {
    let scene = Scene::new();
    let server = || viewer_server_config(&scene.gateway, &[b"http/1.1"]).unwrap();
    let client = |pin| enrolment_client_config(pin, &[b"http/1.1"]).unwrap();
    let pin = scene.county.authority.ca_fingerprint();
    assert_eq!(handshake(client(pin), server(), "localhost").client, Ok(()));
    assert!(handshake(client(pin), server(), "elsewhere.test").client.is_err());
    let outcome = handshake(client(Sha256::of(b"another")), server(), "localhost");
    assert_eq!(outcome.client.err().as_ref().and_then(refusal_code), Some(Code::CertificateUnknownCa));

    // A thief who shows the true CA but whose leaf it did not sign.
    let dir = tempfile::tempdir().unwrap();
    let mut thief = TestCounty::new(dir.path(), 14, now()).gateway();
    thief.chain[1] = scene.county.ca().clone();
    let outcome = handshake(client(pin), viewer_server_config(&thief, &[b"http/1.1"]).unwrap(), "localhost");
    assert!(outcome.client.is_err());
}

#[test]
fn the_watch_names_what_was_newly_revoked_and_survives_damage() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let serial = PeerIdentity::from_certificate(&agent.chain[0]).unwrap().serial;
    let mut watch = scene.watch();
    assert!(!watch.is_revoked(&serial));
    assert_eq!(watch.poll().unwrap(), None);

    scene.county.revoke(&agent.chain[0], RevocationReason::KeyCompromise);
    assert_eq!(watch.poll().unwrap(), Some(vec![serial.clone()]));
    assert!(watch.is_revoked(&serial));
    assert_eq!(watch.poll().unwrap(), None);

    // A renewal revokes nobody anew.
    scene.county.authority.renew_crl(true, now()).unwrap();
    assert_eq!(watch.poll().unwrap(), Some(vec![]));

    let path = scene.dir.path().join("crl.der");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    crate::files::write_public(&path, &bad).unwrap();
    assert!(matches!(watch.poll(), Err(CrlError::NotSignedByCa)));
    assert!(watch.is_revoked(&serial));
    crate::files::write_public(&path, &good).unwrap();
    assert_eq!(watch.poll().unwrap(), None);
}

#[test]
fn a_revocation_list_is_never_rolled_back_and_must_be_the_countys() {
    let mut scene = Scene::new();
    let old = scene.county.crl();
    let agent = scene.county.revoked_agent("shilipu");
    let mut store = scene.county.trust();
    assert!(matches!(store.update_crl(&old), Err(CrlError::RolledBack { offered: 1, in_force: 2 })));
    let serial = PeerIdentity::from_certificate(&agent.chain[0]).unwrap().serial;
    assert!(store.revocations().unwrap().entry(&serial).is_some());
    let dir = tempfile::tempdir().unwrap();
    let foreign = TestCounty::new(dir.path(), 15, now()).crl();
    assert!(matches!(store.update_crl(&foreign), Err(CrlError::NotSignedByCa)));
    for cut in 0..old.len() {
        assert!(RevocationList::verify(&old[..cut], scene.county.ca()).is_err());
    }
}

#[test]
fn a_chain_with_another_key_is_refused_when_loaded() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let (chain, key) = (scene.dir.path().join("a.pem"), scene.dir.path().join("a.key"));
    let pem: String =
        agent.chain.iter().map(|c| crate::authority::to_pem("CERTIFICATE", c.as_ref())).collect();
    crate::files::write_public(&chain, pem.as_bytes()).unwrap();
    agent.key.save(&key).unwrap();
    assert_eq!(TlsIdentity::load(&chain, &key).unwrap().chain, agent.chain);
    scene.gateway.key.save(&key).unwrap();
    assert!(matches!(TlsIdentity::load(&chain, &key), Err(TlsError::Chain { .. })));
}

#[test]
fn a_certificate_that_names_no_clinic_is_no_identity() {
    let scene = Scene::new();
    let refused = PeerIdentity::from_certificate(&scene.gateway.chain[0]);
    assert_eq!(refused, Err(CertificateError::NoClinic { found: 0 }));
    assert!(PeerIdentity::from_certificate(&b"x".to_vec().into()).is_err());
}
