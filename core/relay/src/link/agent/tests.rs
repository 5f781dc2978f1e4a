use super::*;
use crate::letter::{LetterKind, NoteKind};
use crate::link::frame::{ObjectState, ObjectStates, PeerLimits};
use crate::study::{Class, CodedForm, Completeness, Encoding, Kind, Manifest, ManifestObject, ObjectKind};

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, utc: UtcMs(1_000_000).plus_ms(i64::try_from(mono_ms).unwrap()) }
}

fn tell(link: &mut AgentLink, frame: &Frame, now: Now) {
    link.handle_control(&frame.encode().unwrap(), now);
}

fn frames(link: &mut AgentLink, now: Now) -> Vec<Frame> {
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    while let Some(bytes) = link.poll_frame(now) {
        reader.push(&bytes);
    }
    std::iter::from_fn(|| reader.next_frame()).map(Result::unwrap).collect()
}

fn events(link: &mut AgentLink) -> Vec<AgentEvent> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

fn ack() -> Frame {
    let limits =
        PeerLimits { frame_bytes: 1, objects_per_study: 1, object_bytes: 1, inline_bytes: 256 * 1024 };
    Frame::HelloAck(HelloAck {
        version: 1,
        capabilities: vec![],
        software: "g".into(),
        now: UtcMs(1_000_000),
        heartbeat_ms: 5_000,
        limits,
        clinic_name: "c".into(),
        duty_phone: None,
        store: "s".into(),
        film_speeds: None,
    })
}

fn up() -> AgentLink {
    let mut link = AgentLink::new(AgentSettings { software: "a".into(), capabilities: vec![] }, at(0));
    assert!(matches!(frames(&mut link, at(0))[..], [Frame::Hello(_)]));
    tell(&mut link, &ack(), at(0));
    assert!(matches!(events(&mut link)[..], [AgentEvent::Up(_)]));
    link
}

fn manifest(uid: &str, generation: u64, class: Class, lengths: &[u64]) -> Manifest {
    let objects = lengths.iter().map(|length| {
        let hash = ObjectHash::of(format!("{uid} {length}").as_bytes());
        let coded = CodedForm { encoding: Encoding::Identity, length: *length, hash };
        ManifestObject { hash, length: *length, kind: ObjectKind::Dicom, instance: None, series: None, coded }
    });
    Manifest {
        study: uid.parse().unwrap(),
        generation,
        class,
        kind: Kind::Xray,
        completeness: Completeness::Complete,
        first_object_at: UtcMs(0),
        exam_completed_at: None,
        time_suspect: false,
        source: "S".into(),
        context: crate::study::StudyContext::default(),
        objects: objects.collect(),
    }
}

fn answer(manifest: &Manifest, state: impl Fn(&ManifestObject) -> ObjectState) -> Frame {
    let states = manifest.objects.iter().map(|o| (o.hash, state(o))).collect();
    let (study, generation) = (manifest.study.clone(), manifest.generation);
    Frame::ObjectStates(ObjectStates { study, generation, at: UtcMs(5), states })
}

#[expect(clippy::single_range_in_vec_init, reason = "a list of one missing range")]
fn whole(object: &ManifestObject) -> ObjectState {
    ObjectState::Missing(vec![0..object.coded.length])
}

/// Sends the job as a driver would.
fn carry(link: &mut AgentLink, now: Now) -> Option<DataJob> {
    let job = link.peek_data(now)?;
    link.data_opened(job.key);
    link.data_written(job.key, job.length);
    Some(job)
}

#[test]
fn nothing_is_offered_before_the_gateway_has_answered_the_hello() {
    let mut link = AgentLink::new(AgentSettings { software: "a".into(), capabilities: vec![] }, at(0));
    link.offer_study(manifest("1.1", 1, Class::Green, &[10]));
    assert!(matches!(frames(&mut link, at(1))[..], [Frame::Hello(_)]));
    assert_eq!(link.peek_data(at(1)), None);
    assert_eq!(link.next_timeout(), Some(limits::HELLO_DEADLINE_MS));
    link.handle_timeout(at(limits::HELLO_DEADLINE_MS));
    let [AgentEvent::Closed { refusal: Some(refusal), .. }] = &events(&mut link)[..] else { panic!() };
    assert_eq!(refusal.code, Code::TimedOut);
}

