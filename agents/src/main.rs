//! `relay-agent`.

use clap::Parser as _;
use std::process::ExitCode;

/// Returns freed memory to the system and keeps no arena for every thread: docs/decisions says what that is worth.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Worker threads: the agent waits for network and disk most of the time, and each thread costs memory.
const WORKERS: usize = 2;
/// Threads that block on the disk: one for each object coming in (16 associations, 4 uploads, folders) and as many for the rest.
const BLOCKING: usize = 64;

fn main() -> ExitCode {
    let cli = relay_agent::cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.carry_out()),
        Err(_) => ExitCode::FAILURE,
    }
}
