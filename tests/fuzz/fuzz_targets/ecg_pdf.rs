//! ECG reader `pdf`: any bytes end in a record that keeps its promises, or in a named refusal.
//!
//! At start the harness proves itself: a seed must be accepted and its cut must be refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_ecg::Format;
use std::sync::Once;

static PROVED: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(|| relay_fuzz::prove(Format::Pdf));
    relay_fuzz::one(Format::Pdf, data);
});
