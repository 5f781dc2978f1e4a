use super::samples::{Film, Lab, NOW, STUDY, clinic, manifest, only, plain, study, zstd_coded};
use super::*;
use relay_core::clock::HOUR_MS;
use relay_core::ids::{ObjectHash, Sha256};
use relay_core::study::{Class, Completeness, StudyContext};

fn film(sop: u32) -> Vec<u8> {
    Film { sop, ..Film::default() }.bytes()
}

#[tokio::test]
async fn an_object_arrives_byte_exact_with_study_queue_and_events() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    let states = lab.offer("a", &offer).await.unwrap();
    assert_eq!(states, [ObjectState::Missing(only(0..bytes.len() as u64))]);
    let receipt = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().unwrap();
    assert_eq!(receipt.sha256, Sha256::of(&bytes));
    let kept = std::fs::read(lab.store.blobs().path_of(&receipt.hash)).unwrap();
    assert_eq!(kept, bytes);
    assert_eq!(lab.offer("a", &offer).await.unwrap(), [ObjectState::Stored]);
    assert_eq!(lab.text("SELECT state FROM work_item").await, "waiting");
    assert_eq!(lab.text("SELECT name FROM person").await, "王^小明");
    assert_eq!(lab.text("SELECT item FROM study").await, "CHEST");
    assert_eq!(lab.number("SELECT \"rows\" FROM object").await, 16);
    assert_eq!(lab.text("SELECT kind FROM job").await, "preview");
    // 08:55 in China.
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 0").await, NOW.0 - 5 * 60_000);
    assert_eq!(lab.events().await, ["study.announced", "study.arrived", "study.complete", "work.created"]);
}

#[tokio::test]
async fn events_hold_no_personal_data() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let context = StudyContext {
        complaint: Some("胸痛".into()),
        phone: Some("13900000000".into()),
        ..Default::default()
    };
    lab.deliver("a", &Manifest { context, ..manifest(Class::Green, vec![plain(&bytes)]) }, &[&bytes]).await;
    let all = lab.text("SELECT group_concat(actor || subject || body) FROM event").await;
    for personal in ["王", "小明", "0001", "胸痛", "139"] {
        assert!(!all.contains(personal), "{personal} in {all}");
    }
}

#[tokio::test]
async fn a_zstd_form_is_restored_exactly() {
    let lab = Lab::new().await;
    let bytes = Film { side: 256, ..Film::default() }.bytes();
    let (object, coded) = zstd_coded(&bytes);
    let offer = manifest(Class::Routine, vec![object.clone()]);
    lab.offer("a", &offer).await.unwrap();
    let receipt = lab.send("a", &offer.study, &object, &coded, 0..coded.len()).await.unwrap().unwrap();
    assert_eq!(std::fs::read(lab.store.blobs().path_of(&receipt.hash)).unwrap(), bytes);
    let left = std::fs::read_dir(lab.dir.path().join("store/partial")).unwrap().count();
    assert_eq!(left, 0, "coded form and temporary plaintext are gone");
}

#[tokio::test]
async fn a_restart_in_the_middle_of_an_object_resumes_from_the_last_sync() {
    let lab = Lab::new().await;
    let bytes = Film { side: 2048, ..Film::default() }.bytes();
    assert!(bytes.len() > 8 << 20);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    let (sent, total) = (5 << 20, bytes.len() as u64);
    assert_eq!(lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..sent).await.unwrap(), None);
    assert_eq!(lab.offer("a", &offer).await.unwrap(), [ObjectState::Missing(only(sent as u64..total))]);
    let lab = lab.restarted().await;
    let states = lab.offer("a", &offer).await.unwrap();
    let [ObjectState::Missing(ranges)] = &states[..] else { panic!("{states:?}") };
    let [rest] = &ranges[..] else { panic!("{ranges:?}") };
    assert!(rest.start >= SYNC_BYTES && rest.start <= sent as u64 && rest.end == total, "{rest:?}");
    let from = usize::try_from(rest.start).unwrap();
    let receipt =
        lab.send("a", &offer.study, &plain(&bytes), &bytes, from..bytes.len()).await.unwrap().unwrap();
    assert_eq!(receipt.sha256, Sha256::of(&bytes));
    assert_eq!(lab.number("SELECT count(*) FROM partial").await, 0);
}

