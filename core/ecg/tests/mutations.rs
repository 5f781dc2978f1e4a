//! Damaged copies of every corpus file: nothing may panic. Needs `RELAY_CORPUS=DIR` with `DIR/ecg`; `RELAY_ECG_MUTATIONS` sets how many a file.

use std::path::PathBuf;

use relay_ecg::synth::Random;
use relay_ecg::{Companion, Hints, SNIFF_BYTES, checks, draw, json, measure, read, sniff};

fn whole_way(bytes: &[u8], hints: &Hints<'_>) -> bool {
    let _ = sniff(&bytes[..bytes.len().min(SNIFF_BYTES)], hints.name);
    let Ok(ecg) = read(bytes, hints) else { return false };
    // long records would only repeat the same code
    if ecg.rhythm.iter().map(relay_ecg::Lead::len).sum::<usize>() > 400_000 {
        return true;
    }
    let measured = measure::measure(&ecg);
    let found = checks::check(&ecg, &measured);
    let _ = json::document(&ecg, &measured, &found);
    let paper = draw::layout(&ecg, &draw::Options { columns_per_mm: Some(2.0), ..draw::Options::default() });
    let _ = draw::svg(&paper);
    true
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let below = |random: &mut Random, n: usize| (random.uniform() * n as f64) as usize;
    if bytes.is_empty() {
        return;
    }
    // most damage lands in the head, where the structure is
    let reach = if random.uniform() < 0.7 { bytes.len().min(4096) } else { bytes.len() };
    match below(random, 5) {
        0 => bytes.truncate(below(random, bytes.len())),
        1 => {
            for _ in 0..1 + below(random, 8) {
                let at = below(random, reach);
                bytes[at] = (random.uniform() * 256.0) as u8;
            }
        }
        2 => {
            let at = below(random, reach);
            let end = (at + 4).min(bytes.len());
            bytes[at..end].fill(if random.uniform() < 0.5 { 0xFF } else { 0x00 });
        }
        3 => {
            let (a, b) = (below(random, reach), below(random, reach));
            let piece: Vec<u8> = bytes[a.min(b)..a.max(b)].iter().copied().take(64).collect();
            bytes.splice(a..a, piece);
        }
        _ => {
            let at = below(random, reach);
            let end = (at + 1 + below(random, 32)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let Some(dir) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return;
    };
    let rounds: usize = std::env::var("RELAY_ECG_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let root = PathBuf::from(dir).join("ecg");
    let (mut tried, mut still_read) = (0, 0);
    for folder in std::fs::read_dir(&root)
        .expect("corpus")
        .flatten()
        .filter(|e| e.path().is_dir() && e.file_name() != "expected")
    {
        for file in std::fs::read_dir(folder.path()).expect("folder").flatten() {
            let original = std::fs::read(file.path()).expect("file");
            if original.len() > 1_000_000 {
                continue;
            }
            let name = file.file_name().to_string_lossy().into_owned();
            let mut random = Random::new(original.len() as u64);
            for _ in 0..rounds {
                let mut bytes = original.clone();
                for _ in 0..1 + (random.uniform() * 3.0) as usize {
                    mutate(&mut bytes, &mut random);
                }
                // the damaged file also serves as its own signal file
                let companions = ["HR06000.mat", "HR06001.mat", "JS20000.mat", "100.dat", "100.atr"]
                    .map(|name| Companion { name, bytes: &bytes });
                still_read += usize::from(whole_way(
                    &bytes,
                    &Hints { name: Some(&name), companions: &companions, format: None },
                ));
                tried += 1;
            }
        }
    }
    println!("{tried} damaged files, {still_read} of them still read");
}
