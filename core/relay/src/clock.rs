//! Time as an argument. Wall time is UTC milliseconds; the operating system's clock is read in one place.

use std::sync::atomic::{AtomicI64, Ordering};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct UtcMs(pub i64);

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds (no leap seconds in UTC ms).
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl UtcMs {
    /// This time moved by `ms` milliseconds, saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in UTC with milliseconds, for logs and JSON.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| format!("{}ms", self.0), |t| format!("{t:.3}"))
    }
}

/// Where the wall time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in UTC milliseconds. May step backwards when the machine's clock is set.
    fn now(&self) -> UtcMs;
}

/// The operating system's clock. Constructed in binaries only.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the operating system's clock")]
    fn now(&self) -> UtcMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UtcMs(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A clock that a test moves by hand, in milliseconds.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn at(now: UtcMs) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock by `ms` (negative: a step back).
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, now: UtcMs) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMs {
        UtcMs(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_is_utc_with_milliseconds() {
        assert_eq!(UtcMs(1_700_000_000_123).to_rfc3339(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn a_manual_clock_can_step_back() {
        let clock = ManualClock::at(UtcMs(1_000));
        clock.advance_ms(-400);
        assert_eq!(clock.now(), UtcMs(600));
    }
}
