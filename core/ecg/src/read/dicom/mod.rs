//! DICOM waveform objects (PS3.3 A.34) and encapsulated PDF (A.45.1).
//!
//! Any waveform SOP class is taken when at least one channel is an ECG lead, so a 12-lead ECG in a Hemodynamic object reads too.

mod annotation;
pub(crate) mod dataset;
mod waveform;

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::model::{Acquired, DicomIds, Document, Ecg};
use crate::text;
use dataset::DataSet;
use waveform::Group;

const WAVEFORM_CLASSES: &[u8] = b"1.2.840.10008.5.1.4.1.1.9.";
const ENCAPSULATED_PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";

/// `None`: not DICOM. `Some(None)`: DICOM, but no ECG. Judged by what stands in the first 4 KiB.
#[expect(clippy::option_option, reason = "three answers: not DICOM, DICOM without ECG, an ECG")]
pub(crate) fn sniff(head: &[u8]) -> Option<Option<Format>> {
    let holds = |needle: &[u8]| head.windows(needle.len()).any(|w| w == needle);
    if head.get(128..132) != Some(b"DICM") {
        // without preamble: a file meta group, or a data set that begins in group 0008
        let bare = head.starts_with(b"DICM") || matches!(head, [0x02 | 0x08, 0x00, _, 0x00, ..]);
        return (bare && holds(WAVEFORM_CLASSES)).then_some(Some(Format::Dicom));
    }
    if holds(WAVEFORM_CLASSES) {
        return Some(Some(Format::Dicom));
    }
    // An encapsulated PDF is an ECG when its modality says so: (0008,0060) CS "ECG ".
    let modality = [&b"\x08\x00\x60\x00CS\x04\x00ECG "[..], b"\x08\x00\x60\x00\x04\x00\x00\x00ECG "];
    let ecg = holds(ENCAPSULATED_PDF.as_bytes()) && modality.iter().any(|m| holds(m));
    Some(ecg.then_some(Format::Dicom))
}

/// Reads a DICOM ECG.
///
/// # Errors
/// Lengths beyond the file, sample counts beyond the data, unknown sample formats, leads without scale, objects without an ECG lead.
pub fn read(file: &[u8]) -> Result<Ecg, ReadError> {
    if file.is_empty() {
        return Err(ReadError::new(Format::Dicom, ErrorKind::Truncated, "file", 0, "zero bytes"));
    }
    let set = DataSet::parse(file)?;
    let mut ecg = Ecg::new(Format::Dicom);
    let charset_text = set.ascii(0, 0x0008_0005).unwrap_or_default();
    let charsets: Vec<&str> = charset_text.split('\\').map(str::trim).collect();
    facts(&set, &charsets, &mut ecg);
    let groups = set.sequence(0, 0x5400_0100).to_vec();
    if groups.is_empty() {
        return document(&set, ecg);
    }
    let (mut rates, mut median) = (Vec::new(), Vec::new());
    for item in groups {
        let group = waveform::group(&set, item)?;
        rates.push(group.leads.first().map_or(1.0, |l| l.rate_hz));
        median.push(group.is_median());
        take(&mut ecg, group);
    }
    if !ecg.rhythm.iter().any(|l| l.is_ecg) {
        let reason = "no channel of this waveform object is an ECG lead";
        return Err(ReadError::new(
            Format::Dicom,
            ErrorKind::NotEcg,
            "(5400,0100) WaveformSequence",
            0,
            reason,
        ));
    }
    annotation::read(&set, &charsets, &rates, &median, &mut ecg.device);
    Ok(ecg)
}

fn take(ecg: &mut Ecg, group: Group) {
    let median = group.is_median();
    if !median && group.start_s != 0.0 {
        ecg.warnings.push(format!("leads of group '{}' start at {:.3} s", group.label, group.start_s));
    }
    let target = if median { &mut ecg.median } else { &mut ecg.rhythm };
    target.extend(group.leads);
    if ecg.device.filters.is_empty()
        && let Some(lead) = target.iter().find(|l| !l.filters.is_empty())
    {
        ecg.device.filters = lead.filters.clone();
    }
}

