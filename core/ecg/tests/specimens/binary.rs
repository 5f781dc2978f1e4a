//! Binary formats.

use super::stored;
use relay_ecg::{Ecg, Lead, LeadId};

fn padded(text: &str, width: usize) -> Vec<u8> {
    format!("{text:<width$}").into_bytes().into_iter().take(width).collect()
}

/// EDF, records of one tenth of a second.
pub fn edf(ecg: &Ecg) -> Vec<u8> {
    let (count, first) = (ecg.rhythm.len(), &ecg.rhythm[0]);
    let per_record = (first.rate_hz / 10.0) as usize;
    let records = first.len() / per_record;
    let mut out = padded("0", 8);
    out.extend(padded("P1", 80));
    out.extend(padded("made", 80));
    out.extend(padded("05.03.24", 8));
    out.extend(padded("09.30.15", 8));
    out.extend(padded(&(256 * (count + 1)).to_string(), 8));
    out.extend(padded("", 44));
    out.extend(padded(&records.to_string(), 8));
    out.extend(padded("0.1", 8));
    out.extend(padded(&count.to_string(), 4));
    let mut column = |width: usize, text: &dyn Fn(&Lead) -> String| {
        for lead in &ecg.rhythm {
            out.extend(padded(&text(lead), width));
        }
    };
    column(16, &|l| format!("ECG {}", l.name()));
    column(80, &|_| "electrode".into());
    column(8, &|_| "uV".into());
    column(8, &|l| format!("{}", -10_000.0 * l.scale));
    column(8, &|l| format!("{}", 10_000.0 * l.scale));
    column(8, &|_| "-10000".into());
    column(8, &|_| "10000".into());
    column(80, &|_| "HP:0.05Hz LP:150Hz".into());
    column(8, &|_| per_record.to_string());
    column(32, &|_| String::new());
    for record in 0..records {
        for lead in &ecg.rhythm {
            let own = &stored(lead)[record * per_record..(record + 1) * per_record];
            out.extend(own.iter().flat_map(|v| (*v as i16).to_le_bytes()));
        }
    }
    out
}

fn item(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    if value.len() < 128 {
        out.push(value.len() as u8);
    } else {
        out.push(0x84);
        out.extend((value.len() as u32).to_be_bytes());
    }
    out.extend(value);
}

/// MFER, one sequence; leads without an SCP code below 256 are left out.
pub fn mfer(ecg: &Ecg, big: bool) -> Vec<u8> {
    let n16 = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let n32 = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let leads = &ecg.rhythm[..12];
    let first = &leads[0];
    let mut out = Vec::new();
    item(&mut out, 0x40, b"MFR STANDARD 12 LEADS ECG       ");
    item(&mut out, 0x01, &[u8::from(!big)]);
    item(&mut out, 0x17, b"made^relay^1^7");
    item(&mut out, 0x08, &n16(1));
    item(&mut out, 0x0B, &[&[1, (-6_i8).cast_unsigned()][..], &n32((1e6 / first.rate_hz) as u32)].concat());
    item(&mut out, 0x0C, &[&[0, (-8_i8).cast_unsigned()][..], &n16((first.scale * 100.0) as u16)].concat());
    item(&mut out, 0x0A, &[0]);
    item(&mut out, 0x05, &[leads.len() as u8]);
    item(&mut out, 0x04, &n32(first.len() as u32));
    item(&mut out, 0x06, &[1]);
    // I, II, V1-V6, III, aVR, aVL, aVF by their code
    for (n, lead) in leads.iter().enumerate() {
        let code: u16 = match lead.id {
            LeadId::I => 1,
            LeadId::II => 2,
            LeadId::V1 => 3,
            LeadId::V2 => 4,
            LeadId::V3 => 5,
            LeadId::V4 => 6,
            LeadId::V5 => 7,
            LeadId::V6 => 8,
            LeadId::III => 61,
            LeadId::AVR => 62,
            LeadId::AVL => 63,
            _ => 64,
        };
        let mut own = Vec::new();
        item(&mut own, 0x09, &n16(code));
        out.extend([0x3F, n as u8, own.len() as u8]);
        out.extend(own);
    }
    let wave: Vec<u8> = leads.iter().flat_map(stored).flat_map(|v| n16((v as i16).cast_unsigned())).collect();
    item(&mut out, 0x1E, &wave);
    out.extend([0x80, 0x00]);
    out
}

