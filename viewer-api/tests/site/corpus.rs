//! The corpus of real radiographs, where it is there.

use relay_core::codes::Code;
use relay_core::ids::Sha256;
use std::path::PathBuf;
use viewer_api::image::pool::on_deep_stack;
use viewer_api::image::{decode, metadata, preview};

/// Peak memory of the whole test program, in kB: no file of the corpus may claim its way beyond it.
const MAX_PEAK_KB: u64 = 900_000;
const MODALITIES: [&str; 5] = ["CR", "DX", "RG", "MG", "PX"];

fn corpus() -> Option<PathBuf> {
    let dir = std::env::var_os("RELAY_CORPUS").map(PathBuf::from);
    if dir.is_none() {
        println!("skipped: RELAY_CORPUS is not set");
    }
    Some(dir?.join("dicom"))
}

fn files(dir: &std::path::Path) -> Vec<serde_json::Value> {
    let expected = std::fs::read_to_string(dir.join("expected.json")).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    expected["files"].as_array_mut().unwrap().drain(..).collect()
}

fn is_radiograph(file: &serde_json::Value) -> bool {
    let kinds = file["kinds"].as_array().unwrap();
    MODALITIES
        .iter()
        .any(|modality| kinds.iter().any(|kind| kind == &serde_json::json!(format!("mod:{modality}"))))
}

#[test]
fn every_file_whatever_it_claims_is_decoded_or_refused_by_name() {
    let Some(dir) = corpus() else { return };
    let (mut decoded, mut refused) = (0, 0);
    for file in files(&dir) {
        let name = file["file"].as_str().unwrap();
        match on_deep_stack(|| decode::frame(&dir.join("files").join(name), 1)) {
            Ok(_) => decoded += 1,
            Err(problem) => {
                refused += 1;
                let lawful = [Code::UndecodableImage, Code::RefusedTooLarge, Code::NotFound];
                assert!(
                    lawful.contains(&problem.0.code) && !problem.0.reason.is_empty(),
                    "{name}: {problem}"
                );
                assert!(!problem.0.reason.contains("the decoder failed"), "{name} made a decoder panic");
            }
        }
    }
    println!("{decoded} decoded, {refused} refused");
    assert!(decoded > 200);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    // All tests of this program run beside each other; the largest frame of the corpus takes some 100 MB.
    assert!(peak.unwrap() < MAX_PEAK_KB, "{peak:?} kB at most");
}

#[test]
fn every_radiograph_that_can_be_decoded_renders_and_lossless_pixels_are_exact() {
    let Some(dir) = corpus() else { return };
    let (mut exact, mut shown, mut refused, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for file in files(&dir).iter().filter(|file| is_radiograph(file)) {
        let name = file["file"].as_str().unwrap();
        let path = dir.join("files").join(name);
        let truth = &file["truth"];
        let frame = match on_deep_stack(|| decode::frame(&path, 1)) {
            Ok(frame) => frame,
            Err(problem) => {
                refused.push(format!("{name}: {problem}"));
                assert!(
                    [Code::UndecodableImage, Code::RefusedTooLarge].contains(&problem.0.code),
                    "{name}: {problem}"
                );
                continue;
            }
        };
        // Left-justified samples: the reference clears by BitsStored alone, PS3.5 §8.1.1 goes by HighBit.
        let usual = truth["high_bit"].as_i64() == truth["bits_stored"].as_i64().map(|bits| bits - 1);
        let whole = frame.info.frames == 1 && frame.info.samples_per_pixel == 1 && usual;
        if let (true, Some(sha256), Some("lossless")) =
            (whole, truth["pixel_sha256"].as_str(), truth["encoding_loss"].as_str())
        {
            let wide = truth["pixel_dtype"].as_str().is_some_and(|dtype| dtype.ends_with('2'));
            // The truth has unused bits cleared, or sign-extended, as the raw route gives them.
            let raw = on_deep_stack(|| Ok(decode::frame(&path, 1)?.into_raw())).unwrap();
            let bytes = if wide { raw } else { raw.iter().step_by(2).copied().collect() };
            if Sha256::of(&bytes).to_hex() == sha256 {
                exact += 1;
            } else {
                wrong.push(name.to_owned());
            }
        }
        match on_deep_stack(|| preview::jpeg(&path)) {
            Ok(jpeg) => assert!(image::load_from_memory(&jpeg).is_ok(), "{name}"),
            Err(problem) => panic!("{name} decodes but does not render: {problem}"),
        }
        shown += 1;
    }
    println!("{shown} shown, {exact} exact, {} refused:\n{}", refused.len(), refused.join("\n"));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(exact > 0 && shown > 0);
}

#[test]
fn no_file_of_the_corpus_makes_the_header_reader_panic() {
    let Some(dir) = corpus() else { return };
    let mut read = 0;
    for file in files(&dir) {
        let path = dir.join("files").join(file["file"].as_str().unwrap());
        match on_deep_stack(|| metadata::dicom_json(&path)) {
            Ok(json) => {
                assert!(json.get("7FE00010").is_none());
                read += 1;
            }
            // Some claim hundreds of megabytes in a few bytes.
            Err(problem) => {
                let lawful = [Code::UndecodableImage, Code::RefusedTooLarge];
                assert!(lawful.contains(&problem.0.code), "{problem}");
                assert!(!problem.0.reason.contains("the decoder failed"), "{problem}");
            }
        }
    }
    println!("{read} headers as DICOM JSON");
}
