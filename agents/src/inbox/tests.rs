mod lists;

use super::*;
use crate::config::QuietSeconds;
use crate::courier::ports::Outbox as _;
use crate::spool::{PinError, SpoolLimits, SpoolOptions};
use rand::SeedableRng as _;
use relay_certs::certificate::DoctorRole;
use relay_certs::signing::verify_note;
use relay_certs::testing::{TestCounty, test_manifest, test_package};
use relay_core::clock::{Clock as _, ManualClock};
use relay_core::durable::{Disk as _, RealDisk};
use relay_core::ids::{ClinicId, StudyUid};
use relay_core::letter::NoteKind;
use relay_core::report::ReportKind;

const NOW: UtcMs = UtcMs(1_793_666_000_000);
const JSON: &[u8] = br#"{"resourceType":"Bundle"}"#;
const PDF: &[u8] = b"%PDF-1.7 the film shows no fracture";

struct Bench {
    _dir: tempfile::TempDir,
    county: TestCounty,
    inbox: Inbox,
    leaf: rustls_pki_types::CertificateDer<'static>,
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let mut county = TestCounty::new(&dir.path().join("ca"), 7, NOW);
    let identity = county.agent("shilipu");
    let leaf = identity.chain[0].clone();
    let device = Device::of(identity).unwrap();
    device.update_crl(&county.crl()).unwrap();
    let options = SpoolOptions {
        dir: dir.path().join("spool"),
        clinic: device.clinic().clone(),
        limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    let clock = Arc::new(ManualClock::at(NOW));
    assert_eq!(clock.now(), NOW);
    let spool = Spool::open(options, Arc::new(RealDisk), clock).await.unwrap();
    spool.add_staff("李医生", "246810", [9; 16]).await.unwrap();
    let inbox = Inbox::new(spool, Arc::new(device), StdRng::seed_from_u64(1));
    Bench { _dir: dir, county, inbox, leaf }
}

fn head(id: &str, kind: LetterKind, body: &[u8]) -> LetterHead {
    LetterHead {
        id: LetterId::parse(id).unwrap(),
        kind,
        study: StudyUid::parse("1.2.826.0.1").unwrap(),
        length: body.len() as u64,
        hash: ObjectHash::of(body),
        written_at: NOW,
    }
}

impl Bench {
    fn package(&mut self, clinic: &str, reviewed: bool) -> Vec<u8> {
        let author = self.county.doctor("d1", DoctorRole::Reader);
        let reviewer = reviewed.then(|| self.county.doctor("d2", DoctorRole::Reviewer));
        let mut manifest = test_manifest(clinic, &author.doctor.person, JSON, PDF, NOW);
        if reviewed {
            manifest.kind = ReportKind::Preliminary;
        }
        test_package(&manifest, JSON, PDF, &author, reviewer.as_ref()).encode().unwrap()
    }

    async fn deliver(&self, id: &str, body: &[u8]) -> LetterFate {
        self.inbox.accept(&head(id, LetterKind::Report, body), body.to_vec(), NOW).await.unwrap()
    }

