//! The running agent: composition root and two-stage shutdown.

use crate::capture::dimse::DimseListener;
use crate::capture::folder::Watcher;
use crate::config::{Config, SpoolRoom};
use crate::courier::ports::LinkState;
use crate::courier::{self, CourierConfig, TransportSettings};
use crate::health::Doctor;
use crate::home::{Endpoint, Home};
use crate::inbox::Inbox;
use crate::page::Page;
use crate::spool::{Spool, SpoolOptions};
use crate::trust::Device;
use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::clock::Clock;
use relay_core::durable::RealDisk;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often silence is looked at: an urgent film's quiet time is met to the half second.
const QUIET_LOOK: Duration = Duration::from_millis(500);
/// How often room is made.
const RETENTION_LOOK: Duration = Duration::from_secs(30);
/// After the first word to stop: open associations, uploads and the link may end their work for this long.
const GRACE: Duration = Duration::from_secs(20);

/// Opens the spool of an enrolled home.
///
/// # Errors
/// When another process has it, or of the disk.
pub async fn open_spool(
    home: &Home,
    config: &Config,
    device: &Device,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Spool> {
    let options = SpoolOptions {
        dir: home.spool(),
        clinic: device.clinic().clone(),
        limits: config.spool.limits(),
        quiet: config.quiet_s,
    };
    Ok(Spool::open(options, Arc::new(RealDisk), clock).await?)
}

/// The agent, bound and ready.
#[derive(Debug)]
pub struct Agent {
    home: Home,
    told_phone: watch::Sender<Option<String>>,
    spool: Spool,
    inbox: Arc<Inbox>,
    device: Arc<Device>,
    config: Config,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    dicom: Option<DimseListener>,
    watchers: Vec<Watcher>,
    page: TcpListener,
    link: watch::Sender<LinkState>,
    app: Arc<Page>,
    endpoint: Endpoint,
}

impl Agent {
    /// Reads configuration and identity, opens the spool, binds every port.
    ///
    /// # Errors
    /// What is wrong, naming file, field or address.
    pub async fn start(home: Home, clock: Arc<dyn Clock>, mut rng: StdRng) -> anyhow::Result<Self> {
        home.create()?;
        let config = if home.config().exists() { Config::load(&home.config())? } else { Config::default() };
        let device = Arc::new(Device::load(&home)?);
        let spool = open_spool(&home, &config, &device, Arc::clone(&clock)).await?;
        let inbox = Arc::new(Inbox::new(spool.clone(), Arc::clone(&device), StdRng::from_rng(&mut rng)));
        let dicom = if config.dicom.enabled {
            Some(DimseListener::bind(config.dicom.clone(), spool.clone()).await?)
        } else {
            None
        };
        let watchers: Vec<Watcher> = config
            .folder
            .iter()
            .map(|folder| Watcher::new(folder.clone(), home.path(), spool.clone()))
            .collect();
        let page = TcpListener::bind(config.page.listen)
            .await
            .with_context(|| format!("page.listen {}", config.page.listen))?;
        let down =
            LinkState::Down { since: clock.now(), reason: "not connected yet".to_owned(), refusal: None };
        let link = watch::Sender::new(down);
        let told_phone = watch::Sender::new(home.told_phone());
        let page_at = page.local_addr()?;
        let dicom_at = dicom.as_ref().map(DimseListener::local_addr).transpose()?;
        let local_key = home.local_key("local", &mut rng)?;
        let page_key = home.local_key("page", &mut rng)?;
        let endpoint = Endpoint {
            pid: std::process::id(),
            page: page_at,
            dicom: dicom_at,
            local_key: local_key.clone(),
            page_url: format!("http://{}/enter?key={page_key}", reachable(page_at)),
        };
        // The ports are bound: whoever reads this, or the word `ready`, reaches this process and not one before it.
        home.write(&home.endpoint_file(), &serde_json::to_vec_pretty(&endpoint)?)?;
        let app = Arc::new(Page {
            inbox: Arc::clone(&inbox),
            link: link.subscribe(),
            duty_phone: config.county.duty_phone.clone(),
            told_phone: told_phone.subscribe(),
            doctor: Doctor {
                device: Arc::clone(&device),
                dicom: dicom_at,
                folders: watchers.iter().map(Watcher::health).collect(),
                gateways: config.county.gateways.iter().map(|g| g.address.clone()).collect(),
            },
            local_key,
            page_key,
            uploads: crate::page::Uploads::default(),
        });
        Ok(Self {
            home,
            told_phone,
            spool,
            inbox,
            device,
            config,
            clock,
            rng,
            dicom,
            watchers,
            page,
            link,
            app,
            endpoint,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Works until `stop`, then lets open work end, at most 20 seconds or until `kill`.
    ///
    /// # Errors
    /// When the link cannot be configured.
    pub async fn run(self, stop: CancellationToken, kill: CancellationToken) -> anyhow::Result<()> {
        let tasks = TaskTracker::new();
        tracing::info!(clinic = %self.device.clinic(), page = %self.endpoint.page, dicom = ?self.endpoint.dicom, "agent ready");
        if let Some(dicom) = self.dicom {
            tasks.spawn(dicom.run(stop.clone(), kill.clone()));
        }
        for watcher in self.watchers {
            tasks.spawn(watcher.run(stop.clone()));
        }
        let app = Arc::clone(&self.app).router();
        let until = stop.clone();
        tasks.spawn(async move {
            let served =
                axum::serve(self.page, app).with_graceful_shutdown(async move { until.cancelled().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the local page has ended");
            }
        });
        tasks.spawn(keep_house(Arc::clone(&self.inbox), self.config.spool.clone(), stop.clone()));
        let courier = CourierConfig {
            trust: self.device.link_trust(),
            gateways: self.config.county.gateways.iter().map(gateway).collect(),
            software: concat!("relay-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            transport: TransportSettings::default(),
        };
        tasks.spawn(remember_phone(self.home, self.link.subscribe(), self.told_phone, stop.clone()));
        let (outbox, rng) = (Arc::new(self.spool.clone()), Box::new(self.rng));
        let carrying = courier::run(courier, outbox, self.inbox, self.clock, rng, self.link, stop.clone());
        tasks.spawn(async move {
            if let Err(error) = carrying.await {
                tracing::error!(error = %crate::spool::chain(&error), "the courier cannot work; studies stay safe here");
            }
        });
        stop.cancelled().await;
        tracing::info!("stopping");
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = kill.cancelled() => tracing::warn!("stopped at once"),
            () = tokio::time::sleep(GRACE) => tracing::warn!("open work was cut off"),
        }
        kill.cancel();
        self.spool.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Keeps the duty telephone that the county says: it is wanted when the line is down.
async fn remember_phone(
    home: Home,
    mut link: watch::Receiver<LinkState>,
    told: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    loop {
        let said = match &*link.borrow_and_update() {
            LinkState::Up { duty_phone, .. } => duty_phone.clone(),
            LinkState::Down { .. } => None,
        };
        let news = said.filter(|phone| told.borrow().as_ref() != Some(phone));
        if let Some(phone) = news {
            let (home, text) = (home.clone(), phone.clone());
            match crate::spool::blocking(move || home.remember_phone(&text)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the duty telephone could not be kept"),
                Err(_) => return,
            }
            told.send_replace(Some(phone));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = link.changed() => if changed.is_err() { return },
        }
    }
}

fn gateway(configured: &crate::config::Gateway) -> courier::Gateway {
    let name = configured.name.clone();
    courier::Gateway { server_name: name.clone(), name, address: configured.address.clone() }
}

/// An address that a browser on this machine reaches.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address }
}

/// Background work: idempotent, and nothing is lost when it does not run for an hour.
async fn keep_house(inbox: Arc<Inbox>, keep: SpoolRoom, stop: CancellationToken) {
    let spool = inbox.spool();
    let mut quiet = tokio::time::interval(QUIET_LOOK);
    let mut room = tokio::time::interval(RETENTION_LOOK);
    for timer in [&mut quiet, &mut room] {
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = quiet.tick() => spool.complete_quiet().await.map(drop),
            _ = room.tick() => {
                let (room, judged) = (make_room(spool, &keep).await, inbox.scrub().await);
                room.and(judged)
            }
        };
        if let Err(error) = done {
            tracing::error!(error = %crate::spool::chain(&error), "background work failed; it is tried again");
        }
    }
}

/// Each step by itself: one that fails keeps no other from being made.
async fn make_room(spool: &Spool, keep: &SpoolRoom) -> Result<(), crate::spool::SpoolError> {
    let coded = spool.drop_delivered_coded_forms().await;
    let delivered = spool.evict_delivered(keep.keep_days).await;
    let refused = spool.evict_refused(keep.keep_refused_days).await;
    let words = spool.forget_old_words().await;
    let held = spool.check_held().await;
    coded.and(delivered).and(refused).and(words.map(|_| 0)).and(held).map(drop)
}
