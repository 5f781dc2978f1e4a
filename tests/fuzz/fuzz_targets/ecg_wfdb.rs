#![no_main]
//! WFDB records: the bytes up to the first NUL are the header, the rest is every file it asks for.

use libfuzzer_sys::fuzz_target;
use relay_ecg::read::wfdb::companions;
use relay_ecg::{Companion, Format, Hints, read};

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (header, signal) = data.split_at(cut);
    let Ok(names) = companions(header) else { return };
    assert!(names.iter().all(|n| !n.contains(['/', '\\'])), "a name left the record");
    let mut files: Vec<Companion<'_>> = names.iter().map(|name| Companion { name, bytes: signal }).collect();
    files.push(Companion { name: "x.atr", bytes: signal });
    let _ = read(header, &Hints { format: Some(Format::Wfdb), companions: &files, ..Hints::default() });
});
