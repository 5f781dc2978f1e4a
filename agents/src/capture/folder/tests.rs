use super::*;
use crate::config::QuietSeconds;
use crate::courier::ports::Outbox as _;
use crate::spool::{SpoolLimits, SpoolOptions};
use crate::testing;
use relay_core::clock::{ManualClock, UtcMs};
use relay_core::durable::{FaultyDisk, RealDisk};
use relay_core::ids::ClinicId;
use relay_core::study::{Class, Completeness, Kind};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

async fn spool(dir: &Path, disk: &FaultyDisk) -> Spool {
    let options = SpoolOptions {
        dir: dir.join("spool"),
        clinic: ClinicId::parse("shilipu").unwrap(),
        limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    let clock = Arc::new(ManualClock::at(UtcMs(1_793_666_000_000)));
    Spool::open(options, Arc::new(disk.clone()), clock).await.unwrap()
}

fn watcher(dir: &Path, spool: &Spool) -> Watcher {
    let folder = Folder {
        path: "ecg".into(),
        class: Class::Green,
        kind: Some(Kind::Ecg),
        stable_s: 3,
        poll_s: 1,
        keep_done_days: 30,
    };
    let watcher = Watcher::new(folder, dir, spool.clone());
    files::prepare(watcher.root()).unwrap();
    watcher
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_taken_only_when_it_has_stood_still_and_goes_to_done() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let sub = dir.path().join("ecg/2026/王");
    RealDisk.create_dir_all(&sub).unwrap();
    let file = testing::write(&sub, "e.xml", &testing::AECG[..50]);
    assert_eq!(watcher.round(1000).await.unwrap(), 0);
    assert_eq!(watcher.round(2000).await.unwrap(), 0);
    testing::write(&sub, "e.xml", testing::AECG);
    assert_eq!(watcher.round(2000).await.unwrap(), 0, "it has grown: the count begins again");
    assert_eq!(watcher.round(2000).await.unwrap(), 0);
    assert_eq!(watcher.round(1000).await.unwrap(), 1);
    assert!(!file.exists());
    assert_eq!(names(&dir.path().join("ecg/done")), ["e.xml"]);
    let manifest = &spool.pending_studies(1).await.unwrap()[0];
    assert_eq!((manifest.class, manifest.completeness), (Class::Green, Completeness::Complete));
    // The same bytes under another name: moved, not doubled.
    testing::write(&sub, "copy.xml", testing::AECG);
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
    assert_eq!(spool.pending_studies(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_in_done_goes_when_the_county_has_held_its_bytes_long_enough_not_before() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    testing::write(watcher.root(), "e.xml", testing::AECG);
    watcher.round(0).await.unwrap();
    watcher.round(3000).await.unwrap();
    let done = dir.path().join("ecg/done");
    testing::write(&done, "letter to the wife.txt", b"somebody keeps this here");
    assert_eq!(watcher.tidy().await.unwrap(), 0, "no receipt yet");
    let manifest = spool.pending_studies(1).await.unwrap().remove(0);
    let month_ago = spool.now().plus_ms(-31 * relay_core::clock::DAY_MS);
    spool
        .receipted(&manifest.study, manifest.generation, &[manifest.objects[0].hash], month_ago)
        .await
        .unwrap();
    watcher.folder.keep_done_days = 0;
    assert_eq!(watcher.tidy().await.unwrap(), 0, "0 keeps everything");
    watcher.folder.keep_done_days = 32;
    assert_eq!(watcher.tidy().await.unwrap(), 0, "a day is left");
    watcher.folder.keep_done_days = 30;
    assert_eq!(watcher.tidy().await.unwrap(), 1);
    assert_eq!(names(&done), ["letter to the wife.txt"]);
    assert!(spool.blobs().contains(&manifest.objects[0].hash), "the spool keeps its own copy");
}

#[tokio::test]
async fn a_refused_file_goes_to_rejected_with_its_reason_in_two_languages() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    testing::write(watcher.root(), "notes.doc", b"these are the minutes of the meeting");
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
    assert_eq!(names(&dir.path().join("ecg/rejected")), ["notes.doc", "notes.doc.reason.txt"]);
    let text = std::fs::read_to_string(dir.path().join("ecg/rejected/notes.doc.reason.txt")).unwrap();
    assert!(
        text.contains("此文件未被接收") && text.contains("REFUSED_FORMAT") && text.contains("not taken"),
        "{text}"
    );
}

#[tokio::test]
async fn with_a_full_disk_the_file_stays_and_is_taken_when_there_is_room() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let file = testing::write(watcher.root(), "e.xml", testing::AECG);
    disk.faults.full_after(0);
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 0);
    assert!(file.exists());
    disk.faults.room_again();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
}