#[tokio::test]
async fn the_same_object_again_changes_nothing() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.deliver("a", &offer, &[&bytes]).await;
    let (events, before) = (lab.events().await, lab.number("SELECT stored_at FROM object").await);
    lab.clock.advance_ms(1_000);
    let again = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().unwrap();
    assert_eq!(again.stored_at.0, before);
    lab.deliver("a", &offer, &[&bytes]).await;
    assert_eq!(lab.events().await, events);
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 1);
}

#[tokio::test]
async fn two_connections_sending_one_object_end_in_one_row() {
    let lab = Lab::new().await;
    let bytes = Film { side: 512, ..Film::default() }.bytes();
    let offer = manifest(Class::Green, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    let object = plain(&bytes);
    let one = lab.send("a", &offer.study, &object, &bytes, 0..bytes.len());
    let two = lab.send("a", &offer.study, &object, &bytes, 0..bytes.len());
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap().unwrap(), two.unwrap().unwrap());
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 1);
}

#[tokio::test]
async fn two_clinics_with_one_uid_and_one_patient_id_stay_apart() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), Film { name: "李^四".as_bytes(), ..Film::default() }.bytes());
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&one)]), &[&one]).await;
    lab.deliver("b", &manifest(Class::Routine, vec![plain(&two)]), &[&two]).await;
    // And both send the very same file.
    let same = film(9);
    for from in ["a", "b"] {
        let offer = Manifest { generation: 2, ..manifest(Class::Routine, vec![plain(&same)]) };
        lab.deliver(from, &offer, &[&same]).await;
    }
    assert_eq!(lab.number("SELECT count(*) FROM study").await, 2);
    assert_eq!(lab.number("SELECT count(DISTINCT name) FROM person WHERE local_id = '0001'").await, 2);
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 4);
    assert_eq!(lab.number("SELECT count(*) FROM location").await, 3);
}

#[tokio::test]
async fn a_full_disk_is_said_keeps_what_was_there_and_loses_nothing() {
    let lab = Lab::new().await;
    let bytes = Film { side: 512, ..Film::default() }.bytes();
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    lab.disk.faults.full_after(100_000);
    let refused = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap_err();
    assert_eq!(refused.code, Code::StorageFull);
    lab.disk.faults.full_after(bytes.len() as u64);
    let torn = async {
        let mut writer = lab.ingest.open_writer(&clinic("a"), &offer.study, &plain(&bytes), 0).await?;
        lab.disk.faults.full_after(1_000);
        for chunk in bytes.chunks(64 * 1024) {
            writer.write(bytes::Bytes::copy_from_slice(chunk)).await?;
        }
        writer.finish(NOW).await
    };
    assert_eq!(torn.await.unwrap_err().code, Code::StorageFull);
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 0);
    lab.disk.faults.room_again();
    let receipt = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().unwrap();
    assert_eq!(std::fs::read(lab.store.blobs().path_of(&receipt.hash)).unwrap(), bytes);
}

#[tokio::test]
async fn an_object_named_before_its_record_failed_is_recorded_at_the_next_try() {
    let lab = Lab::new().await;
    let bytes = film(3);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    // An earlier try ended between the blob's name and the transaction.
    lab.store.blobs().put(&bytes).unwrap();
    let receipt = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().unwrap();
    assert_eq!(receipt.hash, ObjectHash::of(&bytes));
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 1);
    assert_eq!(lab.number("SELECT count(*) FROM refused").await, 0);
}

#[tokio::test]
async fn a_failed_sync_or_rename_is_no_receipt() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    for fault in [true, false] {
        lab.disk.faults.sync_fails(fault);
        lab.disk.faults.rename_fails(!fault);
        let refused = lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap_err();
        assert_eq!(refused.code, Code::StorageFailed);
    }
    lab.disk.faults.rename_fails(false);
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 0);
    assert!(lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().is_some());
}

