//! The line between clinic and county: congestion control in virtual time, and the link lab on real kernels.

mod simulated;

/// What the measurement is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Congestion control alone, in virtual time: needs no root.
    #[arg(long)]
    simulated: bool,
}

/// Runs it.
///
/// # Errors
/// Of any part.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let _ = arguments;
    simulated::run()
}
