//! The reading room's day on a real store: claim, draft, sign, audit, with real keys and the clinic's verifier.

mod custody;
mod damage;
mod deadlines;
mod paper;
mod urgency;

use super::{AuditTrail, CountyDesk};
use crate::reports::{CountyTrust, FileVault, PinGate, Press, Proofs, Site};
use crate::store::Store;
use async_trait::async_trait;
use relay_certs::certificate::DoctorRole;
use relay_certs::signing::verify_report;
use relay_certs::testing::{TEST_PIN, TestCounty};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::durable::RealDisk;
use relay_core::ids::{ClinicId, ObjectHash, PersonId, StudyKey, StudyUid};
use relay_core::report::{ReportKind, ReportPackage};
use relay_core::sla::SlaPolicy;
use relay_core::study::{Kind, StudyRevision};
use relay_report::Fonts;
use std::sync::{Arc, Mutex};
use viewer_api::desk::{
    DraftText, PatientFacts, RaiseCritical, Reader, ReadingDesk, Role, SignRequest, WorkFilter,
};

/// 2026-11-21 10:00 in Shanxi: on duty.
const NOW: UtcMs = UtcMs(1_795_226_400_000);
const CLINIC: &str = "shilipu";

#[derive(Debug, Default)]
struct Trail(Mutex<Vec<String>>);

#[async_trait]
impl AuditTrail for Trail {
    async fn record(&self, who: &str, action: &str, _subject: &str, allowed: bool, _now: UtcMs) {
        self.0.lock().unwrap().push(format!("{who} {action} {allowed}"));
    }
}

struct Room {
    desk: CountyDesk,
    store: Store,
    county: TestCounty,
    trail: Arc<Trail>,
    _home: tempfile::TempDir,
}

fn person(id: &str) -> PersonId {
    PersonId::parse(id).unwrap()
}

fn reader(id: &str, roles: &[Role]) -> Reader {
    Reader {
        id: person(id),
        name: format!("{id}医师"),
        roles: roles.to_vec(),
        clinics: vec![ClinicId::parse(CLINIC).unwrap()],
        kinds: Kind::ALL.to_vec(),
    }
}

fn liu() -> Reader {
    reader("liu", &[Role::Reader])
}

fn zhang() -> Reader {
    reader("zhang", &[Role::Reader, Role::Reviewer])
}

async fn room() -> Room {
    let home = tempfile::tempdir().unwrap();
    let mut county = TestCounty::new(&home.path().join("ca"), 7, NOW);
    let signers = home.path().join("signers");
    std::fs::create_dir_all(&signers).unwrap();
    for (id, role) in [("liu", DoctorRole::Reader), ("zhang", DoctorRole::Reviewer)] {
        let doctor = county.doctor(id, role);
        relay_core::durable::write_atomic(&RealDisk, &signers.join(format!("{id}.p12")), &doctor.p12, 0o600)
            .unwrap();
    }
    let store = Store::open(&home.path().join("home"), Arc::new(RealDisk)).await.unwrap();
    let press = Press {
        site: Site {
            id: "yangqu".into(),
            hospital: "阳曲县人民医院".into(),
            code: Some("12140122A".into()),
            phone: Some("0351-5520120".into()),
        },
        fonts: Arc::new(Fonts::load(None).expect("fonts-noto-cjk is installed")),
        signers: PinGate::new(Arc::new(FileVault::new(signers))),
        policy: Arc::new(SlaPolicy::default()),
        trust: CountyTrust::new(
            county.ca().clone(),
            home.path().join("ca").join(relay_certs::authority::CRL_FILE),
        ),
        whole: crate::whole::Whole::default(),
        proofs: Proofs::default(),
    };
    let trail = Arc::new(Trail::default());
    let desk = CountyDesk::new(store.clone(), press, trail.clone());
    seed(&store).await;
    Room { desk, store, county, trail, _home: home }
}