#[test]
fn small_urgent_objects_go_with_their_manifest_and_others_wait_for_the_answer() {
    let mut link = up();
    link.offer_study(manifest("1.1", 1, Class::Routine, &[10]));
    link.offer_study(manifest("1.2", 1, Class::Green, &[20, 300_000]));
    let sent = frames(&mut link, at(1));
    let order: Vec<&str> = sent
        .iter()
        .filter_map(|f| if let Frame::Manifest(m) = f { Some(m.study.as_str()) } else { None })
        .collect();
    assert_eq!(order, ["1.2", "1.1"], "the urgent manifest goes first");
    let job = carry(&mut link, at(1)).unwrap();
    assert_eq!((job.study.as_str(), job.length, job.last), ("1.2", 20, true));
    assert_eq!(link.peek_data(at(1)), None, "the large and the routine object wait");
}

#[test]
fn a_newer_generation_goes_out_at_once_and_does_not_restart_data_on_its_way() {
    let mut link = up();
    let first = manifest("1.1", 1, Class::Routine, &[200_000]);
    link.offer_study(first.clone());
    frames(&mut link, at(1));
    tell(&mut link, &answer(&first, whole), at(2));
    let job = carry(&mut link, at(2)).unwrap();
    assert_eq!(job.offset, 0);

    let raised = manifest("1.1", 2, Class::Green, &[200_000]);
    link.offer_study(raised.clone());
    let sent = frames(&mut link, at(3));
    assert!(sent.iter().any(|f| matches!(f, Frame::Manifest(m) if m.generation == 2)), "{sent:?}");
    tell(&mut link, &answer(&raised, whole), at(4));
    let next = carry(&mut link, at(4)).unwrap();
    assert_eq!((next.key, next.offset), (job.key, job.length as u64), "the same stream goes on");
    assert!(next.priority > job.priority);
}

#[test]
fn studies_whose_bytes_cannot_be_read_take_no_place_from_a_good_one() {
    let mut link = up();
    for n in 0..limits::MAX_STUDIES_HELD {
        assert!(link.offer_study(manifest(&format!("1.1.{n}"), 1, Class::Routine, &[300_000])));
    }
    let good = manifest("1.2", 1, Class::Routine, &[10]);
    assert!(!link.offer_study(good.clone()), "every place is taken");
    loop {
        let sent = frames(&mut link, at(1));
        let offered: Vec<&Manifest> =
            sent.iter().filter_map(|f| if let Frame::Manifest(m) = f { Some(&**m) } else { None }).collect();
        if offered.is_empty() {
            break;
        }
        for manifest in offered {
            tell(&mut link, &answer(manifest, whole), at(1));
        }
    }
    while let Some(job) = carry(&mut link, at(2)) {
        link.data_unreadable(job.key, at(2));
    }
    assert_eq!(link.studies_on_hold(), limits::MAX_STUDIES_HELD);
    assert!(events(&mut link).iter().any(|e| matches!(e, AgentEvent::Held { object: Some(_), .. })));
    assert!(link.offer_study(good), "and no more urgent than they are");
}

#[test]
fn data_is_strict_by_class_and_then_by_age() {
    let mut link = up();
    let mut old = manifest("1.9", 1, Class::Routine, &[100_000]);
    old.first_object_at = UtcMs(-5);
    let new = manifest("1.1", 1, Class::Routine, &[100_000]);
    for m in [&new, &old] {
        link.offer_study(m.clone());
    }
    frames(&mut link, at(1));
    for m in [&new, &old] {
        tell(&mut link, &answer(m, whole), at(2));
    }
    let job = link.peek_data(at(2)).unwrap();
    assert_eq!(job.study.as_str(), "1.9");
    assert!(!link.is_overtaken(job.key, at(2)));
    let urgent = manifest("1.5", 1, Class::Emergency, &[1_000_000]);
    link.offer_study(urgent.clone());
    frames(&mut link, at(3));
    tell(&mut link, &answer(&urgent, whole), at(3));
    assert!(link.is_overtaken(job.key, at(3)));
    assert_eq!(link.peek_data(at(3)).unwrap().study.as_str(), "1.5");
}

