//! Writes phantom films for demonstrations and tests, and prints their measured noise.

use anyhow::Context;
use clap::{Parser, Subcommand};
use relay_core::clock::{Clock, HOUR_MS, SystemClock, UtcMs};
use relay_tests::phantom::{film, spectrum, study};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(about = "Phantom X-ray films: valid DICOM, no patient")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write films: even studies are chests in two views, odd ones hands.
    Films {
        /// Folder that receives the files; made when missing.
        #[arg(long)]
        out: PathBuf,
        /// How many studies.
        #[arg(long, default_value_t = 2)]
        studies: u64,
        /// Number of the first study.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Same seed, same films.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Size against 2544 x 3056 pixels.
        #[arg(long, default_value_t = 1.0)]
        scale: f32,
        /// Exam time of the first study in UTC milliseconds; an hour ago when missing.
        #[arg(long)]
        at: Option<i64>,
    },
    /// Print the noise of a chest film, measured from two exposures of one body.
    Spectrum {
        /// Which body.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Films { out, studies, first, seed, scale, at } => {
            let start = at.map_or_else(|| SystemClock.now().plus_ms(-HOUR_MS), UtcMs);
            write_films(&out, first..first + studies, seed, scale, start)
        }
        Command::Spectrum { seed } => print_spectrum(seed),
    }
}

fn write_films(
    out: &std::path::Path,
    numbers: std::ops::Range<u64>,
    seed: u64,
    scale: f32,
    start: UtcMs,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut words = std::io::stdout().lock();
    for number in numbers {
        let step = i64::try_from(number).unwrap_or(0) * relay_core::clock::MINUTE_MS * 7;
        for (view, request) in study(seed, number, scale, start.plus_ms(step)).films.iter().enumerate() {
            let path = out.join(format!("film-{number:04}-{}.dcm", view + 1));
            let made = film(request)?;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            file.write_all(&made.file).with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(
                words,
                "{} {:?} {}x{} {} bytes",
                path.display(),
                request.view,
                made.columns,
                made.rows,
                made.file.len()
            )?;
        }
    }
    Ok(())
}

fn print_spectrum(seed: u64) -> anyhow::Result<()> {
    let mut words = std::io::stdout().lock();
    writeln!(words, "place      mean  deviation  noise power by eighths of Nyquist, lowest = 1")?;
    for (place, column, row) in [("lung", 0.2, 0.35), ("heart", 0.5, 0.55), ("abdomen", 0.2, 0.78)] {
        let noise = spectrum::measure(seed, 1.0, column, row);
        let power: Vec<String> = noise.power.iter().map(|p| format!("{p:.2}")).collect();
        writeln!(words, "{place:<8} {:>6.0} {:>10.1}  {}", noise.mean, noise.deviation, power.join(" "))?;
    }
    Ok(())
}
