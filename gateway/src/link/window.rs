//! How much may be on its way to the gateway: a budget that the connections share which are just sending objects, so that
//! its memory does not grow with the clinics that send at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// One connection alone: 60 Mbit/s at 400 ms, four times, since what is behind a lost packet waits here for it. Also what a
/// connection may use before it is told otherwise. Only what came out of order, or waits for its turn, is held at all.
pub(super) const ALONE_BYTES: u64 = 12 * 1024 * 1024;
/// All connections that are sending: five clinics at 9.6 MiB each. A connection takes its share when an object begins to
/// arrive on it; until then it keeps what it had.
const BUDGET_BYTES: u64 = 48 * 1024 * 1024;
/// However many there are: twice a stream's own window, so that one object that waits for its turn leaves room for control
/// frames and for an urgent ECG.
const LEAST_BYTES: u64 = 8 * 1024 * 1024;
const _: () = assert!(LEAST_BYTES >= 2 * super::transport::STREAM_RECEIVE_WINDOW as u64);

/// Counts the connections that are sending.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows(Arc<AtomicU64>);

/// Held by every object that is arriving on a connection.
#[derive(Debug)]
pub(super) struct Sending(Windows);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Windows {
    /// An object begins to arrive on the connection that owns `of`; gives what it holds meanwhile, and the bytes that may be
    /// on their way on the connection from now on.
    pub(super) fn begin(&self, of: &mut Weak<Sending>) -> (Arc<Sending>, u64) {
        let held = of.upgrade().unwrap_or_else(|| {
            self.0.fetch_add(1, Ordering::Relaxed);
            let fresh = Arc::new(Sending(self.clone()));
            *of = Arc::downgrade(&fresh);
            fresh
        });
        let sending = self.0.load(Ordering::Relaxed).max(1);
        (held, (BUDGET_BYTES / sending).clamp(LEAST_BYTES, ALONE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_send_share_and_one_alone_has_all_it_can_use() {
        let windows = Windows::default();
        let mut connections: Vec<Weak<Sending>> = (0..100).map(|_| Weak::new()).collect();
        let (first, alone) = windows.begin(&mut connections[0]);
        let (second, again) = windows.begin(&mut connections[0]);
        assert_eq!((alone, again), (ALONE_BYTES, ALONE_BYTES), "two objects of one connection count once");
        let held: Vec<_> = connections[1..5].iter_mut().map(|c| windows.begin(c)).collect();
        assert_eq!(held.last().map(|(_, bytes)| *bytes), Some(BUDGET_BYTES / 5));
        let many: Vec<_> = connections[5..].iter_mut().map(|c| windows.begin(c)).collect();
        assert_eq!(many.last().map(|(_, bytes)| *bytes), Some(LEAST_BYTES));
        drop((held, many, first));
        assert_eq!(windows.begin(&mut connections[1]).1, ALONE_BYTES, "two connections are sending");
        drop(second);
    }
}