#[test]
fn a_refused_object_blocks_no_other_and_the_study_ends_when_all_is_settled() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[10, 20]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    let bad = m.objects[0].hash;
    let refusal = Refusal::new(Code::RefusedDigest, "object", "differs");
    let states = answer(&m, |o| if o.hash == bad { ObjectState::Refused(refusal.clone()) } else { whole(o) });
    tell(&mut link, &states, at(2));
    let refused = events(&mut link);
    assert!(refused.iter().any(|e| matches!(e, AgentEvent::Refused { object: Some(o), .. } if *o == bad)));
    let job = carry(&mut link, at(2)).unwrap();
    assert_eq!(job.length, 20);
    link.data_acked(job.key, at(3));
    let (hash, sha256) = (m.objects[1].hash, crate::ids::Sha256::of(b""));
    let receipts = vec![crate::link::frame::ObjectReceipt { hash, sha256, stored_at: UtcMs(9) }];
    tell(&mut link, &Frame::ObjectReceipts { study: m.study.clone(), generation: 1, receipts }, at(4));
    let done = AgentEvent::StudyDone { study: m.study, generation: 1 };
    assert!(events(&mut link).contains(&done));
}

#[test]
fn without_receipt_the_agent_asks_and_sends_what_the_answer_names() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[100]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    tell(&mut link, &answer(&m, whole), at(2));
    let job = carry(&mut link, at(2)).unwrap();
    link.data_acked(job.key, at(10));
    // An answer that nobody asked for does not make it send twice.
    tell(&mut link, &answer(&m, whole), at(11));
    assert_eq!(link.peek_data(at(11)), None);
    let mut now = 10;
    while now < 10 + limits::RECEIPT_DEADLINE_MS {
        tell(
            &mut link,
            &Frame::ObjectProgress { study: m.study.clone(), object: m.objects[0].hash, received: 1 },
            at(now),
        );
        now += 5_000;
        link.handle_timeout(at(now));
    }
    assert!(frames(&mut link, at(now)).iter().any(|f| matches!(f, Frame::Manifest(_))));
    #[expect(clippy::single_range_in_vec_init, reason = "a list of one missing range")]
    let tail = answer(&m, |_| ObjectState::Missing(vec![60..100]));
    tell(&mut link, &tail, at(now));
    let job = link.peek_data(at(now)).unwrap();
    assert_eq!((job.offset, job.length), (60, 40));
}

#[test]
fn a_passing_refusal_is_tried_again_and_a_pause_is_obeyed() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Green, &[100]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    let full = Refusal::new(Code::StorageFull, "store", "full");
    tell(&mut link, &Frame::BackOff { ms: 30_000, refusal: full.clone() }, at(2));
    let scope = Scope::Study { study: m.study, generation: Some(1) };
    tell(&mut link, &Frame::Refused { scope, refusal: full }, at(2));
    assert!(!events(&mut link).iter().any(|e| matches!(e, AgentEvent::Refused { .. })));
    link.handle_timeout(at(10_000));
    assert!(!frames(&mut link, at(10_000)).iter().any(|f| matches!(f, Frame::Manifest(_))));
    assert_eq!(link.peek_data(at(10_000)), None);
    link.handle_timeout(at(30_002));
    assert!(frames(&mut link, at(30_002)).iter().any(|f| matches!(f, Frame::Manifest(_))));
}

#[test]
fn a_silent_gateway_is_left_after_the_deadline() {
    let mut link = up();
    for now in (0..=limits::SILENCE_DEADLINE_MS).step_by(500) {
        link.handle_timeout(at(now));
        frames(&mut link, at(now));
    }
    assert!(link.is_closed());
}

