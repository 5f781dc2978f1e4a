//! Day-long records in constant memory: the beats window by window, and any stretch as a record of its own.
//!
//! Each window is looked at with a margin on both sides, so that a beat on the seam is found once and whole.

use std::io::{self, Read};

use serde::Serialize;

use crate::lead::{Lead, Samples};
use crate::measure::detect;
use crate::model::Ecg;
use crate::read::ishne::Stream;

/// A window, s: long enough for the detector's levels, short enough to keep memory small.
const WINDOW_S: f64 = 60.0;
/// Margin on both sides, s: the detector's levels reach 4 s, its filters less.
const MARGIN_S: f64 = 8.0;
/// Longest stretch cut out, s: an hour of twelve leads at 1000 Hz is 86 MB.
pub const MAX_EXCERPT_S: f64 = 3_600.0;

/// The longest interval between two beats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pause {
    /// The beat before it, s after the start.
    pub at_s: f64,
    /// Its length, s.
    pub seconds: f64,
}

/// What a scan of the whole record shows. Estimates.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Length, s.
    pub seconds: f64,
    /// Beats found.
    pub beats: u64,
    /// Mean rate; `None` with fewer than two beats.
    pub rate_bpm: Option<f64>,
    /// Beats of each hour, the last one as far as it goes.
    pub hours: Vec<u32>,
    /// Lowest and highest rate of a whole window of a minute.
    pub minute_bpm: Option<[f64; 2]>,
    /// Longest interval between two beats.
    pub pause: Option<Pause>,
}

#[derive(Default)]
struct Tally {
    out: Summary,
    first: Option<f64>,
    last: Option<f64>,
}

impl Tally {
    fn beat(&mut self, at: f64) {
        let hour = (at / 3_600.0) as usize;
        if self.out.hours.len() <= hour {
            self.out.hours.resize(hour + 1, 0);
        }
        self.out.hours[hour] += 1;
        self.out.beats += 1;
        if let Some(last) = self.last {
            let pause = Pause { at_s: last, seconds: at - last };
            if self.out.pause.is_none_or(|p| pause.seconds > p.seconds) {
                self.out.pause = Some(pause);
            }
        }
        self.first = self.first.or(Some(at));
        self.last = Some(at);
    }

    /// Rate within a window from its own beats.
    fn window(&mut self, beats: &[f64]) {
        if let [first, .., last] = beats {
            let rate = 60.0 * (beats.len() - 1) as f64 / (last - first);
            let [low, high] = self.out.minute_bpm.unwrap_or([rate, rate]);
            self.out.minute_bpm = Some([low.min(rate), high.max(rate)]);
        }
    }
}

/// A record over some rows of the stream, beginning at `from` rows.
fn record(head: &Ecg, columns: &[Vec<i16>]) -> Ecg {
    let mut ecg = head.clone();
    for (lead, own) in ecg.rhythm.iter_mut().zip(columns) {
        lead.samples = Samples::I16(own.clone());
        lead.missing = Some(i32::from(i16::MIN));
    }
    ecg
}

/// Scans a whole record. Memory: one window with its margins, whatever the length.
///
/// # Errors
/// A read error of the source.
pub fn scan<R: Read>(stream: &mut Stream<R>) -> io::Result<Summary> {
    let head = stream.head.ecg.clone();
    let rate = head.rhythm.first().map_or(1.0, |l| l.rate_hz);
    let (window, margin) = ((WINDOW_S * rate) as usize, (MARGIN_S * rate) as usize);
    let mut tally = Tally::default();
    let mut held: Vec<Vec<i16>> = vec![Vec::new(); head.rhythm.len()];
    let mut block = Vec::new();
    // row of the first one held; row up to which beats are counted
    let (mut from, mut done, mut rows) = (0_usize, 0_usize, 0_usize);
    loop {
        let read = stream.next_block(&mut block)?;
        rows += read;
        held.iter_mut().zip(&block).for_each(|(own, new)| own.extend_from_slice(&new[..read]));
        let ended = read == 0;
        while rows >= done + window + margin || (ended && done < rows) {
            let end = if ended { rows } else { done + window };
            let found = detect(&record(&head, &held));
            // detection has a rate and a start of its own
            let begin = from as f64 / rate + found.start_s;
            let counted = done as f64 / rate..end as f64 / rate;
            let mut own = Vec::new();
            for at in found.beats.iter().map(|b| begin + *b as f64 / found.rate_hz) {
                if counted.contains(&at) {
                    own.push(at);
                    tally.beat(at);
                }
            }
            if end - done >= window {
                tally.window(&own);
            }
            done = end;
            let drop = done.saturating_sub(margin).saturating_sub(from).min(held[0].len());
            held.iter_mut().for_each(|own| drop_front(own, drop));
            from += drop;
        }
        if ended {
            break;
        }
    }
    let mut out = tally.out;
    out.seconds = rows as f64 / rate;
    if let (Some(first), Some(last)) = (tally.first, tally.last)
        && last > first
    {
        out.rate_bpm = Some(60.0 * (out.beats - 1) as f64 / (last - first));
    }
    Ok(out)
}

