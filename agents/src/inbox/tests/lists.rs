//! What lists say of reports that nobody has opened since something happened to them.

use super::*;
use crate::courier::ports::LinkState;
use crate::health::{Doctor, Finding, Level};
use crate::spool::{Origin, ReportRow, StudyView};
use crate::testing;
use relay_core::study::Class;

/// A clinic with the film that the test reports read.
async fn clinic() -> Bench {
    let bench = bench().await;
    let film = testing::film("1.2.826.0.1", "1.2.826.0.1.1", "1.2.826.0.1.1.1", 64);
    let origin = Origin {
        source: "DR1".into(),
        name: None,
        class: Class::Routine,
        kind: None,
        quiet: true,
        open: false,
        announced: None,
    };
    bench.inbox.spool().intake(film).admit(&origin).await.unwrap();
    bench
}

impl Bench {
    async fn only_report(&self) -> ReportRow {
        let mut listed = self.inbox.reports(0).await.unwrap().reports;
        assert_eq!(listed.len(), 1);
        listed.remove(0)
    }

    async fn only_study(&self) -> StudyView {
        let mut listed = self.inbox.studies(0).await.unwrap().studies;
        assert_eq!(listed.len(), 1);
        listed.remove(0)
    }

    async fn doctor(&self) -> Vec<Finding> {
        let doctor = Doctor {
            device: Arc::clone(&self.inbox.device),
            dicom: None,
            folders: Vec::new(),
            gateways: Vec::new(),
        };
        let link = LinkState::Down { since: NOW, reason: "test".into(), refusal: None };
        let mut found = doctor.examine(self.inbox.spool(), &link).await;
        found.retain(|finding| finding.check == "report");
        found
    }

    fn path_of(&self, package: &[u8]) -> std::path::PathBuf {
        self.inbox.spool().blobs().path_of(&ObjectHash::of(package))
    }
}

#[tokio::test]
async fn a_patched_byte_is_said_in_every_list_before_anybody_opens_the_report_and_goes_when_it_is_mended() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", true);
    bench.deliver("l-1", &body).await;
    assert_eq!(bench.only_study().await.state_zh, "报告已返回，签名有效，1个文件待上传");
    assert!(bench.only_report().await.checked && bench.doctor().await.is_empty());
    let at = body.windows(8).position(|w| w == b"fracture").unwrap() as u64;
    let write = |byte| RealDisk.open_for_append(&bench.path_of(&body)).unwrap().write_at(at, byte).unwrap();
    write(b"F");
    let fault = bench.only_report().await.fault.unwrap();
    assert!(fault.contains("签名无效，请勿使用") && fault.contains("report.pdf"), "{fault}");
    let study = bench.only_study().await;
    assert_eq!(study.state, "report_invalid");
    assert!(
        study.state_zh.contains("请勿使用") && !study.state_zh.contains("签名有效"),
        "{}",
        study.state_zh
    );
    let said = bench.doctor().await;
    assert!(said.len() == 1 && said[0].level == Level::Bad && said[0].zh.contains("l-1"), "{said:?}");
    write(b"f");
    assert_eq!(bench.only_report().await.fault, None, "a fault that is gone goes");
    assert_eq!(bench.only_study().await.state, "reported");
    assert!(bench.doctor().await.is_empty());
}

#[tokio::test]
async fn a_package_that_is_gone_is_a_fault_in_the_list_and_at_opening_not_a_failure_of_the_store() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", false);
    bench.deliver("l-1", &body).await;
    RealDisk.remove(&bench.path_of(&body)).unwrap();
    assert!(bench.only_report().await.fault.unwrap().contains("丢失"));
    assert_eq!(bench.only_study().await.state, "report_invalid");
    let error = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap_err();
    assert!(matches!(error, ActError::Missing { .. }) && error.zh().contains("请勿使用"), "{error}");
}

#[tokio::test]
async fn reports_of_a_doctor_whose_key_is_revoked_are_judged_anew_as_soon_as_the_list_is_here() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", false);
    bench.deliver("l-1", &body).await;
    assert_eq!(bench.only_report().await.fault, None);
    let _ = bench.county.revoked_doctor("d1", DoctorRole::Reader);
    let issued = relay_core::report::ReportPackage::decode(&body).unwrap();
    let record = bench.county.authority.certificates().unwrap();
    for certificate in record {
        let target = relay_certs::authority::RevokeTarget::Serial(certificate.serial);
        let reason = relay_certs::authority::RevocationReason::KeyCompromise;
        // Some are revoked already.
        let _ = bench.county.authority.revoke(&target, reason, NOW);
    }
    assert!(!issued.author_cms.is_empty());
    let list = bench.county.crl();
    assert_eq!(bench.inbox.revocations(list.clone()).await, Ok(true));
    assert_eq!(bench.inbox.revocations(list).await, Ok(false), "told again");
    let fault = bench.only_report().await.fault.unwrap();
    assert!(fault.contains("吊销"), "{fault}");
    assert_eq!(bench.only_study().await.state, "report_invalid");
}

