//! ISHNE Holter 1.0 (Badilini 1998): fixed head of 522 bytes, interleaved 16-bit samples. Also as a stream of constant memory.

use std::io::Read;

use super::scp::crc;
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Lead, Samples};
use crate::limits::MAX_SAMPLES;
use crate::model::{Acquired, Ecg};
use crate::text;
use crate::view::View;

/// Magic, checksum and the fixed block.
pub const HEAD_BYTES: usize = 522;
const MAX_ISHNE_LEADS: usize = 12;
/// Names of the lead codes 0 to 19.
const LEADS: [&str; 20] = [
    "unknown", "generic", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5",
    "V6", "ES", "AS", "AI",
];

/// What the head says.
#[derive(Debug, Clone)]
pub struct Head {
    /// Facts and leads, the leads without samples.
    pub ecg: Ecg,
    /// Where the samples start, bytes.
    pub data_at: usize,
    /// Samples as stated: of each lead by the standard, of all leads together by some writers.
    pub stated: usize,
}

/// Reads the head; `bytes` needs to hold it and the variable block.
///
/// # Errors
/// An annotation file, a lead count or rate out of range, a head that is cut.
pub fn head(bytes: &[u8]) -> Result<Head, ReadError> {
    let view = View::new(bytes, Format::Ishne);
    if view.slice(0, 8, "magic")? == b"ANN  1.0" {
        return Err(view.error(
            ErrorKind::NotEcg,
            "magic",
            0,
            "an ISHNE annotation file: it holds beats, not samples",
        ));
    }
    view.slice(0, HEAD_BYTES, "head")?;
    let mut ecg = Ecg::new(Format::Ishne);
    let leads = usize::from(view.u16_le(156, "number of leads")?);
    if !(1..=MAX_ISHNE_LEADS).contains(&leads) {
        return Err(view.malformed("number of leads", 156, format!("{leads} leads; 1 to 12 are defined")));
    }
    let rate = view.rate(f64::from(view.i16_le(272, "sampling rate")?), "sampling rate", 272)?;
    for n in 0..leads {
        let code = view.i16_le(158 + n * 2, "lead specification")?;
        let nanovolts = view.i16_le(206 + n * 2, "resolution")?;
        if nanovolts <= 0 {
            return Err(view.malformed(
                "resolution",
                206 + n * 2,
                format!("{nanovolts} nV for lead {}", n + 1),
            ));
        }
        let name = usize::try_from(code).ok().and_then(|c| LEADS.get(c)).copied().unwrap_or("unknown");
        ecg.rhythm.push(Lead::new(name, rate, Samples::I16(Vec::new()), f64::from(nanovolts) / 1000.0));
    }
    facts(&view, &mut ecg)?;
    let variable = usize::try_from(view.i32_le(10, "variable block length")?).unwrap_or(0);
    let data_at = usize::try_from(view.i32_le(22, "offset of the samples")?).unwrap_or(0);
    if data_at < HEAD_BYTES {
        return Err(view.malformed("offset of the samples", 22, format!("{data_at} lies inside the head")));
    }
    if let Some(block) = bytes.get(10..HEAD_BYTES.saturating_add(variable)).filter(|_| variable < 1 << 20) {
        let stored = view.u16_le(8, "checksum")?;
        let computed = crc(block);
        if stored != computed {
            ecg.warnings.push(format!("head checksum: stored {stored:04X}, computed {computed:04X}"));
        }
    }
    let stated = usize::try_from(view.i32_le(14, "number of samples")?).unwrap_or(0);
    Ok(Head { ecg, data_at, stated })
}

/// Reads a whole file.
///
/// # Errors
/// As [`head`], and samples that do not fit the stated number.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Ishne);
    let Head { mut ecg, data_at, stated } = head(bytes)?;
    let leads = ecg.rhythm.len();
    let data = bytes.get(data_at..).unwrap_or(&[]);
    let rows = data.len() / (leads * 2);
    // By the standard the count is per lead; some writers count all leads together, and a recorder that lost its power leaves 0.
    // Only an exact total is taken for one: a file that was cut must not pass as a shorter whole one.
    let count = if stated == 0 {
        ecg.warnings.push(format!("the head states no samples: {rows} a lead are there"));
        rows
    } else if stated <= rows {
        stated
    } else if stated == data.len() / 2 {
        ecg.warnings.push(format!("the head counts the samples of all {leads} leads together"));
        rows
    } else {
        let reason = format!("{stated} samples of {leads} leads stated, {rows} rows are there");
        return Err(view.error(ErrorKind::Truncated, "number of samples", 14, reason));
    };
    if count.saturating_mul(leads) > MAX_SAMPLES {
        return Err(view.limit("number of samples", 14, format!("{count} samples of {leads} leads")));
    }
    let words = data.as_chunks::<2>().0;
    for (n, lead) in ecg.rhythm.iter_mut().enumerate() {
        let own = words.iter().skip(n).step_by(leads).take(count);
        lead.samples = Samples::I16(own.map(|w| i16::from_le_bytes(*w)).collect());
        lead.missing = Some(i32::from(i16::MIN));
    }
    Ok(ecg)
}

