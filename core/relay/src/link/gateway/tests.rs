use super::*;
use crate::ids::ObjectHash;
use crate::letter::LetterKind;
use crate::link::frame::{ObjectData, ObjectState};
use crate::link::{STOP_NOT_NEEDED, STOP_REFUSED};
use crate::study::{Class, CodedForm, Completeness, Encoding, Kind, ObjectKind, StudyContext};

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, utc: UtcMs(0) }
}

fn tell(link: &mut GatewayLink, frame: &Frame, now: Now) {
    link.handle_control(&frame.encode().unwrap(), now);
}

fn frames(link: &mut GatewayLink) -> Vec<Frame> {
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    while let Some(bytes) = link.poll_frame() {
        reader.push(&bytes);
    }
    std::iter::from_fn(|| reader.next_frame()).map(Result::unwrap).collect()
}

fn events(link: &mut GatewayLink) -> Vec<GatewayEvent> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

fn hello(version_min: u16, version_max: u16) -> Frame {
    Frame::Hello(Hello {
        version_min,
        version_max,
        capabilities: vec![],
        software: "a".into(),
        now: UtcMs(0),
    })
}

fn fresh() -> GatewayLink {
    let settings = GatewaySettings {
        software: "g".into(),
        capabilities: vec![],
        heartbeat_ms: 5_000,
        film_speeds: None,
    };
    GatewayLink::new(settings, at(0))
}

fn up() -> GatewayLink {
    let mut link = fresh();
    tell(&mut link, &hello(1, 7), at(0));
    assert!(matches!(events(&mut link)[..], [GatewayEvent::Hello(_)]));
    link.greet(Greeting { clinic_name: "c".into(), duty_phone: None, store: "s".into() }, at(0));
    let [Frame::HelloAck(ack)] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(ack.version, VERSION);
    link
}

#[test]
fn a_newer_revocation_list_replaces_one_that_still_waits_and_one_too_long_is_not_told() {
    let mut link = fresh();
    assert!(link.tell_revocations(b"early"));
    assert!(frames(&mut link).is_empty(), "nothing before the hello is answered");
    let mut link = up();
    assert!(link.tell_revocations(b"old") && link.tell_revocations(b"new"));
    assert!(!link.tell_revocations(&vec![0; limits::MAX_REVOCATION_LIST_BYTES + 1]));
    assert_eq!(frames(&mut link), [Frame::Revocations { list: b"new".to_vec() }]);
}

fn manifest(lengths: &[u64]) -> Manifest {
    let objects = lengths.iter().map(|length| {
        let hash = ObjectHash::of(&length.to_be_bytes());
        let coded = CodedForm { encoding: Encoding::Identity, length: *length, hash };
        ManifestObject { hash, length: *length, kind: ObjectKind::Dicom, instance: None, series: None, coded }
    });
    Manifest {
        study: "1.1".parse().unwrap(),
        generation: 1,
        class: Class::Routine,
        kind: Kind::Xray,
        completeness: Completeness::Complete,
        first_object_at: UtcMs(0),
        exam_completed_at: None,
        time_suspect: false,
        source: "S".into(),
        context: StudyContext::default(),
        objects: objects.collect(),
    }
}

#[expect(clippy::single_range_in_vec_init, reason = "a list of one missing range")]
fn whole(object: &ManifestObject) -> ObjectState {
    ObjectState::Missing(vec![0..object.coded.length])
}

/// Announced and answered: everything is missing.
fn announced(link: &mut GatewayLink, m: &Manifest) {
    tell(link, &Frame::Manifest(Box::new(m.clone())), at(1));
    assert!(matches!(events(link)[..], [GatewayEvent::Offered(_)]));
    link.answer_manifest(m, Ok(m.objects.iter().map(whole).collect()), at(1));
    assert!(matches!(frames(link)[..], [Frame::ObjectStates(_)]));
}

fn data(m: &Manifest, object: usize, offset: u64, length: u64) -> ObjectData {
    ObjectData { study: m.study.clone(), object: m.objects[object].hash, offset, length }
}

fn stop(stream: u64, code: u32) -> GatewayEvent {
    GatewayEvent::Data { stream, verdict: DataVerdict::Stop { code } }
}

#[test]
fn an_agent_without_a_common_version_is_told_which_there_are() {
    let mut link = fresh();
    tell(&mut link, &hello(2, 3), at(0));
    let [Frame::Bye(Bye { refusal: Some(refusal) })] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(refusal.code, Code::VersionUnsupported);
    assert!(refusal.reason.contains("2 to 3"), "{refusal}");
}