#[tokio::test]
async fn wrong_bytes_are_refused_quarantined_and_may_be_sent_again_under_a_newer_manifest() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let mut wrong = bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    let refused = lab.send("a", &offer.study, &plain(&bytes), &wrong, 0..wrong.len()).await.unwrap_err();
    assert_eq!(refused.code, Code::RefusedDigest);
    let kept = lab.text("SELECT quarantine FROM refused").await;
    assert_eq!(std::fs::read(lab.dir.path().join(kept)).unwrap(), wrong);
    assert_eq!(lab.offer("a", &offer).await.unwrap(), [ObjectState::Refused(refused)]);
    let newer = Manifest { generation: 2, ..offer };
    assert!(matches!(lab.offer("a", &newer).await.unwrap()[..], [ObjectState::Missing(_)]));
    assert!(lab.send("a", &newer.study, &plain(&bytes), &bytes, 0..bytes.len()).await.unwrap().is_some());
    assert_eq!(lab.number("SELECT count(*) FROM refused").await, 0);
}

#[tokio::test]
async fn a_bad_object_is_refused_by_field_and_does_not_hold_up_its_study() {
    let lab = Lab::new().await;
    let (good, cut) = (film(1), film(2)[..600].to_vec());
    let junk = b"\x7FELF this is a program".to_vec();
    let foreign = Film { study: "1.2.3.4", sop: 3, ..Film::default() }.bytes();
    let objects = [&good, &cut, &junk, &foreign].map(|b| plain(b)).to_vec();
    let offer = manifest(Class::Routine, objects);
    lab.offer("a", &offer).await.unwrap();
    let mut codes = Vec::new();
    for bytes in [&cut, &junk, &foreign] {
        let sent = lab.send("a", &offer.study, &plain(bytes), bytes, 0..bytes.len()).await;
        codes.push(sent.unwrap_err().code);
    }
    assert_eq!(codes[1..], [Code::RefusedFormat, Code::RefusedManifest]);
    assert!(
        matches!(codes[0], Code::RefusedLength | Code::RefusedUnparsable | Code::RefusedUid),
        "{codes:?}"
    );
    assert!(lab.send("a", &offer.study, &plain(&good), &good, 0..good.len()).await.unwrap().is_some());
    assert_eq!(lab.text("SELECT state FROM work_item").await, "waiting");
    assert_eq!(lab.number("SELECT objects_here * 10 + objects_announced FROM study").await, 14);
}

#[tokio::test]
async fn a_lying_manifest_is_refused() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.deliver("a", &offer, &[&bytes]).await;
    let mut longer = plain(&bytes);
    longer.length += 1;
    longer.coded.encoding = relay_core::study::Encoding::Zstd;
    let liar = Manifest { generation: 2, ..manifest(Class::Routine, vec![longer]) };
    let refused = lab.offer("a", &liar).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_str()), (Code::RefusedManifest, "objects"));
    let empty = Manifest { generation: 3, ..manifest(Class::Routine, vec![]) };
    assert_eq!(lab.offer("a", &empty).await.unwrap_err().code, Code::RefusedManifest);
    // Bytes nobody announced, and bytes beyond the end.
    let other = film(2);
    let unannounced = lab.send("a", &offer.study, &plain(&other), &other, 0..other.len()).await;
    assert_eq!(unannounced.unwrap_err().code, Code::RefusedUnannounced);
    let beyond =
        lab.ingest.open_writer(&clinic("a"), &offer.study, &plain(&bytes), bytes.len() as u64 + 1).await;
    assert_eq!(beyond.err().unwrap().code, Code::RefusedUnannounced);
    assert_eq!(lab.number("SELECT generation FROM study").await, 1);
}

#[tokio::test]
async fn a_gb18030_name_is_read_and_the_bytes_stay() {
    let lab = Lab::new().await;
    // 王^小明 in GB18030.
    let name = b"\xCD\xF5^\xD0\xA1\xC3\xF7";
    let bytes = Film { charset: b"GB18030", name, ..Film::default() }.bytes();
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&bytes)]), &[&bytes]).await;
    assert_eq!(lab.text("SELECT name FROM person").await, "王^小明");
}

