use super::super::tests::{Bench, NOW, county, film, origin, put};
use super::*;
use crate::courier::ports::Outbox as _;
use crate::spool::{Admitted, notes};
use relay_core::codes::Refusal;
use relay_core::ids::NoteId;
use relay_core::letter::{Note, NoteKind};

async fn safe_film(spool: &Spool, study: &str) -> Admitted {
    let one = put(spool, &film(study, 1), &origin(false)).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    one
}

async fn pending(spool: &Spool) -> Vec<String> {
    spool.pending_studies(10).await.unwrap().iter().map(|m| m.study.to_string()).collect()
}

async fn is_safe(spool: &Spool, study: &StudyUid) -> bool {
    spool.study(study).await.unwrap().safe_at.is_some()
}

#[tokio::test]
async fn another_store_of_the_county_must_confirm_anew_before_a_study_counts_as_safe() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let old = safe_film(&spool, "1.2.3").await;
    assert!(is_safe(&spool, &old.study).await && pending(&spool).await.is_empty());
    spool.greeted(&county("one", true)).await.unwrap();
    assert!(pending(&spool).await.is_empty(), "the same store again changes nothing");

    spool.greeted(&county("two", true)).await.unwrap();
    assert!(!is_safe(&spool, &old.study).await);
    assert_eq!(pending(&spool).await, ["1.2.3"]);
    assert_eq!(spool.unreceipted_bytes(), 0, "room is not taken by what is most likely there");
    let fresh = put(&spool, &film("1.2.4", 1), &origin(false)).await.unwrap();
    assert_eq!(pending(&spool).await, ["1.2.4", "1.2.3"], "what nobody has goes first");
    // The restored store has it: that costs one answer.
    spool.receipted(&old.study, 1, &[old.hash], NOW).await.unwrap();
    assert!(is_safe(&spool, &old.study).await);
    assert_eq!(pending(&spool).await, [fresh.study.to_string()]);
}

#[tokio::test]
async fn what_a_restored_store_lacks_is_not_safe_and_is_sent_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let lost = safe_film(&spool, "1.2.3").await;
    spool.greeted(&county("two", true)).await.unwrap();
    spool.missing(&lost.study, &[lost.hash]).await.unwrap();
    let view = spool.study(&lost.study).await.unwrap();
    assert_eq!((view.safe_at, view.receipted), (None, 0));
    assert!(spool.unreceipted_bytes() > 0, "it counts as not receipted");
    assert_eq!(pending(&spool).await, ["1.2.3"]);
    spool.open_coded(&lost.study, &lost.hash).await.unwrap();
    spool.receipted(&lost.study, 1, &[lost.hash], NOW).await.unwrap();
    assert!(is_safe(&spool, &lost.study).await && pending(&spool).await.is_empty());
    // An answer about an object that was never receipted changes nothing.
    let fresh = put(&spool, &film("1.2.4", 1), &origin(false)).await.unwrap();
    spool.missing(&fresh.study, &[fresh.hash]).await.unwrap();
    assert_eq!(spool.manifest(&fresh.study).await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_study_of_which_each_store_has_a_part_is_offered_until_one_has_all() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let first = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let second = put(&spool, &film("1.2.3", 2), &origin(false)).await.unwrap();
    spool.receipted(&first.study, 2, &[first.hash], NOW).await.unwrap();
    spool.greeted(&county("two", true)).await.unwrap();
    spool.receipted(&first.study, 2, &[second.hash], NOW).await.unwrap();
    assert!(!is_safe(&spool, &first.study).await);
    assert_eq!(pending(&spool).await, ["1.2.3"]);
    spool.receipted(&first.study, 2, &[first.hash, second.hash], NOW).await.unwrap();
    assert!(is_safe(&spool, &first.study).await && pending(&spool).await.is_empty());
}

#[tokio::test]
async fn a_standby_is_offered_what_waits_for_a_report_and_not_the_archive() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("county", true)).await.unwrap();
    let old = safe_film(&spool, "1.2.3").await;
    bench.clock.advance_ms(STANDBY_MS + DAY_MS);
    let recent = put(&spool, &film("1.2.4", 1), &origin(false)).await.unwrap();
    spool.receipted(&recent.study, 1, &[recent.hash], spool.now()).await.unwrap();
    spool.greeted(&county("standby", false)).await.unwrap();
    assert_eq!(pending(&spool).await, ["1.2.4"]);
    assert!(is_safe(&spool, &old.study).await, "the first gateway still has its store");
    spool.missing(&recent.study, &[recent.hash]).await.unwrap();
    spool.receipted(&recent.study, 1, &[recent.hash], spool.now()).await.unwrap();
    assert!(is_safe(&spool, &recent.study).await && pending(&spool).await.is_empty());
    spool.greeted(&county("county", true)).await.unwrap();
    assert_eq!(pending(&spool).await, ["1.2.4"], "the first gateway confirms it too");
}