#[test]
fn whoever_says_no_hello_in_time_or_something_else_first_is_sent_away() {
    let mut link = fresh();
    link.handle_timeout(at(limits::HELLO_DEADLINE_MS));
    assert!(link.is_closed());
    let mut link = fresh();
    tell(&mut link, &Frame::Manifest(Box::new(manifest(&[1]))), at(0));
    assert!(link.is_closed());
    assert!(!events(&mut link).iter().any(|e| matches!(e, GatewayEvent::Offered(_))));
}

#[test]
fn data_that_overtakes_its_manifest_waits_and_is_then_taken() {
    let mut link = up();
    let m = manifest(&[100]);
    link.handle_data(5, data(&m, 0, 0, 100), at(0));
    assert_eq!(events(&mut link), []);
    tell(&mut link, &Frame::Manifest(Box::new(m.clone())), at(1));
    events(&mut link);
    link.answer_manifest(&m, Ok(vec![whole(&m.objects[0])]), at(1));
    let taken =
        |e: &GatewayEvent| matches!(e, GatewayEvent::Data { stream: 5, verdict: DataVerdict::Take { .. } });
    assert!(events(&mut link).iter().any(taken));
}

#[test]
fn data_that_nobody_announced_is_refused_after_a_while() {
    let mut link = up();
    let m = manifest(&[100]);
    link.handle_data(5, data(&m, 0, 0, 100), at(0));
    assert_eq!(link.next_timeout(), Some(limits::UNANNOUNCED_WAIT_MS));
    link.handle_timeout(at(limits::UNANNOUNCED_WAIT_MS));
    assert!(events(&mut link).contains(&stop(5, STOP_REFUSED)));
    let [Frame::Refused { scope: Scope::Object { .. }, refusal }] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(refusal.code, Code::RefusedUnannounced);
    assert!(link.is_up());
}

#[test]
fn a_range_beyond_the_announced_length_is_refused_and_a_second_stream_of_one_range_is_not_needed() {
    let mut link = up();
    let m = manifest(&[100]);
    announced(&mut link, &m);
    link.handle_data(1, data(&m, 0, 50, 51), at(2));
    assert!(events(&mut link).contains(&stop(1, STOP_REFUSED)));
    link.handle_data(2, data(&m, 0, 0, 60), at(2));
    link.handle_data(3, data(&m, 0, 40, 60), at(2));
    assert!(events(&mut link).contains(&stop(3, STOP_NOT_NEEDED)));
    link.handle_data(4, data(&m, 0, 60, 40), at(2));
    assert!(!events(&mut link).contains(&stop(4, STOP_NOT_NEEDED)));
}

#[test]
fn a_refused_object_is_told_and_the_others_go_on() {
    let mut link = up();
    let m = manifest(&[100, 200]);
    announced(&mut link, &m);
    for (stream, object, length) in [(1, 0, 100), (2, 1, 200)] {
        link.handle_data(stream, data(&m, object, 0, length), at(2));
    }
    events(&mut link);
    link.data_finished(1, Err(Refusal::new(Code::RefusedDigest, "object", "differs")));
    assert!(matches!(&frames(&mut link)[..], [Frame::Refused { scope: Scope::Object { .. }, .. }]));
    let (hash, sha256) = (m.objects[1].hash, crate::ids::Sha256::of(b""));
    link.data_finished(2, Ok(Some(crate::link::frame::ObjectReceipt { hash, sha256, stored_at: UtcMs(1) })));
    let [Frame::ObjectReceipts { receipts, generation: 1, .. }] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(receipts[0].hash, hash);
    link.handle_data(3, data(&m, 1, 0, 200), at(3));
    assert!(events(&mut link).contains(&stop(3, STOP_NOT_NEEDED)), "it is stored");
}

#[test]
fn an_object_that_is_whole_but_unfinished_is_finished_without_more_bytes() {
    let mut link = up();
    let m = manifest(&[100]);
    tell(&mut link, &Frame::Manifest(Box::new(m.clone())), at(1));
    events(&mut link);
    link.answer_manifest(&m, Ok(vec![ObjectState::Missing(vec![])]), at(1));
    assert!(events(&mut link).iter().any(|e| matches!(e, GatewayEvent::FinishObject { .. })));
}

#[test]
fn a_full_store_asks_the_agent_to_pause() {
    let mut link = up();
    let m = manifest(&[100]);
    tell(&mut link, &Frame::Manifest(Box::new(m.clone())), at(1));
    link.answer_manifest(&m, Err(Refusal::new(Code::StorageFull, "store", "full")), at(1));
    let sent = frames(&mut link);
    assert!(matches!(sent[..], [Frame::BackOff { .. }, Frame::Refused { scope: Scope::Study { .. }, .. }]));
}