/// A day-long record in blocks of constant memory.
#[derive(Debug)]
pub struct Stream<R> {
    source: R,
    /// Facts and leads, the leads without samples.
    pub head: Head,
    row: Vec<u8>,
    held: usize,
}

/// Rows read at once: 10 s of three leads at 1000 Hz are 60 kB.
const BLOCK_ROWS: usize = 4096;

impl<R: Read> Stream<R> {
    /// Reads the head from `source`, which stands at the start of the file.
    ///
    /// # Errors
    /// As [`head`]; a read error counts as a cut head.
    pub fn open(mut source: R) -> Result<Self, ReadError> {
        let cut = |cause: std::io::Error| {
            ReadError::new(Format::Ishne, ErrorKind::Truncated, "head", 0, cause.to_string())
        };
        let mut first = vec![0; HEAD_BYTES];
        source.read_exact(&mut first).map_err(cut)?;
        let head = head(&first)?;
        /// Bytes of head and variable block together; the block holds free text.
        const MAX_HEAD: usize = 1 << 20;
        let skip = head.data_at - HEAD_BYTES;
        if skip > MAX_HEAD {
            return Err(ReadError::new(
                Format::Ishne,
                ErrorKind::Limit,
                "offset of the samples",
                22,
                format!("{skip} bytes of text"),
            ));
        }
        std::io::copy(&mut (&mut source).take(skip as u64), &mut std::io::sink()).map_err(cut)?;
        let row = vec![0; BLOCK_ROWS * head.ecg.rhythm.len() * 2];
        Ok(Self { source, head, row, held: 0 })
    }

    /// The next block: `out[lead]` receives its samples in stored units; returns their number, 0 at the end.
    ///
    /// # Errors
    /// A read error of the source.
    pub fn next_block(&mut self, out: &mut Vec<Vec<i16>>) -> std::io::Result<usize> {
        let leads = self.head.ecg.rhythm.len();
        while self.held < self.row.len() {
            match self.source.read(&mut self.row[self.held..])? {
                0 => break,
                n => self.held += n,
            }
        }
        let rows = self.held / (leads * 2);
        out.resize(leads, Vec::new());
        let words = self.row[..rows * leads * 2].as_chunks::<2>().0;
        for (n, lead) in out.iter_mut().enumerate() {
            lead.clear();
            lead.extend(words.iter().skip(n).step_by(leads).map(|w| i16::from_le_bytes(*w)));
        }
        self.held = 0;
        Ok(rows)
    }
}

fn facts(view: &View<'_>, ecg: &mut Ecg) -> Result<(), ReadError> {
    let words = |at: usize, len: usize| {
        let raw = view.slice(at, len, "head")?;
        let text = text::eight_bit(raw.split(|b| *b == 0).next().unwrap_or(&[]));
        Ok::<_, ReadError>(Some(text).filter(|t| !t.is_empty()))
    };
    let (first, last) = (words(28, 40)?, words(68, 40)?);
    let parts: Vec<String> = [last, first].into_iter().flatten().collect();
    ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
    ecg.patient.id = words(108, 20)?;
    ecg.patient.sex = match view.u16_le(128, "sex")? {
        1 => Some("M".into()),
        2 => Some("F".into()),
        _ => None,
    };
    let triple = |at: usize| {
        Ok::<_, ReadError>((
            view.i16_le(at, "date")?,
            view.i16_le(at + 2, "date")?,
            view.i16_le(at + 4, "date")?,
        ))
    };
    let (d, m, y) = triple(132)?;
    ecg.patient.birth_date = (y > 1800).then(|| format!("{y:04}-{m:02}-{d:02}"));
    let ((d, m, y), (h, mi, s)) = (triple(138)?, triple(150)?);
    let stored = format!("{y:04}-{m:02}-{d:02}T{h:02}:{mi:02}:{s:02}");
    let (local, _) = text::iso_time(&stored);
    ecg.acquired = Some(Acquired {
        text: stored,
        source: "date and start of recording".into(),
        local,
        offset_min: None,
    });
    ecg.device.model = words(232, 40)?;
    if view.i16_le(230, "pacemaker")? > 0 {
        ecg.warnings.push("the file states a pacemaker".into());
    }
    Ok(())
}
