mod faults;
mod films;
mod lists;
mod whole;

use super::*;
use crate::courier::ports::{Answering, Outbox as _};
use crate::testing;
use relay_core::clock::{ManualClock, SECOND_MS};
use relay_core::codes::{Code, Refusal};
use relay_core::durable::FaultyDisk;
use relay_core::ids::LetterId;
use relay_core::letter::{LetterHead, LetterKind, StudyStatus};
use relay_core::study::{Completeness, Encoding, StudyContext};

/// Head of a letter about the study `1.2.3`.
fn head(id: &str, kind: LetterKind, at: UtcMs) -> LetterHead {
    LetterHead {
        id: LetterId::parse(id).unwrap(),
        kind,
        study: StudyUid::parse("1.2.3").unwrap(),
        length: 1,
        hash: relay_core::ids::ObjectHash::of(id.as_bytes()),
        written_at: at,
    }
}

pub(super) struct Bench {
    dir: tempfile::TempDir,
    disk: FaultyDisk,
    pub(super) clock: Arc<ManualClock>,
}

pub(super) const NOW: UtcMs = UtcMs(1_793_666_000_000); // 2026-11-03T01:13:20Z, 43 minutes after the film of `testing`

impl Bench {
    pub(super) fn new() -> Self {
        let (disk, clock) = (FaultyDisk::default(), Arc::new(ManualClock::at(NOW)));
        Self { dir: tempfile::tempdir().unwrap(), disk, clock }
    }

    async fn try_open(&self, limits: SpoolLimits) -> Result<Spool, SpoolError> {
        let options = SpoolOptions {
            dir: self.dir.path().join("spool"),
            clinic: ClinicId::parse("shilipu").unwrap(),
            limits,
            quiet: QuietSeconds::default(),
        };
        Spool::open(options, Arc::new(self.disk.clone()), Arc::clone(&self.clock) as Arc<dyn Clock>).await
    }

    pub(super) async fn open(&self) -> Spool {
        self.try_open(SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 }).await.unwrap()
    }
}

pub(super) fn origin(quiet: bool) -> Origin {
    let (source, name) = ("DR1".to_owned(), Some("a.dcm".to_owned()));
    Origin { source, name, class: Class::Routine, kind: None, quiet, open: false, announced: None }
}

pub(super) async fn put(spool: &Spool, bytes: &[u8], origin: &Origin) -> Result<Admitted, Refusal> {
    let mut receiving = spool.receive(None)?;
    for piece in bytes.chunks(1000) {
        receiving.write(piece)?;
    }
    spool.admit(receiving.finish(), origin).await
}

/// A county that restores films has answered.
pub(super) fn county(store: &str, first: bool) -> Answering {
    Answering { store: store.to_owned(), first, takes_film: true, film_speeds: None }
}

pub(super) fn film(study: &str, number: u32) -> Vec<u8> {
    testing::film(study, &format!("{study}.1"), &format!("{study}.1.{number}"), 64)
}

#[tokio::test]
async fn an_object_in_custody_survives_a_restart_and_is_offered_byte_exact() {
    let bench = Bench::new();
    let bytes = film("1.2.3", 1);
    let admitted = put(&bench.open().await, &bytes, &origin(true)).await.unwrap();
    let spool = bench.open().await;
    let manifests = spool.pending_studies(10).await.unwrap();
    assert_eq!(manifests.len(), 1);
    assert_eq!(manifests[0].check(), Ok(()));
    let object = &manifests[0].objects[0];
    assert_eq!(object.hash, admitted.hash);
    assert!(films::travelled(&spool, &admitted).await == bytes);
    assert_eq!(manifests[0].exam_completed_at.unwrap().to_rfc3339(), "2026-11-03T00:30:00.000Z");
    assert!(!manifests[0].time_suspect);
}

