use super::*;
use crate::audit;
use crate::ingest::samples::{Film, Lab, NOW, STUDY, clinic, manifest, overwrite, plain};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::ids::{PersonId, StudyUid};
use relay_core::study::{Class, Kind, Manifest};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use viewer_api::auth::OsEntropy;
use viewer_api::desk::Role;
use zeroize::Zeroizing;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn new_county() -> init::NewCounty {
    init::NewCounty {
        id: "county".into(),
        county: "示范县".into(),
        hospital: "示范县人民医院".into(),
        names: vec!["localhost".into(), "127.0.0.1".into()],
        link: any(),
        web: any(),
        metrics: any(),
    }
}

async fn made(dir: &Path) -> Home {
    let home = Home(dir.join("home"));
    init::init(&home, &new_county(), NOW, &mut StdRng::seed_from_u64(1)).await.unwrap();
    home
}

fn reader(id: &str, password: &str, pin: Option<&str>) -> people::NewAccount {
    people::NewAccount {
        id: PersonId::parse(id).unwrap(),
        name: "王医生".into(),
        roles: vec![Role::Reader, Role::Reviewer],
        clinics: vec![clinic("a")],
        kinds: vec![Kind::Xray],
        password: Zeroizing::new(password.into()),
        pin: pin.map(|p| Zeroizing::new(p.into())),
    }
}

#[tokio::test]
async fn a_home_is_made_once_with_private_keys_and_a_listed_clinic_can_enrol() {
    let dir = tempfile::tempdir().unwrap();
    let home = made(dir.path()).await;
    let again = init::init(&home, &new_county(), NOW, &mut StdRng::seed_from_u64(2)).await;
    assert!(again.unwrap_err().to_string().contains("made already"));
    for file in [
        home.server_key(),
        home.ca().join("ca.key"),
        home.path().join("gateway.toml"),
        home.path().join("county.db"),
    ] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    let invitation =
        people::invite(&home, &clinic("a"), 3_600_000, NOW, &mut StdRng::seed_from_u64(3)).unwrap();
    assert!(invitation.reveal().contains("RELAY1-a-"));
}

#[tokio::test]
async fn an_account_names_the_field_that_is_wrong_and_shows_its_secret_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = made(dir.path()).await;
    let store = open_store(&home).await.unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    for (password, pin, field) in [
        ("short", Some("246810"), "password"),
        ("long enough", None, "PIN"),
        ("long enough", Some("1"), "PIN"),
    ] {
        let refused =
            people::add_account(&home, &store, reader("d1", password, pin), NOW, &OsEntropy, &mut rng).await;
        assert!(refused.unwrap_err().to_string().contains(field));
    }
    let new = reader("d1", "long enough", Some("246810"));
    let unknown = people::add_account(&home, &store, new.clone(), NOW, &OsEntropy, &mut rng).await;
    assert!(unknown.unwrap_err().to_string().contains("no clinic a"));
    let listed = people::NewClinic { id: clinic("a"), name: "甲".into(), duty_phone: None, hours: None };
    people::add_clinic(&store, listed, NOW).await.unwrap();
    let added = people::add_account(&home, &store, new.clone(), NOW, &OsEntropy, &mut rng).await.unwrap();
    assert!(added.totp_secret.is_some() && home.signers().join("d1.p12").is_file());
    let twice = people::add_account(&home, &store, new, NOW, &OsEntropy, &mut rng).await;
    assert!(twice.unwrap_err().to_string().contains("exists"));
    let mut tx = store.read().await.unwrap();
    let stored: String = sqlx::query_scalar("SELECT roles || clinics || kinds FROM account")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(stored, r#"["reader","reviewer"]["a"]["xray"]"#);
    assert_eq!(audit::verify(&mut tx).await.unwrap().entries, 3);
    drop(tx);
    let id = PersonId::parse("d1").unwrap();
    let nowhere = people::serve_clinics(&store, &id, &[clinic("a"), clinic("b")], NOW).await;
    assert!(nowhere.unwrap_err().to_string().contains("no clinic b"));
}

