//! Offset between two wall clocks, and the round trip, from heartbeats (the method of RFC 5905 §8).

use crate::clock::UtcMs;
use std::collections::VecDeque;

/// Samples kept: at a heartbeat of 5 s the last 80 s.
const SAMPLES: usize = 16;

/// Disagreement (ms) beyond what the round trips explain that still counts as drift, not as a clock that was set.
const STEP_TOLERANCE_MS: i64 = 500;

/// One answered heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// Time on the wire, there and back, in ms.
    pub rtt_ms: u64,
    /// Their clock minus ours in ms, wrong by at most half the round trip.
    pub offset_ms: i64,
}

impl ClockSample {
    /// From the four stamps of a heartbeat. The round trip is taken from the monotonic clock, so that a step of our
    /// wall clock between sending and hearing falsifies one sample at most.
    #[must_use]
    pub fn of(
        sent_at: UtcMs,
        received_at: UtcMs,
        answered_at: UtcMs,
        sent_mono: u64,
        heard_mono: u64,
    ) -> Option<Self> {
        let elapsed = heard_mono.checked_sub(sent_mono)?;
        let held = u64::try_from(answered_at.since(received_at)).ok()?;
        let rtt_ms = elapsed.checked_sub(held)?;
        // Half of the way there: they received at `sent_at + rtt/2` of our clock.
        let way = i64::try_from(rtt_ms / 2).ok()?;
        Some(Self { rtt_ms, offset_ms: received_at.since(sent_at.plus_ms(way)) })
    }
}

/// The best of the recent samples: the one with the least round trip had the least queueing, so its offset is nearest.
#[derive(Debug, Clone, Default)]
pub struct ClockEstimate {
    samples: VecDeque<ClockSample>,
}

impl ClockEstimate {
    /// Takes a sample. One that contradicts the best so far means that a wall clock was set: the old ones are dropped.
    pub fn add(&mut self, sample: ClockSample) {
        if let Some(best) = self.best() {
            let error_bound = i64::try_from(best.rtt_ms.midpoint(sample.rtt_ms)).unwrap_or(i64::MAX);
            let apart = sample.offset_ms.saturating_sub(best.offset_ms).saturating_abs();
            if apart > error_bound.saturating_add(STEP_TOLERANCE_MS) {
                self.samples.clear();
            }
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The sample with the least round trip, the newest among equals; `None` before the first.
    #[must_use]
    pub fn best(&self) -> Option<ClockSample> {
        self.samples.iter().rev().min_by_key(|s| s.rtt_ms).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_measured_through_an_even_way() {
        // Their clock is one hour ahead; 40 ms there, 5 ms held, 40 ms back.
        let sent = UtcMs(1_000_000);
        let received = sent.plus_ms(3_600_000 + 40);
        let sample = ClockSample::of(sent, received, received.plus_ms(5), 500, 585).unwrap();
        assert_eq!(sample, ClockSample { rtt_ms: 80, offset_ms: 3_600_000 });
    }

    #[test]
    fn the_sample_with_the_least_round_trip_wins() {
        let mut estimate = ClockEstimate::default();
        estimate.add(ClockSample { rtt_ms: 900, offset_ms: 400 });
        estimate.add(ClockSample { rtt_ms: 80, offset_ms: 3 });
        estimate.add(ClockSample { rtt_ms: 300, offset_ms: 90 });
        assert_eq!(estimate.best().map(|s| s.offset_ms), Some(3));
    }

    #[test]
    fn a_clock_that_was_set_drops_the_old_samples() {
        let mut estimate = ClockEstimate::default();
        estimate.add(ClockSample { rtt_ms: 80, offset_ms: 3_600_000 });
        estimate.add(ClockSample { rtt_ms: 100, offset_ms: 5 });
        assert_eq!(estimate.best().map(|s| s.offset_ms), Some(5));
    }

    #[test]
    fn an_answer_that_cannot_be_is_no_sample() {
        let t = UtcMs(0);
        assert_eq!(ClockSample::of(t, t.plus_ms(10), t.plus_ms(5), 0, 10), None);
        assert_eq!(ClockSample::of(t, t, t.plus_ms(100), 0, 10), None);
    }
}
