//! DICOM ECG objects (PS3.3 A.34.3, A.34.4, A.34.5): 12-Lead where its limits allow, else General, else Ambulatory ECG.

use super::WriteError;
use super::element::{Item, decimal};
use super::prepare::{Column, PADDING, column, columns};
use crate::lead::{Filters, LeadId};
use crate::model::Ecg;

/// Identity and time of the object; all of it is the caller's (UIDs and times are never made here).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DicomIdentity {
    /// Study instance UID.
    pub study_uid: String,
    /// Series instance UID.
    pub series_uid: String,
    /// SOP instance UID.
    pub instance_uid: String,
    /// Patient ID.
    pub patient_id: String,
    /// Patient name with its component groups (`Zhang^San=张^三`).
    pub patient_name: String,
    /// `YYYYMMDD`, may be empty.
    pub birth_date: String,
    /// `M`, `F`, `O` or empty.
    pub sex: String,
    /// Acquisition time `YYYYMMDDhhmmss`.
    pub acquired: String,
    /// Offset of that time from UTC, minutes; `None` = not known.
    pub offset_min: Option<i32>,
    /// Accession number, may be empty.
    pub accession: String,
    /// Institution.
    pub institution: String,
    /// Station name.
    pub station: String,
}

const TWELVE_LEAD: &str = "1.2.840.10008.5.1.4.1.1.9.1.1";
const GENERAL: &str = "1.2.840.10008.5.1.4.1.1.9.1.2";
const AMBULATORY: &str = "1.2.840.10008.5.1.4.1.1.9.1.3";
/// Implementation class UID: a 2.25 UID of this writer.
const IMPLEMENTATION: &str = "2.25.302043790172249692526321623266752743501";

/// Leads and device facts as a DICOM object, explicit VR little endian, UTF-8 text.
///
/// # Errors
/// UIDs that are unlawful, leads of different rates, rates or lengths no ECG class allows.
pub fn dicom(ecg: &Ecg, identity: &DicomIdentity) -> Result<Vec<u8>, WriteError> {
    for (name, uid) in [
        ("study UID", &identity.study_uid),
        ("series UID", &identity.series_uid),
        ("instance UID", &identity.instance_uid),
    ] {
        if !lawful_uid(uid) {
            return Err(WriteError::new(name, format!("'{uid}' is no lawful UID")));
        }
    }
    if identity.acquired.len() < 14 || !identity.acquired.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WriteError::new("acquired", format!("'{}' is not YYYYMMDDhhmmss", identity.acquired)));
    }
    let rhythm = columns(ecg)?;
    let class = sop_class(&rhythm)?;
    let mut set = Item::default();
    identify(&mut set, ecg, identity, class);
    let mut groups = vec![group(&rhythm, "RHYTHM", "ORIGINAL")];
    if let Some(beat) = median(ecg, class) {
        groups.push(group(&beat, "MEDIAN BEAT", "DERIVED"));
    }
    set.sequence(0x5400_0100, groups);
    set.sequence(0x0040_0555, Vec::new());
    annotations(&mut set, ecg);
    let body = set.encode();
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(file_meta(identity, class));
    file.extend(body);
    Ok(file)
}

/// PS3.5 9.1: digits and dots, at most 64, no empty component, no leading zero.
pub fn lawful_uid(uid: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (p.len() == 1 || !p.starts_with('0'))
    };
    !uid.is_empty() && uid.len() <= 64 && uid.split('.').all(part)
}

fn sop_class(columns: &[Column]) -> Result<&'static str, WriteError> {
    let (rate, count) = (columns[0].lead.rate_hz, columns[0].samples.len());
    let standard = columns.iter().all(|c| crate::lead::STANDARD_12.contains(&c.lead.id));
    let diagnostic = (200.0..=1000.0).contains(&rate);
    /// PS3.3 A.34.3.4.5: samples of a channel.
    const MAX_12_LEAD_SAMPLES: usize = 16_384;
    if diagnostic && standard && columns.len() <= 13 && count <= MAX_12_LEAD_SAMPLES {
        return Ok(TWELVE_LEAD);
    }
    if diagnostic && columns.len() <= 24 {
        return Ok(GENERAL);
    }
    if (50.0..=1000.0).contains(&rate) && columns.len() <= 12 {
        return Ok(AMBULATORY);
    }
    Err(WriteError::new(
        "sampling rate",
        format!("{rate} Hz and {} leads fit no DICOM ECG class", columns.len()),
    ))
}