#[tokio::test]
async fn a_study_is_exported_byte_exact_and_a_damaged_byte_is_named() {
    let lab = Lab::new().await;
    let films = [Film::default().bytes(), Film { sop: 2, ..Film::default() }.bytes()];
    let offer = manifest(Class::Routine, films.iter().map(|f| plain(f)).collect());
    lab.deliver("a", &offer, &[&films[0], &films[1]]).await;
    let uid = StudyUid::parse(STUDY).unwrap();
    let to = lab.dir.path().join("out");
    let done = export::export_study(&lab.store, &uid, None, &to).await.unwrap();
    for (file, bytes) in done.files.iter().zip(&films) {
        assert_eq!(&std::fs::read(to.join(&file.file)).unwrap(), bytes);
    }
    assert!(to.join("study.json").is_file());
    assert!(
        export::export_study(&lab.store, &uid, None, &to)
            .await
            .unwrap_err()
            .to_string()
            .contains("not empty")
    );
    // Two clinics with one UID must be told apart.
    lab.deliver("b", &offer, &[&films[0], &films[1]]).await;
    let both = export::export_study(&lab.store, &uid, None, &lab.dir.path().join("out2")).await;
    assert!(both.unwrap_err().to_string().contains("name the clinic"));
    let path = lab.store.blobs().path_of(&plain(&films[1]).hash);
    let path_0 = lab.store.blobs().path_of(&plain(&films[0]).hash);
    let mut bytes = films[0].clone();
    bytes[700] ^= 1;
    overwrite(&path_0, bytes);
    let to = lab.dir.path().join("out3");
    let part = export::export_study(&lab.store, &uid, Some(&clinic("a")), &to).await.unwrap();
    assert_eq!((part.files.len(), part.missing.len()), (1, 1), "one bad object keeps no other out");
    assert!(part.missing[0].blake3 == plain(&films[0]).hash && part.missing[0].reason.contains("damaged"));
    assert_eq!(std::fs::read(to.join(&part.files[0].file)).unwrap(), films[1]);
    std::fs::remove_file(&path).unwrap();
    let to = lab.dir.path().join("out4");
    let none = export::export_study(&lab.store, &uid, Some(&clinic("a")), &to).await.unwrap();
    assert_eq!((none.files.len(), none.missing.len()), (0, 2));
    let left: Vec<_> = std::fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["study.json"], "nothing unproven looks like a file of the study");
}

#[tokio::test]
async fn verify_store_finds_a_flipped_byte_and_a_missing_file_and_the_clinic_is_asked_again() {
    let lab = Lab::new().await;
    let films = [Film::default().bytes(), Film { sop: 2, ..Film::default() }.bytes()];
    let offer = manifest(Class::Routine, films.iter().map(|f| plain(f)).collect());
    lab.deliver("a", &offer, &[&films[0], &films[1]]).await;
    assert!(verify::verify_store(&lab.store, None, NOW).await.unwrap().ok);
    let mut bytes = films[0].clone();
    bytes[700] ^= 1;
    overwrite(lab.store.blobs().path_of(&plain(&films[0]).hash), bytes);
    std::fs::remove_file(lab.store.blobs().path_of(&plain(&films[1]).hash)).unwrap();
    let report = verify::verify_store(&lab.store, None, NOW).await.unwrap();
    assert_eq!((report.ok, report.objects, report.faults.len()), (false, 2, 2));
    // The agent still has them: it is asked again, and the store is whole again.
    let newer = Manifest { generation: 2, ..offer };
    lab.deliver("a", &newer, &[&films[0], &films[1]]).await;
    assert!(verify::verify_store(&lab.store, None, NOW).await.unwrap().ok);
}

