//! Heal Force portable recorders (`.SCP` by name): section pointers of SCP-ECG without its signature and checksums,
//! 10-bit samples packed four to three 16-bit words, leads interleaved, beat marks in the spare bits.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Lead, Samples};
use crate::limits::MAX_SAMPLES;
use crate::model::{Acquired, DeviceMark, Ecg};
use crate::text;
use crate::view::View;

const UV_PER_UNIT: f64 = 10.0;
const RATE_HZ: f64 = 150.0;

/// A section 0 at byte 6 that points to itself, version 1.3, without the signature `SCPECG`.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    let Some(start) = head.get(6..32) else { return false };
    let own = start[2..4] == [0, 0] && start[8..10] == [13, 13] && start[10..16] == [0; 6];
    own && start[16..18] == [0, 0] && start[18..22] == start[4..8] && start[22..26] == [6, 0, 0, 0]
}

/// Reads a Heal Force record.
///
/// # Errors
/// Sections beyond the file, more than one rhythm stream, a stream that is no whole number of samples.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Healforce);
    let end = 6 + (view.u32_le(10, "section 0")? as usize).min(4096);
    let mut sections = [None; 12];
    let mut at = 22;
    while at + 10 <= end {
        let (id, len, start) = (
            usize::from(view.u16_le(at, "section 0")?),
            view.u32_le(at + 2, "section 0")?,
            view.u32_le(at + 6, "section 0")?,
        );
        if let Some(slot) = sections.get_mut(id) {
            *slot = Some((start as usize, len as usize));
        }
        at += 10;
    }
    let section = |n: usize| {
        let (start, len) = sections[n].filter(|(_, len)| *len > 16)?;
        bytes.get(start.checked_add(16)?..start.checked_add(len)?)
    };
    let need = |n: usize| {
        section(n).ok_or_else(|| {
            view.error(ErrorKind::Truncated, &format!("section {n}"), 22, "is absent or passes the file")
        })
    };
    let leads = usize::from(need(3)?.first().copied().unwrap_or(0));
    if !(1..=12).contains(&leads) {
        return Err(view.malformed("section 3", 22, format!("{leads} leads")));
    }
    let rhythm = View::new(need(6)?, Format::Healforce);
    let count = usize::from(rhythm.u16_le(6, "section 6")?);
    let packed = rhythm.slice(8, count, "section 6")?;
    if count % 6 != 0 || count > MAX_SAMPLES {
        return Err(view.malformed(
            "section 6",
            0,
            format!("{count} bytes are no whole number of packed samples"),
        ));
    }
    let mut ecg = Ecg::new(Format::Healforce);
    unpack(packed, leads, &mut ecg);
    if let Some(patient) = section(1) {
        facts(patient, &mut ecg);
    }
    ecg.device.manufacturer = Some("Heal Force".into());
    ecg.warnings.push("the device names no leads: channels are in the order of its cable".into());
    Ok(ecg)
}

/// Words 1-3 carry samples 1-3 and, in their bits 10-13, four bits each of sample 4.
fn unpack(packed: &[u8], leads: usize, ecg: &mut Ecg) {
    let mut words: Vec<u16> = Vec::with_capacity(packed.len() / 6 * 4);
    for six in packed.as_chunks::<6>().0 {
        let w = [
            u16::from_le_bytes([six[0], six[1]]),
            u16::from_le_bytes([six[2], six[3]]),
            u16::from_le_bytes([six[4], six[5]]),
        ];
        words.extend(w);
        words.push((w[0] & 0x3C00) >> 2 | (w[1] & 0x3C00) >> 6 | (w[2] & 0x3C00) >> 10);
    }
    // bits 8-9 say which of the ranges -512, -256, 0, 256 the low byte counts from
    let value = |w: u16| (i32::from(w >> 8 & 3) - 2) * 256 + i32::from(w & 0xFF);
    for lead in 0..leads {
        let own = words.iter().skip(lead).step_by(leads);
        let samples: Vec<i16> =
            own.map(|w| i16::try_from(value(*w)).unwrap_or(0)).take(words.len() / leads).collect();
        ecg.rhythm.push(Lead::new(&format!("ch{}", lead + 1), RATE_HZ, Samples::I16(samples), UV_PER_UNIT));
    }
    let marked = words.iter().step_by(leads).enumerate().filter(|(_, w)| **w & 0x8000 != 0);
    let marks =
        marked.map(|(n, _)| DeviceMark { what: "beat:0".into(), at_s: n as f64 / RATE_HZ, on_median: false });
    ecg.device.marks.extend(marks);
}

fn facts(section: &[u8], ecg: &mut Ecg) {
    let (mut at, mut day, mut time) = (0, None, None);
    while let Some([tag, low, high]) = section.get(at..at + 3) {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let Some(raw) = section.get(at + 3..at + 3 + len).filter(|_| len > 0) else { break };
        match tag {
            2 => ecg.patient.id = Some(text::eight_bit(raw)).filter(|t| !t.is_empty()),
            // this device writes the year high byte first
            25 => {
                day = raw
                    .get(..4)
                    .map(|d| format!("{:04}{:02}{:02}", u16::from_be_bytes([d[0], d[1]]), d[2], d[3]))
            }
            26 => time = raw.get(..3).map(|t| format!("{:02}{:02}{:02}", t[0], t[1], t[2])),
            _ => {}
        }
        at += 3 + len;
    }
    if let Some(day) = day {
        let stored = day + &time.unwrap_or_default();
        let (local, _) = text::compact_time(&stored);
        ecg.acquired =
            Some(Acquired { text: stored, source: "section 1 tags 25, 26".into(), local, offset_min: None });
    }
}
