//! When the exam was: read from the texts a device writes, with every doubt kept.
//!
//! A bad time never keeps an object out. What is used, where it came from and how its zone was found stay beside the
//! result, so that a later clock correction can start from the text.

use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, UtcMs};

/// China Standard Time, UTC+08:00 without summer time since 1991: assumed when a file names no zone. In minutes.
pub const DEFAULT_OFFSET_MINUTES: i32 = 8 * 60;
/// Earlier years are a reset device clock or a typing fault: digital radiography began in the 1980s.
const FIRST_PLAUSIBLE_YEAR: i64 = 1985;
/// Offsets of real zones lie within ±14 hours. In minutes.
const MAX_OFFSET_MINUTES: i32 = 14 * 60;

/// The date and time texts of one object, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ExamTimeTexts {
    /// (0008,002A) `YYYYMMDDHHMMSS.FFFFFF&ZZXX`.
    pub acquisition_date_time: Option<String>,
    /// (0008,0023).
    pub content_date: Option<String>,
    /// (0008,0033).
    pub content_time: Option<String>,
    /// (0008,0022).
    pub acquisition_date: Option<String>,
    /// (0008,0032).
    pub acquisition_time: Option<String>,
    /// (0008,0021).
    pub series_date: Option<String>,
    /// (0008,0031).
    pub series_time: Option<String>,
    /// (0008,0020).
    pub study_date: Option<String>,
    /// (0008,0030).
    pub study_time: Option<String>,
    /// (0008,0201) `&ZZXX`.
    pub timezone_offset: Option<String>,
}

/// Which element the time came from; the first that can be read wins, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// AcquisitionDateTime (0008,002A).
    AcquisitionDateTime,
    /// ContentDate and ContentTime.
    Content,
    /// AcquisitionDate and AcquisitionTime.
    Acquisition,
    /// SeriesDate and SeriesTime.
    Series,
    /// StudyDate and StudyTime.
    Study,
    /// None could be read.
    None,
}

/// How the zone was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneSource {
    /// In the DT value itself.
    Value,
    /// TimezoneOffsetFromUTC (0008,0201).
    Header,
    /// Assumed: [`DEFAULT_OFFSET_MINUTES`].
    Assumed,
}

/// When the exam was, as far as the file knows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExamTime {
    /// The text used, date and time joined by a space; of the best source that had any text when none can be read.
    pub text: String,
    /// Where it stands.
    pub source: TimeSource,
    /// How the zone was found.
    pub zone: ZoneSource,
    /// Offset from UTC that was applied, in minutes.
    pub offset_minutes: i32,
    /// The result; `None` when no text can be read.
    pub utc_ms: Option<UtcMs>,
    /// A text was unreadable or implausible, or the time of day is missing: do not build a deadline on it alone.
    pub doubtful: bool,
}

impl ExamTime {
    /// Reads the texts; a missing zone is China Standard Time.
    #[must_use]
    pub fn of(texts: &ExamTimeTexts) -> Self {
        Self::with_default_offset(texts, DEFAULT_OFFSET_MINUTES)
    }

    /// Reads the texts; a missing zone is `default_minutes` east of UTC.
    #[must_use]
    pub fn with_default_offset(texts: &ExamTimeTexts, default_minutes: i32) -> Self {
        let header = texts.timezone_offset.as_deref().and_then(offset);
        let bad_header = texts.timezone_offset.is_some() && header.is_none();
        let (zone, minutes) =
            header.map_or((ZoneSource::Assumed, default_minutes), |m| (ZoneSource::Header, m));
        let mut failed: Option<(TimeSource, String)> = None;
        for (source, date, time) in texts.candidates() {
            let Some(date) = date else { continue };
            let text = time.map_or_else(|| date.to_owned(), |time| format!("{date} {time}"));
            let (value_zone, local) = if source == TimeSource::AcquisitionDateTime {
                date_time(date)
            } else {
                (None, day(date).map(|d| (d, time.map(clock))))
            };
            let (Some((days, of_day)), time_ok) = (local, !matches!(local, Some((_, Some(None))))) else {
                failed.get_or_insert((source, text));
                continue;
            };
            let (zone, offset_minutes) = value_zone.map_or((zone, minutes), |m| (ZoneSource::Value, m));
            let of_day_ms = of_day.flatten();
            let utc = days * DAY_MS + of_day_ms.unwrap_or(0) - i64::from(offset_minutes) * MINUTE_MS;
            let plausible = days >= days_from_civil(FIRST_PLAUSIBLE_YEAR, 1, 1);
            let doubtful = failed.is_some() || bad_header || !plausible || !time_ok || of_day_ms.is_none();
            return Self { text, source, zone, offset_minutes, utc_ms: Some(UtcMs(utc)), doubtful };
        }
        let (_, text) = failed.unwrap_or((TimeSource::None, String::new()));
        Self { text, source: TimeSource::None, zone, offset_minutes: minutes, utc_ms: None, doubtful: true }
    }
}

impl ExamTimeTexts {
    fn candidates(&self) -> [(TimeSource, Option<&str>, Option<&str>); 5] {
        [
            (TimeSource::AcquisitionDateTime, self.acquisition_date_time.as_deref(), None),
            (TimeSource::Content, self.content_date.as_deref(), self.content_time.as_deref()),
            (TimeSource::Acquisition, self.acquisition_date.as_deref(), self.acquisition_time.as_deref()),
            (TimeSource::Series, self.series_date.as_deref(), self.series_time.as_deref()),
            (TimeSource::Study, self.study_date.as_deref(), self.study_time.as_deref()),
        ]
    }
}

type Local = Option<(i64, Option<Option<i64>>)>;

