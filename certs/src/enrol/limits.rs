//! How many enrolment attempts are listened to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use relay_core::clock::{MINUTE_MS, UtcMs};

/// Length of the counting window.
pub const WINDOW_MS: i64 = 10 * MINUTE_MS;
/// Failed attempts of one address in a window: a person who mistypes needs two or three.
pub const PEER_FAILURES_PER_WINDOW: u32 = 5;
/// Attempts of all addresses in a window: a whole county enrols in an afternoon, and 2^80 codes are out of reach.
pub const GLOBAL_ATTEMPTS_PER_WINDOW: u32 = 200;
/// Addresses remembered; beyond it the one with the oldest window is forgotten. The global limit still holds.
pub const MAX_TRACKED_PEERS: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Window {
    began: UtcMs,
    count: u32,
}

impl Window {
    /// The window at `now`; a clock that stepped back begins a new one instead of holding the old one for ever.
    fn at(self, now: UtcMs) -> Self {
        if (0..WINDOW_MS).contains(&now.since(self.began)) { self } else { Self { began: now, count: 0 } }
    }
}

/// Counts attempts per address and in all. Bounded memory, no clock of its own.
#[derive(Debug)]
pub struct AttemptLimiter {
    all: Window,
    failures: BTreeMap<IpAddr, Window>,
}

impl Default for AttemptLimiter {
    fn default() -> Self {
        Self { all: Window { began: UtcMs(0), count: 0 }, failures: BTreeMap::new() }
    }
}

impl AttemptLimiter {
    /// Counts one attempt of `peer`; `false` when it must not be listened to.
    pub fn admit(&mut self, peer: IpAddr, now: UtcMs) -> bool {
        self.all = self.all.at(now);
        let failed = self.failures.get(&network(peer)).map_or(0, |w| w.at(now).count);
        if failed >= PEER_FAILURES_PER_WINDOW || self.all.count >= GLOBAL_ATTEMPTS_PER_WINDOW {
            return false;
        }
        self.all.count += 1;
        true
    }

    /// Counts a failure of an admitted attempt.
    pub fn failed(&mut self, peer: IpAddr, now: UtcMs) {
        let peer = network(peer);
        if !self.failures.contains_key(&peer) && self.failures.len() >= MAX_TRACKED_PEERS {
            let oldest = self.failures.iter().min_by_key(|(_, w)| w.began).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest {
                self.failures.remove(&oldest);
            }
        }
        let window = self.failures.entry(peer).or_insert(Window { began: now, count: 0 });
        *window = window.at(now);
        window.count += 1;
    }
}

/// An IPv6 customer has a /64 at least: count the network. An IPv4 address in IPv6 clothes counts as IPv4.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn five_failures_close_an_address_for_the_window_and_no_other() {
        let mut limiter = AttemptLimiter::default();
        for _ in 0..PEER_FAILURES_PER_WINDOW {
            assert!(limiter.admit(ip(1), UtcMs(1_000)));
            limiter.failed(ip(1), UtcMs(1_000));
        }
        assert!(!limiter.admit(ip(1), UtcMs(2_000)));
        assert!(limiter.admit(ip(2), UtcMs(2_000)));
        assert!(limiter.admit(ip(1), UtcMs(1_000 + WINDOW_MS)));
    }

    #[test]
    fn all_addresses_together_are_limited() {
        let mut limiter = AttemptLimiter::default();
        let admitted = (0..=255_u8).filter(|last| limiter.admit(ip(*last), UtcMs(5))).count();
        assert_eq!(admitted, GLOBAL_ATTEMPTS_PER_WINDOW as usize);
        assert!(limiter.admit(ip(1), UtcMs(5 + WINDOW_MS)));
    }

    #[test]
    fn memory_is_bounded_and_addresses_of_one_ipv6_network_count_together() {
        let mut limiter = AttemptLimiter::default();
        for i in 0..6_000_u32 {
            limiter.failed(IpAddr::from(i.to_be_bytes()), UtcMs(i64::from(i)));
        }
        assert_eq!(limiter.failures.len(), MAX_TRACKED_PEERS);
        let mut limiter = AttemptLimiter::default();
        for host in 0..PEER_FAILURES_PER_WINDOW {
            limiter.failed(format!("2001:db8::{host:x}").parse().unwrap(), UtcMs(1));
        }
        assert!(!limiter.admit("2001:db8::ffff".parse().unwrap(), UtcMs(2)));
    }
}
