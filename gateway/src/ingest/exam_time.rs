//! T0, the start of every clock: the exam's end as the file says, corrected by the clocks that were measured; or, when
//! that is implausible, the first object at the agent, marked. A bad time never rejects a study.

use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};

/// An exam longer ago than this, when its first object reaches the agent, was not taken just now: an old study.
pub(super) const MAX_AGE_MS: i64 = DAY_MS;
/// Samples of a device before its offset is believed.
pub(super) const MIN_SAMPLES: i64 = 5;
/// A device that is never nearer than this to the arrival of its own objects has a slow clock (or is read out late,
/// therefore the result is marked).
pub(super) const SLOW_DEVICE_MS: i64 = 10 * MINUTE_MS;

/// What is known of the times of one study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Exam time by the device's clock.
    pub(super) exam: Option<UtcMs>,
    /// It is of the agent's own clock, not of a device's.
    pub(super) by_agent: bool,
    /// The agent or the file doubts it.
    pub(super) doubtful: bool,
    /// First object safe at the agent, by the agent's clock.
    pub(super) first_object: UtcMs,
    /// County clock minus agent clock.
    pub(super) clock_offset_ms: i64,
    /// Smallest arrival minus exam time of this device, and how often measured.
    pub(super) device: Option<(i64, i64)>,
    /// Further in the future than this is implausible: the policy's `clock.max_future_skew_s`.
    pub(super) max_future_ms: i64,
    /// Now, by the county's clock.
    pub(super) now: UtcMs,
}

/// The start of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct T0 {
    /// When, by the county's clock.
    pub(super) at: UtcMs,
    /// Do not build a verdict on it alone.
    pub(super) suspect: bool,
    /// Correction that was applied for the device's clock.
    pub(super) device_offset_ms: i64,
}

impl Known {
    /// Decides.
    #[must_use]
    pub(super) fn t0(&self) -> T0 {
        let first = self.first_object.plus_ms(self.clock_offset_ms).min(self.now);
        let assumed = T0 { at: first, suspect: true, device_offset_ms: 0 };
        let Some(exam) = self.exam else { return assumed };
        let believed = self.device.filter(|(_, samples)| *samples >= MIN_SAMPLES).map(|(offset, _)| offset);
        // A device that is ahead of its own arrivals is certainly wrong; one that is behind may only be read out late.
        let (device_offset_ms, slow) = match believed {
            Some(offset) if offset < -self.max_future_ms => (offset, false),
            Some(offset) if offset > SLOW_DEVICE_MS => (offset, true),
            _ => (0, false),
        };
        let plausible = |at: &UtcMs| {
            at.since(self.now) <= self.max_future_ms
                && at.since(first) <= self.max_future_ms
                && first.since(*at) <= MAX_AGE_MS
        };
        let device_time = exam.plus_ms(device_offset_ms);
        let corrected = Some(device_time.plus_ms(self.clock_offset_ms)).filter(plausible);
        // A device that nobody knows yet need not share the clock of an agent that is far off: of both readings the one
        // nearer to the arrival is taken, and marked where the other would have done as well.
        let unknown = believed.is_none()
            && !self.by_agent
            && self.clock_offset_ms.saturating_abs() > self.max_future_ms;
        let own = Some(device_time).filter(|at| unknown && plausible(at));
        let Some(at) = corrected.into_iter().chain(own).max() else { return assumed };
        T0 { at: at.min(self.now), suspect: self.doubtful || slow || own.is_some(), device_offset_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::clock::HOUR_MS;

    const NOW: UtcMs = UtcMs(1_700_000_000_000);

    fn known() -> Known {
        Known {
            exam: Some(NOW.plus_ms(-5 * MINUTE_MS)),
            by_agent: false,
            doubtful: false,
            first_object: NOW.plus_ms(-MINUTE_MS),
            clock_offset_ms: 0,
            device: None,
            max_future_ms: MINUTE_MS,
            now: NOW,
        }
    }

    #[test]
    fn a_plausible_exam_time_is_t0_in_county_time() {
        assert_eq!(known().t0(), T0 { at: NOW.plus_ms(-5 * MINUTE_MS), suspect: false, device_offset_ms: 0 });
    }

    #[test]
    fn an_agent_clock_an_hour_off_is_corrected_by_the_link() {
        // Agent and device are both an hour ahead.
        let known = Known {
            exam: known().exam.map(|t| t.plus_ms(HOUR_MS)),
            first_object: known().first_object.plus_ms(HOUR_MS),
            clock_offset_ms: -HOUR_MS,
            ..known()
        };
        assert_eq!(known.t0(), T0 { at: NOW.plus_ms(-5 * MINUTE_MS), suspect: false, device_offset_ms: 0 });
    }

    #[test]
    fn a_device_that_does_not_share_its_agents_wrong_clock_is_read_by_its_own_and_marked() {
        for offset in [HOUR_MS, -HOUR_MS] {
            // The agent is off, the device is right.
            let known = Known {
                first_object: known().first_object.plus_ms(-offset),
                clock_offset_ms: offset,
                ..known()
            };
            let expected = T0 { at: NOW.plus_ms(-5 * MINUTE_MS), suspect: true, device_offset_ms: 0 };
            assert_eq!(known.t0(), expected, "{offset}");
            // Once it is learnt that its times are those of the agent, they are corrected with them.
            let learnt = Known { device: Some((4 * MINUTE_MS, MIN_SAMPLES)), ..known };
            let shared = Known { exam: learnt.exam.map(|at| at.plus_ms(-offset)), ..learnt };
            assert_eq!(shared.t0(), T0 { suspect: false, ..expected }, "{offset}");
        }
    }

    #[test]
    fn a_device_an_hour_ahead_is_doubted_at_first_and_corrected_when_learnt() {
        let ahead = Known { exam: known().exam.map(|t| t.plus_ms(HOUR_MS)), ..known() };
        assert_eq!(ahead.t0(), T0 { at: ahead.first_object, suspect: true, device_offset_ms: 0 });
        let learnt = Known { device: Some((-HOUR_MS, MIN_SAMPLES)), ..ahead };
        assert_eq!(learnt.t0().at, NOW.plus_ms(-5 * MINUTE_MS));
        assert!(!learnt.t0().suspect);
    }

    #[test]
    fn a_missing_future_or_ancient_time_is_the_first_object_and_suspect() {
        for exam in
            [None, Some(NOW.plus_ms(2 * MINUTE_MS)), Some(NOW.plus_ms(-30 * DAY_MS)), Some(UtcMs(i64::MAX))]
        {
            let t0 = Known { exam, ..known() }.t0();
            assert_eq!((t0.at, t0.suspect), (known().first_object, true), "{exam:?}");
        }
    }

    #[test]
    fn how_far_ahead_a_clock_is_believed_is_the_policys() {
        let ahead = Known { exam: Some(NOW.plus_ms(2 * MINUTE_MS)), ..known() };
        assert!(ahead.t0().suspect);
        let t0 = Known { max_future_ms: 5 * MINUTE_MS, ..ahead }.t0();
        assert_eq!((t0.at, t0.suspect), (NOW, false));
    }

    #[test]
    fn t0_is_never_after_now() {
        let odd = Known { exam: None, first_object: NOW.plus_ms(HOUR_MS), ..known() };
        assert_eq!(odd.t0().at, NOW);
    }
}
