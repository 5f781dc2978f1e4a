//! The duty calendar: when the reading room works, and working time added to an instant.

use crate::clock::{DAY_MS, MINUTE_MS, UtcMs};
use jiff::civil::Date;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Days searched for enough working time before the calendar is called empty: a limit is at most a month of minutes,
/// and a year covers it with one working hour in twelve.
const MAX_SEARCH_DAYS: i64 = 366;

/// A shift in minutes after local midnight: from, to (exclusive), 0 ≤ from < to ≤ 1440.
pub type ShiftMinutes = (u32, u32);

/// Duty hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyCalendar {
    offset_ms: i64,
    /// Monday to Sunday.
    week: [Vec<ShiftMinutes>; 7],
    exceptions: BTreeMap<Date, Vec<ShiftMinutes>>,
}

/// Why a calendar is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CalendarError {
    /// A shift that ends before it begins, overlaps, or leaves the day.
    #[error("{place}: the shift {from}..{to} is not in order within 0..1440")]
    Shift {
        /// Which list.
        place: String,
        /// Begin.
        from: u32,
        /// End.
        to: u32,
    },
    /// No duty hours in any week.
    #[error("no duty hours at all")]
    Empty,
    /// A date that is not `YYYY-MM-DD`.
    #[error("exceptions.{0}: not a date YYYY-MM-DD")]
    Date(String),
    /// An offset beyond a day.
    #[error("utc_offset_minutes = {0}: beyond a day")]
    Offset(i32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DutyFile {
    utc_offset_minutes: i32,
    weekday: Vec<ShiftMinutes>,
    saturday: Vec<ShiftMinutes>,
    sunday: Vec<ShiftMinutes>,
    #[serde(default)]
    exceptions: BTreeMap<String, Vec<ShiftMinutes>>,
}

fn checked(place: &str, shifts: Vec<ShiftMinutes>) -> Result<Vec<ShiftMinutes>, CalendarError> {
    let mut last = 0;
    for (from, to) in shifts.iter().copied() {
        if from < last || from >= to || to > 1440 {
            return Err(CalendarError::Shift { place: place.to_owned(), from, to });
        }
        last = to;
    }
    Ok(shifts)
}

impl DutyCalendar {
    pub(super) fn from_file(file: DutyFile) -> Result<Self, CalendarError> {
        if file.utc_offset_minutes.abs() >= 1440 {
            return Err(CalendarError::Offset(file.utc_offset_minutes));
        }
        let weekday = checked("weekday", file.weekday)?;
        let saturday = checked("saturday", file.saturday)?;
        let sunday = checked("sunday", file.sunday)?;
        if weekday.is_empty() && saturday.is_empty() && sunday.is_empty() {
            return Err(CalendarError::Empty);
        }
        let mut exceptions = BTreeMap::new();
        for (text, shifts) in file.exceptions {
            let date: Date = text.parse().map_err(|_| CalendarError::Date(text.clone()))?;
            exceptions.insert(date, checked(&text, shifts)?);
        }
        let week =
            [weekday.clone(), weekday.clone(), weekday.clone(), weekday.clone(), weekday, saturday, sunday];
        Ok(Self { offset_ms: i64::from(file.utc_offset_minutes) * MINUTE_MS, week, exceptions })
    }

    /// Start of the local day that holds `at`.
    #[must_use]
    pub const fn day_start(&self, at: UtcMs) -> UtcMs {
        let local = at.0 + self.offset_ms;
        UtcMs(local - local.rem_euclid(DAY_MS) - self.offset_ms)
    }

    /// The shifts of the local day that begins at `day_start`, as UTC instants.
    fn shifts(&self, day_start: UtcMs) -> Vec<(UtcMs, UtcMs)> {
        let days = (day_start.0 + self.offset_ms).div_euclid(DAY_MS);
        // 1970-01-01 was a Thursday: Monday-based weekday 3.
        let weekday = usize::try_from((days + 3).rem_euclid(7)).expect("invariant: 0..7");
        let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).ok();
        let shifts = date.and_then(|d| self.exceptions.get(&d)).unwrap_or(&self.week[weekday]);
        let at = |minutes: u32| day_start.plus_ms(i64::from(minutes) * MINUTE_MS);
        shifts.iter().map(|(from, to)| (at(*from), at(*to))).collect()
    }

    /// True when the reading room works at this instant.
    #[must_use]
    pub fn on_duty(&self, at: UtcMs) -> bool {
        self.shifts(self.day_start(at)).iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// The instant at which `ms` of duty time have passed since `from`. Time off duty does not count.
    #[must_use]
    pub fn add_duty_ms(&self, from: UtcMs, ms: i64) -> UtcMs {
        let mut left = ms;
        let mut day = self.day_start(from);
        for _ in 0..MAX_SEARCH_DAYS {
            for (begin, end) in self.shifts(day) {
                let begin = begin.max(from);
                let room = end.since(begin);
                if room <= 0 {
                    continue;
                }
                if left <= room {
                    return begin.plus_ms(left);
                }
                left -= room;
            }
            day = day.plus_ms(DAY_MS);
        }
        // A calendar of exceptions without any duty: better too early than never.
        from.plus_ms(ms)
    }

    /// Duty time between two instants; none when `to` is not after `from`.
    #[must_use]
    pub fn duty_ms(&self, from: UtcMs, to: UtcMs) -> i64 {
        let (mut passed, mut day) = (0, self.day_start(from));
        for _ in 0..MAX_SEARCH_DAYS {
            if day >= to {
                break;
            }
            for (begin, end) in self.shifts(day) {
                passed += end.min(to).since(begin.max(from)).max(0);
            }
            day = day.plus_ms(DAY_MS);
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR_MS;
    use crate::sla::{DEFAULT_POLICY, SlaPolicy};

    fn at(text: &str) -> UtcMs {
        UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn calendar(exceptions: &str) -> DutyCalendar {
        let text = DEFAULT_POLICY.replace("[duty.exceptions]", &format!("[duty.exceptions]\n{exceptions}"));
        SlaPolicy::from_toml(&text).unwrap().calendar
    }

    #[test]
    fn an_hour_that_begins_at_closing_time_ends_the_next_morning() {
        let due = calendar("").add_duty_ms(at("2026-11-20T17:40:00+08:00"), HOUR_MS);
        assert_eq!(due, at("2026-11-21T08:40:00+08:00"));
    }

    #[test]
    fn national_day_does_not_count_and_a_night_arrival_waits_for_the_morning() {
        let calendar = calendar("2026-10-01 = []\n2026-10-02 = []");
        let due = calendar.add_duty_ms(at("2026-09-30T23:00:00+08:00"), HOUR_MS);
        assert_eq!(due, at("2026-10-03T09:00:00+08:00"));
        assert!(!calendar.on_duty(at("2026-10-01T10:00:00+08:00")));
        assert!(calendar.on_duty(at("2026-10-03T10:00:00+08:00")));
    }

    #[test]
    fn the_day_begins_at_local_midnight() {
        let day = calendar("").day_start(at("2026-11-22T03:00:00Z"));
        assert_eq!(day, at("2026-11-22T00:00:00+08:00"));
    }

    #[test]
    fn a_shift_that_ends_before_it_begins_is_refused() {
        let text = DEFAULT_POLICY.replacen("weekday = [[480, 1080]]", "weekday = [[1080, 480]]", 1);
        assert!(SlaPolicy::from_toml(&text).unwrap_err().to_string().contains("weekday"));
    }
}
