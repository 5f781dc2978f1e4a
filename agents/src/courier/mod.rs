//! The courier: the way to the county. Knows QUIC and the link protocol; knows the disk only through [`ports`].
//!
//! ```text
//! outbox ─▶ keeper ─▶ session ═ control stream, data streams ═▶ gateway
//! inbox  ◀─────────── session ◀═ control stream, letter streams ═
//! ```
//! One session a connection; [`run`] makes connections for ever, to the first gateway that answers. The protocol's
//! decisions are made by [`relay_core::link::agent::AgentLink`]; here are sockets, timers and files.

mod dial;
mod ending;
mod keeper;
mod letters;
mod meter;
pub mod ports;
mod pump;
mod session;
mod status;
mod transport;

use dial::{Dialer, Haste, jittered};
use ending::Ending;
use keeper::Keeper;
use ports::{Inbox, LinkState, LinkTrust, Outbox};
use relay_core::clock::{Clock, UtcMs};
use relay_core::link::agent::AgentSettings;
use session::{Context, Session};
use status::Status;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use dial::Gateway;
pub(crate) use ending::OF_THE_GATEWAY;
pub use transport::{TransportError, TransportSettings};

/// Rounds of attempts at the first gateway that fail in a row before the next is tried: about twelve seconds.
const FAILURES_BEFORE_STANDBY: u32 = 2;
/// How often the first gateway is tried while another one serves.
const RETURN_INTERVAL: Duration = Duration::from_secs(30);
/// Pause between rounds of attempts while something waits: with the attempts' own second, at least one a second.
const PAUSE_BUSY: Duration = Duration::from_millis(800);
/// Longest pause between rounds while nothing waits here; a critical notice may wait at the county.
const PAUSE_IDLE: Duration = Duration::from_secs(5);
/// Asking the outbox what waits must not hold up the next attempt.
const WAITING_DEADLINE: Duration = Duration::from_secs(2);
/// Time for the last packets when the agent stops.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What the courier is told.
#[derive(Debug, Clone)]
pub struct CourierConfig {
    /// Whom the link trusts, followed while it runs.
    pub trust: watch::Receiver<LinkTrust>,
    /// Gateways in order of preference: primary, standby.
    pub gateways: Vec<Gateway>,
    /// Name and version of this software, for the county's list.
    pub software: String,
    /// Timers, windows, congestion control.
    pub transport: TransportSettings,
}

/// The state before the first attempt, for the channel given to [`run`].
#[must_use]
pub fn initial_state() -> LinkState {
    LinkState::Down { since: UtcMs(0), reason: "not tried yet".into(), refusal: None }
}

/// Carries studies, notes and letters until `shutdown`. Returns early only when the configuration cannot work at all.
///
/// # Errors
/// [`TransportError`] when TLS or sockets cannot be set up.
pub async fn run(
    config: CourierConfig,
    outbox: Arc<dyn Outbox>,
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    mut rng: Box<dyn rand::RngCore + Send>,
    state: watch::Sender<LinkState>,
    shutdown: CancellationToken,
) -> Result<(), TransportError> {
    let dialer = Dialer::new(config.trust.clone(), config.transport.clone())?;
    let (keeper, keeper_task) = Keeper::start(Arc::clone(&outbox));
    let capabilities = Vec::new();
    let context = Context {
        settings: AgentSettings { software: config.software.clone(), capabilities },
        outbox,
        inbox,
        clock,
        keeper,
        trust: config.trust,
        send_window: config.transport.send_window,
        started: Instant::now(),
    };
    let mut courier = Courier {
        gateways: config.gateways,
        context,
        status: Status::new(state),
        primary_failures: 0,
        turn: 0,
    };
    courier.serve(dialer, &mut *rng, &shutdown).await;
    drop(courier);
    // What was receipted is recorded before the store is closed; the deadline is for a disk that hangs.
    if tokio::time::timeout(CLOSE_DEADLINE, keeper_task).await.is_err() {
        tracing::error!("the outbox did not record the last answers in time; the county will repeat them");
    }
    Ok(())
}

struct Courier {
    gateways: Vec<Gateway>,
    context: Context,
    status: Status,
    primary_failures: u32,
    /// Rounds since the first gateway failed for good, to alternate.
    turn: usize,
}

