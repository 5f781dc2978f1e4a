//! Peak memory of agent and gateway, from process start, over a whole day's work on one study of 500 MB.

use crate::county::{Group, Load};
use crate::orthanc::{self, Orthanc};
use crate::{objects, process, table};
use anyhow::Context as _;
use http::Method;
use relay_core::study::Class;
use relay_tests::demo::{Pace, Town};
use relay_tests::lab::clinic::open_report;
use relay_tests::lab::make_dir;
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::wait::{Look, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A study of 500 MB is safe at the county within.
const SAFE_DEADLINE: Duration = Duration::from_secs(600);
/// A report is back within.
const BACK_DEADLINE: Duration = Duration::from_secs(120);
/// Films of the study: 33 × 15.5 MB = 513 MB.
const FILMS: usize = 33;
/// The bound for the agent.
const AGENT_BOUND: u64 = 64_000_000;
/// The bound for the gateway without its connected agents.
const GATEWAY_BOUND: u64 = 128_000_000;

/// What the bound allows more for each connected agent.
const AGENT_COST: u64 = 60_000;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Idle agents for the figure per connected agent; 0 leaves it out.
    #[arg(long, default_value_t = 64)]
    idle: usize,
    /// Leave the peer out.
    #[arg(long)]
    alone: bool,
}

/// Runs the study of many films, the study of one giant film, and the idle agents.
///
/// # Errors
/// Of any part.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("no temporary directory")?;
    table::line(&format!(
        "{}; bounds: agent {} MB, gateway {} MB\n",
        table::machine(),
        AGENT_BOUND / 1_000_000,
        GATEWAY_BOUND / 1_000_000
    ))?;
    let films = dir.path().join("films");
    let made = objects::make(&films, 1, 1, FILMS, objects::FULL_SCALE)?;
    let folders: Vec<PathBuf> =
        made.iter().filter_map(|list| list.first()?.parent().map(PathBuf::from)).collect();
    let giant = dir.path().join("giant");
    make_dir(&giant)?;
    objects::giant(&giant.join("giant.dcm"))?;
    let mut rows = Vec::new();
    rows.extend(day("33 films of 15.5 MB", &dir.path().join("day1"), &folders[0]).await?);
    rows.extend(day("one film of 497 MB", &dir.path().join("day2"), &giant).await?);
    if !arguments.alone && orthanc::installed() {
        rows.push(peer(&dir.path().join("orthanc"), &folders).await?);
    }
    if arguments.idle > 0 {
        rows.extend(idle(&dir.path().join("idle"), arguments.idle).await?);
    }
    table::print(&["what", "process", "peak MB", "of its bound"], &rows)
}

/// One study from the clinic's files to the report opened there, with everything that people do in between.
async fn day(name: &str, dir: &Path, folder: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let mut town = Town::open(dir, Pace::Play, &mut rand::rng()).await?;
    let clinic = &town.clinics[0];
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let refused = clinic.send(&files, Class::Routine).await?;
    anyhow::ensure!(refused.is_empty(), "refused: {refused:?}");
    let uid = safe(&town).await?;
    read(&town, &uid).await?;
    let agent = process::peak_memory(clinic.pid().context("the agent does not run")?)?;
    let gateway = process::peak_memory(town.county.addresses()?.pid)?;
    let row = |process: &str, peak: u64, bound: u64| {
        vec![
            name.to_owned(),
            process.to_owned(),
            format!("{:.0}", peak as f64 / 1e6),
            format!("{:.2}", peak as f64 / bound as f64),
        ]
    };
    let rows = vec![row("agent", agent, AGENT_BOUND), row("gateway", gateway, GATEWAY_BOUND)];
    town.stop().await?;
    Ok(rows)
}

async fn safe(town: &Town) -> anyhow::Result<String> {
    until("the study to be safe at the county", SAFE_DEADLINE, async || {
        let page = town.clinics[0].overview().await?;
        let study = page.studies.first();
        let safe = study.filter(|s| s.safe_at.is_some() && s.complete && s.receipted == s.objects);
        Ok(safe.map_or_else(|| Look::NotYet(format!("{study:?}")), |s| Look::There(s.uid.to_string())))
    })
    .await
}

/// Log in, look at a frame, write, sign, audit; the clinic opens what came back.
async fn read(town: &Town, uid: &str) -> anyhow::Result<()> {
    let clinic = &town.told.agents[0].clinic;
    let author = Doctor::log_in(&town.county, town.login("zhao")?).await?;
    let reviewer = Doctor::log_in(&town.county, town.login("qian")?).await?;
    let study = author.whole_study(clinic, uid).await?;
    look(&author, clinic, uid, &study).await?;
    for signed in [author.report(&study, "双肺未见明显异常。").await?, reviewer.audit(&study).await?]
    {
        anyhow::ensure!(signed.status.is_success(), "{}", String::from_utf8_lossy(&signed.body));
    }
    let report = until("the final report at the clinic", BACK_DEADLINE, async || {
        let page = town.clinics[0].overview().await?;
        let found = page.reports.iter().find(|r| !r.superseded && r.version == 2 && r.fault.is_none());
        Ok(found.map_or_else(
            || Look::NotYet(format!("{} reports", page.reports.len())),
            |r| Look::There(r.letter.clone()),
        ))
    })
    .await?;
    let staff = &town.told.agents[0].staff[0];
    let pdf = open_report(&town.clinics[0].api()?, report.as_str(), &staff.name, &staff.pin).await?;
    anyhow::ensure!(pdf.starts_with(b"%PDF"), "the clinic was shown no PDF");
    Ok(())
}

async fn look(doctor: &Doctor, clinic: &str, uid: &str, study: &Value) -> anyhow::Result<()> {
    let object = study["objects"][0]["hash"].as_str().context("an object without hash")?;
    let path = format!("/api/v1/studies/{clinic}/{uid}/instances/{object}/frames/1/rendered");
    let frame = doctor.client.send(Method::GET, &path, None).await?;
    table::line(&format!("a frame on the screen: {} ({} bytes)", frame.status, frame.body.len()))
}

async fn peer(dir: &Path, folders: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let orthanc = Orthanc::start(dir).await?;
    orthanc.c_store(folders).await?;
    let peak = orthanc.peak_memory()?;
    orthanc.end().await?;
    Ok(vec![
        "33 films, received only".to_owned(),
        "Orthanc".to_owned(),
        format!("{:.0}", peak as f64 / 1e6),
        String::new(),
    ])
}

/// What a connected agent costs: by itself, and of the bound that the gateway has with so many of them.
async fn idle(dir: &Path, agents: usize) -> anyhow::Result<Vec<Vec<String>>> {
    let mut group = Group::found(dir, dir, agents).await?;
    let before = process::memory(group.pid()?)?;
    let mut load = Load::start(&group.homes, &[], crate::load::TOWNSHIP_MBIT).await?;
    load.go().await?;
    let after = process::memory(group.pid()?)?;
    let peak = process::peak_memory(group.pid()?)?;
    load.end().await?;
    group.county.stop().await?;
    let each = after.saturating_sub(before) as f64 / agents as f64;
    let bound = (GATEWAY_BOUND + AGENT_COST * agents as u64) as f64;
    let name = format!("{agents} idle agents");
    let row = |figure: String, of_bound: f64| {
        vec![name.clone(), "gateway".to_owned(), figure, format!("{of_bound:.2}")]
    };
    Ok(vec![
        row(format!("{:.0}", peak as f64 / 1e6), peak as f64 / bound),
        row(format!("{:.3} each", each / 1e6), each / AGENT_COST as f64),
    ])
}
