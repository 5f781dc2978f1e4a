use super::*;
use crate::ingest::samples::{Film, Lab, NOW, STUDY, clinic, manifest, overwrite, plain, policy};
use crate::store::{event, one_row};
use relay_core::codes::Code;
use relay_core::ids::{NoteId, ObjectHash, ReportId, StudyUid};
use relay_core::letter::{LetterKind, NoteBody, NoteKind, PURPOSE_NOTE};
use relay_core::study::Class;

/// Believes every note whose signature is `good`.
struct Trusting;

impl NoteJudge for Trusting {
    fn judge(&self, note: &Note, _device: &[u8], _clinic: &ClinicId) -> Result<NoteBody, Refusal> {
        if note.signature != b"good" {
            return Err(Refusal::new(Code::FieldInvalid, "signature", "not by the device"));
        }
        Ok(serde_json::from_slice(&note.body).unwrap())
    }
}

fn returns(lab: &Lab) -> Returns {
    Returns::new(lab.store.clone(), Arc::new(Trusting), policy())
}

fn letter_id(id: &str) -> LetterId {
    LetterId::parse(id).unwrap()
}

async fn post(
    lab: &Lab,
    id: &'static str,
    kind: LetterKind,
    priority: i64,
    body: &[u8],
    written: i64,
) -> ObjectHash {
    let (hash, length) = (lab.store.blobs().put(body).unwrap(), body.len() as i64);
    lab.store
        .write(move |tx| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO letter (id, clinic, kind, study_uid, study_id, body_hash, length, priority, written_at)
                     SELECT $1, clinic, $2, uid, id, $3, $4, $5, $6 FROM study WHERE clinic = 'a'",
                )
                .bind(id)
                .bind(kind.word())
                .bind(&hash.0[..])
                .bind(length)
                .bind(priority)
                .bind(written)
                .execute(tx)
                .await
                .map_err(StoreError::database("post"))?;
                one_row(&done, "letter", id)
            })
        })
        .await
        .unwrap();
    hash
}

async fn lab_with_study() -> Lab {
    let lab = Lab::new().await;
    let bytes = Film::default().bytes();
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&bytes)]), &[&bytes]).await;
    lab
}

/// A signed version whose letter waits.
async fn lab_with_report(kind: &'static str) -> Lab {
    let lab = lab_with_study().await;
    post(&lab, "l1", LetterKind::Report, 2, b"package", 1).await;
    lab.execute(
        "INSERT INTO report_text (id, study_id, purpose, body, at) VALUES (1, 1, 'version', '{}', 0)",
    )
    .await;
    lab.execute("INSERT INTO report (id, study_id, purpose, created_at) VALUES ('r1', 1, 'report', 0)").await;
    let sql = match kind {
        "final" => {
            "INSERT INTO report_version VALUES ('r1', 1, NULL, 'final', zeroblob(32), 1, 'd1', 'D', NULL, NULL, 5, NULL,
             zeroblob(32), 1, 1, 1, 1, NULL, 'final', 'l1', 'queued', NULL, NULL, NULL, NULL, 0, NULL)"
        }
        _ => {
            "INSERT INTO report_version VALUES ('r1', 1, NULL, 'preliminary', zeroblob(32), 1, 'd1', 'D', NULL, NULL, 5,
             NULL, zeroblob(32), 1, 1, 1, 1, NULL, 'final', 'l1', 'queued', NULL, NULL, NULL, NULL, 0, NULL)"
        }
    };
    lab.execute(sql).await;
    lab.execute("UPDATE work_item SET state = 'signed', author = 'd1'").await;
    lab
}

fn note(id: &str, kind: NoteKind, letter: &str, text: Option<&str>) -> Note {
    let body = NoteBody {
        purpose: PURPOSE_NOTE.into(),
        id: NoteId::parse(id).unwrap(),
        kind,
        clinic: clinic("a"),
        study: StudyUid::parse(STUDY).unwrap(),
        letter: Some(letter_id(letter)),
        report: Some((ReportId::parse("r1").unwrap(), 1)),
        person: "护士甲".into(),
        text: text.map(str::to_owned),
        at: NOW,
    };
    Note {
        id: body.id.clone(),
        kind,
        body: serde_json::to_vec(&body).unwrap(),
        signature: b"good".to_vec(),
        certificate: Vec::new(),
    }
}

