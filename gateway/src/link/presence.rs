//! Which connections live, and when a clinic has gone: not before its last connection is over.

use relay_certs::serial::Serial;
use relay_core::ids::ClinicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection that lives.
pub(super) struct Live {
    pub(super) clinic: ClinicId,
    pub(super) serial: Serial,
    pub(super) connection: quinn::Connection,
}

#[derive(Default)]
struct Book {
    live: BTreeMap<u64, Live>,
    rest: Rest,
}

/// Clinics that were on line by a connection that is over, while another one lived.
#[derive(Debug, Default)]
struct Rest(BTreeSet<ClinicId>);

impl Rest {
    /// True when the clinic has gone with this connection.
    fn leave(&mut self, clinic: &ClinicId, was_up: bool, others: bool) -> bool {
        if others {
            if was_up {
                self.0.insert(clinic.clone());
            }
            return false;
        }
        self.0.remove(clinic) || was_up
    }
}

/// All connections of the listener.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<Book>>);

/// One connection on the list; off it when dropped, however its task ends.
pub(super) struct Presence<'a> {
    registry: &'a Registry,
    id: u64,
    clinic: ClinicId,
}

impl Registry {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.book().live.len()
    }

    /// Lists a connection; gives the older ones of the same agent.
    pub(super) fn enter(&self, id: u64, entry: Live) -> (Presence<'_>, Vec<quinn::Connection>) {
        let mut book = self.book();
        let same = |l: &&Live| l.clinic == entry.clinic && l.serial == entry.serial;
        let older = book.live.values().filter(same).map(|l| l.connection.clone()).collect();
        let presence = Presence { registry: self, id, clinic: entry.clinic.clone() };
        book.live.insert(id, entry);
        metrics::gauge!("relay_link_connections").set(book.live.len() as f64);
        (presence, older)
    }

    /// Closes connections by certificate.
    pub(super) fn close(&self, of: impl Fn(&Serial) -> bool, code: u32, reason: &'static str) {
        for live in self.book().live.values().filter(|live| of(&live.serial)) {
            tracing::warn!(clinic = %live.clinic, serial = %live.serial, reason, "connection cut");
            live.connection.close(code.into(), reason.as_bytes());
        }
    }
}

impl Presence<'_> {
    /// The connection is over; `was_up`: it had been greeted. True when the clinic has gone with it.
    pub(super) fn leave(&self, was_up: bool) -> bool {
        let mut book = self.registry.book();
        let others = book.live.iter().any(|(id, live)| *id != self.id && live.clinic == self.clinic);
        book.live.remove(&self.id);
        book.rest.leave(&self.clinic, was_up, others)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let mut book = self.registry.book();
        book.live.remove(&self.id);
        metrics::gauge!("relay_link_connections").set(book.live.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clinic_has_gone_only_with_its_last_connection() {
        let (mut rest, clinic) = (Rest::default(), ClinicId::parse("shilipu").unwrap());
        assert!(
            !rest.leave(&clinic, true, true),
            "the agent is back before its old connection was found dead"
        );
        assert!(rest.leave(&clinic, true, false));
        assert!(!rest.leave(&clinic, false, false), "it was never there");
        assert!(!rest.leave(&clinic, true, true));
        assert!(rest.leave(&clinic, false, false), "the newer connection ended before its hello");
    }
}
