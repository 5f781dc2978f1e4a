//! Small words that page, commands and `doctor` share.

use relay_core::clock::UtcMs;

/// Local time for people.
pub(crate) fn local(at: UtcMs) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.0);
    stamp.map_or_else(
        |_| at.to_rfc3339(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%m-%d %H:%M:%S").to_string(),
    )
}
