//! The whole way: sniff, read, measure, check, draw, write.
//!
//! At start the harness proves itself: a made file of every format goes the whole way, and text does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_ecg::{Format, Hints, Lead, SNIFF_BYTES, checks, draw, json, measure, read, sniff, write};
use std::sync::Once;

/// Samples beyond which a record only repeats the same code.
const MOST: usize = 200_000;

static PROVED: Once = Once::new();

fn whole_way(data: &[u8]) -> Option<Format> {
    let _ = sniff(&data[..data.len().min(SNIFF_BYTES)], Some("x.ecg"));
    let ecg = read(data, &Hints::default()).ok()?;
    if ecg.rhythm.iter().map(Lead::len).sum::<usize>() > MOST {
        return Some(ecg.format);
    }
    let measured = measure::measure(&ecg);
    let found = checks::check(&ecg, &measured);
    let _ = json::document(&ecg, &measured, &found);
    let _ = draw::svg(&draw::layout(&ecg, &draw::Options::default()));
    let _ = write::dicom(&ecg, &write::DicomIdentity::default());
    let _ = write::scp(&ecg, &write::ScpIdentity::default());
    Some(ecg.format)
}

fn prove() {
    // a WFDB header alone is no record
    for format in relay_fuzz::specimens::FORMATS.into_iter().filter(|f| *f != Format::Wfdb) {
        assert_eq!(whole_way(&relay_fuzz::seed(format).bytes), Some(format));
    }
    assert_eq!(whole_way(b"no ECG at all"), None);
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(prove);
    let _ = whole_way(data);
});
