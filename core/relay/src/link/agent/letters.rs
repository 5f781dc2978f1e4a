//! Letters from the county: offered, fetched, receipted.

use super::{AgentEvent, AgentLink};
use crate::clock::UtcMs;
use crate::codes::{Code, Refusal};
use crate::ids::LetterId;
use crate::letter::{LetterHead, LetterKind};
use crate::link::frame::{Frame, Scope};
use crate::link::limits;
use std::collections::BTreeMap;

/// What the inbox says of an offered letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterAnswer {
    /// Durable here since.
    Have(UtcMs),
    /// The body may come.
    Want,
    /// The inbox cannot say just now, and why; the county will offer it again.
    Later(Refusal),
}

/// What became of a letter's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterOutcome {
    /// Verified and durable here since.
    Stored(UtcMs),
    /// Does not verify.
    Refused(Refusal),
    /// It did not arrive whole, or could not be judged or stored just now, and why; the county will offer it again.
    Failed(Refusal),
}

#[derive(Debug)]
struct Open {
    head: LetterHead,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The inbox is asked.
    Asked,
    /// The body may come.
    Wanted,
    /// The body is coming, or with the inbox.
    Coming,
}

/// Letters offered and not yet answered for.
#[derive(Debug, Default)]
pub(super) struct Letters(BTreeMap<LetterId, Open>);

impl Letters {
    pub(super) fn forget(&mut self, id: &LetterId) {
        self.0.remove(id);
    }
}

impl AgentLink {
    pub(super) fn handle_letter_offer(&mut self, head: LetterHead) {
        // The same letter again: the county heard nothing. A body that is with the inbox will be answered for; one that
        // was wanted and did not come is wanted again.
        if let Some(open) = self.letters.0.get(&head.id) {
            if open.step == Step::Wanted {
                self.out.push_back(Frame::LetterWant { id: head.id });
            }
            return;
        }
        let critical = |head: &LetterHead| head.kind == LetterKind::CriticalNotice;
        let like_it = self.letters.0.values().filter(|open| critical(&open.head) == critical(&head)).count();
        let limit = if critical(&head) { limits::MAX_CRITICALS_OFFERED } else { limits::MAX_LETTERS_OFFERED };
        if like_it >= limit {
            let refusal = Refusal::new(Code::Busy, "letters", "too many letters at once");
            self.out.push_back(Frame::Refused { scope: Scope::Letter(head.id), refusal });
            return;
        }
        self.letters.0.insert(head.id.clone(), Open { head: head.clone(), step: Step::Asked });
        self.events.push_back(AgentEvent::LetterOffered(head));
    }

    /// The inbox's answer to [`AgentEvent::LetterOffered`].
    pub fn answer_letter(&mut self, id: &LetterId, answer: LetterAnswer) {
        if self.is_closed() {
            return;
        }
        let Some(open) = self.letters.0.get_mut(id) else { return };
        match answer {
            LetterAnswer::Want => {
                open.step = Step::Wanted;
                self.out.push_back(Frame::LetterWant { id: id.clone() });
            }
            LetterAnswer::Have(stored_at) => {
                self.letters.forget(id);
                self.out.push_back(Frame::LetterHave { id: id.clone(), stored_at });
            }
            LetterAnswer::Later(refusal) => {
                self.letters.forget(id);
                self.out.push_back(Frame::Refused { scope: Scope::Letter(id.clone()), refusal });
            }
        }
    }

    /// A body begins to arrive: the head that announced it, `None` when nobody asked for it. From here on
    /// [`Self::finish_letter`] must say what became of it.
    pub fn receive_letter(&mut self, id: &LetterId) -> Option<LetterHead> {
        let open = self.letters.0.get_mut(id).filter(|open| open.step == Step::Wanted)?;
        open.step = Step::Coming;
        Some(open.head.clone())
    }

    /// What became of the body.
    pub fn finish_letter(&mut self, id: &LetterId, outcome: LetterOutcome) {
        if self.letters.0.remove(id).is_none() || self.is_closed() {
            return;
        }
        match outcome {
            LetterOutcome::Stored(stored_at) => {
                self.out.push_back(Frame::LetterReceipt { id: id.clone(), stored_at });
            }
            LetterOutcome::Refused(refusal) => {
                self.out.push_back(Frame::LetterRefused { id: id.clone(), refusal });
            }
            LetterOutcome::Failed(refusal) => {
                self.out.push_back(Frame::Refused { scope: Scope::Letter(id.clone()), refusal });
            }
        }
    }
}
