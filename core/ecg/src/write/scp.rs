//! SCP-ECG writer (EN 1064 version 2.0): sections 0 to 8, second differences with the default Huffman table.

use super::WriteError;
use super::prepare::{Column, columns};
use crate::model::Ecg;
use crate::read::scp::crc;

/// Identity and time of the record; all of it is the caller's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScpIdentity {
    /// Patient identifier.
    pub patient_id: String,
    /// Family name (UTF-8).
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Year, month, day of birth, if known.
    pub birth: Option<(u16, u8, u8)>,
    /// `M`, `F` or other.
    pub sex: Option<char>,
    /// Year, month, day, hour, minute, second of acquisition.
    pub acquired: (u16, u8, u8, u8, u8, u8),
    /// Offset from UTC, minutes.
    pub offset_min: Option<i16>,
}

/// Version 2.0 in record and sections.
const VERSION: u8 = 20;

/// Writes the rhythm (standard leads, derived ones included), identity, filters and the cart's measurements and statements.
///
/// # Errors
/// A scale that is no whole number of nanovolts, a rate that is no whole number of microseconds, a lead beyond 64 KiB coded,
/// missing samples (SCP-ECG has no value for them).
pub fn scp(ecg: &Ecg, identity: &ScpIdentity) -> Result<Vec<u8>, WriteError> {
    let mut columns = columns(ecg)?;
    // half units of derived leads may be no whole nanovolts: they follow from I and II in any case
    if !columns.iter().all(|c| nanovolts(c).is_some()) {
        columns.retain(|c| ecg.rhythm.iter().any(|l| l.id == c.lead.id && l.label == c.lead.label));
    }
    let gap =
        columns.iter().find(|c| c.lead.missing.is_some() && c.samples.contains(&super::prepare::PADDING));
    if let Some(gap) = gap {
        return Err(WriteError::new(
            "samples",
            format!("lead {} has missing samples; SCP-ECG cannot say so", gap.lead.name()),
        ));
    }
    let sections: [(u16, Vec<u8>); 6] = [
        (1, patient(ecg, identity)),
        (2, 19_999_u16.to_le_bytes().to_vec()),
        (3, leads(&columns)),
        (6, rhythm(&columns)?),
        (7, measurements(ecg)),
        (8, statements(ecg, identity)),
    ];
    let mut body = Vec::new();
    let mut places = Vec::new();
    /// Record header and section 0: 16 bytes of header, twelve pointers of ten.
    const SECTION_0: usize = 16 + 12 * 10;
    for (id, mut data) in sections {
        if data.is_empty() {
            continue;
        }
        if data.len() % 2 == 1 {
            data.push(0);
        }
        places.push((id, data.len() + 16, 6 + SECTION_0 + body.len()));
        body.extend(section(id, &data, &[0; 6]));
    }
    let mut pointers = Vec::new();
    for id in 0..12_u16 {
        let found = places.iter().find(|(n, ..)| *n == id).map_or((0, 0), |(_, len, at)| (*len, *at + 1));
        let (len, index) = if id == 0 { (SECTION_0, 7) } else { found };
        pointers.extend(id.to_le_bytes());
        pointers.extend(u32::try_from(len).unwrap_or(0).to_le_bytes());
        pointers.extend(u32::try_from(index).unwrap_or(0).to_le_bytes());
    }
    let mut record = section(0, &pointers, b"SCPECG");
    record.extend(body);
    let length =
        u32::try_from(record.len() + 6).map_err(|_| WriteError::new("record", "longer than 4 GiB"))?;
    let mut checked = length.to_le_bytes().to_vec();
    checked.extend(record);
    let mut out = crc(&checked).to_le_bytes().to_vec();
    out.extend(checked);
    Ok(out)
}

fn section(id: u16, data: &[u8], reserved: &[u8; 6]) -> Vec<u8> {
    let mut out = id.to_le_bytes().to_vec();
    out.extend(u32::try_from(data.len() + 16).unwrap_or(0).to_le_bytes());
    out.extend([VERSION, VERSION]);
    out.extend(reserved);
    out.extend(data);
    let mut all = crc(&out).to_le_bytes().to_vec();
    all.extend(out);
    all
}

