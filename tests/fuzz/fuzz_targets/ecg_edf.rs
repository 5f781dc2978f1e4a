#![no_main]
//! ECG reader `edf`: any bytes end in a record or a named refusal.

use libfuzzer_sys::fuzz_target;
use relay_ecg::{Format, Hints, read};

fuzz_target!(|data: &[u8]| {
    if let Ok(ecg) = read(data, &Hints { format: Some(Format::Edf), ..Hints::default() }) {
        let _ = ecg.all_leads();
    }
});
