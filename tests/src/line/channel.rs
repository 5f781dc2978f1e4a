//! One direction of a line: what becomes of a packet that is offered at a given time.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::VecDeque;
use std::time::Duration;

/// How packets are lost behind the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None.
    Never,
    /// Each packet by itself.
    Independent(f64),
    /// Gilbert-Elliott: a share of all packets is lost, in bursts of this many packets on average.
    Bursts {
        /// Share of all packets.
        share: f64,
        /// Mean length of a burst, in packets.
        length: f64,
    },
}

/// One direction of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction {
    /// Bits a second on the wire, IP and UDP headers included, from time to time; the first entry begins at nought.
    pub rate: Vec<(Duration, u64)>,
    /// Room of the drop-tail queue in bytes on the wire.
    pub queue_bytes: u64,
    /// Time from the end of the queue to the other side.
    pub delay: Duration,
    /// Up to this much more, drawn anew for every packet; packets keep their order.
    pub jitter: Duration,
    /// Loss.
    pub loss: Loss,
    /// From when to when nothing passes.
    pub outages: Vec<(Duration, Duration)>,
}

impl Direction {
    /// A direction of constant rate.
    #[must_use]
    pub fn constant(bits_a_second: u64, delay: Duration, queue_bytes: u64) -> Self {
        Self {
            rate: vec![(Duration::ZERO, bits_a_second)],
            queue_bytes,
            delay,
            jitter: Duration::ZERO,
            loss: Loss::Never,
            outages: Vec::new(),
        }
    }

    /// Whether nothing passes at `at`.
    #[must_use]
    pub fn is_out(&self, at: Duration) -> bool {
        self.outages.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// When `bytes` that begin to be sent at `from` are out.
    fn sent_by(&self, from: Duration, bytes: u64) -> Duration {
        let mut bits = bytes as f64 * 8.0;
        let mut at = from.as_secs_f64();
        for (number, (_, rate)) in self.rate.iter().enumerate() {
            let end = self.rate.get(number + 1).map_or(f64::INFINITY, |(until, _)| until.as_secs_f64());
            if at >= end {
                continue;
            }
            let room = (end - at) * *rate as f64;
            if bits <= room {
                return Duration::from_secs_f64(at + bits / *rate as f64);
            }
            bits -= room;
            at = end;
        }
        Duration::MAX
    }

    /// Bytes that pass between two times.
    #[must_use]
    pub fn capacity(&self, from: Duration, to: Duration) -> f64 {
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        let mut bytes = 0.0;
        for (number, (begin, rate)) in self.rate.iter().enumerate() {
            let end = self.rate.get(number + 1).map_or(f64::INFINITY, |(until, _)| until.as_secs_f64());
            let (begin, end) = (begin.as_secs_f64().max(from), end.min(to));
            if begin < end {
                bytes += (end - begin) * *rate as f64 / 8.0;
            }
        }
        bytes
    }
}

/// What became of packets so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes offered, headers included.
    pub offered: u64,
    /// Bytes that found the queue full.
    pub dropped: u64,
    /// Bytes lost behind the queue.
    pub lost: u64,
    /// Bytes that arrived or will.
    pub passed: u64,
}

/// The model at work.
#[derive(Debug)]
pub struct Channel {
    line: Direction,
    rng: StdRng,
    /// End of service and size of what is in the queue.
    queue: VecDeque<(Duration, u64)>,
    queued: u64,
    last_out: Duration,
    last_arrival: Duration,
    in_burst: bool,
    count: Count,
}

impl Channel {
    /// An empty line.
    #[must_use]
    pub fn new(line: Direction, seed: u64) -> Self {
        Self {
            line,
            rng: StdRng::seed_from_u64(seed),
            queue: VecDeque::new(),
            queued: 0,
            last_out: Duration::ZERO,
            last_arrival: Duration::ZERO,
            in_burst: false,
            count: Count::default(),
        }
    }

