//! What has to be said about a study's deadlines, and when: computed anew from what happened, so that a watcher that was
//! asleep says afterwards exactly what it would have said in time.

use super::deadline::{Deadline, StudyTimes, due_at, standing};
use super::policy::{SlaPolicy, Stage};
use crate::clock::{MINUTE_MS, UtcMs};
use crate::study::{Class, Kind, words};

/// A green study that nobody has taken this long after T0 is called in by the clinic, in ms: within the ten minutes of a
/// chest pain two are left to telephone.
pub const UNATTENDED_MS: i64 = 8 * MINUTE_MS;

words! {
    /// What is said.
    Alarm {
        /// The share of the limit that the policy names is used up.
        Warned = 0, "warned", "预警";
        /// Nobody at the county has taken a green study: the clinic is told not to wait.
        Unattended = 1, "unattended", "县级暂未接诊";
        /// The limit has passed.
        Breached = 2, "breached", "超时";
    }
}

words! {
    /// Who a study is with: where the time goes, and to whom a breach is booked.
    Holder {
        /// Not at the county yet.
        Link = 0, "link", "传输";
        /// Nobody has taken it.
        Queue = 1, "queue", "候诊";
        /// With its reader.
        Reading = 2, "reading", "阅片";
        /// Signed, and awaits the second signature.
        Audit = 3, "audit", "审核";
        /// Released, and not at the clinic yet.
        Return = 4, "return", "回传";
        /// At the clinic, and not opened.
        Opening = 5, "opening", "打开";
    }
}

/// One thing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub alarm: Alarm,
    /// Of which stage.
    pub stage: Stage,
    /// The limit it is about.
    pub due_at: UtcMs,
    /// From when on it is true.
    pub at: UtcMs,
}

/// Everything there is to say of a study: of limits that are not reached, warning and breach; of limits that were reached
/// too late, the breach. Times lie in the past or in the future; a study whose last limit was kept has none.
#[must_use]
pub fn said(policy: &SlaPolicy, kind: Kind, class: Class, times: &StudyTimes) -> Vec<Said> {
    let mut said = Vec::new();
    for Deadline { stage, warn_at, due_at, reached_at } in standing(policy, kind, class, times) {
        if reached_at.is_none() {
            said.push(Said { alarm: Alarm::Warned, stage, due_at, at: warn_at });
        }
        if reached_at.is_none_or(|at| at > due_at) {
            said.push(Said { alarm: Alarm::Breached, stage, due_at, at: due_at.plus_ms(1) });
        }
    }
    if class == Class::Green && times.claimed.is_none() && times.reported.is_none() {
        let at = due_at(policy, class, times, UNATTENDED_MS);
        said.push(Said { alarm: Alarm::Unattended, stage: Stage::Claimed, due_at: at, at });
    }
    said.sort_by_key(|s| (s.at, s.alarm, s.stage));
    said
}

/// Whom a study of this kind was with at `at`.
#[must_use]
pub fn holder(policy: &SlaPolicy, kind: Kind, times: &StudyTimes, at: UtcMs) -> Holder {
    let passed = |moment: Option<UtcMs>| moment.is_some_and(|m| m <= at);
    let signed = if policy.signatures(kind) > 1 { times.audited } else { times.reported };
    if passed(times.received) {
        Holder::Opening
    } else if passed(signed) {
        Holder::Return
    } else if passed(times.reported) {
        Holder::Audit
    } else if passed(times.claimed) {
        Holder::Reading
    } else if passed(times.safe) {
        Holder::Queue
    } else {
        Holder::Link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(m: i64) -> UtcMs {
        UtcMs(m * MINUTE_MS)
    }

    fn of(alarm: Alarm, times: &StudyTimes) -> Vec<(Stage, UtcMs)> {
        let all = said(&SlaPolicy::default(), Kind::Ecg, Class::Green, times);
        all.into_iter().filter(|s| s.alarm == alarm).map(|s| (s.stage, s.at)).collect()
    }

    #[test]
    fn a_green_ecg_that_nobody_takes_is_warned_at_seven_called_in_at_eight_and_late_after_ten() {
        let waits = StudyTimes { safe: Some(minute(0)), ..StudyTimes::default() };
        assert!(of(Alarm::Warned, &waits).contains(&(Stage::Received, minute(7))));
        assert_eq!(of(Alarm::Unattended, &waits), [(Stage::Claimed, minute(8))]);
        assert!(of(Alarm::Breached, &waits).contains(&(Stage::Received, minute(10).plus_ms(1))));
        assert_eq!(holder(&SlaPolicy::default(), Kind::Ecg, &waits, minute(10)), Holder::Queue);
    }

    #[test]
    fn a_kept_limit_has_nothing_to_say_and_a_late_one_keeps_its_breach() {
        let times = StudyTimes {
            safe: Some(minute(0)),
            claimed: Some(minute(5)),
            reported: Some(minute(6)),
            received: Some(minute(7)),
            opened: Some(minute(9)),
            ..StudyTimes::default()
        };
        assert_eq!(of(Alarm::Breached, &times), [(Stage::Claimed, minute(3).plus_ms(1))]);
        assert_eq!(of(Alarm::Warned, &times), []);
        assert_eq!(of(Alarm::Unattended, &times), []);
    }

    #[test]
    fn a_breach_is_booked_to_whoever_had_the_study_when_the_limit_passed() {
        let times = StudyTimes {
            safe: Some(minute(1)),
            claimed: Some(minute(5)),
            reported: Some(minute(12)),
            received: Some(minute(13)),
            ..StudyTimes::default()
        };
        let at = |kind, m| holder(&SlaPolicy::default(), kind, &times, minute(m));
        let film = [0, 3, 10, 12, 13].map(|m| at(Kind::Xray, m));
        assert_eq!(film, [Holder::Link, Holder::Queue, Holder::Reading, Holder::Audit, Holder::Opening]);
        assert_eq!(at(Kind::Ecg, 12), Holder::Return, "one signature releases an ECG");
    }

    #[test]
    fn a_routine_film_is_warned_in_working_time() {
        let at = |text: &str| UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let times = StudyTimes { t0: at("2026-11-23T17:30:00+08:00"), ..StudyTimes::default() };
        let all = said(&SlaPolicy::default(), Kind::Xray, Class::Routine, &times);
        let warned = all.iter().find(|s| s.alarm == Alarm::Warned && s.stage == Stage::Received).unwrap();
        // 42 of 60 minutes, of which 30 are today.
        assert_eq!(
            (warned.at, warned.due_at),
            (at("2026-11-24T08:12:00+08:00"), at("2026-11-24T08:30:00+08:00"))
        );
    }
}