#[test]
fn a_manifest_that_contradicts_itself_reaches_nobody() {
    let mut link = up();
    let mut m = manifest(&[100]);
    m.objects.push(m.objects[0].clone());
    tell(&mut link, &Frame::Manifest(Box::new(m)), at(1));
    assert!(!events(&mut link).iter().any(|e| matches!(e, GatewayEvent::Offered(_))));
    let [Frame::Refused { refusal, .. }] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(refusal.code, Code::RefusedManifest);
    assert!(link.is_up());
}

#[test]
fn an_unknown_frame_is_refused_by_number_and_the_link_goes_on() {
    let mut link = up();
    link.handle_control(&[0, 0, 0, 2, 0x03, 0xe7], at(1));
    let [Frame::Refused { scope: Scope::Frame(999), refusal }] = &frames(&mut link)[..] else { panic!() };
    assert_eq!(refusal.code, Code::FrameUnknown);
    assert!(link.is_up());
}

#[test]
fn no_more_control_input_is_taken_than_custody_can_answer() {
    let mut link = up();
    let mut bytes = Vec::new();
    for n in 0..limits::MAX_MANIFESTS_WAITING + 5 {
        let m = Manifest { study: format!("1.{n}").parse().unwrap(), ..manifest(&[1]) };
        bytes.extend(Frame::Manifest(Box::new(m)).encode().unwrap());
    }
    link.handle_control(&bytes, at(1));
    assert_eq!(events(&mut link).len(), limits::MAX_MANIFESTS_WAITING);
    assert!(!link.wants_input());
    link.answer_manifest(&manifest(&[1]), Ok(vec![ObjectState::Stored]), at(2));
    link.read_on(at(2));
    assert_eq!(events(&mut link).len(), 1);
}

fn head(name: &str, kind: LetterKind) -> LetterHead {
    LetterHead {
        id: name.parse().unwrap(),
        kind,
        study: "1.1".parse().unwrap(),
        length: 1,
        hash: ObjectHash::of(b"x"),
        written_at: UtcMs(0),
    }
}

fn offered(link: &mut GatewayLink) -> Vec<String> {
    let name = |frame: Frame| match frame {
        Frame::LetterOffer(head) => Some(head.id.to_string()),
        _ => None,
    };
    frames(link).into_iter().filter_map(name).collect()
}

#[test]
fn letters_are_offered_sent_when_wanted_and_offered_again_without_receipt() {
    let mut link = up();
    let report = head("r", LetterKind::Report);
    link.offer_letters(std::slice::from_ref(&report), at(0));
    assert_eq!(frames(&mut link), [Frame::LetterOffer(report.clone())]);
    tell(&mut link, &Frame::LetterWant { id: report.id.clone() }, at(1));
    assert!(matches!(events(&mut link)[..], [GatewayEvent::SendLetter { .. }]));
    link.letter_sent(&report.id, true, at(2));
    link.handle_timeout(at(2 + limits::LETTER_DEADLINE_MS));
    assert_eq!(frames(&mut link), [Frame::LetterOffer(report.clone())]);
    tell(&mut link, &Frame::LetterReceipt { id: report.id.clone(), stored_at: UtcMs(3) }, at(40_000));
    assert!(
        events(&mut link).contains(&GatewayEvent::LetterReceipted { id: report.id, stored_at: UtcMs(3) })
    );
    assert_eq!(link.next_timeout(), Some(40_000 + limits::SILENCE_DEADLINE_MS), "nothing is on its way");
    tell(&mut link, &Frame::LetterWant { id: "unknown".parse().unwrap() }, at(40_000));
    assert!(matches!(&frames(&mut link)[..], [Frame::Refused { scope: Scope::Letter(_), .. }]));
}

#[test]
fn a_critical_notice_waits_for_no_report() {
    let mut link = up();
    let mut pending: Vec<LetterHead> =
        (0..20).map(|n| head(&format!("r-{n:02}"), LetterKind::Report)).collect();
    link.offer_letters(&pending, at(0));
    assert_eq!(offered(&mut link).len(), limits::MAX_LETTERS_OFFERED);
    for n in 0..6 {
        tell(&mut link, &Frame::LetterWant { id: format!("r-{n:02}").parse().unwrap() }, at(1));
    }
    let sending = |link: &mut GatewayLink| -> Vec<String> {
        let name = |event| match event {
            GatewayEvent::SendLetter { head, .. } => Some(head.id.to_string()),
            _ => None,
        };
        events(link).into_iter().filter_map(name).collect()
    };
    assert_eq!(sending(&mut link).len(), limits::MAX_LETTER_BODIES, "every place for bodies is taken");
    pending.insert(0, head("crit", LetterKind::CriticalNotice));
    link.offer_letters(&pending, at(2));
    assert_eq!(offered(&mut link), ["crit"]);
    tell(&mut link, &Frame::LetterWant { id: "crit".parse().unwrap() }, at(3));
    assert_eq!(sending(&mut link), ["crit"]);
}

