//! Objects and bytes a second: from full spools at the clinics to receipts that the clinics have recorded.

use crate::county::{Group, Load};
use crate::orthanc::{self, Orthanc};
use crate::{disk, objects, process, table};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Link clients.
    #[arg(long, default_value_t = 16)]
    clinics: usize,
    /// Studies of one small object (145 kB) a clinic.
    #[arg(long, default_value_t = 150)]
    small: usize,
    /// Studies of two films (15.5 MB each) a clinic.
    #[arg(long, default_value_t = 2)]
    films: usize,
    /// What each clinic's line is said to carry, in Mbit/s: it decides which coder films get. The line itself is the loopback.
    #[arg(long, default_value_t = crate::load::TOWNSHIP_MBIT)]
    line: u64,
    /// Leave the peer out.
    #[arg(long)]
    alone: bool,
}

struct Figure {
    who: &'static str,
    took: Duration,
    memory: Option<u64>,
    /// Processor seconds of the receiving process.
    cpu: Option<f64>,
}

/// Runs both workloads.
///
/// # Errors
/// Of any part.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("no temporary directory")?;
    table::line(&format!("{}; {} link clients in one process\n", table::machine(), arguments.clinics))?;
    for (name, studies, views, scale) in [
        ("objects of 145 kB, one a study", arguments.small, 1, objects::SMALL_SCALE),
        ("films of 15.5 MB, two a study", arguments.films, 2, objects::FULL_SCALE),
    ] {
        if studies == 0 {
            continue;
        }
        let place = dir.path().join(format!("w{views}"));
        let files = objects::make(&place.join("files"), arguments.clinics, studies, views, scale)?;
        let folders: Vec<PathBuf> =
            files.iter().filter_map(|list| list.first()?.parent().map(PathBuf::from)).collect();
        let all: Vec<PathBuf> = files.into_iter().flatten().collect();
        let bytes: u64 = all.iter().map(|path| path.metadata().map_or(0, |m| m.len())).sum();
        let mut figures = vec![relay(&place, &folders, arguments.line, all.len() as u64).await?];
        if !arguments.alone && orthanc::installed() {
            figures.extend(peer(&place, &folders).await?);
        }
        figures.push(Figure {
            who: "bare disk, one synced write after the other",
            took: disk::write_synced(&all, &place)?,
            memory: None,
            cpu: None,
        });
        print(name, all.len() as u64, bytes, &figures)?;
        std::fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    }
    Ok(())
}

/// Where the clinics' spools lie: in memory where the machine has such a place, so that the county has its disk for itself
/// as it has outside a measurement. Files that one process deletes slow down the next file that another makes.
fn clinics_dir() -> anyhow::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("no directory for the clinics")
}

async fn relay(
    place: &std::path::Path,
    folders: &[PathBuf],
    line: u64,
    objects: u64,
) -> anyhow::Result<Figure> {
    let clinics = clinics_dir()?;
    let mut group = Group::found(&place.join("relay"), clinics.path(), folders.len()).await?;
    let mut load = Load::start(&group.homes, folders, line).await?;
    ensure!(load.spooled.objects == objects, "{} of {objects} objects were spooled", load.spooled.objects);
    let (plain, coded) = (load.spooled.bytes as f64 / 1e6, load.spooled.coded as f64 / 1e6);
    table::line(&format!("{plain:.0} MB travel as {coded:.0} MB, chosen for a line of {line} Mbit/s"))?;
    let before = process::cpu_seconds(group.pid()?)?;
    let told = load.go().await?;
    let cpu = process::cpu_seconds(group.pid()?)? - before;
    let memory = process::peak_memory(group.pid()?)?;
    load.end().await?;
    let proof = group.county.gateway(&["verify-store", "--json"], "").await?;
    let proof: Value = serde_json::from_str(proof.trim()).with_context(|| proof.clone())?;
    ensure!(proof["objects"] == objects && proof["ok"] == true, "the county's store: {proof}");
    group.county.stop().await?;
    Ok(Figure {
        who: "Relay, durable receipts",
        took: Duration::from_secs_f64(told.seconds),
        memory: Some(memory),
        cpu: Some(cpu),
    })
}

async fn peer(place: &std::path::Path, folders: &[PathBuf]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let by_dimse = Orthanc::start(&place.join("orthanc-dimse")).await?;
    let took = by_dimse.c_store(folders).await?;
    figures.push(Figure {
        who: "Orthanc, C-STORE, unsynced",
        took,
        memory: Some(by_dimse.peak_memory()?),
        cpu: Some(by_dimse.cpu_seconds()?),
    });
    by_dimse.end().await?;
    let by_rest = Orthanc::start(&place.join("orthanc-rest")).await?;
    let took = by_rest.rest(folders).await?;
    figures.push(Figure {
        who: "Orthanc, REST, unsynced",
        took,
        memory: Some(by_rest.peak_memory()?),
        cpu: Some(by_rest.cpu_seconds()?),
    });
    by_rest.end().await?;
    Ok(figures)
}

fn print(name: &str, objects: u64, bytes: u64, figures: &[Figure]) -> anyhow::Result<()> {
    table::line(&format!("{objects} {name}, {:.0} MB", bytes as f64 / 1e6))?;
    let ours = figures.first().map_or(0.0, |figure| figure.took.as_secs_f64());
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            let seconds = figure.took.as_secs_f64();
            vec![
                figure.who.to_owned(),
                format!("{seconds:.2}"),
                format!("{:.0}", objects as f64 / seconds),
                format!("{:.0}", bytes as f64 / 1e6 / seconds),
                figure.cpu.map_or_else(String::new, |cpu| format!("{:.1}", cpu * 1e3 / objects as f64)),
                figure.memory.map_or_else(String::new, |m| format!("{:.0}", m as f64 / 1e6)),
                format!("{:.2}", seconds / ours),
            ]
        })
        .collect();
    table::print(&["", "s", "objects/s", "MB/s", "CPU ms/object", "peak MB", "time against ours"], &rows)
}
