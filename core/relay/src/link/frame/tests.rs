use super::*;
use crate::letter::{LetterKind, NoteKind};
use crate::study::{
    Class, CodedForm, Completeness, Encoding, Kind, ManifestObject, ObjectKind, StudyContext,
};

/// The bytes of protocol version 1, one frame a line: name, hexadecimal bytes. Never edited: a line is added when a
/// frame or field is added.
const GOLDEN_V1: &str = include_str!("golden_v1.txt");

fn refusal() -> Refusal {
    Refusal::new(Code::RefusedDigest, "object", "the digest differs")
}

fn study_uid() -> StudyUid {
    StudyUid::parse("1.2.840.1").unwrap()
}

fn manifest() -> Manifest {
    let plain = ObjectHash::of(b"film");
    let ecg = ObjectHash::of(b"ecg");
    Manifest {
        study: study_uid(),
        generation: 7,
        class: Class::Green,
        kind: Kind::Ecg,
        completeness: Completeness::Complete,
        first_object_at: UtcMs(1_700_000_000_000),
        exam_completed_at: Some(UtcMs(-1)),
        time_suspect: true,
        source: "DR1".into(),
        context: StudyContext {
            complaint: Some("胸痛2小时".into()),
            phone: Some("13900000000".into()),
            doctor: Some("王".into()),
            patient_name: Some("李四".into()),
            patient_id: Some("0001".into()),
            patient_sex: Some("F".into()),
            patient_birth_date: Some("19600101".into()),
            retake_of: Some(StudyUid::parse("1.2.3").unwrap()),
        },
        objects: vec![
            ManifestObject {
                hash: plain,
                length: 4,
                kind: ObjectKind::Dicom,
                instance: Some("1.2.840.2".parse().unwrap()),
                series: Some("1.2.840.3".parse().unwrap()),
                coded: CodedForm { encoding: Encoding::Identity, length: 4, hash: plain },
            },
            ManifestObject {
                hash: ecg,
                length: 3,
                kind: ObjectKind::Ecg,
                instance: None,
                series: None,
                coded: CodedForm { encoding: Encoding::Zstd, length: 2, hash: ObjectHash::of(b"z") },
            },
        ],
    }
}

fn session_samples() -> Vec<(&'static str, Frame)> {
    let (at, caps) = (UtcMs(1_700_000_000_123), vec!["film".to_owned()]);
    let limits =
        PeerLimits { frame_bytes: 2_097_152, objects_per_study: 4_096, object_bytes: 1, inline_bytes: 0 };
    let (sent_at, mono_ms) = (at, 12_345);
    vec![
        (
            "Hello",
            Frame::Hello(Hello {
                version_min: 1,
                version_max: 300,
                capabilities: caps.clone(),
                software: "relay-agent 0.1.0".into(),
                now: at,
            }),
        ),
        (
            "HelloAck",
            Frame::HelloAck(HelloAck {
                version: 1,
                capabilities: caps,
                software: "relay-gateway 0.1.0".into(),
                now: at,
                heartbeat_ms: 5_000,
                limits,
                clinic_name: "石里铺卫生院".into(),
                duty_phone: Some("0555-120".into()),
                store: "9f2c".into(),
                film_speeds: Some(FilmSpeeds { quick: 500_000_000, strong: 25_000_000 }),
            }),
        ),
        ("Bye", Frame::Bye(Bye::default())),
        ("Bye.refusal", Frame::Bye(Bye { refusal: Some(refusal()) })),
        ("BackOff", Frame::BackOff { ms: 30_000, refusal: refusal() }),
        ("Heartbeat", Frame::Heartbeat(Heartbeat { seq: 3, sent_at, mono_ms, offset_ms: Some(-42) })),
        (
            "HeartbeatAnswer",
            Frame::HeartbeatAnswer(HeartbeatAnswer {
                seq: 3,
                sent_at,
                mono_ms,
                received_at: at,
                answered_at: at,
            }),
        ),
        ("Revocations", Frame::Revocations { list: vec![0x30, 0] }),
    ]
}

fn refused_samples() -> Vec<(&'static str, Frame)> {
    let (study, object) = (study_uid(), ObjectHash::of(b"film"));
    let refused = |scope| Frame::Refused { scope, refusal: refusal() };
    vec![
        ("Refused.link", refused(Scope::Link)),
        ("Refused.frame", refused(Scope::Frame(999))),
        ("Refused.study", refused(Scope::Study { study: study.clone(), generation: Some(7) })),
        ("Refused.object", refused(Scope::Object { study, object })),
        ("Refused.letter", refused(Scope::Letter("l-1".parse().unwrap()))),
        ("Refused.note", refused(Scope::Note("n-1".parse().unwrap()))),
    ]
}