#[test]
fn unlawful_ranges_and_unexpected_frames_are_named() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[100]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    #[expect(clippy::single_range_in_vec_init, reason = "a list of one missing range")]
    let beyond = answer(&m, |_| ObjectState::Missing(vec![0..101]));
    tell(&mut link, &beyond, at(2));
    assert_eq!(link.peek_data(at(2)), None);
    assert!(
        events(&mut link).iter().any(|e| matches!(e, AgentEvent::Remark(r) if r.field == "states.ranges"))
    );
    tell(&mut link, &Frame::NoteReceipt { id: "n".parse().unwrap() }, at(3));
    assert!(link.is_up(), "a receipt for nothing is harmless");
    tell(&mut link, &Frame::LetterWant { id: "l".parse().unwrap() }, at(3));
    let [AgentEvent::Closed { refusal: Some(refusal), .. }] = &events(&mut link)[..] else { panic!() };
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::FrameUnexpected, "LetterWant"));
}

#[test]
fn an_offered_letter_is_wanted_once_and_again_only_if_its_body_did_not_come() {
    let mut link = up();
    let head = LetterHead {
        id: "l-1".parse().unwrap(),
        kind: LetterKind::Report,
        study: "1.1".parse().unwrap(),
        length: 1,
        hash: ObjectHash::of(b"x"),
        written_at: UtcMs(0),
    };
    tell(&mut link, &Frame::LetterOffer(head.clone()), at(1));
    assert_eq!(events(&mut link), [AgentEvent::LetterOffered(head.clone())]);
    assert_eq!(link.receive_letter(&head.id), None, "nobody asked for the body");
    link.answer_letter(&head.id, LetterAnswer::Want);
    let wants = |link: &mut AgentLink| {
        frames(link, at(2)).iter().filter(|f| matches!(f, Frame::LetterWant { .. })).count()
    };
    assert_eq!(wants(&mut link), 1);
    tell(&mut link, &Frame::LetterOffer(head.clone()), at(3));
    assert_eq!(wants(&mut link), 1);
    assert_eq!(link.receive_letter(&head.id), Some(head.clone()));
    tell(&mut link, &Frame::LetterOffer(head.clone()), at(4));
    assert_eq!(wants(&mut link), 0, "it is with the inbox");
    link.finish_letter(&head.id, LetterOutcome::Stored(UtcMs(7)));
    let receipt = Frame::LetterReceipt { id: head.id, stored_at: UtcMs(7) };
    assert!(frames(&mut link, at(5)).contains(&receipt));
}

#[test]
fn the_machine_holds_a_bounded_number_of_studies_and_makes_room_for_the_urgent() {
    let mut link = up();
    for n in 0..limits::MAX_STUDIES_HELD {
        assert!(link.offer_study(manifest(&format!("1.{n}"), 1, Class::Routine, &[1])));
    }
    assert!(!link.offer_study(manifest("2.1", 1, Class::Screening, &[1])));
    assert!(link.offer_study(manifest("2.2", 1, Class::Green, &[1])));
    assert_eq!(link.studies.len(), limits::MAX_STUDIES_HELD);
    let sent = frames(&mut link, at(1));
    let manifests = sent.iter().filter(|f| matches!(f, Frame::Manifest(_))).count();
    assert_eq!(manifests, limits::MAX_OFFERS_UNANSWERED);
    let note = |n: usize| Note {
        id: format!("n-{n}").parse().unwrap(),
        kind: NoteKind::ReportOpened,
        body: vec![],
        signature: vec![],
        certificate: vec![],
    };
    let taken = (0..20).filter(|n| link.offer_note(note(*n), at(1))).count();
    assert_eq!(taken, limits::MAX_NOTES_UNANSWERED);
}

#[test]
fn bytes_that_cannot_be_read_here_hold_back_only_their_object() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[10, 20]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    tell(&mut link, &answer(&m, whole), at(2));
    let job = link.peek_data(at(2)).unwrap();
    link.data_unreadable(job.key, at(2));
    let other = link.peek_data(at(2)).unwrap();
    assert_ne!(other.object, job.object);
    assert!(!link.is_open(job.key));
}

