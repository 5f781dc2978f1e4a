//! Small things to put into a [`super::TestDesk`].

use super::held::Item;
use crate::auth::{Entropy, password};
use crate::desk::{Account, PatientFacts, Reader, Role, StudyObject, WorkRow};
use crate::problem::Problem;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use relay_core::clock::UtcMs;
use relay_core::ids::{ClinicId, ObjectHash, PersonId, Sha256, StudyKey, StudyUid};
use relay_core::study::{Class, Completeness, Kind, ObjectKind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Password of every account made here.
pub const PASSWORD: &str = "一二三四 correct horse";
/// TOTP secret of every reading account made here.
pub const TOTP_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Bytes that differ from call to call and are the same in every run.
#[derive(Debug, Default)]
pub struct CountedEntropy(AtomicU64);

impl Entropy for CountedEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Problem> {
        let count = self.0.fetch_add(1, Ordering::SeqCst);
        let digest = Sha256::of(&count.to_be_bytes()).0;
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = digest[at % digest.len()];
        }
        Ok(())
    }
}

/// A clinic id.
///
/// # Panics
/// When the text is unlawful.
#[must_use]
pub fn clinic(text: &str) -> ClinicId {
    ClinicId::parse(text).expect("a lawful clinic id")
}

/// An account with [`PASSWORD`], serving `clinics`; people who read have [`TOTP_SECRET`].
///
/// # Panics
/// When the id is unlawful.
#[must_use]
pub fn account(id: &str, roles: &[Role], clinics: &[&str]) -> Account {
    static HASH: OnceLock<String> = OnceLock::new();
    let hash = HASH.get_or_init(|| password::hash(PASSWORD, &CountedEntropy::default()).expect("a hash"));
    let reads = roles.iter().any(|role| [Role::Reader, Role::Reviewer, Role::Clinician].contains(role));
    Account {
        reader: Reader {
            id: PersonId::parse(id).expect("a lawful person id"),
            name: format!("医师 {id}"),
            roles: roles.to_vec(),
            clinics: clinics.iter().map(|text| clinic(text)).collect(),
            kinds: Kind::ALL.to_vec(),
        },
        password_hash: hash.clone(),
        totp_secret: reads.then(|| TOTP_SECRET.to_owned()),
        totp_last_step: None,
        failures: 0,
        locked_until: None,
    }
}

/// A waiting chest film of a clinic.
///
/// # Panics
/// When an id is unlawful.
#[must_use]
pub fn item(id: i64, of: &str, uid: &str) -> Item {
    let study = StudyKey { clinic: clinic(of), uid: StudyUid::parse(uid).expect("a lawful UID") };
    Item::new(WorkRow {
        id,
        study,
        clinic_name: format!("{of} 卫生院"),
        class: Class::Routine,
        kind: Kind::Xray,
        state: "waiting".into(),
        lease: None,
        patient: PatientFacts { name: "王晓东".into(), sex: "M".into(), ..PatientFacts::default() },
        item: "胸部正位".into(),
        t0: UtcMs(1_000),
        time_suspect: false,
        arrived_at: UtcMs(2_000),
        due_at: Some(UtcMs(3_600_000)),
        due_stage: Some("reported".into()),
        promise_at: Some(UtcMs(7_200_000)),
        objects: (1, 1),
        completeness: Completeness::Complete,
        report: None,
        delivery: None,
        author: None,
        attention: Vec::new(),
        critical_open: false,
    })
}

/// The facts of an object.
#[must_use]
pub fn object(bytes: &[u8]) -> StudyObject {
    StudyObject {
        hash: ObjectHash::of(bytes),
        sha256: Sha256::of(bytes),
        length: bytes.len() as u64,
        kind: ObjectKind::Dicom,
        instance_uid: "1.2.3.4.5".into(),
        series_uid: "1.2.3.4".into(),
        modality: "DX".into(),
        rows: 4,
        columns: 6,
        frames: 1,
        body_part: "CHEST".into(),
        laterality: String::new(),
        view_position: "PA".into(),
        transfer_syntax: "1.2.840.10008.1.2.1".into(),
        current: true,
        conflict: false,
        other_patient: false,
        stored_at: UtcMs(2_000),
    }
}

/// A DICOM file of 4 rows and 6 columns, 12 bits in 16, values 100 × index; `more` replaces or adds elements.
///
/// # Panics
/// When the elements make no DICOM file.
#[must_use]
pub fn phantom(more: Vec<DataElement<InMemDicomObject>>) -> Vec<u8> {
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let mut object = InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.1.1"),
        text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4.5"),
        text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        text(tags::MODALITY, VR::CS, "DX"),
        text(tags::PATIENT_NAME, VR::PN, "王^晓东"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        short(tags::ROWS, 4),
        short(tags::COLUMNS, 6),
        short(tags::BITS_ALLOCATED, 16),
        short(tags::BITS_STORED, 12),
        short(tags::HIGH_BIT, 11),
        short(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16((0..24).map(|v| v * 100).collect())),
    ]);
    for element in more {
        object.put(element);
    }
    let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
    let file = object.with_meta(meta).expect("a file meta table");
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).expect("a DICOM file");
    bytes
}
