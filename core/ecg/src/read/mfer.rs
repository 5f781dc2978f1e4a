//! MFER (ISO 22077-1): tag, length, value; per-channel attributes; little and big endian; waves of several sequences.

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, LeadId, Samples, Unit};
use crate::limits::{MAX_LEADS, MAX_SAMPLES};
use crate::model::{Acquired, Ecg};
use crate::text;
use crate::view::View;

/// Preamble tag, length, `MFR`.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    head.first() == Some(&0x40) && head.get(2..5).is_some_and(|m| m == b"MFR") || head.starts_with(b"@ MFR")
}

/// Attributes of a channel, or of all of them.
#[derive(Debug, Clone)]
struct Channel {
    code: u16,
    interval: (u8, f64),
    scale: (u8, f64),
    offset: f64,
    kind: u8,
    block: usize,
    null: Option<i32>,
}

impl Default for Channel {
    fn default() -> Self {
        // the standard's initial values: 1 kHz, 1 µV, signed 16 bit
        Self { code: 0, interval: (1, 0.001), scale: (0, 1e-6), offset: 0.0, kind: 0, block: 0, null: None }
    }
}

#[derive(Debug)]
struct State {
    big: bool,
    utf16: bool,
    all: Channel,
    channels: Vec<Channel>,
    sequences: usize,
    wave: u16,
    waves: Vec<Vec<i32>>,
    filters: Filters,
}

/// Reads an MFER file.
///
/// # Errors
/// Lengths beyond the file, data types that are not decoded, blocks that do not fit the wave data, no ECG channel.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let view = View::new(bytes, Format::Mfer);
    let mut ecg = Ecg::new(Format::Mfer);
    let mut state = State {
        big: true,
        utf16: false,
        all: Channel::default(),
        channels: Vec::new(),
        sequences: 1,
        wave: 0,
        waves: Vec::new(),
        filters: Filters::default(),
    };
    let mut at = 0;
    while at < bytes.len() {
        let tag = view.u8(at, "tag")?;
        // a zero byte is padding; 0x80 ends the file
        if tag == 0 {
            at += 1;
            continue;
        }
        if tag == 0x80 {
            break;
        }
        let field = format!("tag {tag:02X}");
        let (channel, head) = if tag == 0x3F { channel_number(&view, at + 1)? } else { (0, at + 1) };
        let (len, start) = length(&view, head, &field)?;
        let value = view.slice(start, len, &field)?;
        if tag == 0x3F {
            attributes(&view, &mut state, channel, start, len)?;
        } else {
            take(&view, &mut state, &mut ecg, tag, value, start)?;
        }
        at = start + len;
    }
    finish(&view, state, &mut ecg)?;
    Ok(ecg)
}

/// BER-like length: one byte, or 0x8n and n bytes, high byte first whatever the byte order of the data.
fn length(view: &View<'_>, at: usize, field: &str) -> Result<(usize, usize), ReadError> {
    let first = view.u8(at, field)?;
    if first < 0x80 {
        return Ok((usize::from(first), at + 1));
    }
    let count = usize::from(first & 0x7F);
    if count == 0 || count > 4 {
        return Err(view.unsupported(field, at, format!("a length of {count} bytes")));
    }
    let raw = view.slice(at + 1, count, field)?;
    Ok((raw.iter().fold(0, |acc, b| acc << 8 | usize::from(*b)), at + 1 + count))
}

fn channel_number(view: &View<'_>, at: usize) -> Result<(usize, usize), ReadError> {
    let (mut number, mut at) = (0_usize, at);
    loop {
        let byte = view.u8(at, "channel number")?;
        at += 1;
        number = number << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Ok((number, at));
        }
        if number > MAX_LEADS {
            return Err(view.limit("channel number", at, format!("channel {number}")));
        }
    }
}

fn unsigned(value: &[u8], big: bool) -> u64 {
    let fold = |acc: u64, b: &u8| acc << 8 | u64::from(*b);
    let value = &value[..value.len().min(8)];
    if big { value.iter().fold(0, fold) } else { value.iter().rev().fold(0, fold) }
}

fn signed(value: &[u8], big: bool) -> i64 {
    let bits = 8 * value.len().min(8) as u32;
    if bits == 0 { 0 } else { (unsigned(value, big) << (64 - bits)) as i64 >> (64 - bits) }
}

fn attributes(
    view: &View<'_>,
    state: &mut State,
    channel: usize,
    start: usize,
    len: usize,
) -> Result<(), ReadError> {
    if channel >= MAX_LEADS {
        return Err(view.limit("channel number", start, format!("channel {channel}")));
    }
    while state.channels.len() <= channel {
        state.channels.push(state.all.clone());
    }
    let mut at = start;
    while at < start + len {
        let tag = view.u8(at, "channel attribute")?;
        if tag == 0 {
            at += 1;
            continue;
        }
        let (size, body) = length(view, at + 1, "channel attribute")?;
        if body + size > start + len {
            return Err(view.malformed("channel attribute", at, format!("tag {tag:02X} passes its channel")));
        }
        let value = view.slice(body, size, "channel attribute")?;
        let big = state.big;
        attribute(view, &mut state.channels[channel], big, tag, value, body)?;
        at = body + size;
    }
    Ok(())
}

