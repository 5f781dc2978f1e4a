//! Letters to the clinic: offered, sent when wanted, receipted.
//!
//! Critical notices have places of their own and wait for no other letter. A letter that does not get through gives its
//! place up and goes to the end of the order, so that it holds nothing up.

use super::{GatewayEvent, GatewayLink, limits};
use crate::codes::{Code, Refusal};
use crate::ids::LetterId;
use crate::letter::{LetterHead, LetterKind};
use crate::link::Now;
use crate::link::frame::{Frame, Scope};
use std::collections::BTreeMap;

/// A letter on its way.
#[derive(Debug)]
struct Letter {
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

/// A letter that did not get through on this connection.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// Until when it is left alone; `None`: it may go when its turn comes.
    until: Option<u64>,
    /// How often it did not get through.
    tries: u32,
}

/// What waits for the clinic and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// What waits, as the driver said last, most urgent first.
    pending: Vec<LetterHead>,
    open: BTreeMap<LetterId, Letter>,
    resting: BTreeMap<LetterId, Rest>,
}

/// True for the letters that have places of their own.
fn is_critical(head: &LetterHead) -> bool {
    head.kind == LetterKind::CriticalNotice
}

impl Letter {
    const fn deadline(&self) -> Option<u64> {
        match self.step {
            Step::Offered { again_at } | Step::Sent { again_at } => Some(again_at),
            Step::Wanted | Step::Sending => None,
        }
    }
}

impl Letters {
    pub(super) fn next_timeout(&self) -> Option<u64> {
        let open = self.open.values().filter_map(Letter::deadline);
        open.chain(self.resting.values().filter_map(|rest| rest.until)).min()
    }

    fn is_known(&self, id: &LetterId) -> bool {
        self.open.contains_key(id) || self.pending.iter().any(|head| head.id == *id)
    }

    /// The letters that may be offered now, in order.
    fn next(&self) -> Vec<LetterHead> {
        let tries = |head: &LetterHead| self.resting.get(&head.id).map_or(0, |rest| rest.tries);
        let rests = |head: &LetterHead| self.resting.get(&head.id).is_some_and(|rest| rest.until.is_some());
        let mut heads: Vec<&LetterHead> =
            self.pending.iter().filter(|h| !self.open.contains_key(&h.id) && !rests(h)).collect();
        heads.sort_by_key(|head| tries(head));
        let mut free = [limits::MAX_LETTERS_OFFERED, limits::MAX_CRITICALS_OFFERED];
        for letter in self.open.values() {
            let room = &mut free[usize::from(is_critical(&letter.head))];
            *room = room.saturating_sub(1);
        }
        heads.retain(|head| {
            let room = &mut free[usize::from(is_critical(head))];
            let fits = *room > 0;
            *room = room.saturating_sub(1);
            fits
        });
        heads.into_iter().cloned().collect()
    }

    /// Takes the letter out of the way. `wait` ms before it may be offered again.
    fn rest(&mut self, id: &LetterId, wait: Option<u64>, now: Now) {
        let Some(letter) = self.open.remove(id) else { return };
        let tries = self.resting.get(id).map_or(0, |rest| rest.tries);
        // A notice that rings is tried at an even pace; the others wait longer each time.
        let doubled = if is_critical(&letter.head) { 0 } else { tries.min(8) };
        let wait = wait.map(|ms| (ms << doubled).min(limits::LETTER_REST_MAX_MS));
        let until = wait.map(|ms| now.mono_ms + ms);
        self.resting.insert(id.clone(), Rest { until, tries: tries.saturating_add(1) });
    }
}

impl GatewayLink {
    /// Takes what is pending for the clinic, most urgent first. Offers what is new, as far as there is room; forgets
    /// what is no longer pending (a newer status took its place).
    pub fn offer_letters(&mut self, pending: &[LetterHead], now: Now) {
        if !self.is_up() {
            return;
        }
        let waits = |id: &LetterId| pending.iter().any(|head| head.id == *id);
        self.letters.open.retain(|id, letter| !matches!(letter.step, Step::Offered { .. }) || waits(id));
        self.letters.resting.retain(|id, _| waits(id));
        self.letters.pending = pending.to_vec();
        self.fill_letters(now);
    }

