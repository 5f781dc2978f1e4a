#![no_main]
//! ECG reader `mortara`: any bytes end in a record or a named refusal.

use libfuzzer_sys::fuzz_target;
use relay_ecg::{Format, Hints, read};

fuzz_target!(|data: &[u8]| {
    if let Ok(ecg) = read(data, &Hints { format: Some(Format::Mortara), ..Hints::default() }) {
        let _ = ecg.all_leads();
    }
});