#[tokio::test]
async fn hidden_half_written_and_linked_files_are_left_alone() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    for name in [".hidden", "~lock", "e.xml.part", "e.TMP"] {
        testing::write(watcher.root(), name, testing::AECG);
    }
    let outside = testing::write(dir.path(), "outside.xml", testing::AECG);
    std::os::unix::fs::symlink(outside, watcher.root().join("link.xml")).unwrap();
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(60_000).await.unwrap(), 0);
}

/// A writer that opens the file and keeps it open, as a copy does.
fn writer(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
}

async fn taken(spool: &Spool) -> Vec<ObjectHash> {
    let studies = spool.pending_studies(10).await.unwrap();
    studies.iter().flat_map(|m| m.objects.iter().map(|o| o.hash)).collect()
}

#[tokio::test]
async fn a_file_that_is_open_for_writing_is_neither_taken_nor_moved_however_still_it_is() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    watcher.round(0).await.unwrap();
    // Whole, as far as its own words tell: only the writer knows that more is to come.
    let film = testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64);
    let mut copy = writer(&watcher.root().join("a.dcm"));
    copy.write_all(&film).unwrap();
    for _ in 0..10 {
        assert_eq!(watcher.round(60_000).await.unwrap(), 0);
    }
    assert!(watcher.health().troubles()[0].zh.contains("尚未写完"));
    drop(copy);
    assert_eq!(watcher.round(1000).await.unwrap(), 1);
    assert_eq!(taken(&spool).await, [ObjectHash::of(&film)]);
    assert!(watcher.health().troubles().is_empty());
}

#[tokio::test]
async fn a_second_name_of_a_file_elsewhere_is_taken_although_nobody_closes_it() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    watcher.round(0).await.unwrap();
    let elsewhere = testing::write(dir.path(), "e.xml", testing::AECG);
    std::fs::hard_link(elsewhere, watcher.root().join("e.xml")).unwrap();
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
}

#[tokio::test]
async fn a_copy_that_reserves_its_room_first_is_waited_for_until_it_is_written() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let film = testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 512);
    let path = watcher.root().join("a.dcm");
    // Written before the watcher listens: the writer is not seen.
    let copy = writer(&path);
    copy.set_len(film.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(&path).unwrap(),
        &film[..film.len() / 2],
        0,
    )
    .unwrap();
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(5000).await.unwrap(), 0, "half of it is not there");
    assert_eq!(watcher.round(60_000).await.unwrap(), 0);
    assert!(taken(&spool).await.is_empty());
    drop(copy);
    testing::write(watcher.root(), "a.dcm", &film);
    watcher.round(1000).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
    assert_eq!(taken(&spool).await, [ObjectHash::of(&film)]);
}

#[tokio::test]
async fn half_an_ecg_is_waited_for_and_taken_as_it_is_when_the_rest_never_comes() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let half = &testing::AECG[..testing::AECG.len() - 5];
    testing::write(watcher.root(), "e.xml", half);
    testing::write(watcher.root(), "f.xml", half);
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 0);
    assert_eq!(watcher.round(30_000).await.unwrap(), 0);
    testing::write(watcher.root(), "e.xml", testing::AECG);
    watcher.round(15_000).await.unwrap();
    assert_eq!(watcher.round(15_000).await.unwrap(), 1, "the whole one");
    assert_eq!(taken(&spool).await, [ObjectHash::of(testing::AECG)]);
    for _ in 0..6 {
        watcher.round(15_000).await.unwrap();
    }
    assert_eq!(names(&dir.path().join("ecg/done")), ["e.xml", "f.xml"]);
}

