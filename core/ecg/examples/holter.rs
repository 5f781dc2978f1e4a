//! A day of an ISHNE Holter in constant memory: `holter FILE` scans it, measures and draws ten seconds, and prints the peak memory;
//! `holter --make FILE [HOURS]` writes a synthetic one of three leads at 250 Hz.

use std::io::{BufWriter, Write};

use relay_ecg::draw::{Options, layout};
use relay_ecg::measure::measure;
use relay_ecg::read::ishne::Stream;
use relay_ecg::synth::{Spec, ecg};
use relay_ecg::{LeadId, holter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let first = args.next().ok_or("holter [--make] FILE")?;
    if first == "--make" {
        let path = args.next().ok_or("holter --make FILE")?;
        let hours = args.next().map_or(Ok(24.0), |h| h.parse())?;
        return make(&path, hours);
    }
    let length = std::fs::metadata(&first)?.len();
    let found = holter::scan(&mut Stream::open(std::fs::File::open(&first)?)?)?;
    let cut = holter::excerpt(&mut Stream::open(std::fs::File::open(&first)?)?, found.seconds / 2.0, 10.0)?;
    let (measured, paper) = (measure(&cut), layout(&cut, &Options::default()));
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM not known");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&found)?)?;
    writeln!(out, "excerpt: rate {:?}, {} traces", measured.rate_bpm, paper.traces.len())?;
    writeln!(out, "file {length} bytes, peak memory {peak}")?;
    Ok(())
}

/// One minute of a synthetic ECG, over and over: the seam lies between two beats.
fn make(path: &str, hours: f64) -> Result<(), Box<dyn std::error::Error>> {
    const RATE: usize = 250;
    let minute = ecg(&Spec { seconds: 60.0, rate_hz: RATE as f64, rate_bpm: 60.0, ..Spec::normal(1) });
    let leads = [LeadId::II, LeadId::V1, LeadId::V5].map(|id| minute.lead(id).cloned());
    let minutes = (hours * 60.0).round() as usize;
    let rows = minutes * 60 * RATE;
    let mut head = vec![0_u8; 522];
    head[..8].copy_from_slice(b"ISHNE1.0");
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(14, &i32::try_from(rows)?.to_le_bytes());
    put(22, &522_i32.to_le_bytes());
    put(156, &3_i16.to_le_bytes());
    for (n, (code, lead)) in [6_i16, 11, 15].into_iter().zip(&leads).enumerate() {
        let lead = lead.as_ref().ok_or("a synthetic lead is missing")?;
        put(158 + 2 * n, &code.to_le_bytes());
        put(206 + 2 * n, &((lead.scale * 1000.0) as i16).to_le_bytes());
    }
    put(272, &i16::try_from(RATE)?.to_le_bytes());
    let mut file =
        BufWriter::new(std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(path)?);
    file.write_all(&head)?;
    for _ in 0..minutes {
        for i in 0..60 * RATE {
            for lead in leads.iter().flatten() {
                file.write_all(&(lead.samples.get(i).unwrap_or(0) as i16).to_le_bytes())?;
            }
        }
    }
    Ok(file.flush()?)
}