/// A DT value (PS3.5 Table 6.2-1): offset in minutes if it has one, and local days with milliseconds of the day.
fn date_time(text: &str) -> (Option<i32>, Local) {
    let sign = text.find(['+', '-']);
    let (local, zone) = sign.map_or((text, None), |at| (&text[..at], Some(&text[at..])));
    let zone = zone.map(offset);
    if zone == Some(None) || !local.is_ascii() || local.len() < 8 {
        return (None, None);
    }
    let (date, time) = local.split_at(8);
    let time = if time.is_empty() { None } else { Some(clock(time)) };
    (zone.flatten(), day(date).map(|d| (d, time)))
}

/// `&ZZXX` in minutes.
fn offset(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h0, h1, m0, m1] = <[u8; 4]>::try_from(digits).ok()?;
    let minutes = number(&[h0, h1])? * 60 + number(&[m0, m1]).filter(|m| *m < 60)?;
    let minutes = sign * i32::try_from(minutes).ok()?;
    (minutes.abs() <= MAX_OFFSET_MINUTES).then_some(minutes)
}

/// A DA value as days since 1970; `YYYY.MM.DD` of ACR-NEMA and `YYYY-MM-DD` too. A range is not a day.
fn day(text: &str) -> Option<i64> {
    let text = text.trim().as_bytes();
    let digits: Vec<u8> = match *text {
        [y0, y1, y2, y3, b'.' | b'-' | b'/', m0, m1, b'.' | b'-' | b'/', d0, d1] => {
            vec![y0, y1, y2, y3, m0, m1, d0, d1]
        }
        _ if text.len() == 8 => text.to_vec(),
        _ => return None,
    };
    let (year, month, day) = (number(&digits[..4])?, number(&digits[4..6])?, number(&digits[6..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day))
}

/// A TM value in milliseconds of the day; `HH`, `HHMM`, `HHMMSS`, a fraction, and `HH:MM:SS` of ACR-NEMA.
fn clock(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: Vec<u8> = whole.bytes().filter(|b| *b != b':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || fraction.len() > 6 {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), number);
    // A leap second (60) is lawful and counts as the last second of its minute.
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?.min(60));
    let thousandths = number(format!("{fraction:0<3}").get(..3)?.as_bytes())?;
    if hours > 23 || minutes > 59 || part(4)? > 60 {
        return None;
    }
    Some(hours * HOUR_MS + minutes * MINUTE_MS + seconds.min(59) * SECOND_MS + thousandths)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |sum, d| d.is_ascii_digit().then(|| sum * 10 + i64::from(d - b'0')))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(date: &str, time: Option<&str>) -> ExamTimeTexts {
        ExamTimeTexts {
            study_date: Some(date.to_owned()),
            study_time: time.map(str::to_owned),
            ..ExamTimeTexts::default()
        }
    }

    fn utc(texts: &ExamTimeTexts) -> String {
        ExamTime::of(texts).utc_ms.map(UtcMs::to_rfc3339).unwrap_or_default()
    }

    #[test]
    fn a_time_without_zone_is_chinese() {
        let texts = study("20261103", Some("083005.25"));
        let time = ExamTime::of(&texts);
        assert_eq!(utc(&texts), "2026-11-03T00:30:05.250Z");
        assert_eq!((time.source, time.zone, time.doubtful), (TimeSource::Study, ZoneSource::Assumed, false));
    }

    #[test]
    fn the_header_zone_and_the_value_zone_are_obeyed_in_that_order() {
        let mut texts = study("20261103", Some("0830"));
        texts.timezone_offset = Some("+0530".to_owned());
        assert_eq!(utc(&texts), "2026-11-03T03:00:00.000Z");
        texts.acquisition_date_time = Some("20261103083000.000000-0100".to_owned());
        assert_eq!(utc(&texts), "2026-11-03T09:30:00.000Z");
        assert_eq!(ExamTime::of(&texts).zone, ZoneSource::Value);
    }

    #[test]
    fn the_exposure_beats_the_study() {
        let mut texts = study("20261103", Some("080000"));
        texts.acquisition_date = Some("20261103".to_owned());
        texts.acquisition_time = Some("081500".to_owned());
        assert_eq!(ExamTime::of(&texts).source, TimeSource::Acquisition);
    }

    #[test]
    fn unreadable_dates_are_kept_as_text_and_doubted() {
        for date in ["20261341", "20260101-20261231", "        ", "20260230", "昨天", "2026110"] {
            let time = ExamTime::of(&study(date, Some("080000")));
            assert_eq!((time.utc_ms, time.doubtful), (None, true), "{date}");
            assert!(time.text.starts_with(date));
        }
        let mut texts = study("20261103", Some("080000"));
        texts.content_date = Some("20261341".to_owned());
        let time = ExamTime::of(&texts);
        assert_eq!((time.source, time.doubtful), (TimeSource::Study, true));
    }

    #[test]
    fn old_forms_and_missing_or_wild_times_of_day_are_read_with_doubt_where_due() {
        assert_eq!(utc(&study("2026.11.03", Some("08:30:05"))), "2026-11-03T00:30:05.000Z");
        assert!(!ExamTime::of(&study("2026.11.03", Some("08:30:05"))).doubtful);
        for time in [None, Some("250000"), Some("0861"), Some("noon")] {
            let time = ExamTime::of(&study("20261103", time));
            assert!(time.doubtful && time.utc_ms.is_some());
        }
        assert!(ExamTime::of(&study("19700101", Some("000000"))).doubtful);
        assert!(ExamTime::of(&ExamTimeTexts::default()).doubtful);
    }

    #[test]
    fn civil_days_agree_with_known_dates() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        assert_eq!(days_from_civil(2024, 2, 29), 19_782);
    }
}
