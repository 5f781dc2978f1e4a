//! Sections 3 to 6: which leads, reference beat, rhythm samples.

use super::Section;
use super::huffman::Tables;
use crate::error::{ErrorKind, ReadError};
use crate::lead::{Lead, LeadId, Samples};
use crate::limits::{MAX_ITEMS, MAX_LEADS, MAX_SAMPLES};
use crate::model::{DeviceMark, Ecg};
use crate::view::View;

/// A QRS of section 4, sample numbers counted from 1.
#[derive(Debug, Clone, Copy)]
struct Qrs {
    kind: u16,
    start: i64,
    fiducial: i64,
    end: i64,
}

/// Sections 3 and 4.
#[derive(Debug)]
pub(super) struct Layout {
    leads: Vec<(LeadId, u8, usize)>,
    /// Samples between the start of the record and the first one of each lead: carts that record three leads at a time.
    starts: Vec<usize>,
    subtracted: bool,
    /// Fiducial of the reference beat, counted from 1 (ECG Toolkit and others agree; one reader counts from 0).
    beat_fiducial: i64,
    /// Length of the reference beat, ms.
    beat_ms: u16,
    qrs: Vec<Qrs>,
}

impl Layout {
    pub(super) fn read(view: &View<'_>, section: Section, beats: Option<Section>) -> Result<Self, ReadError> {
        const FIELD: &str = "section 3";
        let count = usize::from(view.u8(section.start, FIELD)?);
        let flags = view.u8(section.start + 1, FIELD)?;
        if count == 0 || count > MAX_LEADS {
            return Err(view.malformed(FIELD, section.start, format!("{count} leads")));
        }
        let (mut leads, mut starts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for n in 0..count {
            let at = section.start + 2 + n * 9;
            if at + 9 > section.end {
                return Err(view.error(
                    ErrorKind::Truncated,
                    FIELD,
                    at,
                    format!("{count} leads do not fit the section"),
                ));
            }
            let (first, last) = (view.u32_le(at, FIELD)? as usize, view.u32_le(at + 4, FIELD)? as usize);
            let code = view.u8(at + 8, FIELD)?;
            let samples = last.checked_sub(first).filter(|n| *n < MAX_SAMPLES);
            let samples = samples.ok_or_else(|| {
                view.malformed(FIELD, at, format!("lead {} runs from sample {first} to {last}", n + 1))
            })?;
            // Samples count from 1; a writer that starts at 0 means the number, not the index, of the last one.
            leads.push((LeadId::from_scp(u16::from(code)), code, samples + usize::from(first > 0)));
            starts.push(first.saturating_sub(1));
        }
        let earliest = starts.iter().min().copied().unwrap_or(0);
        starts.iter_mut().for_each(|start| *start -= earliest);
        let subtracted = flags & 1 != 0;
        let mut layout = Self { leads, starts, subtracted, beat_fiducial: 0, beat_ms: 0, qrs: Vec::new() };
        if let Some(beats) = beats {
            layout.beats(view, beats)?;
        }
        if layout.subtracted && layout.qrs.is_empty() {
            return Err(view.malformed(
                "section 4",
                0,
                "reference beats are subtracted but their places are absent",
            ));
        }
        Ok(layout)
    }

    fn beats(&mut self, view: &View<'_>, section: Section) -> Result<(), ReadError> {
        const FIELD: &str = "section 4";
        self.beat_ms = view.u16_le(section.start, FIELD)?;
        self.beat_fiducial = i64::from(view.u16_le(section.start + 2, FIELD)?);
        let count = usize::from(view.u16_le(section.start + 4, FIELD)?);
        for n in 0..count.min(MAX_ITEMS) {
            let at = section.start + 6 + n * 14;
            if at + 14 > section.end {
                return Err(view.error(
                    ErrorKind::Truncated,
                    FIELD,
                    at,
                    format!("{count} QRS do not fit the section"),
                ));
            }
            let number = |offset: usize| view.u32_le(at + offset, FIELD).map(i64::from);
            self.qrs.push(Qrs {
                kind: view.u16_le(at, FIELD)?,
                start: number(2)?,
                fiducial: number(6)?,
                end: number(10)?,
            });
        }
        Ok(())
    }

    /// The cart's QRS places as marks.
    pub(super) fn marks(&self, ecg: &mut Ecg) {
        let rate = ecg.rhythm.first().map_or(0.0, |l| l.rate_hz);
        for qrs in self.qrs.iter().filter(|q| q.fiducial > 0 && rate > 0.0) {
            let at_s = (qrs.fiducial - 1) as f64 / rate;
            ecg.device.marks.push(DeviceMark { what: format!("beat:{}", qrs.kind), at_s, on_median: false });
        }
    }
}

/// The fixed head of sections 5 and 6.
struct Head {
    scale: f64,
    rate_hz: f64,
    encoding: u8,
    second: u8,
    counts: Vec<usize>,
    data: usize,
}

fn head(view: &View<'_>, section: Section, leads: usize, field: &str) -> Result<Head, ReadError> {
    let nanovolts = view.u16_le(section.start, field)?;
    let period_us = view.u16_le(section.start + 2, field)?;
    if nanovolts == 0 || period_us == 0 {
        return Err(view.malformed(
            field,
            section.start,
            format!("{nanovolts} nV per unit, {period_us} µs per sample"),
        ));
    }
    let encoding = view.u8(section.start + 4, field)?;
    if encoding > 2 {
        return Err(view.unsupported(
            field,
            section.start + 4,
            format!("encoding {encoding}; 0, 1 and 2 are defined"),
        ));
    }
    let mut counts = Vec::with_capacity(leads);
    for n in 0..leads {
        counts.push(usize::from(view.u16_le(section.start + 6 + n * 2, field)?));
    }
    let data = section.start + 6 + leads * 2;
    let total: usize = counts.iter().sum();
    if data + total > section.end {
        let reason = format!("{total} bytes of samples pass the end of the section");
        return Err(view.error(ErrorKind::Truncated, field, data, reason));
    }
    let rate = 1e6 / f64::from(period_us);
    Ok(Head {
        scale: f64::from(nanovolts) / 1000.0,
        rate_hz: rate,
        encoding,
        second: view.u8(section.start + 5, field)?,
        counts,
        data,
    })
}

/// Samples of one lead: Huffman or 16-bit words, then differences undone.
fn lead_samples(
    data: &[u8],
    encoding: u8,
    tables: Option<&Tables>,
    limit: usize,
) -> Result<Vec<i32>, String> {
    let mut values = match tables.filter(|t| !t.is_empty()) {
        Some(tables) => tables.decode(data, limit)?,
        None => data.as_chunks::<2>().0.iter().map(|b| i32::from(i16::from_le_bytes(*b))).collect(),
    };
    // EN 1064 5.8.4: first difference keeps sample 1, second difference samples 1 and 2
    match encoding {
        1 => {
            for i in 1..values.len() {
                values[i] = values[i].wrapping_add(values[i - 1]);
            }
        }
        2 => {
            for i in 2..values.len() {
                values[i] = values[i].wrapping_add(values[i - 1].wrapping_mul(2)).wrapping_sub(values[i - 2]);
            }
        }
        _ => {}
    }
    Ok(values)
}

fn name(id: LeadId, code: u8) -> String {
    if id == LeadId::Other { format!("SCP lead {code}") } else { id.name().to_owned() }
}

/// Section 5: the reference beat of every lead.
pub(super) fn reference_beat(
    view: &View<'_>,
    section: Section,
    layout: &Layout,
    tables: Option<&Tables>,
) -> Result<Vec<Lead>, ReadError> {
    const FIELD: &str = "section 5";
    /// Samples of a reference beat: 5 s at 10 kHz.
    const MAX_BEAT: usize = 50_000;
    let head = head(view, section, layout.leads.len(), FIELD)?;
    let (mut at, mut leads) = (head.data, Vec::new());
    for (&(id, code, _), &count) in layout.leads.iter().zip(&head.counts) {
        let raw = view.slice(at, count, FIELD)?;
        let values = lead_samples(raw, head.encoding, tables, MAX_BEAT)
            .map_err(|why| view.malformed(FIELD, at, why))?;
        leads.push(Lead::new(&name(id, code), head.rate_hz, Samples::narrowest(values), head.scale));
        at += count;
    }
    // Huffman data carry no sample count: padding bits may read as zeros past the beat. All leads share one length.
    let shortest = leads.iter().map(Lead::len).min().unwrap_or(0);
    let stated = (f64::from(layout.beat_ms) * head.rate_hz / 1000.0).round() as usize;
    let keep = if stated > 0 { shortest.min(stated) } else { shortest };
    for lead in &mut leads {
        if lead.len() > keep {
            let values: Vec<i32> = lead.samples.iter().take(keep).collect();
            lead.samples = Samples::narrowest(values);
        }
    }
    Ok(leads)
}

/// Section 6: the rhythm.
pub(super) fn rhythm(
    view: &View<'_>,
    section: Section,
    layout: &Layout,
    tables: Option<&Tables>,
    beat: &[Lead],
    warnings: &mut Vec<String>,
) -> Result<Vec<Lead>, ReadError> {
    const FIELD: &str = "section 6";
    let head = head(view, section, layout.leads.len(), FIELD)?;
    if head.second & 1 != 0 {
        let reason = "bimodal compression: no independent reader confirms it, so it is refused; export without bimodal compression";
        return Err(view.unsupported(FIELD, section.start + 5, reason));
    }
    let huffman = tables.is_some_and(|t| !t.is_empty());
    let (mut at, mut leads) = (head.data, Vec::new());
    for (index, (&(id, code, stated), &count)) in layout.leads.iter().zip(&head.counts).enumerate() {
        let raw = view.slice(at, count, FIELD)?;
        let mut values =
            lead_samples(raw, head.encoding, tables, stated).map_err(|why| view.malformed(FIELD, at, why))?;
        let label = name(id, code);
        if huffman && values.len() < stated {
            let reason = format!("lead {label}: {stated} samples stated, {} decoded", values.len());
            return Err(view.error(ErrorKind::Truncated, FIELD, at, reason));
        }
        if values.len() != stated {
            warnings.push(format!(
                "lead {label}: section 3 counts {stated} samples, section 6 holds {}",
                values.len()
            ));
        }
        if layout.subtracted {
            let beat = beat
                .get(index)
                .ok_or_else(|| view.malformed("section 5", 0, "reference beats are subtracted but absent"))?;
            add_beat(&mut values, beat, layout, &head)
                .map_err(|why| view.malformed(FIELD, at, format!("lead {label}: {why}")))?;
        }
        let mut lead = Lead::new(&label, head.rate_hz, Samples::narrowest(values), head.scale);
        lead.start_s = layout.starts.get(index).map_or(0.0, |start| *start as f64 / head.rate_hz);
        leads.push(lead);
        at += count;
    }
    if leads.iter().any(|l| l.start_s > 0.0) {
        warnings.push("leads start at different times".into());
    }
    Ok(leads)
}

/// Puts the reference beat back where section 4 says it was taken off (beats of type 0).
fn add_beat(values: &mut [i32], beat: &Lead, layout: &Layout, head: &Head) -> Result<(), String> {
    if beat.rate_hz.to_bits() != head.rate_hz.to_bits() {
        return Err(format!("reference beat at {} Hz, rhythm at {} Hz", beat.rate_hz, head.rate_hz));
    }
    let ratio = beat.scale / head.scale;
    if (ratio - ratio.round()).abs() > 1e-9 || ratio.round() < 1.0 {
        return Err(format!(
            "reference beat unit {} µV is no multiple of the rhythm's {} µV",
            beat.scale, head.scale
        ));
    }
    let factor = ratio.round() as i32;
    let pattern: Vec<i32> = beat.samples.iter().collect();
    for qrs in layout.qrs.iter().filter(|q| q.kind == 0 && q.start > 0) {
        let last = qrs.end.min(values.len() as i64);
        for sample in qrs.start..=last {
            let from = sample - qrs.fiducial + layout.beat_fiducial - 1;
            let add = usize::try_from(from).ok().and_then(|i| pattern.get(i));
            if let (Some(add), Some(value)) =
                (add, usize::try_from(sample - 1).ok().and_then(|i| values.get_mut(i)))
            {
                *value = value.wrapping_add(add.wrapping_mul(factor));
            }
        }
    }
    Ok(())
}
