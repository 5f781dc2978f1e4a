//! Every file of the DICOM corpus through admission: decision, facts and no panic.
//!
//! Runs when `RELAY_CORPUS` names a folder with `dicom/expected.json` and `dicom/files/`.

use relay_core::codes::{Code, Refusal};
use relay_core::formats::dicom::{AdmitError, DicomFacts, PixelForm, admit};
use relay_core::formats::{SNIFF_BYTES, Sniffed, sniff};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Made files whose maker calls them broken, but which hold to the rule of `formats::dicom`.
const BROKEN_BUT_LAWFUL: &[(&str, &str)] = &[
    ("d325_st_duplicate_tag.dcm", "parses; the second PatientID is noted, the first is used"),
    ("d328_st_group0_in_dataset.dcm", "parses; command elements in a data set carry nothing"),
    ("d329_st_group2_in_dataset.dcm", "parses; the first transfer syntax counts"),
    ("d349_st_vr_unknown_zz.dcm", "parses; an unknown VR has a length like any other"),
    ("d391_st_nested_2500.dcm", "parses; depth costs the walker nothing"),
];

/// Real files that are refused, with the code. All others must be accepted.
const REAL_REFUSED: &[(&str, Code)] = &[
    ("d027_ZeissOCT-cfind-query.dcm", Code::RefusedUid),
    // An element without length: what follows cannot be framed, dcmdump gives up too.
    ("d063_GH179B.dcm", Code::RefusedUnparsable),
    ("d067_bad_sequence.dcm", Code::RefusedUid),
    ("d073_GH340.dcm", Code::RefusedUid),
    ("d086_MR_truncated.dcm", Code::RefusedLength),
    ("d100_DICOMDIR.dcm", Code::RefusedUid),
    ("d101_DICOMDIR-bigEnd.dcm", Code::RefusedUid),
    ("d102_DICOMDIR-empty.dcm", Code::RefusedUid),
    ("d103_DICOMDIR-implicit.dcm", Code::RefusedUid),
    ("d104_DICOMDIR-nooffset.dcm", Code::RefusedLength),
    ("d105_DICOMDIR-reordered.dcm", Code::RefusedUid),
    ("d109_GH223.dcm", Code::RefusedUid),
    ("d110_GH626.dcm", Code::RefusedLength),
    ("d111_HTJ2KLossless_08_RGB.dcm", Code::RefusedUid),
    ("d112_HTJ2K_08_RGB.dcm", Code::RefusedUid),
    ("d115_Issue111.dcm", Code::RefusedUid),
    ("d117_Issue195-bis.dcm", Code::RefusedUid),
    ("d118_Issue195.dcm", Code::RefusedUid),
    ("d119_Issue196.dcm", Code::RefusedUid),
    ("d120_JLSL_08_07_0_1F.dcm", Code::RefusedUid),
    ("d121_JLSL_16_15_1_1F.dcm", Code::RefusedUid),
    ("d122_JLSL_RGB_ILV0.dcm", Code::RefusedUid),
    ("d123_JLSL_RGB_ILV1.dcm", Code::RefusedUid),
    ("d124_JLSL_RGB_ILV2.dcm", Code::RefusedUid),
    ("d125_JLSN_RGB_ILV0.dcm", Code::RefusedUid),
    ("d126_JPEGLSNearLossless_16.dcm", Code::RefusedUid),
    ("d130_SC_rgb_jls_lossy_sample.dcm", Code::RefusedUid),
    ("d131_UN_sequence.dcm", Code::RefusedUid),
    ("d133_chrSQEncoding.dcm", Code::RefusedUid),
    ("d134_empty_charset_LEI.dcm", Code::RefusedUid),
    ("d137_nested_priv_SQ.dcm", Code::RefusedUid),
    ("d138_no_meta_group_length.dcm", Code::RefusedUid),
    ("d139_no_preamble_dicm_in_data.dcm", Code::RefusedUid),
    ("d141_2026-05-26-oob-monochrome-46341.dcm", Code::RefusedPixelData),
    ("d204_rtplan_truncated.dcm", Code::RefusedLength),
];

struct Entry {
    file: String,
    real: bool,
    class: String,
    what: String,
    name_intended: Option<String>,
    truth: BTreeMap<String, Value>,
}

