//! The load process: many clinics' couriers in one process, over what was spooled before.

use crate::held::{Held, Letters};
use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_agent::config::Config;
use relay_agent::courier::ports::Outbox as _;
use relay_agent::courier::{self, CourierConfig, Gateway, TransportSettings};
use relay_agent::home::Home;
use relay_agent::run::open_spool;
use relay_agent::spool::{Mark, Origin, Spool};
use relay_agent::trust::Device;
use relay_core::clock::{Clock, SystemClock};
use relay_core::study::Class;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Nothing that is measured here takes longer.
const DEADLINE: Duration = Duration::from_secs(900);

/// What the load process is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Homes of enrolled agents.
    #[arg(long = "home", required = true)]
    homes: Vec<PathBuf>,
    /// For each home in order a folder whose files are spooled first; none = connect only.
    #[arg(long = "files")]
    files: Vec<PathBuf>,
    /// What each clinic's line is said to carry, in Mbit/s: it decides which coder films get.
    #[arg(long, default_value_t = TOWNSHIP_MBIT)]
    line: u64,
}

/// A township's line, in Mbit/s.
pub const TOWNSHIP_MBIT: u64 = 20;
/// Bytes a second of a line of one Mbit/s.
const MBIT: u64 = 125_000;

/// What it says before and after.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    /// Objects in the spools.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the forms in which they travel.
    pub coded: u64,
    /// From the word to go until the last receipt was heard, in seconds.
    pub seconds: f64,
}

struct Member {
    outbox: Arc<Held>,
    device: Arc<Device>,
    config: Config,
}

/// Spools, says so on standard output, waits for a line, connects, and says when everything is receipted. Then it stays
/// connected until standard input ends.
///
/// # Errors
/// Of any part.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut members = Vec::with_capacity(arguments.homes.len());
    let mut told = Told::default();
    for (number, home) in arguments.homes.iter().enumerate() {
        let files = arguments.files.get(number);
        let line = arguments.line * MBIT;
        let (member, objects, bytes) =
            open(home, files, line, &clock).await.with_context(|| home.display().to_string())?;
        told.objects += objects;
        told.bytes += bytes;
        told.coded += member.outbox.coded_bytes();
        members.push(member);
    }
    say(&told)?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    ensure!(orders.next_line().await?.is_some(), "nobody said go");

    let begin = Instant::now();
    let stop = CancellationToken::new();
    let mut couriers = JoinSet::new();
    let mut links = Vec::with_capacity(members.len());
    for member in &members {
        let left = member.outbox.left();
        links.push((connect(member, &clock, &stop, &mut couriers)?, left));
    }
    let everything = async {
        for (mut link, mut left) in links {
            link.wait_for(|state| matches!(state, courier::ports::LinkState::Up { .. })).await?;
            left.wait_for(|studies| *studies == 0).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DEADLINE, everything).await.context("not everything was receipted in time")??;
    told.seconds = begin.elapsed().as_secs_f64();
    say(&told)?;
    while orders.next_line().await?.is_some() {}
    stop.cancel();
    couriers.join_all().await;
    Ok(())
}

fn say(told: &Told) -> anyhow::Result<()> {
    crate::table::line(&serde_json::to_string(told)?)
}

async fn open(
    home: &Path,
    files: Option<&PathBuf>,
    line: u64,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Member, u64, u64)> {
    let home = Home::at(home);
    let config = Config::load(&home.config())?;
    let device = Arc::new(Device::load(&home)?);
    let spool = open_spool(&home, &config, &device, Arc::clone(clock)).await?;
    spool.line_measured(line).await?;
    let (objects, bytes) = match files {
        Some(folder) => spool_folder(&spool, folder).await?,
        None => (0, 0),
    };
    let outbox = Arc::new(Held::in_spool(spool).await?);
    Ok((Member { outbox, device, config }, objects, bytes))
}

async fn spool_folder(spool: &Spool, folder: &Path) -> anyhow::Result<(u64, u64)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    let (mut objects, mut bytes, mut studies) = (0, 0, BTreeSet::new());
    let origin = Origin {
        source: "bench".to_owned(),
        name: None,
        class: Class::Routine,
        kind: None,
        quiet: false,
        open: false,
        announced: None,
    };
    for path in files {
        let content = tokio::fs::read(&path).await.with_context(|| path.display().to_string())?;
        let intake = spool.intake(content);
        let admitted = intake
            .admit(&origin)
            .await
            .map_err(|refusal| anyhow::anyhow!("{}: {refusal}", path.display()))?;
        objects += 1;
        bytes += admitted.length;
        studies.insert(admitted.study);
    }
    for study in studies {
        spool.mark(&study, &Mark { finished: true, ..Mark::default() }).await?;
    }
    Ok((objects, bytes))
}

fn connect(
    member: &Member,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    couriers: &mut JoinSet<()>,
) -> anyhow::Result<watch::Receiver<courier::ports::LinkState>> {
    let gateways = member.config.county.gateways.iter();
    let settings = CourierConfig {
        trust: member.device.link_trust(),
        gateways: gateways
            .map(|g| Gateway {
                server_name: g.name.clone(),
                name: g.name.clone(),
                address: g.address.clone(),
            })
            .collect(),
        software: "relay-benches".to_owned(),
        transport: TransportSettings::default(),
    };
    let (state, link) = watch::channel(courier::initial_state());
    let (outbox, inbox) = (Arc::clone(&member.outbox), Arc::new(Letters::default()));
    let (clock, stop) = (Arc::clone(clock), stop.clone());
    couriers.spawn(async move {
        let rng = Box::new(StdRng::from_os_rng());
        if let Err(error) = courier::run(settings, outbox, inbox, clock, rng, state, stop).await {
            tracing::error!(error = %error, "a courier cannot work");
        }
    });
    Ok(link)
}
