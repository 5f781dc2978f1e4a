//! Made files of every format, in the variants that carts write and that no sample shows: other byte orders, encodings, versions,
//! counts that lie, cuts at every place.

mod specimens;

use relay_ecg::synth::{self, Spec};
use relay_ecg::{Companion, Ecg, ErrorKind, Format, Hints, LeadId, ReadError, SNIFF_BYTES, read, sniff};
use specimens::{FORMATS, Specimen, make};

fn open(file: &Specimen) -> Result<Ecg, ReadError> {
    open_as(file, &file.bytes)
}

fn open_as(file: &Specimen, bytes: &[u8]) -> Result<Ecg, ReadError> {
    let companions: Vec<Companion<'_>> =
        file.companions.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    read(bytes, &Hints { name: Some(file.name), companions: &companions, format: None })
}

fn ten_seconds() -> Ecg {
    synth::ecg(&Spec { rate_bpm: 60.0, ..Spec::normal(3) })
}

/// Largest difference of a lead, µV, over what both hold.
fn apart(a: &Ecg, b: &Ecg, id: LeadId) -> f64 {
    let find =
        |e: &Ecg| e.all_leads().into_iter().find(|l| l.id == id).unwrap_or_else(|| panic!("{id} is missing"));
    let (x, y) = (find(a), find(b));
    assert!(x.len().abs_diff(y.len()) < 10, "{id}: {} and {} samples", x.len(), y.len());
    let both = x.len().min(y.len());
    (0..both)
        .map(|i| (x.uv(i).expect("the test can work") - y.uv(i).expect("the test can work")).abs())
        .fold(0.0, f64::max)
}

const TWELVE: [LeadId; 12] = relay_ecg::lead::STANDARD_12;

#[test]
fn every_format_is_told_from_its_first_bytes_and_gives_back_the_same_microvolts() {
    let ecg = ten_seconds();
    for format in FORMATS.into_iter().filter(|f| !matches!(f, Format::Pdf | Format::Healforce)) {
        let file = make(format, &ecg);
        let head = &file.bytes[..file.bytes.len().min(SNIFF_BYTES)];
        assert_eq!(sniff(head, None), Some(format), "{format} by its bytes alone");
        let back = open(&file).unwrap_or_else(|e| panic!("{format}: {e}"));
        assert_eq!(back.rhythm[0].rate_hz, if format == Format::Contec { 800.0 } else { 500.0 }, "{format}");
        // Contec stores steps of 5 µV
        let near = if format == Format::Contec { 7.6 } else { 1e-6 };
        for id in TWELVE {
            let off = apart(&ecg, &back, id);
            assert!(off <= near, "{format} {id}: {off} µV off");
        }
    }
}

#[test]
fn heal_force_gives_its_channel_in_its_own_steps() {
    let ecg = ten_seconds();
    let back = open(&make(Format::Healforce, &ecg)).unwrap();
    let two = ecg.lead(LeadId::II).unwrap();
    for i in 0..back.rhythm[0].len() {
        assert!((back.rhythm[0].uv(i).unwrap() - two.uv(i).unwrap()).abs() <= 5.1, "sample {i}");
    }
}

#[test]
fn every_wfdb_signal_format_reads() {
    let ecg = synth::ecg(&Spec { noise_uv: 0.0, wander_uv: 0.0, seconds: 4.0, ..Spec::normal(3) });
    for format in [8, 16, 24, 32, 61, 80, 160, 212, 310, 311] {
        let (header, signal) = specimens::wfdb(&ecg, format);
        let file = Specimen {
            format: Format::Wfdb,
            name: "made.hea",
            bytes: header,
            companions: vec![("made.dat", signal)],
        };
        let back = open(&file).unwrap_or_else(|e| panic!("format {format}: {e}"));
        assert!(back.warnings.is_empty(), "format {format}: {:?}", back.warnings);
        let near = match format {
            8 | 80 => 40.0,
            310 | 311 => 10.0,
            _ => 1e-6,
        };
        for lead in &ecg.rhythm {
            let off = apart(&ecg, &back, lead.id);
            assert!(off <= near, "format {format} {}: {off} µV off", lead.name());
        }
    }
}