#[tokio::test]
async fn a_device_clock_an_hour_off_is_doubted_and_the_study_goes_on() {
    let lab = Lab::new().await;
    let bytes = Film { time: b"095500", ..Film::default() }.bytes();
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.deliver("a", &offer, &[&bytes]).await;
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 1").await, offer.first_object_at.0);
    assert_eq!(lab.text("SELECT exam_time_text FROM study").await, "20261103 095500");
    assert_eq!(
        lab.number("SELECT offset_ms FROM device").await,
        offer.first_object_at.0 - NOW.0 - 55 * 60_000
    );
}

#[tokio::test]
async fn an_agent_clock_an_hour_off_is_corrected_by_the_measured_offset() {
    let lab = Lab::new().await;
    lab.execute("INSERT INTO clinic (id, name, added_at, clock_offset_ms) VALUES ('a', 'A', 0, -3600000)")
        .await;
    let bytes = Film { time: b"095500", ..Film::default() }.bytes();
    let ahead = NOW.plus_ms(HOUR_MS - 60_000);
    let offer = Manifest { first_object_at: ahead, ..manifest(Class::Routine, vec![plain(&bytes)]) };
    lab.deliver("a", &offer, &[&bytes]).await;
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 0").await, NOW.0 - 5 * 60_000);
}

#[tokio::test]
async fn an_urgent_study_is_queued_at_its_first_object_and_a_routine_one_when_complete() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), film(2));
    let partial = Manifest {
        completeness: Completeness::Partial,
        ..manifest(Class::Routine, vec![plain(&one), plain(&two)])
    };
    lab.deliver("a", &partial, &[&one]).await;
    assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 0);
    // The clinic raises it while the second film still travels.
    let raised = Manifest { generation: 2, class: Class::Green, ..partial.clone() };
    lab.offer("a", &raised).await.unwrap();
    assert_eq!(lab.number("SELECT count(*) FROM work_item").await, 1);
    // A later manifest does not lower it.
    let lower = Manifest { generation: 3, completeness: Completeness::Complete, ..partial };
    lab.deliver("a", &lower, &[&two]).await;
    assert_eq!(lab.text("SELECT class FROM study").await, "green");
    let events = lab.events().await;
    assert!(events.contains(&"study.class_raised".to_owned()));
    assert_eq!(events[events.len() - 3..], ["study.revised", "study.complete", "work.revised"]);
}

#[tokio::test]
async fn an_older_manifest_changes_nothing_but_still_gets_its_objects_through() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), film(2));
    lab.deliver("a", &Manifest { generation: 7, ..manifest(Class::Routine, vec![plain(&one)]) }, &[&one])
        .await;
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&two)]), &[&two]).await;
    assert_eq!(lab.number("SELECT generation * 10 + objects_here FROM study").await, 72);
}

#[tokio::test]
async fn the_same_instance_with_other_bytes_is_a_version_and_both_stay() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), Film { seed: 9, ..Film::default() }.bytes());
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&one)]), &[&one]).await;
    let newer = Manifest { generation: 2, ..manifest(Class::Routine, vec![plain(&one), plain(&two)]) };
    lab.deliver("a", &newer, &[&two]).await;
    assert_eq!(lab.number("SELECT sum(conflict) * 10 + sum(current) FROM object").await, 21);
    assert!(lab.events().await.contains(&"study.object_conflict".to_owned()));
}

