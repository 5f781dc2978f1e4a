//! `relay-agent`.

use clap::Parser as _;
use std::process::ExitCode;

/// Makes the linker take `malloc` and all its kin from jemalloc, for C libraries and Rust alike: docs/decisions says why.
#[cfg(not(target_env = "msvc"))]
#[used]
static MALLOC: unsafe extern "C" fn(usize) -> *mut std::ffi::c_void = tikv_jemalloc_sys::malloc;

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
