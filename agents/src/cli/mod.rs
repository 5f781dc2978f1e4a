//! The command line. Results go to standard output, everything else to standard error.

mod ecg;
mod enrol;
mod files;
mod people;
mod send;
mod show;

use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::home::Home;
use crate::spool::Spool;
use crate::trust::Device;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use relay_core::clock::{Clock, SystemClock};
use relay_core::study::Class;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Longest PIN file or standard input that is read as a PIN, in bytes.
const MAX_PIN_BYTES: u64 = 1024;

/// The clinic's agent: takes films and ECGs, brings them to the county, brings the signed reports back.
#[derive(Debug, Parser)]
#[command(name = "relay-agent", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which agent.
#[derive(Debug, Clone, Args)]
struct At {
    /// The agent's directory.
    #[arg(long, env = "RELAY_AGENT_HOME", default_value = "/var/lib/relay-agent")]
    home: PathBuf,
}

/// A home whose agent does not run, opened by a command.
struct Asleep {
    config: Config,
    device: Arc<Device>,
    spool: Spool,
}

impl At {
    fn home(&self) -> Home {
        Home::at(&self.home)
    }

    /// Opens the home itself, after it was seen that no agent runs on it.
    async fn asleep(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Asleep> {
        let home = self.home();
        let config = if home.config().exists() { Config::load(&home.config())? } else { Config::default() };
        let device = Arc::new(Device::load(&home)?);
        let spool = crate::run::open_spool(&home, &config, &device, clock).await?;
        Ok(Asleep { config, device, spool })
    }
}

/// Who acts: a person enrolled at the clinic. The PIN comes from a file, else from standard input.
#[derive(Debug, Clone, Args)]
struct Who {
    /// Name as enrolled with `staff add`.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// File with the PIN; standard input when absent.
    #[arg(long)]
    pin_file: Option<PathBuf>,
}

impl Who {
    fn pin(&self) -> anyhow::Result<String> {
        pin(self.pin_file.as_deref())
    }
}

fn pin(file: Option<&std::path::Path>) -> anyhow::Result<String> {
    let mut text = String::new();
    match file {
        Some(path) => {
            let wrong = || {
                let path = path.display();
                format!(
                    "--pin-file {path}：无法读取，请检查路径；不给出此项则从标准输入读取 / cannot be read"
                )
            };
            let file = std::fs::File::open(path).with_context(wrong)?;
            file.take(MAX_PIN_BYTES).read_to_string(&mut text).with_context(wrong)?;
        }
        None => return from_standard_input("PIN", "PIN"),
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A secret from standard input, named in both languages.
fn from_standard_input(zh: &str, en: &str) -> anyhow::Result<String> {
    eprint_line(&format!("{zh}：从标准输入读取 / {en} is read from standard input"));
    let mut text = String::new();
    std::io::stdin().take(MAX_PIN_BYTES).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent until it is told to stop (SIGTERM; twice = at once).
    Run(At),
    /// Makes a key, has it certified by the county with a one-time code, and writes a first agent.toml.
    Enrol(enrol::Enrol),
    /// Takes files and folders; with --wait, follows them until they are safe at the county.
    Send(send::Send),
    /// Says something of a study: class, complaint, telephone, doctor, exam finished.
    Mark(send::MarkArgs),
    /// Today's studies, the line, what needs a person.
    Status(show::Show),
    /// Reports that have come back.
    Reports(show::Show),
    /// Files that were not taken, and why.
    Rejects(show::Show),
    /// Looks at disk, certificate, clock, line, ports and folders.
    Doctor(show::Show),
    /// Looks at an ECG file before it is sent: facts, measurements, checks; draws it, hands it on as DICOM, SCP-ECG, JSON.
    Ecg(ecg::Ecg),
    /// One report.
    #[command(subcommand)]
    Report(people::Report),
    /// People at the clinic.
    #[command(subcommand)]
    Staff(people::Staff),
    /// Critical values.
    #[command(subcommand)]
    Critical(people::Critical),
    /// Retake requests.
    #[command(subcommand)]
    Retake(people::Retake),
}

/// Code, field and reason in one text; a field that is empty leaves no gap.
fn refusal_words(code: &str, field: &str, reason: &str) -> String {
    [code, field, reason].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Writes a line to standard output.
fn out_line(text: &str) -> anyhow::Result<()> {
    written(writeln!(std::io::stdout().lock(), "{text}"))
}

/// Whoever read standard output has gone (`| head`): no failure, and nothing more is said.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
struct NobodyReads;

fn written(done: std::io::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        done => Ok(done?),
    }
}

/// Writes a line to standard error; when nobody reads it, nobody misses it.
fn eprint_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn parse_class(text: &str) -> Result<Class, String> {
    text.parse()
}

impl Cli {
    /// Carries out the command.
    pub async fn carry_out(self) -> ExitCode {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let result = match self.command {
            Command::Run(at) => run(&at, clock).await,
            Command::Enrol(enrol) => enrol.carry_out(&*clock).await,
            Command::Send(send) => send.carry_out(clock).await,
            Command::Mark(mark) => mark.carry_out(clock).await,
            Command::Status(show) => show.status(clock).await,
            Command::Reports(show) => show.reports(clock).await,
            Command::Rejects(show) => show.rejects(clock).await,
            Command::Doctor(show) => show.doctor(clock).await,
            Command::Ecg(ecg) => ecg.carry_out(),
            Command::Report(report) => report.carry_out().await,
            Command::Staff(staff) => staff.carry_out(clock).await,
            Command::Critical(critical) => critical.carry_out().await,
            Command::Retake(retake) => retake.carry_out().await,
        };
        match result {
            Ok(code) => code,
            Err(error) if error.is::<NobodyReads>() => ExitCode::SUCCESS,
            Err(error) => {
                eprint_line(&format!("relay-agent: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(at: &At, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    use rand::SeedableRng as _;
    use tokio::signal::unix::{SignalKind, signal};
    use tokio_util::sync::CancellationToken;
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("RELAY_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let agent = crate::run::Agent::start(at.home(), clock, rand::rngs::StdRng::from_os_rng()).await?;
    out_line(
        &serde_json::json!({ "ready": true, "page": agent.endpoint().page, "dicom": agent.endpoint().dicom })
            .to_string(),
    )?;
    let (first, second) = (stop.clone(), kill.clone());
    tokio::spawn(async move {
        for token in [first, second] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            token.cancel();
        }
    });
    agent.run(stop, kill).await?;
    Ok(ExitCode::SUCCESS)
}

/// The agent that runs on this home.
async fn running(at: &At) -> anyhow::Result<Client> {
    Client::find(&at.home())
        .await
        .context("此命令需要代理程序正在运行 / this command needs the running agent")
}

/// The agent that runs on this home; `None` when none does.
async fn awake(at: &At) -> anyhow::Result<Option<Client>> {
    match Client::find(&at.home()).await {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is() {
        let end = |kind| written(Err(std::io::Error::from(kind))).unwrap_err().is::<NobodyReads>();
        assert!(end(std::io::ErrorKind::BrokenPipe));
        assert!(!end(std::io::ErrorKind::StorageFull));
    }
}
