//! The model: what was delivered, how long it took, and from that the window.

use crate::Micros;
use crate::rate::{Deliveries, Sample};
use crate::rival::Rival;

/// Window before anything is known, in packets.
const INITIAL_PACKETS: u64 = 32;
/// Least window, in packets: enough to be acknowledged at once and to find losses.
const LEAST_PACKETS: u64 = 4;
/// Queue that is kept, as a part of the round trip without queue: what makes a faster line be noticed within a round trip.
const EXTRA: f64 = 0.25;
/// Least of it, where the queue is so short that this already overflows.
const LEAST_EXTRA: f64 = 0.04;
/// Queue that is kept on very short round trips: below this, timers of the operating system are the queue.
const EXTRA_TIME: Micros = 4_000;
/// Packets beyond that: a small flow comes up beside a big one by them.
const EXTRA_PACKETS: f64 = 2.0;
/// Round trips over which the best delivery rate counts.
const MEMORY: usize = 4;
/// The round trip without queue is looked for so often.
const BASE_AGE: Micros = 10_000_000;
/// With this part of what is on its way without queue.
const DRAIN: f64 = 0.8;
/// Round trips that the queue must stay although the window was fitted, before somebody else is taken to fill it.
const STUBBORN_ROUNDS: u32 = 6;
/// Round trips without that queue after which he is taken to be gone.
const CALM_ROUNDS: u32 = 3;
/// The same for one who was there a moment ago, and when he is forgotten.
const FORMER_ROUNDS: u32 = 2;
const FORGET_ROUNDS: u32 = 20;
/// Share of bytes lost, over at least so many packets, that is taken for a queue too short for us.
const HEAVY_LOSS: f64 = 0.06;
const HEAVY_PACKETS: u64 = 400;
/// The same within one round trip at the start.
const HEAVY_START: f64 = 0.15;
/// Nothing heard and nothing sent for this long while something is on its way: two packets may go beyond the window, so that
/// whoever asks each second is let through.
const SILENCE: Micros = 800_000;
/// Least silence that is an outage and not a slow answer.
const OUTAGE: Micros = 400_000;
/// A smoothed round trip that is this much too long is corrected for the pacer.
const MAX_PACER_FACTOR: u64 = 512;
/// Newest round trips, whose least says whether there is a queue now.
const RECENT: usize = 8;
/// Bytes that one word tells of at most, a terabyte, so that no sum overflows.
const MAX_BYTES: u64 = 1 << 40;
/// Longest smoothed round trip that is believed: a day, in microseconds.
const MAX_ROUND_TRIP: Micros = 86_400_000_000;

/// What a connection has learnt of its line, for the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    /// Bytes a second.
    pub rate: f64,
    /// Round trip without queue.
    pub base: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The window doubles each round trip until a queue shows.
    Start { best: f64, flat: u32 },
    /// The window is fitted to what is delivered.
    Cruise,
    /// The queue is let out, to see the round trip without it.
    Drain { since: Micros, low: Micros, before: Micros, round: Option<u64> },
}

#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// It is over when what is then delivered left after this much had been delivered.
    end: u64,
    least: Micros,
    sum: Micros,
    samples: u64,
    best_rate: f64,
    acked: u64,
    lost: u64,
    /// The window was full at some time.
    full: bool,
}

/// Congestion control of one connection.
#[derive(Debug, Clone)]
pub struct Pace {
    mtu: u64,
    window: u64,
    phase: Phase,
    deliveries: Deliveries,
    /// Best rates of the last round trips.
    rates: [f64; MEMORY],
    round: Round,
    rounds: u64,
    base: Micros,
    base_at: Micros,
    recent: [Micros; RECENT],
    recent_at: usize,
    jitter: f64,
    extra: f64,
    acked_here: u64,
    lost_here: u64,
    stubborn: u32,
    calm: u32,
    rival: Option<Rival>,
    former: Option<Rival>,
    /// Longest round trip since the rival is there.
    high: f64,
    /// Hunger that found nothing is not listened to before this round, and how long the next time.
    sated_until: u64,
    sated_for: u64,
    in_flight: u64,
    batch: u64,
    heard_at: Micros,
    sent_at: Micros,
    /// When the first word came after an outage whose losses are not counted yet.
    back_at: Option<Micros>,
    /// The round trip by which the pacer divides.
    pacer_rtt: Micros,
    hint: Option<Hint>,
}

