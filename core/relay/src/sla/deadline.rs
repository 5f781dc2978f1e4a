//! Deadlines of a study, computed from what happened.

use super::policy::{SlaPolicy, Stage};
use crate::clock::UtcMs;
use crate::study::{Class, Kind};

/// What happened to a study, as stored. `None` = not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StudyTimes {
    /// T0: exam completed, corrected by clock offsets.
    pub t0: UtcMs,
    /// First durable object at the county.
    pub safe: Option<UtcMs>,
    /// Consult accepted.
    pub accepted: Option<UtcMs>,
    /// First claimed by a reader.
    pub claimed: Option<UtcMs>,
    /// Preliminary version released.
    pub prelim: Option<UtcMs>,
    /// First signed by an author.
    pub reported: Option<UtcMs>,
    /// Second signature.
    pub audited: Option<UtcMs>,
    /// Preliminary version in the clinic's store.
    pub prelim_received: Option<UtcMs>,
    /// Final version in the clinic's store.
    pub received: Option<UtcMs>,
    /// Preliminary version opened.
    pub prelim_opened: Option<UtcMs>,
    /// Final version opened.
    pub opened: Option<UtcMs>,
    /// The newest correction or addendum: its limits are its own.
    pub correction: Option<CorrectionTimes>,
    /// When the county's clock stood still (sent back to the clinic).
    pub pauses: Pauses,
}

/// How often a study's clock stands still at most: what is sent back more often goes on.
const MAX_PAUSES: usize = 8;

/// Times at which a study lay with its clinic, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pauses {
    over: [(UtcMs, UtcMs); MAX_PAUSES],
    count: usize,
    running: Option<UtcMs>,
}

impl Pauses {
    /// Sent back.
    pub fn begin(&mut self, at: UtcMs) {
        self.running.get_or_insert(at);
    }

    /// Here again; means nothing where nothing was sent back.
    pub fn end(&mut self, at: UtcMs) {
        if let Some(from) = self.running.take()
            && let Some(slot) = self.over.get_mut(self.count)
        {
            *slot = (from, at.max(from));
            self.count += 1;
        }
    }

    /// Since when it lies with the clinic, if it does.
    #[must_use]
    pub const fn running(&self) -> Option<UtcMs> {
        self.running
    }

    fn over(&self) -> &[(UtcMs, UtcMs)] {
        self.over.get(..self.count).unwrap_or_default()
    }
}

/// What happened to a correction or addendum, counted from its author's signature. `None` = not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CorrectionTimes {
    /// Signed by its author: the start of its clocks.
    pub signed: UtcMs,
    /// Second signature.
    pub audited: Option<UtcMs>,
    /// Released version in the clinic's store.
    pub received: Option<UtcMs>,
    /// Released version opened.
    pub opened: Option<UtcMs>,
}

impl CorrectionTimes {
    /// Its limits, around the clock: a changed diagnosis waits for no duty hours.
    fn deadlines(self, policy: &SlaPolicy) -> impl Iterator<Item = Deadline> {
        policy.correction().iter().map(move |(stage, limit_ms)| Deadline {
            stage,
            warn_at: self.signed.plus_ms(policy.clock.warned_ms(limit_ms)),
            due_at: self.signed.plus_ms(limit_ms),
            reached_at: match stage {
                Stage::Audited => self.audited.or(self.received).or(self.opened),
                Stage::Received => self.received.or(self.opened),
                Stage::Opened => self.opened,
                _ => Some(self.signed),
            },
        })
    }
}

impl StudyTimes {
    /// When the stage was reached.
    #[must_use]
    pub const fn reached(&self, stage: Stage) -> Option<UtcMs> {
        match stage {
            Stage::Safe => self.safe,
            Stage::Accepted => self.accepted,
            Stage::Claimed => self.claimed,
            Stage::Prelim => first(self.prelim, self.reported),
            Stage::Reported => self.reported,
            Stage::Audited => self.audited,
            Stage::PrelimReceived => first(self.prelim_received, self.received),
            Stage::Received => self.received,
            Stage::PrelimOpened => first(self.prelim_opened, self.opened),
            Stage::Opened => self.opened,
        }
    }
}

