//! The work item: one study to be read. States, lease and fencing as consuming transitions that can refuse.
//!
//! The lease is apart from the state: a reviewer holds a *signed* item while he audits it. Whoever holds the lease
//! writes under its epoch; a claim counts the epoch up, so a late write of an earlier holder is refused.

use crate::clock::UtcMs;
use crate::codes::{Code, Refusal};
use crate::ids::PersonId;
use crate::study::{Class, words};

words! {
    /// Where a work item stands.
    State {
        /// 待诊断: nobody holds it; an earlier holder's draft may be there.
        Waiting = 0, "waiting", "待诊断";
        /// 诊断中: a reader holds it, nothing written yet.
        Claimed = 1, "claimed", "诊断中";
        /// 已暂存: a reader holds it and a draft is saved.
        Drafted = 2, "drafted", "已暂存";
        /// 待审核 (or final by one signature): the author has signed.
        Signed = 3, "signed", "已签发";
        /// 已审核: the second person has signed.
        Audited = 4, "audited", "已审核";
        /// 已完成: the final version is at the clinic.
        Closed = 5, "closed", "已完成";
        /// 已撤回: by the clinic or the county, with a reason.
        Withdrawn = 6, "withdrawn", "已撤回";
        /// 退回: the clinic is asked to take it again.
        RetakeRequested = 7, "retake_requested", "已退回";
    }
}

/// A lease without input ends after this time for green and emergency items.
pub const LEASE_URGENT_MS: i64 = 2 * crate::clock::MINUTE_MS;
/// A lease without input ends after this time for all others.
pub const LEASE_MS: i64 = 15 * crate::clock::MINUTE_MS;

/// How long a lease lasts without input.
#[must_use]
pub const fn lease_ms(class: Class) -> i64 {
    if class.is_urgent() { LEASE_URGENT_MS } else { LEASE_MS }
}

/// Who holds an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder.
    pub holder: PersonId,
    /// Since when.
    pub claimed_at: UtcMs,
    /// Ends then unless renewed by input.
    pub expires_at: UtcMs,
}

/// The rule-bearing part of a work item. Stored by the gateway; every change goes through a method here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkItem {
    /// State.
    pub state: State,
    /// Urgency.
    pub class: Class,
    /// Current lease, if any.
    pub lease: Option<Lease>,
    /// Fencing number of the newest lease; 0 before the first.
    pub epoch: u64,
    /// Author of the newest signed version.
    pub author: Option<PersonId>,
    /// True when a draft is saved.
    pub has_draft: bool,
    /// True when the newest version lacks the second signature that policy asks for.
    pub awaits_audit: bool,
}