#[expect(clippy::single_range_in_vec_init, reason = "a list of one missing range")]
fn study_samples() -> Vec<(&'static str, Frame)> {
    let (study, object) = (study_uid(), ObjectHash::of(b"film"));
    let receipt = ObjectReceipt { hash: object, sha256: Sha256::of(b"film"), stored_at: UtcMs(5) };
    vec![
        ("Manifest", Frame::Manifest(Box::new(manifest()))),
        (
            "ObjectStates",
            Frame::ObjectStates(ObjectStates {
                study: study.clone(),
                generation: 7,
                at: UtcMs(9),
                states: vec![
                    (object, ObjectState::Stored),
                    (ObjectHash::of(b"ecg"), ObjectState::Missing(vec![0..2])),
                    (ObjectHash::of(b"x"), ObjectState::Refused(refusal())),
                ],
            }),
        ),
        (
            "ObjectReceipts",
            Frame::ObjectReceipts { study: study.clone(), generation: 7, receipts: vec![receipt] },
        ),
        ("ObjectProgress", Frame::ObjectProgress { study: study.clone(), object, received: 70_000 }),
        ("Want", Frame::Want { study: study.clone(), objects: vec![object, ObjectHash::of(b"ecg")] }),
        ("ObjectData", Frame::ObjectData(ObjectData { study, object, offset: 65_536, length: 1 })),
    ]
}

fn letter_samples() -> Vec<(&'static str, Frame)> {
    let id: LetterId = "l-1".parse().unwrap();
    let head = LetterHead {
        id: id.clone(),
        kind: LetterKind::CriticalNotice,
        study: study_uid(),
        length: 500,
        hash: ObjectHash::of(b"letter"),
        written_at: UtcMs(77),
    };
    let note = Note {
        id: "n-1".parse().unwrap(),
        kind: NoteKind::CriticalReadBack,
        body: b"{}".to_vec(),
        signature: vec![1, 2, 3],
        certificate: Vec::new(),
    };
    let renewed = Note { certificate: vec![0x30, 0], ..note.clone() };
    vec![
        ("LetterOffer", Frame::LetterOffer(head)),
        ("LetterWant", Frame::LetterWant { id: id.clone() }),
        ("LetterHave", Frame::LetterHave { id: id.clone(), stored_at: UtcMs(78) }),
        ("LetterReceipt", Frame::LetterReceipt { id: id.clone(), stored_at: UtcMs(79) }),
        ("LetterRefused", Frame::LetterRefused { id: id.clone(), refusal: refusal() }),
        ("Note", Frame::Note(note)),
        ("Note.certificate", Frame::Note(renewed)),
        ("NoteReceipt", Frame::NoteReceipt { id: "n-1".parse().unwrap() }),
        ("LetterData", Frame::LetterData { id }),
    ]
}

fn samples() -> Vec<(&'static str, Frame)> {
    [session_samples(), refused_samples(), study_samples(), letter_samples()].concat()
}

#[test]
fn every_frame_has_the_recorded_bytes_of_version_1_and_reads_back() {
    let recorded: Vec<(&str, &str)> = GOLDEN_V1.lines().filter_map(|line| line.split_once(' ')).collect();
    let written: Vec<(&str, String)> =
        samples().iter().map(|(name, frame)| (*name, hex::encode(frame.encode().unwrap()))).collect();
    let lines: Vec<String> = written.iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
    for ((name, frame), line) in samples().into_iter().zip(&lines) {
        let known = recorded.iter().find(|(of, _)| *of == name);
        let Some((_, bytes)) = known else {
            panic!("no golden bytes for {name}; all lines:\n{}", lines.join("\n"))
        };
        assert_eq!(line, &format!("{name} {bytes}"), "the bytes of {name} have changed");
        let mut reader = FrameReader::new(MAX_FRAME_BYTES);
        reader.push(&hex::decode(bytes).unwrap());
        assert_eq!(reader.next_frame(), Some(Ok(frame)));
        assert_eq!(reader.next_frame(), None);
    }
    assert_eq!(recorded.len(), lines.len(), "a golden line belongs to no sample");
}

#[test]
fn every_frame_type_has_a_sample() {
    for kind in FrameType::ALL {
        assert!(samples().iter().any(|(_, frame)| frame.kind() == *kind), "{}", kind.name());
        assert_eq!(FrameType::from_number(kind.number()), Some(*kind));
    }
}

#[test]
fn bytes_that_arrive_one_by_one_make_the_same_frames() {
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    let mut frames = Vec::new();
    for byte in samples().iter().flat_map(|(_, frame)| frame.encode().unwrap()) {
        reader.push(&[byte]);
        frames.extend(reader.next_frame());
    }
    let expected: Vec<_> = samples().into_iter().map(|(_, frame)| Ok(frame)).collect();
    assert_eq!(frames, expected);
}

