#![no_main]
//! The whole way: sniff, read, measure, check, draw, write.

use libfuzzer_sys::fuzz_target;
use relay_ecg::{Hints, Lead, SNIFF_BYTES, checks, draw, json, measure, read, sniff};

/// Samples beyond which a record only repeats the same code.
const MOST: usize = 200_000;

fuzz_target!(|data: &[u8]| {
    let _ = sniff(&data[..data.len().min(SNIFF_BYTES)], Some("x.ecg"));
    let Ok(ecg) = read(data, &Hints::default()) else { return };
    if ecg.rhythm.iter().map(Lead::len).sum::<usize>() > MOST {
        return;
    }
    let measured = measure::measure(&ecg);
    let found = checks::check(&ecg, &measured);
    let _ = json::document(&ecg, &measured, &found);
    let _ = draw::svg(&draw::layout(&ecg, &draw::Options::default()));
});