async fn seed(store: &Store) {
    store
        .write(|tx| {
            Box::pin(async move {
                let statements = [
                    "INSERT INTO clinic (id, name, added_at) VALUES ('shilipu', '十里铺镇卫生院', 0)"
                        .to_owned(),
                    "INSERT INTO clinic (id, name, added_at) VALUES ('huangzhai', '黄寨镇卫生院', 0)"
                        .to_owned(),
                ];
                for sql in statements {
                    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
                }
                for id in ["liu", "zhang"] {
                    let sql = "INSERT INTO account (id, name, roles, clinics, kinds, password_hash, added_at)
                               VALUES ($1, $1, '[]', '[]', '[]', '', 0)";
                    sqlx::query(sql).bind(id).execute(&mut *tx).await.unwrap();
                }
                Ok(())
            })
        })
        .await
        .unwrap();
}

/// A study of one durable film; gives its work item.
async fn film(store: &Store, uid: &str, clinic: &'static str, kind: Kind) -> i64 {
    let uid = uid.to_owned();
    store
        .write(move |tx| {
            Box::pin(async move {
                let hash = ObjectHash::of(uid.as_bytes());
                let revision = StudyRevision::of([hash]);
                let study: i64 = sqlx::query_scalar(
                    "INSERT INTO study (clinic, uid, class, kind, completeness, generation, source, t0, time_suspect,
                       first_object_at, arrived_at, complete_at, revision, objects_here, objects_announced, item,
                       modality, created_at, updated_at)
                     VALUES ($1, $2, 'routine', $3, 'complete', 1, 'DR1', $4, 0, $4, $4, $4, $5, 1, 1, '胸部正位', 'DX', $4, $4)
                     RETURNING id",
                )
                .bind(clinic)
                .bind(&uid)
                .bind(kind.word())
                .bind(NOW.0)
                .bind(&revision.0.0[..])
                .fetch_one(&mut *tx)
                .await
                .unwrap();
                sqlx::query("INSERT INTO person (study_id, clinic, name, sex, birth_date, local_id) VALUES ($1, $2, '张伟', 'M', '19650101', '0001')")
                    .bind(study).bind(clinic).execute(&mut *tx).await.unwrap();
                let item: i64 = sqlx::query_scalar(
                    "INSERT INTO work_item (study_id, state, state_at, created_at) VALUES ($1, 'waiting', $2, $2) RETURNING id",
                )
                .bind(study).bind(NOW.0).fetch_one(&mut *tx).await.unwrap();
                crate::sla::refresh(tx, &SlaPolicy::default(), study).await?;
                Ok(item)
            })
        })
        .await
        .unwrap()
}

fn words() -> DraftText {
    DraftText {
        findings: "双肺纹理清晰，未见实变影。心影大小形态正常，双侧肋膈角锐利。".into(),
        impression: "心肺膈未见明显异常。".into(),
        advice: "随诊。".into(),
        result: "negative".into(),
        ecg_class: String::new(),
    }
}

async fn revision(room: &Room, who: &Reader, item: i64) -> StudyRevision {
    room.desk.study(who, item, NOW).await.unwrap().revision
}

async fn request(room: &Room, who: &Reader, item: i64, epoch: u64, draft: u64) -> SignRequest {
    SignRequest {
        epoch,
        draft_revision: draft,
        study_revision: revision(room, who, item).await,
        kind: ReportKind::Final,
        reason: None,
        pin: TEST_PIN.into(),
    }
}

/// Claims, drafts and signs as liu; gives what was signed.
async fn signed_by_liu(room: &Room, item: i64) -> viewer_api::desk::Signed {
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let request = request(room, &liu(), item, lease.epoch, draft.revision).await;
    room.desk.sign(&liu(), item, request, NOW).await.unwrap()
}

async fn package(room: &Room, who: &Reader, signed: &viewer_api::desk::Signed) -> ReportPackage {
    let bytes = room.desk.report_package(who, &signed.report, signed.version).await.unwrap();
    ReportPackage::decode(&bytes).unwrap()
}

