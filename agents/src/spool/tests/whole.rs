//! What counts as whole: studies that nobody ends, and bytes that this disk loses.

use super::*;
use relay_core::clock::MINUTE_MS;
use relay_core::ids::ObjectHash;

#[tokio::test]
async fn a_study_whose_word_never_comes_is_named_and_complete_after_ten_minutes() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let study = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap().study;
    bench.clock.advance_ms(2 * MINUTE_MS - 1);
    assert!(spool.unfinished().await.unwrap().is_empty(), "the word may be on its way");
    bench.clock.advance_ms(1);
    let named = spool.unfinished().await.unwrap();
    assert_eq!((named.len(), &named[0].study), (1, &study));
    assert_eq!(named[0].patient_name.as_deref(), Some("WANG XIAODONG"));
    bench.clock.advance_ms(8 * MINUTE_MS - 1);
    assert_eq!(spool.complete_quiet().await.unwrap(), 0);
    bench.clock.advance_ms(1);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1);
    assert_eq!(spool.manifest(&study).await.unwrap().completeness, Completeness::Complete);
    assert!(spool.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_later_send_does_not_switch_off_the_silence_of_a_modality() {
    let bench = Bench::new();
    let spool = bench.open().await;
    put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    put(&spool, &film("1.2.3", 2), &origin(false)).await.unwrap();
    bench.clock.advance_ms(60 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1);
}

#[tokio::test]
async fn bytes_lost_before_their_receipt_are_found_said_and_taken_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let (one, two) = (film("1.2.3", 1), film("1.2.3", 2));
    let lost = put(&spool, &one, &origin(true)).await.unwrap();
    put(&spool, &two, &origin(true)).await.unwrap();
    assert_eq!(spool.check_held().await.unwrap(), 0);
    std::fs::remove_file(spool.blobs().path_of(&lost.hash)).unwrap();
    assert_eq!(spool.check_held().await.unwrap(), 1);
    let view = spool.study(&lost.study).await.unwrap();
    assert_eq!((view.state.as_str(), view.lost, view.waiting), ("lost_here", 1, 2));
    assert_eq!(spool.lost_objects().await.unwrap()[0].objects, 1);
    assert_eq!(spool.figures().await.unwrap().objects_lost, 1);
    let generation = spool.manifest(&lost.study).await.unwrap().generation;
    let again = put(&spool, &one, &origin(true)).await.unwrap();
    assert!(!again.fresh && spool.blobs().verify(&lost.hash).is_ok());
    assert_eq!(spool.manifest(&lost.study).await.unwrap().generation, generation + 1, "it is offered anew");
    assert_eq!(spool.study(&lost.study).await.unwrap().state, "safe_here");
    assert_eq!((spool.check_held().await.unwrap(), spool.lost_objects().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn damaged_bytes_that_come_again_are_made_good_and_the_refusal_they_met_is_forgotten() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = film("1.2.3", 1);
    let one = put(&spool, &bytes, &origin(true)).await.unwrap();
    let path = spool.blobs().path_of(&one.hash);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 500).unwrap();
    let refusal = Refusal::new(Code::RefusedDigest, "", "differs");
    spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    assert_eq!(spool.lost_objects().await.unwrap().len(), 1);
    assert!(spool.pending_studies(10).await.unwrap().is_empty());
    put(&spool, &bytes, &origin(true)).await.unwrap();
    assert!(spool.blobs().verify(&one.hash).is_ok());
    let pending = spool.pending_studies(10).await.unwrap();
    assert_eq!(pending[0].objects[0].hash, one.hash);
    assert_eq!(spool.lost_objects().await.unwrap(), []);
}

#[tokio::test]
async fn an_object_that_cannot_be_opened_for_sending_is_shown_as_lost() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    let coded = spool.manifest(&one.study).await.unwrap().objects[0].coded.hash;
    for hash in [one.hash, coded] {
        std::fs::remove_file(spool.blobs().path_of(&hash)).unwrap();
    }
    assert!(spool.open_coded(&one.study, &one.hash).await.is_err());
    assert_eq!(spool.study(&one.study).await.unwrap().state, "lost_here");
}

#[tokio::test]
async fn what_left_by_policy_after_its_receipt_stays_away_when_it_is_sent_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = film("1.2.3", 1);
    let one = put(&spool, &bytes, &origin(true)).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    spool.tamper("UPDATE object SET evicted_at = 1").await;
    spool.blobs().remove(&one.hash).unwrap();
    put(&spool, &bytes, &origin(true)).await.unwrap();
    assert!(!spool.blobs().contains(&ObjectHash::of(&bytes)));
}