/// The median beat as a second group, where the class allows one and it is shaped like the rhythm.
fn median(ecg: &Ecg, class: &str) -> Option<Vec<Column>> {
    let beat = Ecg { rhythm: ecg.median.clone(), not_ecg: Vec::new(), ..Ecg::new(ecg.format) };
    let first = beat.rhythm.first()?;
    let fits = class != AMBULATORY && (200.0..=1000.0).contains(&first.rate_hz);
    let len = first.len();
    let leads = beat.all_leads();
    let same = leads.iter().all(|l| l.len() == len && l.id != LeadId::Other);
    (fits && same && leads.len() <= 13).then(|| leads.into_iter().map(|l| column(l, 0..len)).collect())
}

fn file_meta(identity: &DicomIdentity, class: &str) -> Vec<u8> {
    let mut meta = Item::default();
    meta.raw(0x0002_0001, b"OB", vec![0, 1])
        .text(0x0002_0002, b"UI", class)
        .text(0x0002_0003, b"UI", &identity.instance_uid)
        .text(0x0002_0010, b"UI", "1.2.840.10008.1.2.1")
        .text(0x0002_0012, b"UI", IMPLEMENTATION)
        .text(0x0002_0013, b"SH", "RELAY_ECG_1");
    let body = meta.encode();
    let mut group = Item::default();
    group.u32(0x0002_0000, u32::try_from(body.len()).unwrap_or(0));
    let mut out = group.encode();
    out.extend(body);
    out
}

fn identify(set: &mut Item, ecg: &Ecg, identity: &DicomIdentity, class: &str) {
    let (day, time) = identity.acquired.split_at(8);
    let zone = identity
        .offset_min
        .map(|m| format!("{}{:02}{:02}", if m < 0 { '-' } else { '+' }, m.abs() / 60, m.abs() % 60));
    let or = |stored: &Option<String>, other: &str| stored.clone().unwrap_or_else(|| other.to_owned());
    set.text(0x0008_0005, b"CS", "ISO_IR 192")
        .text(0x0008_0016, b"UI", class)
        .text(0x0008_0018, b"UI", &identity.instance_uid)
        .text(0x0008_0020, b"DA", day)
        .text(0x0008_0023, b"DA", day)
        .text(0x0008_002A, b"DT", &format!("{}{}", identity.acquired, zone.clone().unwrap_or_default()))
        .text(0x0008_0030, b"TM", time)
        .text(0x0008_0033, b"TM", time)
        .text(0x0008_0050, b"SH", &identity.accession)
        .text(0x0008_0060, b"CS", "ECG")
        .text(0x0008_0070, b"LO", &or(&ecg.device.manufacturer, "unknown"))
        .text(0x0008_0090, b"PN", "")
        .text(0x0008_1030, b"LO", "ECG")
        .text(0x0008_1090, b"LO", &or(&ecg.device.model, "unknown"))
        .text(0x0018_1000, b"LO", &or(&ecg.device.serial, "unknown"))
        .text(0x0018_1020, b"LO", &or(&ecg.device.software, "unknown"))
        .text(0x0010_0010, b"PN", &identity.patient_name)
        .text(0x0010_0020, b"LO", &identity.patient_id)
        .text(0x0010_0030, b"DA", &identity.birth_date)
        .text(0x0010_0040, b"CS", &identity.sex)
        .text(0x0020_000D, b"UI", &identity.study_uid)
        .text(0x0020_000E, b"UI", &identity.series_uid)
        .text(0x0020_0010, b"SH", "1")
        .text(0x0020_0011, b"IS", "1")
        .text(0x0020_0013, b"IS", "1");
    if !identity.institution.is_empty() {
        set.text(0x0008_0080, b"LO", &identity.institution);
    }
    if !identity.station.is_empty() {
        set.text(0x0008_1010, b"SH", &identity.station);
    }
    if let Some(zone) = zone {
        set.text(0x0008_0201, b"SH", &zone);
    }
}

