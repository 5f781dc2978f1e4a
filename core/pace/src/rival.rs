//! The window beside somebody who fills every queue: CUBIC (RFC 9438), for losses of a full queue only.

use crate::Micros;

/// RFC 9438 §5: packets a second cubed.
const C: f64 = 0.4;
/// RFC 9438 §4.6: what is left after a loss.
const BETA: f64 = 0.7;

/// A window in the manner of CUBIC.
#[derive(Debug, Clone)]
pub(crate) struct Rival {
    /// Packets.
    window: f64,
    best: f64,
    /// What Reno would have (§4.3).
    reno: f64,
    epoch: Option<Micros>,
    /// Losses of packets sent before this are of the cut that was made.
    cut_at: Micros,
}

impl Rival {
    /// From `window` packets on.
    pub(crate) const fn new(window: f64, now: Micros) -> Self {
        Self { window, best: window, reno: window, epoch: None, cut_at: now }
    }

    /// The window in packets.
    pub(crate) const fn window(&self) -> f64 {
        self.window
    }

    /// So many packets were acknowledged.
    pub(crate) fn acked(&mut self, now: Micros, packets: f64, rtt: Micros) {
        let epoch = *self.epoch.get_or_insert(now);
        let t = now.saturating_sub(epoch) as f64 / 1e6;
        let k = (self.best * (1.0 - BETA) / C).cbrt();
        let target = C * (t + rtt as f64 / 1e6 - k).powi(3) + self.best;
        let target = target.clamp(self.window, self.window * 1.5);
        let alpha = if self.reno >= self.best { 1.0 } else { 3.0 * (1.0 - BETA) / (1.0 + BETA) };
        self.reno += alpha * packets / self.window;
        self.window += packets * (target - self.window) / self.window;
        self.window = self.window.max(self.reno);
    }

    /// A packet that was sent at `sent` found a full queue.
    pub(crate) fn lost(&mut self, now: Micros, sent: Micros) {
        if sent < self.cut_at {
            return;
        }
        self.cut_at = now;
        // Fast convergence (§4.7).
        self.best = if self.window < self.best { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(4.0);
        self.reno = self.window;
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_cuts_once_a_flight_and_the_window_comes_back_in_k_seconds() {
        let mut rival = Rival::new(100.0, 0);
        rival.lost(1_000, 500);
        rival.lost(1_000, 600);
        assert!((rival.window() - 70.0).abs() < 1e-9);
        // K = cbrt(100 * 0.3 / 0.4) = 4.2 s.
        let mut now = 1_000;
        while now < 4_300_000 {
            now += 200_000;
            let window = rival.window();
            rival.acked(now, window, 200_000);
        }
        assert!((95.0..115.0).contains(&rival.window()), "{}", rival.window());
    }
}
