//! `relay-agent ecg`, as a person and as a script use it.
#![expect(clippy::disallowed_methods, reason = "test files need not survive a power cut")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

#[path = "../../core/ecg/tests/specimens/mod.rs"]
mod specimens;

use relay_ecg::synth::{self, Spec};
use relay_ecg::{Ecg, Format, Samples};
use serde_json::Value;
use specimens::make;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ecg(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relay-agent")).arg("ecg").args(args).output().expect("the test can work")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a made file (and its companions) into `dir`; the path as text.
fn put(dir: &Path, format: Format, record: &Ecg) -> String {
    let file = make(format, record);
    for (name, bytes) in &file.companions {
        std::fs::write(dir.join(name), bytes).expect("the test can work");
    }
    let path = dir.join(file.name);
    std::fs::write(&path, &file.bytes).expect("the test can work");
    path.to_str().expect("the test can work").to_owned()
}

fn json(path: &str) -> Value {
    let out = ecg(&[path, "--json", "-"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{path}: {}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("the test can work")
}

/// Exit 1, nothing on standard output, one line `FILE: FIELD@OFFSET: reason` on standard error.
fn refused(path: &str, args: &[&str]) -> String {
    let out = ecg(&[&[path], args].concat());
    let line = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{path}: {line}");
    assert!(out.stdout.is_empty(), "{path}: {}", text(&out.stdout));
    assert_eq!(line.lines().count(), 1, "{line}");
    let rest = line.strip_prefix(&format!("{path}: ")).unwrap_or_else(|| panic!("{line}"));
    let (place, reason) = rest.split_once(": ").unwrap_or_else(|| panic!("{line}"));
    let (field, offset) = place.rsplit_once('@').unwrap_or_else(|| panic!("{line}"));
    assert!(!field.is_empty() && !reason.trim().is_empty() && offset.parse::<u64>().is_ok(), "{line}");
    line
}

#[test]
fn of_every_format_the_json_holds_samples_facts_measurements_and_checks() {
    let record = synth::ecg(&Spec { rate_bpm: 60.0, ..Spec::normal(4) });
    for format in specimens::FORMATS.into_iter().filter(|f| *f != Format::Pdf) {
        let dir = tempfile::tempdir().unwrap();
        let document = json(&put(dir.path(), format, &record));
        assert_eq!(document["format"], format.name());
        for key in ["leads", "derived", "median", "checks"] {
            assert!(document[key].is_array(), "{format}: {key}");
        }
        let lead = &document["leads"][0];
        assert_eq!(
            lead["n"].as_u64().unwrap() as usize,
            lead["samples"].as_array().unwrap().len(),
            "{format}"
        );
        assert_eq!(lead["unit"], "uV");
        assert!(lead["rate_hz"].as_f64().unwrap() > 0.0);
        let measured = &document["measured"];
        for key in ["rate_bpm", "rr_ms", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "axis_deg", "st_uv"] {
            assert!(measured.get(key).is_some(), "{format}: {key}");
        }
        // Contec and Heal Force have rates of their own: the same samples take another time
        if !matches!(format, Format::Contec | Format::Healforce) {
            assert!((measured["rate_bpm"].as_f64().unwrap() - 60.0).abs() < 0.5, "{format}: {measured}");
        }
        for key in ["measurements", "statements", "filters"] {
            assert!(document["device"].get(key).is_some(), "{format}: {key}");
        }
        assert!(document.get("acquired_at").is_some(), "{format}");
    }
}

#[test]
fn a_page_without_samples_is_json_too_and_is_handed_out_but_not_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Pdf, &specimens::record());
    let document = json(&path);
    assert_eq!((&document["format"], document["leads"].as_array().unwrap().len()), (&"pdf".into(), 0));
    assert_eq!(document["measured"]["rate_bpm"], Value::Null);
    assert_eq!(ecg(&[&path, "--pdf", "-"]).stdout, std::fs::read(&path).unwrap());
    for out in ["--svg", "--dicom", "--scp"] {
        assert!(refused(&path, &[out, "-"]).contains("document@0"), "{out}");
    }
}

#[test]
fn what_is_handed_on_reads_back_to_the_same_microvolts() {
    let dir = tempfile::tempdir().unwrap();
    let first = put(dir.path(), Format::Muse, &synth::ecg(&Spec::inferior_stemi(4)));
    let source = json(&first);
    for (flag, name) in [("--dicom", "a.dcm"), ("--scp", "a.scp")] {
        let path = dir.path().join(name);
        let out = ecg(&[&first, flag, path.to_str().unwrap()]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let back = json(path.to_str().unwrap());
        assert_eq!(back["acquired_at"], source["acquired_at"]);
        for lead in source["leads"].as_array().unwrap() {
            let same = back["leads"].as_array().unwrap().iter().find(|l| l["name"] == lead["name"]).unwrap();
            for (a, b) in same["samples"].as_array().unwrap().iter().zip(lead["samples"].as_array().unwrap())
            {
                assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-6, "{name} {}", lead["name"]);
            }
        }
        // the same file gives the same bytes
        assert_eq!(ecg(&[&first, flag, "-"]).stdout, std::fs::read(&path).unwrap(), "{name}");
    }
}

#[test]
fn a_record_without_a_time_is_handed_on_with_the_time_still_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Wfdb, &synth::ecg(&Spec::normal(4)));
    assert_eq!(json(&path)["acquired_at"], Value::Null);
    for (flag, name) in [("--dicom", "a.dcm"), ("--scp", "a.scp")] {
        let made = dir.path().join(name);
        let out = ecg(&[&path, flag, made.to_str().unwrap()]);
        assert!(out.status.success() && text(&out.stderr).contains("1900-01-01"), "{}", text(&out.stderr));
        assert_eq!(json(made.to_str().unwrap())["acquired_at"], Value::Null, "{name}");
    }
}