/// MDC display names of CID 3001.
fn source(id: LeadId) -> Item {
    let code = format!("2:{}", id.scp_code().unwrap_or(0));
    let meaning = match id {
        LeadId::AVR => "aVR, augmented voltage, right".to_owned(),
        LeadId::AVL => "aVL, augmented voltage, left".to_owned(),
        LeadId::AVF => "aVF, augmented voltage, foot".to_owned(),
        LeadId::Other => "Unspecified lead".to_owned(),
        _ => format!("Lead {}", id.name()),
    };
    Item::code(&code, "MDC", &meaning)
}

fn group(columns: &[Column], label: &str, originality: &str) -> Item {
    let count = columns.iter().map(|c| c.samples.len()).min().unwrap_or(0);
    let mut item = Item::default();
    item.text(0x003A_0004, b"CS", originality)
        .u16s(0x003A_0005, &[u16::try_from(columns.len()).unwrap_or(0)])
        .u32(0x003A_0010, u32::try_from(count).unwrap_or(0))
        .text(0x003A_001A, b"DS", &decimal(columns[0].lead.rate_hz))
        .text(0x003A_0020, b"SH", label)
        .u16s(0x5400_1004, &[16])
        .text(0x5400_1006, b"CS", "SS")
        .raw(0x5400_100A, b"OW", PADDING.to_le_bytes().to_vec());
    item.sequence(0x003A_0200, columns.iter().map(channel).collect());
    let mut data = Vec::with_capacity(count * columns.len() * 2);
    for i in 0..count {
        data.extend(columns.iter().flat_map(|c| c.samples[i].to_le_bytes()));
    }
    item.raw(0x5400_1010, b"OW", data);
    item
}

fn channel(column: &Column) -> Item {
    let mut item = Item::default();
    if column.lead.id == LeadId::Other {
        item.text(0x003A_0203, b"SH", &column.lead.label);
    }
    item.sequence(0x003A_0208, vec![source(column.lead.id)])
        .text(0x003A_0210, b"DS", &decimal(column.scale))
        .sequence(0x003A_0211, vec![Item::code("uV", "UCUM", "microvolt")])
        .text(0x003A_0212, b"DS", "1")
        .text(0x003A_0213, b"DS", &decimal(column.lead.offset))
        .text(0x003A_0215, b"DS", "0")
        .u16s(0x003A_021A, &[16]);
    let Filters { high_pass_hz, low_pass_hz, notch_hz, .. } = &column.lead.filters;
    for (tag, corner) in [(0x003A_0220, high_pass_hz), (0x003A_0221, low_pass_hz), (0x003A_0222, notch_hz)] {
        if let Some(hertz) = corner.filter(|h| *h > 0.0) {
            item.text(tag, b"DS", &decimal(hertz));
        }
    }
    item
}

/// Device values by MDC code (PS3.16 CID 3227 to 3229): key, code, meaning, UCUM unit.
const VALUES: [(&str, &str, &str, &str); 9] = [
    ("rate_bpm", "2:16016", "Ventricular Heart Rate", "{H.B.}/min"),
    ("rr_ms", "2:16168", "RR interval global", "ms"),
    ("pr_ms", "2:15872", "PR interval global", "ms"),
    ("qrs_ms", "2:16156", "QRS duration global", "ms"),
    ("qt_ms", "2:16160", "QT interval global", "ms"),
    ("qtc_ms", "2:15876", "QTc interval global", "ms"),
    ("p_axis_deg", "2:16128", "P Axis", "deg"),
    ("qrs_axis_deg", "2:16132", "QRS Axis", "deg"),
    ("t_axis_deg", "2:16176", "T Axis", "deg"),
];