fn patient(ecg: &Ecg, identity: &ScpIdentity) -> Vec<u8> {
    let mut out = Vec::new();
    let mut tag = |number: u8, value: &[u8]| {
        out.push(number);
        out.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
        out.extend(value);
    };
    let text = |t: &str| t.bytes().take(60).chain([0]).collect::<Vec<u8>>();
    tag(0, &text(&identity.last_name));
    tag(1, &text(&identity.first_name));
    tag(2, &text(&identity.patient_id));
    if let Some((y, m, d)) = identity.birth {
        tag(5, &[y.to_le_bytes()[0], y.to_le_bytes()[1], m, d]);
    }
    tag(
        8,
        &[match identity.sex {
            Some('M') => 1,
            Some('F') => 2,
            _ => 0,
        }],
    );
    // acquiring device: numbers unknown, type 0 (cart), maker in words, model of five letters
    let mut device = vec![0_u8; 35];
    device[7] = 255;
    let model = ecg.device.model.clone().unwrap_or_default();
    for (slot, byte) in device[8..13].iter_mut().zip(model.bytes().filter(u8::is_ascii)) {
        *slot = byte;
    }
    (device[14], device[15], device[17]) = (VERSION, 0xA0, 0xC0);
    device.push(0);
    for words in
        [&ecg.device.serial, &ecg.device.software, &Some("relay-ecg".to_owned()), &ecg.device.manufacturer]
    {
        device.extend(text(words.as_deref().unwrap_or("")));
    }
    tag(14, &device);
    let (y, mo, d, h, mi, s) = identity.acquired;
    tag(25, &[y.to_le_bytes()[0], y.to_le_bytes()[1], mo, d]);
    tag(26, &[h, mi, s]);
    let filters = &ecg.device.filters;
    if let Some(hertz) = filters.high_pass_hz {
        tag(27, &((hertz * 100.0).round() as u16).to_le_bytes());
    }
    if let Some(hertz) = filters.low_pass_hz {
        tag(28, &(hertz.round() as u16).to_le_bytes());
    }
    let notch = match filters.notch_hz {
        Some(60.0) => 1,
        Some(50.0) => 2,
        _ => 0,
    };
    tag(29, &[notch]);
    if let Some(minutes) = identity.offset_min {
        let zone = minutes.to_le_bytes();
        tag(34, &[zone[0], zone[1], 0, 0, 0]);
    }
    tag(255, &[]);
    out
}

fn leads(columns: &[Column]) -> Vec<u8> {
    let count = u8::try_from(columns.len()).unwrap_or(0);
    // bit 2: all recorded at the same time; their number in bits 3 to 7
    let mut out = vec![count, 4 | count.min(31) << 3];
    for column in columns {
        out.extend(1_u32.to_le_bytes());
        out.extend(u32::try_from(column.samples.len()).unwrap_or(0).to_le_bytes());
        out.push(u8::try_from(column.lead.id.scp_code().unwrap_or(0)).unwrap_or(0));
    }
    out
}

/// The unit of a column, when SCP-ECG can say it.
fn nanovolts(column: &Column) -> Option<u64> {
    let nano = column.scale * 1000.0;
    ((nano - nano.round()).abs() <= 1e-6 && nano.round() >= 1.0).then_some(nano.round() as u64)
}