#[test]
fn only_the_document_goes_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Aecg, &synth::ecg(&Spec::normal(4)));
    for (flag, magic) in [("--svg", &b"<svg"[..]), ("--pdf", b"%PDF-"), ("--json", b"{\"format\":\"aecg\"")] {
        let out = ecg(&[&path, flag, "-"]);
        assert!(out.status.success() && out.stderr.is_empty(), "{flag}: {}", text(&out.stderr));
        assert!(out.stdout.starts_with(magic), "{flag}: {}", text(&out.stdout[..20]));
    }
    let two = ecg(&[&path, "--svg", "-", "--json", "-"]);
    assert!(!two.status.success() && two.stdout.is_empty());
}

#[test]
fn the_patients_chinese_name_stands_on_the_pdf() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Dicom, &synth::ecg(&Spec::normal(4)));
    let paper = dir.path().join("paper.pdf");
    assert!(ecg(&[&path, "--pdf", paper.to_str().unwrap()]).status.success());
    let tool =
        |name: &str| Command::new(name).arg(&paper).args((name == "pdftotext").then_some("-")).output();
    let (Ok(words), Ok(fonts)) = (tool("pdftotext"), tool("pdffonts")) else {
        return println!("skipped: poppler is not installed");
    };
    if !Path::new("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc").is_file() {
        return println!("skipped: this machine has no Chinese font");
    }
    assert!(text(&fonts.stdout).contains("Type 3"), "{}", text(&fonts.stdout));
    assert!(text(&words.stdout).contains("张三"), "{}", text(&words.stdout));
}

#[test]
fn a_refusal_is_one_line_with_field_offset_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    refused(dir.path().join("absent.scp").to_str().unwrap(), &[]);
    refused(&file("empty.scp", b""), &["--json", "-"]);
    refused(&file("junk.bin", b"neither this nor that"), &["--svg", "-"]);
    // a name with a line end is still told on one line
    let out = ecg(&[&file("line\nbreak.xml", b"<AnnotatedECG>")]);
    assert_eq!((out.status.code(), text(&out.stderr).lines().count()), (Some(1), 1), "{}", text(&out.stderr));
}

#[test]
fn a_cut_file_of_every_format_is_refused_in_one_line() {
    let record = specimens::record();
    for format in specimens::FORMATS.into_iter().filter(|f| *f != Format::Wfdb) {
        let dir = tempfile::tempdir().unwrap();
        let path = put(dir.path(), format, &record);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
        refused(&path, &["--json", "-"]);
    }
}

#[test]
fn exchanged_arms_are_told_before_sending_and_the_machines_word_is_unconfirmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = synth::ecg(&Spec::normal(8));
    let old = record.rhythm.clone();
    record.rhythm[0].samples = Samples::narrowest(old[0].samples.iter().map(|v| -v).collect());
    (record.rhythm[1].samples, record.rhythm[2].samples) = (old[2].samples.clone(), old[1].samples.clone());
    (record.rhythm[3].samples, record.rhythm[4].samples) = (old[4].samples.clone(), old[3].samples.clone());
    record.device.statements.push("normal ECG".into());
    let out = text(&ecg(&[&put(dir.path(), Format::Dicom, &record)]).stdout);
    assert!(out.contains("LIMB_REVERSAL") && out.contains("怀疑左右手电极接反"), "{out}");
    let said = relay_agent::ecg::warnings(&dir.path().join("made.dcm")).join("\n");
    assert!(said.contains("LIMB_REVERSAL") && said.contains("请重新采集"), "what send says first: {said}");
    let claim = out.lines().find(|l| l.contains("normal ECG")).unwrap();
    assert!(claim.contains("未经确认") && claim.contains("unconfirmed"), "{claim}");
}