#[tokio::test]
async fn letters_wait_in_order_until_their_receipt_and_critical_ones_go_first() {
    let lab = lab_with_study().await;
    let returns = returns(&lab);
    let mut changes = returns.changes();
    changes.borrow_and_update();
    post(&lab, "report", LetterKind::Report, 2, b"package", 1).await;
    post(&lab, "notice", LetterKind::StudyStatus, 4, b"{}", 0).await;
    post(&lab, "critical", LetterKind::CriticalNotice, 0, b"{!}", 9).await;
    assert!(changes.has_changed().unwrap());
    let ids = |letters: Vec<LetterHead>| letters.into_iter().map(|l| l.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(returns.pending(&clinic("a"), 10, NOW).await.unwrap()), ["critical", "report", "notice"]);
    assert_eq!(ids(returns.pending(&clinic("a"), 1, NOW).await.unwrap()), ["critical", "report"]);
    assert!(returns.pending(&clinic("b"), 10, NOW).await.unwrap().is_empty());
    let body = returns.body(&clinic("a"), &letter_id("report"), NOW).await.unwrap();
    assert_eq!(&body[..], b"package");
    for _ in 0..2 {
        returns.receipted(&clinic("a"), &letter_id("notice"), NOW, NOW).await.unwrap();
    }
    assert_eq!(ids(returns.pending(&clinic("a"), 10, NOW).await.unwrap()), ["critical", "report"]);
}

#[tokio::test]
async fn another_clinic_cannot_read_or_receipt_a_letter() {
    let lab = lab_with_report("final").await;
    let returns = returns(&lab);
    let (b, id) = (clinic("b"), letter_id("l1"));
    assert_eq!(returns.body(&b, &id, NOW).await.unwrap_err().code, Code::NotFound);
    assert_eq!(returns.receipted(&b, &id, NOW, NOW).await.unwrap_err().code, Code::NotFound);
    let refusal = Refusal::new(Code::WrongClinic, "", "");
    assert_eq!(returns.refused(&b, &id, &refusal, NOW).await.unwrap_err().code, Code::NotFound);
    assert_eq!(lab.text("SELECT delivery FROM report_version").await, "queued");
}

#[tokio::test]
async fn a_final_version_goes_queued_sent_received_opened_and_closes_the_case() {
    let lab = lab_with_report("final").await;
    let returns = returns(&lab);
    let (a, id) = (clinic("a"), letter_id("l1"));
    returns.body(&a, &id, NOW).await.unwrap();
    assert_eq!(lab.text("SELECT delivery FROM report_version").await, "sent");
    for _ in 0..2 {
        returns.receipted(&a, &id, NOW.plus_ms(-3), NOW).await.unwrap();
    }
    assert_eq!(lab.text("SELECT delivery FROM report_version").await, "received");
    assert_eq!(lab.text("SELECT state FROM work_item").await, "closed");
    assert_eq!(lab.number("SELECT received_at - stored_at FROM letter").await, 3);
    let opened = note("n1", NoteKind::ReportOpened, "l1", None);
    for _ in 0..2 {
        returns.note(&a, &opened, b"certificate", NOW).await.unwrap();
    }
    assert_eq!(lab.text("SELECT delivery || ' ' || opened_by FROM report_version").await, "opened 护士甲");
    assert_eq!(lab.number("SELECT opened_at FROM work_item").await, NOW.0);
    let events = lab.events().await;
    assert_eq!(events[events.len() - 3..], ["report.received", "work.closed", "report.opened"]);
    assert_eq!(lab.number("SELECT received_at FROM work_item").await, NOW.0);
}

#[tokio::test]
async fn a_preliminary_version_does_not_close_the_case() {
    let lab = lab_with_report("preliminary").await;
    lab.execute("UPDATE work_item SET awaits_audit = 1").await;
    let returns = returns(&lab);
    returns.receipted(&clinic("a"), &letter_id("l1"), NOW, NOW).await.unwrap();
    returns.note(&clinic("a"), &note("n1", NoteKind::ReportOpened, "l1", None), b"c", NOW).await.unwrap();
    assert_eq!(lab.text("SELECT state FROM work_item").await, "signed");
    assert_eq!(lab.number("SELECT prelim_received_at + prelim_opened_at FROM work_item").await, 2 * NOW.0);
    assert_eq!(lab.number("SELECT count(*) FROM work_item WHERE received_at IS NULL").await, 1);
}