#[tokio::test]
async fn the_same_bytes_again_change_nothing_and_other_bytes_of_one_instance_are_kept() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = film("1.2.3", 1);
    let first = put(&spool, &bytes, &origin(true)).await.unwrap();
    let again = put(&spool, &bytes, &origin(true)).await.unwrap();
    assert_eq!((first.fresh, again.fresh, first.hash), (true, false, again.hash));
    assert_eq!(spool.manifest(&first.study).await.unwrap().generation, 1);
    let mut other = bytes;
    *other.last_mut().unwrap() ^= 1;
    assert!(put(&spool, &other, &origin(true)).await.unwrap().fresh);
    let manifest = spool.manifest(&first.study).await.unwrap();
    assert_eq!(manifest.objects.len(), 2);
    assert_eq!(manifest.objects[0].instance, manifest.objects[1].instance);
}

#[tokio::test]
async fn a_failed_sync_or_a_full_disk_acknowledges_nothing_and_is_named() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = film("1.2.3", 1);
    bench.disk.faults.sync_fails(true);
    let refusal = put(&spool, &bytes, &origin(true)).await.unwrap_err();
    assert_eq!(refusal.code, Code::StorageFailed, "{refusal}");
    bench.disk.faults.sync_fails(false);
    bench.disk.faults.full_after(3000);
    let refusal = put(&spool, &bytes, &origin(true)).await.unwrap_err();
    assert_eq!(refusal.code, Code::StorageFull, "{refusal}");
    assert!(spool.pending_studies(10).await.unwrap().is_empty());
    bench.disk.faults.room_again();
    assert!(put(&spool, &bytes, &origin(true)).await.unwrap().fresh);
}

#[tokio::test]
async fn the_cap_counts_what_has_no_receipt_and_a_receipt_makes_room() {
    let bench = Bench::new();
    let one = film("1.2.3", 1);
    let limits = SpoolLimits { max_unreceipted_bytes: 17 * 1024 * 1024, free_floor_bytes: 0 };
    let spool = bench.try_open(limits).await.unwrap();
    let admitted = put(&spool, &one, &origin(false)).await.unwrap();
    let refusal = spool.receive(Some(17 * 1024 * 1024)).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::StorageFull, "spool.max_unreceipted_gib"));
    spool.receipted(&admitted.study, 1, &[admitted.hash], NOW).await.unwrap();
    assert!(spool.receive(Some(17 * 1024 * 1024)).is_ok());
}

#[tokio::test]
async fn the_disk_keeps_its_floor_free() {
    let bench = Bench::new();
    let limits = SpoolLimits { max_unreceipted_bytes: u64::MAX, free_floor_bytes: 1 << 60 };
    let spool = bench.try_open(limits).await.unwrap();
    let refusal = spool.receive(Some(1)).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::StorageFull, "spool.free_floor_gib"));
}

#[tokio::test]
async fn silence_after_the_association_completes_a_film_and_a_late_view_opens_it_again() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let open = Origin { open: true, ..origin(true) };
    let study = put(&spool, &film("1.2.3", 1), &open).await.unwrap().study;
    spool.opened(&study);
    bench.clock.advance_ms(300 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 0, "the association is still open");
    spool.closed(&study).await.unwrap();
    bench.clock.advance_ms(59 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 0);
    bench.clock.advance_ms(SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1);
    let complete = spool.manifest(&study).await.unwrap();
    assert_eq!((complete.completeness, complete.generation), (Completeness::Complete, 2));
    put(&spool, &film("1.2.3", 2), &origin(true)).await.unwrap();
    let late = spool.manifest(&study).await.unwrap();
    assert_eq!((late.completeness, late.generation, late.objects.len()), (Completeness::Partial, 3, 2));
}

#[tokio::test]
async fn an_urgent_film_waits_ten_seconds_and_an_ecg_not_at_all() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let urgent = Origin { class: Class::Emergency, ..origin(true) };
    put(&spool, &film("1.2.3", 1), &urgent).await.unwrap();
    bench.clock.advance_ms(10 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1);
    let ecg = put(&spool, testing::AECG, &origin(true)).await.unwrap();
    let manifest = spool.manifest(&ecg.study).await.unwrap();
    assert_eq!((manifest.completeness, manifest.kind), (Completeness::Complete, Kind::Ecg));
    assert!(ecg.study.as_str().starts_with("2.25."));
}

