//! Guessing what a device meant when its bytes are not in the set it declares.
//!
//! Common in China: GBK bytes with no SpecificCharacterSet or under ISO_IR 100, UTF-8 under anything, GBK under
//! ISO_IR 192. A guess must explain every byte and be of the writing expected; otherwise the declaration stands.

/// What the file declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// Nothing: seven bits.
    Nothing,
    Latin1,
    Utf8,
    Chinese,
    Other,
}

/// A better reading than the declared one, if the bytes speak for it. `bytes` hold at least one high byte.
pub(super) fn better(declared: Declared, reading: Option<&str>, bytes: &[u8]) -> Option<String> {
    let utf8 = std::str::from_utf8(bytes).ok();
    match declared {
        Declared::Nothing | Declared::Latin1 => {
            utf8.map(str::to_owned).or_else(|| chinese(bytes).filter(|_| looks_chinese(bytes)))
        }
        Declared::Utf8 if reading.is_none() => chinese(bytes),
        // Three-byte UTF-8 of common Han characters is hardly ever lawful by chance: believe it.
        Declared::Chinese => utf8.filter(|text| text.chars().any(is_common_han)).map(str::to_owned),
        Declared::Utf8 | Declared::Other if reading.is_some() => None,
        Declared::Other => utf8.map(str::to_owned).or_else(|| chinese(bytes)),
        Declared::Utf8 => None,
    }
}

/// The bytes as GB18030 if that explains all of them and yields Chinese writing only.
#[must_use]
pub fn chinese(bytes: &[u8]) -> Option<String> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let written = |c: char| c.is_ascii() || is_han(c) || is_chinese_mark(c);
    (text.chars().all(written) && text.chars().any(is_han)).then(|| text.into_owned())
}

/// Evidence for GBK against Latin-1, from the bytes: `Müller` and `Größmann` are lawful GBK too.
///
/// A pair of bytes from 0xA1 on is GB2312 (+2); a byte 0x80..0x9F is no Latin-1 character (+3); a character whose
/// second byte is below 0x80 looks like a Latin word (−1); a lower-case letter directly beside what would be accented
/// letters speaks for a Latin word (−2 a side).
fn looks_chinese(bytes: &[u8]) -> bool {
    let mut score = 0i32;
    let mut at = 0;
    while let Some(&lead) = bytes.get(at) {
        if lead < 0x80 {
            at += 1;
            continue;
        }
        let Some(&trail) = bytes.get(at + 1) else { break };
        let width = if trail.is_ascii_digit() { 4 } else { 2 };
        let accented = lead >= 0xC0 && !(0x80..0xC0).contains(&trail);
        score += match trail {
            _ if width == 4 || lead < 0xA0 || (0x80..0xA0).contains(&trail) => 3,
            0xA0.. => 2,
            _ => -1,
        };
        if accented {
            let before = at.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_lowercase);
            let after = bytes.get(at + width).is_some_and(u8::is_ascii_lowercase);
            score -= 2 * (i32::from(before) + i32::from(after));
        }
        at += width;
    }
    score > 0
}

const fn is_common_han(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}')
}

const fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// What stands between Han characters: punctuation, full-width forms, Bopomofo, ordinals, units, the name dot.
const fn is_chinese_mark(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{303F}' | '\u{3105}'..='\u{312F}' | '\u{FF00}'..='\u{FFEF}' | '\u{2000}'..='\u{206F}'
        | '\u{2160}'..='\u{217F}' | '\u{2460}'..='\u{24FF}' | '\u{3200}'..='\u{33FF}' | '·' | '°' | '±' | '×'
        | '\u{2C7}' | '\u{2C9}'..='\u{2CB}' | '\u{2D9}')
}
