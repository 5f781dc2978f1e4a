//! Multiplex groups of a waveform object (PS3.3 C.10.9): samples, scale, lead names.

use super::dataset::{DataSet, tag_name};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Filters, Lead, LeadId, Samples, Unit};
use crate::limits::{MAX_LEADS, MAX_RATE_HZ, MAX_SAMPLES, MIN_RATE_HZ};
use crate::view::{a_law, mu_law};

const CHANNELS: u32 = 0x003A_0005;
const SAMPLES: u32 = 0x003A_0010;
const FREQUENCY: u32 = 0x003A_001A;
const DEFINITIONS: u32 = 0x003A_0200;
const SENSITIVITY: u32 = 0x003A_0210;
const BITS: u32 = 0x5400_1004;
const INTERPRETATION: u32 = 0x5400_1006;
const DATA: u32 = 0x5400_1010;

/// One multiplex group, decoded.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) leads: Vec<Lead>,
    pub(super) label: String,
    pub(super) derived: bool,
    pub(super) start_s: f64,
}

impl Group {
    /// A median or representative beat, not the rhythm: by its label, else by being derived and short.
    pub(super) fn is_median(&self) -> bool {
        let label = self.label.to_ascii_uppercase();
        if label.contains("RHYTHM") {
            return false;
        }
        let named = ["MEDIAN", "AVERAGE", "REPRESENTATIVE", "TEMPLATE"].iter().any(|w| label.contains(w));
        /// A representative beat spans one cycle; 3 s is a rate of 20/min.
        const LONGEST_BEAT_S: f64 = 3.0;
        named || self.derived && self.leads.iter().all(|l| l.duration_s() <= LONGEST_BEAT_S)
    }
}

/// Sample formats of Waveform Sample Interpretation (PS3.3 C.10.9.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Signed,
    Unsigned,
    MuLaw,
    ALaw,
}

fn fail(kind: ErrorKind, tag: u32, at: usize, reason: String) -> ReadError {
    ReadError::new(Format::Dicom, kind, tag_name(tag), at, reason)
}

/// Decodes one item of the Waveform Sequence.
pub(super) fn group(set: &DataSet<'_>, item: usize) -> Result<Group, ReadError> {
    let at = set.find(item, DATA).map_or(0, |e| e.at);
    let need = |tag: u32| fail(ErrorKind::Malformed, tag, at, "is absent from a multiplex group".into());
    let channels = usize::from(set.u16_of(item, CHANNELS).ok_or_else(|| need(CHANNELS))?);
    let count = set.u32_of(item, SAMPLES).ok_or_else(|| need(SAMPLES))? as usize;
    let rate = set.decimal(item, FREQUENCY).ok_or_else(|| need(FREQUENCY))?;
    if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate) {
        return Err(fail(ErrorKind::Malformed, FREQUENCY, at, format!("{rate} Hz is no sampling rate")));
    }
    if channels == 0 || channels > MAX_LEADS {
        return Err(fail(
            ErrorKind::Limit,
            CHANNELS,
            at,
            format!("{channels} channels; 1 to {MAX_LEADS} are read"),
        ));
    }
    let (bits, coding) = sample_format(set, item, at)?;
    let width = usize::from(bits / 8);
    let data = set.bytes_of(item, DATA).ok_or_else(|| need(DATA))?;
    let total = channels.checked_mul(count).filter(|n| *n <= MAX_SAMPLES);
    let bytes = total.and_then(|n| n.checked_mul(width));
    let Some(bytes) = bytes.filter(|n| *n <= data.len()) else {
        let reason = format!(
            "{channels} channels of {count} samples of {bits} bits pass the {} bytes of WaveformData",
            data.len()
        );
        return Err(fail(ErrorKind::Truncated, SAMPLES, at, reason));
    };
    // PS3.5 8.3: OW is words in the byte order of the transfer syntax; 8-bit samples in OW swap in pairs.
    let words = set.big_endian && set.find(item, DATA).is_some_and(|e| e.vr == *b"OW");
    let padding = set.bytes_of(item, 0x5400_100A).map(|raw| decode_one(raw, width, coding, set.big_endian));
    let padding = padding.filter(|p| is_extreme(*p, bits, coding));
    let start_s = set.decimal(item, 0x0018_1068).unwrap_or(0.0) / 1000.0;
    let definitions = set.sequence(item, DEFINITIONS);
    let decoder = Decoder {
        data: &data[..bytes],
        width,
        channels,
        coding,
        big: set.big_endian,
        swapped_pairs: words && width == 1,
    };
    let mut leads = Vec::with_capacity(channels);
    for channel in 0..channels {
        let definition = definitions.get(channel).copied();
        let mut lead = describe(set, definition, channel, at)?;
        lead.rate_hz = rate;
        lead.start_s = start_s;
        lead.missing = padding;
        lead.samples = decoder.channel(channel);
        leads.push(lead);
    }
    Ok(Group {
        leads,
        label: set.ascii(item, 0x003A_0020).unwrap_or_default(),
        derived: set.ascii(item, 0x003A_0004).is_some_and(|o| o == "DERIVED"),
        start_s,
    })
}

