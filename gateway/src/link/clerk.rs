//! One connection's way to custody for what must stay in order: notes, receipts and refusals of letters, and the
//! question which letters wait. One task each connection, so that the answer to the question knows the receipts.

use super::Reception;
use super::ports::Custody;
use relay_core::clock::Clock;
use relay_core::codes::{Code, Fault, Refusal};
use relay_core::ids::{ClinicId, LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note};
use relay_core::link::limits::{MAX_LETTERS_OFFERED, MAX_WANTED};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

use super::connection::Message;

/// Orders waiting; beyond it the connection waits for custody.
pub(super) const MAX_ORDERS: usize = 128;
/// Custody must answer within this time; one transaction takes milliseconds.
pub(super) const CUSTODY_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) enum Order {
    Note(Note),
    LetterReceipted { id: LetterId, stored_at: relay_core::clock::UtcMs },
    LetterRefused { id: LetterId, refusal: Refusal },
    LetterDelayed { id: LetterId, refusal: Refusal },
    ListLetters,
    ListDamaged,
    AskWelcome,
    Seen { online: bool, offset_ms: Option<i64> },
}

pub(super) struct Clerk {
    pub(super) clinic: ClinicId,
    pub(super) certificate: Vec<u8>,
    pub(super) custody: Arc<dyn Custody>,
    pub(super) reception: Arc<dyn Reception>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What the clerk says back.
pub(super) enum Reply {
    Note(NoteId, Result<(), Refusal>),
    Letters(Vec<LetterHead>),
    Damaged(Vec<(StudyUid, ObjectHash)>),
    /// The clinic was closed since.
    Unwelcome(Refusal),
}

pub(super) fn late() -> Refusal {
    Refusal::new(Code::TimedOut, "custody", "the store did not answer in time")
}

impl Clerk {
    /// Works until the connection drops its handle, then finishes what was ordered.
    pub(super) async fn work(self, mut orders: mpsc::Receiver<Order>, replies: mpsc::Sender<Message>) {
        while let Some(order) = orders.recv().await {
            let reply = match tokio::time::timeout(CUSTODY_DEADLINE, self.carry_out(&order)).await {
                Ok(reply) => reply,
                Err(_) => match order {
                    Order::Note(note) => Some(Reply::Note(note.id, Err(late()))),
                    other => {
                        tracing::error!(clinic = %self.clinic, order = ?other, "custody does not answer");
                        None
                    }
                },
            };
            if let Some(reply) = reply {
                // The connection is over; what was recorded stays recorded.
                let _ = replies.send(Message::Clerk(reply)).await;
            }
        }
    }

    async fn carry_out(&self, order: &Order) -> Option<Reply> {
        let (clinic, now) = (&self.clinic, self.clock.now());
        let recorded = match order {
            Order::Note(note) => {
                let answer = self.custody.note(clinic, note, &self.certificate, now).await;
                return Some(Reply::Note(note.id.clone(), answer));
            }
            Order::LetterDelayed { id, refusal } => {
                self.custody.letter_delayed(clinic, id, refusal, now).await
            }
            Order::ListDamaged => match self.custody.damaged(clinic, MAX_WANTED).await {
                Ok(damaged) => return Some(Reply::Damaged(damaged)),
                Err(refusal) => Err(refusal),
            },
            Order::AskWelcome => match self.reception.still_welcome(clinic).await {
                Err(refusal) if refusal.code.fault() == Fault::Authority => {
                    return Some(Reply::Unwelcome(refusal));
                }
                asked => asked,
            },
            Order::ListLetters => {
                match self.custody.pending_letters(clinic, MAX_LETTERS_OFFERED, now).await {
                    Ok(letters) => return Some(Reply::Letters(letters)),
                    Err(refusal) => Err(refusal),
                }
            }
            Order::LetterReceipted { id, stored_at } => {
                self.custody.letter_receipted(clinic, id, *stored_at, now).await
            }
            Order::LetterRefused { id, refusal } => {
                self.custody.letter_refused(clinic, id, refusal, now).await
            }
            Order::Seen { online, offset_ms } => {
                self.custody.seen(clinic, *online, *offset_ms, now).await;
                Ok(())
            }
        };
        if let Err(refusal) = recorded {
            // The letter stays pending and is offered again; the clinic answers the same.
            tracing::error!(%clinic, order = ?order, %refusal, "custody cannot record");
        }
        None
    }
}