/// Section 6. All leads share one unit: the finest whole number of nanovolts that every scale is a multiple of.
fn rhythm(columns: &[Column]) -> Result<Vec<u8>, WriteError> {
    let mut units: Vec<u64> = Vec::with_capacity(columns.len());
    for column in columns {
        units.push(nanovolts(column).ok_or_else(|| {
            let reason =
                format!("{} µV of lead {} is no whole number of nanovolts", column.scale, column.lead.name());
            WriteError::new("scale", reason)
        })?);
        if column.lead.offset != 0.0 {
            return Err(WriteError::new(
                "offset",
                format!("lead {} has one; SCP-ECG cannot say so", column.lead.name()),
            ));
        }
    }
    let unit = units.iter().copied().fold(0, gcd);
    let period = 1e6 / columns[0].lead.rate_hz;
    if (period - period.round()).abs() > 1e-6 || !(1.0..=65_535.0).contains(&period.round()) || unit > 65_535
    {
        return Err(WriteError::new(
            "sampling rate",
            format!("{} Hz is no whole number of microseconds", columns[0].lead.rate_hz),
        ));
    }
    let mut out = (unit as u16).to_le_bytes().to_vec();
    out.extend((period.round() as u16).to_le_bytes());
    // second difference, not bimodal
    out.extend([2, 0]);
    let mut coded = Vec::new();
    for (column, nano) in columns.iter().zip(&units) {
        let factor = i32::try_from(nano / unit).unwrap_or(1);
        let values: Vec<i32> = column.samples.iter().map(|v| i32::from(*v) * factor).collect();
        if values.iter().any(|v| i16::try_from(*v).is_err()) {
            return Err(WriteError::new(
                "samples",
                format!("lead {} passes 16 bits in the common unit of {unit} nV", column.lead.name()),
            ));
        }
        coded.push(
            huffman(&second_difference(&values))
                .map_err(|why| WriteError::new("samples", format!("lead {}: {why}", column.lead.name())))?,
        );
    }
    for data in &coded {
        let len = u16::try_from(data.len())
            .map_err(|_| WriteError::new("samples", "a lead codes to more than 64 KiB"))?;
        out.extend(len.to_le_bytes());
    }
    out.extend(coded.concat());
    Ok(out)
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn second_difference(values: &[i32]) -> Vec<i32> {
    let at = |i: usize| if i < 2 { values[i] } else { values[i] - 2 * values[i - 1] + values[i - 2] };
    (0..values.len()).map(at).collect()
}

/// The default table (EN 1064 annex C): prefix codes to ±8, then 8 and 16 bits as they are.
fn huffman(values: &[i32]) -> Result<Vec<u8>, String> {
    let mut bits = Bits::default();
    for value in values {
        match *value {
            0 => bits.push(0, 1),
            v @ -8..=8 => {
                // n ones, a zero, the sign
                let ones = v.unsigned_abs();
                bits.push((1 << ones) - 1, ones);
                bits.push(0, 1);
                bits.push(u32::from(v < 0), 1);
            }
            v @ -128..=127 => {
                bits.push(0x3FE, 10);
                bits.push(v.cast_unsigned() & 0xFF, 8);
            }
            v => {
                if i16::try_from(v).is_err() {
                    return Err(format!("a second difference of {v} passes 16 bits"));
                }
                bits.push(0x3FF, 10);
                bits.push(v.cast_unsigned() & 0xFFFF, 16);
            }
        }
    }
    Ok(bits.bytes())
}

#[derive(Debug, Default)]
struct Bits {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    /// Appends the low `count` bits, the highest of them first.
    fn push(&mut self, value: u32, count: u32) {
        self.held = self.held << count | u64::from(value);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.out.push((self.held >> self.count) as u8);
        }
    }

    fn bytes(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.out.push((self.held << (8 - self.count)) as u8);
        }
        self.out
    }
}

