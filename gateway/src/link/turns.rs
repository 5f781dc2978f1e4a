//! Turns at writing objects: bounded over all connections and for each, with places that only urgent objects take.
//!
//! A turn is an open writer. It is held while bytes come, and given back when they stop coming ([`STALL`]): a slow or
//! silent agent keeps its stream, not its turn.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Objects written at once, over all connections: each holds an open file and one buffer of 256 KiB.
const MAX_WRITERS: usize = 512;
/// Of which only objects of class green and emergency take these.
const KEPT_FOR_URGENT: usize = 64;
/// Objects of other classes that one connection writes at once: an agent sends its streams one after the other, so that
/// more only wait.
const ROUTINE_EACH: usize = 8;
/// Urgent objects that one connection writes at once.
const URGENT_EACH: usize = 16;
/// A stream without bytes for this long gives its turn back.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// The turns of all connections.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    common: Arc<Semaphore>,
    kept: Arc<Semaphore>,
}

/// The turns of one connection.
#[derive(Debug, Clone)]
pub(super) struct OwnTurns {
    all: Turns,
    routine: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
}

/// Held while an object is written.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] [OwnedSemaphorePermit; 2]);

impl Default for Turns {
    fn default() -> Self {
        Self {
            common: Arc::new(Semaphore::new(MAX_WRITERS - KEPT_FOR_URGENT)),
            kept: Arc::new(Semaphore::new(KEPT_FOR_URGENT)),
        }
    }
}

impl Turns {
    /// The turns of a new connection.
    pub(super) fn own(&self) -> OwnTurns {
        OwnTurns {
            all: self.clone(),
            routine: Arc::new(Semaphore::new(ROUTINE_EACH)),
            urgent: Arc::new(Semaphore::new(URGENT_EACH)),
        }
    }
}

impl OwnTurns {
    /// Waits for a turn; `None` never comes but at the end of the process. Bounded by the connection's own life: the
    /// agent's bytes wait in its window.
    pub(super) async fn take(&self, urgent: bool) -> Option<Turn> {
        let own = if urgent { &self.urgent } else { &self.routine };
        let own = Arc::clone(own).acquire_owned().await.ok()?;
        let common = Arc::clone(&self.all.common).acquire_owned();
        let shared = if urgent {
            tokio::select! {
                biased;
                turn = common => turn,
                turn = Arc::clone(&self.all.kept).acquire_owned() => turn,
            }
        } else {
            common.await
        };
        Some(Turn([own, shared.ok()?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn silent_agents_cannot_take_the_turns_of_an_urgent_object_of_another() {
        let turns = Turns::default();
        let mut held = Vec::new();
        // More agents than there are turns, each with all it may have.
        for _ in 0..(MAX_WRITERS / ROUTINE_EACH) {
            let agent = turns.own();
            held.extend(std::iter::from_fn(|| agent.take(false).now_or_never().flatten()).take(64));
        }
        assert_eq!(held.len(), MAX_WRITERS - KEPT_FOR_URGENT);
        let other = turns.own();
        assert!(other.take(false).now_or_never().is_none());
        let ecg = other.take(true).now_or_never().flatten();
        assert!(ecg.is_some(), "the chest-pain ECG is written");
        held.pop();
        assert!(other.take(false).now_or_never().flatten().is_some(), "a turn given back is taken");
    }

    #[test]
    fn one_agent_has_no_more_than_its_share() {
        let own = Turns::default().own();
        let held: Vec<Turn> =
            std::iter::from_fn(|| own.take(false).now_or_never().flatten()).take(64).collect();
        assert_eq!(held.len(), ROUTINE_EACH);
    }
}
