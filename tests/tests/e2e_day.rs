//! Days at two clinics and a county, with real processes and the DICOM tools of others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::{DAY, Exam, data_set, dcmtk, exam, export, storescu, town};
use relay_core::study::Class;
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::wait::{Look, until};
use serde_json::Value;

#[tokio::test]
async fn what_others_send_in_any_transfer_syntax_leaves_the_county_byte_for_byte() {
    let (dir, town) = town().await;
    let plain = exam(11, 0, 0.1);
    let source = dir.path().join("plain.dcm");
    common::put(&source, &plain.films[0]);
    let converted = |name: &str| dir.path().join(name);
    // Every object is an instance of its own; the last word of each line is what storescu has to propose.
    let recipes: [(&str, &[&str], &str, usize); 6] = [
        ("implicit.dcm", &["dcmconv", "+ti"], "-xi", 0),
        ("little.dcm", &["dcmconv", "+te"], "-xe", 1),
        ("big.dcm", &["dcmconv", "+tb"], "-xb", 0),
        ("jpegls.dcm", &["dcmcjpls", "+un"], "-xt", 1),
        ("jpeg.dcm", &["dcmcjpeg", "+e1", "+un"], "-xs", 0),
        ("rle.dcm", &["dcmcrle", "+un"], "-xr", 1),
    ];
    for (name, tool, _, _) in recipes {
        let mut args: Vec<&str> = tool[1..].to_vec();
        let (from, to) = (source.display().to_string(), converted(name).display().to_string());
        args.extend([from.as_str(), to.as_str()]);
        dcmtk(tool[0], &args).await;
        dcmtk("dcmodify", &["-nb", "-gst", "-gse", "-gin", &to]).await;
    }
    for (name, _, propose, clinic) in recipes {
        let scp = town.clinics[clinic].endpoint().unwrap().dicom.unwrap();
        storescu(scp, propose, &converted(name)).await;
    }
    for (name, _, _, clinic) in recipes {
        let sent = std::fs::read(converted(name)).unwrap();
        let uid = common::study_uid(&sent);
        common::safe(&town, clinic, &uid).await;
        let files = export(&town, &uid, None).await;
        assert_eq!(files.len(), 1, "{name}");
        assert_eq!(data_set(&files[0]), data_set(&sent), "{name}: the data set differs");
    }
}

#[tokio::test]
async fn a_chest_in_two_associations_survives_both_ends_and_returns_signed_twice() {
    let (_dir, mut town) = town().await;
    let chest = exam(21, 0, 0.4);
    let third = exam(21, 2, 0.2).as_late_view_of(&chest);
    // Silence long enough for the second association, short enough for a test.
    let county = town.county.addresses().unwrap().clone();
    town.clinics[0].stop().await.unwrap();
    town.clinics[0].configure(&county, |config| config.quiet_s.xray_routine = 6).unwrap();
    town.clinics[0].start().await.unwrap();
    let answers = town.clinics[0].store("DR-01", vec![chest.films[0].clone()]).await.unwrap();
    assert_eq!(answers[0].status, 0, "{answers:?}");

    // The agent dies while the second film is on its way in: the machine hears no success and sends it again.
    let scp = town.clinics[0].endpoint().unwrap().dicom.unwrap();
    let film = chest.films[1].clone();
    let dying =
        tokio::task::spawn_blocking(move || relay_tests::lab::scu::store(scp, "DR-01", "RELAY", &[&film]));
    common::receiving(&town.clinics[0]).await;
    town.clinics[0].kill().await.unwrap();
    let first_try = dying.await.unwrap();
    town.clinics[0].start().await.unwrap();
    if first_try.is_err() {
        let again = town.clinics[0].store("DR-01", vec![chest.films[1].clone()]).await.unwrap();
        assert_eq!(again[0].status, 0, "{again:?}");
    }
    common::safe(&town, 0, &chest.uid).await;

    // The county dies after ingest.
    town.county.kill().await.unwrap();
    town.county.start().await.unwrap();
    let (author, reviewer) = common::radiologists(&town).await;
    let study = author.whole_study("liuhe", &chest.uid).await.unwrap();
    assert_eq!(study["objects"].as_array().unwrap().len(), 2);

    let signed = author.report(&study, "未见异常").await.unwrap();
    assert!(signed.status.is_success(), "{signed:?}");
    let own = author.audit(&study).await.unwrap();
    assert_eq!(own.code(), "REVIEWER_IS_AUTHOR", "{own:?}");
    let audited = reviewer.audit(&study).await.unwrap();
    assert!(audited.status.is_success(), "{audited:?}");
    let audited = audited.json().unwrap();
    let report = audited["report"].as_str().unwrap().to_owned();
    assert_eq!(audited["kind"], "final");
    common::reports(&town, 0, &chest.uid, 2).await;
    let package = author.part(&report, audited["version"].as_u64().unwrap(), "package").await.unwrap();

    // A third view comes after the signature: it is the author's task, and what was signed stays as it is.
    let late = town.clinics[0].store("DR-01", vec![third]).await.unwrap();
    assert_eq!(late[0].status, 0, "{late:?}");
    let waits = |study: &Value| study["row"]["attention"].is_string();
    let study = author.study_when("liuhe", &chest.uid, "待补充", DAY, waits).await.unwrap();
    assert_eq!(study["objects"].as_array().unwrap().len(), 3);
    assert_eq!(study["row"]["author"], "qian", "{}", study["row"]);
    let kinds: Vec<&Value> = study["versions"].as_array().unwrap().iter().map(|v| &v["kind"]).collect();
    assert_eq!(kinds, ["preliminary", "final"]);
    assert_eq!(author.part(&report, audited["version"].as_u64().unwrap(), "package").await.unwrap(), package);

    let page = town.clinics[0].overview().await.unwrap();
    let mine: Vec<_> = page.reports.iter().filter(|r| r.study.as_str() == chest.uid).collect();
    assert!(mine.len() == 2 && mine.iter().all(|r| r.fault.is_none()), "{mine:?}");
    let staff = &town.told.agents[0].staff[0];
    for report in &mine {
        let api = town.clinics[0].api().unwrap();
        let letter = report.letter.as_str();
        let pdf = relay_tests::lab::clinic::open_report(&api, letter, &staff.name, &staff.pin).await.unwrap();
        assert!(pdf.starts_with(b"%PDF"), "{letter}");
    }
    let files = export(&town, &chest.uid, Some("liuhe")).await;
    let mut sent: Vec<&[u8]> = chest.films.iter().map(|f| data_set(f)).collect();
    let third = exam(21, 2, 0.2).as_late_view_of(&chest);
    sent.push(data_set(&third));
    let mut held: Vec<&[u8]> = files.iter().map(|f| data_set(f)).collect();
    sent.sort();
    held.sort();
    assert!(sent == held, "one study, three objects, byte for byte");
    town.stop().await.unwrap();
}

