//! What paper says beside the reader's words: numbers, device and exposure from the files, an ECG's measurements and drawing,
//! licences and codes; and the number of the version, everywhere the same.

use super::*;
use crate::ingest::samples::element;
use relay_ecg::synth::{Spec, ecg};
use relay_ecg::write::{ScpIdentity, scp};
use relay_report::{MeasuredBy, ReportContent};
use viewer_api::desk::Signed;

fn text_of(pdf: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.pdf");
    crate::ingest::samples::overwrite(&file, pdf);
    let out = std::process::Command::new("pdftotext").arg(&file).arg("-").output().unwrap();
    String::from_utf8(out.stdout).unwrap().split_whitespace().collect()
}

/// Puts a file under the study of an item.
async fn put(room: &Room, item: i64, bytes: &[u8], kind: &'static str) {
    let hash = room.store.blobs().put(bytes).unwrap();
    let (sha, length) = (relay_core::ids::Sha256::of(bytes), bytes.len() as i64);
    let put = room.store.write(move |tx| {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO location (hash, storage, path, length, sha256, encoding, status, stored_at, verified_at)
                 VALUES ($1, 'local', '', $2, $3, 'identity', 'ok', 0, 0)",
            )
            .bind(&hash.0[..])
            .bind(length)
            .bind(&sha.0[..])
            .execute(&mut *tx)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO object (study_id, clinic, hash, sha256, length, kind, stored_at)
                 SELECT study_id, 'shilipu', $2, $3, $4, $5, 0 FROM work_item WHERE id = $1",
            )
            .bind(item)
            .bind(&hash.0[..])
            .bind(&sha.0[..])
            .bind(length)
            .bind(kind)
            .execute(tx)
            .await
            .unwrap();
            Ok(())
        })
    });
    put.await.unwrap();
}

async fn content(room: &Room, signed: &Signed) -> (ReportContent, String) {
    let package = package(room, &liu(), signed).await;
    (ReportContent::from_canonical(&package.json).unwrap(), text_of(&package.pdf))
}