#[tokio::test]
async fn a_film_is_preliminary_after_the_author_and_final_after_the_second_person_and_both_verify() {
    let room = room().await;
    let item = film(&room.store, "1.2.3", CLINIC, Kind::Xray).await;
    let first = signed_by_liu(&room, item).await;
    assert_eq!((first.kind, first.version, first.state.as_str()), (ReportKind::Preliminary, 1, "signed"));

    let own = room.desk.claim(&liu(), item, NOW).await.unwrap_err();
    assert_eq!(own.code, Code::ReviewerIsAuthor);

    let later = NOW.plus_ms(5 * MINUTE_MS);
    let lease = room.desk.claim(&zhang(), item, later).await.unwrap();
    let request = request(&room, &zhang(), item, lease.epoch, 0).await;
    let last = room.desk.audit(&zhang(), item, request, None, later).await.unwrap();
    assert_eq!((last.kind, last.version, last.state.as_str()), (ReportKind::Final, 2, "audited"));

    let clinic = ClinicId::parse(CLINIC).unwrap();
    for signed in [&first, &last] {
        let package = package(&room, &liu(), signed).await;
        let verified = verify_report(&package, &room.county.trust(), &clinic, later).unwrap();
        assert_eq!((verified.version(), verified.kind()), (signed.version, signed.kind));
    }
    let versions = room.desk.study(&liu(), item, later).await.unwrap().versions;
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[1].reviewer_name.as_deref(), Some("zhang医师"));
    let letters: i64 =
        sqlx::query_scalar("SELECT count(*) FROM letter WHERE kind = 'report' AND clinic = 'shilipu'")
            .fetch_one(&mut *room.store.read().await.unwrap())
            .await
            .unwrap();
    assert_eq!(letters, 2);
    assert!(room.trail.0.lock().unwrap().contains(&"liu report.sign true".to_owned()));
}

#[tokio::test]
async fn an_ecg_is_final_by_one_signature_and_a_correction_replaces_it() {
    let room = room().await;
    let item = film(&room.store, "1.2.4", CLINIC, Kind::Ecg).await;
    let first = signed_by_liu(&room, item).await;
    assert_eq!(first.kind, ReportKind::Final);
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let text = DraftText { impression: "窦性心动过速。".into(), result: "positive".into(), ..words() };
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &text, NOW).await.unwrap();
    let mut correction = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    correction.kind = ReportKind::Correction;
    let missing = room.desk.sign(&liu(), item, correction.clone(), NOW).await.unwrap_err();
    assert_eq!((missing.code, missing.field.as_str()), (Code::FieldInvalid, "reason"));
    correction.reason = Some("心率判读有误".into());
    let second = room.desk.sign(&liu(), item, correction, NOW).await.unwrap();
    assert_eq!((second.kind, second.version), (ReportKind::Correction, 2));
    let clinic = ClinicId::parse(CLINIC).unwrap();
    let package = package(&room, &liu(), &second).await;
    assert_eq!(verify_report(&package, &room.county.trust(), &clinic, NOW).unwrap().previous(), Some(1));
}

#[tokio::test]
async fn a_wrong_pin_or_an_empty_impression_signs_nothing_and_keeps_the_draft() {
    let room = room().await;
    let item = film(&room.store, "1.2.5", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let empty = DraftText { impression: String::new(), ..words() };
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &empty, NOW).await.unwrap();
    let asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    let refusal = room.desk.sign(&liu(), item, asked.clone(), NOW).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::FieldInvalid, "impression"));
    let wrong = SignRequest { pin: "000000".into(), ..asked };
    assert_eq!(room.desk.sign(&liu(), item, wrong, NOW).await.unwrap_err().code, Code::PinWrong);
    assert_eq!(room.desk.draft(&liu(), item).await.unwrap().unwrap().text, empty);
    assert!(room.desk.study(&liu(), item, NOW).await.unwrap().versions.is_empty());
}

#[tokio::test]
async fn images_that_arrive_while_reading_stop_the_signature() {
    let room = room().await;
    let item = film(&room.store, "1.2.6", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    asked.study_revision = StudyRevision::of([ObjectHash::of(b"fewer")]);
    let refusal = room.desk.sign(&liu(), item, asked, NOW).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::StateConflict, "study_revision"));
}

#[tokio::test]
async fn the_second_reader_learns_who_holds_it_and_a_late_draft_is_refused() {
    let room = room().await;
    let item = film(&room.store, "1.2.7", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let refusal = room.desk.claim(&zhang(), item, NOW.plus_ms(1_000)).await.unwrap_err();
    assert_eq!(refusal.code, Code::ClaimHeld);
    let late = NOW.plus_ms(16 * MINUTE_MS);
    assert_eq!(room.desk.expire_leases(late).await.unwrap(), 1);
    room.desk.claim(&zhang(), item, late).await.unwrap();
    let refusal = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), late).await.unwrap_err();
    assert_eq!(refusal.code, Code::LeaseLost);
}

