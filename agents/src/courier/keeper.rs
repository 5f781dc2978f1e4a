//! The courier's way to the outbox: one task, so that what was receipted is recorded before the outbox is asked again.

use super::ports::{Answering, Outbox, PortError};
use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{NoteId, ObjectHash, StudyUid};
use relay_core::letter::Note;
use relay_core::study::Manifest;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Orders waiting for the outbox. A full queue slows the link down to what the disk can record.
const MAX_ORDERS: usize = 256;
/// Attempts to record one thing. After the last it is forgotten here: the county still holds it, and its next answer
/// says so again.
const ATTEMPTS: u32 = 5;
/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(500);
/// A read of the outbox must answer within this time.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// What waits at the agent.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) studies: Vec<Manifest>,
    pub(super) notes: Vec<Note>,
}

#[derive(Debug)]
pub(super) enum Order {
    Receipted { study: StudyUid, generation: u64, objects: Vec<ObjectHash>, at: UtcMs },
    Refused { study: StudyUid, object: Option<ObjectHash>, generation: u64, refusal: Refusal },
    Greeted { county: Answering, answer: oneshot::Sender<bool> },
    Missing { study: StudyUid, objects: Vec<ObjectHash> },
    Wanted { study: StudyUid, objects: Vec<ObjectHash>, answer: oneshot::Sender<Vec<ObjectHash>> },
    NoteRefused { id: NoteId, refusal: Refusal },
    Progress { study: StudyUid, coded_bytes: u64 },
    Line { bytes_per_second: u64 },
    NoteReceipted { id: NoteId, at: UtcMs },
    List { studies: usize, notes: usize, answer: oneshot::Sender<Fresh> },
}

/// The handle to the task.
#[derive(Debug, Clone)]
pub(super) struct Keeper(mpsc::Sender<Order>);

impl Keeper {
    /// Starts the task; it ends when every handle is gone and every order carried out.
    pub(super) fn start(outbox: Arc<dyn Outbox>) -> (Self, tokio::task::JoinHandle<()>) {
        let (orders, queue) = mpsc::channel(MAX_ORDERS);
        (Self(orders), tokio::spawn(work(outbox, queue)))
    }

    /// Gives an order, waiting for room. False when the task is gone.
    pub(super) async fn order(&self, order: Order) -> bool {
        self.0.send(order).await.is_ok()
    }

    /// Gives an order that may be lost.
    pub(super) fn hint(&self, order: Order) {
        // A full queue: the next hint says the same and more.
        let _ = self.0.try_send(order);
    }

    /// Records which store answers. False when that cannot be recorded: then nothing it says may be.
    pub(super) async fn greeted(&self, county: Answering) -> bool {
        let (answer, recorded) = oneshot::channel();
        self.order(Order::Greeted { county, answer }).await && recorded.await.unwrap_or(false)
    }

    /// Asks what waits: at most so many studies and notes.
    pub(super) async fn list(&self, studies: usize, notes: usize) -> oneshot::Receiver<Fresh> {
        let (answer, fresh) = oneshot::channel();
        self.order(Order::List { studies, notes, answer }).await;
        fresh
    }
}

async fn work(outbox: Arc<dyn Outbox>, mut queue: mpsc::Receiver<Order>) {
    while let Some(order) = queue.recv().await {
        match order {
            Order::List { studies, notes, answer } => {
                // Nobody listens any more: the connection ended meanwhile.
                let _ = answer.send(list(&*outbox, studies, notes).await);
            }
            Order::Progress { study, coded_bytes } => outbox.progress(&study, coded_bytes).await,
            Order::Line { bytes_per_second } => {
                if let Err(error) = outbox.line_measured(bytes_per_second).await {
                    tracing::warn!(step = error.step, source = %error.source, "it is measured again");
                }
            }
            Order::Greeted { ref county, .. } => {
                let recorded = record(&*outbox, &order).await;
                if recorded {
                    tracing::debug!(?county, "the county's store is known");
                }
                if let Order::Greeted { answer, .. } = order {
                    // Nobody listens any more: the connection ended meanwhile.
                    let _ = answer.send(recorded);
                }
            }
            Order::Wanted { study, objects, answer } => {
                let absent = outbox.wanted(&study, &objects).await.unwrap_or_else(|error| {
                    tracing::error!(step = error.step, source = %error.source, "the county will ask again");
                    Vec::new()
                });
                // Nobody listens any more: the connection ended meanwhile.
                let _ = answer.send(absent);
            }
            order => {
                record(&*outbox, &order).await;
            }
        }
    }
}

async fn record(outbox: &dyn Outbox, order: &Order) -> bool {
    for attempt in 1..=ATTEMPTS {
        let outcome = match order {
            Order::Receipted { study, generation, objects, at } => {
                outbox.receipted(study, *generation, objects, *at).await
            }
            Order::Refused { study, object, generation, refusal } => {
                outbox.refused(study, object.as_ref(), *generation, refusal).await
            }
            Order::Greeted { county, .. } => outbox.greeted(county).await,
            Order::Missing { study, objects } => outbox.missing(study, objects).await,
            Order::NoteRefused { id, refusal } => outbox.note_refused(id, refusal).await,
            Order::NoteReceipted { id, at } => outbox.note_receipted(id, *at).await,
            Order::Progress { .. } | Order::Line { .. } | Order::List { .. } | Order::Wanted { .. } => Ok(()),
        };
        let Err(error) = outcome else { return true };
        tracing::error!(attempt, step = error.step, source = %error.source, "the outbox cannot record the county's answer");
        tokio::time::sleep(RETRY).await;
    }
    false
}

async fn list(outbox: &dyn Outbox, studies: usize, notes: usize) -> Fresh {
    let both = async { (outbox.pending_studies(studies).await, outbox.pending_notes(notes).await) };
    match tokio::time::timeout(READ_DEADLINE, both).await {
        Ok((studies, notes)) => Fresh { studies: or_none(studies), notes: or_none(notes) },
        Err(_) => {
            tracing::error!("the outbox does not answer");
            Fresh::default()
        }
    }
}

fn or_none<T>(listed: Result<Vec<T>, PortError>) -> Vec<T> {
    listed.unwrap_or_else(|error| {
        tracing::error!(step = error.step, source = %error.source, "the outbox cannot be read");
        Vec::new()
    })
}