fn header() -> Vec<u8> {
    let mut out = Vec::new();
    let texts: [(u16, u16, &[u8; 2], &str); 20] = [
        (8, 0x05, b"CS", "ISO_IR 192"),
        (8, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.1.1"),
        (8, 0x18, b"UI", "1.2.3.4"),
        (8, 0x50, b"SH", "SQ20261121007"),
        (8, 0x60, b"CS", "DX"),
        (8, 0x70, b"LO", "万东"),
        (8, 0x90, b"PN", "赵^卫国"),
        (8, 0x1010, b"SH", "DR1"),
        (8, 0x1070, b"PN", "钱\u{202e}技师"),
        (8, 0x1090, b"LO", "新东方1000"),
        (0x10, 0x10, b"PN", "张伟"),
        (0x10, 0x20, b"LO", "0001"),
        (0x18, 0x60, b"DS", "70.0"),
        (0x18, 0x1152, b"IS", "4"),
        (0x20, 0x0d, b"UI", "1.6.1"),
        (0x20, 0x0e, b"UI", "1.6.1.1"),
        (0x20, 0x10, b"SH", "X0088"),
        (0x28, 0x04, b"CS", "MONOCHROME2"),
        (0x32, 0x1033, b"LO", "外科门诊"),
        (0x38, 0x10, b"LO", "MZ0042"),
    ];
    for (group, number, vr, text) in texts {
        element(&mut out, group, number, vr, text.as_bytes());
    }
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
    element(&mut file, 2, 0, b"UL", &u32::try_from(meta.len()).unwrap().to_le_bytes());
    file.extend(meta);
    file.extend(out);
    file
}

#[tokio::test]
async fn a_films_own_header_fills_what_paper_asks_for() {
    let room = room().await;
    let item = film(&room.store, "1.6.1", CLINIC, Kind::Xray).await;
    put(&room, item, &header(), "dicom").await;
    let configured = room.store.write(|tx| {
        Box::pin(async move {
            for sql in [
                "UPDATE clinic SET organization_code = '12140122B' WHERE id = 'shilipu'",
                "UPDATE account SET license_no = '110140000012345' WHERE id = 'liu'",
            ] {
                sqlx::query(sql).execute(&mut *tx).await.unwrap();
            }
            Ok(())
        })
    });
    configured.await.unwrap();
    let signed = signed_by_liu(&room, item).await;
    let (content, paper) = content(&room, &signed).await;
    assert_eq!(content.request.apply_no.as_deref(), Some("SQ20261121007"));
    assert_eq!(content.request.dept.as_deref(), Some("外科门诊"));
    assert_eq!(content.request.doctor.as_deref(), Some("赵 卫国"));
    assert_eq!(content.patient.visit_no.as_deref(), Some("MZ0042"));
    assert_eq!(content.exam.device.as_deref(), Some("万东 新东方1000（DR1）"));
    assert_eq!(content.exam.method.as_deref(), Some("70 kV，4 mAs"));
    assert_eq!(content.exam.technician.as_deref(), Some("钱技师"), "what a file says is made printable");
    assert_eq!(content.exam.image_no.as_deref(), Some("X0088"));
    assert_eq!(content.author.license_no.as_deref(), Some("110140000012345"));
    assert_eq!(content.clinic.code.as_deref(), Some("12140122B"));
    assert_eq!(content.hospital.code.as_deref(), Some("12140122A"));
    for wanted in ["SQ20261121007", "外科门诊", "MZ0042", "新东方1000", "70kV，4mAs", "X0088"] {
        assert!(paper.contains(wanted), "{wanted} is not in {paper}");
    }
}

#[tokio::test]
async fn an_ecgs_report_prints_its_measurements_with_their_source_and_its_drawing() {
    for (rate, by_device) in [(72.0, false), (58.0, true)] {
        let room = room().await;
        let uid = format!("1.6.{}", 2 + u8::from(by_device));
        let item = film(&room.store, &uid, CLINIC, Kind::Ecg).await;
        let mut record = ecg(&Spec { rate_bpm: rate, ..Spec::normal(3) });
        record.device.manufacturer = Some("科宁".into());
        if by_device {
            for (key, value) in [("rate_bpm", 61.0), ("pr_ms", 150.0), ("qrs_ms", 96.0), ("qt_ms", 402.0)] {
                record.device.measured(key, "test", Some(value), "");
            }
            record.device.measured("qrs_axis_deg", "test", Some(-12.0), "deg");
        }
        let identity = ScpIdentity { acquired: (2026, 11, 21, 9, 58, 0), ..ScpIdentity::default() };
        put(&room, item, &scp(&record, &identity).unwrap(), "ecg").await;
        let signed = signed_by_liu(&room, item).await;
        let (content, paper) = content(&room, &signed).await;
        let found = &content.ecg;
        if by_device {
            assert_eq!(found.measured_by, Some(MeasuredBy::Device), "{found:?}");
            assert_eq!((found.ventricular_rate, found.qrs_axis), (Some(61), Some(-12)), "{found:?}");
            assert!(paper.contains("61次/分") && paper.contains("机器测量（参考测量值）"), "{paper}");
        } else {
            assert_eq!(found.measured_by, Some(MeasuredBy::Software), "{found:?}");
            assert!(found.ventricular_rate.is_some_and(|found| found.abs_diff(72) <= 1), "{found:?}");
            assert!(
                [found.pr_ms, found.qrs_ms, found.qt_ms, found.qtc_ms].iter().all(Option::is_some),
                "{found:?}"
            );
            assert!(paper.contains("软件测量·估计值（参考测量值）"), "{paper}");
        }
        for wanted in ["aVF", "V5", "25mm/s", "10mm/mV", "第2/2页"] {
            assert!(paper.contains(wanted), "{wanted} is not in {paper}");
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_not_read_for_paper_and_keeps_no_report_waiting() {
    let room = room().await;
    let item = film(&room.store, "1.6.4", CLINIC, Kind::Ecg).await;
    let record = ecg(&Spec::normal(3));
    let identity = ScpIdentity { acquired: (2026, 11, 21, 9, 58, 0), ..ScpIdentity::default() };
    let bytes = scp(&record, &identity).unwrap();
    put(&room, item, &bytes, "ecg").await;
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    crate::ingest::samples::overwrite(room.store.blobs().path_of(&ObjectHash::of(&bytes)), changed);
    let signed = signed_by_liu(&room, item).await;
    let (content, _) = content(&room, &signed).await;
    assert_eq!((content.ecg.measured_by, content.ecg.ventricular_rate), (None, None));
}

#[tokio::test]
async fn paper_and_page_give_one_number_to_a_version() {
    let room = room().await;
    let item = film(&room.store, "1.6.5", CLINIC, Kind::Xray).await;
    let first = signed_by_liu(&room, item).await;
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let asked = request(&room, &zhang(), item, lease.epoch, 0).await;
    let last = room.desk.audit(&zhang(), item, asked, None, NOW).await.unwrap();
    assert_eq!((first.version, last.version), (1, 2));
    let versions = room.desk.study(&liu(), item, NOW).await.unwrap().versions;
    for (signed, version) in [first, last].iter().zip(&versions) {
        let (content, _) = content(&room, signed).await;
        assert_eq!((signed.paper_version, version.paper_version), (content.version, content.version));
    }
    assert_eq!(versions[1].paper_version, 1);
}

#[tokio::test]
async fn an_addendum_that_awaits_its_second_signature_says_that_the_report_stays_valid() {
    let room = room().await;
    let item = film(&room.store, "1.6.10", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    super::custody::audit_by_zhang(&room, item).await.unwrap();
    for (kind, says, not) in
        [(ReportKind::Addendum, "拟补充v1（标识", "替代"), (ReportKind::Correction, "拟更正v", "本报告替代")]
    {
        let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
        let draft = room.desk.draft(&liu(), item).await.unwrap().map_or(0, |draft| draft.revision);
        let draft = room.desk.save_draft(&liu(), item, lease.epoch, draft, &words(), NOW).await.unwrap();
        let mut asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
        (asked.kind, asked.reason) = (kind, Some("补充侧位片所见".into()));
        let signed = room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
        let (content, paper) = content(&room, &signed).await;
        assert_eq!(signed.kind, ReportKind::Preliminary);
        assert_eq!(
            content.becomes.map(|k| k.zh()),
            Some(if kind == ReportKind::Addendum { "补充报告" } else { "更正报告" })
        );
        assert!(paper.contains(says) && !paper.contains(not), "{kind:?}: {paper}");
        super::custody::audit_by_zhang(&room, item).await.unwrap();
    }
}

#[tokio::test]
async fn the_title_is_that_of_the_modality() {
    for (number, (modality, title)) in [
        ("DX", "X线诊断报告单"),
        ("CT", "CT诊断报告单"),
        ("US", "超声诊断报告单"),
        ("MR", "磁共振诊断报告单"),
        ("", "影像诊断报告单"),
    ]
    .into_iter()
    .enumerate()
    {
        let room = room().await;
        let item = film(&room.store, &format!("1.6.2{number}"), CLINIC, Kind::Xray).await;
        let done = room.store.write(move |tx| {
            Box::pin(async move {
                sqlx::query("UPDATE study SET modality = $1, item = ''")
                    .bind(modality)
                    .execute(tx)
                    .await
                    .unwrap();
                Ok(())
            })
        });
        done.await.unwrap();
        let signed = signed_by_liu(&room, item).await;
        let (_, paper) = content(&room, &signed).await;
        assert!(paper.contains(title), "{modality}: {paper}");
        assert_eq!(paper.contains("X线"), modality == "DX", "{modality}: {paper}");
    }
}

#[tokio::test]
async fn paper_names_every_part_with_its_side_and_every_critical_value() {
    let room = room().await;
    let item = film(&room.store, "1.6.30", CLINIC, Kind::Xray).await;
    for (number, (part, side)) in [("KNEE", "L"), ("HAND", "R"), ("SKULL", "")].into_iter().enumerate() {
        put(&room, item, format!("a picture {number}").as_bytes(), "document").await;
        let sql = format!(
            "UPDATE object SET body_part = '{part}', laterality = '{side}', instance_uid = '1.6.30.{number}'
             WHERE id = (SELECT max(id) FROM object)"
        );
        let done = room.store.write(move |tx| {
            Box::pin(async move {
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(tx).await.unwrap();
                Ok(())
            })
        });
        done.await.unwrap();
    }
    for (code, finding) in [("X-A01", "张力性气胸"), ("X-A02", "大量气胸"), ("X-B03", "肋骨多发骨折")]
    {
        let raise = RaiseCritical { code: code.into(), finding: finding.into(), advice: None };
        room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
    }
    let signed = signed_by_liu(&room, item).await;
    let (content, paper) = content(&room, &signed).await;
    assert_eq!(content.exam.body_part.as_deref(), Some("左侧KNEE、右侧HAND、SKULL"));
    assert_eq!((content.exam.laterality, content.criticals.len()), (None, 3));
    for wanted in ["左侧KNEE、右侧HAND、", "SKULL", "X-A01张力性气胸", "X-A02大量气胸", "X-B03肋骨多发骨折"]
    {
        assert!(paper.contains(wanted), "{wanted} is not in {paper}");
    }
}

#[tokio::test]
async fn a_patient_who_was_changed_behind_the_files_is_not_signed() {
    let room = room().await;
    let item = film(&room.store, "1.6.1", CLINIC, Kind::Xray).await;
    put(&room, item, &header(), "dicom").await;
    super::custody::execute(&room, "UPDATE person SET name = '假名'").await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    let draft = room.desk.save_draft(&liu(), item, lease.epoch, 0, &words(), NOW).await.unwrap();
    let asked = request(&room, &liu(), item, lease.epoch, draft.revision).await;
    let refusal = room.desk.sign(&liu(), item, asked.clone(), NOW).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::Damaged, "person.name"));
    assert_eq!(super::custody::faults(&room).await, ["person.name"]);
    // Put right, it is signed, and nobody is accused.
    super::custody::execute(&room, "UPDATE person SET name = '张伟'").await;
    room.desk.sign(&liu(), item, asked, NOW).await.unwrap();
    assert!(super::custody::faults(&room).await.is_empty());
    // The second signature looks as well.
    super::custody::execute(&room, "UPDATE person SET local_id = '0002'").await;
    let lease = room.desk.claim(&zhang(), item, NOW).await.unwrap();
    let asked = request(&room, &zhang(), item, lease.epoch, 0).await;
    let refusal = room.desk.audit(&zhang(), item, asked, None, NOW).await.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::Damaged, "person.local_id"));
}

#[tokio::test]
async fn a_preview_that_is_not_the_one_that_was_made_is_not_shown_and_is_made_anew() {
    let room = room().await;
    let item = film(&room.store, "1.6.1", CLINIC, Kind::Xray).await;
    let bytes = header();
    put(&room, item, &bytes, "dicom").await;
    let object = ObjectHash::of(&bytes);
    let path = room.store.preview_path(&object);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    crate::ingest::samples::overwrite(&path, b"a picture");
    let made = room.store.write(move |tx| {
        Box::pin(async move {
            let mut batch = crate::store::Batch::on(tx);
            crate::jobs::add(&mut batch, "preview", &object.to_hex(), NOW);
            batch.run().await?;
            crate::jobs::made(tx, 1, ObjectHash::of(b"a picture"), NOW).await
        })
    });
    made.await.unwrap();
    let key = StudyKey { clinic: ClinicId::parse(CLINIC).unwrap(), uid: StudyUid::parse("1.6.1").unwrap() };
    let reader = liu();
    let shown = async || room.desk.preview(&reader, &key, &object, NOW).await.unwrap();
    assert_eq!(shown().await.as_deref(), Some(&b"a picture"[..]));
    crate::ingest::samples::overwrite(&path, b"another patient's");
    assert_eq!(shown().await, None);
    assert_eq!(super::custody::number(&room, "SELECT count(*) FROM job WHERE state = 'open'").await, 1);
}