#[tokio::test]
async fn half_a_film_is_waited_for_then_refused_and_taken_when_its_writer_ends_it_after_the_move() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let film = testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64);
    let (first, rest) = film.split_at(film.len() / 2);
    let mut copy = writer(&watcher.root().join("a.dcm"));
    copy.write_all(first).unwrap();
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 0);
    assert!(spool.rejects().await.unwrap().is_empty(), "it may still come");
    let mut moved = 0;
    for _ in 0..10 {
        moved += watcher.round(15_000).await.unwrap();
    }
    assert_eq!(moved, 1);
    assert_eq!(names(&dir.path().join("ecg/rejected")), ["a.dcm", "a.dcm.reason.txt"]);
    assert_eq!(spool.rejects().await.unwrap()[0].code, "REFUSED_LENGTH");
    // The same open file, under its new name.
    copy.write_all(rest).unwrap();
    drop(copy);
    watcher.round(1000).await.unwrap();
    watcher.round(3000).await.unwrap();
    assert_eq!(taken(&spool).await, [ObjectHash::of(&film)]);
    assert_eq!(names(&dir.path().join("ecg/done")), ["a.dcm"]);
    assert!(names(&dir.path().join("ecg/rejected")).is_empty());
    let listed = spool.rejects().await.unwrap();
    assert!(listed.iter().any(|r| r.code == "FILE_CHANGED" && r.field == "rejected/"), "{listed:?}");
}

#[tokio::test]
async fn what_changes_in_done_is_taken_again_and_said() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let film = testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64);
    let mut cut = film.clone();
    let end = cut.len();
    cut[end / 2..].fill(0);
    testing::write(watcher.root(), "a.dcm", &cut);
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1, "it is as long as it says");
    let path = dir.path().join("ecg/done/a.dcm");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &film, 0).unwrap();
    drop(file);
    watcher.round(1000).await.unwrap();
    watcher.round(3000).await.unwrap();
    let studies = spool.pending_studies(10).await.unwrap();
    assert_eq!((studies.len(), studies[0].objects.len()), (1, 2), "both are kept, the newer one is current");
    assert!(studies[0].objects.iter().any(|o| o.hash == ObjectHash::of(&film)));
    assert_eq!(spool.rejects().await.unwrap()[0].code, "FILE_CHANGED");
    for _ in 0..5 {
        watcher.round(60_000).await.unwrap();
    }
    assert_eq!(spool.rejects().await.unwrap().len(), 1, "once");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_said_and_tried_again_each_round() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let in_the_way = testing::write(dir.path(), "share", b"not a folder");
    let folder = Folder { path: "share/ecg".into(), ..watcher(dir.path(), &spool).folder };
    let mut watcher = Watcher::new(folder, dir.path(), spool.clone());
    assert!(watcher.round(1000).await.is_err());
    let said = &watcher.health().troubles()[0];
    assert!(said.zh.contains("监视目录无法使用") && said.zh.contains("share"), "{}", said.zh);
    std::fs::remove_file(in_the_way).unwrap();
    assert_eq!(watcher.round(1000).await.unwrap(), 0);
    assert!(watcher.health().troubles().is_empty() && watcher.root().join("done").is_dir());
}

