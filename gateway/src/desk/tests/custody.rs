//! What may not go wrong between the signatures: tampered rows and bytes, withdrawn versions, guessed PINs, questions that
//! stay open.

use super::*;
use crate::queue::attention;
use relay_core::letter::ReportVoid;
use viewer_api::desk::{LOCKOUT_FAILURES, LOCKOUT_MS, Signed};

pub(super) async fn execute(room: &Room, sql: &'static str) {
    let done = room.store.write(move |tx| {
        Box::pin(async move {
            sqlx::query(sql).execute(tx).await.map(|_| ()).map_err(crate::store::StoreError::database("test"))
        })
    });
    done.await.unwrap();
}

pub(super) async fn number(room: &Room, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut *room.store.read().await.unwrap()).await.unwrap()
}

fn other_name() -> PatientFacts {
    PatientFacts {
        name: "张玮".into(), sex: "M".into(), local_id: "0001".into(), ..PatientFacts::default()
    }
}

pub(super) async fn audit_by_zhang(room: &Room, item: i64) -> Result<Signed, relay_core::codes::Refusal> {
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let asked = request(room, &zhang(), item, lease.epoch, 0).await;
    room.desk.audit(&zhang(), item, asked, None, NOW).await
}

#[tokio::test]
async fn words_that_differ_from_the_signed_ones_get_no_second_signature() {
    let room = room().await;
    let item = film(&room.store, "1.3.1", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    execute(
        &room,
        "UPDATE report_text SET body = replace(body, '未见明显异常', '右肺占位') WHERE purpose = 'version'",
    )
    .await;
    let refusal = audit_by_zhang(&room, item).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::ReportInvalid, "report_text"));
    assert_eq!(number(&room, "SELECT count(*) FROM report_version").await, 1);
}

