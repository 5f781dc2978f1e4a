//! The film coder beside JPEG-LS: bytes and processor time, film by film, in one run.

mod load;
mod peer;

use crate::table;
use anyhow::Context as _;
use load::Film;
use relay_film::{Mode, decode_file, encode_file};
use std::path::PathBuf;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// DICOM files; a folder stands for the files in it, and is a group of its own. Beside them, with RELAY_CORPUS=DIR, the
    /// real radiographs of `DIR/dicom/expected.json`.
    files: Vec<PathBuf>,
    /// Runs of each coder; the fastest counts.
    #[arg(long, default_value_t = 2)]
    runs: u32,
}

/// What the strong coder must reach against pack + JPEG-LS.
const WANTED_GAIN: f64 = 1.05;
/// What the coders must reach, in MB of raw pixels a second of one core.
const WANTED_STRONG: f64 = 25.0;
const WANTED_QUICK: f64 = 400.0;

/// The clock of a thread moves in steps of milliseconds: smaller films count for their ratio only.
const MEASURABLE_BYTES: f64 = 5e6;

/// One coder on one film.
#[derive(Debug, Clone, Copy)]
struct Figure {
    bytes: usize,
    encode_s: f64,
    decode_s: f64,
}

impl Figure {
    /// MB of raw pixels a second, both ways; nothing for what is too short for the clock.
    fn speed(&self, raw: f64) -> String {
        if raw < MEASURABLE_BYTES {
            return "–".to_owned();
        }
        format!("{:.0}/{:.0}", raw / self.encode_s / 1e6, raw / self.decode_s / 1e6)
    }
}

/// Processor time of this thread, s (Linux: first field of schedstat, ns).
fn spent() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("schedstat is empty")?.parse::<f64>()? / 1e9)
}

fn timed<T>(run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let begin = spent()?;
    let value = run()?;
    Ok((value, (spent()? - begin).max(1e-9)))
}

/// The fastest of some runs of a coder whose result is proved.
fn figure(
    film: &Film,
    runs: u32,
    encode: impl Fn() -> anyhow::Result<Vec<u8>>,
    decode: impl Fn(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Figure> {
    let mut best: Option<Figure> = None;
    for _ in 0..runs.max(1) {
        let (coded, encode_s) = timed(&encode)?;
        let (back, decode_s) = timed(|| decode(&coded))?;
        anyhow::ensure!(back == film.raw, "{}: what came back is not what went in", film.name);
        let before = best.map_or((f64::MAX, f64::MAX), |b| (b.encode_s, b.decode_s));
        best = Some(Figure {
            bytes: coded.len(),
            encode_s: encode_s.min(before.0),
            decode_s: decode_s.min(before.1),
        });
    }
    best.context("no runs")
}

/// The sums of a group.
#[derive(Debug, Default)]
struct Group {
    films: u32,
    /// Bytes of the films whose time counts.
    raw: f64,
    /// Logarithms: ratio of the peer, of quick, of strong.
    ratios: [f64; 3],
    seconds: [(f64, f64); 3],
}

/// Runs what is asked for.
///
/// # Errors
/// Files that cannot be listed, or a coder that does not give back what it was given.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    table::line(&table::machine())?;
    table::line(
        "ratios are raw bytes to coded bytes of the pixels; speeds are MB of raw pixels a second of one core, in/out",
    )?;
    for (name, paths) in load::groups(&arguments.files)? {
        group(&name, &paths, arguments.runs)?;
    }
    Ok(())
}

fn group(name: &str, paths: &[PathBuf], runs: u32) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut sums = Group::default();
    let mut without = Vec::new();
    for path in paths {
        match load::film(path) {
            Ok(film) => rows.push(one(&film, runs, &mut sums)?),
            Err(error) => without.push(format!("not measured, {}: {error:#}", path.display())),
        }
    }
    table::line(&format!("\n{name}: {} films", sums.films))?;
    table::print(
        &[
            "film",
            "samples",
            "levels",
            "pack + JPEG-LS",
            "quick",
            "strong",
            "strong : JPEG-LS",
            "JPEG-LS MB/s",
            "quick MB/s",
            "strong MB/s",
        ],
        &rows,
    )?;
    for line in without {
        table::line(&line)?;
    }
    if sums.films > 0 {
        totals(&sums)?;
    }
    Ok(())
}

fn one(film: &Film, runs: u32, sums: &mut Group) -> anyhow::Result<Vec<String>> {
    let expected = film.raw.len() as u64;
    let ours = |mode: Mode| {
        figure(
            film,
            runs,
            || Ok(encode_file(&film.raw, Some(&film.layout), mode)),
            |coded| Ok(decode_file(coded, expected)?),
        )
    };
    let figures = [peer::packed_jpeg_ls(film, runs)?, ours(Mode::Quick)?, ours(Mode::Strong)?];
    let raw = film.raw.len() as f64;
    sums.films += 1;
    let timed = raw >= MEASURABLE_BYTES;
    sums.raw += if timed { raw } else { 0.0 };
    for (index, figure) in figures.iter().enumerate() {
        sums.ratios[index] += (raw / figure.bytes as f64).ln();
        if timed {
            sums.seconds[index].0 += figure.encode_s;
            sums.seconds[index].1 += figure.decode_s;
        }
    }
    let mut row = vec![film.name.clone(), film.shape(), film.levels().to_string()];
    row.extend(figures.iter().map(|f| format!("{:.3}", raw / f.bytes as f64)));
    row.push(format!("{:.4}", figures[0].bytes as f64 / figures[2].bytes as f64));
    row.extend(figures.iter().map(|f| f.speed(raw)));
    Ok(row)
}

fn totals(sums: &Group) -> anyhow::Result<()> {
    let [peer, quick, strong] = sums.ratios.map(|log| (log / f64::from(sums.films)).exp());
    table::line(&format!(
        "geometric means: pack + JPEG-LS {peer:.3}, quick {quick:.3} ({:.4}), strong {strong:.3} ({:.4}; wanted {WANTED_GAIN})",
        quick / peer,
        strong / peer
    ))?;
    let speed = |seconds: f64| sums.raw / seconds / 1e6;
    for (name, (encode, decode), wanted) in [
        ("JPEG-LS", sums.seconds[0], None),
        ("quick", sums.seconds[1], Some(WANTED_QUICK)),
        ("strong", sums.seconds[2], Some(WANTED_STRONG)),
    ] {
        let wanted = wanted.map_or(String::new(), |wanted| {
            format!(" (wanted {wanted}: {:.2}/{:.2})", speed(encode) / wanted, speed(decode) / wanted)
        });
        table::line(&format!("{name}: {:.1}/{:.1} MB/s{wanted}", speed(encode), speed(decode)))?;
    }
    Ok(())
}