fn attribute(
    view: &View<'_>,
    channel: &mut Channel,
    big: bool,
    tag: u8,
    value: &[u8],
    at: usize,
) -> Result<(), ReadError> {
    let scaled = |value: &[u8]| -> Option<(u8, f64)> {
        let (unit, exponent) = (*value.first()?, value.get(1)?.cast_signed());
        let mantissa = unsigned(value.get(2..)?, big) as f64;
        Some((unit, mantissa * 10_f64.powi(i32::from(exponent))))
    };
    let bad = |what: &str| view.malformed(what, at, "value is too short");
    match tag {
        0x04 => channel.block = usize::try_from(unsigned(value, big)).unwrap_or(usize::MAX),
        0x09 => channel.code = u16::try_from(unsigned(&value[..value.len().min(2)], big)).unwrap_or(0),
        0x0A => channel.kind = value.first().copied().unwrap_or(0),
        0x0B => channel.interval = scaled(value).ok_or_else(|| bad("sampling interval"))?,
        0x0C => channel.scale = scaled(value).ok_or_else(|| bad("sensitivity"))?,
        0x0D => channel.offset = signed(value, big) as f64,
        0x12 => {
            channel.null = i32::try_from(if value.len() < 4 { signed(value, big) } else { 0 })
                .ok()
                .filter(|_| value.len() < 4)
        }
        _ => {}
    }
    Ok(())
}

fn take(
    view: &View<'_>,
    state: &mut State,
    ecg: &mut Ecg,
    tag: u8,
    value: &[u8],
    at: usize,
) -> Result<(), ReadError> {
    let big = state.big;
    let number = || unsigned(value, big);
    let words = || {
        Some(if state.utf16 { utf16(value, big) } else { text::eight_bit(value) }).filter(|t| !t.is_empty())
    };
    match tag {
        0x01 => state.big = value.first() == Some(&0),
        0x03 => state.utf16 = text::eight_bit(value).to_ascii_uppercase().contains("UTF-16"),
        0x05 => {
            let count = usize::try_from(number()).unwrap_or(usize::MAX);
            if count > MAX_LEADS {
                return Err(view.limit("channel count", at, format!("{count} channels")));
            }
            state.channels = vec![state.all.clone(); count];
        }
        0x06 => state.sequences = usize::try_from(number()).unwrap_or(1).max(1),
        0x08 => state.wave = u16::try_from(unsigned(&value[..value.len().min(2)], big)).unwrap_or(0),
        0x04 | 0x09..=0x0D | 0x12 => {
            let mut all = state.all.clone();
            attribute(view, &mut all, big, tag, value, at)?;
            for channel in &mut state.channels {
                attribute(view, channel, big, tag, value, at)?;
            }
            state.all = all;
        }
        0x0E if number() != 0 => {
            return Err(view.unsupported("compression", at, format!("code {}; none is read", number())));
        }
        0x11 => filter(&words().unwrap_or_default(), &mut state.filters),
        0x17 => maker(&words().unwrap_or_default(), ecg),
        0x1E => wave(view, state, value, at)?,
        0x81 => ecg.patient.name = words(),
        0x82 => ecg.patient.id = words(),
        0x83 => age(value, big, ecg),
        0x84 => {
            ecg.patient.sex = match value.first() {
                Some(1) => Some("M".into()),
                Some(2) => Some("F".into()),
                _ => None,
            }
        }
        0x85 => time(value, big, ecg),
        _ => {}
    }
    Ok(())
}

fn utf16(value: &[u8], big: bool) -> String {
    let unit = |b: &[u8; 2]| if big { u16::from_be_bytes(*b) } else { u16::from_le_bytes(*b) };
    let units: Vec<u16> = value.as_chunks::<2>().0.iter().map(unit).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units).trim().to_owned()
}

/// `0.05Hz-150Hz`.
fn filter(words: &str, filters: &mut Filters) {
    let hertz = |t: &str| t.trim().trim_end_matches("Hz").parse::<f64>().ok();
    match words.split_once('-') {
        Some((low, high)) if hertz(low).is_some() => {
            (filters.high_pass_hz, filters.low_pass_hz) = (hertz(low), hertz(high))
        }
        _ if !words.is_empty() => filters.other.push(words.to_owned()),
        _ => {}
    }
}

/// `Maker^Model^Version^Serial`.
fn maker(words: &str, ecg: &mut Ecg) {
    let mut parts = words.split('^').map(|p| Some(p.trim().to_owned()).filter(|p| !p.is_empty()));
    let mut next = || parts.next().flatten();
    (ecg.device.manufacturer, ecg.device.model, ecg.device.software) = (next(), next(), next());
}

