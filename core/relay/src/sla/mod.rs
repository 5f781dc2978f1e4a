//! Service levels: policy as data, deadlines as pure functions of stored events. Nothing here runs a timer:
//! deleting every timer and restarting changes no deadline.

mod calendar;
mod deadline;
mod policy;
mod watch;

pub use calendar::{CalendarError, DutyCalendar, ShiftMinutes};
pub use deadline::{CorrectionTimes, Deadline, Pauses, Promise, StudyTimes, deadlines, next_due, promise};
pub use policy::{
    ClockRules, CriticalRules, DEFAULT_POLICY, PolicyError, RetakeRules, SlaPolicy, Stage, StageLimits,
};
pub use watch::{Alarm, Holder, Said, UNATTENDED_MS, holder, said};