#[tokio::test]
async fn a_backup_taken_while_objects_arrive_restores_to_a_whole_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = made(dir.path()).await;
    let lab = Lab::at(home.path()).await;
    let films: Vec<Vec<u8>> = (1..=40).map(|sop| Film { sop, ..Film::default() }.bytes()).collect();
    let offer = manifest(Class::Routine, films.iter().map(|f| plain(f)).collect());
    lab.deliver("a", &offer, &[&films[0]]).await;
    let rest: Vec<&[u8]> = films[1..].iter().map(Vec::as_slice).collect();
    let to = dir.path().join("backup");
    let (seal, ()) = tokio::join!(
        backup::backup(&home, &lab.store, &to, backup::Blobs::Copy, NOW),
        lab.deliver("a", &offer, &rest)
    );
    let seal = seal.unwrap();
    assert!((1..=40).contains(&seal.blobs), "{seal:?}");
    let new_home = Home(dir.path().join("second"));
    assert_eq!(backup::restore(&to, &new_home, NOW).await.unwrap().seal, seal);
    let second = open_store(&new_home).await.unwrap();
    assert_eq!(verify::verify_store(&second, None, NOW).await.unwrap().objects, seal.blobs);
    second.close().await;
    // A second restore onto it is refused, and so is an unfinished or damaged backup.
    assert!(backup::restore(&to, &new_home, NOW).await.unwrap_err().to_string().contains("not empty"));
    let mut bytes = std::fs::read(to.join("county.db")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    overwrite(to.join("county.db"), bytes);
    let damaged = backup::restore(&to, &Home(dir.path().join("third")), NOW).await;
    assert!(damaged.unwrap_err().to_string().contains("damaged"));
    std::fs::remove_file(to.join("backup.json")).unwrap();
    let unfinished = backup::restore(&to, &Home(dir.path().join("fourth")), NOW).await;
    assert!(unfinished.unwrap_err().to_string().contains("no finished backup"));
}

#[tokio::test]
async fn a_rotten_blob_is_named_and_everything_else_is_backed_up_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let home = made(dir.path()).await;
    let lab = Lab::at(home.path()).await;
    let films: Vec<Vec<u8>> = (1..=3).map(|sop| Film { sop, ..Film::default() }.bytes()).collect();
    let offer = manifest(Class::Routine, films.iter().map(|f| plain(f)).collect());
    let all: Vec<&[u8]> = films.iter().map(Vec::as_slice).collect();
    lab.deliver("a", &offer, &all).await;
    let mut bytes = films[1].clone();
    bytes[700] ^= 1;
    overwrite(lab.store.blobs().path_of(&plain(&films[1]).hash), bytes);
    for how in [backup::Blobs::Copy, backup::Blobs::Link] {
        // The second one finds the location marked: nothing of it is expected any more.
        let expected = usize::from(how == backup::Blobs::Copy);
        let to = dir.path().join(format!("backup{expected}"));
        let seal = backup::backup(&home, &lab.store, &to, how, NOW).await.unwrap();
        assert_eq!((seal.blobs, seal.faults.len()), (2, expected), "{seal:?}");
        let second = Home(dir.path().join(format!("restored{expected}")));
        let restored = backup::restore(&to, &second, NOW).await.unwrap();
        assert_eq!(restored.faults.len(), 1, "{restored:?}");
        let store = open_store(&second).await.unwrap();
        let whole = [&films[0], &films[2]].map(|film| store.blobs().verify(&plain(film).hash).is_ok());
        assert_eq!(whole, [true, true]);
        store.close().await;
    }
    assert!(lab.events().await.contains(&"store.backup_incomplete".to_owned()));
}

