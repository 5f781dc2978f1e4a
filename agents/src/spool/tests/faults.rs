//! Damaged rows, full disks, refusals: what is wrong stays by itself.

use super::*;
use relay_core::clock::{DAY_MS, SECOND_MS};
use relay_core::ids::LetterId;
use relay_core::letter::CriticalNotice;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn one_damaged_row_hides_no_other_study_and_is_named() {
    let bench = Bench::new();
    let spool = bench.open().await;
    put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    put(&spool, &film("1.2.4", 1), &origin(true)).await.unwrap();
    spool.tamper("UPDATE study SET class = 300 WHERE uid = '1.2.3'").await;
    let pending = spool.pending_studies(10).await.unwrap();
    assert_eq!(pending.iter().map(|m| m.study.as_str()).collect::<Vec<_>>(), ["1.2.4"]);
    assert_eq!(spool.studies(0).await.unwrap().studies.len(), 1);
    bench.clock.advance_ms(60 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1, "the other one is completed");
    assert!(matches!(
        spool.study(&StudyUid::parse("1.2.3").unwrap()).await,
        Err(SpoolError::Corrupt { column: "class", .. })
    ));
    let damaged = spool.damaged();
    assert!(
        damaged.len() == 1 && damaged[0].contains("class") && damaged[0].contains("1.2.3"),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn a_critical_notice_that_cannot_be_read_still_rings_and_the_others_too() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let notice = CriticalNotice {
        code: "X-A01".into(),
        tier: "A".into(),
        finding: "张力性气胸".into(),
        advice: None,
        clinic: ClinicId::parse("shilipu").unwrap(),
        patient_name: "王^小东".into(),
        raised_by: relay_core::ids::PersonId::parse("d1").unwrap(),
        raised_by_name: "赵医生".into(),
        raised_at: NOW,
        phone: None,
    };
    let body = serde_json::to_vec(&notice).unwrap();
    for id in ["c-1", "c-2"] {
        let head = head(id, LetterKind::CriticalNotice, NOW);
        spool.store_critical(&head, &notice, &body, NOW).await.unwrap();
    }
    spool.tamper("UPDATE critical SET body = x'00' WHERE letter = 'c-1'").await;
    let rows = spool.criticals(false).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].notice.finding.contains("致电") && rows[0].notice.code == "X-A01", "{rows:?}");
    assert_eq!(rows[1].patient_name, "王小东", "as people write it");
}

#[tokio::test]
async fn a_full_database_is_said_to_be_full_and_leaves_no_bytes_behind() {
    let bench = Bench::new();
    let spool = bench.open().await;
    put(&spool, &film("1.2.4", 1), &origin(true)).await.unwrap();
    // Rows until the last page is full.
    spool.tamper("PRAGMA max_page_count = 1").await;
    let refusal = loop {
        let number = spool.0.next_partial.load(std::sync::atomic::Ordering::SeqCst);
        match put(&spool, &film("1.2.3", u32::try_from(number).unwrap()), &origin(true)).await {
            Ok(_) => {}
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code, Code::StorageFull, "{refusal}");
    let rows = spool.figures().await.unwrap().objects;
    let mut blobs = 0;
    for dir in std::fs::read_dir(bench.dir.path().join("spool/blobs")).unwrap() {
        blobs += std::fs::read_dir(dir.unwrap().path()).unwrap().count() as u64;
    }
    assert_eq!(blobs, 2 * rows, "each row has its plain and its coded form, and nothing else is there");
    spool.tamper("PRAGMA max_page_count = 1000000").await;
    for n in 1..4 {
        assert!(put(&spool, &film("1.2.5", n), &origin(true)).await.unwrap().fresh, "there is room again");
    }
}

#[tokio::test]
async fn the_object_beyond_the_limit_of_a_study_is_refused_and_leaves_no_bytes() {
    let bench = Bench::new();
    let spool = bench.open().await;
    put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    spool
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4095)
             INSERT INTO object (hash, study, length, sha256, kind, encoding, coded_length, coded_hash, coded_kept, stored_at)
             SELECT randomblob(32), '1.2.3', 1, randomblob(32), 0, 0, 1, randomblob(32), 0, 0 FROM n",
        )
        .await;
    let bytes = film("1.2.3", 2);
    let refusal = put(&spool, &bytes, &origin(true)).await.unwrap_err();
    assert_eq!(refusal.code, Code::RefusedTooLarge);
    assert!(!spool.blobs().contains(&relay_core::ids::ObjectHash::of(&bytes)));
}

