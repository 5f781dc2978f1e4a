//! Lines on which congestion control is judged.

use super::channel::{Direction, Loss};
use super::net::Line;
use std::time::Duration;

/// A line as people would say it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scene {
    /// Short name.
    pub name: &'static str,
    /// Mbit/s up; down is four times as much.
    pub mbit: f64,
    /// Round trip without queue, ms.
    pub rtt_ms: u64,
    /// Loss on the way up.
    pub loss: Loss,
    /// Loss on the way down (acknowledgements).
    pub loss_down: Loss,
    /// Jitter of each direction, ms.
    pub jitter_ms: u64,
    /// Queue, in products of rate and round trip.
    pub queue_bdp: f64,
}

impl Scene {
    /// A line without loss or jitter and with a queue of one product.
    #[must_use]
    pub const fn clean(name: &'static str, mbit: f64, rtt_ms: u64) -> Self {
        Self { name, mbit, rtt_ms, loss: Loss::Never, loss_down: Loss::Never, jitter_ms: 0, queue_bdp: 1.0 }
    }

    /// The round trip.
    #[must_use]
    pub const fn rtt(&self) -> Duration {
        Duration::from_millis(self.rtt_ms)
    }

    /// Bytes a second on the wire.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.mbit * 1e6 / 8.0
    }

    /// Share of packets that is lost on the way up.
    #[must_use]
    pub const fn loss_share(&self) -> f64 {
        match self.loss {
            Loss::Never => 0.0,
            Loss::Independent(share) | Loss::Bursts { share, .. } => share,
        }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Line {
        let bits = (self.mbit * 1e6) as u64;
        let queue = (self.rate() * self.rtt().as_secs_f64() * self.queue_bdp).max(3_000.0) as u64;
        let jitter = Duration::from_millis(self.jitter_ms);
        let mut up = Direction::constant(bits, self.rtt() / 2, queue);
        (up.loss, up.jitter) = (self.loss, jitter);
        let mut down = Direction::constant(4 * bits, self.rtt() / 2, (4 * queue).max(64_000));
        (down.loss, down.jitter) = (self.loss_down, jitter);
        Line { up, down }
    }
}

const fn burst(share: f64, length: f64) -> Loss {
    Loss::Bursts { share, length }
}

/// Lines on which the controller was tuned: the four of a township's day, long ways, short queues.
pub const TUNED: [Scene; 9] = [
    Scene { loss: Loss::Independent(0.001), ..Scene::clean("60 Mbit/s, 40 ms, 0.1 %", 60.0, 40) },
    Scene { loss: Loss::Independent(0.005), ..Scene::clean("20 Mbit/s, 70 ms, 0.5 %", 20.0, 70) },
    Scene { loss: Loss::Independent(0.01), ..Scene::clean("20 Mbit/s, 60 ms, 1 %", 20.0, 60) },
    Scene { loss: burst(0.02, 3.0), ..Scene::clean("2 Mbit/s, 150 ms, 2 % in bursts of 3", 2.0, 150) },
    Scene::clean("20 Mbit/s, 30 ms", 20.0, 30),
    Scene { loss: Loss::Independent(0.02), ..Scene::clean("5 Mbit/s, 100 ms, 2 %", 5.0, 100) },
    Scene { loss: Loss::Independent(0.01), ..Scene::clean("20 Mbit/s, 400 ms, 1 %", 20.0, 400) },
    Scene {
        loss: Loss::Independent(0.01),
        jitter_ms: 20,
        ..Scene::clean("20 Mbit/s, 70 ms + 2 x 0-20 ms of jitter, 1 %", 20.0, 70)
    },
    Scene {
        loss: Loss::Independent(0.01),
        queue_bdp: 0.2,
        ..Scene::clean("20 Mbit/s, 70 ms, 1 %, a queue of 0.2 products", 20.0, 70)
    },
];

/// Lines that were not used for tuning.
pub const HELD_OUT: [Scene; 4] = [
    Scene { loss: Loss::Independent(0.003), ..Scene::clean("8 Mbit/s, 55 ms, 0.3 %", 8.0, 55) },
    Scene { loss: burst(0.015, 5.0), ..Scene::clean("35 Mbit/s, 110 ms, 1.5 % in bursts of 5", 35.0, 110) },
    Scene {
        loss: burst(0.02, 3.0),
        loss_down: Loss::Independent(0.01),
        jitter_ms: 8,
        ..Scene::clean("4 Mbit/s, 220 ms + 2 x 0-8 ms, 2 % in bursts of 3, 1 % down", 4.0, 220)
    },
    Scene {
        loss: Loss::Independent(0.002),
        queue_bdp: 2.0,
        ..Scene::clean("90 Mbit/s, 35 ms, 0.2 %, a queue of 2 products", 90.0, 35)
    },
];

/// Seeds: the first was used for tuning.
pub const SEEDS: [u64; 4] = [1, 101, 102, 103];
