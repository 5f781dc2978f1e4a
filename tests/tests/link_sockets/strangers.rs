//! Peers, frames, names and objects that are wrong: named at both ends, and nothing else is lost.

use crate::lab::*;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::ObjectHash;
use relay_core::limits::MAX_FRAME_BYTES;
use relay_core::link::frame::{Frame, FrameReader, Hello};
use relay_core::link::{close_code, code_of_close};
use relay_core::study::{Class, Encoding};
use relay_tests::sim::clinic::{Clinic, noise};
use relay_tests::sim::ports::ClinicPorts;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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

/// A connection that speaks bytes of its own.
pub(crate) async fn raw(lab: &mut Lab, address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
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
    let (log, _listening) = Log::listen();
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
    assert!(log.says(&[CLINIC, "VERSION_UNSUPPORTED", "200 to 201"]), "the county's own word");
    arrives(&mut lab, gateway.address, waiting_clinic()).await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection_before_its_bytes_come() {
    let (log, _listening) = Log::listen();
    let mut lab = Lab::new(12);
    let gateway = lab.start_gateway(0);
    let (_endpoint, connection) = raw(&mut lab, gateway.address).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let length = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    send.write_all(&length.to_be_bytes()).await.unwrap();
    assert_eq!(closed_with(&connection).await, Some(Code::FrameTooLarge));
    assert!(log.says(&[CLINIC, "FRAME_TOO_LARGE"]), "the county's own word");
    arrives(&mut lab, gateway.address, waiting_clinic()).await;
    assert_eq!(close_code(None), 256);
}

#[tokio::test]
async fn a_study_named_by_a_path_is_no_frame_and_reaches_no_disk() {
    let (log, _listening) = Log::listen();
    let mut lab = Lab::new(14);
    let gateway = lab.start_gateway(0);
    let (_endpoint, connection) = raw(&mut lab, gateway.address).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        capabilities: vec![],
        software: "path".into(),
        now: UtcMs(0),
    };
    send.write_all(&Frame::Hello(hello).encode().unwrap()).await.unwrap();
    let mut clinic = Clinic::default();
    let uid = study(&mut clinic, "1.2.840.1", Class::Green, &[(noise(3, 100), Encoding::Identity)]);
    let manifest = clinic.studies[&uid].manifest.clone();
    let mut bytes = Frame::Manifest(Box::new(manifest)).encode().unwrap();
    let at = bytes.windows(9).position(|w| w == b"1.2.840.1").unwrap();
    bytes[at..at + 9].copy_from_slice(b"../../etc");
    send.write_all(&bytes).await.unwrap();
    assert_eq!(closed_with(&connection).await, Some(Code::FrameMalformed));
    assert!(log.says(&[CLINIC, "FRAME_MALFORMED", "Manifest.study"]), "the county's own word");
    lab.county.with(|county| assert!(county.manifests.is_empty()));
    arrives(&mut lab, gateway.address, waiting_clinic()).await;
}
