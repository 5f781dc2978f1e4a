//! What the courier tells of the line.

use super::ending::Ending;
use super::ports::{LinkState, Pause};
use super::session;
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::codes::Refusal;
use relay_core::link::ClockSample;
use tokio::sync::watch;

/// A pause that was not renewed for so long (ms) after its end is over, also when nothing waited that could show it.
const PAUSE_FORGOTTEN_MS: i64 = MINUTE_MS;

/// Keeps the watch channel up to date over all connections.
#[derive(Debug)]
pub(super) struct Status {
    state: watch::Sender<LinkState>,
    gateway: String,
    /// Wire bytes of connections that are over.
    sent_before: u64,
    heard_at: UtcMs,
}

impl Status {
    pub(super) fn new(state: watch::Sender<LinkState>) -> Self {
        Self { state, gateway: String::new(), sent_before: 0, heard_at: UtcMs(0) }
    }

    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    pub(super) fn trying(&mut self, gateway: &str) {
        gateway.clone_into(&mut self.gateway);
    }

    pub(super) const fn heard(&mut self, at: UtcMs) {
        self.heard_at = at;
    }

    /// The connection is over: its bytes stay counted.
    pub(super) fn sent(&mut self, connection: &quinn::Connection) {
        self.sent_before += connection.stats().udp_tx.bytes;
    }

    pub(super) fn up(
        &mut self,
        connection: &quinn::Connection,
        clock: Option<ClockSample>,
        duty_phone: Option<String>,
        now: UtcMs,
    ) {
        self.heard_at = now;
        self.state.send_replace(LinkState::Up {
            since: now,
            gateway: self.gateway.clone(),
            rtt_us: rtt_us(connection),
            clock_offset_ms: clock.map_or(0, |c| c.offset_ms),
            heard_at: now,
            duty_phone,
            wire_bytes_sent: self.sent_before + connection.stats().udp_tx.bytes,
            pause: None,
        });
    }

    /// The county asks for a pause of `ms`; the first moment of a row of them is kept.
    pub(super) fn paused(&self, refusal: Refusal, ms: u64, now: UtcMs) {
        let until = now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX));
        self.state.send_if_modified(|state| {
            let LinkState::Up { pause, .. } = state else { return false };
            let since =
                pause.as_ref().filter(|old| old.refusal.code == refusal.code).map_or(now, |old| old.since);
            *pause = Some(Pause { refusal, since, until });
            true
        });
    }

    /// The county has taken something.
    pub(super) fn took(&self) {
        self.state.send_if_modified(|state| match state {
            LinkState::Up { pause, .. } => pause.take().is_some(),
            LinkState::Down { .. } => false,
        });
    }

    pub(super) fn measured(
        &mut self,
        connection: &quinn::Connection,
        clock: Option<ClockSample>,
        now: UtcMs,
    ) {
        let (rtt, heard) = (rtt_us(connection), self.heard_at);
        let sent = self.sent_before + connection.stats().udp_tx.bytes;
        self.state.send_if_modified(|state| {
            let LinkState::Up { rtt_us, clock_offset_ms, heard_at, wire_bytes_sent, pause, .. } = state
            else {
                return false;
            };
            (*rtt_us, *heard_at, *wire_bytes_sent) = (rtt, heard, sent);
            if pause.as_ref().is_some_and(|pause| now.since(pause.until) > PAUSE_FORGOTTEN_MS) {
                *pause = None;
            }
            if let Some(clock) = clock {
                *clock_offset_ms = clock.offset_ms;
            }
            true
        });
    }

    /// No gateway answers; the first moment of it is kept, the newest reason is told.
    pub(super) fn down(&mut self, ending: &Ending, now: UtcMs) {
        self.state.send_modify(|state| {
            let since = match state {
                LinkState::Down { since, .. } if *since != UtcMs(0) => *since,
                LinkState::Down { .. } | LinkState::Up { .. } => now,
            };
            *state = session::down(ending, since);
        });
    }
}

fn rtt_us(connection: &quinn::Connection) -> u64 {
    u64::try_from(connection.rtt().as_micros()).unwrap_or(u64::MAX)
}
