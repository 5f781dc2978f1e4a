//! The demo: a county and two clinics as real processes, exams of the day, and, with `--once`, doctors who read them.

mod cast;
mod day;
mod doctors;
pub mod exams;
mod openers;
mod outcome;
mod plan;
pub mod town;

pub use cast::Staff;
pub use outcome::{Outcome, Refused};
pub use plan::Plan;
pub use town::{AgentTold, DEMO_FILE, Pace, Told, Town};

use anyhow::Context as _;
use rand::{RngCore, SeedableRng as _};
use relay_core::clock::{Clock as _, SystemClock};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// How often a demo that stays up looks after its programs.
const WATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// What to play.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where; a temporary directory when absent.
    pub dir: Option<PathBuf>,
    /// Play the whole day without a person, then stop.
    pub once: bool,
    /// Files and folders instead of the built-in exams; empty = the built-in ones.
    pub files: Vec<PathBuf>,
    /// Size of the built-in films against full size.
    pub scale: f32,
}

/// Writes a line for people to standard error.
pub fn say(line: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn tell(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

/// Plays; true when all that was accepted came back verified (always so without `once`).
///
/// # Errors
/// When a program fails, with its log, or the disk.
pub async fn play(options: Options, stop: CancellationToken) -> anyhow::Result<bool> {
    let mut rng = rand::rngs::StdRng::from_os_rng();
    let (dir, temporary) = match &options.dir {
        Some(dir) => (dir.clone(), None),
        None => {
            let made =
                tempfile::Builder::new().prefix("relay-demo-").tempdir().context("a temporary directory")?;
            (made.path().to_owned(), Some(made))
        }
    };
    say(&format!("relay-demo: {}", dir.display()));
    let played = in_dir(&dir, &options, &mut rng, &stop).await;
    if let (Some(kept), Err(_) | Ok(false)) = (temporary, &played) {
        say(&format!("relay-demo: kept for a look: {}", kept.keep().display()));
    }
    played
}

async fn in_dir(
    dir: &Path,
    options: &Options,
    rng: &mut dyn RngCore,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let plan = if options.files.is_empty() {
        let now = SystemClock.now();
        let (films, scale) = (dir.join("exams"), options.scale);
        let made = tokio::task::spawn_blocking(move || exams::make(&films, now, scale));
        let making = async { made.await.context("computing the exams panicked")? };
        Plan::built_in(&making.await?)?
    } else {
        Plan::of_files(&options.files)?
    };
    let mut town = tokio::select! {
        town = Town::open(dir, if options.once { Pace::Play } else { Pace::Life }, rng) => town?,
        () = stop.cancelled() => return Ok(false),
    };
    let played = if options.once {
        tokio::select! {
            done = day::play(&mut town, plan) => done,
            () = stop.cancelled() => Err(anyhow::anyhow!("stopped before the day was over")),
        }
    } else {
        stay(&mut town, &plan, stop).await.map(|()| None)
    };
    let stopped = town.stop().await;
    let outcome = played?;
    stopped?;
    let Some(outcome) = outcome else { return Ok(true) };
    tell(&outcome.table())?;
    tell(&outcome.json().to_string())?;
    Ok(outcome.all_came_back())
}

async fn stay(town: &mut Town, plan: &Plan, stop: &CancellationToken) -> anyhow::Result<()> {
    if !town.told.exams_sent {
        let not_taken = plan.send(town).await?;
        for refused in &not_taken {
            say(&format!(
                "relay-demo: {}: {}: {}: {}",
                refused.file.display(),
                refused.code,
                refused.field,
                refused.reason
            ));
        }
        town.told.exams_sent = true;
        town.tell()?;
    }
    say(&format!("relay-demo: reading room {}", town.told.viewer_url));
    say(&format!("relay-demo: logins, clinics, keys: {}", town.file().display()));
    for agent in &town.told.agents {
        say(&format!("relay-demo: {} {}", agent.name, agent.page_url));
    }
    tell("ready")?;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(WATCH) => town.mend().await.iter().for_each(|line| say(&format!("relay-demo: {line}"))),
        }
    }
}
