//! Every file of the corpus goes through ingest: what the header reader admits arrives byte for byte, what it refuses is
//! refused with its code, and no file stops another. Runs when `RELAY_CORPUS` names the corpus.

use super::samples::{Lab, clinic, manifest, plain};
use relay_core::formats::{Sniffed, dicom, sniff};
use relay_core::ids::{ObjectHash, StudyUid, derived_study_uid};
use relay_core::study::{Class, Manifest, ObjectKind};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn files(kind: &str) -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("RELAY_CORPUS")?;
    let mut files = Vec::new();
    let whole = PathBuf::from(root).join(kind);
    let mut dirs = vec![if whole.join("files").is_dir() { whole.join("files") } else { whole }];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if name == "expected" || name == "SOURCES.md" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Some(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_corpus_arrives_byte_exact_or_is_refused_by_code() {
    let Some(files) = files("dicom") else {
        println!("skipped: RELAY_CORPUS is not set");
        return;
    };
    let lab = Lab::new().await;
    let (mut arrived, mut refused, mut seen) = (0, 0, BTreeSet::new());
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() || !seen.insert(ObjectHash::of(&bytes)) {
            continue;
        }
        let admitted = match sniff(&bytes[..bytes.len().min(4096)]) {
            Sniffed::Dicom | Sniffed::DicomNoPreamble => Some(dicom::admit(std::io::Cursor::new(&bytes))),
            _ => None,
        };
        let uid = match &admitted {
            Some(Ok(facts)) => facts.study_uid.clone(),
            _ => derived_study_uid(&clinic("a"), &ObjectHash::of(&bytes)),
        };
        let offer = Manifest { study: uid.clone(), ..manifest(Class::Routine, vec![plain(&bytes)]) };
        lab.offer("a", &offer).await.unwrap();
        let sent = lab.send("a", &uid, &plain(&bytes), &bytes, 0..bytes.len()).await;
        match (admitted, sent) {
            (Some(Ok(_)), Ok(Some(receipt))) => {
                let kept = std::fs::read(lab.store.blobs().path_of(&receipt.hash)).unwrap();
                assert!(kept == bytes, "{}", path.display());
                arrived += 1;
            }
            (Some(Err(dicom::AdmitError::Refused(expected))), Err(found)) => {
                assert_eq!(found.code, expected.code, "{}", path.display());
                refused += 1;
            }
            (None, _) => {}
            (admitted, sent) => panic!("{}: {:?} but {sent:?}", path.display(), admitted.map(|a| a.is_ok())),
        }
    }
    println!("{arrived} arrived, {refused} refused of {} files", files.len());
    assert!(arrived > 0);
    assert_eq!(lab.number("SELECT count(*) FROM object WHERE kind = 'dicom'").await, arrived);
}

#[tokio::test(flavor = "multi_thread")]
async fn ecg_files_of_the_corpus_arrive_byte_exact() {
    let Some(files) = files("ecg") else {
        println!("skipped: RELAY_CORPUS is not set");
        return;
    };
    let lab = Lab::new().await;
    let mut arrived = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let hash = ObjectHash::of(&bytes);
        let uid = match dicom::admit(std::io::Cursor::new(&bytes)) {
            Ok(facts) => facts.study_uid,
            Err(_) => derived_study_uid(&clinic("a"), &hash),
        };
        let object = relay_core::study::ManifestObject { kind: ObjectKind::Ecg, ..plain(&bytes) };
        let offer = Manifest {
            study: StudyUid::parse(uid.as_str()).unwrap(),
            ..manifest(Class::Green, vec![object])
        };
        lab.offer("a", &offer).await.unwrap();
        match lab.send("a", &uid, &plain(&bytes), &bytes, 0..bytes.len()).await {
            Ok(_) => arrived += 1,
            Err(refusal) => println!("{}: {refusal}", path.display()),
        }
    }
    println!("{arrived} of {} files", files.len());
    assert!(arrived > 0);
}