#[tokio::test]
async fn receptions_side_by_side_share_the_room_and_give_it_back() {
    let bench = Bench::new();
    let limits = SpoolLimits { max_unreceipted_bytes: 18 * MIB, free_floor_bytes: 0 };
    let spool = bench.try_open(limits).await.unwrap();
    let first = spool.receive(Some(10 * MIB)).unwrap();
    assert_eq!(spool.receive(Some(10 * MIB)).unwrap_err().code, Code::StorageFull);
    drop(first);
    let mut known = spool.receive(Some(10)).unwrap();
    known.write(&[7; 10]).unwrap();
    known.write(&[7; 10]).unwrap();
    drop(known);
    assert!(spool.receive(Some(18 * MIB)).is_ok());
}

#[tokio::test]
async fn an_object_that_was_refused_and_then_receipted_counts_as_receipted() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let refusal = Refusal::new(Code::RefusedUid, "(0020,000D)", "unlawful");
    spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    assert_eq!(spool.study(&one.study).await.unwrap().state, "refused");
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    let view = spool.study(&one.study).await.unwrap();
    assert_eq!((view.receipted, view.refused, view.waiting), (1, 0, 0));
    assert_eq!((view.state.as_str(), view.refusal), ("safe_at_county", None));
    // As older versions have left it: both at once.
    spool.tamper("UPDATE object SET refused_code = 3, refused_field = '', refused_reason = ''").await;
    assert_eq!(spool.study(&one.study).await.unwrap().state, "safe_at_county");
}

#[tokio::test]
async fn refused_objects_go_only_by_policy_and_what_waits_never_goes() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let refused = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let waiting = put(&spool, &film("1.2.3", 2), &origin(false)).await.unwrap();
    let refusal = Refusal::new(Code::RefusedUid, "(0020,000D)", "unlawful");
    spool.refused(&refused.study, Some(&refused.hash), 1, &refusal).await.unwrap();
    bench.clock.advance_ms(100 * DAY_MS);
    assert_eq!(spool.evict_refused(0).await.unwrap(), 0);
    assert_eq!(spool.evict_refused(101).await.unwrap(), 0);
    assert_eq!((spool.evict_refused(30).await.unwrap(), spool.evict_refused(30).await.unwrap()), (1, 0));
    assert_eq!(spool.evict_delivered(30).await.unwrap(), 0);
    assert!(!spool.blobs().contains(&refused.hash) && spool.blobs().contains(&waiting.hash));
    assert!(spool.study(&refused.study).await.unwrap().refusal.is_some(), "the reason stays");
}

#[tokio::test]
async fn progress_words_are_forgotten_when_newer_ones_have_come_the_newest_never() {
    let bench = Bench::new();
    let spool = bench.open().await;
    for n in 0..3 {
        let at = NOW.plus_ms(n);
        let status =
            StudyStatus { state: "claimed".into(), reader_name: None, due_at: None, unattended: false, at };
        spool.store_status(&head(&format!("s-{n}"), LetterKind::StudyStatus, at), &status, at).await.unwrap();
    }
    assert_eq!(spool.forget_old_words().await.unwrap(), 0, "the county may still ask");
    bench.clock.advance_ms(8 * DAY_MS);
    assert_eq!(spool.forget_old_words().await.unwrap(), 2);
    assert!(spool.letter(&LetterId::parse("s-2").unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn what_the_county_refused_or_this_disk_lost_is_not_counted_as_safe() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let study = put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    let (uid, hash) = (study.study, study.hash);
    assert_eq!(spool.studies(0).await.unwrap().not_safe, 1);
    let refusal = Refusal::new(Code::RefusedUnparsable, "object", "no film");
    let generation = spool.manifest(&uid).await.unwrap().generation;
    spool.refused(&uid, Some(&hash), generation, &refusal).await.unwrap();
    spool.receipted(&uid, generation, &[], NOW).await.unwrap();
    let listed = spool.studies(0).await.unwrap();
    assert_eq!((listed.not_safe, listed.total), (1, 1), "{:?}", listed.studies);
    let figures = spool.figures().await.unwrap();
    assert_eq!((figures.studies_not_safe, figures.studies_urgent_not_safe), (1, 0));
    spool.receipted(&uid, generation, &[hash], NOW).await.unwrap();
    assert_eq!(spool.studies(0).await.unwrap().not_safe, 0);
    assert_eq!(spool.figures().await.unwrap().studies_not_safe, 0);
}

#[tokio::test]
async fn of_twenty_wrong_pins_at_once_five_are_tried() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.add_staff("李医生", "246810", [9; 16]).await.unwrap();
    let tries: Vec<_> = (0..20)
        .map(|n| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.check_pin("李医生", &format!("{n:06}")).await })
        })
        .collect();
    let (mut wrong, mut locked, mut busy) = (0, 0, 0);
    for answer in tries {
        match answer.await.unwrap().unwrap_err() {
            PinError::Wrong => wrong += 1,
            PinError::Locked(_) => locked += 1,
            PinError::Busy => busy += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((wrong, locked + busy), (5, 15), "{locked} locked, {busy} turned away untried");
}
