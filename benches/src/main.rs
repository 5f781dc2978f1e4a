//! `./run bench NAME`: measurements side by side with their peers.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use relay_benches::{ecg, film, ingest, link, load, memory};

#[derive(Debug, Parser)]
#[command(about = "Measurements, side by side with their peers")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Objects and bytes a second from clinic spools to durable receipts, beside Orthanc and beside the bare disk.
    Ingest(ingest::Arguments),
    /// Peak memory of agent and gateway while a study of 500 MB travels, is read and comes back.
    Memory(memory::Arguments),
    /// Milliseconds of an ECG from bytes to paper, a day of Holter in constant memory, QRS detectors beside their peers.
    Ecg(ecg::Arguments),
    /// Bytes and processor time of the film coders beside JPEG-LS, film by film.
    Film(film::Arguments),
    /// The line: congestion control before and after, in virtual time.
    Link(link::Arguments),
    /// The load process of the others: link clients of many clinics.
    #[command(hide = true)]
    Load(load::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio")?;
    runtime.block_on(async {
        match arguments.bench {
            Bench::Ingest(arguments) => ingest::run(&arguments).await,
            Bench::Memory(arguments) => memory::run(&arguments).await,
            Bench::Ecg(arguments) => ecg::run(&arguments),
            Bench::Film(arguments) => film::run(&arguments),
            Bench::Link(arguments) => tokio::task::block_in_place(|| link::run(&arguments)),
            Bench::Load(arguments) => load::run(arguments).await,
        }
    })
}