#[tokio::test]
async fn a_clock_set_back_only_prolongs_the_silence() {
    let bench = Bench::new();
    let spool = bench.open().await;
    put(&spool, &film("1.2.3", 1), &origin(true)).await.unwrap();
    bench.clock.advance_ms(-3_600 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 0);
    bench.clock.advance_ms(60 * SECOND_MS);
    assert_eq!(spool.complete_quiet().await.unwrap(), 1);
}

#[tokio::test]
async fn a_mark_before_during_and_after_counts_and_a_class_is_only_raised() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let study = StudyUid::parse("1.2.3").unwrap();
    let complaint = StudyContext { complaint: Some("胸痛".into()), ..StudyContext::default() };
    let ahead = Mark { class: Some(Class::Green), context: complaint, finished: false };
    assert!(!spool.mark(&study, &ahead).await.unwrap().known);
    put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let manifest = spool.manifest(&study).await.unwrap();
    assert_eq!((manifest.class, manifest.context.complaint.as_deref()), (Class::Green, Some("胸痛")));
    let later = Mark {
        class: Some(Class::Routine),
        context: StudyContext { phone: Some("1".into()), ..StudyContext::default() },
        finished: true,
    };
    let marked = spool.mark(&study, &later).await.unwrap();
    assert_eq!(marked, Marked { class: Some(Class::Green), known: true, complete: true });
    let manifest = spool.manifest(&study).await.unwrap();
    assert_eq!((manifest.generation, manifest.completeness), (2, Completeness::Complete));
    assert_eq!(manifest.context.complaint.as_deref(), Some("胸痛"));
    spool.mark(&study, &later).await.unwrap();
    assert_eq!(spool.manifest(&study).await.unwrap().generation, 2, "the same mark again changes nothing");
}

#[tokio::test]
async fn a_receipt_of_an_older_generation_leaves_the_study_pending() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    spool.mark(&one.study, &Mark { finished: true, ..Mark::default() }).await.unwrap();
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    assert_eq!(spool.pending_studies(10).await.unwrap().len(), 1);
    spool.receipted(&one.study, 2, &[], NOW).await.unwrap();
    assert!(spool.pending_studies(10).await.unwrap().is_empty());
    assert_eq!(spool.study(&one.study).await.unwrap().state, "safe_at_county");
}

#[tokio::test]
async fn a_refused_object_does_not_block_its_study_and_urgent_goes_first() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let two = put(&spool, &film("1.2.3", 2), &origin(false)).await.unwrap();
    let urgent = Origin { class: Class::Green, ..origin(false) };
    let ecg = put(&spool, testing::AECG, &urgent).await.unwrap();
    let order: Vec<_> = spool.pending_studies(10).await.unwrap().into_iter().map(|m| m.study).collect();
    assert_eq!(order, [ecg.study, one.study.clone()]);
    let refusal = Refusal::new(Code::RefusedUid, "(0020,000D)", "unlawful");
    spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    let manifest = spool.manifest(&one.study).await.unwrap();
    assert_eq!(manifest.objects.iter().map(|o| o.hash).collect::<Vec<_>>(), [two.hash]);
    spool.receipted(&one.study, 2, &[two.hash], NOW).await.unwrap();
    assert_eq!(spool.study(&one.study).await.unwrap().refused, 1);
    assert!(spool.pending_studies(10).await.unwrap().iter().all(|m| m.study != one.study));
    let busy = Refusal::new(Code::StorageFull, "", "full");
    let three = put(&spool, &film("1.2.4", 1), &origin(false)).await.unwrap();
    spool.refused(&three.study, None, 1, &busy).await.unwrap();
    assert!(
        spool.pending_studies(10).await.unwrap().iter().any(|m| m.study == three.study),
        "told to come later"
    );
}

