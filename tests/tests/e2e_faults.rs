//! What must not pass: changed bytes on either disk, certificates of strangers, clocks that are off.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::{DAY, data_set, exam, exam_by, town};
use relay_certs::authority::{Authority, Validity};
use relay_core::clock::{Clock as _, DAY_MS, HOUR_MS, SystemClock};
use relay_core::ids::ClinicId;
use relay_core::study::Class;
use relay_tests::demo::Town;
use relay_tests::lab::clinic::{self, Clinic};
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::wait::{Look, until};
use std::path::{Path, PathBuf};

/// Changes one byte of a file, in the middle of a needle when one is given.
fn patch(path: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = if needle.is_empty() {
        bytes.len() / 2
    } else {
        bytes.windows(needle.len()).position(|w| w == needle).expect("the needle is there") + needle.len() / 2
    };
    bytes[at] ^= 1;
    common::put(path, &bytes);
}

/// The file below `dir` whose name is this hash.
fn blob(dir: &Path, hash: &str) -> PathBuf {
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name().to_string_lossy() == hash {
                return entry.path();
            }
        }
    }
    panic!("no blob {hash}");
}

/// An ECG-sized day: one hand, read, audited, back at the clinic.
async fn read_hand(town: &Town, seed: u64) -> String {
    let hand = exam(seed, 1, 0.1);
    let answers = town.clinics[0].store(clinic::AE_EMERGENCY, hand.films.clone()).await.unwrap();
    assert_eq!(answers[0].status, 0, "{answers:?}");
    common::safe(town, 0, &hand.uid).await;
    let (author, reviewer) = common::radiologists(town).await;
    let study = author.whole_study("liuhe", &hand.uid).await.unwrap();
    let signed = author.report(&study, "未见骨折").await.unwrap();
    assert!(signed.status.is_success(), "{signed:?}");
    let audited = reviewer.audit(&study).await.unwrap();
    assert!(audited.status.is_success(), "{audited:?}");
    common::reports(town, 0, &hand.uid, 2).await;
    hand.uid
}

#[tokio::test]
async fn a_byte_changed_on_the_clinics_disk_is_caught_and_the_part_is_named() {
    let (_dir, town) = town().await;
    let uid = read_hand(&town, 61).await;
    let page = town.clinics[0].overview().await.unwrap();
    let staff = &town.told.agents[0].staff[0];
    let api = town.clinics[0].api().unwrap();
    let mut mine: Vec<_> = page.reports.into_iter().filter(|r| r.study.as_str() == uid).collect();
    mine.sort_by_key(|r| r.version);
    for (report, needle, part) in
        [(&mine[0], b"%PDF-".as_slice(), "report.pdf"), (&mine[1], b"\"resourceType\"", "report.json")]
    {
        let path = blob(&town.clinics[0].home().join("spool"), &report.package.to_hex());
        patch(&path, needle);
        let refused = clinic::open_report(&api, report.letter.as_str(), &staff.name, &staff.pin).await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("REPORT_INVALID") && words.contains(part), "{words}");
    }
    let page = town.clinics[0].overview().await.unwrap();
    assert!(
        page.reports.iter().all(|r| r.fault.as_ref().is_some_and(|f| f.contains("请勿使用"))),
        "{:?}",
        page.reports
    );
}

#[tokio::test]
async fn a_byte_changed_on_the_countys_disk_is_caught_and_the_object_is_named() {
    let (_dir, town) = town().await;
    let uid = read_hand(&town, 62).await;
    let doctor = Doctor::log_in(&town.county, town.login("zhao").unwrap()).await.unwrap();
    let study = doctor.study("liuhe", &uid).await.unwrap();
    let hash = study["objects"][0]["hash"].as_str().unwrap().to_owned();
    patch(&blob(town.county.home(), &hash), b"");
    let proof = town.county.gateway(&["verify-store", "--json"], "").await.unwrap_err().to_string();
    assert!(proof.contains(&hash), "{proof}");
    let to = town.county.home().join("out").display().to_string();
    let refused =
        town.county.gateway(&["export-study", &uid, "--to", &to], "").await.unwrap_err().to_string();
    assert!(refused.contains(&hash) && refused.contains("damaged"), "{refused}");
    town.county.gateway(&["audit", "verify"], "").await.unwrap();
}