fn missing(events: &[AgentEvent]) -> Vec<ObjectHash> {
    let told = |event: &AgentEvent| match event {
        AgentEvent::Missing { objects, .. } => objects.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(told).collect()
}

#[test]
fn an_object_that_the_county_lacks_is_told_to_the_outbox_and_sent() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[10, 20]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    let lacks_second = |o: &ManifestObject| if o.length == 20 { whole(o) } else { ObjectState::Stored };
    tell(&mut link, &answer(&m, lacks_second), at(2));
    assert_eq!(missing(&events(&mut link)), [m.objects[1].hash]);
    assert_eq!(carry(&mut link, at(2)).unwrap().object, m.objects[1].hash);
    // An answer that crossed with the bytes says nothing new.
    tell(&mut link, &answer(&m, lacks_second), at(3));
    assert_eq!(missing(&events(&mut link)), []);
}

#[test]
fn an_object_that_the_county_has_lost_is_asked_about_again() {
    let mut link = up();
    let m = manifest("1.1", 1, Class::Routine, &[10, 20]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    tell(&mut link, &answer(&m, |o| if o.length == 20 { whole(o) } else { ObjectState::Stored }), at(2));
    events(&mut link);
    let lost = m.objects[0].hash;
    tell(&mut link, &Frame::Want { study: m.study.clone(), objects: vec![lost] }, at(3));
    let wanted = AgentEvent::Wanted { study: m.study.clone(), objects: vec![lost] };
    assert!(events(&mut link).contains(&wanted));
    link.handle_timeout(at(3 + limits::RETRY_MS));
    let sent = frames(&mut link, at(3 + limits::RETRY_MS));
    assert!(sent.iter().any(|f| matches!(f, Frame::Manifest(_))), "{sent:?}");
    tell(&mut link, &answer(&m, whole), at(9_000));
    assert_eq!(missing(&events(&mut link)), [lost]);
}

#[test]
fn a_refusal_names_the_generation_that_was_offered() {
    let mut link = up();
    let m = manifest("1.1", 3, Class::Routine, &[10]);
    link.offer_study(m.clone());
    frames(&mut link, at(1));
    let scope = Scope::Study { study: m.study, generation: Some(3) };
    let refusal = Refusal::new(Code::RefusedManifest, "objects", "contradicts itself");
    tell(&mut link, &Frame::Refused { scope, refusal }, at(2));
    assert!(events(&mut link).iter().any(|e| matches!(e, AgentEvent::Refused { generation: 3, .. })));
}

#[test]
fn critical_notices_have_places_of_their_own_at_the_clinic() {
    let mut link = up();
    let head = |n: usize, kind| LetterHead {
        id: format!("l-{n}").parse().unwrap(),
        kind,
        study: "1.1".parse().unwrap(),
        length: 1,
        hash: ObjectHash::of(b"x"),
        written_at: UtcMs(0),
    };
    for n in 0..limits::MAX_LETTERS_OFFERED {
        tell(&mut link, &Frame::LetterOffer(head(n, LetterKind::Report)), at(1));
    }
    events(&mut link);
    tell(&mut link, &Frame::LetterOffer(head(90, LetterKind::Report)), at(1));
    assert_eq!(events(&mut link), [], "a seventeenth report is put off");
    let critical = head(91, LetterKind::CriticalNotice);
    tell(&mut link, &Frame::LetterOffer(critical.clone()), at(1));
    assert_eq!(events(&mut link), [AgentEvent::LetterOffered(critical.clone())]);
    frames(&mut link, at(1));
    let refusal = Refusal::new(Code::StorageFailed, "inbox", "the disk failed");
    link.answer_letter(&critical.id, LetterAnswer::Later(refusal.clone()));
    assert!(
        frames(&mut link, at(1)).contains(&Frame::Refused { scope: Scope::Letter(critical.id), refusal })
    );
}
