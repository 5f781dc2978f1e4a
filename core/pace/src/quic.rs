//! The model dressed for quinn.

use crate::{Hint, Micros, Pace};
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How the time is asked for: quinn asks for the window without saying when.
pub type Now = fn() -> Instant;

/// What was learnt of a line holds this long for the next connection over it.
const HINT_AGE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Learnt {
    hint: Hint,
    at: Instant,
}

/// Makes controllers. Those of one factory go over the same line: each tells the next what it has learnt.
#[derive(Debug, Clone)]
pub struct Factory {
    now: Now,
    learnt: Option<Arc<Mutex<Option<Learnt>>>>,
}

impl Factory {
    /// For connections over lines of their own.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self { now, learnt: None }
    }

    /// For connections that follow each other over one line.
    #[must_use]
    pub fn one_line(now: Now) -> Self {
        Self { now, learnt: Some(Arc::default()) }
    }
}

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let learnt = self.learnt.as_ref().and_then(|l| *l.lock().unwrap_or_else(PoisonError::into_inner));
        let hint = learnt.filter(|l| now.saturating_duration_since(l.at) < HINT_AGE).map(|l| l.hint);
        Box::new(Dressed {
            pace: Pace::new(u64::from(current_mtu), hint),
            since: now,
            now: self.now,
            learnt: self.learnt.clone(),
        })
    }
}

#[derive(Debug, Clone)]
struct Dressed {
    pace: Pace,
    since: Instant,
    now: Now,
    learnt: Option<Arc<Mutex<Option<Learnt>>>>,
}

impl Dressed {
    fn micros(&self, at: Instant) -> Micros {
        // Never nought, which the model has for "never".
        u64::try_from(at.saturating_duration_since(self.since).as_micros()).unwrap_or(u64::MAX) + 1
    }
}

impl Controller for Dressed {
    fn on_sent(&mut self, now: Instant, bytes: u64, _: u64) {
        self.pace.sent(self.micros(now), bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _: bool, rtt: &RttEstimator) {
        self.pace.set_pacer_rtt(u64::try_from(rtt.get().as_micros()).unwrap_or(u64::MAX));
        self.pace.acked(self.micros(now), self.micros(sent), bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Option<u64>) {
        self.pace.acks_done(self.micros(now), in_flight, app_limited);
        if let (Some(learnt), Some(hint)) = (&self.learnt, self.pace.hint()) {
            *learnt.lock().unwrap_or_else(PoisonError::into_inner) = Some(Learnt { hint, at: now });
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, _: bool, lost_bytes: u64) {
        self.pace.lost(self.micros(now), self.micros(sent), lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.pace.set_mtu(u64::from(new_mtu));
    }

    fn window(&self) -> u64 {
        self.pace.window(self.micros((self.now)()))
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics.pacing_rate = self.pace.rate().map(|rate| (rate * 8.0) as u64);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.pace.window(1)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