/// Waits until the line is down for a reason that `names` recognises; gives the reason.
async fn down(clinic: &Clinic, names: impl Fn(&str) -> bool) -> String {
    until("the line to be refused", DAY, async || {
        let link = clinic.overview().await?.link;
        let reason = format!(
            "{} {}",
            link.reason.clone().unwrap_or_default(),
            link.reason_zh.clone().unwrap_or_default()
        );
        Ok(if !link.up && names(&reason) { Look::There(reason) } else { Look::NotYet(format!("{link:?}")) })
    })
    .await
    .unwrap()
}

async fn up(clinic: &Clinic) {
    until("the line to be up", DAY, async || {
        let link = clinic.overview().await?.link;
        Ok(if link.up { Look::There(()) } else { Look::NotYet(format!("{link:?}")) })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_revoked_clinic_is_cut_off_at_once_and_keeps_its_studies() {
    let (_dir, mut town) = town().await;
    up(&town.clinics[1]).await;
    town.county.certs(&["revoke", "--clinic", "shiqiao", "--reason", "key_compromise"], "").await.unwrap();
    down(&town.clinics[1], |reason| reason.contains("CERTIFICATE_REVOKED")).await;
    let hand = exam(71, 1, 0.1);
    let answers = town.clinics[1].store("DR-01", hand.films.clone()).await.unwrap();
    assert_eq!(answers[0].status, 0, "{answers:?}");
    // Neither a new connection nor a new process helps.
    town.clinics[1].stop().await.unwrap();
    town.clinics[1].start().await.unwrap();
    down(&town.clinics[1], |reason| reason.contains("CERTIFICATE_REVOKED")).await;
    let page = town.clinics[1].overview().await.unwrap();
    assert_eq!((page.studies.len(), page.studies[0].receipted), (1, 0), "kept here, not at the county");
    up(&town.clinics[0]).await;
}

#[tokio::test]
async fn a_certificate_of_another_county_or_of_yesterday_is_refused_by_name() {
    let (dir, mut town) = town().await;
    let agent = &mut town.clinics[0];
    agent.stop().await.unwrap();
    let identity = agent.home().join("identity");
    let (key, chain) = (identity.join("agent.key"), identity.join("agent.pem"));
    let whole = std::fs::read(&chain).unwrap();
    let now = SystemClock.now();
    let mut rng = rand::rng();
    let authority = Authority::open(&town.county.home().join("ca")).unwrap();
    let stranger =
        Authority::create(&dir.path().join("stranger"), "邻县", Validity::days(now, 30), now, &mut rng)
            .unwrap();
    let clinic = ClinicId::parse("liuhe").unwrap();
    let old = Validity { not_before: now.plus_ms(-2 * DAY_MS), not_after: now.plus_ms(-DAY_MS) };
    let refusals = [
        (&authority, old, "CERTIFICATE_EXPIRED", "expired"),
        (&stranger, Validity::days(now, 1), "CERTIFICATE_UNKNOWN_CA", "UnknownIssuer"),
    ];
    for (authority, validity, code, word) in refusals {
        let device = relay_certs::keys::PrivateKey::load(&key).unwrap();
        let request = relay_certs::enrol::AgentRequest::for_key(&clinic, device).unwrap();
        let issued = authority.issue_agent(&clinic, &request.csr_der, validity, now, &mut rng).unwrap();
        // The stranger's leaf, and our CA behind it, so that the agent still trusts the county.
        let ours = String::from_utf8(whole.clone()).unwrap();
        let ca = ours.rfind("-----BEGIN").map(|at| &ours[at..]).unwrap();
        let leaf = issued.chain_pem();
        let leaf = &leaf[..leaf.find("-----END CERTIFICATE-----").unwrap() + 26];
        common::put(&chain, format!("{leaf}{ca}").as_bytes());
        let agent = &mut town.clinics[0];
        agent.start().await.unwrap();
        down(agent, |reason| reason.contains(code)).await;
        let log = std::fs::read_to_string(town.county.log()).unwrap();
        let told = log.lines().any(|line| line.contains("handshake refused") && line.contains(word));
        assert!(told, "the county says why too ({word}): {log}");
        agent.stop().await.unwrap();
    }
    common::put(&chain, &whole);
    town.clinics[0].start().await.unwrap();
    up(&town.clinics[0]).await;
}

#[tokio::test]
async fn a_clinic_whose_clock_is_an_hour_off_loses_nothing_and_no_deadline() {
    let (dir, mut town) = town().await;
    let library = dir.path().join("shift_clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/shift_clock.c");
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());
    for (number, shift) in [(0, 3_600_i64), (1, -3_600)] {
        town.clinics[number].stop().await.unwrap();
        let env = [("LD_PRELOAD", library.display().to_string()), ("RELAY_SHIFT_S", shift.to_string())];
        town.clinics[number].start_with(&env).await.unwrap();
        up(&town.clinics[number]).await;
        let clinic = ["liuhe", "shiqiao"][number];
        // The machine's clock is set by the agent's, as in most clinics.
        let hand = exam_by(shift * 1_000, 80 + number as u64, 1, 0.1);
        let path = dir.path().join(format!("{number}.dcm"));
        common::put(&path, &hand.films[0]);
        town.clinics[number].send(&[&path], Class::Routine).await.unwrap();
        common::safe(&town, number, &hand.uid).await;
        let link = town.clinics[number].overview().await.unwrap().link;
        let offset = link.clock_offset_ms.unwrap();
        assert!((offset + shift * 1_000).abs() < 5_000, "clock offset {offset} ms, shift {shift} s");
        let doctor =
            Doctor::log_in(&town.county, town.login(["zhao", "qian"][number]).unwrap()).await.unwrap();
        let study = doctor.whole_study(clinic, &hand.uid).await.unwrap();
        let (t0, now) = (study["row"]["t0_ms"].as_i64().unwrap(), study["now_ms"].as_i64().unwrap());
        assert!((now - t0).abs() < HOUR_MS / 2, "T0 is corrected: {} ms ago; {}", now - t0, study["row"]);
        let files = common::export(&town, &hand.uid, None).await;
        assert_eq!(data_set(&files[0]), data_set(&hand.films[0]));
    }
}

#[tokio::test]
async fn a_file_that_is_no_exam_is_refused_by_name_and_stops_nothing() {
    let (dir, town) = town().await;
    let hand = exam(91, 1, 0.1);
    let at = |name: &str| dir.path().join(name);
    common::put(&at("a-cut.dcm"), &hand.films[0][..hand.films[0].len() / 2]);
    common::put(&at("b-note.txt"), b"no exam at all");
    common::put(&at("c-empty.dcm"), b"");
    common::put(&at("d-good.dcm"), &hand.films[0]);
    let files = ["a-cut.dcm", "b-note.txt", "c-empty.dcm", "d-good.dcm"].map(at);
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let refused = town.clinics[0].send(&files, Class::Routine).await.unwrap();
    let told: Vec<(String, &str)> = refused
        .iter()
        .map(|r| (r.file.file_name().unwrap().to_string_lossy().into_owned(), r.code.as_str()))
        .collect();
    assert_eq!(told.len(), 3, "{refused:?}");
    assert!(told.iter().any(|(file, code)| file == "a-cut.dcm" && code.starts_with("REFUSED_")), "{told:?}");
    assert!(refused.iter().all(|r| !r.reason.is_empty()), "{refused:?}");
    common::safe(&town, 0, &hand.uid).await;
    let bad_folder = town.clinics[0].folder().join("rejected");
    town.clinics[0].drop_into_folder("note.txt", b"no exam at all").unwrap();
    let reason = until("a reason beside the refused file", DAY, async || {
        let files = std::fs::read_dir(&bad_folder).into_iter().flatten().flatten().map(|f| f.path());
        let reason = files
            .filter(|p| p.to_string_lossy().ends_with(".reason.txt"))
            .find_map(|p| std::fs::read_to_string(p).ok());
        Ok(reason.map_or_else(|| Look::NotYet("none".to_owned()), Look::There))
    });
    let reason = reason.await.unwrap();
    assert!(reason.contains("REFUSED_FORMAT"), "{reason}");
}
