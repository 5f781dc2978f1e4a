//! SCP-ECG (EN 1064, versions 1.3 to 3.0): sections 0 to 11, Huffman and difference coding, reference beat subtraction.
//!
//! Bimodal compression is refused: no independent reader could confirm it, and a wrong sample is worse than none.

mod facts;
mod huffman;
mod signal;

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::model::Ecg;
use crate::view::View;
use huffman::Tables;

/// Bytes of the record header: CRC and length.
const RECORD_HEADER: usize = 6;
/// Bytes of a section identification header.
const SECTION_HEADER: usize = 16;
/// Sections this reader follows.
const SECTIONS: usize = 12;

/// The record starts with a section 0 that says `SCPECG` (version 1.3 and later).
pub(crate) fn looks_like(head: &[u8]) -> bool {
    head.get(16..22) == Some(b"SCPECG") && head.get(8..10) == Some(&[0, 0])
}

/// CRC-CCITT, polynomial 0x1021, start 0xFFFF (EN 1064 5.2.1).
pub(crate) fn crc(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let (mut table, mut n) = ([0; 256], 0);
        while n < 256 {
            let (mut x, mut bit) = ((n as u16) << 8, 0);
            while bit < 8 {
                x = if x & 0x8000 == 0 { x << 1 } else { x << 1 ^ 0x1021 };
                bit += 1;
            }
            table[n] = x;
            n += 1;
        }
        table
    };
    bytes.iter().fold(0xFFFF_u16, |crc, byte| crc << 8 ^ TABLE[usize::from(crc.to_be_bytes()[0] ^ byte)])
}

/// Where a section's data stand: after its header, to its end.
#[derive(Debug, Clone, Copy, Default)]
struct Section {
    start: usize,
    end: usize,
}

/// Reads an SCP-ECG record.
///
/// # Errors
/// Wrong CRC of a section that holds samples, sections beyond the file, bimodal compression, sample counts that do not fit.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Scp);
    if bytes.is_empty() {
        return Err(view.error(ErrorKind::Truncated, "file", 0, "zero bytes"));
    }
    let mut ecg = Ecg::new(Format::Scp);
    let declared = view.u32_le(2, "record length")? as usize;
    if declared > view.len() {
        let reason = format!("{declared} bytes declared, {} are there", view.len());
        return Err(view.error(ErrorKind::Truncated, "record length", 2, reason));
    }
    let sections = pointers(&view)?;
    check_crcs(&view, declared, &sections, &mut ecg)?;
    let version = view.u8(sections[0].start - SECTION_HEADER + 8, "section 0 version")?;
    ecg.variant = format!("{}.{}", version / 10, version % 10);
    let get = |n: usize| sections.get(n).copied().filter(|s| s.start < s.end);
    if let Some(s) = get(1) {
        facts::patient_and_device(&view, s, &mut ecg)?;
    }
    let tables = get(2).map(|s| Tables::read(&view, s.start, s.end)).transpose()?;
    let leads = get(3).ok_or_else(|| view.malformed("section 3", 0, "is absent: no lead is defined"))?;
    let layout = signal::Layout::read(&view, leads, get(4))?;
    if let Some(s) = get(5) {
        ecg.median = signal::reference_beat(&view, s, &layout, tables.as_ref())?;
    }
    let rhythm = get(6).ok_or_else(|| {
        view.error(ErrorKind::NotEcg, "section 6", 0, "is absent: the record has no rhythm")
    })?;
    ecg.rhythm = signal::rhythm(&view, rhythm, &layout, tables.as_ref(), &ecg.median, &mut ecg.warnings)?;
    if let Some(s) = get(7) {
        facts::global_measurements(&view, s, &mut ecg);
    }
    for number in [8, 11] {
        if let Some(s) = get(number) {
            facts::statements(&view, s, number, &mut ecg);
        }
    }
    if let Some(s) = get(10) {
        facts::lead_measurements(&view, s, &mut ecg);
    }
    layout.marks(&mut ecg);
    Ok(ecg)
}

/// Section 0: identification, length and place of every section.
fn pointers(view: &View<'_>) -> Result<[Section; SECTIONS], ReadError> {
    let length = view.u32_le(RECORD_HEADER + 4, "section 0 length")? as usize;
    let end = RECORD_HEADER + length.min(view.len());
    if length < SECTION_HEADER || end > view.len() {
        return Err(view.malformed(
            "section 0 length",
            RECORD_HEADER + 4,
            format!("{length} bytes do not fit the record"),
        ));
    }
    let mut sections = [Section::default(); SECTIONS];
    sections[0] = Section { start: RECORD_HEADER + SECTION_HEADER, end };
    let mut at = RECORD_HEADER + SECTION_HEADER;
    while at + 10 <= end {
        let (id, len, index) = (
            view.u16_le(at, "section 0")?,
            view.u32_le(at + 2, "section 0")? as usize,
            view.u32_le(at + 6, "section 0")? as usize,
        );
        if id > 0 && usize::from(id) < SECTIONS && len > SECTION_HEADER && index > 0 {
            let start = index - 1;
            let name = format!("section {id}");
            let stop = start.checked_add(len).filter(|e| *e <= view.len());
            let stop = stop.ok_or_else(|| {
                view.error(
                    ErrorKind::Truncated,
                    &name,
                    at,
                    format!("{len} bytes at {start} pass the end of the file"),
                )
            })?;
            if view.u16_le(start + 2, &name)? != id {
                return Err(view.malformed(
                    &name,
                    start + 2,
                    format!("its header says section {}", view.u16_le(start + 2, &name)?),
                ));
            }
            sections[usize::from(id)] = Section { start: start + SECTION_HEADER, end: stop };
        }
        at += 10;
    }
    Ok(sections)
}

/// Refuses a record whose sample-bearing sections fail their CRC; a CRC stored as 0 counts as "not computed" and is shown.
fn check_crcs(
    view: &View<'_>,
    declared: usize,
    sections: &[Section],
    ecg: &mut Ecg,
) -> Result<(), ReadError> {
    for (number, section) in sections.iter().enumerate().skip(1).filter(|(_, s)| s.end > s.start) {
        let header = section.start - SECTION_HEADER;
        let name = format!("section {number} CRC");
        let stored = view.u16_le(header, &name)?;
        let computed = crc(view.slice(header + 2, section.end - header - 2, &name)?);
        if stored == computed {
            continue;
        }
        if stored != 0 && (2..=6).contains(&number) {
            let reason =
                format!("stored {stored:04X}, computed {computed:04X}: the samples cannot be trusted");
            return Err(view.malformed(&name, header, reason));
        }
        ecg.warnings.push(format!("{name}: stored {stored:04X}, computed {computed:04X}"));
    }
    let stored = view.u16_le(0, "record CRC")?;
    let computed = crc(view.slice(2, declared.saturating_sub(2), "record CRC")?);
    if stored != computed {
        ecg.warnings.push(format!("record CRC: stored {stored:04X}, computed {computed:04X}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_ccitt() {
        assert_eq!(crc(b"123456789"), 0x29B1);
    }
}
