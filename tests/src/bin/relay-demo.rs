//! A county, two clinics and a day's exams on this machine. Standard output carries the table and the result, or
//! `ready`; everything else goes to standard error.

use clap::Parser;
use relay_tests::demo::{Options, play, say};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Plays the Relay on this machine.
#[derive(Debug, Parser)]
#[command(name = "relay-demo", version)]
struct Arguments {
    /// Where county and clinics live; started again when they are there already. Default: a temporary directory.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Play the whole day without a person: table and JSON on standard output.
    #[arg(long)]
    once: bool,
    /// Files and folders to send instead of the built-in exams.
    #[arg(long, num_args = 1.., value_name = "DIR")]
    files: Vec<PathBuf>,
    /// Size of the built-in films against 2544 x 3056 pixels.
    #[arg(long, default_value_t = 1.0)]
    scale: f32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RELAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Arguments { dir, once, files, scale } = Arguments::parse();
    match run(Options { dir, once, files, scale }).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("relay-demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<bool> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        asked.cancel();
    });
    play(options, stop).await
}
