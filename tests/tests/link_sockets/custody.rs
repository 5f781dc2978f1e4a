//! Nothing is lost or doubled by crashes, restarts, restores, standbys and slow streams; urgency comes first.

use crate::lab::*;
use crate::strangers::raw;
use relay_agent::courier::ports::LinkState;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::ObjectHash;
use relay_core::letter::LetterKind;
use relay_core::link::frame::{Frame, Hello, ObjectData};
use relay_core::study::{Class, Encoding};
use relay_tests::sim::clinic::{Clinic, noise};
use relay_tests::sim::county::County;
use relay_tests::sim::ports::ClinicPorts;
use std::net::Ipv4Addr;
use std::sync::Arc;

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