#[tokio::test]
async fn a_wrong_digest_is_tried_again_while_our_bytes_are_right() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let refusal = Refusal::new(Code::RefusedDigest, "", "differs");
    spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    assert_eq!(spool.pending_studies(10).await.unwrap().len(), 1);
    for _ in 0..3 {
        spool.refused(&one.study, Some(&one.hash), 1, &refusal).await.unwrap();
    }
    assert!(spool.pending_studies(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_coded_form_is_made_again_and_delivered_ones_are_dropped() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let one = put(&spool, &film("1.2.3", 1), &origin(false)).await.unwrap();
    let coded = spool.manifest(&one.study).await.unwrap().objects[0].coded.hash;
    spool.blobs().remove(&coded).unwrap();
    spool.open_coded(&one.study, &one.hash).await.unwrap();
    assert!(spool.blobs().contains(&coded));
    assert_eq!(spool.drop_delivered_coded_forms().await.unwrap(), 0, "no receipt yet");
    spool.receipted(&one.study, 1, &[one.hash], NOW).await.unwrap();
    assert_eq!(spool.drop_delivered_coded_forms().await.unwrap(), 1);
    assert!(!spool.blobs().contains(&coded) && spool.blobs().contains(&one.hash));
    assert_eq!(spool.evict_delivered(0).await.unwrap(), 0);
    bench.clock.advance_ms(2 * relay_core::clock::DAY_MS);
    put(&spool, &film("1.2.9", 1), &origin(false)).await.unwrap();
    assert_eq!(spool.evict_delivered(1).await.unwrap(), 1);
    assert!(!spool.blobs().contains(&one.hash), "only the delivered one went");
}

#[tokio::test]
async fn a_refused_file_is_listed_with_its_reason_and_leaves_no_bytes() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let refusal = put(&spool, b"this is no image, nor any heart", &origin(true)).await.unwrap_err();
    assert_eq!(refusal.code, Code::RefusedFormat);
    let rejects = spool.rejects().await.unwrap();
    assert_eq!(
        (rejects.len(), rejects[0].file.as_str(), rejects[0].code.as_str()),
        (1, "a.dcm", "REFUSED_FORMAT")
    );
    assert_eq!(std::fs::read_dir(bench.dir.path().join("spool/partial")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_second_process_cannot_open_the_spool_and_a_left_partial_goes() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let limits = spool.limits();
    assert!(matches!(bench.try_open(limits).await, Err(SpoolError::Locked { .. })));
    std::mem::forget(spool.receive(None).unwrap());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("spool/partial")).unwrap().count(), 1);
}

#[tokio::test]
async fn guesses_side_by_side_are_counted_before_they_are_made() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.add_staff("李医生", "246810", [1; 16]).await.unwrap();
    let guesses = (0..18).map(|n| {
        let spool = spool.clone();
        async move { spool.check_pin("李医生", &format!("{n:06}")).await.unwrap_err() }
    });
    let answers = futures::future::join_all(guesses).await;
    let tried = answers.iter().filter(|e| matches!(e, PinError::Wrong)).count();
    assert_eq!(tried, 5, "{answers:?}");
    assert!(matches!(spool.check_pin("李医生", "246810").await, Err(PinError::Locked(_))));
}

#[tokio::test]
async fn more_tries_than_the_memory_allows_are_turned_away_uncounted() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.add_staff("李医生", "246810", [1; 16]).await.unwrap();
    let many = (0..100).map(|_| spool.check_pin("李医生", "246810"));
    let answers = futures::future::join_all(many).await;
    assert!(answers.iter().any(|a| matches!(a, Err(PinError::Busy))), "{answers:?}");
    spool.check_pin("李医生", "246810").await.unwrap();
}

#[tokio::test]
async fn a_pin_is_checked_and_five_wrong_ones_lock() {
    let bench = Bench::new();
    let spool = bench.open().await;
    assert!(matches!(spool.add_staff("李医生", "123", [1; 16]).await, Err(PinError::Form { .. })));
    spool.add_staff("李医生", "246810", [1; 16]).await.unwrap();
    spool.check_pin("李医生", "246810").await.unwrap();
    assert!(matches!(spool.check_pin("王医生", "246810").await, Err(PinError::Wrong)));
    for _ in 0..5 {
        assert!(matches!(spool.check_pin("李医生", "000000").await, Err(PinError::Wrong)));
    }
    assert!(matches!(spool.check_pin("李医生", "246810").await, Err(PinError::Locked(_))));
    bench.clock.advance_ms(300 * SECOND_MS);
    spool.check_pin("李医生", "246810").await.unwrap();
}