const fn first(one: Option<UtcMs>, other: Option<UtcMs>) -> Option<UtcMs> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
        (Some(a), None) => Some(a),
        (None, b) => b,
    }
}

/// One limit of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Which stage.
    pub stage: Stage,
    /// When the share of it that the policy names has gone by.
    pub warn_at: UtcMs,
    /// When it is due.
    pub due_at: UtcMs,
    /// When it was reached, if it was.
    pub reached_at: Option<UtcMs>,
}

impl Deadline {
    /// True when the stage was reached too late, or is not reached and due.
    #[must_use]
    pub fn breached(&self, now: UtcMs) -> bool {
        self.reached_at.unwrap_or(now) > self.due_at
    }

    /// Ms left until it is due; negative = overdue; `None` when the stage is reached.
    #[must_use]
    pub const fn remaining_ms(&self, now: UtcMs) -> Option<i64> {
        match self.reached_at {
            Some(_) => None,
            None => Some(self.due_at.since(now)),
        }
    }
}

/// The promise to the clinic: the version in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Due.
    pub due_at: UtcMs,
    /// Kept at, if it was reached.
    pub received_at: Option<UtcMs>,
}

impl Promise {
    /// On time = received by the due time. A study never reported is late once it is due.
    #[must_use]
    pub fn on_time(&self) -> bool {
        self.received_at.is_some_and(|at| at <= self.due_at)
    }
}

/// T0 and the limit, moved by every pause that began before it was over: what was left then is left afterwards. A pause asked
/// for after the breach heals nothing.
pub(super) fn due_at(policy: &SlaPolicy, class: Class, times: &StudyTimes, limit_ms: i64) -> UtcMs {
    let add = |from: UtcMs, ms: i64| {
        if class.is_urgent() { from.plus_ms(ms) } else { policy.calendar.add_duty_ms(from, ms) }
    };
    let between = |from: UtcMs, to: UtcMs| {
        if class.is_urgent() { to.since(from) } else { policy.calendar.duty_ms(from, to) }
    };
    let mut due = add(times.t0, limit_ms);
    for (from, until) in times.pauses.over() {
        let from = (*from).max(times.t0);
        if from < due && from < *until {
            due = add(*until, between(from, due));
        }
    }
    due
}

/// Where one reader is alone, which is outside duty hours: how long the final version may take after the preliminary one,
/// in ms of working time. Judged when the preliminary version is released, before that at the end of the exam.
fn alone_ms(policy: &SlaPolicy, kind: Kind, class: Class, times: &StudyTimes) -> Option<i64> {
    let limit = policy.limits(kind, class).final_alone_ms()?;
    let when = times.prelim.unwrap_or(times.t0);
    (policy.signatures(kind) > 1 && !policy.calendar.on_duty(when)).then_some(limit)
}