#[tokio::test]
async fn doctor_finds_a_new_home_in_order_and_names_a_broken_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let home = made(dir.path()).await;
    let clock = relay_core::clock::ManualClock::at(NOW);
    let failed = |checks: Vec<doctor::Check>| {
        checks
            .into_iter()
            .filter(|c| c.outcome == doctor::Outcome::Failed)
            .map(|c| c.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(failed(doctor::examine(&home, &clock).await), Vec::<&str>::new());
    overwrite(home.path().join("gateway.toml"), "[site]\nid = 3\n");
    assert_eq!(failed(doctor::examine(&home, &clock).await), ["configuration"]);
    let nowhere = Home(dir.path().join("nowhere"));
    assert!(open_store(&nowhere).await.unwrap_err().to_string().contains("not the home of a gateway"));
}

#[tokio::test]
async fn a_clinics_hours_phone_and_code_change_after_it_was_listed_and_the_rest_stays() {
    let lab = Lab::new().await;
    let new = people::NewClinic {
        id: clinic("a"),
        name: "十里铺".into(),
        duty_phone: Some("1".into()),
        hours: None,
    };
    people::add_clinic(&lab.store, new, NOW).await.unwrap();
    let nothing = people::ClinicChange {
        id: clinic("a"),
        name: None,
        duty_phone: None,
        hours: None,
        organization_code: None,
    };
    let hours = r#"{"offset_minutes":480,"days":[[["08:00","12:00"]],[],[],[],[],[],[]]}"#;
    let change = people::ClinicChange {
        hours: Some(hours.into()),
        organization_code: Some("12140122B".into()),
        ..nothing.clone()
    };
    people::change_clinic(&lab.store, change, NOW).await.unwrap();
    let row: (String, String, String, String) = sqlx::query_as(
        "SELECT name, duty_phone, opening_hours, organization_code FROM clinic WHERE id = 'a'",
    )
    .fetch_one(&mut *lab.store.read().await.unwrap())
    .await
    .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str()), ("十里铺", "1"));
    assert_eq!((row.2.as_str(), row.3.as_str()), (hours, "12140122B"));
    let bad = people::ClinicChange { hours: Some("{\"days\":3}".into()), ..nothing.clone() };
    assert!(people::change_clinic(&lab.store, bad, NOW).await.unwrap_err().to_string().contains("hours"));
    assert!(people::change_clinic(&lab.store, nothing.clone(), NOW).await.is_err());
    let unknown = people::ClinicChange { id: clinic("zz"), name: Some("x".into()), ..nothing };
    assert!(
        people::change_clinic(&lab.store, unknown, NOW)
            .await
            .unwrap_err()
            .to_string()
            .contains("no clinic zz")
    );
}

#[tokio::test]
async fn a_patient_who_is_not_the_one_of_the_files_is_named_before_anybody_signs() {
    let lab = Lab::new().await;
    let films = [Film::default().bytes(), Film { sop: 2, ..Film::default() }.bytes()];
    let mut offer = manifest(Class::Routine, films.iter().map(|film| plain(film)).collect());
    offer.context.patient_birth_date = Some("19700102".into());
    lab.deliver("a", &offer, &[&films[0], &films[1]]).await;
    // A newer manifest gives another birth date: the first word stands, and nobody is accused.
    let (mut newer, mut same) = (offer.clone(), offer.clone());
    (newer.generation, same.generation) = (2, 3);
    newer.context.patient_birth_date = Some("19700103".into());
    lab.offer("a", &newer).await.unwrap();
    lab.offer("a", &same).await.unwrap();
    let faults = async || {
        let report = verify::verify_store(&lab.store, None, NOW).await.unwrap();
        report.faults.iter().map(|f| format!("{} {} {}", f.table, f.row, f.reason)).collect::<Vec<_>>()
    };
    assert!(faults().await.is_empty(), "{:?}", faults().await);
    for (change, back, field) in [
        ("UPDATE person SET name = '假^名'", "UPDATE person SET name = '王^小明'", "name"),
        ("UPDATE person SET local_id = '0002'", "UPDATE person SET local_id = '0001'", "local_id"),
        ("UPDATE person SET sex = 'F'", "UPDATE person SET sex = 'M'", "sex"),
        (
            "UPDATE person SET birth_date = '19700103'",
            "UPDATE person SET birth_date = '19700102'",
            "birth_date",
        ),
        ("UPDATE person SET corrected_at = 1", "UPDATE person SET corrected_at = NULL", "corrected_at"),
    ] {
        lab.execute(change).await;
        let found = faults().await;
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("person 1 {field}:")),
            "{field}: {found:?}"
        );
        lab.execute(back).await;
        assert!(faults().await.is_empty(), "{field}");
    }
}