/// CRC-CCITT as ISHNE and SCP-ECG use it.
pub fn crc(bytes: &[u8]) -> u16 {
    let mut value = 0xFFFF_u16;
    for byte in bytes {
        value ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            value = if value & 0x8000 != 0 { value << 1 ^ 0x1021 } else { value << 1 };
        }
    }
    value
}

/// ISHNE Holter, up to twelve leads.
pub fn ishne(ecg: &Ecg) -> Vec<u8> {
    let leads = &ecg.rhythm[..ecg.rhythm.len().min(12)];
    let first = &leads[0];
    let mut head = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at - 10..at - 10 + bytes.len()].copy_from_slice(bytes);
    put(14, &(first.len() as i32).to_le_bytes());
    put(18, &522_i32.to_le_bytes());
    put(22, &522_i32.to_le_bytes());
    put(26, &1_i16.to_le_bytes());
    put(28, b"San");
    put(68, b"Zhang");
    put(108, b"P1");
    put(128, &1_u16.to_le_bytes());
    for (n, value) in [5_i16, 3, 2024].iter().enumerate() {
        put(138 + 2 * n, &value.to_le_bytes());
    }
    for (n, value) in [9_i16, 30, 15].iter().enumerate() {
        put(150 + 2 * n, &value.to_le_bytes());
    }
    put(156, &(leads.len() as i16).to_le_bytes());
    for (n, lead) in leads.iter().enumerate() {
        let code: i16 = match lead.id {
            LeadId::I => 5,
            LeadId::II => 6,
            LeadId::III => 7,
            LeadId::AVR => 8,
            LeadId::AVL => 9,
            LeadId::AVF => 10,
            LeadId::V1 => 11,
            LeadId::V2 => 12,
            LeadId::V3 => 13,
            LeadId::V4 => 14,
            LeadId::V5 => 15,
            _ => 16,
        };
        put(158 + 2 * n, &code.to_le_bytes());
        put(206 + 2 * n, &((lead.scale * 1000.0) as i16).to_le_bytes());
    }
    put(272, &(first.rate_hz as i16).to_le_bytes());
    let mut out = b"ISHNE1.0".to_vec();
    out.extend(crc(&head).to_le_bytes());
    out.extend(head);
    for i in 0..first.len() {
        for lead in leads {
            out.extend((lead.samples.get(i).expect("same length") as i16).to_le_bytes());
        }
    }
    out
}

/// Contec: II, III, V1-V6 in steps of 5 µV about 2048.
pub fn contec(ecg: &Ecg) -> Vec<u8> {
    let mut out = b"0000051\0\0\x002024-03-05 09:30:15\0\0\0ZHANG\0\0\0\x01\x2E\0".to_vec();
    out.resize(43, 0);
    let series =
        [LeadId::II, LeadId::III, LeadId::V1, LeadId::V2, LeadId::V3, LeadId::V4, LeadId::V5, LeadId::V6];
    let columns: Vec<&Lead> = series.iter().map(|id| ecg.lead(*id).expect("12 leads")).collect();
    for i in 0..columns[0].len() {
        for lead in &columns {
            let units = (lead.uv(i).expect("in range") / 5.0).round() as i32 + 2048;
            out.extend((units as u16).to_le_bytes());
        }
    }
    out.extend([0; 37]);
    out
}

