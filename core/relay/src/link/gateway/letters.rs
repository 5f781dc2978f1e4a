//! Letters to the clinic: offered, sent when wanted, receipted.

use super::{GatewayEvent, GatewayLink, limits};
use crate::codes::{Code, Refusal};
use crate::ids::LetterId;
use crate::letter::LetterHead;
use crate::link::Now;
use crate::link::frame::{Frame, Scope};

/// A letter on its way.
#[derive(Debug)]
pub(super) struct Letter {
    head: LetterHead,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The head was sent.
    Offered { again_at: u64 },
    /// The clinic wants the body; others go before it.
    Wanted,
    /// The driver is sending the body.
    Sending,
    /// The body has arrived; the receipt is due.
    Sent { again_at: u64 },
}

impl Letter {
    pub(super) const fn deadline(&self) -> Option<u64> {
        match self.step {
            Step::Offered { again_at } | Step::Sent { again_at } => Some(again_at),
            Step::Wanted | Step::Sending => None,
        }
    }
}

impl GatewayLink {
    /// Takes what is pending for the clinic, most urgent first. Offers what is new, as far as there is room; forgets
    /// what is no longer pending (a newer status took its place).
    pub fn offer_letters(&mut self, pending: &[LetterHead], now: Now) {
        if !self.is_up() {
            return;
        }
        self.letters.retain(|id, letter| {
            !matches!(letter.step, Step::Offered { .. }) || pending.iter().any(|head| head.id == *id)
        });
        for head in pending {
            if self.letters.len() >= limits::MAX_LETTERS_OFFERED {
                return;
            }
            if !self.letters.contains_key(&head.id) {
                let step = Step::Offered { again_at: now.mono_ms + limits::LETTER_DEADLINE_MS };
                self.letters.insert(head.id.clone(), Letter { head: head.clone(), step });
                self.send(Frame::LetterOffer(head.clone()));
            }
        }
    }

    pub(super) fn handle_letter_want(&mut self, id: &LetterId) {
        match self.letters.get_mut(id) {
            None => {
                let refusal =
                    Refusal::new(Code::NotFound, "letter", "this letter is not on offer (any more)");
                self.refuse(Scope::Letter(id.clone()), refusal);
            }
            Some(letter) => {
                if matches!(letter.step, Step::Offered { .. } | Step::Sent { .. }) {
                    letter.step = Step::Wanted;
                    self.send_wanted_letters();
                }
            }
        }
    }

    fn send_wanted_letters(&mut self) {
        let sending = self.letters.values().filter(|l| l.step == Step::Sending).count();
        // Critical notices first: they are small and ring.
        let mut wanted: Vec<&mut Letter> =
            self.letters.values_mut().filter(|l| l.step == Step::Wanted).collect();
        wanted.sort_by_key(|l| (l.head.kind != crate::letter::LetterKind::CriticalNotice, l.head.written_at));
        for letter in wanted.into_iter().take(limits::MAX_LETTER_BODIES.saturating_sub(sending)) {
            letter.step = Step::Sending;
            let head = letter.head.clone();
            let header = Frame::LetterData { id: head.id.clone() }.encode();
            let header = header.expect("invariant: one identifier fits a frame");
            self.events.push_back(GatewayEvent::SendLetter { head, header });
        }
    }

    /// The body has arrived whole (`true`), or could not be sent: then it is offered again later.
    pub fn letter_sent(&mut self, id: &LetterId, arrived: bool, now: Now) {
        let again_at = now.mono_ms + limits::LETTER_DEADLINE_MS;
        if let Some(letter) = self.letters.get_mut(id)
            && letter.step == Step::Sending
        {
            letter.step = if arrived { Step::Sent { again_at } } else { Step::Offered { again_at } };
        }
        self.send_wanted_letters();
    }

    /// The clinic has it, or will not have it. False when it was not on offer.
    pub(super) fn letter_over(&mut self, id: &LetterId) -> bool {
        let known = self.letters.remove(id).is_some();
        self.send_wanted_letters();
        known
    }

    pub(super) fn handle_letter_busy(&mut self, id: &LetterId, refusal: Refusal, now: Now) {
        if let Some(letter) = self.letters.get_mut(id) {
            letter.step = Step::Offered { again_at: now.mono_ms + limits::LETTER_DEADLINE_MS };
        }
        self.events.push_back(GatewayEvent::Remark(refusal));
    }

    pub(super) fn offer_letters_again(&mut self, now: Now) {
        let again_at = now.mono_ms + limits::LETTER_DEADLINE_MS;
        let mut heads = Vec::new();
        for letter in self.letters.values_mut() {
            if letter.deadline().is_some_and(|at| now.mono_ms >= at) {
                letter.step = Step::Offered { again_at };
                heads.push(letter.head.clone());
            }
        }
        for head in heads {
            self.send(Frame::LetterOffer(head));
        }
    }
}