/// What the cart said, unconfirmed as it was: statements as text, values as numbers.
fn annotations(set: &mut Item, ecg: &Ecg) {
    let mut items = Vec::new();
    for statement in &ecg.device.statements {
        let mut item = Item::default();
        let text: String = statement.chars().take(1024).collect();
        item.u16s(0x0040_A0B0, &[1, 0]).u16s(0x0040_A180, &[0]).text(0x0070_0006, b"ST", &text);
        items.push(item);
    }
    for (key, code, meaning, unit) in VALUES {
        let Some(value) = ecg.device.value(key) else { continue };
        let mut item = Item::default();
        item.sequence(0x0040_08EA, vec![Item::code(unit, "UCUM", unit)])
            .sequence(0x0040_A043, vec![Item::code(code, "MDC", meaning)])
            .u16s(0x0040_A0B0, &[1, 0])
            .u16s(0x0040_A180, &[1])
            .text(0x0040_A30A, b"DS", &decimal(value));
        items.push(item);
    }
    if !items.is_empty() {
        set.sequence(0x0040_B020, items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth;

    pub(crate) fn identity() -> DicomIdentity {
        DicomIdentity {
            study_uid: "2.25.1".into(),
            series_uid: "2.25.2".into(),
            instance_uid: "2.25.3".into(),
            patient_id: "P1".into(),
            patient_name: "Zhang^San=张^三".into(),
            birth_date: "19600101".into(),
            sex: "M".into(),
            acquired: "20260102030405".into(),
            offset_min: Some(480),
            ..DicomIdentity::default()
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut ecg = synth::ecg(&synth::Spec::normal(3));
        ecg.device.measured("pr_ms", "x", Some(160.0), "ms");
        ecg.device.statements.push("窦性心律".into());
        let file = dicom(&ecg, &identity()).unwrap();
        let back = crate::read(&file, &crate::Hints::default()).unwrap();
        assert_eq!(back.rhythm.len(), 12);
        for (a, b) in ecg.rhythm.iter().zip(&back.rhythm) {
            assert_eq!(a.id, b.id);
            assert!(a.uv_iter().eq(b.uv_iter()), "{}", a.name());
        }
        assert_eq!(back.patient.name.as_deref(), Some("Zhang^San=张^三"));
        assert_eq!(back.device.value("pr_ms"), Some(160.0));
        assert_eq!(back.device.statements, ["窦性心律"]);
        assert_eq!(back.acquired.unwrap().iso().as_deref(), Some("2026-01-02T03:04:05+08:00"));
    }

    #[test]
    fn eighteen_leads_become_a_general_ecg() {
        let ecg = synth::ecg(&synth::Spec::normal(3).with_eighteen_leads());
        let back = crate::read(&dicom(&ecg, &identity()).unwrap(), &crate::Hints::default()).unwrap();
        assert_eq!(back.variant, GENERAL);
        assert!(back.lead(LeadId::V7).is_some() && back.lead(LeadId::V4R).is_some());
    }

    #[test]
    fn leads_without_a_standard_name_keep_their_label_and_long_texts_are_cut() {
        let mut ecg = synth::ecg(&synth::Spec::normal(3));
        ecg.rhythm.truncate(2);
        ecg.rhythm[0] = crate::Lead {
            samples: ecg.rhythm[0].samples.clone(),
            ..crate::Lead::new("MLII", 500.0, crate::Samples::I16(Vec::new()), 2.5)
        };
        ecg.device.software = Some("a\\b".repeat(40));
        let back = crate::read(&dicom(&ecg, &identity()).unwrap(), &crate::Hints::default()).unwrap();
        assert_eq!(back.variant, GENERAL);
        let named = back.rhythm.iter().find(|l| l.id == LeadId::Other).unwrap();
        assert_eq!((named.name(), named.is_ecg), ("MLII", true));
        assert!(named.uv_iter().eq(ecg.rhythm[0].uv_iter()));
        assert_eq!(back.device.software.unwrap(), "a b".repeat(40)[..64].trim_end());
    }

    #[test]
    fn an_unlawful_uid_is_refused() {
        for uid in ["", "1.02.3", "1..2", "../etc", "1.2.x"] {
            let bad = DicomIdentity { study_uid: uid.into(), ..identity() };
            assert!(dicom(&synth::ecg(&synth::Spec::normal(1)), &bad).is_err(), "{uid}");
        }
    }
}
