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

/// A name as people write it: of a DICOM name (PS3.5 §6.2.1.2) the ideographic group where there is one, without carets, its
/// components in order.
pub(crate) fn written(name: &str) -> String {
    let groups: Vec<&str> = name.split('=').map(str::trim).collect();
    let said = |group: &&str| !group.trim_matches(['^', ' ']).is_empty();
    let ideographic = groups.get(1).copied().filter(said);
    let group = ideographic.or_else(|| groups.iter().copied().find(said)).unwrap_or_default();
    let parts: Vec<&str> = group.split('^').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join(if group.is_ascii() { " " } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_people_write_it() {
        for (stored, shown) in [
            ("朱^海涛", "朱海涛"),
            ("ZHU^HAITAO=朱^海涛", "朱海涛"),
            ("ZHU^HAITAO=^", "ZHU HAITAO"),
            ("WANG^XIAODONG", "WANG XIAODONG"),
            ("王小东", "王小东"),
            ("^^", ""),
        ] {
            assert_eq!(written(stored), shown, "{stored}");
        }
    }
}