/// Heal Force: one channel, 10-bit samples packed four to three words.
pub fn healforce(ecg: &Ecg) -> Vec<u8> {
    let lead = ecg.lead(LeadId::II).expect("12 leads");
    let mut words: Vec<u16> = (0..lead.len() / 4 * 4)
        .map(|i| (((lead.uv(i).expect("in range") / 10.0).round() as i32 + 512).clamp(0, 1023)) as u16)
        .collect();
    words.truncate(words.len() / 4 * 4);
    let mut packed = Vec::new();
    for four in words.chunks_exact(4) {
        let spare = [four[3] << 2 & 0x3C00, four[3] << 6 & 0x3C00, four[3] << 10 & 0x3C00];
        for (word, extra) in four[..3].iter().zip(spare) {
            packed.extend((word | extra).to_le_bytes());
        }
    }
    let section = |id: u16, body: &[u8]| {
        let mut out = vec![0, 0];
        out.extend(id.to_le_bytes());
        out.extend((body.len() as u32 + 16).to_le_bytes());
        out.extend([13, 13, 0, 0, 0, 0, 0, 0]);
        out.extend(body);
        out
    };
    let mut stream = vec![0; 6];
    stream.extend((packed.len() as u16).to_le_bytes());
    stream.extend(packed);
    let parts =
        [(1_u16, section(1, &[2, 2, 0, b'P', b'1'])), (3, section(3, &[1])), (6, section(6, &stream))];
    let pointers = 10 * (parts.len() as u32 + 1);
    let mut index = Vec::new();
    let own = 16 + pointers;
    let mut at = 6 + own;
    let mut point = |id: u16, len: u32, start: u32| {
        index.extend(id.to_le_bytes());
        index.extend(len.to_le_bytes());
        index.extend(start.to_le_bytes());
    };
    point(0, own, 6);
    for (id, body) in &parts {
        point(*id, body.len() as u32, at);
        at += body.len() as u32;
    }
    let mut out = vec![0, 0];
    out.extend(at.to_le_bytes());
    out.extend(section(0, &index));
    parts.iter().for_each(|(_, body)| out.extend(body));
    out
}

/// The least that is a PDF by its marks.
pub fn pdf() -> Vec<u8> {
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
        .to_vec()
}

/// WFDB header and signal file in one of the formats 8, 16, 24, 32, 61, 80, 160, 212, 310, 311.
pub fn wfdb(ecg: &Ecg, format: u16) -> (Vec<u8>, Vec<u8>) {
    let first = &ecg.rhythm[0];
    // narrow formats hold narrow numbers: coarser units
    let coarse = match format {
        8 | 80 => 16,
        310 | 311 => 4,
        _ => 1,
    };
    let columns: Vec<Vec<i32>> =
        ecg.rhythm.iter().map(|l| stored(l).iter().map(|v| v / coarse).collect()).collect();
    let mut header = format!("made {} {} {}\n", ecg.rhythm.len(), first.rate_hz, first.len());
    for (lead, own) in ecg.rhythm.iter().zip(&columns) {
        let sum = own.iter().fold(0_i16, |acc, v| acc.wrapping_add(*v as i16));
        let gain = 1000.0 / lead.scale / f64::from(coarse);
        header += &format!(
            "made.dat {format} {gain}/mV 16 0 {} {sum} 0 {}\n",
            if format == 8 { 0 } else { own[0] },
            lead.name()
        );
    }
    let mut flat = Vec::new();
    for i in 0..first.len() {
        for own in &columns {
            flat.push(if format == 8 { own[i] - if i == 0 { 0 } else { own[i - 1] } } else { own[i] });
        }
    }
    (header.into_bytes(), pack(&flat, format))
}

fn pack(flat: &[i32], format: u16) -> Vec<u8> {
    let at = |i: usize| flat.get(i).copied().unwrap_or(0);
    match format {
        8 => flat.iter().map(|v| (*v as i8).cast_unsigned()).collect(),
        80 => flat.iter().map(|v| (v + 128) as u8).collect(),
        16 => flat.iter().flat_map(|v| (*v as i16).to_le_bytes()).collect(),
        61 => flat.iter().flat_map(|v| (*v as i16).to_be_bytes()).collect(),
        160 => flat.iter().flat_map(|v| ((v + 32_768) as u16).to_le_bytes()).collect(),
        24 => flat.iter().flat_map(|v| v.to_le_bytes()[..3].to_vec()).collect(),
        32 => flat.iter().flat_map(|v| v.to_le_bytes()).collect(),
        212 => (0..flat.len())
            .step_by(2)
            .flat_map(|i| {
                let (a, b) = (at(i) as u16 & 0xFFF, at(i + 1) as u16 & 0xFFF);
                [a as u8, (a >> 8) as u8 | (b >> 8 << 4) as u8, b as u8]
            })
            .collect(),
        _ => (0..flat.len())
            .step_by(3)
            .flat_map(|i| {
                let [a, b, c] = [at(i), at(i + 1), at(i + 2)].map(|v| v as u32 & 0x3FF);
                if format == 310 {
                    let (one, two) = (a << 1 | (c & 0x1F) << 11, b << 1 | (c >> 5) << 11);
                    (one | two << 16).to_le_bytes()
                } else {
                    (a | b << 10 | c << 20).to_le_bytes()
                }
            })
            .collect(),
    }
}
