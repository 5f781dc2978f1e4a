//! Delivery rate: how fast the far end has received, seen from here.
//!
//! After draft-cheng-iccrg-delivery-rate-estimation: between the acknowledgement that was newest when a packet left and its
//! own, all that was delivered came through; the longer of the times for sending and for acknowledging divides it.

use crate::Micros;
use std::collections::VecDeque;

/// Departures remembered. 400 ms at a departure each 0.1 ms; older ones give no sample.
const MAX_DEPARTURES: usize = 4_096;

/// Packets that left at one time.
#[derive(Debug, Clone, Copy)]
struct Departure {
    at: Micros,
    /// Bytes delivered when they left, and since when.
    delivered: u64,
    delivered_at: Micros,
    /// When the packet left whose delivery was newest.
    first_sent_at: Micros,
    app_limited: bool,
}

/// What one batch of acknowledgements shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Bytes a second; nothing when the interval is too short to say.
    pub(crate) rate: Option<f64>,
    /// Age of the newest packet acknowledged.
    pub(crate) rtt: Micros,
    /// There was not always something to send.
    pub(crate) app_limited: bool,
    /// Bytes that had been delivered when that packet left.
    pub(crate) delivered_before: u64,
}

/// Keeps count of what was delivered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries {
    departures: VecDeque<Departure>,
    delivered: u64,
    delivered_at: Micros,
    first_sent_at: Micros,
    /// Until so much is delivered, departures are those of a sender without enough to send.
    limited_until: u64,
    newest: Option<Micros>,
}

impl Deliveries {
    /// Packets leave; `idle`: nothing else is on its way.
    pub(crate) fn sent(&mut self, now: Micros, idle: bool) {
        if idle {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        if self.departures.back().is_some_and(|last| last.at == now) {
            return;
        }
        if self.departures.len() == MAX_DEPARTURES {
            self.departures.pop_front();
        }
        self.departures.push_back(Departure {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.limited_until > self.delivered,
        });
    }

    /// A packet that left at `sent` was delivered.
    pub(crate) fn acked(&mut self, now: Micros, sent: Micros, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        self.newest = Some(self.newest.map_or(sent, |newest| newest.max(sent)));
    }

    /// The batch is complete. `shortest`: rates over shorter intervals say nothing.
    pub(crate) fn sample(&mut self, now: Micros, shortest: Micros) -> Option<Sample> {
        let newest = self.newest.take()?;
        let at = self.departures.binary_search_by_key(&newest, |departure| departure.at).ok()?;
        let departure = self.departures[at];
        self.departures.drain(..at);
        self.first_sent_at = departure.at;
        let sending = departure.at.saturating_sub(departure.first_sent_at);
        let acking = now.saturating_sub(departure.delivered_at);
        let interval = sending.max(acking);
        let bytes = self.delivered - departure.delivered;
        let rate = (interval > 0 && interval >= shortest).then(|| bytes as f64 * 1e6 / interval as f64);
        Some(Sample {
            rate,
            rtt: now.saturating_sub(newest),
            app_limited: departure.app_limited,
            delivered_before: departure.delivered,
        })
    }

    /// The sender has nothing to send while so much is on its way.
    pub(crate) fn limited(&mut self, in_flight: u64) {
        self.limited_until = self.delivered + in_flight;
    }

    /// Bytes delivered so far.
    pub(crate) const fn delivered(&self) -> u64 {
        self.delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_line_shows_its_rate_and_its_round_trip() {
        let mut deliveries = Deliveries::default();
        // A packet of 1,000 bytes each ms, acknowledged 50 ms later: 1 MB/s.
        for ms in 0..200_u64 {
            if ms >= 50 {
                deliveries.acked(ms * 1_000, (ms - 50) * 1_000, 1_000);
                let sample = deliveries.sample(ms * 1_000, 40_000);
                assert_eq!(sample.map(|s| s.rtt), Some(50_000));
                if ms > 110 {
                    let rate = sample.and_then(|s| s.rate);
                    assert!(rate.is_some_and(|r| (980_000.0..1_020_000.0).contains(&r)), "{rate:?}");
                }
            }
            deliveries.sent(ms * 1_000, ms == 0);
        }
    }

    #[test]
    fn departures_of_a_sender_without_work_are_marked_until_they_are_delivered() {
        let mut deliveries = Deliveries::default();
        deliveries.sent(0, true);
        deliveries.acked(10, 0, 1_000);
        assert_eq!(deliveries.sample(10, 0).map(|s| s.app_limited), Some(false));
        deliveries.limited(500);
        deliveries.sent(20, false);
        deliveries.acked(30, 20, 500);
        assert_eq!(deliveries.sample(30, 0).map(|s| s.app_limited), Some(true));
        deliveries.sent(40, false);
        deliveries.acked(50, 40, 500);
        assert_eq!(deliveries.sample(50, 0).map(|s| s.app_limited), Some(false));
    }
}
