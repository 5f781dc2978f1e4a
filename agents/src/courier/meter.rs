//! What the line carries, measured while it is what the bytes wait for.

use std::time::Duration;
use tokio::time::Instant;

/// A busy time is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// A shorter busy time counts when it carried this many bytes: a film on a fast line.
const ENOUGH_BYTES: u64 = 1024 * 1024;
/// Fewer bytes a second are an outage, not a line.
const OUTAGE: u64 = 1_000;
/// A busy time that does not end is told this often.
const TELL: Duration = Duration::from_secs(10);

/// Counts what the transport has sent and not lost while data streams are open.
#[derive(Debug, Default)]
pub(super) struct Meter {
    busy: Option<(Instant, u64)>,
    told_at: Option<Instant>,
    rate: Option<u64>,
}

impl Meter {
    /// `carrying`: data is on its way. `carried`: bytes that the connection has sent and not lost. Gives bytes a second, when there is
    /// something to tell.
    pub(super) fn look(
        &mut self,
        now: Instant,
        carrying: bool,
        carried: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let Some((since, before)) = self.busy else {
            if carrying {
                self.busy = Some((now, carried()));
                self.told_at = Some(now);
            }
            return None;
        };
        let took = now - since;
        if carrying && took < LOOK {
            return None;
        }
        let after = carried();
        self.busy = carrying.then_some((now, after));
        self.sample(took, after.saturating_sub(before));
        if carrying && self.told_at.is_some_and(|at| now - at < TELL) {
            return None;
        }
        self.told_at = Some(now);
        self.rate
    }

    fn sample(&mut self, took: Duration, bytes: u64) {
        if took < LOOK && bytes < ENOUGH_BYTES {
            return;
        }
        let rate = u128::from(bytes) * 1_000_000 / took.as_micros().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if rate >= OUTAGE {
            self.rate = Some(self.rate.map_or(rate, |old| old / 4 * 3 + rate / 4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begin: Instant, ms: u64) -> Instant {
        begin + Duration::from_millis(ms)
    }

    #[test]
    fn the_rate_is_that_of_busy_times_alone() {
        let (begin, mut meter) = (Instant::now(), Meter::default());
        assert_eq!(meter.look(begin, false, || unreachable!("nothing is on its way")), None);
        assert_eq!(meter.look(after(begin, 60_000), true, || 1_000), None);
        assert_eq!(meter.look(after(begin, 60_500), true, || unreachable!("too early")), None);
        assert_eq!(meter.look(after(begin, 61_000), true, || 501_000), None, "told when it ends");
        assert_eq!(meter.look(after(begin, 62_000), false, || 1_001_000), Some(500_000));
        assert_eq!(meter.look(after(begin, 90_000), true, || 1_001_000), None);
        assert_eq!(meter.look(after(begin, 90_100), false, || 1_051_000), Some(500_000), "too little to say");
    }

    #[test]
    fn a_fast_line_is_measured_by_one_film_and_an_outage_is_no_rate() {
        let (begin, mut meter) = (Instant::now(), Meter::default());
        meter.look(begin, true, || 0);
        assert_eq!(meter.look(after(begin, 100), false, || 10_000_000), Some(100_000_000));
        meter.look(after(begin, 200), true, || 0);
        assert_eq!(meter.look(after(begin, 30_200), true, || 900), Some(100_000_000));
    }

    #[test]
    fn a_long_transfer_is_told_every_ten_seconds() {
        let (begin, mut meter) = (Instant::now(), Meter::default());
        meter.look(begin, true, || 0);
        let told: Vec<u64> = (1..=20)
            .filter(|n| meter.look(after(begin, n * 1_000), true, || n * 250_000).is_some())
            .collect();
        assert_eq!((told, meter.rate), (vec![10, 20], Some(250_000)));
    }
}