#[tokio::test]
async fn a_late_object_after_signing_becomes_the_authors_task() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), film(2));
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&one)]), &[&one]).await;
    lab.execute("UPDATE work_item SET state = 'signed', author = 'd1'").await;
    let newer = Manifest { generation: 2, ..manifest(Class::Routine, vec![plain(&one), plain(&two)]) };
    lab.deliver("a", &newer, &[&two]).await;
    assert_eq!(
        lab.text("SELECT reason || ' ' || owner FROM attention WHERE settled_at IS NULL").await,
        "late_objects d1"
    );
    assert_eq!(lab.number("SELECT revision_number FROM study").await, 2);
    assert_eq!(lab.events().await.last().unwrap(), "work.attention");
    // A study that was sent back waits again when it is taken again.
    lab.execute("UPDATE work_item SET state = 'retake_requested'").await;
    let three = film(3);
    let again = Manifest { generation: 3, ..manifest(Class::Routine, vec![plain(&three)]) };
    lab.deliver("a", &again, &[&three]).await;
    assert_eq!(lab.text("SELECT state FROM work_item").await, "waiting");
}

#[tokio::test]
async fn the_files_word_beats_the_clinics_and_gaps_are_filled() {
    let lab = Lab::new().await;
    let bytes = Film { name: b"", ..Film::default() }.bytes();
    let context = StudyContext {
        patient_name: Some("赵^六".into()),
        patient_id: Some("9999".into()),
        ..StudyContext::default()
    };
    let offer = Manifest { context, ..manifest(Class::Routine, vec![plain(&bytes)]) };
    lab.deliver("a", &offer, &[&bytes]).await;
    assert_eq!(lab.text("SELECT name || '/' || local_id FROM person").await, "赵^六/0001");
    assert_eq!(study(STUDY), offer.study);
}

#[tokio::test]
async fn a_later_file_of_another_patient_is_flagged_and_does_not_rename_the_study() {
    let lab = Lab::new().await;
    let (one, two) = (film(1), Film { sop: 2, name: "李^四".as_bytes(), ..Film::default() }.bytes());
    let offer = manifest(Class::Routine, vec![plain(&one), plain(&two)]);
    lab.deliver("a", &offer, &[&one, &two]).await;
    assert_eq!(lab.text("SELECT name FROM person").await, "王^小明");
    assert!(lab.events().await.contains(&"study.identity_conflict".to_owned()));
    let flagged = "SELECT count(*) || ' ' || max(instance_uid) FROM object WHERE other_patient = 1";
    let told = lab.text(flagged).await;
    assert!(told.starts_with("1 ") && told.ends_with(".2"), "the reader is shown which film it is: {told}");
}

#[tokio::test]
async fn a_retaken_study_takes_the_place_of_the_one_that_was_sent_back() {
    let lab = Lab::new().await;
    let bytes = film(1);
    lab.deliver("a", &manifest(Class::Routine, vec![plain(&bytes)]), &[&bytes]).await;
    lab.execute("UPDATE work_item SET state = 'retake_requested'").await;
    let again = Film { study: "1.2.826.0.1.3680043.10.1.2", sop: 2, ..Film::default() }.bytes();
    let context = StudyContext { retake_of: Some(study(STUDY)), ..StudyContext::default() };
    let offer = Manifest {
        study: study("1.2.826.0.1.3680043.10.1.2"),
        context,
        ..manifest(Class::Routine, vec![plain(&again)])
    };
    lab.deliver("a", &offer, &[&again]).await;
    assert_eq!(
        lab.text("SELECT group_concat(state, ' ') FROM (SELECT state FROM work_item ORDER BY id)").await,
        "withdrawn waiting"
    );
}

#[tokio::test]
async fn a_damaged_object_that_is_sent_again_heals_and_changes_nothing_else() {
    let lab = Lab::new().await;
    let (old, new) = (film(1), Film { seed: 9, ..Film::default() }.bytes());
    let offer = manifest(Class::Routine, vec![plain(&old), plain(&new)]);
    lab.deliver("a", &offer, &[&old, &new]).await;
    let standing = "SELECT group_concat(current || conflict) FROM (SELECT * FROM object ORDER BY id)";
    assert_eq!(lab.text(standing).await, "01,11");
    // Sent once more while it was good: what is remembered of that must not answer for bytes that are lost later.
    let again = lab.send("a", &offer.study, &plain(&old), &old, 0..old.len()).await.unwrap();
    assert!(again.is_some());
    lab.execute("UPDATE location SET status = 'corrupt'").await;
    let blob = lab.store.blobs().path_of(&plain(&old).hash);
    std::fs::remove_file(blob).unwrap();
    let revision = lab.number("SELECT revision_number FROM study").await;
    assert!(matches!(lab.offer("a", &offer).await.unwrap()[0], ObjectState::Missing(_)));
    lab.deliver("a", &offer, &[&old]).await;
    assert_eq!(lab.text(standing).await, "01,11");
    assert_eq!(lab.number("SELECT revision_number FROM study").await, revision);
    assert_eq!(lab.events().await.last().unwrap(), "object.healed");
    assert_eq!(lab.offer("a", &offer).await.unwrap()[0], ObjectState::Stored);
}