/// Section 7: one beat with the cart's on- and offsets where it stored them, else "not computed".
fn measurements(ecg: &Ecg) -> Vec<u8> {
    const NONE: u16 = 29_999;
    let value = |key: &str| {
        ecg.device.value(key).filter(|v| (0.0..29_000.0).contains(v)).map_or(NONE, |v| v.round() as u16)
    };
    let mark = |what: &str| {
        let at = ecg.device.marks.iter().find(|m| m.on_median && m.what == what);
        at.map_or(NONE, |m| (m.at_s * 1000.0).round().clamp(0.0, 29_000.0) as u16)
    };
    let axis = |key: &str| {
        ecg.device.value(key).filter(|v| v.abs() <= 360.0).map_or(NONE.cast_signed(), |v| v.round() as i16)
    };
    let spikes = u8::try_from(ecg.pacing.len().min(255)).unwrap_or(255);
    let mut out = vec![1, spikes];
    out.extend(value("rr_ms").to_le_bytes());
    out.extend(value("pp_ms").to_le_bytes());
    for what in ["p_on", "p_off", "qrs_on", "qrs_off", "t_off"] {
        out.extend(mark(what).to_le_bytes());
    }
    for key in ["p_axis_deg", "qrs_axis_deg", "t_axis_deg"] {
        out.extend(axis(key).to_le_bytes());
    }
    for spike in ecg.pacing.iter().take(usize::from(spikes)) {
        out.extend(((spike.at_s * 1000.0).round().clamp(0.0, 65_535.0) as u16).to_le_bytes());
        out.extend(
            spike
                .amplitude_uv
                .map_or(NONE.cast_signed(), |a| a.clamp(-29_000.0, 29_000.0) as i16)
                .to_le_bytes(),
        );
    }
    for spike in ecg.pacing.iter().take(usize::from(spikes)) {
        // type and source unknown, no QRS named, width in µs
        out.extend([0, 0, 0, 0]);
        out.extend(spike.width_us.map_or(0, |w| w.clamp(0.0, 65_535.0) as u16).to_le_bytes());
    }
    // no beat types; rates, QTc without a named formula, no tagged fields
    out.extend(0_u16.to_le_bytes());
    out.extend(value("rate_bpm").to_le_bytes());
    out.extend(value("atrial_rate_bpm").to_le_bytes());
    out.extend(value("qtc_ms").to_le_bytes());
    out.extend([0, 0, 0]);
    out
}

/// Section 8: the cart's statements, status 0 (original, not overread).
fn statements(ecg: &Ecg, identity: &ScpIdentity) -> Vec<u8> {
    if ecg.device.statements.is_empty() {
        return Vec::new();
    }
    let (y, mo, d, h, mi, s) = identity.acquired;
    let count = u8::try_from(ecg.device.statements.len().min(255)).unwrap_or(255);
    let mut out = vec![0, y.to_le_bytes()[0], y.to_le_bytes()[1], mo, d, h, mi, s, count];
    for (n, statement) in ecg.device.statements.iter().take(usize::from(count)).enumerate() {
        let text: Vec<u8> = statement.bytes().take(1000).chain([0]).collect();
        out.push(u8::try_from(n + 1).unwrap_or(255));
        out.extend(u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        out.extend(text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut ecg = synth::ecg(&synth::Spec::inferior_stemi(5));
        ecg.device.measured("rr_ms", "x", Some(937.0), "ms");
        ecg.device.statements.push("下壁ST段抬高".into());
        ecg.pacing.push(crate::model::PacingMark {
            at_s: 1.5,
            amplitude_uv: Some(-2000.0),
            width_us: Some(400.0),
        });
        let identity = ScpIdentity {
            patient_id: "7".into(),
            last_name: "王".into(),
            acquired: (2026, 1, 2, 3, 4, 5),
            offset_min: Some(480),
            ..ScpIdentity::default()
        };
        let file = scp(&ecg, &identity).unwrap();
        let back = crate::read(&file, &crate::Hints::default()).unwrap();
        assert!(back.warnings.is_empty(), "{:?}", back.warnings);
        for (a, b) in ecg.rhythm.iter().zip(&back.rhythm) {
            assert_eq!(a.id, b.id);
            assert!(a.uv_iter().eq(b.uv_iter()), "{}", a.name());
        }
        assert_eq!(back.patient.name.as_deref(), Some("王"));
        assert_eq!(back.device.value("rr_ms"), Some(937.0));
        assert_eq!(back.device.statements, ["下壁ST段抬高"]);
        assert_eq!(back.pacing, ecg.pacing);
        assert_eq!(back.acquired.unwrap().iso().as_deref(), Some("2026-01-02T03:04:05+08:00"));
    }
}