impl WorkItem {
    /// A new item.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        Self {
            state: State::Waiting,
            class,
            lease: None,
            epoch: 0,
            author: None,
            has_draft: false,
            awaits_audit: false,
        }
    }

    /// The lease that is in force at `now`.
    #[must_use]
    pub fn live_lease(&self, now: UtcMs) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| now < lease.expires_at)
    }

    /// Takes the item. Claiming what one holds already keeps the epoch and renews.
    ///
    /// # Errors
    /// `CLAIM_HELD` when somebody else holds it, `STATE_CONFLICT` when there is nothing to do,
    /// `REVIEWER_IS_AUTHOR` when the author claims his own report for audit.
    pub fn claim(mut self, who: &PersonId, now: UtcMs) -> Result<Self, Refusal> {
        if let Some(lease) = self.live_lease(now) {
            if lease.holder != *who {
                let reason = format!("held by {} since {}", lease.holder, lease.claimed_at.to_rfc3339());
                return Err(Refusal::new(Code::ClaimHeld, "work_item", reason));
            }
            let epoch = self.epoch;
            return self.renew(who, epoch, now);
        }
        match self.state {
            State::Waiting | State::Claimed | State::Drafted => {
                self.state = if self.has_draft { State::Drafted } else { State::Claimed };
            }
            State::Signed if self.awaits_audit => {
                if self.author.as_ref() == Some(who) {
                    return Err(reviewer_is_author());
                }
            }
            other => return Err(conflict(other, "claimed")),
        }
        self.epoch += 1;
        self.lease = Some(self.fresh_lease(who, now, now));
        Ok(self)
    }

    /// Takes the item for a correction or addendum of a released report.
    ///
    /// # Errors
    /// As [`Self::claim`]; `STATE_CONFLICT` unless a version is signed.
    pub fn claim_released(mut self, who: &PersonId, now: UtcMs) -> Result<Self, Refusal> {
        if let Some(lease) = self.live_lease(now)
            && lease.holder != *who
        {
            return self.claim(who, now);
        }
        match self.state {
            State::Signed | State::Audited | State::Closed => {
                self.epoch += 1;
                self.lease = Some(self.fresh_lease(who, now, now));
                Ok(self)
            }
            other => Err(conflict(other, "taken for correction")),
        }
    }

    fn fresh_lease(&self, who: &PersonId, claimed_at: UtcMs, now: UtcMs) -> Lease {
        Lease { holder: who.clone(), claimed_at, expires_at: now.plus_ms(lease_ms(self.class)) }
    }

    /// Renews after input.
    ///
    /// # Errors
    /// `LEASE_LOST` when the epoch is old, the lease has ended, or another holds it.
    pub fn renew(mut self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<Self, Refusal> {
        let claimed_at = self.held_by(who, epoch, now)?.claimed_at;
        self.lease = Some(self.fresh_lease(who, claimed_at, now));
        Ok(self)
    }

    /// The caller's lease, or why his write is refused.
    ///
    /// # Errors
    /// `LEASE_LOST`.
    pub fn held_by(&self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<&Lease, Refusal> {
        let lost = |reason: String| Refusal::new(Code::LeaseLost, "epoch", reason);
        if epoch != self.epoch {
            return Err(lost(format!("epoch {epoch} is not the current epoch {}", self.epoch)));
        }
        match self.live_lease(now) {
            Some(lease) if lease.holder == *who => Ok(lease),
            Some(lease) => Err(lost(format!("now held by {}", lease.holder))),
            None => Err(lost("the lease has ended without input".to_owned())),
        }
    }

    /// Gives the item back; a draft stays.
    ///
    /// # Errors
    /// `LEASE_LOST`.
    pub fn release(mut self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<Self, Refusal> {
        self.held_by(who, epoch, now)?;
        self.end_lease();
        Ok(self)
    }

    /// Ends a lease whose time is over; `None` when there is nothing to do. Idempotent.
    #[must_use]
    pub fn expired(mut self, now: UtcMs) -> Option<Self> {
        if self.lease.is_none() || self.live_lease(now).is_some() {
            return None;
        }
        self.end_lease();
        Some(self)
    }

    fn end_lease(&mut self) {
        self.lease = None;
        if matches!(self.state, State::Claimed | State::Drafted) {
            self.state = State::Waiting;
        }
    }

    /// A draft was saved under the lease; saving is input, so the lease is renewed.
    ///
    /// # Errors
    /// `LEASE_LOST`.
    pub fn draft_saved(self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<Self, Refusal> {
        let mut item = self.renew(who, epoch, now)?;
        item.has_draft = true;
        if matches!(item.state, State::Claimed) {
            item.state = State::Drafted;
        }
        Ok(item)
    }

    /// The author signs; `needs_audit` is the policy's word.
    ///
    /// # Errors
    /// `LEASE_LOST`; `STATE_CONFLICT` when nothing is drafted or a first version is signed already.
    pub fn sign(
        mut self,
        who: &PersonId,
        epoch: u64,
        needs_audit: bool,
        now: UtcMs,
    ) -> Result<Self, Refusal> {
        self.held_by(who, epoch, now)?;
        if self.state != State::Drafted {
            return Err(conflict(self.state, "signed"));
        }
        self.put_signature(who, needs_audit);
        Ok(self)
    }

    /// A correction or addendum of a released report is signed.
    ///
    /// # Errors
    /// `LEASE_LOST`; `STATE_CONFLICT` unless a version is signed.
    pub fn sign_again(
        mut self,
        who: &PersonId,
        epoch: u64,
        needs_audit: bool,
        now: UtcMs,
    ) -> Result<Self, Refusal> {
        self.held_by(who, epoch, now)?;
        if !matches!(self.state, State::Signed | State::Audited | State::Closed) {
            return Err(conflict(self.state, "corrected"));
        }
        self.put_signature(who, needs_audit);
        Ok(self)
    }

    fn put_signature(&mut self, who: &PersonId, needs_audit: bool) {
        self.state = State::Signed;
        self.author = Some(who.clone());
        self.awaits_audit = needs_audit;
        self.has_draft = false;
        self.lease = None;
    }

    /// The second person signs.
    ///
    /// # Errors
    /// `REVIEWER_IS_AUTHOR`, `STATE_CONFLICT` unless a signed version awaits audit, `LEASE_LOST`.
    pub fn audit(mut self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<Self, Refusal> {
        if self.author.as_ref() == Some(who) {
            return Err(reviewer_is_author());
        }
        if self.state != State::Signed || !self.awaits_audit {
            return Err(conflict(self.state, "audited"));
        }
        self.held_by(who, epoch, now)?;
        self.state = State::Audited;
        self.awaits_audit = false;
        self.has_draft = false;
        self.lease = None;
        Ok(self)
    }

    /// The version that meets the promise is at the clinic. Idempotent; `None` when there is nothing to do.
    #[must_use]
    pub fn delivered(mut self) -> Option<Self> {
        let complete =
            matches!(self.state, State::Audited) || self.state == State::Signed && !self.awaits_audit;
        complete.then(|| {
            self.state = State::Closed;
            self
        })
    }

    /// 退回: the clinic is asked to take it again.
    ///
    /// # Errors
    /// `LEASE_LOST`; `STATE_CONFLICT` after signing.
    pub fn request_retake(mut self, who: &PersonId, epoch: u64, now: UtcMs) -> Result<Self, Refusal> {
        self.held_by(who, epoch, now)?;
        if !matches!(self.state, State::Claimed | State::Drafted) {
            return Err(conflict(self.state, "sent back"));
        }
        self.state = State::RetakeRequested;
        self.lease = None;
        Ok(self)
    }

    /// New objects came for an item that was sent back: it waits again. `None` when it was not sent back.
    #[must_use]
    pub fn retaken(mut self) -> Option<Self> {
        (self.state == State::RetakeRequested).then(|| {
            self.state = State::Waiting;
            self
        })
    }

    /// Withdraws an unsigned item.
    ///
    /// # Errors
    /// `STATE_CONFLICT` after signing: a signed report is corrected, never withdrawn.
    pub fn withdraw(mut self) -> Result<Self, Refusal> {
        match self.state {
            State::Waiting | State::Claimed | State::Drafted | State::RetakeRequested => {
                self.state = State::Withdrawn;
                self.lease = None;
                Ok(self)
            }
            other => Err(conflict(other, "withdrawn")),
        }
    }
}

fn conflict(state: State, wanted: &str) -> Refusal {
    Refusal::new(Code::StateConflict, "state", format!("an item that is {state} cannot be {wanted}"))
}

fn reviewer_is_author() -> Refusal {
    Refusal::new(Code::ReviewerIsAuthor, "reviewer", "the author cannot audit his own report")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMs = UtcMs(1_000_000);

    fn person(id: &str) -> PersonId {
        PersonId::parse(id).unwrap()
    }

    fn drafted_by(who: &str) -> WorkItem {
        let item = WorkItem::new(Class::Routine).claim(&person(who), NOW).unwrap();
        item.draft_saved(&person(who), 1, NOW).unwrap()
    }

    #[test]
    fn a_second_reader_is_told_who_holds_it() {
        let item = WorkItem::new(Class::Routine).claim(&person("liu"), NOW).unwrap();
        let refusal = item.claim(&person("zhang"), NOW.plus_ms(1)).unwrap_err();
        assert_eq!(refusal.code, Code::ClaimHeld);
        assert!(refusal.reason.contains("held by liu"), "{refusal}");
    }

    #[test]
    fn a_lease_without_input_ends_and_the_draft_stays() {
        let item = drafted_by("liu");
        assert!(item.clone().expired(NOW.plus_ms(LEASE_MS - 1)).is_none());
        let item = item.expired(NOW.plus_ms(LEASE_MS)).unwrap();
        assert_eq!((item.state, item.has_draft), (State::Waiting, true));
        let item = item.claim(&person("zhang"), NOW.plus_ms(LEASE_MS)).unwrap();
        assert_eq!((item.state, item.epoch), (State::Drafted, 2));
    }

    #[test]
    fn a_late_sign_with_the_old_epoch_is_refused() {
        let later = NOW.plus_ms(LEASE_MS);
        let item = drafted_by("liu").claim(&person("zhang"), later).unwrap();
        let refusal = item.sign(&person("liu"), 1, true, later).unwrap_err();
        assert_eq!(refusal.code, Code::LeaseLost);
    }

    #[test]
    fn an_urgent_lease_ends_after_two_minutes() {
        let item = WorkItem::new(Class::Green).claim(&person("liu"), NOW).unwrap();
        assert!(item.expired(NOW.plus_ms(2 * 60_000)).is_some());
    }

    #[test]
    fn the_author_cannot_audit_himself_and_another_can() {
        let signed = drafted_by("liu").sign(&person("liu"), 1, true, NOW).unwrap();
        assert_eq!(signed.clone().claim(&person("liu"), NOW).unwrap_err().code, Code::ReviewerIsAuthor);
        assert_eq!(signed.clone().audit(&person("liu"), 1, NOW).unwrap_err().code, Code::ReviewerIsAuthor);
        let held = signed.claim(&person("zhang"), NOW).unwrap();
        let audited = held.audit(&person("zhang"), 2, NOW).unwrap();
        assert_eq!(audited.state, State::Audited);
        assert_eq!(audited.delivered().unwrap().state, State::Closed);
    }

    #[test]
    fn a_report_that_awaits_audit_is_not_closed_by_its_preliminary_version() {
        let signed = drafted_by("liu").sign(&person("liu"), 1, true, NOW).unwrap();
        assert!(signed.delivered().is_none());
        let single = drafted_by("liu").sign(&person("liu"), 1, false, NOW).unwrap();
        assert_eq!(single.delivered().unwrap().state, State::Closed);
    }

    #[test]
    fn signing_needs_a_draft_and_happens_once() {
        let item = WorkItem::new(Class::Routine).claim(&person("liu"), NOW).unwrap();
        assert_eq!(item.sign(&person("liu"), 1, true, NOW).unwrap_err().code, Code::StateConflict);
        let signed = drafted_by("liu").sign(&person("liu"), 1, false, NOW).unwrap();
        assert_eq!(signed.clone().sign(&person("liu"), 1, false, NOW).unwrap_err().code, Code::LeaseLost);
        assert_eq!(signed.claim(&person("zhang"), NOW).unwrap_err().code, Code::StateConflict);
    }

    #[test]
    fn a_correction_takes_a_closed_item_and_keeps_fencing() {
        let closed = drafted_by("liu").sign(&person("liu"), 1, false, NOW).unwrap().delivered().unwrap();
        let taken = closed.claim_released(&person("liu"), NOW).unwrap();
        assert_eq!((taken.state, taken.epoch), (State::Closed, 2));
        let again = taken.sign_again(&person("liu"), 2, false, NOW).unwrap();
        assert_eq!(again.state, State::Signed);
    }

    #[test]
    fn an_item_sent_back_waits_again_when_new_objects_come() {
        let item = drafted_by("liu").request_retake(&person("liu"), 1, NOW).unwrap();
        assert_eq!(item.state, State::RetakeRequested);
        assert_eq!(item.retaken().unwrap().state, State::Waiting);
    }
}
