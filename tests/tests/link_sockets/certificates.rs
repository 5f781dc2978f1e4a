//! Who may come in, for how long, and what a revocation does.

use crate::lab::*;
use relay_agent::courier::ports::LinkState;
use relay_core::clock::{Clock as _, DAY_MS, ManualClock, SystemClock};
use relay_core::codes::Code;
use relay_core::link::ALPN;
use relay_core::study::{Class, Encoding};
use relay_gateway::link::Revocations;
use relay_tests::sim::clinic::{Clinic, noise};
use relay_tests::sim::ports::ClinicPorts;
use std::sync::Arc;

#[tokio::test]
async fn certificates_that_are_wrong_are_refused_with_the_reason_at_the_clinic() {
    let mut lab = Lab::new(6);
    let mut foreign = Lab::new(7);
    let revoked = lab.pki.revoked_agent(CLINIC);
    let expired = lab.pki.expired_agent(CLINIC);
    let stranger = foreign.pki.agent(CLINIC);
    let gateway = lab.start_gateway(0);
    let (clinic, uid, ecg) = waiting_clinic();
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
    arrives(&mut lab, gateway.address, (clinic, uid, ecg)).await;
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
    let (log, _listening) = Log::listen();
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
    assert!(log.says(&["connection cut", CLINIC, "the certificate is revoked"]), "the county's own word");
    let ecg = noise(1, 1_000);
    let uid = clinic.with(|c| study(c, "1.2.1", Class::Green, &[(ecg.clone(), Encoding::Identity)]));
    // The next attempt is refused by TLS itself, whose words come from the alert.
    let by_tls = |s: &LinkState| matches!(s, LinkState::Down { reason, .. } if reason.contains("alert") || reason.contains("crypto"));
    until(&mut agent.state, "refused by TLS", by_tls).await;
    lab.county.until(SOON, "the clinic is gone", |c| c.online.is_empty()).await;
    lab.county.with(|county| assert!(county.manifests.is_empty()));
    stop(agent).await;
    // With a new certificate, what was kept goes.
    arrives(&mut lab, gateway.address, (clinic, uid, ecg)).await;
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