#[tokio::test]
async fn nobody_waits_for_an_object_that_is_being_proven_to_learn_what_is_missing() {
    let lab = Lab::new().await;
    let bytes = Film { side: 2048, ..Film::default() }.bytes();
    let offer = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.offer("a", &offer).await.unwrap();
    lab.send("a", &offer.study, &plain(&bytes), &bytes, 0..5 << 20).await.unwrap();
    let mut reader = lab.store.read().await.unwrap();
    let (open, from, object) = (&lab.ingest.0.open, clinic("a"), plain(&bytes));
    let before = open::before(&mut reader, &from, &offer.study, &object).await.unwrap();
    let held = open.open(&lab.store, &from, &offer.study, &object, before).await.unwrap();
    // As while it is hashed.
    let _state = held.state.lock().await;
    drop(reader);
    let states = lab.offer("a", &offer).await.unwrap();
    assert_eq!(states, [ObjectState::Missing(only(5 << 20..bytes.len() as u64))]);
}

#[tokio::test]
async fn a_clock_that_is_measured_late_times_the_open_studies_and_a_jump_marks_them() {
    let lab = Lab::new().await;
    let bytes = film(1);
    let first = NOW.plus_ms(-2 * HOUR_MS);
    let offer = Manifest { first_object_at: first, ..manifest(Class::Routine, vec![plain(&bytes)]) };
    let exam_at = |hours: i64| first.plus_ms(-60_000 + hours * HOUR_MS);
    let offer = Manifest { exam_completed_at: Some(exam_at(0)), ..offer };
    lab.deliver("a", &offer, &[&bytes]).await;
    assert_eq!(lab.number("SELECT clock_offset_ms IS NULL FROM study").await, 1);
    assert_eq!(lab.number("SELECT t0 FROM study").await, exam_at(0).0);
    let measure = |offset: i64, at: relay_core::clock::UtcMs| {
        let policy = lab.ingest.policy();
        lab.store.write(move |tx| {
            Box::pin(async move { clock_measured(tx, &policy, &clinic("a"), offset, at).await })
        })
    };
    // The clinic's clock is an hour slow; drift changes nothing, a signed study keeps its time.
    measure(HOUR_MS, NOW).await.unwrap();
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 0").await, exam_at(1).0);
    measure(HOUR_MS + 900, NOW.plus_ms(1_000)).await.unwrap();
    assert_eq!(lab.number("SELECT t0 FROM study").await, exam_at(1).0);
    measure(0, NOW.plus_ms(2_000)).await.unwrap();
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 0").await, exam_at(1).0);
    // Announced after the last measurement, before the jump was seen.
    lab.execute("UPDATE study SET created_at = created_at + 3000").await;
    measure(HOUR_MS / 2, NOW.plus_ms(4_000)).await.unwrap();
    let half = exam_at(0).plus_ms(HOUR_MS / 2).0;
    assert_eq!(lab.number("SELECT t0 FROM study WHERE time_suspect = 1").await, half);
    lab.execute("UPDATE work_item SET state = 'signed'").await;
    lab.execute("UPDATE study SET created_at = created_at + 9000").await;
    measure(0, NOW.plus_ms(9_000)).await.unwrap();
    assert_eq!(lab.number("SELECT t0 FROM study").await, half);
}