#[test]
fn an_unknown_frame_is_refused_by_name_and_the_next_one_is_read() {
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    reader.push(&[0, 0, 0, 5, 0x03, 0xe7, 1, 2, 3]);
    reader.push(&Frame::Bye(Bye::default()).encode().unwrap());
    let error = reader.next_frame().unwrap().unwrap_err();
    assert_eq!(error, FrameError::Unknown { number: 999 });
    assert_eq!(error.refusal().code, Code::FrameUnknown);
    assert_eq!(error.refusal().field, "type 999");
    assert_eq!(reader.next_frame(), Some(Ok(Frame::Bye(Bye::default()))));
}

#[test]
fn a_frame_longer_than_the_limit_is_refused_before_its_bytes_come() {
    let mut reader = FrameReader::new(1_000);
    reader.push(&1_001_u32.to_be_bytes());
    let error = reader.next_frame().unwrap().unwrap_err();
    assert_eq!(error, FrameError::TooLarge { length: 1_001, max: 1_000 });
}

#[test]
fn a_revocation_list_beyond_its_limit_is_no_frame() {
    let most = limits::MAX_REVOCATION_LIST_BYTES;
    for (length, lawful) in [(most, true), (most + 1, false)] {
        let bytes = Frame::Revocations { list: vec![7; length] }.encode().unwrap();
        let read = Frame::decode(&bytes[4..]);
        assert_eq!(read.is_ok(), lawful, "{length} bytes");
        if let Err(error) = read {
            assert_eq!(error.refusal().field, "Revocations.list");
        }
    }
}

#[test]
fn a_malformed_manifest_still_names_its_study() {
    let mut writer = FieldWriter::new();
    writer.text(1, "1.2.3").number(3, 200);
    let body = [16_u16.to_be_bytes().to_vec(), writer.into_bytes()].concat();
    let error = Frame::decode(&body).unwrap_err();
    assert_eq!(error.refusal().field, "Manifest.class");
    let FrameError::Malformed { scope, .. } = error else { panic!("{error}") };
    let study = StudyUid::parse("1.2.3").unwrap();
    assert_eq!(scope.map(|s| *s), Some(Scope::Study { study, generation: None }));
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    let mut bytes = Frame::Manifest(Box::new(manifest())).encode().unwrap();
    let mut later = FieldWriter::new();
    later.text(4_000, "new in version 2");
    let later = later.into_bytes();
    bytes.extend_from_slice(&later);
    let length = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    reader.push(&bytes);
    assert_eq!(reader.next_frame(), Some(Ok(Frame::Manifest(Box::new(manifest())))));
}

#[test]
fn no_cut_or_changed_byte_of_a_frame_makes_the_reader_panic() {
    for (_, frame) in samples() {
        let bytes = frame.encode().unwrap();
        for at in 4..bytes.len() {
            let _ = Frame::decode(&bytes[4..at]);
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let _ = Frame::decode(&changed[4..]);
            }
        }
    }
}

#[test]
fn the_largest_lawful_manifest_fits_a_frame() {
    let mut large = manifest();
    large.context.complaint = Some("痛".repeat(crate::limits::MAX_CONTEXT_CHARS));
    let uid = || "1".repeat(64);
    large.objects = (0..crate::limits::MAX_OBJECTS_PER_STUDY as u64)
        .map(|n| ManifestObject {
            hash: ObjectHash::of(&n.to_be_bytes()),
            length: u64::from(u32::MAX) - 2,
            kind: ObjectKind::Dicom,
            instance: Some(uid().parse().unwrap()),
            series: Some(uid().parse().unwrap()),
            coded: CodedForm { encoding: Encoding::Zstd, length: 1, hash: ObjectHash::of(b"z") },
        })
        .collect();
    let bytes = Frame::Manifest(Box::new(large.clone())).encode().unwrap();
    assert_eq!(Frame::decode(&bytes[4..]), Ok(Frame::Manifest(Box::new(large))));
}

#[test]
fn a_code_of_a_later_version_keeps_its_words_and_counts_as_passing() {
    let mut writer = FieldWriter::new();
    writer.number(1, 60_000).text(2, "field").text(3, "reason");
    let refusal = read_refusal(&writer.into_bytes()).unwrap();
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Internal, "code 60000: reason"));
    assert!(!crate::link::is_final(&refusal));
}

#[test]
fn a_time_that_is_nobodys_clock_is_brought_within_the_calendar() {
    for (told, taken) in [(i64::MIN, -62_135_596_800_000), (i64::MAX, 253_402_300_799_999), (-1, -1)] {
        let strange = Frame::LetterHave { id: "l-1".parse().unwrap(), stored_at: UtcMs(told) };
        let read = Frame::decode(&strange.encode().unwrap()[4..]);
        let lawful = Frame::LetterHave { id: "l-1".parse().unwrap(), stored_at: UtcMs(taken) };
        assert_eq!(read, Ok(lawful));
    }
}
