//! What people see: states, urgency, long lists.

use super::*;
use relay_core::clock::{DAY_MS, MINUTE_MS};

fn urgent() -> Origin {
    Origin { class: Class::Emergency, ..origin(false) }
}

#[tokio::test]
async fn a_late_film_takes_the_word_safe_away_whatever_the_county_has_said() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &urgent()).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    assert_eq!(spool.study(&one.study).await.unwrap().state, "safe_at_county");
    assert!(spool.urgent_open().await.unwrap().is_empty());
    spool.tamper("UPDATE study SET county_state = 'waiting'").await;
    put(&spool, &film("1.2.3", 2), &urgent()).await.unwrap();
    let view = spool.study(&one.study).await.unwrap();
    assert_eq!((view.state.as_str(), view.waiting), ("travelling", 1));
    spool.tamper("UPDATE study SET county_state = 'claimed'").await;
    let view = spool.study(&one.study).await.unwrap();
    assert_eq!((view.state.as_str(), view.state_zh.as_str()), ("being_read", "正在阅片，1个文件待上传"));
    let open = spool.urgent_open().await.unwrap();
    assert_eq!((open.len(), open[0].waiting, open[0].waiting_since), (1, 1, Some(NOW)));
}

#[tokio::test]
async fn an_urgent_object_without_receipt_is_listed_beside_a_report_and_a_refused_one_for_a_day() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &urgent()).await.unwrap();
    let two = put(&spool, &film("1.2.3", 2), &urgent()).await.unwrap();
    spool.receipted(&one.study, 2, &[one.hash], NOW).await.unwrap();
    let refusal = Refusal::new(Code::RefusedUid, "", "unlawful");
    spool.refused(&one.study, Some(&two.hash), 1, &refusal).await.unwrap();
    let open = spool.urgent_open().await.unwrap();
    assert_eq!((open.len(), open[0].waiting, open[0].refused), (1, 0, 1));
    bench.clock.advance_ms(2 * DAY_MS);
    assert!(spool.urgent_open().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_raise_that_the_county_has_not_heard_is_listed_until_its_generation_is_receipted() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    bench.clock.advance_ms(10 * MINUTE_MS);
    let mark = Mark { class: Some(Class::Green), ..Mark::default() };
    spool.mark(&one.study, &mark).await.unwrap();
    let open = spool.urgent_open().await.unwrap();
    assert_eq!((open.len(), open[0].unheard, open[0].urgent_since), (1, true, NOW.plus_ms(10 * MINUTE_MS)));
    spool.receipted(&one.study, 2, &[], NOW).await.unwrap();
    assert!(spool.urgent_open().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_green_study_that_the_county_calls_unattended_is_listed_until_somebody_takes_it() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &urgent()).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    let told = async |n: i64, state: &str, unattended: bool| {
        let at = NOW.plus_ms(n);
        let status = StudyStatus { state: state.into(), reader_name: None, due_at: None, unattended, at };
        spool.store_status(&head(&format!("s-{n}"), LetterKind::StudyStatus, at), &status, at).await.unwrap();
        spool.urgent_open().await.unwrap().iter().map(|row| row.unattended).collect::<Vec<_>>()
    };
    assert_eq!(told(1, "waiting", false).await, [false; 0]);
    assert_eq!(told(2, "waiting", true).await, [true]);
    assert_eq!(told(3, "claimed", false).await, [false; 0]);
}

#[tokio::test]
async fn a_list_of_a_thousand_studies_is_paged_and_what_is_not_safe_is_on_the_first_page_whole() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO study (uid, generation, class, kind, completeness, source, quiet, first_object_at,
                last_activity_at, time_suspect, receipted_generation, safe_at)
             SELECT '1.2.' || i, 1, CASE WHEN i % 10 = 0 THEN 1 ELSE 2 END, 1, 1, 'DR1', 1, 1793666000000 + i,
                1793666000000 + i, 0, 1, CASE WHEN i <= 400 THEN NULL ELSE 1793666000000 END FROM n",
        )
        .await;
    spool.tamper("INSERT INTO person (study, context) SELECT uid, '{}' FROM study").await;
    spool
        .tamper(
            "INSERT INTO object (hash, study, length, sha256, kind, encoding, coded_length, coded_hash, coded_kept,
                stored_at, receipted_at)
             SELECT randomblob(32), uid, 1, randomblob(32), 0, 0, 1, randomblob(32), 0, 0, safe_at FROM study",
        )
        .await;
    let first = spool.studies(0).await.unwrap();
    assert_eq!((first.total, first.not_safe, first.studies.len()), (1000, 400, 400));
    assert!(first.studies.iter().all(|s| s.safe_at.is_none()));
    assert!(first.studies[..40].iter().all(|s| s.class == Class::Emergency), "urgent ones first");
    let mut seen: std::collections::BTreeSet<_> = first.studies.into_iter().map(|s| s.uid).collect();
    for page in 1..first.pages {
        seen.extend(spool.studies(page).await.unwrap().studies.into_iter().map(|s| s.uid));
    }
    assert_eq!(seen.len(), 1000);
    assert!(spool.studies(first.pages).await.unwrap().studies.is_empty());
}

#[tokio::test]
async fn exchanged_arm_electrodes_of_an_ecg_that_a_cart_dropped_stand_on_the_list() {
    use relay_ecg::{Samples, synth};
    let bench = Bench::new();
    let spool = bench.open().await;
    let good = synth::ecg(&synth::Spec::normal(8));
    let mut exchanged = good.clone();
    let turned = good.rhythm[0].samples.iter().map(|v| -v).collect();
    exchanged.rhythm[0].samples = Samples::narrowest(turned);
    exchanged.rhythm[1].samples = good.rhythm[2].samples.clone();
    exchanged.rhythm[2].samples = good.rhythm[1].samples.clone();
    exchanged.rhythm[3].samples = good.rhythm[4].samples.clone();
    exchanged.rhythm[4].samples = good.rhythm[3].samples.clone();
    for (ecg, wrong) in [(good, false), (exchanged, true)] {
        let file = crate::ecg::scp(&crate::ecg::Loaded { ecg, digest: [0; 32] }).unwrap();
        let one = put(&spool, &file, &urgent()).await.unwrap();
        let said = spool.study(&one.study).await.unwrap().findings.join("\n");
        assert_eq!(said.contains("怀疑左右手电极接反"), wrong, "{said}");
        assert_eq!(said.contains("请重新采集"), wrong, "{said}");
    }
    assert!(
        spool
            .study(&put(&spool, &film("1.2.3", 1), &urgent()).await.unwrap().study)
            .await
            .unwrap()
            .findings
            .is_empty()
    );
}