    async fn critical(&self, clinic: &str) -> LetterFate {
        let notice = CriticalNotice {
            code: "X-A01".into(),
            tier: "A".into(),
            finding: "张力性气胸".into(),
            advice: None,
            clinic: ClinicId::parse(clinic).unwrap(),
            patient_name: "王小东".into(),
            raised_by: relay_core::ids::PersonId::parse("d1").unwrap(),
            raised_by_name: "赵医生".into(),
            raised_at: NOW,
            phone: None,
        };
        let body = serde_json::to_vec(&notice).unwrap();
        self.inbox.accept(&head("c-1", LetterKind::CriticalNotice, &body), body, NOW).await.unwrap()
    }
}

#[tokio::test]
async fn a_verified_report_is_stored_once_and_opened_with_a_note_signed_by_the_device() {
    let mut bench = bench().await;
    let body = bench.package("shilipu", false);
    assert_eq!(bench.deliver("l-1", &body).await, LetterFate::Stored { at: NOW });
    assert_eq!(bench.deliver("l-1", &body).await, LetterFate::Stored { at: NOW });
    assert!(
        bench.inbox.has(&LetterId::parse("l-1").unwrap(), &ObjectHash::of(&body)).await.unwrap().is_some()
    );
    let spool = bench.inbox.spool();
    assert_eq!(spool.reports(0).await.unwrap().reports.len(), 1);
    assert!(matches!(
        bench.inbox.open_report("l-1", "李医生", "111111").await,
        Err(ActError::Pin(PinError::Wrong))
    ));
    let opened = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap();
    assert_eq!(opened.pdf, PDF);
    assert!(opened.sentence_zh.contains("签名有效"), "{}", opened.sentence_zh);
    let notes = spool.pending_notes(10).await.unwrap();
    let note = verify_note(&notes[0], &bench.leaf, &ClinicId::parse("shilipu").unwrap()).unwrap();
    assert_eq!((notes.len(), note.kind, note.person.as_str()), (1, NoteKind::ReportOpened, "李医生"));
    spool.note_receipted(&notes[0].id, NOW).await.unwrap();
    assert!(spool.pending_notes(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tampered_byte_in_any_part_is_refused_by_name_and_kept_in_quarantine() {
    let mut bench = bench().await;
    let good = bench.package("shilipu", true);
    let find = |needle: &[u8]| good.windows(needle.len()).position(|w| w == needle).unwrap();
    for (at, part) in [(find(b"resourceType"), "report.json"), (find(b"no fracture"), "report.pdf")] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let LetterFate::Refused(refusal) = bench.deliver("l-1", &bad).await else {
            panic!("{part} was taken")
        };
        assert_eq!((refusal.code, refusal.field.as_str()), (Code::ReportInvalid, part));
    }
    let mut cut = good.clone();
    cut.truncate(good.len() - 3);
    assert!(matches!(bench.deliver("l-2", &cut).await, LetterFate::Refused(_)));
    assert!(bench.inbox.spool().reports(0).await.unwrap().reports.is_empty());
    assert!(bench.inbox.spool().letter(&LetterId::parse("l-1").unwrap()).await.unwrap().unwrap().quarantined);
    assert!(
        bench.inbox.has(&LetterId::parse("l-1").unwrap(), &ObjectHash::of(&good)).await.unwrap().is_none()
    );
    // The right bytes under the same id are welcome afterwards.
    assert!(matches!(bench.deliver("l-1", &good).await, LetterFate::Stored { .. }));
}

#[tokio::test]
async fn a_report_for_another_clinic_or_another_study_is_refused() {
    let mut bench = bench().await;
    let body = bench.package("liulin", false);
    let LetterFate::Refused(refusal) = bench.deliver("l-1", &body).await else { panic!("taken") };
    assert_eq!(refusal.code, Code::WrongClinic);
    let body = bench.package("shilipu", false);
    let mut head = head("l-2", LetterKind::Report, &body);
    head.study = StudyUid::parse("1.2.3").unwrap();
    let fate = bench.inbox.accept(&head, body, NOW).await.unwrap();
    assert!(matches!(fate, LetterFate::Refused(r) if r.field == "study"));
}

#[tokio::test]
async fn a_byte_patched_on_this_disk_is_caught_and_named_when_the_report_is_opened() {
    let mut bench = bench().await;
    let body = bench.package("shilipu", true);
    bench.deliver("l-1", &body).await;
    let path = bench.inbox.spool().blobs().path_of(&ObjectHash::of(&body));
    let at = body.windows(8).position(|w| w == b"fracture").unwrap();
    RealDisk.open_for_append(&path).unwrap().write_at(at as u64, b"F").unwrap();
    let error = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("report.pdf") && said.contains(path.to_str().unwrap()), "{said}");
    assert!(error.zh().contains("签名无效，请勿使用"), "{}", error.zh());
    let row = &bench.inbox.spool().reports(0).await.unwrap().reports[0];
    assert!(row.fault.is_some() && row.opened_at.is_none());
    assert!(bench.inbox.spool().pending_notes(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_valid_report_under_a_row_of_another_study_or_version_is_not_shown() {
    for (change, what) in [
        ("UPDATE report SET study = '9.9.9'", "study"),
        ("UPDATE report SET version = 7", "version"),
        ("UPDATE report SET kind = 3", "kind"),
        ("UPDATE report SET report_id = 'other'", "report id"),
    ] {
        let mut bench = bench().await;
        let body = bench.package("shilipu", false);
        bench.deliver("l-1", &body).await;
        bench.inbox.spool().tamper(change).await;
        let error = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap_err();
        assert!(matches!(error, ActError::Changed { what: named, .. } if named == what), "{what}: {error}");
        assert!(error.zh().contains("请勿使用此报告"), "{}", error.zh());
        assert!(bench.inbox.spool().pending_notes(10).await.unwrap().is_empty(), "nothing was opened");
        assert!(bench.inbox.spool().reports(0).await.unwrap().reports[0].fault.is_some());
    }
}

#[tokio::test]
async fn an_older_version_after_a_newer_one_is_kept_as_old() {
    let mut bench = bench().await;
    let newer = bench.package("shilipu", true);
    let older = bench.package("shilipu", false);
    bench.deliver("l-2", &newer).await;
    assert!(matches!(bench.deliver("l-1", &older).await, LetterFate::Stored { .. }));
    let rows = bench.inbox.spool().reports(0).await.unwrap().reports;
    let old: Vec<_> = rows.iter().map(|r| (r.version, r.superseded)).collect();
    assert!(old.contains(&(2, false)) && old.contains(&(1, true)), "{old:?}");
}

#[tokio::test]
async fn the_same_version_with_other_content_is_refused() {
    let mut bench = bench().await;
    let one = bench.package("shilipu", false);
    let author = bench.county.doctor("d9", DoctorRole::Reader);
    let manifest = test_manifest("shilipu", &author.doctor.person, JSON, b"%PDF-1.7 other", NOW);
    let two = test_package(&manifest, JSON, b"%PDF-1.7 other", &author, None).encode().unwrap();
    bench.deliver("l-1", &one).await;
    assert!(matches!(bench.deliver("l-2", &two).await, LetterFate::Refused(r) if r.field == "version"));
    assert_eq!(bench.inbox.spool().reports(0).await.unwrap().reports.len(), 1);
}

#[tokio::test]
async fn a_critical_notice_rings_until_read_back_and_stays_open_until_the_action() {
    let bench = bench().await;
    assert!(matches!(bench.critical("liulin").await, LetterFate::Refused(r) if r.code == Code::WrongClinic));
    assert!(matches!(bench.critical("shilipu").await, LetterFate::Stored { .. }));
    let (inbox, spool) = (&bench.inbox, bench.inbox.spool());
    assert!(spool.criticals(false).await.unwrap()[0].read_back_at.is_none());
    assert!(matches!(inbox.record_action("c-1", "李医生", "246810", "穿刺").await, Err(ActError::State(_))));
    assert!(matches!(inbox.read_back("c-1", "李医生", "246810", " ").await, Err(ActError::Text)));
    inbox.read_back("c-1", "李医生", "246810", "张力性气胸，立即处理").await.unwrap();
    assert!(matches!(inbox.read_back("c-1", "李医生", "246810", "again").await, Err(ActError::State(_))));
    assert_eq!(spool.criticals(false).await.unwrap()[0].read_back_by.as_deref(), Some("李医生"));
    inbox.record_action("c-1", "李医生", "246810", "胸腔穿刺减压").await.unwrap();
    assert!(spool.criticals(false).await.unwrap().is_empty());
    let kinds: Vec<_> = spool.pending_notes(10).await.unwrap().iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [NoteKind::CriticalReadBack, NoteKind::CriticalAction]);
}

#[tokio::test]
async fn a_retake_request_is_shown_until_seen() {
    let bench = bench().await;
    let request = RetakeRequest {
        reason: "motion".into(),
        text: "请重拍侧位".into(),
        asked_by_name: "赵医生".into(),
        asked_at: NOW,
    };
    let body = serde_json::to_vec(&request).unwrap();
    bench.inbox.accept(&head("t-1", LetterKind::RetakeRequest, &body), body, NOW).await.unwrap();
    assert_eq!(bench.inbox.spool().retakes(false).await.unwrap()[0].request.text, "请重拍侧位");
    bench.inbox.retake_seen("t-1", "李医生", "246810").await.unwrap();
    assert!(bench.inbox.spool().retakes(false).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_withdrawn_version_is_void_whether_it_came_before_or_after_and_a_newer_one_stands() {
    let mut bench = bench().await;
    let (older, newer) = (bench.package("shilipu", false), bench.package("shilipu", true));
    let first = relay_core::report::ReportPackage::decode(&older).unwrap();
    let manifest = relay_core::report::SignedManifest::from_canonical(&first.manifest).unwrap();
    let void = ReportVoid {
        clinic: ClinicId::parse("shilipu").unwrap(),
        report: manifest.report_id,
        through_version: manifest.version,
        reason: "登记姓名有误".into(),
        by_name: "赵医生".into(),
        at: NOW,
    };
    let foreign = ReportVoid { clinic: ClinicId::parse("liulin").unwrap(), ..void.clone() };
    for (id, what, stored) in [("v-0", &foreign, false), ("v-1", &void, true), ("v-1", &void, true)] {
        let body = serde_json::to_vec(what).unwrap();
        let fate = bench.inbox.accept(&head(id, LetterKind::ReportVoid, &body), body, NOW).await.unwrap();
        assert_eq!(matches!(fate, LetterFate::Stored { .. }), stored, "{fate:?}");
    }
    bench.deliver("l-1", &older).await;
    bench.deliver("l-2", &newer).await;
    let rows = bench.inbox.spool().reports(0).await.unwrap().reports;
    let voided: Vec<_> = rows.iter().map(|r| (r.version, r.voided.is_some())).collect();
    assert!(voided.contains(&(1, true)) && voided.contains(&(2, false)), "{voided:?}");
    let opened = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap();
    assert!(opened.sentence_zh.starts_with("作废，请勿使用：登记姓名有误"), "{}", opened.sentence_zh);
    assert!(opened.sentence_zh.contains("签名有效"), "{}", opened.sentence_zh);
}

#[tokio::test]
async fn a_clinic_whose_clock_is_behind_puts_a_report_off_and_takes_it_when_the_clock_is_set() {
    let mut bench = bench().await;
    let body = bench.package("shilipu", false);
    let (head, long_ago) =
        (head("l-1", LetterKind::Report, &body), NOW.plus_ms(-30 * relay_core::clock::DAY_MS));
    let fate = bench.inbox.accept(&head, body.clone(), long_ago).await.unwrap();
    let LetterFate::Later(refusal) = fate else { panic!("{fate:?}") };
    assert_eq!(refusal.field, "clock", "{refusal}");
    assert!(bench.inbox.has(&head.id, &head.hash).await.unwrap().is_none());
    assert_eq!(bench.deliver("l-1", &body).await, LetterFate::Stored { at: NOW });
}

#[tokio::test]
async fn a_letter_whose_body_was_damaged_on_the_way_is_asked_for_again() {
    let mut bench = bench().await;
    let body = bench.package("shilipu", false);
    let mut damaged = body.clone();
    damaged[10] ^= 1;
    let fate = bench.inbox.accept(&head("l-1", LetterKind::Report, &body), damaged, NOW).await.unwrap();
    assert!(matches!(fate, LetterFate::Later(_)), "{fate:?}");
}