/// A padding value counts as "no sample" only at the end of the range: ECG Toolkit states 0, which is also a sample.
fn is_extreme(padding: i32, bits: u16, coding: Coding) -> bool {
    let (low, high) = match coding {
        Coding::Unsigned if bits < 32 => (-1, (1_i64 << bits) - 1),
        Coding::Signed if bits <= 32 => (-(1_i64 << (bits - 1)), (1_i64 << (bits - 1)) - 1),
        _ => (i64::from(i32::MIN), i64::from(i32::MAX)),
    };
    /// Stored units that still count as the end of the range.
    const NEAR: i64 = 8;
    i64::from(padding) <= low + NEAR || i64::from(padding) >= high - NEAR
}

fn sample_format(set: &DataSet<'_>, item: usize, at: usize) -> Result<(u16, Coding), ReadError> {
    let bits = set.u16_of(item, BITS).unwrap_or(16);
    let text = set.ascii(item, INTERPRETATION).unwrap_or_else(|| "SS".into());
    let coding = match (text.as_str(), bits) {
        ("SB", 8) | ("SS", 16) | ("SL", 32) | ("SV", 64) => Coding::Signed,
        ("UB", 8) | ("US", 16) | ("UL", 32) | ("UV", 64) => Coding::Unsigned,
        ("MB", 8) => Coding::MuLaw,
        ("AB", 8) => Coding::ALaw,
        _ => {
            return Err(fail(
                ErrorKind::Unsupported,
                INTERPRETATION,
                at,
                format!("{text} samples of {bits} bits"),
            ));
        }
    };
    Ok((bits, coding))
}

/// One stored sample as i32; 64-bit and unsigned 32-bit values saturate (no ECG reaches them).
fn decode_one(raw: &[u8], width: usize, coding: Coding, big: bool) -> i32 {
    let Some(raw) = raw.get(..width) else { return i32::MIN };
    let fold = |acc: u64, b: &u8| acc << 8 | u64::from(*b);
    let unsigned = if big { raw.iter().fold(0, fold) } else { raw.iter().rev().fold(0, fold) };
    let clamp = |v: i64| i32::try_from(v).unwrap_or(if v < 0 { i32::MIN } else { i32::MAX });
    match coding {
        Coding::MuLaw => i32::from(mu_law(raw[0])),
        Coding::ALaw => i32::from(a_law(raw[0])),
        Coding::Unsigned => clamp(i64::try_from(unsigned).unwrap_or(i64::MAX)),
        Coding::Signed => {
            let shift = 64 - 8 * width as u32;
            clamp((unsigned << shift) as i64 >> shift)
        }
    }
}

struct Decoder<'d> {
    data: &'d [u8],
    width: usize,
    channels: usize,
    coding: Coding,
    big: bool,
    swapped_pairs: bool,
}

impl Decoder<'_> {
    fn channel(&self, channel: usize) -> Samples {
        let frame = self.width * self.channels;
        if self.width == 2 && self.coding == Coding::Signed {
            let pick = |f: &[u8]| {
                let pair = [f[channel * 2], f[channel * 2 + 1]];
                if self.big { i16::from_be_bytes(pair) } else { i16::from_le_bytes(pair) }
            };
            return Samples::I16(self.data.chunks_exact(frame).map(pick).collect());
        }
        let count = self.data.len() / frame;
        let values = (0..count).map(|i| {
            let at = i * frame + channel * self.width;
            let at = if self.swapped_pairs { at ^ 1 } else { at };
            decode_one(self.data.get(at..).unwrap_or(&[]), self.width, self.coding, self.big)
        });
        Samples::narrowest(values.collect())
    }
}

