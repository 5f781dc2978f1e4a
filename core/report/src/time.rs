//! Times on paper (Asia/Shanghai, to the minute) and in the canonical form (FHIR `instant`).
//!
//! Zone data is compiled in and asked first: two ends must print the same minute whatever their system says.

use std::sync::OnceLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use crate::content::UtcMillis;

fn shanghai() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| {
        TimeZoneDatabase::bundled().get("Asia/Shanghai").expect("invariant: zone data is compiled in")
    })
}

/// Local time of `ms`, or `None` outside what the calendar can hold.
pub(crate) fn local(ms: UtcMillis) -> Option<Zoned> {
    Timestamp::from_millisecond(ms).ok().map(|t| t.to_zoned(shanghai().clone()))
}

/// `2026-11-22 11:05` in Shanghai, the way times stand on the printed report.
pub fn minute_zh(ms: UtcMillis) -> String {
    local(ms).map_or_else(|| "—".to_owned(), |z| z.strftime("%Y-%m-%d %H:%M").to_string())
}

/// `2026-11-22T11:05:27.123+08:00` (FHIR `instant`), exact to the millisecond.
pub(crate) fn instant(ms: UtcMillis) -> Option<String> {
    local(ms).map(|z| z.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string())
}

/// Reads what [`instant`] writes.
pub(crate) fn parse_instant(text: &str) -> Option<UtcMillis> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_printed_in_shanghai() {
        assert_eq!(minute_zh(1_795_316_727_123), "2026-11-22 11:05");
        assert_eq!(minute_zh(i64::MAX), "—");
    }

    #[test]
    fn an_instant_keeps_every_millisecond() {
        for ms in [0, 999, 1_795_316_727_123, 4_102_444_799_999, 546_192_000_001] {
            let text = instant(ms).unwrap();
            assert_eq!(parse_instant(&text), Some(ms), "{text}");
        }
        assert_eq!(instant(1_795_316_727_123).unwrap(), "2026-11-22T11:05:27.123+08:00");
    }
}