    fn fill_letters(&mut self, now: Now) {
        let again_at = now.mono_ms + limits::LETTER_DEADLINE_MS;
        for head in self.letters.next() {
            let letter = Letter { head: head.clone(), step: Step::Offered { again_at } };
            self.letters.open.insert(head.id.clone(), letter);
            self.send(Frame::LetterOffer(head));
        }
    }

    pub(super) fn handle_letter_want(&mut self, id: &LetterId, now: Now) {
        if !self.letters.open.contains_key(id)
            && let Some(head) = self.letters.pending.iter().find(|head| head.id == *id).cloned()
        {
            // Its answer came late; it is worth more than the order.
            let step = Step::Offered { again_at: now.mono_ms };
            self.letters.open.insert(id.clone(), Letter { head, step });
        }
        match self.letters.open.get_mut(id) {
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
        let mut free = [limits::MAX_LETTER_BODIES, limits::MAX_CRITICAL_BODIES];
        for letter in self.letters.open.values().filter(|l| l.step == Step::Sending) {
            let room = &mut free[usize::from(is_critical(&letter.head))];
            *room = room.saturating_sub(1);
        }
        let mut wanted: Vec<&mut Letter> =
            self.letters.open.values_mut().filter(|l| l.step == Step::Wanted).collect();
        wanted.sort_by_key(|l| (!is_critical(&l.head), l.head.written_at));
        for letter in wanted {
            let room = &mut free[usize::from(is_critical(&letter.head))];
            if *room == 0 {
                continue;
            }
            *room -= 1;
            letter.step = Step::Sending;
            let head = letter.head.clone();
            let header = Frame::LetterData { id: head.id.clone() }.encode();
            let header = header.expect("invariant: one identifier fits a frame");
            self.events.push_back(GatewayEvent::SendLetter { head, header });
        }
    }

    /// The body has arrived whole (`true`), or could not be sent: then it is offered again later, after others.
    pub fn letter_sent(&mut self, id: &LetterId, arrived: bool, now: Now) {
        let again_at = now.mono_ms + limits::LETTER_DEADLINE_MS;
        let sending = self.letters.open.get_mut(id).filter(|letter| letter.step == Step::Sending);
        match sending {
            Some(letter) if arrived => letter.step = Step::Sent { again_at },
            Some(_) => self.letters.rest(id, Some(limits::LETTER_DEADLINE_MS), now),
            None => {}
        }
        self.send_wanted_letters();
        self.fill_letters(now);
    }

    /// The clinic has it, or will not have it. False when it was not on offer.
    pub(super) fn letter_over(&mut self, id: &LetterId, now: Now) -> bool {
        let known = self.letters.is_known(id);
        self.letters.open.remove(id);
        self.letters.resting.remove(id);
        self.letters.pending.retain(|head| head.id != *id);
        self.send_wanted_letters();
        self.fill_letters(now);
        known
    }

    /// The clinic cannot take it just now, or cannot judge it.
    pub(super) fn handle_letter_delayed(&mut self, id: &LetterId, refusal: Refusal, now: Now) {
        if !self.letters.is_known(id) {
            return self.events.push_back(GatewayEvent::Remark(refusal));
        }
        self.letters.rest(id, Some(limits::LETTER_DEADLINE_MS), now);
        self.events.push_back(GatewayEvent::LetterDelayed { id: id.clone(), refusal });
        self.send_wanted_letters();
        self.fill_letters(now);
    }

    /// Letters the clinic said nothing of, and letters that have rested.
    pub(super) fn letters_time_out(&mut self, now: Now) {
        let silent = |letter: &Letter| letter.deadline().is_some_and(|at| now.mono_ms >= at);
        let ids: Vec<LetterId> =
            self.letters.open.iter().filter(|(_, l)| silent(l)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.letters.rest(id, None, now);
        }
        for rest in self.letters.resting.values_mut() {
            rest.until = rest.until.filter(|until| now.mono_ms < *until);
        }
        self.fill_letters(now);
    }
}