#[tokio::test]
async fn a_package_that_changed_on_the_disk_is_neither_audited_nor_shown() {
    let room = room().await;
    let item = film(&room.store, "1.3.2", CLINIC, Kind::Xray).await;
    let first = signed_by_liu(&room, item).await;
    let path = {
        let mut read = room.store.read().await.unwrap();
        let scope = crate::store::Scope::County;
        let (hash, _) = crate::reports::package_hash(&mut read, &scope, &first.report, 1).await.unwrap();
        room.store.blobs().path_of(&hash)
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    relay_core::durable::write_atomic(&RealDisk, &path, &bytes, 0o600).unwrap();
    assert_eq!(audit_by_zhang(&room, item).await.unwrap_err().code, Code::Damaged);
    let shown = room.desk.report_package(&liu(), &first.report, 1).await.unwrap_err();
    assert_eq!((shown.code, shown.field), (Code::Damaged, format!("{} v1", first.report)));
    let version = room.desk.study(&liu(), item, NOW).await.unwrap().versions.remove(0);
    assert_eq!(version.differs.as_deref(), Some("report_version.package_hash"));
    assert_eq!(version.text, DraftText::default(), "no word that is not proven to be signed");
}

#[tokio::test]
async fn another_package_under_the_row_of_a_version_is_not_audited() {
    let room = room().await;
    let (one, two) = (
        film(&room.store, "1.3.3", CLINIC, Kind::Xray).await,
        film(&room.store, "1.3.4", CLINIC, Kind::Xray).await,
    );
    signed_by_liu(&room, one).await;
    signed_by_liu(&room, two).await;
    execute(
        &room,
        "UPDATE report_version SET package_hash = (SELECT package_hash FROM report_version ORDER BY rowid LIMIT 1)",
    )
    .await;
    assert_eq!(audit_by_zhang(&room, two).await.unwrap_err().code, Code::ReportInvalid);
    let report = room.desk.study(&liu(), two, NOW).await.unwrap().versions[0].report.clone();
    let shown = room.desk.report_package(&liu(), &report, 1).await.unwrap_err();
    assert_eq!((shown.code, shown.field), (Code::ReportInvalid, format!("{report} v1")));
}

#[tokio::test]
async fn an_addendum_under_two_signatures_leaves_as_an_addendum() {
    let room = room().await;
    let item = film(&room.store, "1.3.5", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    audit_by_zhang(&room, item).await.unwrap();
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    (asked.kind, asked.reason) = (ReportKind::Addendum, Some("补充侧位片所见".into()));
    let third = room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    assert_eq!((third.kind, third.version), (ReportKind::Preliminary, 3));
    let fourth = audit_by_zhang(&room, item).await.unwrap();
    assert_eq!((fourth.kind, fourth.version), (ReportKind::Addendum, 4));
    let clinic = ClinicId::parse(CLINIC).unwrap();
    let verified =
        verify_report(&package(&room, &liu(), &fourth).await, &room.county.trust(), &clinic, NOW).unwrap();
    assert_eq!(verified.kind(), ReportKind::Addendum);
}

#[tokio::test]
async fn a_corrected_name_withdraws_the_signed_version_at_the_clinic_until_a_new_one_is_signed() {
    let room = room().await;
    let item = film(&room.store, "1.3.6", CLINIC, Kind::Xray).await;
    let first = signed_by_liu(&room, item).await;
    room.desk.correct_identity(&zhang(), item, other_name(), "登记姓名有误", NOW).await.unwrap();
    let row: (Vec<u8>, i64) =
        sqlx::query_as("SELECT body_hash, priority FROM letter WHERE kind = 'report_void'")
            .fetch_one(&mut *room.store.read().await.unwrap())
            .await
            .unwrap();
    let hash = ObjectHash::from_slice(&row.0).unwrap();
    let body = crate::reports::read_package(&room.store, hash, "void").await.unwrap();
    let void: ReportVoid = serde_json::from_slice(&body).unwrap();
    assert_eq!((void.report, void.through_version, void.reason.as_str()), (first.report, 1, "登记姓名有误"));
    assert_eq!(row.1, 1);
    let view = room.desk.study(&liu(), item, NOW).await.unwrap();
    assert!(view.versions[0].voided.is_some());

    // The second person cannot make a withdrawn version final; the author takes it for correction.
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let asked = request(&room, &zhang(), item, lease.epoch, 0).await;
    let refused = room.desk.audit(&zhang(), item, asked, None, NOW).await.unwrap_err();
    assert_eq!(refused.code, Code::StateConflict);
    room.desk.release(&zhang(), item, lease.epoch, NOW).await.unwrap();
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    (asked.kind, asked.reason) = (ReportKind::Correction, Some("姓名更正".into()));
    room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    let view = room.desk.study(&liu(), item, NOW).await.unwrap();
    assert!(view.versions[0].voided.is_some() && view.versions[1].voided.is_none());
    assert!(view.row.attention.is_empty());
    // Nothing final was ever released: this is the first.
    assert_eq!(audit_by_zhang(&room, item).await.unwrap().kind, ReportKind::Final);
}

#[tokio::test]
async fn an_unsigned_study_has_nothing_to_withdraw() {
    let room = room().await;
    let item = film(&room.store, "1.3.7", CLINIC, Kind::Xray).await;
    room.desk.correct_identity(&liu(), item, other_name(), "登记姓名有误", NOW).await.unwrap();
    assert_eq!(number(&room, "SELECT count(*) FROM letter").await, 0);
    assert!(room.desk.study(&liu(), item, NOW).await.unwrap().row.attention.is_empty());
}

#[tokio::test]
async fn a_reviewers_signature_leaves_the_authors_question_open_and_the_list_shows_it_in_every_state() {
    let room = room().await;
    let item = film(&room.store, "1.3.8", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    let ask = room.store.write(move |tx| {
        Box::pin(async move {
            for _ in 0..2 {
                let mut batch = crate::store::Batch::on(tx);
                attention::ask(&mut batch, item, attention::LATE_OBJECTS, NOW);
                batch.run().await?;
            }
            Ok(())
        })
    });
    ask.await.unwrap();
    assert_eq!(audit_by_zhang(&room, item).await.unwrap().state, "audited");
    let list = |mine| WorkFilter { mine, limit: 10, ..WorkFilter::default() };
    for filter in [list(false), list(true)] {
        let rows = room.desk.worklist(&liu(), &filter, NOW).await.unwrap().rows;
        assert_eq!(rows[0].attention, ["late_objects"]);
    }
    // A second reason stands beside the first.
    room.desk.correct_identity(&zhang(), item, other_name(), "登记姓名有误", NOW).await.unwrap();
    let rows = room.desk.worklist(&liu(), &list(false), NOW).await.unwrap().rows;
    assert_eq!(rows[0].attention, ["late_objects", "identity_corrected"]);
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    (asked.kind, asked.reason) = (ReportKind::Correction, Some("姓名更正".into()));
    room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    assert_eq!(number(&room, "SELECT count(*) FROM attention WHERE settled_at IS NULL").await, 0);
    assert_eq!(number(&room, "SELECT count(*) FROM attention WHERE settled_by LIKE '%/3'").await, 2);
}

#[tokio::test]
async fn guesses_of_a_signing_pin_lock_it_also_when_they_come_at_once() {
    let room = room().await;
    let item = film(&room.store, "1.3.9", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let right = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    let me = liu();
    let guesses = (0..3 * LOCKOUT_FAILURES).map(|n| {
        let wrong = SignRequest { pin: format!("{n:06}"), ..right.clone() };
        room.desk.sign(&me, item, wrong, NOW)
    });
    let codes: Vec<Code> =
        futures::future::join_all(guesses).await.into_iter().map(|r| r.unwrap_err().code).collect();
    let tried = codes.iter().filter(|c| **c == Code::PinWrong).count();
    assert_eq!((tried, codes.len()), (LOCKOUT_FAILURES as usize, 3 * LOCKOUT_FAILURES as usize));
    // Locked: not even the right one is looked at; afterwards it signs.
    let locked = room.desk.sign(&liu(), item, right.clone(), NOW).await.unwrap_err();
    assert_eq!((locked.code, locked.field.as_str()), (Code::AccountLocked, "pin"));
    assert!(room.trail.0.lock().unwrap().contains(&"liu signer.pin false".to_owned()));
    let later = NOW.plus_ms(LOCKOUT_MS);
    room.desk.expire_leases(later).await.unwrap();
    let lease = room.desk.claim(&liu(), item, later).await.unwrap();
    room.desk.sign(&liu(), item, SignRequest { epoch: lease.epoch, ..right }, later).await.unwrap();
    assert_eq!(number(&room, "SELECT pin_failures FROM account WHERE id = 'liu'").await, 0);
}

#[tokio::test]
async fn only_the_newest_words_of_a_draft_are_kept_and_none_after_signing() {
    let room = room().await;
    let item = film(&room.store, "1.3.10", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let mut revision = 0;
    for _ in 0..5 {
        let saved = room.desk.save_draft(&liu(), item, lease.epoch, revision, &words(), NOW).await.unwrap();
        revision = saved.revision;
    }
    assert_eq!(number(&room, "SELECT count(*) FROM report_text").await, 1);
    let asked = request(&room, &liu(), item, lease.epoch, revision).await;
    room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    assert_eq!(number(&room, "SELECT count(*) FROM report_text WHERE purpose = 'draft'").await, 0);
}

/// What verify-store says of the room's store, as `table.field` of each fault.
pub(super) async fn faults(room: &Room) -> Vec<String> {
    let trust = &room.desk.press.trust;
    let report = crate::operate::verify::verify_store(&room.store, Some(trust), NOW).await.unwrap();
    let named = |f: &crate::operate::verify::Fault| {
        format!("{}.{}", f.table, f.reason.split(": ").next().unwrap_or_default())
    };
    report.faults.iter().map(named).collect()
}

#[tokio::test]
async fn a_row_that_is_not_what_was_signed_is_named_and_the_reader_sees_the_signed_words() {
    let changes = [
        (
            "UPDATE report_text SET body = replace(body, '未见明显异常', '右肺占位') WHERE purpose = 'version'",
            "report_text.body.impression",
        ),
        ("UPDATE report_version SET author_name = '王医师'", "report_version.author_name"),
        ("UPDATE report_version SET kind = 'final', becomes = 'final'", "report_version.kind"),
        ("UPDATE report_version SET signed_at = signed_at - 3600000", "report_version.signed_at"),
        ("UPDATE report_version SET objects_read = 2", "report_version.objects_read"),
        ("UPDATE person SET name = '李四'", "person.name"),
        ("UPDATE study SET uid = '1.2.3.4'", "study.uid"),
    ];
    for (number_, (sql, place)) in changes.into_iter().enumerate() {
        let room = room().await;
        let item = film(&room.store, &format!("1.4.{number_}"), CLINIC, Kind::Xray).await;
        signed_by_liu(&room, item).await;
        let before = room.desk.study(&liu(), item, NOW).await.unwrap().versions.remove(0);
        assert_eq!(before.differs, None, "{place}");
        assert!(faults(&room).await.is_empty(), "{place}");
        execute(&room, sql).await;
        let view = room.desk.study(&liu(), item, NOW).await.unwrap();
        let after = &view.versions[0];
        assert_eq!(after.differs.as_deref(), Some(place));
        assert_eq!((&after.text, after.kind), (&before.text, before.kind), "{place}");
        assert_eq!((&after.author_name, after.signed_at), (&before.author_name, before.signed_at), "{place}");
        assert_eq!(view.row.report.unwrap().2, before.kind, "{place}");
        assert_eq!(faults(&room).await, [place]);
        for _ in 0..2 {
            room.desk.prove_versions(NOW.plus_ms(365 * relay_core::clock::DAY_MS)).await.unwrap();
        }
        let told = "SELECT count(*) FROM event WHERE type = 'report.damaged'";
        assert_eq!(number(&room, told).await, 1, "{place}: told once");
    }
}

#[tokio::test]
async fn a_version_whose_row_was_taken_out_is_missed() {
    let room = room().await;
    let item = film(&room.store, "1.4.20", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    execute(&room, "DELETE FROM report_version").await;
    assert_eq!(faults(&room).await, ["report_version.package_hash"]);
}

#[tokio::test]
async fn an_identity_that_a_person_corrected_is_no_damage_and_one_that_nobody_corrected_is() {
    let room = room().await;
    let item = film(&room.store, "1.4.21", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    room.desk.correct_identity(&zhang(), item, other_name(), "登记姓名有误", NOW).await.unwrap();
    assert!(faults(&room).await.is_empty());
    assert_eq!(room.desk.study(&liu(), item, NOW).await.unwrap().versions[0].differs, None);
    execute(&room, "UPDATE person SET name = '李四'").await;
    assert_eq!(faults(&room).await, ["person.name"]);
}

#[tokio::test]
async fn a_notice_that_nobody_reads_back_climbs_the_ladder_once_a_step_until_somebody_does() {
    let room = room().await;
    let item = film(&room.store, "1.4.30", CLINIC, Kind::Xray).await;
    let raise = RaiseCritical { code: "X-A01".into(), finding: "张力性气胸".into(), advice: None };
    room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
    let policy = Arc::new(SlaPolicy::default());
    let step = async |minutes: i64| {
        let taken = crate::background::climb(&room.store, &policy, NOW.plus_ms(minutes * MINUTE_MS)).await;
        (taken.unwrap(), room.desk.study(&liu(), item, NOW).await.unwrap().critical[0].escalated)
    };
    assert_eq!((step(4).await, step(5).await, step(6).await), ((0, 0), (1, 1), (0, 1)));
    assert_eq!((step(10).await, step(10).await), ((1, 2), (0, 2)));
    execute(&room, "UPDATE critical SET read_back_at = raised_at, read_back_by = '王医师'").await;
    assert_eq!(step(60).await, (0, 2));
    let told = "SELECT count(*) FROM event WHERE type = 'critical.escalated'";
    assert_eq!(number(&room, told).await, 2);
}

#[tokio::test]
async fn a_signed_report_is_withdrawn_only_by_its_author_or_a_reviewer_who_reads_its_kind() {
    let room = room().await;
    let item = film(&room.store, "1.4.31", CLINIC, Kind::Xray).await;
    let only_ecg = Reader { kinds: vec![Kind::Ecg], ..zhang() };
    let correct = async |who: Reader| {
        room.desk
            .correct_identity(&who, item, other_name(), "登记姓名有误", NOW)
            .await
            .map_err(|r| (r.code, r.field))
    };
    assert_eq!(correct(only_ecg.clone()).await, Err((Code::Forbidden, "kind".to_owned())));
    signed_by_liu(&room, item).await;
    assert_eq!(correct(only_ecg).await, Err((Code::Forbidden, "kind".to_owned())));
    assert_eq!(correct(reader("wu", &[Role::Reader])).await, Err((Code::Forbidden, "role".to_owned())));
    assert_eq!(number(&room, "SELECT count(*) FROM report_void").await, 0);
    assert_eq!(correct(liu()).await, Ok(()));
    assert_eq!(number(&room, "SELECT count(*) FROM report_void").await, 1);
}

#[tokio::test]
async fn a_delivery_that_no_receipt_and_no_note_tells_of_is_named() {
    let room = room().await;
    let item = film(&room.store, "1.4.40", CLINIC, Kind::Xray).await;
    let signed = signed_by_liu(&room, item).await;
    for (change, place) in [
        ("UPDATE report_version SET delivery = 'received'", "report_version.delivery"),
        ("UPDATE report_version SET received_at = 5, delivery = 'received'", "report_version.received_at"),
        ("UPDATE report_version SET opened_by = '伪造医生'", "report_version.opened_by"),
        (
            "UPDATE report_version SET opened_at = 5, opened_by = '伪造医生', delivery = 'opened'",
            "report_version.opened_at",
        ),
    ] {
        execute(&room, change).await;
        assert_eq!(faults(&room).await, [place]);
        let back = "UPDATE report_version SET delivery = 'queued', received_at = NULL, opened_at = NULL, opened_by = NULL";
        execute(&room, back).await;
        assert!(faults(&room).await.is_empty(), "{place}");
    }
    // A receipt says when; the row says the same, and no other time.
    let received = room.store.write(move |tx| {
        Box::pin(async move {
            let stored = crate::queue::load(tx, &crate::store::Scope::County, item).await?;
            let body = serde_json::json!({ "report": signed.report, "version": signed.version, "kind": "preliminary" });
            let event = stored.event("shilipu", crate::sla::kinds::RECEIVED, "x".into(), body, NOW);
            crate::store::event::append(tx, event).await.map(|_| ())
        })
    });
    received.await.unwrap();
    assert_eq!(faults(&room).await, ["report_version.received_at"], "the receipt was taken out of the row");
    let sql = format!("UPDATE report_version SET delivery = 'received', received_at = {}", NOW.0);
    let set = room.store.write(move |tx| {
        Box::pin(async move {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(tx).await.unwrap();
            Ok(())
        })
    });
    set.await.unwrap();
    assert!(faults(&room).await.is_empty());
}