#[tokio::test]
async fn nothing_leaves_the_archive_before_the_store_that_answers_has_confirmed_it() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let one = safe_film(&spool, "1.2.3").await;
    spool.greeted(&county("two", true)).await.unwrap();
    bench.clock.advance_ms(30 * DAY_MS);
    assert_eq!(spool.evict_delivered(7).await.unwrap(), 0);
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    assert_eq!(spool.evict_delivered(7).await.unwrap(), 1);
    // Gone from here too: nothing can be offered, and the study says what it lacks.
    spool.greeted(&county("three", true)).await.unwrap();
    assert!(pending(&spool).await.is_empty());
    assert_eq!(spool.wanted(&one.study, &[one.hash]).await.unwrap(), [one.hash]);
}

#[tokio::test]
async fn an_object_that_the_county_has_lost_is_pending_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let one = safe_film(&spool, "1.2.3").await;
    let unknown = ObjectHash::of(b"never here");
    assert_eq!(spool.wanted(&one.study, &[one.hash, unknown]).await.unwrap(), [unknown]);
    assert!(!is_safe(&spool, &one.study).await);
    assert_eq!(pending(&spool).await, ["1.2.3"]);
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    assert!(is_safe(&spool, &one.study).await);
}

#[tokio::test]
async fn a_refusal_of_an_older_generation_does_not_bury_what_came_since() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    put(&spool, &film("1.2.3", 2), &origin(false)).await.unwrap();
    let refusal = Refusal::new(Code::RefusedManifest, "objects", "contradicts itself");
    spool.refused(&one.study, None, 1, &refusal).await.unwrap();
    assert_eq!(pending(&spool).await, ["1.2.3"], "generation 2 was never judged");
    spool.refused(&one.study, None, 2, &refusal).await.unwrap();
    assert!(pending(&spool).await.is_empty());
}

#[tokio::test]
async fn a_receipt_after_a_refusal_counts() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let refusal = Refusal::new(Code::RefusedUid, "(0020,000D)", "unlawful");
    spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    let view = spool.study(&one.study).await.unwrap();
    assert_eq!((view.receipted, view.refused, view.safe_at.is_some()), (1, 0, true));
}

fn note(n: usize) -> Note {
    Note {
        id: NoteId::parse(&format!("n-{n:02}")).unwrap(),
        kind: NoteKind::CriticalReadBack,
        body: vec![1],
        signature: vec![2],
        certificate: vec![3],
    }
}

async fn notes_of(spool: &Spool, limit: usize) -> Vec<String> {
    spool.pending_notes(limit).await.unwrap().iter().map(|n| n.id.to_string()).collect()
}

#[tokio::test]
async fn refused_notes_hold_no_later_note_back_and_come_again_in_their_time() {
    let bench = Bench::new();
    let spool = bench.open().await;
    for n in 0..10 {
        let mut writer = spool.0.writer.acquire().await.unwrap();
        notes::insert(&mut writer, &note(n)).await.unwrap();
    }
    let refusal = Refusal::new(Code::NotFound, "letter", "no such letter");
    for n in 0..8 {
        spool.note_refused(&note(n).id, &refusal).await.unwrap();
    }
    assert_eq!(notes_of(&spool, 8).await, ["n-08", "n-09"]);
    bench.clock.advance_ms(relay_core::clock::MINUTE_MS);
    assert_eq!(notes_of(&spool, 4).await, ["n-08", "n-09", "n-00", "n-01"]);
    spool.note_refused(&note(0).id, &refusal).await.unwrap();
    bench.clock.advance_ms(relay_core::clock::MINUTE_MS);
    assert!(!notes_of(&spool, 20).await.contains(&"n-00".to_owned()), "the pause grows");
    assert_eq!(spool.pending_notes(1).await.unwrap(), [note(8)], "its certificate travels with it");
}

#[tokio::test]
async fn notes_that_a_restored_store_lacks_are_offered_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let mut writer = spool.0.writer.acquire().await.unwrap();
    notes::insert(&mut writer, &note(0)).await.unwrap();
    drop(writer);
    spool.note_receipted(&note(0).id, NOW).await.unwrap();
    assert!(notes_of(&spool, 8).await.is_empty());
    spool.greeted(&county("standby", false)).await.unwrap();
    assert!(notes_of(&spool, 8).await.is_empty());
    spool.greeted(&county("two", true)).await.unwrap();
    assert_eq!(notes_of(&spool, 8).await, ["n-00"]);
}
