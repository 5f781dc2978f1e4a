//! What must not wait, and who may do it: critical notices, late objects before the audit, licences.

use super::*;

async fn execute(room: &Room, sql: &'static str) {
    room.store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query(sql).execute(tx).await.unwrap();
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn raised(room: &Room, item: i64, code: &str) {
    let raise = RaiseCritical { code: code.into(), finding: "张力性气胸".into(), advice: None };
    room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
}

fn text_of(pdf: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    crate::ingest::samples::overwrite(file.path(), pdf);
    let out = std::process::Command::new("pdftotext").arg(file.path()).arg("-").output().unwrap();
    String::from_utf8(out.stdout).unwrap().split_whitespace().collect()
}

#[tokio::test]
async fn a_notice_that_the_clinic_has_but_nobody_has_read_back_keeps_no_report_waiting() {
    let room = room().await;
    let item = film(&room.store, "1.2.20", CLINIC, Kind::Xray).await;
    raised(&room, item, "X-A01").await;
    execute(&room, "UPDATE critical SET received_at = raised_at + 20").await;
    let first = signed_by_liu(&room, item).await;
    let paper = text_of(&package(&room, &liu(), &first).await.pdf);
    assert!(paper.contains("X-A01") && paper.contains("尚无通知记录"), "{paper}");
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let request = request(&room, &zhang(), item, lease.epoch, 0).await;
    assert_eq!(room.desk.audit(&zhang(), item, request, None, NOW).await.unwrap().kind, ReportKind::Final);
}

#[tokio::test]
async fn who_reads_ecgs_only_neither_claims_nor_signs_a_film_and_may_still_raise_the_alarm() {
    let room = room().await;
    let item = film(&room.store, "1.2.21", CLINIC, Kind::Xray).await;
    let cardiologist = Reader { kinds: vec![Kind::Ecg], ..zhang() };
    let forbidden = |refusal: relay_core::codes::Refusal| {
        assert_eq!((refusal.code, refusal.field.as_str()), (Code::Forbidden, "kind"));
    };
    forbidden(room.desk.claim(&cardiologist, item, NOW).await.unwrap_err());
    // He held it before his licence was cut down: what is signed counts, not what was claimed.
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&zhang(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let asked = request(&room, &zhang(), item, lease.epoch, draft.revision).await;
    forbidden(room.desk.sign(&cardiologist, item, asked.clone(), NOW).await.unwrap_err());
    forbidden(room.desk.audit(&cardiologist, item, asked, None, NOW).await.unwrap_err());
    forbidden(
        room.desk
            .request_retake(&cardiologist, item, lease.epoch, "position", "请重拍", NOW)
            .await
            .unwrap_err(),
    );
    assert!(room.desk.study(&cardiologist, item, NOW).await.is_ok(), "he may look at it as a prior");
    let raise = RaiseCritical { code: "X-A01".into(), finding: "张力性气胸".into(), advice: None };
    room.desk.raise_critical(&cardiologist, item, raise, NOW).await.unwrap();
}

/// A second film of a study that liu has signed.
async fn a_late_view(room: &Room) {
    let both = StudyRevision::of([ObjectHash::of(b"1.2.22"), ObjectHash::of(b"late")]);
    room.store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query("UPDATE study SET revision = $1, objects_here = 2, objects_announced = 2 WHERE uid = '1.2.22'")
                    .bind(&both.0.0[..])
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                sqlx::query(
                    "INSERT INTO attention (work_item, reason, owner, at) SELECT id, 'late_objects', author, 0 FROM work_item",
                )
                .execute(tx)
                .await
                .unwrap();
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn an_author_adds_to_his_report_when_a_view_comes_before_the_audit() {
    let room = room().await;
    let item = film(&room.store, "1.2.22", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    assert_eq!(room.desk.claim(&liu(), item, NOW).await.unwrap_err().code, Code::ReviewerIsAuthor);
    a_late_view(&room).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    (asked.kind, asked.reason) = (ReportKind::Correction, Some("补充侧位".into()));
    let second = room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    assert_eq!(
        (second.kind, second.version),
        (ReportKind::Preliminary, 2),
        "it still awaits the second person"
    );
    let row = room.desk.study(&zhang(), item, NOW).await.unwrap().row;
    assert!(row.attention.is_empty(), "nothing is asked of him any more: {:?}", row.attention);
    assert_eq!(room.desk.claim(&liu(), item, NOW).await.unwrap_err().code, Code::ReviewerIsAuthor);
}

#[tokio::test]
async fn paper_says_what_the_author_never_saw_when_a_view_comes_before_the_audit() {
    let room = room().await;
    let item = film(&room.store, "1.2.22", CLINIC, Kind::Xray).await;
    let first = signed_by_liu(&room, item).await;
    a_late_view(&room).await;
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let request = request(&room, &zhang(), item, lease.epoch, 0).await;
    let last = room.desk.audit(&zhang(), item, request, None, NOW).await.unwrap();
    let said = "报告医师签名后影像有变化（签名时1幅，审核时2幅），变化部分由审核医师审阅。";
    let paper = text_of(&package(&room, &zhang(), &last).await.pdf);
    assert!(paper.contains(said), "{paper}");
    assert!(!text_of(&package(&room, &zhang(), &first).await.pdf).contains("影像有变化"));
    let row = room.desk.study(&liu(), item, NOW).await.unwrap().row;
    assert_eq!(row.attention, ["late_objects"], "its author is still asked to look");
}

#[tokio::test]
async fn only_a_reviewer_takes_what_awaits_audit() {
    let room = room().await;
    let item = film(&room.store, "1.2.23", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    let colleague = reader("wang", &[Role::Reader]);
    let refusal = room.desk.claim(&colleague, item, NOW).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::Forbidden, "role"));
    room.desk.claim(&zhang(), item, NOW).await.unwrap();
}

#[tokio::test]
async fn words_longer_than_paper_holds_keep_no_report_from_being_signed() {
    let room = room().await;
    let item = film(&room.store, "1.2.24", CLINIC, Kind::Xray).await;
    let raise = RaiseCritical { code: "X-A01".into(), finding: "气胸".repeat(300), advice: None };
    room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
    let context = serde_json::json!({
        "complaint": "咳".repeat(900), "phone": "1".repeat(400), "doctor": "王".repeat(400), "patient_name": null,
    });
    let told = "UPDATE critical SET read_back_at = raised_at, read_back_by = printf('%.*c', 300, 'x')";
    execute(&room, told).await;
    room.store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query("UPDATE person SET context = $1, national_id = $2")
                    .bind(context.to_string())
                    .bind("9".repeat(300))
                    .execute(tx)
                    .await
                    .unwrap();
                Ok(())
            })
        })
        .await
        .unwrap();
    let paper = text_of(&package(&room, &liu(), &signed_by_liu(&room, item).await).await.pdf);
    assert!(paper.contains('…') && paper.contains("X-A01"), "{paper}");
}