#[test]
fn mfer_reads_in_both_byte_orders() {
    let ecg = ten_seconds();
    for big in [false, true] {
        let file = Specimen { bytes: specimens::mfer(&ecg, big), ..make(Format::Mfer, &ecg) };
        let back = open(&file).unwrap();
        assert!(apart(&ecg, &back, LeadId::V3) < 1e-6, "big endian: {big}");
    }
}

#[test]
fn xml_reads_in_every_encoding_a_cart_writes() {
    let ecg = ten_seconds();
    let named = |text: &str, encoding: &str| text.replace("UTF-8", encoding).replace("ISO-8859-1", encoding);
    for format in
        [Format::Aecg, Format::Muse, Format::Sierra, Format::Mortara, Format::Cardiosoft, Format::Schiller]
    {
        let file = make(format, &ecg);
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        let utf16 = named(&text, "UTF-16");
        let little: Vec<u8> =
            [0xFEFF].into_iter().chain(utf16.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> =
            [0xFEFF].into_iter().chain(utf16.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        let bare: Vec<u8> = utf16.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xEF\xBB\xBF".to_vec(), file.bytes.clone()].concat();
        let chinese =
            encoding_rs::GB18030.encode(&named(&text, "GB2312").replace("Zhang", "张伟")).0.into_owned();
        let crlf = text.replace('\n', "\r\n").into_bytes();
        let spaced = [b"\r\n  ".to_vec(), text.split_once("?>").unwrap().1.as_bytes().to_vec()].concat();
        for (how, bytes) in [
            ("UTF-16 LE", little),
            ("UTF-16 BE", big),
            ("UTF-16 without mark", bare),
            ("UTF-8 with mark", marked),
            ("GB2312", chinese),
            ("CR LF", crlf),
            ("no declaration", spaced),
        ] {
            assert_eq!(
                sniff(&bytes[..bytes.len().min(SNIFF_BYTES)], None),
                Some(format),
                "{format} as {how}"
            );
            let back = open_as(&file, &bytes).unwrap_or_else(|e| panic!("{format} as {how}: {e}"));
            assert!(apart(&ecg, &back, LeadId::II) < 1e-6, "{format} as {how}");
            if how == "GB2312" && matches!(format, Format::Mortara | Format::Schiller) {
                assert_eq!(back.patient.name.as_deref(), Some("张伟"), "{format}");
            }
        }
    }
}

#[test]
fn sierra_versions_are_read_or_refused_by_name() {
    let ecg = ten_seconds();
    let file = make(Format::Sierra, &ecg);
    for version in ["1.03", "1.04", "1.04.01"] {
        let back = open_as(&file, specimens::sierra(&ecg, version).as_bytes()).unwrap();
        assert_eq!(back.variant, version);
    }
    let error = open_as(&file, specimens::sierra(&ecg, "2.0").as_bytes()).unwrap_err();
    assert_eq!((error.kind, error.field.as_str()), (ErrorKind::Unsupported, "documentinfo"));
    assert!(error.reason.contains("2.0"), "{error}");
}

/// A file that lost its end is refused, or says less than the whole one; it never passes as a whole record.
#[test]
fn a_cut_file_is_refused_or_known_to_be_shorter() {
    let ecg = synth::ecg(&Spec { seconds: 2.0, rate_hz: 200.0, ..Spec::normal(3) });
    for format in FORMATS {
        let file = make(format, &ecg);
        let whole = open(&file).unwrap();
        let samples = |e: &Ecg| e.rhythm.iter().map(relay_ecg::Lead::len).sum::<usize>();
        let step = (file.bytes.len() / 400).max(1);
        for end in (0..file.bytes.len()).step_by(step) {
            match open_as(&file, &file.bytes[..end]) {
                Err(error) => assert!(
                    !error.reason.is_empty() && !error.field.is_empty(),
                    "{format} at {end}: {error:?}"
                ),
                // formats without a count of samples end where the file ends; padding and line ends may be lost
                Ok(cut) => {
                    let uncounted = matches!(format, Format::Contec | Format::Wfdb | Format::Pdf);
                    assert!(
                        uncounted && samples(&cut) <= samples(&whole) || samples(&cut) == samples(&whole),
                        "{format}: cut at {end} of {} it reads as {} of {} samples",
                        file.bytes.len(),
                        samples(&cut),
                        samples(&whole)
                    );
                }
            }
        }
    }
}

#[test]
fn counts_that_lie_are_refused_with_their_place() {
    let ecg = synth::ecg(&Spec { seconds: 2.0, rate_hz: 200.0, ..Spec::normal(3) });
    let edit = |format: Format, from: &str, to: &str| {
        let file = make(format, &ecg);
        let text = String::from_utf8_lossy(&file.bytes).replacen(from, to, 1);
        open_as(&file, text.as_bytes()).unwrap_err()
    };
    let muse = edit(Format::Muse, "<LeadSampleCountTotal>400<", "<LeadSampleCountTotal>4000<");
    assert!(muse.reason.contains("4000 samples stated, 400 stored") && muse.offset > 0, "{muse}");
    let cardiosoft = edit(Format::Cardiosoft, "Total>400<", "Total>399<");
    assert_eq!((cardiosoft.kind, cardiosoft.field.as_str()), (ErrorKind::Truncated, "WaveformData"));
    let mortara = edit(Format::Mortara, "DURATION=\"400\"", "DURATION=\"500\"");
    assert!(mortara.to_string().starts_with("CHANNEL@"), "{mortara}");
    let aecg = edit(Format::Aecg, "unit=\"uV\"", "unit=\"mmHg\"");
    assert!(aecg.reason.contains("mmHg"), "{aecg}");
    for (at, bytes, field) in [(236, "9999    ", "number of records"), (252, "300 ", "number of signals")] {
        let mut edf = make(Format::Edf, &ecg);
        edf.bytes[at..at + bytes.len()].copy_from_slice(bytes.as_bytes());
        let error = open(&edf).unwrap_err();
        assert_eq!((error.field.as_str(), error.offset), (field, at as u64), "{error}");
    }
    for (at, bytes, field) in
        [(14, &i32::MAX.to_le_bytes()[..], "number of samples"), (156, &[200, 0], "number of leads")]
    {
        let mut ishne = make(Format::Ishne, &ecg);
        ishne.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let error = open(&ishne).unwrap_err();
        assert_eq!((error.field.as_str(), error.offset), (field, at as u64), "{error}");
    }
}

#[test]
fn an_ishne_count_is_taken_per_lead_in_total_or_from_the_file_when_it_is_absent() {
    let ecg = synth::ecg(&Spec { seconds: 2.0, rate_hz: 200.0, ..Spec::normal(3) });
    for (stated, warned) in [(400_i32, false), (4_800, true), (0, true)] {
        let mut file = make(Format::Ishne, &ecg);
        file.bytes[14..18].copy_from_slice(&stated.to_le_bytes());
        let crc = specimens::crc(&file.bytes[10..522]);
        file.bytes[8..10].copy_from_slice(&crc.to_le_bytes());
        let back = open(&file).unwrap();
        assert_eq!(
            (back.rhythm.len(), back.rhythm[0].len(), back.warnings.len()),
            (12, 400, usize::from(warned)),
            "{stated}"
        );
    }
}

#[test]
fn a_gap_of_a_discontinuous_edf_cannot_ask_for_more_memory_than_it_may() {
    // two records; the second starts after almost eighty years
    let mut file = b"0       ".to_vec();
    let mut put = |text: &str, width: usize| file.extend(format!("{text:<width$}").into_bytes());
    put("X X X X", 80);
    put("Startdate X X X X", 80);
    put("05.03.24", 8);
    put("09.30.15", 8);
    put("768", 8);
    put("EDF+D", 44);
    put("2", 8);
    put("1", 8);
    put("2", 4);
    for (texts, width) in [
        (["ECG II", "EDF Annotations"], 16),
        (["", ""], 80),
        (["uV", ""], 8),
        (["-1000", "-1"], 8),
        (["1000", "1"], 8),
        (["-1000", "-32768"], 8),
        (["1000", "32767"], 8),
        (["", ""], 80),
        (["100", "15"], 8),
        (["", ""], 32),
    ] {
        texts.iter().for_each(|t| put(t, width));
    }
    for onset in ["+0\x14\x14\0", "+2500000000\x14\x14\0"] {
        file.extend([0; 200]);
        let mut list = onset.as_bytes().to_vec();
        list.resize(30, 0);
        file.extend(list);
    }
    let error = read(&file, &Hints::default()).unwrap_err();
    assert_eq!((error.kind, error.field.as_str()), (ErrorKind::Limit, "annotations"), "{error}");
}

#[test]
fn scp_leads_recorded_one_group_after_the_other_keep_their_times() {
    let ecg = ten_seconds();
    let mut file = make(Format::Scp, &ecg);
    let u32_at = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // section 0 holds ten bytes a section from byte 22 on: id, length, index
    let (length, start) = (u32_at(&file.bytes, 22 + 32) as usize, u32_at(&file.bytes, 22 + 36) as usize - 1);
    for lead in 3..6 {
        for field in [0, 4] {
            let at = start + 16 + 2 + lead * 9 + field;
            let later = u32_at(&file.bytes, at) + 1250;
            file.bytes[at..at + 4].copy_from_slice(&later.to_le_bytes());
        }
    }
    let section = specimens::crc(&file.bytes[start + 2..start + length]);
    file.bytes[start..start + 2].copy_from_slice(&section.to_le_bytes());
    let record = specimens::crc(&file.bytes[2..]);
    file.bytes[..2].copy_from_slice(&record.to_le_bytes());
    let back = open(&file).unwrap();
    let starts: Vec<f64> = back.rhythm.iter().map(|l| l.start_s).collect();
    assert_eq!(starts[..7], [0.0, 0.0, 0.0, 2.5, 2.5, 2.5, 0.0]);
    assert!(back.warnings.iter().any(|w| w.contains("different times")), "{:?}", back.warnings);
}

#[test]
fn a_dicom_object_without_preamble_reads() {
    let ecg = ten_seconds();
    let file = make(Format::Dicom, &ecg);
    for cut in [128, 132] {
        let bytes = &file.bytes[cut..];
        assert_eq!(
            sniff(&bytes[..SNIFF_BYTES.min(bytes.len())], None),
            Some(Format::Dicom),
            "without its first {cut} bytes"
        );
        assert!(apart(&ecg, &open_as(&file, bytes).unwrap(), LeadId::V6) < 1e-6);
    }
}

#[test]
fn lead_names_are_known_in_every_spelling_and_modified_leads_are_not_their_namesakes() {
    for (written, id) in [
        ("i", LeadId::I),
        ("Lead II", LeadId::II),
        ("ECG III", LeadId::III),
        ("AVR", LeadId::AVR),
        ("avl", LeadId::AVL),
        ("MDC_ECG_LEAD_aVF", LeadId::AVF),
        ("v1", LeadId::V1),
        ("EKG V6", LeadId::V6),
        ("V7", LeadId::V7),
        ("RV4", LeadId::V4R),
        ("V4R", LeadId::V4R),
        ("MLII", LeadId::Other),
        ("CM5", LeadId::Other),
        ("V10", LeadId::Other),
        ("", LeadId::Other),
    ] {
        assert_eq!(LeadId::parse(written), id, "{written:?}");
    }
}