    /// Offers a packet; says when it arrives, or nothing when it never does. Times must not go back.
    pub fn offer(&mut self, now: Duration, bytes: u64) -> Option<Duration> {
        self.settle(now);
        self.count.offered += bytes;
        if self.queued + bytes > self.line.queue_bytes {
            self.count.dropped += bytes;
            return None;
        }
        let out = self.line.sent_by(now.max(self.last_out), bytes);
        self.last_out = out;
        self.queue.push_back((out, bytes));
        self.queued += bytes;
        // Drawn for every packet, so that one packet more or less does not shift the fate of all others by outages.
        let (lost, jitter) = (self.is_lost(), self.line.jitter.mul_f64(self.rng.random::<f64>()));
        if lost || self.line.is_out(out) {
            self.count.lost += bytes;
            return None;
        }
        let arrival = (out + self.line.delay + jitter).max(self.last_arrival);
        self.last_arrival = arrival;
        self.count.passed += bytes;
        Some(arrival)
    }

    fn is_lost(&mut self) -> bool {
        match self.line.loss {
            Loss::Never => false,
            Loss::Independent(share) => self.rng.random::<f64>() < share,
            Loss::Bursts { share, length } => {
                let leave = 1.0 / length.max(1.0);
                let enter = leave * share / (1.0 - share);
                let turn = if self.in_burst { leave } else { enter };
                if self.rng.random::<f64>() < turn {
                    self.in_burst = !self.in_burst;
                }
                self.in_burst
            }
        }
    }

    fn settle(&mut self, now: Duration) {
        while let Some((out, bytes)) = self.queue.front().copied() {
            if out > now {
                break;
            }
            self.queue.pop_front();
            self.queued -= bytes;
        }
    }

    /// Time that a packet offered now would wait in the queue.
    pub fn waiting(&mut self, now: Duration) -> Duration {
        self.settle(now);
        self.last_out.saturating_sub(now)
    }

    /// What became of packets so far.
    #[must_use]
    pub const fn count(&self) -> Count {
        self.count
    }

    /// The line.
    #[must_use]
    pub const fn line(&self) -> &Direction {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_leave_at_the_rate_and_wait_for_each_other() {
        let mut channel = Channel::new(Direction::constant(8_000_000, 10 * MS, 3_000), 1);
        let arrivals: Vec<_> = (0..4).map(|_| channel.offer(Duration::ZERO, 1_000)).collect();
        assert_eq!(arrivals, [Some(11 * MS), Some(12 * MS), Some(13 * MS), None], "the fourth finds no room");
        assert_eq!(channel.offer(MS, 1_000), Some(14 * MS), "one has left");
        assert_eq!(channel.count(), Count { offered: 5_000, dropped: 1_000, lost: 0, passed: 4_000 });
    }

    #[test]
    fn a_step_of_the_rate_holds_for_what_is_in_the_queue() {
        let mut line = Direction::constant(8_000_000, Duration::ZERO, 100_000);
        line.rate.push((2 * MS, 4_000_000));
        let mut channel = Channel::new(line.clone(), 1);
        let arrivals: Vec<_> = (0..4).filter_map(|_| channel.offer(Duration::ZERO, 1_000)).collect();
        assert_eq!(arrivals, [MS, 2 * MS, 4 * MS, 6 * MS]);
        assert!((line.capacity(MS, 4 * MS) - 2_000.0).abs() < 1e-6);
    }

    #[test]
    fn bursts_lose_their_share_in_their_length_and_outages_lose_all() {
        let mut line = Direction::constant(1_000_000_000, Duration::ZERO, u64::MAX);
        line.loss = Loss::Bursts { share: 0.02, length: 3.0 };
        line.outages.push((Duration::from_secs(500), Duration::from_secs(600)));
        let mut channel = Channel::new(line, 7);
        let fates: Vec<bool> = (0..400_000_u64)
            .map(|n| channel.offer(MS * u32::try_from(n).unwrap(), 1_000).is_none())
            .collect();
        let lost = fates.iter().filter(|lost| **lost).count() as f64 / fates.len() as f64;
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((0.018..0.022).contains(&lost), "{lost}");
        assert!((2.7..3.3).contains(&(lost * fates.len() as f64 / bursts)));
        assert!((500_500..599_500).all(|ms| channel.offer(MS * ms, 1_000).is_none()));
    }
}
