//! The composition root: opens everything, starts everything, stops everything in order.

use crate::background::{self, Background};
use crate::config::Config;
use crate::custody::County;
use crate::desk::CountyDesk;
use crate::enrolment;
use crate::home::{Addresses, Home};
use crate::ingest::Ingest;
use crate::lifecycle::Stages;
use crate::link::{LinkConfig, LinkListener};
use crate::reports::{CountyTrust, FileVault, PinGate, Press, Proofs, Site};
use crate::returns::Returns;
use crate::store::Store;
use crate::telemetry;
use crate::trail::{CertificateJudge, FrontDesk, StoreTrail};
use crate::trust::Trust;
use crate::whole::Whole;
use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use relay_certs::authority::{Authority, CRL_FILE};
use relay_certs::enrol::EnrolDesk;
use relay_core::clock::Clock;
use relay_core::durable::{RealDisk, write_atomic};
use relay_core::link::frame::FilmSpeeds;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use viewer_api::DecodePool;
use viewer_api::auth::OsEntropy;

/// Time that listeners and background have after the first signal; the link and the pages have limits of their own below.
const FINISH_DEADLINE: Duration = Duration::from_secs(20);

/// Everything that runs.
struct Parts {
    store: Store,
    desk: CountyDesk,
    county: Arc<County>,
    clock: Arc<dyn Clock>,
}

/// Opens the store and puts the county together.
async fn assemble(
    home: &Home,
    config: &Config,
    authority: &Authority,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Parts> {
    let policy = Arc::new(config.policy(home.path())?);
    tracing::warn!(
        settings = policy.not_acted_on().join(", "),
        "settings of the policy that the gateway does not act on yet"
    );
    let store = Store::open(home.path(), Arc::new(RealDisk)).await.context("opening the store")?;
    let fonts =
        relay_report::Fonts::load(config.report.font_dir.as_deref()).context("loading the report fonts")?;
    let trust = CountyTrust::new(authority.ca_certificate().clone(), home.ca().join(CRL_FILE));
    let press = Press {
        site: Site {
            id: config.site.id.clone(),
            hospital: config.site.hospital.clone(),
            code: config.site.organization_code.clone(),
            phone: config.site.duty_phone.clone(),
        },
        fonts: Arc::new(fonts),
        signers: PinGate::new(Arc::new(FileVault::new(home.signers()))),
        policy: Arc::clone(&policy),
        trust: trust.clone(),
        whole: Whole::default(),
        proofs: Proofs::default(),
    };
    let desk = CountyDesk::new(store.clone(), press, Arc::new(StoreTrail(store.clone())));
    let ingest = Ingest::new(store.clone(), Arc::clone(&clock), Arc::clone(&policy), config.room());
    let returns = Returns::new(store.clone(), Arc::new(CertificateJudge(trust)), policy);
    let county = Arc::new(County::new(store.clone(), ingest, returns));
    Ok(Parts { store, desk, county, clock })
}

/// How fast this machine restores films, so that no clinic chooses a coder that keeps its line waiting here.
async fn measure_films() -> Option<FilmSpeeds> {
    let begin = tokio::time::Instant::now();
    let speeds = tokio::task::spawn_blocking(move || relay_film::measure(|| begin.elapsed())).await.ok()?;
    let speeds = FilmSpeeds { quick: speeds.quick.decode, strong: speeds.strong.decode };
    tracing::info!(?speeds, "films are restored at so many bytes a second");
    Some(speeds)
}

/// Runs the gateway of a home directory until the first stage of shutdown is over.
///
/// # Errors
/// What could not be opened or bound.
pub async fn run(
    home: Home,
    config: Config,
    clock: Arc<dyn Clock>,
    metrics: Option<PrometheusHandle>,
    stages: Stages,
) -> anyhow::Result<()> {
    let authority = Arc::new(Authority::open(&home.ca()).context("opening the county CA")?);
    let parts = assemble(&home, &config, &authority, clock).await?;
    background::sweep::at_start(&parts.store, &config.site.id, parts.clock.now()).await?;
    crate::sla::refresh_open(&parts.store, &config.policy(home.path())?).await?;
    let trust = Trust::open(&home, Arc::clone(&authority))?;
    let mut tasks = JoinSet::new();

    let mut link_config = LinkConfig::new(config.link.listen, trust.link_config()?);
    link_config.max_connections = config.link.max_connections;
    link_config.film_speeds = measure_films().await;
    let reception = FrontDesk { store: parts.store.clone(), duty_phone: config.site.duty_phone.clone() };
    let listener = LinkListener::bind(
        link_config,
        Arc::<County>::clone(&parts.county),
        Arc::new(reception),
        Arc::clone(&parts.clock),
        trust.revoked(),
    )
    .with_context(|| format!("listening for agents on UDP {}", config.link.listen))?;
    let web = TcpListener::bind(config.web.listen)
        .await
        .with_context(|| format!("listening for people on TCP {}", config.web.listen))?;
    let figures = match (config.metrics.listen, metrics) {
        (Some(address), Some(handle)) => {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("listening for Prometheus on TCP {address}"))?;
            Some((listener, handle))
        }
        _ => None,
    };
    let addresses = Addresses {
        link: listener.local_addr()?,
        web: web.local_addr()?,
        metrics: figures.as_ref().map(|(l, _)| l.local_addr()).transpose()?,
        pid: std::process::id(),
    };

    // One budget of memory for pages and previews.
    let decoders = DecodePool::default();
    let viewer = viewer_api::Viewer::with_decoders(
        Arc::new(parts.desk.clone()),
        Arc::clone(&parts.clock),
        Arc::new(OsEntropy),
        decoders.clone(),
        stages.finish.clone(),
    )
    .map_err(|problem| anyhow::anyhow!("preparing the reading room: {}", problem.0))?;
    let enrol = enrolment::router(EnrolDesk::new(authority), Arc::clone(&parts.clock));
    let router = enrol.merge(viewer_api::router(viewer));
    let (link_handle, finish) = (listener.handle(), stages.finish.clone());
    tasks.spawn(viewer_serve(web, trust.web_config(), router, finish.clone()));
    tasks.spawn(listener.run(finish.clone()));
    tasks.spawn(trust.watch(link_handle, Arc::clone(&parts.clock), finish.clone()));
    if let Some((listener, handle)) = figures {
        let stop = finish.clone();
        tasks.spawn(async move {
            if let Err(error) = telemetry::serve_metrics(listener, handle, stop).await {
                tracing::error!(%error, "the metrics listener ended");
            }
        });
    }
    let live = parts.desk.clone();
    let ending = finish.clone();
    tasks.spawn(async move {
        tokio::select! { () = ending.cancelled() => {}, () = live.run() => {} }
    });
    let helpers = Background {
        store: parts.store.clone(),
        desk: parts.desk.clone(),
        clock: Arc::clone(&parts.clock),
        policy: Arc::new(config.policy(home.path())?),
        decoders,
    };
    tasks.spawn(helpers.run(finish.clone()));

    let bytes = serde_json::to_vec_pretty(&addresses)?;
    write_atomic(&RealDisk, &home.addresses(), &bytes, 0o644).context("writing addresses.json")?;
    tracing::info!(link = %addresses.link, web = %addresses.web, "the gateway is ready");
    finish_in_order(parts, tasks, stages).await
}