fn age(value: &[u8], big: bool, ecg: &mut Ecg) {
    let years = value.first().copied().filter(|y| *y != 0xFF);
    ecg.patient.age = years.map(|y| y.to_string());
    if let Some([a, b, month, day]) = value.get(3..7) {
        let year = unsigned(&[*a, *b], big);
        ecg.patient.birth_date =
            ((1800..2200).contains(&year)).then(|| format!("{year:04}-{month:02}-{day:02}"));
    }
}

fn time(value: &[u8], big: bool, ecg: &mut Ecg) {
    let Some([a, b, month, day, hour, minute, second]) = value.get(..7) else { return };
    let year = unsigned(&[*a, *b], big);
    let stored = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
    let (local, _) = text::compact_time(&stored);
    ecg.acquired = Some(Acquired { text: stored, source: "tag 85".into(), local, offset_min: None });
}

/// Bytes of a sample by data type (ISO 22077-1 table of data types).
fn width(kind: u8) -> Option<usize> {
    match kind {
        3 | 5 => Some(1),
        0 | 1 | 4 => Some(2),
        2 | 6 => Some(4),
        _ => None,
    }
}

fn wave(view: &View<'_>, state: &mut State, data: &[u8], at: usize) -> Result<(), ReadError> {
    let mut per_sequence = 0_usize;
    for (n, channel) in state.channels.iter().enumerate() {
        let width = width(channel.kind).ok_or_else(|| {
            view.unsupported("data type", at, format!("type {} of channel {}", channel.kind, n + 1))
        })?;
        per_sequence =
            channel.block.checked_mul(width).and_then(|b| b.checked_add(per_sequence)).unwrap_or(usize::MAX);
    }
    let need =
        per_sequence.checked_mul(state.sequences).filter(|n| *n <= data.len() && *n / 2 <= MAX_SAMPLES);
    let Some(_) = need.filter(|_| per_sequence > 0) else {
        let reason = format!(
            "{} sequences of {per_sequence} bytes do not fit {} bytes of waves",
            state.sequences,
            data.len()
        );
        return Err(view.error(ErrorKind::Truncated, "wave data", at, reason));
    };
    state.waves.resize(state.channels.len(), Vec::new());
    let mut place = 0;
    for _ in 0..state.sequences {
        for (channel, out) in state.channels.iter().zip(&mut state.waves) {
            let width = width(channel.kind).unwrap_or(2);
            let block = &data[place..place + channel.block * width];
            let signed_kind = matches!(channel.kind, 0 | 2 | 5);
            let value = |raw: &[u8]| {
                let wide = if signed_kind {
                    signed(raw, state.big)
                } else {
                    i64::try_from(unsigned(raw, state.big)).unwrap_or(0)
                };
                i32::try_from(wide).unwrap_or(i32::MAX)
            };
            out.extend(block.chunks_exact(width).map(value));
            place += block.len();
        }
    }
    Ok(())
}

fn finish(view: &View<'_>, state: State, ecg: &mut Ecg) -> Result<(), ReadError> {
    ecg.variant = format!("wave type {}", state.wave);
    ecg.device.filters = state.filters;
    for (channel, values) in state.channels.iter().zip(state.waves) {
        // type 4 is a status word, not a wave
        if channel.kind == 4 {
            continue;
        }
        let rate = match channel.interval {
            (0, hertz) => hertz,
            (1, seconds) if seconds > 0.0 => 1.0 / seconds,
            (unit, _) => return Err(view.unsupported("sampling interval", 0, format!("unit {unit}"))),
        };
        let rate = if (rate - rate.round()).abs() < rate * 1e-6 { rate.round() } else { rate };
        let rate = view.rate(rate, "sampling interval", 0)?;
        let id = if channel.code <= 255 { LeadId::from_scp(channel.code) } else { LeadId::Other };
        let label = if id == LeadId::Other { format!("Code{}", channel.code) } else { id.name().to_owned() };
        let (unit, factor) = match channel.scale.0 {
            0 => (Unit::Microvolt, 1e6),
            // not a voltage: samples stay as stored, the unit says what one of them is
            1 => (Unit::Other(format!("{} mmHg", channel.scale.1)), 1.0 / channel.scale.1),
            other => (Unit::Other(format!("{} x MFER unit {other}", channel.scale.1)), 1.0 / channel.scale.1),
        };
        let mut lead = Lead::new(&label, rate, Samples::narrowest(values), channel.scale.1 * factor);
        if channel.scale.1 == 0.0 {
            return Err(view.malformed("sensitivity", 0, format!("zero for channel {label}")));
        }
        lead.offset = channel.offset * channel.scale.1 * factor;
        // the stored null only means "no sample" where a signed sample cannot reach it
        lead.missing = channel.null.filter(|n| *n == i32::from(i16::MIN));
        lead.is_ecg = unit == Unit::Microvolt && channel.code <= 255;
        lead.unit = unit;
        ecg.rhythm.push(lead);
    }
    if !ecg.rhythm.iter().any(|l| l.is_ecg) {
        return Err(view.error(ErrorKind::NotEcg, "channels", 0, "no channel is an ECG lead"));
    }
    Ok(())
}
