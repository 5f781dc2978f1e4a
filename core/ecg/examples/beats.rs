//! The beats found in a file, seconds after its start, one a line: `beats FILE` (of a WFDB record, its header).

use std::io::Write as _;
use std::path::Path;

use relay_ecg::measure::detect;
use relay_ecg::read::wfdb::companions;
use relay_ecg::{Companion, Format, Hints, read, sniff};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("beats FILE")?;
    let bytes = std::fs::read(&path)?;
    let mut near = Vec::new();
    if sniff(&bytes, Some(&path)) == Some(Format::Wfdb) {
        for name in companions(&bytes)? {
            near.push((name.clone(), std::fs::read(Path::new(&path).with_file_name(&name))?));
        }
    }
    let files: Vec<Companion<'_>> = near.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    let ecg = read(&bytes, &Hints { name: Some(&path), companions: &files, format: None })?;
    let found = detect(&ecg);
    let mut out = std::io::stdout().lock();
    for beat in found.beats {
        writeln!(out, "{:.6}", found.start_s + beat as f64 / found.rate_hz)?;
    }
    Ok(())
}
