//! A day-long ISHNE record: scanned, ten seconds of it measured and drawn, and the peak memory beside the file's size.

use anyhow::Context as _;
use relay_ecg::draw::{Options, layout};
use relay_ecg::measure::measure;
use relay_ecg::read::ishne::Stream;
use relay_ecg::synth::{Spec, ecg};
use relay_ecg::{LeadId, holter};
use std::io::{BufWriter, Write};

const RATE: usize = 250;

fn status(field: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(field)).context("not in /proc/self/status")?;
    Ok(line.trim_matches([':', ' ', '\t']).to_owned())
}

pub(super) fn run(hours: f64, out: &mut dyn Write) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    make(hours, file.as_file())?;
    let length = file.as_file().metadata()?.len();
    let open = || anyhow::Ok(Stream::open(std::fs::File::open(file.path())?)?);
    // 5 sets the peak back to what is held now (proc(5))
    std::fs::OpenOptions::new().write(true).open("/proc/self/clear_refs")?.write_all(b"5")?;
    let before = status("VmRSS")?;
    let found = holter::scan(&mut open()?)?;
    let cut = holter::excerpt(&mut open()?, found.seconds / 2.0, 10.0)?;
    let (measured, paper) = (measure(&cut), layout(&cut, &Options::default()));
    writeln!(
        out,
        "Holter of {hours} h, {} MB: {} beats, {:?}/min; ten seconds of it: {:?}/min, {} traces; memory {before} before, VmHWM {}",
        length / 1_000_000,
        found.beats,
        found.rate_bpm,
        measured.rate_bpm,
        paper.traces.len(),
        status("VmHWM")?
    )?;
    Ok(())
}

/// One minute of a synthetic ECG, over and over: the seam lies between two beats.
fn make(hours: f64, target: &std::fs::File) -> anyhow::Result<()> {
    let minute = ecg(&Spec { seconds: 60.0, rate_hz: RATE as f64, rate_bpm: 60.0, ..Spec::normal(1) });
    let minutes = (hours * 60.0).round() as usize;
    let mut head = vec![0_u8; 522];
    head[..8].copy_from_slice(b"ISHNE1.0");
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(14, &i32::try_from(minutes * 60 * RATE)?.to_le_bytes());
    put(22, &522_i32.to_le_bytes());
    put(156, &3_i16.to_le_bytes());
    let mut leads = Vec::new();
    for (n, (code, id)) in [(6_i16, LeadId::II), (11, LeadId::V1), (15, LeadId::V5)].into_iter().enumerate() {
        let lead = minute.lead(id).context("a synthetic lead is missing")?;
        put(158 + 2 * n, &code.to_le_bytes());
        put(206 + 2 * n, &((lead.scale * 1000.0) as i16).to_le_bytes());
        leads.push(lead);
    }
    put(272, &i16::try_from(RATE)?.to_le_bytes());
    let mut file = BufWriter::new(target);
    file.write_all(&head)?;
    for _ in 0..minutes {
        for i in 0..60 * RATE {
            for lead in &leads {
                file.write_all(&(lead.samples.get(i).unwrap_or(0) as i16).to_le_bytes())?;
            }
        }
    }
    Ok(file.flush()?)
}
