//! The line between clinic and county: congestion control in virtual time.

mod simulated;

/// What the measurement is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// In virtual time, over packets in memory: the only kind there is. Needs no root.
    #[arg(long, required = true)]
    simulated: bool,
}

/// Runs it.
///
/// # Errors
/// Of any part.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(arguments.simulated, "say --simulated");
    simulated::run()
}