#[tokio::test]
async fn a_study_of_another_clinic_does_not_exist_for_the_reader() {
    let room = room().await;
    let item = film(&room.store, "1.2.8", "huangzhai", Kind::Xray).await;
    assert_eq!(room.desk.study(&liu(), item, NOW).await.unwrap_err().code, Code::NotFound);
    assert_eq!(room.desk.claim(&liu(), item, NOW).await.unwrap_err().code, Code::NotFound);
    let key =
        StudyKey { clinic: ClinicId::parse("huangzhai").unwrap(), uid: StudyUid::parse("1.2.8").unwrap() };
    assert_eq!(room.desk.study_by_key(&liu(), &key, NOW).await.unwrap_err().code, Code::NotFound);
    assert!(
        room.desk
            .worklist(&liu(), &WorkFilter { limit: 10, ..WorkFilter::default() }, NOW)
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    assert!(room.desk.claim_next(&liu(), None, NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_critical_notice_leaves_before_any_signature() {
    let room = room().await;
    let item = film(&room.store, "1.2.9", CLINIC, Kind::Xray).await;
    let bad = RaiseCritical { code: "A01".into(), finding: "张力性气胸".into(), advice: None };
    assert_eq!(room.desk.raise_critical(&liu(), item, bad, NOW).await.unwrap_err().field, "code");
    let raise =
        RaiseCritical {
            code: "X-A01".into(), finding: "张力性气胸".into(), advice: Some("立即减压".into())
        };
    room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
    let kind: String = sqlx::query_scalar("SELECT kind FROM letter WHERE priority = 0")
        .fetch_one(&mut *room.store.read().await.unwrap())
        .await
        .unwrap();
    assert_eq!(kind, "critical_notice");
    assert!(room.desk.study(&liu(), item, NOW).await.unwrap().row.critical_open);
}

#[tokio::test]
async fn a_retake_stops_the_countys_clock_and_a_corrected_identity_asks_the_author() {
    let room = room().await;
    let item = film(&room.store, "1.2.10", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    room.desk
        .request_retake(&liu(), item, lease.epoch, "position", "左侧肋膈角未包全，请重拍", NOW)
        .await
        .unwrap();
    let filter = WorkFilter { states: vec!["retake_requested".into()], limit: 10, ..WorkFilter::default() };
    assert_eq!(room.desk.worklist(&liu(), &filter, NOW).await.unwrap().rows.len(), 1);

    let other = film(&room.store, "1.2.11", CLINIC, Kind::Ecg).await;
    signed_by_liu(&room, other).await;
    let patient = PatientFacts {
        name: "张玮".into(),
        sex: "M".into(),
        birth_date: "19650101".into(),
        local_id: "0001".into(),
        ..PatientFacts::default()
    };
    room.desk.correct_identity(&zhang(), other, patient, "登记姓名有误", NOW).await.unwrap();
    let row = room.desk.study(&liu(), other, NOW).await.unwrap().row;
    assert_eq!((row.attention, row.patient.name.as_str()), (vec!["identity_corrected".to_owned()], "张玮"));
}

#[tokio::test]
async fn throughput_counts_the_day_and_shows_no_names() {
    let room = room().await;
    film(&room.store, "1.2.12", CLINIC, Kind::Xray).await;
    let monitor = Reader { clinics: vec![], ..reader("wang", &[Role::Monitor]) };
    let late = NOW.plus_ms(61 * MINUTE_MS);
    let figures = room.desk.throughput(&monitor, late).await.unwrap();
    assert_eq!((figures.received, figures.due, figures.on_time, figures.backlog), (1, 1, 0, 1));
    assert_eq!(figures.backlog_oldest_ms, Some(61 * MINUTE_MS));
    let json = serde_json::to_string(&figures).unwrap();
    assert!(!json.contains("张伟"), "{json}");
    assert_eq!(room.desk.throughput(&liu(), late).await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn each_clinics_figures_say_what_was_reported_and_returned_and_how_long_each_stage_took() {
    let room = room().await;
    let item = film(&room.store, "1.2.13", CLINIC, Kind::Ecg).await;
    film(&room.store, "1.2.14", "huangzhai", Kind::Xray).await;
    signed_by_liu(&room, item).await;
    let at = NOW.plus_ms(7 * MINUTE_MS);
    let received = room.store.write(move |tx| {
        Box::pin(async move {
            let stored = crate::queue::load(tx, &crate::store::Scope::County, item).await?;
            let kind = serde_json::json!({ "kind": "final" });
            let event = stored.event("shilipu", crate::sla::kinds::RECEIVED, "x".into(), kind, at);
            crate::store::event::append(tx, event).await.map(|_| ())
        })
    });
    received.await.unwrap();
    let monitor = Reader { clinics: vec![], ..reader("wang", &[Role::Monitor]) };
    let now = NOW.plus_ms(10 * MINUTE_MS);
    let figures = room.desk.throughput(&monitor, now).await.unwrap();
    assert_eq!((figures.received, figures.reported, figures.returned), (2, 1, 1));
    let of = |id: &str| figures.clinics.iter().find(|c| c.clinic == id).unwrap();
    let (one, other) = (of(CLINIC), of("huangzhai"));
    assert_eq!((one.received, one.reported, one.returned), (1, 1, 1));
    assert_eq!((other.received, other.reported, other.returned), (1, 0, 0));
    assert_eq!((other.backlog, other.backlog_oldest_ms), (1, Some(10 * MINUTE_MS)));
    let stage = |figure: &viewer_api::desk::ClinicFigure, word: &str| {
        let found = figure.stages.iter().find(|s| s.stage == word).unwrap().clone();
        (found.count, found.median_ms, found.p90_ms)
    };
    assert_eq!(stage(one, "return"), (1, Some(7 * MINUTE_MS), Some(7 * MINUTE_MS)));
    assert_eq!(stage(one, "reading"), (1, Some(0), Some(0)));
    assert_eq!(stage(other, "return"), (0, None, None));
}

#[tokio::test]
async fn work_comes_by_class_and_screening_comes_up_to_routine_once_its_promise_is_over() {
    let room = room().await;
    let classes = ["screening", "complex", "routine", "emergency", "green"];
    let mut items = Vec::new();
    for (number, class) in classes.into_iter().enumerate() {
        let item = film(&room.store, &format!("1.5.{number}"), CLINIC, Kind::Xray).await;
        let done = room.store.write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE study SET class = $2 WHERE id = (SELECT study_id FROM work_item WHERE id = $1)",
                )
                .bind(item)
                .bind(class)
                .execute(&mut *tx)
                .await
                .unwrap();
                // Due alike: the class alone decides; what is screened was due first.
                sqlx::query("UPDATE work_item SET due_at = $2, promise_at = $3 WHERE id = $1")
                    .bind(item)
                    .bind(NOW.0 - i64::from(class == "screening"))
                    .bind(NOW.plus_ms(MINUTE_MS).0)
                    .execute(tx)
                    .await
                    .unwrap();
                Ok(())
            })
        });
        done.await.unwrap();
        items.push(item);
    }
    let filter = WorkFilter { limit: 10, ..WorkFilter::default() };
    let list = async |now| {
        let rows = room.desk.worklist(&liu(), &filter, now).await.unwrap().rows;
        rows.iter().map(|row| row.class.word()).collect::<Vec<_>>()
    };
    assert_eq!(list(NOW).await, ["green", "emergency", "routine", "complex", "screening"]);
    let later = NOW.plus_ms(MINUTE_MS);
    assert_eq!(list(later).await, ["green", "emergency", "screening", "complex", "routine"]);
    // *Next case* has the same order.
    let (next, _) = room.desk.claim_next(&liu(), None, NOW).await.unwrap().unwrap();
    assert_eq!(next, items[4]);
}

#[tokio::test]
async fn who_counts_hears_of_every_clinic_and_of_nobody() {
    let room = room().await;
    let item = film(&room.store, "1.5.20", CLINIC, Kind::Ecg).await;
    signed_by_liu(&room, item).await;
    let monitor = Reader { clinics: vec![], ..reader("wang", &[Role::Monitor]) };
    let heard = room.desk.events_after(&monitor, 0, 100).await.unwrap();
    let kinds: Vec<&str> = heard.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["report.signed"], "a claim moves no figure");
    assert!(heard.iter().all(|event| event.work_item.is_none()));
    let head = room.desk.last_event().await.unwrap();
    assert!(head >= heard[0].seq);
    assert!(room.desk.events_after(&monitor, head, 100).await.unwrap().is_empty());
}