fn drop_front(own: &mut Vec<i16>, n: usize) {
    own.drain(..n);
}

/// `seconds` (at most [`MAX_EXCERPT_S`]) from `start_s` on, as a record of its own that begins at 0.
///
/// # Errors
/// A read error of the source.
pub fn excerpt<R: Read>(stream: &mut Stream<R>, start_s: f64, seconds: f64) -> io::Result<Ecg> {
    let head = stream.head.ecg.clone();
    let rate = head.rhythm.first().map_or(1.0, |l| l.rate_hz);
    let skip = (start_s.max(0.0) * rate) as usize;
    let want = (seconds.clamp(0.0, MAX_EXCERPT_S) * rate) as usize;
    let mut kept: Vec<Vec<i16>> = vec![Vec::new(); head.rhythm.len()];
    let (mut block, mut at) = (Vec::new(), 0_usize);
    while kept.first().is_some_and(|k| k.len() < want) {
        let read = stream.next_block(&mut block)?;
        if read == 0 {
            break;
        }
        let begin = skip.saturating_sub(at).min(read);
        for (own, new) in kept.iter_mut().zip(&block) {
            let room = want - own.len();
            own.extend(new[begin..read].iter().take(room));
        }
        at += read;
    }
    let mut ecg = record(&head, &kept);
    ecg.warnings.push(format!(
        "an excerpt from {start_s} s on, of {:.0} s",
        ecg.rhythm.first().map_or(0.0, Lead::duration_s)
    ));
    Ok(ecg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two leads of pulses once a second as an ISHNE file.
    fn file(rate: usize, seconds: usize, pause_at: usize) -> Vec<u8> {
        let rows = seconds * rate;
        let mut head = vec![0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| head[at - 10..at - 10 + bytes.len()].copy_from_slice(bytes);
        put(14, &(rows as i32).to_le_bytes());
        put(22, &522_i32.to_le_bytes());
        put(156, &2_i16.to_le_bytes());
        put(158, &5_i16.to_le_bytes());
        put(160, &6_i16.to_le_bytes());
        put(206, &5_000_i16.to_le_bytes());
        put(208, &5_000_i16.to_le_bytes());
        put(272, &(rate as i16).to_le_bytes());
        let mut out = b"ISHNE1.0\0\0".to_vec();
        out.extend(head);
        for i in 0..rows {
            let (second, t) = (i / rate, (i % rate) as f64 * 200.0 / rate as f64 - 100.0);
            let beat = second != pause_at && second != pause_at + 1;
            let v = if beat { (200.0 * (-t * t / 18.0).exp()) as i16 } else { 0 };
            out.extend(v.to_le_bytes());
            out.extend((v / 2).to_le_bytes());
        }
        out
    }

    #[test]
    fn every_beat_is_found_once_across_the_seams() {
        for rate in [200, 500, 1_000, 2_000] {
            let bytes = file(rate, 400, 1_000);
            let found = scan(&mut Stream::open(&bytes[..]).unwrap()).unwrap();
            assert_eq!((found.beats, found.hours.as_slice()), (400, &[400][..]), "{rate} Hz");
            assert!((found.rate_bpm.unwrap() - 60.0).abs() < 0.05, "{rate} Hz: {found:?}");
            assert_eq!(found.seconds, 400.0);
        }
    }

    #[test]
    fn the_longest_pause_is_named_with_its_place() {
        for rate in [200, 1_000] {
            let bytes = file(rate, 200, 119);
            let found = scan(&mut Stream::open(&bytes[..]).unwrap()).unwrap();
            let pause = found.pause.unwrap();
            assert!(
                (pause.seconds - 3.0).abs() < 0.05 && (pause.at_s - 118.5).abs() < 0.05,
                "{rate} Hz: {pause:?}"
            );
        }
    }

    #[test]
    fn an_excerpt_holds_what_stands_there() {
        let bytes = file(200, 200, 1_000);
        let cut = excerpt(&mut Stream::open(&bytes[..]).unwrap(), 120.0, 10.0).unwrap();
        let whole = crate::read::ishne::read(&bytes).unwrap();
        assert_eq!(cut.rhythm[0].len(), 2_000);
        for i in [0, 99, 100, 1_999] {
            assert_eq!(cut.rhythm[1].uv(i), whole.rhythm[1].uv(24_000 + i));
        }
    }
}