/// Every limit of the study, in order of stage; without those of a correction. Where one reader is alone, the final version
/// has no limit before the preliminary one is there.
#[must_use]
pub fn deadlines(policy: &SlaPolicy, kind: Kind, class: Class, times: &StudyTimes) -> Vec<Deadline> {
    let limits = policy.limits(kind, class);
    let signatures = policy.signatures(kind);
    let alone = alone_ms(policy, kind, class, times);
    // Where it stands when `share` of each limit has gone by.
    let when = |stage: Stage, limit_ms: i64, share: &dyn Fn(i64) -> i64| {
        let of_the_final = matches!(stage, Stage::Audited | Stage::Received | Stage::Opened);
        let Some(alone) = alone.filter(|_| of_the_final && times.reached(Stage::Received).is_none()) else {
            return Some(due_at(policy, class, times, share(limit_ms)));
        };
        let last = policy.calendar.add_duty_ms(times.prelim?, share(alone));
        // Opening has the same time after the receipt as on duty.
        let after = if stage == Stage::Opened {
            limit_ms.saturating_sub(limits.limit_ms(Stage::Received)?)
        } else {
            0
        };
        Some(last.plus_ms(share(after)))
    };
    let warned = |limit_ms| policy.clock.warned_ms(limit_ms);
    limits
        .iter()
        .filter(|(stage, _)| *stage != Stage::Audited || signatures > 1)
        .filter_map(|(stage, limit_ms)| {
            let (warn_at, due_at) = (when(stage, limit_ms, &warned)?, when(stage, limit_ms, &|ms| ms)?);
            Some(Deadline { stage, warn_at, due_at, reached_at: times.reached(stage) })
        })
        .collect()
}

/// The earliest limit not yet reached, of the study or of its newest correction, leaving out stages that a later reached
/// stage has made moot.
#[must_use]
pub fn next_due(policy: &SlaPolicy, kind: Kind, class: Class, times: &StudyTimes) -> Option<Deadline> {
    standing(policy, kind, class, times).filter(|d| d.reached_at.is_none()).min_by_key(|d| d.due_at)
}

/// Every limit of the study and of its newest correction, without those not reached that a later reached stage has made moot.
pub(super) fn standing(
    policy: &SlaPolicy,
    kind: Kind,
    class: Class,
    times: &StudyTimes,
) -> impl Iterator<Item = Deadline> {
    let all = deadlines(policy, kind, class, times);
    let reached: Vec<Stage> = all.iter().filter(|d| d.reached_at.is_some()).map(|d| d.stage).collect();
    let corrected = times.correction.into_iter().flat_map(|correction| correction.deadlines(policy));
    all.into_iter()
        .filter(move |d| d.reached_at.is_some() || !reached.iter().any(|stage| makes_moot(*stage, d.stage)))
        .chain(corrected)
}

/// True when a study that has reached `reached` need not reach `stage` any more. A preliminary version, however far it got,
/// leaves every limit of the final one standing.
fn makes_moot(reached: Stage, stage: Stage) -> bool {
    let preliminary = |s: Stage| matches!(s, Stage::Prelim | Stage::PrelimReceived | Stage::PrelimOpened);
    if !preliminary(reached) {
        return stage < reached;
    }
    stage < reached && (preliminary(stage) || stage < Stage::Prelim)
}

