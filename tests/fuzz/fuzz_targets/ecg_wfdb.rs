//! WFDB records: the bytes up to the first NUL are the header, the rest is every file it asks for.
//!
//! At start the harness proves itself: a seed must be accepted, its cut and a name outside the record must be refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_ecg::read::wfdb::companions;
use relay_ecg::{Companion, Format, Hints, read};
use std::sync::Once;

static PROVED: Once = Once::new();

fn prove() {
    let seed = relay_fuzz::seed(Format::Wfdb);
    let (name, signal) = &seed.companions[0];
    let ask = |header: &[u8], signal: &[u8]| {
        let files = [Companion { name, bytes: signal }];
        read(header, &Hints { format: Some(Format::Wfdb), companions: &files, ..Hints::default() })
    };
    assert!(ask(&seed.bytes, signal).is_ok(), "the seed is accepted");
    assert!(ask(&seed.bytes, &signal[..signal.len() - 1]).is_err(), "its cut is refused");
    assert!(companions(b"r 1 500 10\n../r.dat 16 200 16 0 0 0 0 I\n").is_err(), "a name outside is refused");
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(prove);
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (header, signal) = data.split_at(cut);
    let Ok(names) = companions(header) else { return };
    assert!(names.iter().all(|n| !n.contains(['/', '\\'])), "a name left the record");
    let mut files: Vec<Companion<'_>> = names.iter().map(|name| Companion { name, bytes: signal }).collect();
    files.push(Companion { name: "x.atr", bytes: signal });
    match read(header, &Hints { format: Some(Format::Wfdb), companions: &files, ..Hints::default() }) {
        Ok(ecg) => relay_fuzz::keeps_its_promises(data, &ecg),
        Err(error) => relay_fuzz::refusal_is_named(&error),
    }
});