#[test]
fn letters_that_cannot_be_sent_go_to_the_end_and_keep_no_place() {
    let mut link = up();
    let pending: Vec<LetterHead> = (0..20).map(|n| head(&format!("r-{n:02}"), LetterKind::Report)).collect();
    link.offer_letters(&pending, at(0));
    assert_eq!(offered(&mut link).len(), 16);
    // The bodies of the first three are damaged on the county's disk; the clinic says nothing of all others.
    for n in 0..3 {
        let id: LetterId = format!("r-{n:02}").parse().unwrap();
        tell(&mut link, &Frame::LetterWant { id: id.clone() }, at(1));
        link.letter_sent(&id, false, at(1));
    }
    assert_eq!(offered(&mut link), ["r-16", "r-17", "r-18"], "the next take their places");
    link.handle_timeout(at(limits::LETTER_DEADLINE_MS));
    let again = offered(&mut link);
    assert_eq!(
        again.first().map(String::as_str),
        Some("r-19"),
        "what was never offered goes first: {again:?}"
    );
    assert!(!again.contains(&"r-00".to_owned()), "{again:?}");
}

#[test]
fn a_receipt_that_comes_after_the_deadline_still_counts() {
    let mut link = up();
    let pending = [head("r", LetterKind::Report)];
    link.offer_letters(&pending, at(0));
    tell(&mut link, &Frame::LetterWant { id: "r".parse().unwrap() }, at(1));
    link.letter_sent(&"r".parse().unwrap(), false, at(2));
    events(&mut link);
    tell(&mut link, &Frame::LetterReceipt { id: "r".parse().unwrap(), stored_at: UtcMs(3) }, at(3));
    assert!(matches!(events(&mut link)[..], [GatewayEvent::LetterReceipted { .. }]));
}

#[test]
fn a_letter_that_the_clinic_cannot_judge_now_is_told_and_offered_again_later() {
    let mut link = up();
    link.offer_letters(&[head("r", LetterKind::Report)], at(0));
    offered(&mut link);
    let refusal = Refusal::new(Code::Busy, "clock", "signed in the future");
    let scope = Scope::Letter("r".parse().unwrap());
    tell(&mut link, &Frame::Refused { scope, refusal: refusal.clone() }, at(1));
    assert_eq!(events(&mut link), [GatewayEvent::LetterDelayed { id: "r".parse().unwrap(), refusal }]);
    link.handle_timeout(at(limits::LETTER_DEADLINE_MS));
    assert_eq!(offered(&mut link), Vec::<String>::new());
    link.handle_timeout(at(1 + limits::LETTER_DEADLINE_MS));
    assert_eq!(offered(&mut link), ["r"]);
}

#[test]
fn studies_with_a_refused_object_leave_room_for_new_ones() {
    let mut link = up();
    for n in 0..=limits::MAX_STUDIES_ANNOUNCED {
        let manifest = Manifest { study: format!("1.{n}").parse().unwrap(), ..manifest(&[1]) };
        tell(&mut link, &Frame::Manifest(Box::new(manifest.clone())), at(1));
        let taken = events(&mut link).iter().any(|e| matches!(e, GatewayEvent::Offered(_)));
        assert!(taken, "study {n} was turned away");
        let refusal = Refusal::new(Code::RefusedFormat, "", "neither");
        link.answer_manifest(&manifest, Ok(vec![ObjectState::Refused(refusal)]), at(1));
        frames(&mut link);
    }
}

#[test]
fn a_damaged_object_is_asked_for_and_not_again_at_once() {
    let mut link = up();
    let (study, object): (StudyUid, _) = ("1.1".parse().unwrap(), ObjectHash::of(b"rotten"));
    let damaged = [(study.clone(), object)];
    link.want_again(&damaged, at(0));
    let want = Frame::Want { study, objects: vec![object] };
    assert_eq!(frames(&mut link), std::slice::from_ref(&want));
    link.want_again(&damaged, at(30_000));
    assert_eq!(frames(&mut link), []);
    link.want_again(&damaged, at(limits::WANT_INTERVAL_MS));
    assert_eq!(frames(&mut link), std::slice::from_ref(&want));
    link.want_again(&[], at(limits::WANT_INTERVAL_MS + 1));
    link.want_again(&damaged, at(limits::WANT_INTERVAL_MS + 2));
    assert_eq!(frames(&mut link), [want], "it was whole in between");
}