impl Pace {
    /// For a new connection whose packets have `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64, hint: Option<Hint>) -> Self {
        Self {
            mtu,
            window: INITIAL_PACKETS * mtu,
            phase: Phase::Start { best: 0.0, flat: 0 },
            deliveries: Deliveries::default(),
            rates: [0.0; MEMORY],
            round: Round { least: Micros::MAX, ..Round::default() },
            rounds: 0,
            base: Micros::MAX,
            base_at: 0,
            recent: [0; RECENT],
            recent_at: 0,
            jitter: 0.0,
            extra: EXTRA,
            acked_here: 0,
            lost_here: 0,
            stubborn: 0,
            calm: 0,
            rival: None,
            former: None,
            high: 0.0,
            sated_until: 0,
            sated_for: 8,
            in_flight: 0,
            batch: 0,
            heard_at: 0,
            sent_at: 0,
            back_at: None,
            pacer_rtt: 0,
            hint,
        }
    }

    /// The delivery rate in bytes a second, once known.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let rate = self.best_rate();
        (rate > 0.0).then_some(rate)
    }

    /// What the next connection may begin with.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let known = matches!(self.phase, Phase::Cruise) && self.rival.is_none();
        let rate = self.rate().filter(|_| known)?;
        Some(Hint { rate, base: self.base })
    }

    /// Bytes that may be on their way at `now`.
    #[must_use]
    pub fn window(&self, now: Micros) -> u64 {
        let mut window = self.window.max(LEAST_PACKETS * self.mtu);
        let recent = self.recent_least() as Micros;
        if self.pacer_rtt > recent * 3 / 2 && recent > 0 && self.in_flight + 2 * self.mtu < window {
            // The pacer divides by a round trip that it has smoothed; after an outage that is one of many seconds. While
            // there is room it is told a window that makes the rate right.
            let factor = (self.pacer_rtt / recent).min(MAX_PACER_FACTOR);
            window *= factor;
        }
        let silent = self.in_flight > 0 && now.saturating_sub(self.heard_at.max(self.sent_at)) >= SILENCE;
        if silent { window.max(self.in_flight + 2 * self.mtu + 1) } else { window }
    }

    /// The size of packets changed.
    pub fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
    }

    /// Packets left.
    pub fn sent(&mut self, now: Micros, bytes: u64) {
        let bytes = bytes.min(MAX_BYTES);
        let idle = self.in_flight == 0;
        if idle {
            self.heard_at = self.heard_at.max(now);
        }
        self.deliveries.sent(now, idle);
        self.in_flight += bytes;
        self.sent_at = now;
    }

    /// The round trip by which the pacer divides the window.
    pub fn set_pacer_rtt(&mut self, rtt: Micros) {
        self.pacer_rtt = rtt.min(MAX_ROUND_TRIP);
    }

    /// A packet that left at `sent` was delivered.
    pub fn acked(&mut self, now: Micros, sent: Micros, bytes: u64) {
        let bytes = bytes.min(MAX_BYTES);
        self.deliveries.acked(now, sent, bytes);
        self.batch += bytes;
        self.round.acked += bytes;
        self.acked_here += bytes;
    }

    /// All acknowledgements of a batch were told.
    pub fn acks_done(&mut self, now: Micros, in_flight: u64, app_limited: bool) {
        let in_flight = in_flight.min(MAX_BYTES);
        let acked = std::mem::take(&mut self.batch);
        let silence = now.saturating_sub(self.heard_at);
        self.heard_at = now;
        self.in_flight = in_flight;
        self.round.full |= in_flight + acked + 2 * self.mtu >= self.window * 9 / 10;
        let shortest = if self.base == Micros::MAX { 0 } else { self.base };
        let sample = self.deliveries.sample(now, shortest);
        if app_limited {
            self.deliveries.limited(in_flight);
        }
        let Some(sample) = sample else { return };
        if silence >= OUTAGE.max(self.base.saturating_mul(3) / 2) && self.base != Micros::MAX {
            // What this batch took says how long the line was away, and nothing of the line.
            self.back_at = Some(now);
            self.pacer_rtt = (7 * self.pacer_rtt + sample.rtt) / 8;
            self.round = Round { end: self.deliveries.delivered(), least: Micros::MAX, ..Round::default() };
            return;
        }
        self.take(now, &sample);
        if sample.delivered_before >= self.round.end {
            self.finish_round(now, sample.app_limited);
        }
        if let Some(rival) = &mut self.rival
            && !sample.app_limited
        {
            rival.acked(now, acked as f64 / self.mtu as f64, sample.rtt);
        }
        self.fit(now, acked, &sample);
    }

    fn take(&mut self, now: Micros, sample: &Sample) {
        let first = self.base == Micros::MAX;
        if sample.rtt <= self.base {
            (self.base, self.base_at) = (sample.rtt.max(1), now);
        }
        if first {
            self.recent = [sample.rtt; RECENT];
            if let Some(hint) = self.hint.take()
                && sample.rtt > hint.base / 2
                && sample.rtt < hint.base * 3 / 2
            {
                self.window = self.window.max((hint.rate * hint.base as f64 / 2e6) as u64);
            }
        }
        self.recent[self.recent_at % RECENT] = sample.rtt;
        self.recent_at += 1;
        self.round.least = self.round.least.min(sample.rtt);
        self.round.sum += sample.rtt;
        self.round.samples += 1;
        if let Some(rate) = sample.rate
            && (!sample.app_limited || rate > self.best_rate())
        {
            self.round.best_rate = self.round.best_rate.max(rate);
        }
        if let Phase::Drain { low, .. } = &mut self.phase {
            *low = (*low).min(sample.rtt);
        }
    }

    fn best_rate(&self) -> f64 {
        let memory = if self.stubborn >= 2 { 2 } else { MEMORY };
        let before = (0..memory).map(|back| {
            self.rates[((self.rounds + MEMORY as u64 * 4 - back as u64) % MEMORY as u64) as usize]
        });
        before.fold(self.round.best_rate, f64::max)
    }

    /// Time in the queue that is aimed at.
    fn extra_time(&self) -> f64 {
        self.extra * (self.base as f64).max(EXTRA_TIME as f64 / EXTRA)
    }

    /// Bytes on their way without a queue.
    fn product(&self) -> f64 {
        self.best_rate() * self.base as f64 / 1e6
    }

    fn target(&self) -> f64 {
        let time = self.base as f64 + self.extra_time() + self.jitter;
        self.best_rate() * time / 1e6 + EXTRA_PACKETS * self.mtu as f64
    }

    fn recent_least(&self) -> f64 {
        self.recent.iter().copied().min().unwrap_or(0) as f64
    }

    /// The queue that is always kept is gone at once: the line has become faster.
    fn is_hungry(&self, sample: &Sample) -> bool {
        let longest = self.recent.iter().copied().max().unwrap_or(0) as f64;
        longest < self.base as f64 + self.jitter + 0.3 * self.extra_time()
            && self.round.full
            && !sample.app_limited
            && self.rounds >= self.sated_until
    }

    fn finish_round(&mut self, now: Micros, app_limited: bool) {
        let round = self.round;
        let mean = round.sum as f64 / round.samples.max(1) as f64;
        let least = round.least as f64;
        self.rounds += 1;
        self.rates[(self.rounds % MEMORY as u64) as usize] = round.best_rate;
        self.round = Round { end: self.deliveries.delivered(), least: Micros::MAX, ..Round::default() };
        let packet = self.mtu as f64 * 1e6 / self.best_rate().max(1.0);
        if matches!(self.phase, Phase::Cruise) && round.samples >= 4 {
            // Packets that wait for each other in our own bursts are no jitter.
            let spread = (mean - least - 2.0 * packet).clamp(0.0, self.base as f64);
            self.jitter += (spread - self.jitter) / 8.0;
        }
        let aim = self.base as f64 + self.extra_time() + self.jitter;
        let queued = least > aim + 0.6 * self.extra_time() + 3.0 * packet;
        self.stubborn = if queued { self.stubborn + 1 } else { 0 };
        self.calm = if least < aim + packet { self.calm + 1 } else { 0 };
        self.weigh_loss();
        match self.phase {
            Phase::Start { best, flat } => {
                let rate = self.best_rate();
                let grown = rate > best * 1.25 || app_limited;
                let flat = if grown { 0 } else { flat + 1 };
                self.phase = Phase::Start { best: if grown { rate } else { best }, flat };
                let lossy = round.lost as f64 > HEAVY_START * (round.acked + round.lost) as f64
                    && round.acked > 30 * self.mtu;
                if flat >= 3 || lossy {
                    self.cruise(now);
                }
            }
            Phase::Cruise => {
                let empty = mean < self.base as f64 + self.jitter + 0.3 * self.extra_time();
                if empty && round.full && !app_limited && self.rounds >= self.sated_until {
                    self.phase = Phase::Start { best: self.best_rate(), flat: 1 };
                } else if now.saturating_sub(self.base_at) > BASE_AGE {
                    if app_limited {
                        (self.base, self.base_at) = (round.least.max(1), now);
                    } else {
                        let low = Micros::MAX;
                        self.phase = Phase::Drain { since: now, low, before: mean as Micros, round: None };
                    }
                }
            }
            Phase::Drain { .. } => {}
        }
        self.watch_rival(now, mean);
    }

    fn cruise(&mut self, _now: Micros) {
        if let Phase::Start { best, .. } = self.phase
            && best > 0.0
        {
            // Whether it was worth it.
            if self.best_rate() < best * 1.1 {
                self.sated_until = self.rounds + self.sated_for;
                self.sated_for = (self.sated_for * 2).min(256);
            } else {
                self.sated_for = 8;
            }
        }
        self.phase = Phase::Cruise;
    }

    /// A queue that is shorter than what we want to keep in it drops much: want less.
    fn weigh_loss(&mut self) {
        let all = self.acked_here + self.lost_here;
        if all >= HEAVY_PACKETS * self.mtu {
            let heavy = self.lost_here as f64 > HEAVY_LOSS * all as f64;
            self.extra =
                if heavy { (self.extra * 0.7).max(LEAST_EXTRA) } else { (self.extra + 0.01).min(EXTRA) };
            (self.acked_here, self.lost_here) = (0, 0);
        }
    }

    fn watch_rival(&mut self, now: Micros, mean: f64) {
        match &self.rival {
            None if self.stubborn >= STUBBORN_ROUNDS && matches!(self.phase, Phase::Cruise) => {
                let anew = || Rival::new(self.window as f64 / self.mtu as f64, now);
                self.rival = Some(self.former.take().unwrap_or_else(anew));
                self.former = None;
                self.high = mean;
                self.calm = 0;
            }
            None if self.former.is_some() && self.stubborn >= FORMER_ROUNDS => {
                self.rival = self.former.take();
                (self.high, self.calm) = (mean, 0);
            }
            None if self.calm >= FORGET_ROUNDS => self.former = None,
            None => {}
            Some(_) if self.calm >= CALM_ROUNDS => self.former = self.rival.take(),
            Some(_) => self.high = (self.high * 0.995).max(mean),
        }
    }

    fn fit(&mut self, now: Micros, acked: u64, sample: &Sample) {
        let least = (LEAST_PACKETS * self.mtu) as f64;
        match self.phase {
            Phase::Start { .. } => {
                let queue = self.recent_least() - self.base as f64 - self.jitter;
                if queue > self.extra_time() && self.recent_at >= RECENT {
                    self.cruise(now);
                    self.fit(now, 0, sample);
                } else if self.in_flight + acked >= self.window / 2 {
                    self.window += acked;
                }
            }
            Phase::Cruise if self.is_hungry(sample) => {
                self.phase = Phase::Start { best: self.best_rate(), flat: 1 };
                self.window += acked;
            }
            Phase::Cruise => {
                let rival = self.rival.as_ref().map_or(0.0, |r| r.window() * self.mtu as f64);
                let target = self.target().max(rival).max(least);
                if !sample.app_limited || target > self.window as f64 {
                    self.window = target as u64;
                }
            }
            Phase::Drain { since, low, before, round } => {
                self.window = (DRAIN * self.product()).max(least) as u64;
                let reached = self.in_flight <= self.window + 2 * self.mtu;
                let round = round.or_else(|| reached.then(|| self.deliveries.delivered() + self.in_flight));
                self.phase = Phase::Drain { since, low, before, round };
                let over = round.is_some_and(|end| self.deliveries.delivered() >= end);
                if over || now.saturating_sub(since) > 4 * before {
                    self.end_drain(now, low, before);
                    self.fit(now, 0, sample);
                }
            }
        }
    }

    fn end_drain(&mut self, now: Micros, low: Micros, before: Micros) {
        self.phase = Phase::Cruise;
        self.base_at = now;
        self.sated_until = self.sated_until.max(self.rounds + 3);
        // Beside a rival a queue that became shorter is his and ours; one that did not is no queue, but a longer way.
        let his = self.rival.is_some() && (low as f64) < 0.93 * before as f64;
        if low != Micros::MAX && !his {
            self.base = low.max(1);
        }
        if (low as f64) < self.base as f64 + self.jitter + 0.25 * self.extra_time() && self.rival.is_some() {
            // The queue was ours alone.
            self.former = self.rival.take();
        }
    }

    /// Packets are lost, the last of them sent at `sent`.
    pub fn lost(&mut self, now: Micros, sent: Micros, bytes: u64) {
        let bytes = bytes.min(MAX_BYTES);
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if let Some(back) = self.back_at
            && sent < back
        {
            // A flight that went into the outage; what followed it says nothing of the line either.
            if now.saturating_sub(back) <= self.base.saturating_mul(4) && bytes >= 4 * self.mtu {
                self.back_at = None;
                self.revive();
            }
            return;
        }
        self.round.lost += bytes;
        self.lost_here += bytes;
        let rtt = self.recent_least();
        let (base, high) = (self.base as f64, self.high);
        if let Some(rival) = &mut self.rival
            && rtt > base + 0.6 * (high - base)
        {
            rival.lost(now, sent);
        }
    }

    /// The line is back after an outage: half of what it carried, then as at the start.
    fn revive(&mut self) {
        let half = (self.target() / 2.0) as u64;
        self.window = half.max(INITIAL_PACKETS * self.mtu);
        self.phase = Phase::Start { best: 0.0, flat: 0 };
        (self.rival, self.former, self.stubborn) = (None, None, 0);
        self.recent = [self.base; RECENT];
        (self.round.lost, self.lost_here, self.acked_here) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests;
