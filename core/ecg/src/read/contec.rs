//! Contec `.ECG` (ECG90A and its kin): 43-byte head, eight interleaved 16-bit series, 37-byte tail. The format has no signature;
//! its head is recognised by the case number and the time at fixed places.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Lead, LeadId, Samples};
use crate::limits::MAX_SAMPLES;
use crate::model::{Acquired, Ecg};
use crate::text;
use crate::view::View;

const HEAD: usize = 43;
const TAIL: usize = 37;
/// II, III, V1-V6.
const SERIES: usize = 8;
/// Stored value of "electrode off".
const OFF: u16 = 0x6800;
/// Stored value of 0 µV.
const ZERO: i32 = 2048;
const UV_PER_UNIT: f64 = 5.0;
const RATE_HZ: f64 = 800.0;

/// Case number, then `YYYY-MM-DD hh:mm:ss` at byte 10.
pub(crate) fn looks_like(head: &[u8], extension: &str) -> bool {
    let Some(stamp) = head.get(10..29) else { return false };
    let pattern = b"dddd-dd-dd dd:dd:dd";
    let fits = stamp.iter().zip(pattern).all(|(b, p)| if *p == b'd' { b.is_ascii_digit() } else { b == p });
    let case = head[..8].iter().all(|b| b.is_ascii_alphanumeric() || *b == 0);
    fits && case && (extension.is_empty() || extension == "ecg")
}

/// Reads a Contec file.
///
/// # Errors
/// A length that is no whole number of rows.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Contec);
    let body = bytes.len().checked_sub(HEAD + TAIL);
    let body = body.ok_or_else(|| {
        view.error(
            ErrorKind::Truncated,
            "file",
            0,
            format!("{} bytes are less than head and tail", bytes.len()),
        )
    })?;
    if body % (SERIES * 2) != 0 || body / 2 > MAX_SAMPLES {
        return Err(view.error(
            ErrorKind::Truncated,
            "samples",
            HEAD,
            format!("{body} bytes are no whole number of 16-byte rows"),
        ));
    }
    let rows = body / (SERIES * 2);
    let data = view.slice(HEAD, body, "samples")?;
    let words = data.as_chunks::<2>().0;
    let stored = |row: usize, series: usize| {
        words
            .get(row * SERIES + series)
            .map(|w| u16::from_le_bytes(*w))
            .filter(|w| *w != OFF)
            .map(|w| i32::from(w) - ZERO)
    };
    let mut ecg = Ecg::new(Format::Contec);
    // Half units, so that the augmented leads are exact.
    let mut add = |id: LeadId, value: &dyn Fn(usize) -> Option<i32>| {
        let values = (0..rows).map(|row| value(row).unwrap_or(i32::MIN)).collect();
        let mut lead = Lead::new(id.name(), RATE_HZ, Samples::I32(values), UV_PER_UNIT / 2.0);
        lead.missing = Some(i32::MIN);
        ecg.rhythm.push(lead);
    };
    let two = |row: usize| stored(row, 0);
    let three = |row: usize| stored(row, 1);
    let both = |row: usize| two(row).zip(three(row));
    add(LeadId::I, &|row| both(row).map(|(b, c)| 2 * (b - c)));
    add(LeadId::II, &|row| two(row).map(|b| 2 * b));
    add(LeadId::III, &|row| three(row).map(|c| 2 * c));
    add(LeadId::AVR, &|row| both(row).map(|(b, c)| c - 2 * b));
    add(LeadId::AVL, &|row| both(row).map(|(b, c)| b - 2 * c));
    add(LeadId::AVF, &|row| both(row).map(|(b, c)| b + c));
    for (n, id) in
        [LeadId::V1, LeadId::V2, LeadId::V3, LeadId::V4, LeadId::V5, LeadId::V6].into_iter().enumerate()
    {
        add(id, &|row| stored(row, n + 2).map(|v| 2 * v));
    }
    facts(&view, &mut ecg)?;
    for lead in &ecg.rhythm {
        if lead.missing_count() == lead.len() && rows > 0 {
            ecg.warnings.push(format!("electrode of lead {} was off", lead.name()));
        }
    }
    Ok(ecg)
}

fn facts(view: &View<'_>, ecg: &mut Ecg) -> Result<(), ReadError> {
    let zero_ended = |raw: &[u8]| text::eight_bit(raw.split(|b| *b == 0).next().unwrap_or(&[]));
    let filled = |t: String| Some(t).filter(|t| !t.is_empty());
    let stamp = zero_ended(view.slice(10, 20, "time")?);
    let (local, _) = text::iso_time(&stamp);
    ecg.acquired =
        filled(stamp).map(|text| Acquired { text, source: "head, byte 10".into(), local, offset_min: None });
    ecg.patient.name = filled(zero_ended(view.slice(32, 8, "name")?));
    ecg.patient.sex = match view.u8(40, "sex")? {
        0 => Some("F".into()),
        1 => Some("M".into()),
        _ => None,
    };
    ecg.patient.age = Some(view.u8(41, "age")?).filter(|a| *a > 0).map(|a| a.to_string());
    ecg.patient.id = filled(zero_ended(view.slice(0, 8, "case number")?));
    ecg.device.manufacturer = Some("Contec".into());
    Ok(())
}
