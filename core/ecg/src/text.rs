//! Text of many character sets, as ECG files carry it.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GB18030, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252,
};

use crate::limits::MAX_TEXT;

/// Decoded text and whether it had been stored under a wrong label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    pub(crate) repaired: bool,
}

/// Decodes DICOM text under Specific Character Set values (PS3.3 C.12.1.1.2): single-valued sets, ISO 2022 escapes,
/// and the common wrong labels: GBK or UTF-8 under ISO_IR 100 or without a label.
pub(crate) fn dicom(bytes: &[u8], charsets: &[&str]) -> Decoded {
    let bytes = trim(&bytes[..bytes.len().min(MAX_TEXT)]);
    if bytes.is_ascii() && !bytes.contains(&0x1B) {
        return plain(ascii(bytes), false);
    }
    let first = charsets.first().map_or("", |c| c.trim());
    if bytes.contains(&0x1B) {
        return plain(iso2022(bytes, charsets), false);
    }
    match first {
        "ISO_IR 192" => plain(decode(UTF_8, bytes), false),
        "GB18030" | "GBK" => plain(decode(GB18030, bytes), false),
        "" | "ISO_IR 6" | "ISO_IR 100" | "ISO 2022 IR 6" | "ISO 2022 IR 100" => unlabelled(bytes),
        _ => plain(decode(by_term(first), bytes), false),
    }
}

/// Text without a trustworthy label: UTF-8 if it is, GBK if it is Chinese text, else Latin-1.
pub(crate) fn unlabelled(bytes: &[u8]) -> Decoded {
    let bytes = trim(&bytes[..bytes.len().min(MAX_TEXT)]);
    if bytes.is_ascii() {
        return plain(ascii(bytes), false);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return plain(text.to_owned(), true);
    }
    let (text, _, wrong) = GB18030.decode(bytes);
    let chinese = text.chars().any(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c));
    if !wrong && chinese && looks_gbk(bytes) {
        return plain(clean(&text), true);
    }
    plain(decode(WINDOWS_1252, bytes), false)
}

/// Latin-1 names have single high bytes among ASCII letters; GBK text has pairs, most of them with two high bytes.
fn looks_gbk(bytes: &[u8]) -> bool {
    let (mut pairs, mut single, mut at) = (0, 0, 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (0..0x80, _) => at += 1,
            (_, Some(next)) if *next >= 0x80 || !next.is_ascii_alphabetic() && *next >= 0x40 => {
                pairs += 1;
                at += 2;
            }
            _ => {
                single += 1;
                at += 1;
            }
        }
    }
    pairs > single
}

/// Text under a language code of SCP-ECG section 1 tag 32 or in a plain 8-bit field.
pub(crate) fn eight_bit(bytes: &[u8]) -> String {
    unlabelled(bytes).text
}

/// A whole text file (XML, WFDB header): byte order marks, then the declared encoding, then UTF-8, then GBK.
pub(crate) fn document(bytes: &[u8]) -> String {
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return String::from_utf8_lossy(rest).into_owned();
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"<\0") {
        return UTF_16LE.decode(bytes).0.into_owned();
    }
    if bytes.starts_with(b"\xFE\xFF") || bytes.starts_with(b"\0<") {
        return UTF_16BE.decode(bytes).0.into_owned();
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let declared = declared_encoding(bytes).unwrap_or(UTF_8);
    if declared != UTF_8 {
        return declared.decode(bytes).0.into_owned();
    }
    let (text, _, wrong) = GB18030.decode(bytes);
    if wrong { WINDOWS_1252.decode(bytes).0.into_owned() } else { text.into_owned() }
}

fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(256)];
    let at = head.windows(9).position(|w| w == b"encoding=")? + 9;
    let quote = *head.get(at)?;
    let rest = &head[at + 1..];
    let end = rest.iter().position(|b| *b == quote)?;
    Encoding::for_label(&rest[..end])
}

fn plain(text: String, repaired: bool) -> Decoded {
    Decoded { text, repaired }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |p| p + 1);
    let start = bytes[..end].iter().position(|b| !matches!(b, 0 | b' ')).unwrap_or(end);
    &bytes[start..end]
}