#[tokio::test]
async fn an_older_list_changes_nothing_and_a_strange_one_is_refused() {
    let mut bench = clinic().await;
    let old = bench.county.crl();
    let _ = bench.county.revoked_agent("liulin");
    assert_eq!(bench.inbox.revocations(bench.county.crl()).await, Ok(true));
    let number = bench.inbox.device.revocations().unwrap().number;
    assert_eq!(bench.inbox.revocations(old).await, Ok(false));
    let foreign = tempfile::tempdir().unwrap();
    let foreign = TestCounty::new(foreign.path(), 99, NOW).crl();
    for strange in [foreign, b"no list".to_vec()] {
        assert_eq!(bench.inbox.revocations(strange).await.unwrap_err().field, "revocation list");
    }
    assert_eq!(bench.inbox.device.revocations().unwrap().number, number);
}

#[tokio::test]
async fn names_times_and_numbers_in_lists_are_those_that_were_signed_whatever_the_row_says() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", true);
    bench.deliver("l-1", &body).await;
    let signed = bench.only_report().await;
    for change in [
        "UPDATE report SET author = '伪造医生'",
        "UPDATE report SET reviewer = '伪造医生'",
        "UPDATE report SET reviewer = NULL, reviewed_at = NULL",
        "UPDATE report SET signed_at = 5, reviewed_at = 6",
        "UPDATE report SET paper_version = 9, demo = 1 - demo",
    ] {
        bench.inbox.spool().tamper(change).await;
        let shown = bench.only_report().await;
        assert_eq!(format!("{shown:?}"), format!("{signed:?}"), "{change}");
        bench.inbox.spool().tamper(change).await;
        let opened = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap().row;
        assert_eq!((opened.author, opened.reviewer), (signed.author.clone(), signed.reviewer.clone()));
        bench.inbox.spool().tamper("UPDATE report SET opened_at = NULL, opened_by = NULL").await;
    }
    bench.inbox.spool().tamper("UPDATE report SET kind = 3").await;
    assert!(bench.only_report().await.fault.unwrap().contains("报告类型"));
}

#[tokio::test]
async fn a_study_is_judged_by_its_newest_version_not_by_an_older_one_that_still_verifies() {
    let mut bench = clinic().await;
    let (older, newer) = (bench.package("shilipu", false), bench.package("shilipu", true));
    bench.deliver("l-1", &older).await;
    bench.deliver("l-2", &newer).await;
    let at = newer.windows(8).position(|w| w == b"fracture").unwrap() as u64;
    RealDisk.open_for_append(&bench.path_of(&newer)).unwrap().write_at(at, b"F").unwrap();
    assert_eq!(bench.only_study().await.state, "report_invalid");
}

#[tokio::test]
async fn a_deleted_row_revives_no_withdrawn_report_and_hides_no_report() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", false);
    bench.deliver("l-1", &body).await;
    let row = bench.only_report().await;
    let void = ReportVoid {
        clinic: ClinicId::parse("shilipu").unwrap(),
        report: row.report_id,
        through_version: row.version,
        reason: "登记姓名有误".into(),
        by_name: "赵医生".into(),
        at: NOW,
    };
    let letter = serde_json::to_vec(&void).unwrap();
    bench.inbox.accept(&head("v-1", LetterKind::ReportVoid, &letter), letter, NOW).await.unwrap();
    for change in ["DELETE FROM report_void", "UPDATE report_void SET through_version = 0, reason = '无'"] {
        bench.inbox.spool().tamper(change).await;
        let voided = bench.only_report().await.voided;
        assert_eq!(voided.map(|v| v.reason).as_deref(), Some("登记姓名有误"), "{change}");
        assert_eq!(bench.only_study().await.state, "report_void");
        bench.inbox.spool().tamper("DELETE FROM report_void").await;
        let opened = bench.inbox.open_report("l-1", "李医生", "246810").await.unwrap();
        assert!(opened.sentence_zh.starts_with("作废，请勿使用"), "{}", opened.sentence_zh);
    }
    bench.inbox.spool().tamper("DELETE FROM report").await;
    bench.inbox.scrub().await.unwrap();
    assert_eq!(bench.only_report().await.letter.as_str(), "l-1");
}

#[tokio::test]
async fn nothing_is_called_valid_before_it_was_verified_and_one_list_verifies_so_many_at_most() {
    let mut bench = clinic().await;
    let body = bench.package("shilipu", false);
    bench.deliver("l-1", &body).await;
    // As after a restart.
    let letter = LetterId::parse("l-1").unwrap();
    bench.inbox.spool().set_checked(&letter, false);
    let rows = bench.inbox.spool().reports(0).await.unwrap().reports;
    assert!(!rows[0].checked);
    bench.inbox.judge(&rows, 0).await.unwrap();
    let study = &bench.inbox.spool().studies(0).await.unwrap().studies[0];
    assert_eq!(study.state, "report_unchecked");
    assert!(!study.state_zh.contains("签名有效"), "{}", study.state_zh);
    bench.inbox.scrub().await.unwrap();
    assert!(bench.inbox.spool().reports(0).await.unwrap().reports[0].checked);
    assert_eq!(bench.only_study().await.state, "reported");
}