/// The promise of the study. Where one reader is alone a preliminary version in time keeps it; also where the policy knows
/// no time for the final one then, but limits `prelim_received` no closer than `received`.
#[must_use]
pub fn promise(policy: &SlaPolicy, kind: Kind, class: Class, times: &StudyTimes) -> Promise {
    let limits = policy.limits(kind, class);
    let limit = |stage| limits.limit_ms(stage);
    let received = limit(Stage::Received).expect("invariant: the policy demands `received`");
    let (stage, limit_ms) = match limit(Stage::PrelimReceived) {
        Some(prelim) if alone_ms(policy, kind, class, times).is_some() => (Stage::PrelimReceived, prelim),
        Some(prelim) if limits.final_alone_ms().is_none() && prelim >= received => {
            (Stage::PrelimReceived, prelim)
        }
        _ => (Stage::Received, received),
    };
    Promise { due_at: due_at(policy, class, times, limit_ms), received_at: times.reached(stage) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MINUTE_MS;

    fn at(text: &str) -> UtcMs {
        UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn policy() -> SlaPolicy {
        SlaPolicy::default()
    }

    #[test]
    fn a_green_ecg_at_two_in_the_morning_is_due_at_ten_past() {
        let t0 = at("2026-11-22T02:00:00+08:00");
        let times = StudyTimes { t0, safe: Some(t0.plus_ms(20_000)), ..StudyTimes::default() };
        let next = next_due(&policy(), Kind::Ecg, Class::Green, &times).unwrap();
        assert_eq!((next.stage, next.due_at), (Stage::Claimed, t0.plus_ms(3 * MINUTE_MS)));
        assert_eq!(promise(&policy(), Kind::Ecg, Class::Green, &times).due_at, t0.plus_ms(10 * MINUTE_MS));
    }

    #[test]
    fn a_routine_film_of_the_evening_is_due_the_next_morning() {
        let times = StudyTimes { t0: at("2026-11-22T17:30:00+08:00"), ..StudyTimes::default() };
        let promise = promise(&policy(), Kind::Xray, Class::Routine, &times);
        assert_eq!(promise.due_at, at("2026-11-23T08:30:00+08:00"));
    }

    #[test]
    fn a_study_never_reported_is_late_and_breached() {
        let times = StudyTimes { t0: UtcMs(0), ..StudyTimes::default() };
        let promise = promise(&policy(), Kind::Ecg, Class::Green, &times);
        assert!(!promise.on_time());
        let all = deadlines(&policy(), Kind::Ecg, Class::Green, &times);
        assert!(all.iter().all(|d| d.breached(UtcMs(100 * MINUTE_MS))));
    }

    #[test]
    fn at_night_a_preliminary_report_keeps_the_promise_of_an_urgent_film_and_by_day_it_does_not() {
        let given = |t0: UtcMs| StudyTimes {
            t0,
            prelim: Some(t0.plus_ms(8 * MINUTE_MS)),
            prelim_received: Some(t0.plus_ms(9 * MINUTE_MS)),
            ..StudyTimes::default()
        };
        let night = given(at("2026-11-22T02:00:00+08:00"));
        for class in [Class::Green, Class::Emergency] {
            assert!(promise(&policy(), Kind::Xray, class, &night).on_time(), "{class}");
            let day = given(at("2026-11-23T10:00:00+08:00"));
            assert!(!promise(&policy(), Kind::Xray, class, &day).on_time(), "{class}");
        }
        assert!(!promise(&policy(), Kind::Xray, Class::Routine, &night).on_time());
    }

    #[test]
    fn at_night_the_final_report_is_due_four_working_hours_after_the_preliminary_one() {
        let t0 = at("2026-11-22T02:00:00+08:00");
        let times = StudyTimes { t0, safe: Some(t0), claimed: Some(t0), ..StudyTimes::default() };
        let due = |times: &StudyTimes| {
            let next = next_due(&policy(), Kind::Xray, Class::Emergency, times).unwrap();
            (next.stage, next.due_at)
        };
        assert_eq!(due(&times), (Stage::Prelim, t0.plus_ms(22 * MINUTE_MS)));
        let signed = Some(t0.plus_ms(8 * MINUTE_MS));
        let seen = StudyTimes {
            prelim: signed,
            reported: signed,
            prelim_received: signed,
            prelim_opened: signed,
            ..times
        };
        // Duty begins at eight.
        assert_eq!(due(&seen), (Stage::Audited, at("2026-11-22T12:00:00+08:00")));
        let audited = StudyTimes { audited: signed, ..seen };
        assert_eq!(due(&audited), (Stage::Received, at("2026-11-22T12:00:00+08:00")));
        let received = StudyTimes { received: signed, ..audited };
        assert_eq!(due(&received).0, Stage::Opened);
    }

    #[test]
    fn a_correction_is_due_by_its_own_limits_whatever_was_reached_before() {
        let minute = |m: i64| Some(UtcMs(m * MINUTE_MS));
        let done = StudyTimes {
            t0: UtcMs(0),
            safe: minute(1),
            claimed: minute(2),
            reported: minute(3),
            audited: minute(4),
            received: minute(5),
            opened: minute(6),
            ..StudyTimes::default()
        };
        let next = |times: &StudyTimes| next_due(&policy(), Kind::Xray, Class::Routine, times);
        assert_eq!(next(&done), None);
        let signed = CorrectionTimes { signed: UtcMs(100 * MINUTE_MS), ..CorrectionTimes::default() };
        let waits = StudyTimes { correction: Some(signed), ..done };
        let due = next(&waits).unwrap();
        assert_eq!((due.stage, due.due_at), (Stage::Received, UtcMs(115 * MINUTE_MS)));
        let there = CorrectionTimes { received: minute(110), ..signed };
        let due = next(&StudyTimes { correction: Some(there), ..done }).unwrap();
        assert_eq!((due.stage, due.due_at), (Stage::Opened, UtcMs(130 * MINUTE_MS)));
        let read = CorrectionTimes { opened: minute(111), ..there };
        assert_eq!(next(&StudyTimes { correction: Some(read), ..done }), None);
    }

    #[test]
    fn time_at_the_clinic_after_a_retake_request_moves_the_limit() {
        let mut times = StudyTimes { t0: UtcMs(0), ..StudyTimes::default() };
        times.pauses.begin(UtcMs(2 * MINUTE_MS));
        assert_eq!(times.pauses.running(), Some(UtcMs(2 * MINUTE_MS)));
        times.pauses.end(UtcMs(7 * MINUTE_MS));
        assert_eq!(promise(&policy(), Kind::Ecg, Class::Green, &times).due_at, UtcMs(15 * MINUTE_MS));
        assert_eq!(times.pauses.running(), None);
    }

    #[test]
    fn a_pause_after_the_breach_heals_nothing_and_a_night_at_the_clinic_counts_no_duty_time() {
        let t0 = at("2026-11-23T17:00:00+08:00");
        let due = |from: &str, until: &str| {
            let mut times = StudyTimes { t0, ..StudyTimes::default() };
            times.pauses.begin(at(from));
            times.pauses.end(at(until));
            promise(&policy(), Kind::Xray, Class::Routine, &times).due_at
        };
        // One hour of duty time, due at six; half of it is left when the films come again in the morning.
        let (evening, morning) = ("2026-11-23T17:30:00+08:00", "2026-11-24T09:00:00+08:00");
        assert_eq!(due(evening, morning), at("2026-11-24T09:30:00+08:00"));
        assert_eq!(due("2026-11-23T18:30:00+08:00", morning), at("2026-11-23T18:00:00+08:00"));
    }

    #[test]
    fn a_preliminary_report_opened_at_the_clinic_leaves_the_limits_of_the_final_one() {
        let minute = |m: i64| Some(UtcMs(m * MINUTE_MS));
        let times = StudyTimes {
            t0: UtcMs(0),
            safe: minute(1),
            claimed: minute(3),
            prelim: minute(8),
            reported: minute(8),
            prelim_received: minute(9),
            prelim_opened: minute(10),
            ..StudyTimes::default()
        };
        let next =
            |times: &StudyTimes| next_due(&policy(), Kind::Xray, Class::Emergency, times).unwrap().stage;
        assert_eq!(next(&times), Stage::Audited);
        assert_eq!(next(&StudyTimes { audited: minute(20), ..times }), Stage::Received);
        assert_eq!(next(&StudyTimes { received: minute(21), ..times }), Stage::Opened);
        let unseen = StudyTimes { prelim_opened: None, received: minute(21), ..times };
        assert_eq!(next(&unseen), Stage::PrelimOpened, "a version that arrived has been seen by nobody");
    }

    #[test]
    fn stages_overtaken_are_not_due_any_more() {
        let minute = |m: i64| Some(UtcMs(m * MINUTE_MS));
        let times =
            StudyTimes { t0: UtcMs(0), safe: minute(1), reported: minute(2), ..StudyTimes::default() };
        let next = next_due(&policy(), Kind::Ecg, Class::Green, &times).unwrap();
        assert_eq!(next.stage, Stage::Received);
    }
}