impl Courier {
    async fn serve(
        &mut self,
        mut dialer: Dialer,
        rng: &mut (dyn rand::RngCore + Send),
        shutdown: &CancellationToken,
    ) {
        let mut connected: Option<(usize, quinn::Connection)> = None;
        while !shutdown.is_cancelled() {
            let which = connected.as_ref().map_or_else(|| self.choose(), |(which, _)| *which);
            let Some(gateway) = self.gateways.get(which).cloned() else {
                tracing::error!("no gateway is configured");
                return shutdown.cancelled().await;
            };
            self.status.trying(&gateway.name);
            // Before the question: what comes between it and the pause is news.
            let mut haste = Haste::of(self.context.outbox.changes());
            if self.something_waits().await {
                haste.begin();
            }
            let reached = match connected.take() {
                Some((_, connection)) => Ok(connection),
                None => tokio::select! {
                    reached = dialer.reach(&gateway, &mut haste, rng) => reached,
                    () = shutdown.cancelled() => break,
                },
            };
            let ending = match reached {
                Ok(connection) if which == 0 => self.session(connection, true, shutdown).await,
                Ok(connection) => {
                    let (ending, back) =
                        self.session_at_standby(connection, &mut dialer, rng, shutdown).await;
                    connected = back.map(|connection| (0, connection));
                    ending
                }
                Err(ending) => ending,
            };
            if connected.is_none() && !shutdown.is_cancelled() {
                self.after(which, &gateway, &ending);
                self.pause(&ending, &mut haste, rng, shutdown).await;
            }
        }
        dialer.close(CLOSE_DEADLINE).await;
    }

    /// The first gateway, until it has failed some times; then all in turn.
    fn choose(&mut self) -> usize {
        if self.primary_failures < FAILURES_BEFORE_STANDBY || self.gateways.len() < 2 {
            return 0;
        }
        self.turn += 1;
        self.turn % self.gateways.len()
    }

    fn after(&mut self, which: usize, gateway: &Gateway, ending: &Ending) {
        if which == 0 {
            self.primary_failures = if ending.was_up { 0 } else { self.primary_failures.saturating_add(1) };
        } else if ending.was_up {
            // It served well until now: it is the first choice again while the first gateway stays away.
            self.turn = which.wrapping_sub(1);
        }
        tracing::info!(gateway = gateway.name, reason = ending.reason, "no link");
        self.status.down(ending, self.context.clock.now());
    }

    async fn something_waits(&self) -> bool {
        let listed = async { self.context.keeper.list(1, 1).await.await };
        match tokio::time::timeout(WAITING_DEADLINE, listed).await {
            Ok(Ok(fresh)) => !fresh.studies.is_empty() || !fresh.notes.is_empty(),
            // Unknown is treated as the case that matters.
            Ok(Err(_)) | Err(_) => true,
        }
    }

    /// Until the next round; news ends a pause in which nothing waited.
    async fn pause(
        &self,
        ending: &Ending,
        haste: &mut Haste,
        rng: &mut (dyn rand::RngCore + Send),
        shutdown: &CancellationToken,
    ) {
        let usual = jittered(if haste.is_on() { PAUSE_BUSY } else { PAUSE_IDLE }, rng);
        // Jitter goes on top of what the gateway asks for: not earlier, and not all at once.
        let asked = ending.back_off.map(|time| time + (PAUSE_BUSY - jittered(PAUSE_BUSY, rng)));
        tokio::select! {
            () = tokio::time::sleep(asked.unwrap_or(usual)) => {}
            () = haste.begins(), if asked.is_none() => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// `first`: with the gateway that the clinic prefers.
    async fn session(
        &mut self,
        connection: quinn::Connection,
        first: bool,
        shutdown: &CancellationToken,
    ) -> Ending {
        match Session::open(&self.context, connection, first).await {
            Ok(session) => session.run(&mut self.status, shutdown).await,
            Err(ending) => ending,
        }
    }

    /// A session at a standby gateway, left as soon as the first gateway can be reached again.
    async fn session_at_standby(
        &mut self,
        connection: quinn::Connection,
        dialer: &mut Dialer,
        rng: &mut (dyn rand::RngCore + Send),
        shutdown: &CancellationToken,
    ) -> (Ending, Option<quinn::Connection>) {
        let leave = shutdown.child_token();
        let primary = self.gateways.first().cloned();
        let watch = async {
            loop {
                tokio::time::sleep(jittered(RETURN_INTERVAL, rng)).await;
                let Some(primary) = &primary else { continue };
                if let Ok(connection) = dialer.reach(primary, &mut Haste::never(), rng).await {
                    return connection;
                }
            }
        };
        let session = self.session(connection, false, &leave);
        tokio::pin!(session, watch);
        tokio::select! {
            ending = &mut session => (ending, None),
            back = &mut watch => {
                tracing::info!("the first gateway answers again");
                leave.cancel();
                (session.await, Some(back))
            }
        }
    }
}

#[cfg(test)]
mod tests;