#[tokio::test]
async fn a_critical_notice_is_received_read_back_and_acted_upon_by_named_people() {
    let lab = lab_with_study().await;
    let returns = returns(&lab);
    post(&lab, "c1", LetterKind::CriticalNotice, 0, b"{}", 1).await;
    lab.execute(
        "INSERT INTO report_text (id, study_id, purpose, body, at) VALUES (1, 1, 'critical', '{}', 0)",
    )
    .await;
    lab.execute(
        "INSERT INTO critical (study_id, code, tier, text_id, raised_by, raised_by_name, raised_at, letter)
         VALUES (1, 'X-A01', 'A', 1, 'd1', 'D', 0, 'c1')",
    )
    .await;
    returns.receipted(&clinic("a"), &letter_id("c1"), NOW, NOW).await.unwrap();
    let back = note("n1", NoteKind::CriticalReadBack, "c1", Some("张力性气胸"));
    let again = note("n2", NoteKind::CriticalReadBack, "c1", Some("再次"));
    let action = note("n3", NoteKind::CriticalAction, "c1", Some("胸腔闭式引流"));
    for one in [&back, &again, &action, &back] {
        returns.note(&clinic("a"), one, b"c", NOW).await.unwrap();
    }
    let told =
        "SELECT json_extract(t.body, '$.text') FROM critical c JOIN report_text t ON t.id = c.read_back_text";
    assert_eq!(lab.text(told).await, "张力性气胸");
    assert_eq!(
        lab.number("SELECT count(*) FROM critical WHERE received_at = read_back_at AND action_by = '护士甲'")
            .await,
        1
    );
    assert_eq!(lab.number("SELECT count(*) FROM note").await, 3);
    let mut tx = lab.store.read().await.unwrap();
    let all = format!("{:?}", event::of_study(&mut tx, 1).await.unwrap());
    assert!(!all.contains("气胸") && !all.contains("引流"), "{all}");
}

#[tokio::test]
async fn a_note_that_is_not_by_the_device_or_reuses_an_id_is_refused() {
    let lab = lab_with_report("final").await;
    let returns = returns(&lab);
    let good = note("n1", NoteKind::ReportOpened, "l1", None);
    let bad = Note { signature: b"bad".to_vec(), ..good.clone() };
    assert_eq!(returns.note(&clinic("a"), &bad, b"c", NOW).await.unwrap_err().code, Code::FieldInvalid);
    assert_eq!(lab.number("SELECT count(*) FROM note").await, 0);
    returns.note(&clinic("a"), &good, b"c", NOW).await.unwrap();
    let other = note("n1", NoteKind::ReportOpened, "l1", Some("x"));
    assert_eq!(returns.note(&clinic("a"), &other, b"c", NOW).await.unwrap_err().field, "note id");
}