async fn viewer_serve(
    web: TcpListener,
    tls: tokio::sync::watch::Receiver<Arc<rustls::ServerConfig>>,
    router: axum::Router,
    stop: tokio_util::sync::CancellationToken,
) {
    if let Err(error) = viewer_api::serve::serve(web, tls, router, stop).await {
        tracing::error!(%error, "the reading room's listener ended");
    }
}

/// Waits for the first stage, lets everybody finish, then closes the store.
async fn finish_in_order(parts: Parts, mut tasks: JoinSet<()>, stages: Stages) -> anyhow::Result<()> {
    let failed = tokio::select! {
        // A task that ended because it was asked to is no fault: the question comes first.
        biased;
        () = stages.finish.cancelled() => None,
        Some(ended) = tasks.join_next() => {
            // A listener or helper that ends before it was asked to is a fault: stop, and be started again.
            let reason = ended.err().map_or_else(|| "ended early".to_owned(), |e| e.to_string());
            stages.finish.cancel();
            Some(reason)
        }
    };
    let finished = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = stages.now.cancelled() => tasks_abandoned(),
        done = tokio::time::timeout(FINISH_DEADLINE, finished) => {
            if done.is_err() {
                tasks_abandoned();
            }
        }
    }
    drop(tasks);
    let Parts { store, desk, county, .. } = parts;
    drop((desk, county));
    if let Err(error) = crate::audit::tell_head(&store).await {
        tracing::error!(%error, "the head of the audit log is not told");
    }
    store.close().await;
    match failed {
        Some(reason) => anyhow::bail!("a part of the gateway failed: {reason}"),
        None => Ok(()),
    }
}

fn tasks_abandoned() {
    tracing::warn!("some work did not end in time; nothing of it was acknowledged");
}
