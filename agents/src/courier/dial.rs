//! Making a connection: resolve, connect, and again, without waiting for a slow failure.

use super::ending::{Ending, ending_of};
use super::ports::LinkTrust;
use super::transport::{self, TransportError, TransportSettings};
use rand::Rng as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A gateway as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// What people call it.
    pub name: String,
    /// Host and port, such as `county.example:4433` or `192.0.2.7:4433`.
    pub address: String,
    /// The name in its certificate.
    pub server_name: String,
}

/// One attempt must succeed or fail within this time: two round trips over a satellite, with one lost packet.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);
/// One round of attempts, so that a standby is asked soon.
const ROUND_DEADLINE: Duration = Duration::from_secs(5);
/// Attempts that run side by side, one started each second while something waits: after an outage the first packet of
/// a fresh attempt arrives at once, while an old attempt's next retransmission is seconds away.
const ATTEMPTS_AT_ONCE: u32 = 4;
/// Distance of attempts in ms, before jitter takes up to a quarter of it away.
const ATTEMPT_MS: u64 = 1_000;

/// Whether something waits here, and news of it: a round that began in peace hurries from then on.
#[derive(Debug)]
pub(super) struct Haste {
    on: bool,
    news: Option<watch::Receiver<u64>>,
}

impl Haste {
    /// In peace until news comes.
    pub(super) const fn of(news: watch::Receiver<u64>) -> Self {
        Self { on: false, news: Some(news) }
    }

    /// Whatever comes.
    pub(super) const fn never() -> Self {
        Self { on: false, news: None }
    }

    pub(super) const fn begin(&mut self) {
        self.on = true;
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// When news comes; never while it hurries already. Safe to drop.
    pub(super) async fn begins(&mut self) {
        let news = match &mut self.news {
            Some(news) if !self.on => news.changed().await.is_ok(),
            _ => false,
        };
        if !news {
            // A closed channel means that the agent is stopping.
            std::future::pending::<()>().await;
        }
        self.on = true;
    }
}

/// Makes connections to gateways.
#[derive(Debug)]
pub(super) struct Dialer {
    trust: watch::Receiver<LinkTrust>,
    settings: TransportSettings,
    config: quinn::ClientConfig,
    v4: Option<quinn::Endpoint>,
    v6: Option<quinn::Endpoint>,
}

impl Dialer {
    pub(super) fn new(
        mut trust: watch::Receiver<LinkTrust>,
        settings: TransportSettings,
    ) -> Result<Self, TransportError> {
        let config = transport::client_config(&trust.borrow_and_update().tls, &settings)?;
        Ok(Self { trust, settings, config, v4: None, v6: None })
    }

    /// What is trusted now, not at the start.
    fn follow_trust(&mut self) -> Result<(), TransportError> {
        if self.trust.has_changed().unwrap_or(false) {
            self.config = transport::client_config(&self.trust.borrow_and_update().tls, &self.settings)?;
        }
        Ok(())
    }

    fn endpoint(&mut self, target: SocketAddr) -> Result<quinn::Endpoint, TransportError> {
        let slot = if target.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        match slot {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(slot.insert(transport::endpoint_for(target)?).clone()),
        }
    }

    /// A connection to the gateway, or why there is none. In haste another attempt starts every second meanwhile.
    pub(super) async fn reach(
        &mut self,
        gateway: &Gateway,
        haste: &mut Haste,
        rng: &mut (dyn rand::RngCore + Send),
    ) -> Result<quinn::Connection, Ending> {
        self.follow_trust().map_err(|error| Ending::new(error.to_string()))?;
        let resolved =
            tokio::time::timeout(ATTEMPT_DEADLINE, tokio::net::lookup_host(&gateway.address)).await;
        let targets: Vec<SocketAddr> = match resolved {
            Ok(Ok(targets)) => targets.collect(),
            Ok(Err(error)) => return Err(Ending::new(format!("{}: {error}", gateway.address))),
            Err(_) => {
                return Err(Ending::new(format!("{}: no answer from the name service", gateway.address)));
            }
        };
        if targets.is_empty() {
            return Err(Ending::new(format!("{}: the name has no address", gateway.address)));
        }
        let round = self.round(gateway, &targets, haste, rng);
        match tokio::time::timeout(ROUND_DEADLINE, round).await {
            Ok(reached) => reached,
            Err(_) => Err(ending_of(&quinn::ConnectionError::TimedOut)),
        }
    }

    async fn round(
        &mut self,
        gateway: &Gateway,
        targets: &[SocketAddr],
        haste: &mut Haste,
        rng: &mut (dyn rand::RngCore + Send),
    ) -> Result<quinn::Connection, Ending> {
        let mut attempts = JoinSet::new();
        let mut last = Ending::new("not tried");
        let mut targets = targets.iter().cycle();
        let (mut started, mut next) = (0, Instant::now());
        loop {
            let more = started < if haste.is_on() { ATTEMPTS_AT_ONCE } else { 1 };
            if more && Instant::now() >= next {
                next = Instant::now() + jittered(Duration::from_millis(ATTEMPT_MS), rng);
                started += 1;
                let Some(target) = targets.next() else { return Err(last) };
                match self.endpoint(*target) {
                    Ok(endpoint) => {
                        let (config, name) = (self.config.clone(), gateway.server_name.clone());
                        attempts.spawn(attempt(endpoint, config, *target, name));
                    }
                    Err(error) => last = Ending::new(error.to_string()),
                }
                continue;
            }
            if attempts.is_empty() && !more {
                return Err(last);
            }
            tokio::select! {
                Some(done) = attempts.join_next(), if !attempts.is_empty() => match outcome(done) {
                    Ok(connection) => return Ok(connection),
                    // A quick answer is an answer: another attempt would hear the same.
                    Err(ending) if more => return Err(ending),
                    Err(ending) => last = ending,
                },
                () = tokio::time::sleep_until(next), if more => {}
                () = haste.begins(), if !haste.is_on() => {}
            }
        }
    }

    /// Lets the last packets out.
    pub(super) async fn close(self, deadline: Duration) {
        for endpoint in [self.v4, self.v6].into_iter().flatten() {
            // What is not out by then is lost, and the peer's idle timer does the rest.
            let _ = tokio::time::timeout(deadline, endpoint.wait_idle()).await;
        }
    }
}

fn outcome(
    done: Result<Result<quinn::Connection, Ending>, tokio::task::JoinError>,
) -> Result<quinn::Connection, Ending> {
    done.unwrap_or_else(|error| Err(Ending::new(error.to_string())))
}

async fn attempt(
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    target: SocketAddr,
    server_name: String,
) -> Result<quinn::Connection, Ending> {
    let connecting = endpoint
        .connect_with(config, target, &server_name)
        .map_err(|error| Ending::new(error.to_string()))?;
    match tokio::time::timeout(ATTEMPT_DEADLINE, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(ending_of(&error)),
        Err(_) => Err(ending_of(&quinn::ConnectionError::TimedOut)),
    }
}

/// The time, less up to a quarter of it, so that a thousand clinics do not come back in the same millisecond.
pub(super) fn jittered(time: Duration, rng: &mut (dyn rand::RngCore + Send)) -> Duration {
    time.mul_f64(1.0 - 0.25 * rng.random::<f64>())
}