#[test]
fn a_folder_is_gone_through_and_one_bad_file_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    let record = synth::ecg(&Spec::normal(4));
    put(&folder, Format::Scp, &record);
    put(&folder, Format::Dicom, &record);
    put(&folder.join("deep"), Format::Wfdb, &record);
    std::fs::write(folder.join("broken.scp"), b"nothing").unwrap();
    let run =
        ecg(&[folder.to_str().unwrap(), "--svg", out.to_str().unwrap(), "--json", out.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    for name in ["made.scp.svg", "made.scp.json", "made.dcm.svg", "deep/made.hea.json"] {
        assert!(out.join(name).is_file(), "{name}: {}", text(&run.stderr));
    }
    // the signal file of the record is a part of it, no file of its own
    assert_eq!(text(&run.stdout).lines().count(), 3, "{}", text(&run.stdout));
    assert!(text(&run.stderr).contains("broken.scp: file@0: "), "{}", text(&run.stderr));
    let lines = ecg(&[folder.to_str().unwrap(), "--json", "-"]);
    assert_eq!(text(&lines.stdout).lines().filter(|l| serde_json::from_str::<Value>(l).is_ok()).count(), 3);
}

#[cfg(unix)]
#[test]
fn a_signal_file_that_leads_out_of_the_record_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Wfdb, &synth::ecg(&Spec::normal(4)));
    let (inside, outside) = (dir.path().join("made.dat"), dir.path().join("elsewhere"));
    std::fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &inside).unwrap();
    assert!(refused(&path, &["--json", "-"]).contains("made.dat"));
    std::fs::write(&path, "made 1 500 10\n../elsewhere 16 200 16 0 0 0 0 I\n").unwrap();
    assert!(refused(&path, &["--json", "-"]).contains("points outside"));
    let part = refused(outside.with_file_name("made.dat").to_str().unwrap(), &[]);
    assert!(part.contains("made.hea"), "{part}");
}

#[test]
fn wrong_options_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), Format::Dicom, &synth::ecg(&Spec::normal(4)));
    for args in
        [["--speed", "30"], ["--gain", "0"], ["--layout", "5x5"], ["--rhythm", "Q"], ["--start", "-1"]]
    {
        let out = ecg(&[&path, args[0], args[1], "--svg", "-"]);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(text(&out.stderr).contains(args[0]), "{args:?}: {}", text(&out.stderr));
    }
    assert!(refused(&path, &["--start", "11", "--svg", "-"]).contains("start@0"));
}

fn corpus() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return None;
    };
    Some(PathBuf::from(root).join("ecg"))
}

fn same_lead(file: &str, got: &Value, want: &Value, tolerance: f64) {
    let near = |what: &str, a: f64, b: f64| {
        assert!((a - b).abs() <= tolerance, "{file} {}: {what} {a}, not {b}", want["name"])
    };
    assert_eq!(got["name"], want["name"], "{file}");
    assert_eq!(got["n"], want["n_samples"], "{file} {}", want["name"]);
    near(
        "rate",
        got["rate_hz"].as_f64().expect("the test can work"),
        want["sampling_rate_hz"].as_f64().expect("the test can work"),
    );
    let samples = got["samples"].as_array().expect("the test can work");
    let missing = samples.iter().filter(|v| v.is_null()).count() as u64;
    assert_eq!(Some(missing), want["n_missing"].as_u64(), "{file} {}", want["name"]);
    for (n, value) in want["first10"].as_array().expect("the test can work").iter().enumerate() {
        assert_eq!(samples[n].is_null(), value.is_null(), "{file} {}: sample {n}", want["name"]);
        if let Some(v) = value.as_f64() {
            near("sample", samples[n].as_f64().expect("the test can work"), v);
        }
    }
    for (at, value) in want["spot"].as_object().into_iter().flatten() {
        if let Some(v) = value.as_f64() {
            near(
                at,
                samples[at.parse::<usize>().expect("the test can work")].as_f64().expect("the test can work"),
                v,
            );
        }
    }
}

#[test]
fn the_json_of_every_corpus_file_is_its_ground_truth_and_broken_ones_are_refused_in_one_line() {
    let Some(root) = corpus() else { return };
    let (mut read, mut broken) = (0, 0);
    for entry in std::fs::read_dir(root.join("expected")).unwrap().flatten() {
        let want: Value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
        let file = want["file"].as_str().unwrap();
        let path = root.join(file).to_str().unwrap().to_owned();
        if want["expected_result"] == "error" {
            println!("{}", refused(&path, &["--json", "-"]).trim_end());
            broken += 1;
            continue;
        }
        let got = json(&path);
        let tolerance = if file.contains("contec_ecg90a") { 2.5 } else { 6e-5 };
        for (key, truth) in [("leads", "leads"), ("derived", "derived_leads"), ("median", "median_beats")] {
            let Some(truth) = want[truth].as_array().filter(|t| key == "leads" || !t.is_empty()) else {
                continue;
            };
            let own = got[key].as_array().unwrap();
            assert_eq!(own.len(), truth.len(), "{file} {key}");
            own.iter().zip(truth).for_each(|(g, w)| same_lead(file, g, w, tolerance));
        }
        read += 1;
    }
    println!("{read} read, {broken} refused");
    assert!(read > 30 && broken > 3);
}