#[tokio::test]
async fn two_clinics_with_the_same_numbers_are_two_patients_and_two_studies() {
    let (dir, town) = town().await;
    let one = exam(31, 1, 0.1).with("0001", None);
    let other = exam(32, 1, 0.1).with("0001", Some(&one));
    for (number, exam) in [&one, &other].into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.dcm"));
        common::put(&path, &exam.films[0]);
        let refused = town.clinics[number].send(&[&path], Class::Routine).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }
    for number in 0..2 {
        common::safe(&town, number, &one.uid).await;
    }
    let doctor = Doctor::log_in(&town.county, town.login("qian").unwrap()).await.unwrap();
    for (clinic, exam) in [("liuhe", &one), ("shiqiao", &other)] {
        let study = doctor.whole_study(clinic, &exam.uid).await.unwrap();
        let patient = &study["row"]["patient"];
        assert_eq!(patient["local_id"], "0001");
        // The films carry GB18030; the list shows the person.
        let plain = |text: &str| text.replace('^', "");
        assert_eq!(plain(patient["name"].as_str().unwrap()), plain(&exam.name), "{patient}");
        assert!(
            study["priors"].as_array().unwrap().is_empty(),
            "one number, two patients: {}",
            study["priors"]
        );
        let files = export(&town, &exam.uid, Some(clinic)).await;
        assert_eq!((files.len(), data_set(&files[0])), (1, data_set(&exam.films[0])));
    }
    let words = ["export-study", &one.uid, "--to", &dir.path().join("which").display().to_string()]
        .map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let unclear = town.county.gateway(&words, "").await.unwrap_err().to_string();
    assert!(unclear.contains("liuhe") && unclear.contains("shiqiao"), "{unclear}");
}

#[tokio::test]
async fn a_raise_of_class_reaches_the_countys_list_within_two_seconds() {
    let (dir, town) = town().await;
    let hand: Exam = exam(41, 1, 0.1);
    let path = dir.path().join("hand.dcm");
    common::put(&path, &hand.films[0]);
    town.clinics[0].send(&[&path], Class::Routine).await.unwrap();
    let doctor = Doctor::log_in(&town.county, town.login("zhao").unwrap()).await.unwrap();
    doctor.whole_study("liuhe", &hand.uid).await.unwrap();
    let words = ["mark", &hand.uid, "--class", "green", "--complaint", "外伤", "--phone", "13800000000"];
    town.clinics[0].command(&words, "").await.unwrap().ok().unwrap();
    let raised = |study: &Value| study["row"]["class"] == "green" && study["context"]["complaint"] == "外伤";
    let limit = std::time::Duration::from_secs(2);
    doctor.study_when("liuhe", &hand.uid, "the raise", limit, raised).await.unwrap();
}

#[tokio::test]
async fn a_county_that_starts_again_finds_its_clinics_by_itself() {
    let (_dir, mut town) = town().await;
    town.county.stop().await.unwrap();
    let hand = exam(51, 1, 0.1);
    let answers = town.clinics[1].store("DR-01", hand.films.clone()).await.unwrap();
    assert_eq!(answers[0].status, 0, "safe here while the county is away: {answers:?}");
    let page = town.clinics[1].overview().await.unwrap();
    assert!(!page.link.up || page.studies[0].safe_at.is_none());
    town.county.start().await.unwrap();
    common::safe(&town, 1, &hand.uid).await;
    let stopped = until("a clean end", DAY, async || Ok(Look::There(town.stop().await))).await.unwrap();
    stopped.unwrap();
}
