//! ECGs: time of a record from bytes to paper, a day of Holter in constant memory, QRS detectors side by side.

mod holter;
mod speed;

use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// ECG files beside the synthetic ones; a folder stands for the files in it.
    files: Vec<PathBuf>,
    /// Hours of the synthetic Holter record of three leads at 250 Hz; 0 leaves it out.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Folder with record 100 of MIT-BIH (100.hea, 100.dat, 100.atr): compares QRS detectors; the peers are fetched by pip.
    #[arg(long)]
    peers: Option<PathBuf>,
}

/// Runs what is asked for.
///
/// # Errors
/// A file that cannot be listed, a disk that is full, peers that cannot be fetched.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "processor time of decode, measure and layout; a 10 s 12-lead ECG may take {} ms",
        speed::ALLOWED_MS
    )?;
    for (name, bytes) in speed::synthetic()? {
        speed::one(&name, &bytes, &mut out)?;
    }
    for path in below(&arguments.files)? {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        speed::one(&path.display().to_string(), &bytes, &mut out)?;
    }
    if arguments.hours > 0.0 {
        holter::run(arguments.hours, &mut out)?;
    }
    drop(out);
    if let Some(folder) = &arguments.peers {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ecg/run");
        let status =
            Command::new(&script).arg(folder).status().with_context(|| script.display().to_string())?;
        if !status.success() {
            bail!("{} ended with {status}", script.display());
        }
    }
    Ok(())
}

fn below(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
            files.extend(entries.flatten().map(|e| e.path()).filter(|p| p.is_file()));
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    Ok(files)
}