/// Name, scale and filters of one channel.
fn describe(
    set: &DataSet<'_>,
    definition: Option<usize>,
    channel: usize,
    at: usize,
) -> Result<Lead, ReadError> {
    let mut lead = Lead::new(&format!("channel {}", channel + 1), 1.0, Samples::I16(Vec::new()), 1.0);
    lead.is_ecg = false;
    lead.unit = Unit::Other("LSB".into());
    let Some(item) = definition else { return Ok(lead) };
    let source = set.first(item, 0x003A_0208);
    let code = source.and_then(|s| set.ascii(s, 0x0008_0100)).unwrap_or_default();
    let scheme = source.and_then(|s| set.ascii(s, 0x0008_0102)).unwrap_or_default();
    let meaning = source.and_then(|s| set.ascii(s, 0x0008_0104)).unwrap_or_default();
    let label = set.ascii(item, 0x003A_0203);
    (lead.id, lead.is_ecg) = identify(&code, &scheme, &meaning);
    let stored = meaning.strip_prefix("Lead ").unwrap_or(&meaning);
    let stored = stored.split(" (").next().unwrap_or(stored).trim();
    // a code for "some lead" says less than the channel's own label
    let vague =
        stored.is_empty() || lead.id == LeadId::Other && stored.eq_ignore_ascii_case("Unspecified lead");
    lead.label = match (vague, label) {
        (false, _) => stored.to_owned(),
        (true, Some(label)) => label,
        (true, None) => lead.label,
    };
    if lead.id == LeadId::Other {
        let from_label = LeadId::parse(&lead.label);
        if from_label != LeadId::Other {
            (lead.id, lead.is_ecg) = (from_label, true);
        }
    }
    scale(set, item, &mut lead, at)?;
    // a corner of 0 is how carts write "none"
    let corner = |tag: u32| set.decimal(item, tag).filter(|hertz| *hertz > 0.0);
    lead.filters = Filters {
        high_pass_hz: corner(0x003A_0220),
        low_pass_hz: corner(0x003A_0221),
        notch_hz: corner(0x003A_0222),
        other: Vec::new(),
    };
    Ok(lead)
}

/// Lead and whether the channel is ECG, from the coded channel source (PS3.16 CID 3001: SCPECG 5.6.3-9-n, MDC 2:n).
fn identify(code: &str, scheme: &str, meaning: &str) -> (LeadId, bool) {
    let number = match scheme {
        "SCPECG" => code.strip_prefix("5.6.3-9-").and_then(|n| n.parse().ok()),
        "MDC" => code
            .strip_prefix("2:")
            .and_then(|n| n.parse::<u32>().ok())
            .or_else(|| {
                // also the context-free form 2 x 65536 + n, and the reference identifier itself
                let wide = code.parse::<u32>().ok();
                wide.and_then(|n| n.checked_sub(2 << 16))
            })
            .and_then(|n| u16::try_from(n).ok()),
        _ => None,
    };
    if let Some(number) = number {
        // Lead identifications occupy 0..=255 of the partition; above are measurements.
        return (LeadId::from_scp(number), number <= 255);
    }
    for text in [code, meaning] {
        let id = LeadId::parse(text);
        if id != LeadId::Other {
            return (id, true);
        }
    }
    (LeadId::Other, meaning.contains("ECG") || code.starts_with("MDC_ECG_LEAD"))
}

/// `value = sample x sensitivity x correction + baseline`, in microvolt for voltages (PS3.3 C.10.9.1.4.4).
fn scale(set: &DataSet<'_>, item: usize, lead: &mut Lead, at: usize) -> Result<(), ReadError> {
    let Some(sensitivity) = set.decimal(item, SENSITIVITY) else {
        if lead.is_ecg {
            let reason = format!("is absent from lead {}: its amplitude is unknown", lead.label);
            return Err(fail(ErrorKind::Malformed, SENSITIVITY, at, reason));
        }
        return Ok(());
    };
    let correction = set.decimal(item, 0x003A_0212).unwrap_or(1.0);
    let baseline = set.decimal(item, 0x003A_0213).unwrap_or(0.0);
    let units = set.first(item, 0x003A_0211);
    let unit = units.and_then(|u| set.ascii(u, 0x0008_0100)).unwrap_or_default();
    let to_uv = match unit.as_str() {
        "uV" | "\u{B5}V" | "ÂµV" => Some(1.0),
        "mV" => Some(1000.0),
        "V" => Some(1_000_000.0),
        "nV" => Some(0.001),
        "" if lead.is_ecg => {
            let reason = format!("lead {} has a sensitivity without a unit", lead.label);
            return Err(fail(ErrorKind::Malformed, 0x003A_0211, at, reason));
        }
        _ => None,
    };
    let Some(to_uv) = to_uv else {
        lead.unit = Unit::Other(unit);
        lead.is_ecg = false;
        (lead.scale, lead.offset) = (sensitivity * correction, baseline);
        return Ok(());
    };
    lead.unit = Unit::Microvolt;
    (lead.scale, lead.offset) = (sensitivity * correction * to_uv, baseline * to_uv);
    if lead.scale == 0.0 || !lead.scale.is_finite() {
        let reason = format!("lead {}: {sensitivity} x {correction} is no scale", lead.label);
        return Err(fail(ErrorKind::Malformed, SENSITIVITY, at, reason));
    }
    Ok(())
}