impl Entry {
    fn text(&self, key: &str) -> Option<&str> {
        self.truth.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.truth.get(key).and_then(Value::as_u64)
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn corpus() -> Option<(PathBuf, Vec<Entry>)> {
    let Some(dir) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return None;
    };
    let dir = Path::new(&dir).join("dicom");
    let json: Value =
        serde_json::from_slice(&std::fs::read(dir.join("expected.json")).expect("the corpus is readable"))
            .expect("the corpus is readable");
    let string = |v: &Value, key: &str| v[key].as_str().map(str::to_owned);
    let entries = json["files"].as_array().expect("the corpus is readable").iter().map(|e| Entry {
        file: string(e, "file").expect("the corpus is readable"),
        real: e["real"].as_bool().expect("the corpus is readable"),
        class: string(e, "class").unwrap_or_default(),
        what: string(e, "what").unwrap_or_default(),
        name_intended: string(e, "patient_name_intended"),
        truth: e["truth"].as_object().expect("the corpus is readable").clone().into_iter().collect(),
    });
    Some((dir.join("files"), entries.collect()))
}

fn decide(path: &Path) -> Result<DicomFacts, Refusal> {
    admit(File::open(path).expect("the corpus is readable")).map_err(|error| match error {
        AdmitError::Refused(refusal) => refusal,
        AdmitError::Io(error) => panic!("{}: {error}", path.display()),
    })
}

#[test]
fn every_file_is_decided_by_the_rule() {
    let Some((files, entries)) = corpus() else { return };
    let mut wrong = Vec::new();
    let mut count = BTreeMap::new();
    for entry in &entries {
        let decision = decide(&files.join(&entry.file));
        let lawful = BROKEN_BUT_LAWFUL.iter().find(|(file, _)| *file == entry.file);
        let expected_code = REAL_REFUSED.iter().find(|(file, _)| *file == entry.file).map(|(_, code)| *code);
        let good = match &decision {
            Ok(_) => expected_code.is_none() && (entry.class != "broken" || lawful.is_some()),
            Err(refusal) if entry.real => expected_code == Some(refusal.code),
            Err(_) => entry.class == "broken" && lawful.is_none(),
        };
        let (word, why) = match &decision {
            Ok(facts) => ("accepted".to_owned(), format!("{:?}", facts.notes)),
            Err(r) => (r.code.name().to_owned(), format!("{}: {}", r.field, r.reason)),
        };
        *count.entry(word.clone()).or_insert(0u32) += 1;
        let class = if entry.real { "real" } else { &entry.class };
        let line = format!("{:<58} {class:<6} {word:<20} {why} [{}]", entry.file, entry.what);
        println!("{line}");
        if !good {
            wrong.push(line);
        }
    }
    println!("{count:?} of {}", entries.len());
    assert!(wrong.is_empty(), "{} decisions are not by the rule:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn facts_of_accepted_files_agree_with_the_truth() {
    let Some((files, entries)) = corpus() else { return };
    let mut wrong = Vec::new();
    for entry in entries {
        let Ok(facts) = decide(&files.join(&entry.file)) else { continue };
        let mut compare = |what: &str, ours: Option<String>, truth: Option<String>| {
            if truth.is_some() && ours != truth {
                wrong.push(format!("{}: {what}: {ours:?}, truth {truth:?}", entry.file));
            }
        };
        let text = |key: &str| entry.text(key).map(str::to_owned);
        compare("transfer syntax", Some(facts.transfer_syntax.clone()), text("transfer_syntax"));
        compare("SOP class", Some(facts.sop_class.clone()), text("sop_class_uid"));
        compare("SOP instance", Some(facts.sop_instance_uid.to_string()), text("sop_instance_uid"));
        compare("study", Some(facts.study_uid.to_string()), text("study_instance_uid"));
        compare("series", Some(facts.series_uid.to_string()), text("series_instance_uid"));
        compare("modality", facts.modality.clone(), text("modality"));
        compare("rows", facts.rows.map(|n| n.to_string()), entry.number("rows").map(|n| n.to_string()));
        compare(
            "columns",
            facts.columns.map(|n| n.to_string()),
            entry.number("columns").map(|n| n.to_string()),
        );
        compare(
            "bits",
            facts.bits_stored.map(|n| n.to_string()),
            entry.number("bits_stored").map(|n| n.to_string()),
        );
        compare("photometric", facts.photometric.clone(), text("photometric"));
        let name = entry.name_intended.clone().or_else(|| text("patient_name"));
        compare("patient name", facts.patient_name.clone(), name);
        let length = match facts.pixels {
            PixelForm::None => 0,
            PixelForm::Native { length, .. } => length,
            PixelForm::Encapsulated { length, .. } => length,
        };
        // The reference reader stops early in files it cannot read whole.
        let read_whole = entry.text("pydicom") == Some("ok") && entry.number("dcmdump_exit") == Some(0);
        let has_truth = entry.text("pixel_element").is_some();
        if has_truth != (length > 0) && (has_truth || read_whole) {
            wrong.push(format!(
                "{}: pixels {:?}, truth {:?}",
                entry.file,
                facts.pixels,
                entry.text("pixel_element")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} facts differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn sniffing_agrees_with_admission() {
    let Some((files, entries)) = corpus() else { return };
    for entry in entries {
        let mut head = Vec::new();
        File::open(files.join(&entry.file)).unwrap().take(SNIFF_BYTES as u64).read_to_end(&mut head).unwrap();
        let is_dicom = matches!(sniff(&head), Sniffed::Dicom | Sniffed::DicomNoPreamble);
        let foreign = matches!(decide(&files.join(&entry.file)), Err(r) if r.code == Code::RefusedFormat);
        assert_eq!(is_dicom, !foreign, "{}", entry.file);
    }
}

#[test]
fn every_prefix_of_a_small_file_is_decided_without_panic() {
    let Some((files, entries)) = corpus() else { return };
    for entry in entries.iter().filter(|e| e.number("size").is_some_and(|n| n < 3_000)) {
        let whole = std::fs::read(files.join(&entry.file)).unwrap();
        for end in 0..whole.len() {
            let _ = admit(std::io::Cursor::new(&whole[..end]));
        }
    }
}