fn ascii(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

fn decode(encoding: &'static Encoding, bytes: &[u8]) -> String {
    clean(&encoding.decode_without_bom_handling(bytes).0)
}

/// Control characters other than line ends go.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
        .collect::<String>()
        .trim()
        .to_owned()
}

fn by_term(term: &str) -> &'static Encoding {
    let label: &[u8] = match term.trim_start_matches("ISO_IR ").trim_start_matches("ISO 2022 IR ") {
        "101" => b"iso-8859-2",
        "109" => b"iso-8859-3",
        "110" => b"iso-8859-4",
        "144" => b"iso-8859-5",
        "127" => b"iso-8859-6",
        "126" => b"iso-8859-7",
        "138" => b"iso-8859-8",
        "148" => b"iso-8859-9",
        "203" => b"iso-8859-15",
        "13" => return SHIFT_JIS,
        "166" => b"tis-620",
        "149" => return EUC_KR,
        "58" => return GB18030,
        "BIG5" => return BIG5,
        _ => return WINDOWS_1252,
    };
    Encoding::for_label(label).unwrap_or(WINDOWS_1252)
}

/// ISO 2022 code extension: the designations PS3.3 table C.12-3 and C.12-4 allow, a run at a time.
fn iso2022(bytes: &[u8], charsets: &[&str]) -> String {
    let first = charsets.first().map_or("", |c| c.trim());
    let initial = if first.is_empty() { WINDOWS_1252 } else { by_term(first) };
    let mut out = String::new();
    let (mut encoding, mut at) = (initial, 0);
    while at < bytes.len() {
        if bytes[at] == 0x1B {
            let rest = &bytes[at + 1..];
            let (next, skip, keep_escape) = match rest {
                [b'$', b')', b'A', ..] => (GB18030, 4, false),
                [b'$', b')', b'C', ..] => (EUC_KR, 4, false),
                [b'$', b'B' | b'@', ..] => (ISO_2022_JP, 3, true),
                [b'$', b'(', b'D', ..] => (ISO_2022_JP, 4, true),
                [b'(', b'I' | b'J', ..] => (SHIFT_JIS, 3, false),
                [b'(', b'B', ..] => (initial, 3, false),
                [b')', b'I', ..] => (SHIFT_JIS, 3, false),
                [b'-', which, ..] => (by_term(latin_part(*which)), 3, false),
                _ => (encoding, 1, false),
            };
            let body = (at + skip).min(bytes.len());
            let end = bytes[body..].iter().position(|b| *b == 0x1B).map_or(bytes.len(), |p| body + p);
            let run = if keep_escape { &bytes[at..end] } else { &bytes[body..end] };
            out.push_str(&next.decode_without_bom_handling(run).0);
            encoding = next;
            at = end;
        } else {
            let end = bytes[at..].iter().position(|b| *b == 0x1B).map_or(bytes.len(), |p| at + p);
            out.push_str(&encoding.decode_without_bom_handling(&bytes[at..end]).0);
            at = end;
        }
    }
    clean(&out)
}

fn latin_part(final_byte: u8) -> &'static str {
    match final_byte {
        b'B' => "101",
        b'C' => "109",
        b'D' => "110",
        b'L' => "144",
        b'G' => "127",
        b'F' => "126",
        b'H' => "138",
        b'M' => "148",
        b'T' => "166",
        _ => "100",
    }
}

/// `YYYYMMDD` (or with separators) to `YYYY-MM-DD`; anything else as it is.
pub(crate) fn date(text: &str) -> String {
    let digits: String =
        text.chars().take_while(|c| *c != 'T' && *c != ' ').filter(char::is_ascii_digit).collect();
    if digits.len() == 8 && text.is_ascii() {
        format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..])
    } else {
        text.trim().to_owned()
    }
}