fn facts(set: &DataSet<'_>, charsets: &[&str], ecg: &mut Ecg) {
    let mut repaired = false;
    let mut words = |tag: u32| {
        let decoded = set.bytes_of(0, tag).map(|raw| text::dicom(raw, charsets))?;
        repaired |= decoded.repaired;
        (!decoded.text.is_empty()).then_some(decoded.text)
    };
    ecg.patient.id = words(0x0010_0020);
    ecg.patient.name = words(0x0010_0010).map(|n| n.trim_end_matches(['^', '=']).to_owned());
    ecg.device.manufacturer = words(0x0008_0070);
    ecg.device.model = words(0x0008_1090);
    ecg.device.serial = words(0x0018_1000);
    ecg.device.software = words(0x0018_1020);
    ecg.device.institution = words(0x0008_0080);
    ecg.patient.text_repaired = repaired;
    ecg.patient.birth_date = set.ascii(0, 0x0010_0030).map(|d| text::date(&d));
    ecg.patient.sex = set.ascii(0, 0x0010_0040);
    ecg.patient.age = set.ascii(0, 0x0010_1010);
    ecg.variant = set.ascii(0, 0x0008_0016).unwrap_or_default();
    ecg.dicom = Some(DicomIds {
        sop_class: ecg.variant.clone(),
        study: set.ascii(0, 0x0020_000D).unwrap_or_default(),
        series: set.ascii(0, 0x0020_000E).unwrap_or_default(),
        instance: set.ascii(0, 0x0008_0018).unwrap_or_default(),
    });
    ecg.acquired = acquired(set);
}

/// Acquisition Date Time, else content, else study date and time; zone from the text or (0008,0201).
fn acquired(set: &DataSet<'_>) -> Option<Acquired> {
    let zone = set.ascii(0, 0x0008_0201).and_then(|z| text::zone_minutes(&z));
    let pair = |date: u32, time: u32| {
        let day = set.ascii(0, date)?;
        Some(format!("{day}{}", set.ascii(0, time).unwrap_or_default()))
    };
    let (stored, source) = set
        .ascii(0, 0x0008_002A)
        .map(|t| (t, "AcquisitionDateTime"))
        .or_else(|| pair(0x0008_0022, 0x0008_0032).map(|t| (t, "AcquisitionDate+Time")))
        .or_else(|| pair(0x0008_0023, 0x0008_0033).map(|t| (t, "ContentDate+Time")))
        .or_else(|| pair(0x0008_0020, 0x0008_0030).map(|t| (t, "StudyDate+Time")))?;
    let (local, offset_min) = text::compact_time(&stored);
    Some(Acquired { text: stored, source: source.into(), local, offset_min: offset_min.or(zone) })
}

/// An encapsulated PDF: view only.
fn document(set: &DataSet<'_>, mut ecg: Ecg) -> Result<Ecg, ReadError> {
    let class = ecg.variant.clone();
    let refuse = |reason: String| {
        Err(ReadError::new(Format::Dicom, ErrorKind::NotEcg, "(0008,0016) SOPClassUID", 0, reason))
    };
    if class != ENCAPSULATED_PDF {
        return refuse(format!("'{class}' holds neither waveforms nor a PDF"));
    }
    let Some(element) = set.find(0, 0x0042_0011) else {
        return refuse("an encapsulated PDF object without EncapsulatedDocument".into());
    };
    let raw = set.value(element);
    if !raw.starts_with(b"%PDF-") {
        let reason = "the encapsulated document is no PDF";
        return Err(ReadError::new(
            Format::Dicom,
            ErrorKind::Malformed,
            "(0042,0011) EncapsulatedDocument",
            element.at,
            reason,
        ));
    }
    // The value is padded to even length; its true length may be stated in (0042,0015).
    let stated = set.u32_of(0, 0x0042_0015).map(|n| n as usize).filter(|n| *n <= raw.len());
    let unpadded = raw.strip_suffix(b"\0").map_or(raw.len(), <[u8]>::len);
    ecg.document =
        Some(Document { media_type: "application/pdf", bytes: raw[..stated.unwrap_or(unpadded)].to_vec() });
    Ok(ecg)
}
