//! How often an address may try to log in, and lockout of names that do not exist.

use crate::desk::{LOCKOUT_FAILURES, LOCKOUT_MS};
use crate::limits::{LOGIN_BURST, LOGIN_REFILL_MS, MAX_LOGIN_ADDRESSES, MAX_UNKNOWN_LOGINS};
use relay_core::clock::UtcMs;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// A map that forgets its oldest entry when it is full.
#[derive(Debug)]
struct Bounded<K, V> {
    entries: HashMap<K, (UtcMs, V)>,
    max: usize,
}

impl<K: Eq + Hash + Clone, V> Bounded<K, V> {
    fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), max }
    }

    fn entry(&mut self, key: K, now: UtcMs, fresh: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.max {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        let slot = self.entries.entry(key).or_insert_with(|| (now, fresh()));
        slot.0 = now;
        &mut slot.1
    }
}

/// IPv6 hosts own a /64: it counts as one address.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// A token bucket per address.
#[derive(Debug)]
pub struct LoginRate {
    buckets: Mutex<Bounded<IpAddr, UtcMs>>,
}

impl Default for LoginRate {
    fn default() -> Self {
        Self { buckets: Mutex::new(Bounded::new(MAX_LOGIN_ADDRESSES)) }
    }
}

impl LoginRate {
    /// Takes one attempt from the address; false when it has none left.
    pub fn allow(&self, ip: IpAddr, now: UtcMs) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // The virtual time at which the bucket was full (generic cell rate algorithm).
        let full_at = buckets.entry(network(ip), now, || now);
        let start = (*full_at).max(now);
        if start.since(now) > (LOGIN_BURST - 1) * LOGIN_REFILL_MS {
            return false;
        }
        *full_at = start.plus_ms(LOGIN_REFILL_MS);
        true
    }
}

/// Lockout of names that have no account, so that they answer like names that have one.
#[derive(Debug)]
pub struct UnknownLogins {
    failures: Mutex<Bounded<String, (u32, UtcMs)>>,
}

impl Default for UnknownLogins {
    fn default() -> Self {
        Self { failures: Mutex::new(Bounded::new(MAX_UNKNOWN_LOGINS)) }
    }
}

impl UnknownLogins {
    /// Whether the name is locked now.
    pub fn locked(&self, login: &str, now: UtcMs) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .entries
            .get(login)
            .is_some_and(|(_, (count, until))| *count >= LOCKOUT_FAILURES && *until > now)
    }

    /// Counts a failure.
    pub fn failed(&self, login: &str, now: UtcMs) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, until) = failures.entry(login.to_owned(), now, || (0, now));
        if *count >= LOCKOUT_FAILURES && *until <= now {
            *count = 0;
        }
        *count += 1;
        *until = now.plus_ms(LOCKOUT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_burst_and_then_one_attempt_every_six_seconds() {
        let rate = LoginRate::default();
        let ip = IpAddr::from([192, 0, 2, 1]);
        let allowed = (0..20).filter(|_| rate.allow(ip, UtcMs(0))).count();
        assert_eq!(allowed as i64, LOGIN_BURST);
        assert!(!rate.allow(ip, UtcMs(LOGIN_REFILL_MS - 1)));
        assert!(rate.allow(ip, UtcMs(LOGIN_REFILL_MS)));
        assert!(rate.allow(IpAddr::from([192, 0, 2, 2]), UtcMs(0)));
    }

    #[test]
    fn one_v6_network_is_one_address() {
        let rate = LoginRate::default();
        let allowed =
            (0..40_u16).filter(|n| rate.allow(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, *n]), UtcMs(0)));
        assert_eq!(allowed.count() as i64, LOGIN_BURST);
    }

    #[test]
    fn memory_of_addresses_is_bounded() {
        let rate = LoginRate::default();
        for n in 0..(MAX_LOGIN_ADDRESSES as u32 + 100) {
            rate.allow(IpAddr::V4(n.into()), UtcMs(i64::from(n)));
        }
        assert_eq!(rate.buckets.lock().unwrap().entries.len(), MAX_LOGIN_ADDRESSES);
    }

    #[test]
    fn an_unknown_name_locks_like_a_known_one() {
        let unknown = UnknownLogins::default();
        for _ in 0..LOCKOUT_FAILURES {
            assert!(!unknown.locked("ghost", UtcMs(0)));
            unknown.failed("ghost", UtcMs(0));
        }
        assert!(unknown.locked("ghost", UtcMs(0)));
        assert!(!unknown.locked("ghost", UtcMs(LOCKOUT_MS)));
    }
}