/// Digits `YYYYMMDD[hh[mm[ss[.fff]]]]` with optional `±hhmm` to local ISO time and offset.
pub(crate) fn compact_time(text: &str) -> (Option<String>, Option<i32>) {
    let text = text.trim();
    let (body, zone) = match text.char_indices().find(|(i, c)| *i >= 8 && matches!(c, '+' | '-' | 'Z')) {
        Some((i, _)) => (&text[..i], Some(&text[i..])),
        None => (text, None),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if !whole.is_ascii() || whole.len() < 8 || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return (None, None);
    }
    // what writers put where a standard demands a time and none is known
    if whole.starts_with("19000101") && whole[8..].bytes().all(|b| b == b'0') {
        return (None, None);
    }
    let part = |a: usize, b: usize| whole.get(a..b).unwrap_or("00");
    let local = civil(part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14), fraction);
    (local, zone.and_then(zone_minutes))
}

/// ISO 8601 `YYYY-MM-DD[T ]hh:mm[:ss[.fff]][zone]`.
pub(crate) fn iso_time(text: &str) -> (Option<String>, Option<i32>) {
    let text = text.trim();
    let Some((day, clock)) = text.split_once(['T', ' ']) else {
        return compact_time(text);
    };
    let cut = clock.find(['+', '-', 'Z']).unwrap_or(clock.len());
    let (hms, zone) = clock.split_at(cut);
    let day = date(day);
    let mut d = day.split('-');
    let (whole, fraction) = hms.split_once('.').unwrap_or((hms, ""));
    let mut t = whole.trim().split(':');
    let next = |it: &mut std::str::Split<'_, char>| it.next().unwrap_or("00").to_owned();
    let (y, mo, da) = (next(&mut d), next(&mut d), next(&mut d));
    let mut tn = || t.next().unwrap_or("00").to_owned();
    let (h, mi, s) = (tn(), tn(), tn());
    (civil(&y, &mo, &da, &h, &mi, &s, fraction), zone_minutes(zone))
}

/// `Z`, `+0800`, `+08:00` to minutes.
pub(crate) fn zone_minutes(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4).unwrap_or("00").parse().ok()?;
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// A civil time as local ISO text, or `None` when it is no time.
pub(crate) fn civil(
    y: &str,
    mo: &str,
    d: &str,
    h: &str,
    mi: &str,
    s: &str,
    fraction: &str,
) -> Option<String> {
    let n = |t: &str| t.trim().parse::<u32>().ok();
    let (y, mo, d, h, mi, s) = (n(y)?, n(mo)?, n(d)?, n(h)?, n(mi)?, n(s)?);
    let lawful = (1900..=2200).contains(&y)
        && (1..=12).contains(&mo)
        && (1..=31).contains(&d)
        && h < 24
        && mi < 60
        && s <= 60;
    if !lawful {
        return None;
    }
    let fraction: String = fraction.chars().take_while(char::is_ascii_digit).take(3).collect();
    let fraction = if fraction.bytes().all(|b| b == b'0') { String::new() } else { format!(".{fraction}") };
    Some(format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_names_come_right_under_right_and_wrong_labels() {
        let gb = GB18030.encode("王^小东").0;
        for (label, repaired) in [("GB18030", false), ("ISO_IR 100", true), ("", true)] {
            let got = dicom(&gb, &[label]);
            assert_eq!((got.text.as_str(), got.repaired), ("王^小东", repaired), "{label}");
        }
        let escaped = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=";
        assert_eq!(dicom(escaped, &["", "ISO 2022 IR 58"]).text, "Zhang^XiaoDong=张^小东=");
    }

    #[test]
    fn a_latin_name_stays_latin() {
        assert_eq!(
            dicom(b"M\xFCller^J\xF6rg", &["ISO_IR 100"]),
            Decoded { text: "Müller^Jörg".into(), repaired: false }
        );
    }

    #[test]
    fn times_keep_their_zone_only_when_stated() {
        assert_eq!(compact_time("20240305093015+0800"), (Some("2024-03-05T09:30:15".into()), Some(480)));
        assert_eq!(compact_time("20130125105919"), (Some("2013-01-25T10:59:19".into()), None));
        assert_eq!(compact_time("2013"), (None, None));
        assert_eq!(compact_time("19000101000000"), (None, None), "the stand-in for an unknown time");
        assert_eq!(iso_time("2008-12-23T19:44:46.123Z"), (Some("2008-12-23T19:44:46.123".into()), Some(0)));
        assert_eq!(iso_time("2008-13-23T19:44:46"), (None, None));
    }
}