#[tokio::test]
async fn a_refused_letter_is_told_once_and_offered_again_after_growing_pauses() {
    let lab = lab_with_report("final").await;
    let (returns, a) = (returns(&lab), clinic("a"));
    // What was never tried waits as well: its clinic may be off line.
    let waiting = unreceived(&mut lab.store.read().await.unwrap(), 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].refused.as_deref(), waiting[0].delays), (1, None, 0));
    let refusal = Refusal::new(Code::ReportInvalid, "report.pdf", "digest differs");
    returns.refused(&a, &letter_id("l1"), &refusal, NOW).await.unwrap();
    assert!(returns.pending(&a, 10, NOW).await.unwrap().is_empty());
    assert_eq!(lab.events().await.last().unwrap(), "letter.refused");
    let told = lab.events().await.len();
    let minute = NOW.plus_ms(60_000);
    assert_eq!(returns.pending(&a, 10, minute).await.unwrap().len(), 1);
    returns.refused(&a, &letter_id("l1"), &refusal, minute).await.unwrap();
    assert_eq!(lab.events().await.len(), told, "the same refusal is no news");
    assert!(returns.pending(&a, 10, minute.plus_ms(4 * 60_000)).await.unwrap().is_empty(), "the pause grows");
    assert_eq!(returns.pending(&a, 10, minute.plus_ms(5 * 60_000)).await.unwrap().len(), 1);
    let mut tx = lab.store.read().await.unwrap();
    let waiting = unreceived(&mut tx, 10).await.unwrap();
    assert_eq!((waiting[0].refused.as_deref(), waiting[0].refusals), (Some("REPORT_INVALID"), 2));
    drop(tx);
    // The clinic's program was renewed: it takes the letter.
    returns.receipted(&a, &letter_id("l1"), NOW, minute).await.unwrap();
    assert_eq!(lab.text("SELECT delivery FROM report_version").await, "received");
    let mut tx = lab.store.read().await.unwrap();
    assert!(unreceived(&mut tx, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_critical_notice_shows_at_the_county_and_is_tried_every_minute() {
    let lab = lab_with_study().await;
    let (returns, a) = (returns(&lab), clinic("a"));
    post(&lab, "crit", LetterKind::CriticalNotice, 0, b"{!}", 9).await;
    let refusal = Refusal::new(Code::FrameMalformed, "critical notice", "line 1");
    for minutes in 0..5 {
        let now = NOW.plus_ms(minutes * 60_000);
        assert_eq!(returns.pending(&a, 10, now).await.unwrap().len(), 1);
        returns.refused(&a, &letter_id("crit"), &refusal, now).await.unwrap();
    }
    let events = lab.events().await;
    assert_eq!(events.iter().filter(|kind| *kind == "critical.refused").count(), 1);
}

#[tokio::test]
async fn a_letter_that_does_not_get_through_goes_behind_the_others() {
    let lab = lab_with_study().await;
    let (returns, a) = (returns(&lab), clinic("a"));
    for (n, id) in ["l1", "l2", "l3"].into_iter().enumerate() {
        post(&lab, id, LetterKind::Report, 2, id.as_bytes(), n as i64).await;
    }
    let damaged = Refusal::new(Code::StorageFailed, "letter", "cannot be read back");
    returns.delayed(&a, &letter_id("l1"), &damaged, NOW).await.unwrap();
    let ids = |letters: Vec<LetterHead>| letters.into_iter().map(|l| l.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(returns.pending(&a, 10, NOW).await.unwrap()), ["l2", "l3"]);
    let later = NOW.plus_ms(60_000);
    assert_eq!(ids(returns.pending(&a, 10, later).await.unwrap()), ["l2", "l3", "l1"]);
    assert_eq!(lab.events().await.last().unwrap(), "letter.delayed");
}

#[tokio::test]
async fn an_operator_or_the_clinics_return_has_a_refused_letter_offered_at_once() {
    let lab = lab_with_study().await;
    let (returns, a) = (returns(&lab), clinic("a"));
    post(&lab, "l1", LetterKind::Report, 2, b"package", 1).await;
    let refusal = Refusal::new(Code::ReportInvalid, "report.pdf", "digest differs");
    let mut now = NOW;
    for _ in 0..5 {
        returns.refused(&a, &letter_id("l1"), &refusal, now).await.unwrap();
        now = now.plus_ms(1);
    }
    let write = async |at: UtcMs, by_hand: bool| {
        lab.store
            .write(move |tx| {
                Box::pin(async move {
                    if by_hand {
                        offer_again(tx, Some(&letter_id("l1")), at).await.map(drop)
                    } else {
                        connected(tx, &clinic("a"), at).await
                    }
                })
            })
            .await
    };
    write(now, false).await.unwrap();
    assert!(returns.pending(&a, 10, now).await.unwrap().is_empty(), "it was tried just now");
    let later = now.plus_ms(11 * 60_000);
    assert!(returns.pending(&a, 10, later).await.unwrap().is_empty());
    write(later, false).await.unwrap();
    assert_eq!(returns.pending(&a, 10, later).await.unwrap().len(), 1);
    returns.refused(&a, &letter_id("l1"), &refusal, later).await.unwrap();
    write(later, true).await.unwrap();
    assert_eq!(returns.pending(&a, 10, later).await.unwrap().len(), 1);
    let unknown = lab
        .store
        .write(|tx| Box::pin(async move { offer_again(tx, Some(&letter_id("l9")), NOW).await }))
        .await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn a_body_that_changed_on_our_disk_does_not_leave_the_county() {
    let lab = lab_with_study().await;
    let hash = post(&lab, "l1", LetterKind::Report, 2, b"package", 1).await;
    overwrite(lab.store.blobs().path_of(&hash), b"pakcage");
    let error = returns(&lab).body(&clinic("a"), &letter_id("l1"), NOW).await.unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
}

#[tokio::test]
async fn only_the_newest_state_of_a_study_waits() {
    let lab = lab_with_study().await;
    let returns = returns(&lab);
    let written = async |at: i64| {
        let round = write_statuses(&lab.store, 10, NOW.plus_ms(at)).await.unwrap();
        assert!(round.failed.is_empty() && !round.more, "{round:?}");
        round.written
    };
    assert_eq!((written(1).await, written(2).await), (1, 0));
    let waiting = returns.pending(&clinic("a"), 10, NOW).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let body = returns.body(&clinic("a"), &waiting[0].id, NOW).await.unwrap();
    assert_eq!((body.len() as u64, ObjectHash::of(&body)), (waiting[0].length, waiting[0].hash));
    lab.execute("UPDATE work_item SET state = 'signed', state_at = state_at + 10").await;
    assert_eq!(written(20).await, 1);
    let newest = returns.pending(&clinic("a"), 10, NOW).await.unwrap();
    assert_eq!(newest.len(), 1);
    assert_ne!(newest[0].id, waiting[0].id);
    // And back: told again, as a letter of its own, with the time of that state.
    lab.execute("UPDATE work_item SET state = 'waiting', state_at = state_at + 20").await;
    assert_eq!(written(40).await, 1);
    let back = returns.pending(&clinic("a"), 10, NOW).await.unwrap();
    assert_eq!(back.len(), 1);
    assert!(back[0].id != waiting[0].id && back[0].id != newest[0].id);
    // A change in the same millisecond, or under a clock that was set back, is told, too.
    lab.execute("UPDATE work_item SET state = 'claimed', state_at = state_at + 1").await;
    assert_eq!((written(-5_000).await, written(0).await), (1, 0));
    assert_ne!(returns.pending(&clinic("a"), 10, NOW).await.unwrap()[0].id, back[0].id);
}