#[tokio::test]
async fn missing_directories_are_made_again_with_the_folders_own_mode_and_long_names_fit() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    std::fs::remove_dir(watcher.root().join("rejected")).unwrap();
    std::fs::set_permissions(watcher.root(), std::fs::Permissions::from_mode(0o775)).unwrap();
    let long = format!("{}.txt", "x".repeat(251));
    std::fs::hard_link(testing::write(dir.path(), "n", b"minutes of the meeting"), watcher.root().join(long))
        .unwrap();
    watcher.round(0).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
    let rejected = watcher.root().join("rejected");
    let names = names(&rejected);
    assert!(
        names.len() == 2 && names.iter().all(|n| n.ends_with("xxx.txt") || n.ends_with(".txt.reason.txt")),
        "{names:?}"
    );
    assert_eq!(std::fs::metadata(&rejected).unwrap().permissions().mode() & 0o777, 0o775);
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_away_is_tried_less_and_less_often() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    std::fs::remove_dir(watcher.root().join("done")).unwrap();
    let in_the_way = testing::write(watcher.root(), "done", b"a file of this name");
    let file = testing::write(watcher.root(), "e.xml", testing::AECG);
    watcher.round(0).await.unwrap();
    let mut pauses = Vec::new();
    for _ in 0..16 {
        assert_eq!(watcher.round(3000).await.unwrap(), 0);
        pauses.push(watcher.waiting[&file].step_ms);
    }
    assert_eq!(pauses[..4], [1000, 2000, 4000, 4000], "the third pause is longer than a round");
    assert!(pauses[15] > 10_000 && watcher.health().troubles()[0].zh.contains("无法移走"));
    assert_eq!(taken(&spool).await.len(), 1, "it is in custody all the same");
    std::fs::remove_file(in_the_way).unwrap();
    assert_eq!(watcher.round(600_000).await.unwrap(), 1);
}

#[tokio::test]
async fn a_folder_that_was_there_and_vanishes_is_a_fault_and_nothing_is_made_in_its_place() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut first = watcher(dir.path(), &spool);
    first.round(1000).await.unwrap();
    let (root, away) = (first.root().to_owned(), dir.path().join("away"));
    RealDisk.rename(&root, &away).unwrap();
    // Also after a restart.
    let mut again = Watcher::new(first.folder.clone(), dir.path(), spool.clone());
    for watcher in [&mut first, &mut again] {
        assert!(watcher.round(1000).await.is_err());
        let said = &watcher.health().troubles()[0];
        assert!(said.level == crate::health::Level::Bad && said.zh.contains("未挂载"), "{}", said.zh);
        assert!(!root.exists());
    }
    // The place where it is mounted is there, the share is not.
    RealDisk.create_dir_all(&root).unwrap();
    assert!(again.round(1000).await.is_err());
    assert_eq!(names(&root), Vec::<String>::new());
    std::fs::remove_dir(&root).unwrap();
    RealDisk.rename(&away, &root).unwrap();
    again.round(1000).await.unwrap();
    assert!(again.health().troubles().is_empty());
}

#[tokio::test]
async fn files_too_deep_to_be_looked_for_are_said() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let deep = watcher.root().join("1/2/3/4/5/6/7/8/9");
    RealDisk.create_dir_all(&deep).unwrap();
    testing::write(&deep, "e.xml", testing::AECG);
    watcher.round(1000).await.unwrap();
    let said = watcher.health().troubles();
    assert!(said.len() == 1 && said[0].zh.contains("层次过深") && said[0].zh.contains("8/9"), "{said:?}");
    std::fs::remove_dir_all(watcher.root().join("1")).unwrap();
    watcher.round(1000).await.unwrap();
    assert!(watcher.health().troubles().is_empty());
}

#[tokio::test]
async fn a_name_in_gb18030_is_read_as_people_wrote_it() {
    use std::os::unix::ffi::OsStrExt as _;
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let spool = spool(dir.path(), &disk).await;
    let mut watcher = watcher(dir.path(), &spool);
    let name = std::ffi::OsStr::from_bytes(&[0xCD, 0xF5, 0xB7, 0xBC, b'.', b'x', b'm', b'l']);
    testing::write(watcher.root(), "a", testing::AECG);
    RealDisk.rename(&watcher.root().join("a"), &watcher.root().join(name)).unwrap();
    watcher.round(1000).await.unwrap();
    assert_eq!(watcher.round(3000).await.unwrap(), 1);
    assert_eq!(names(&watcher.root().join("done")), ["王芳.xml"]);
}
