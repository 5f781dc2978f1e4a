//! What the ECG targets share: a made file that must be accepted, its cut that must be refused, and the promises of a reader.

use relay_ecg::limits::{MAX_LEADS, MAX_SAMPLES};
use relay_ecg::{Companion, Ecg, Format, Hints, ReadError, read};

#[path = "../../../core/ecg/tests/specimens/mod.rs"]
pub mod specimens;

use specimens::Specimen;

/// A made file of `format`.
pub fn seed(format: Format) -> Specimen {
    specimens::make(format, &specimens::record())
}

/// At start: the seed is accepted, and the seed without its last part is refused with field and reason.
///
/// # Panics
/// When a reader does otherwise.
pub fn prove(format: Format) {
    let seed = seed(format);
    let companions: Vec<Companion<'_>> =
        seed.companions.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    let hints = Hints { format: Some(format), name: Some(seed.name), companions: &companions };
    let ecg = read(&seed.bytes, &hints).unwrap_or_else(|e| panic!("the seed of {format} is refused: {e}"));
    keeps_its_promises(&seed.bytes, &ecg);
    let error = read(&seed.bytes[..seed.bytes.len() - 12], &hints).expect_err("a cut seed is refused");
    refusal_is_named(&error);
}

/// Reads `data` as `format` and holds the reader to what it promises.
///
/// # Panics
/// When it does not keep it.
pub fn one(format: Format, data: &[u8]) {
    match read(data, &Hints { format: Some(format), ..Hints::default() }) {
        Ok(ecg) => keeps_its_promises(data, &ecg),
        Err(error) => refusal_is_named(&error),
    }
}

/// Sizes within limits, scales that are numbers, something to show.
///
/// # Panics
/// When one of them does not hold.
pub fn keeps_its_promises(data: &[u8], ecg: &Ecg) {
    // the densest lawful coding (a flat lead under dictionary or deflate) unfolds about a thousandfold
    const UNFOLDS: usize = 2048;
    let samples: usize = ecg.rhythm.iter().chain(&ecg.median).map(relay_ecg::Lead::len).sum();
    assert!(
        samples <= MAX_SAMPLES * 2 && samples <= (data.len() + 1024) * UNFOLDS,
        "{samples} samples of {} bytes",
        data.len()
    );
    assert!(ecg.rhythm.len() <= MAX_LEADS, "{} leads", ecg.rhythm.len());
    for lead in &ecg.rhythm {
        assert!(lead.rate_hz.is_finite() && lead.rate_hz > 0.0, "rate {}", lead.rate_hz);
        assert!(lead.scale.is_finite() && lead.offset.is_finite(), "scale {}", lead.scale);
    }
    assert!(!ecg.rhythm.is_empty() || ecg.document.is_some(), "accepted nothing");
    let _ = ecg.all_leads();
}

/// A refusal says which field and why.
///
/// # Panics
/// When it does not.
pub fn refusal_is_named(error: &ReadError) {
    assert!(!error.reason.is_empty() && !error.field.is_empty(), "{error:?}");
}
