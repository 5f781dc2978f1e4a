//! Text of medical devices: bytes to Unicode, honest about every guess.
//!
//! SpecificCharacterSet (PS3.3 §C.12.1.1.2) is obeyed where it is true. In the field it is often missing, misspelt or
//! wrong; then the bytes themselves decide, and the result carries `repaired`. Delimiters (`^ = \`) are only looked
//! for in decoded text: the second byte of a GBK character may be 0x5C, 0x5E or 0x7C.

mod iso2022;
mod repair;

pub use repair::chinese;

use encoding_rs::Encoding;
use std::borrow::Cow;

/// What kind of value the bytes are: decides where ISO 2022 escapes end (PS3.5 §6.1.2.5.3) and what is trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A person name (PN): `^` and `=` delimit too.
    Name,
    /// A short text (SH, LO): one line.
    Line,
    /// A long text (ST, LT, UT): no backslash delimiter.
    Paragraph,
}

/// Decoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text, padding cut off; control characters are still in it (see [`visible`]).
    pub text: String,
    /// The bytes were not in the declared character set; another one explains all of them.
    pub repaired: bool,
    /// No known character set explains the bytes; U+FFFD stands for what is lost.
    pub unreadable: bool,
}

/// One coded character set without code extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// ISO 646, the default repertoire: seven bits.
    Ascii,
    /// ISO 8859-1: every byte is a character.
    Latin1,
    /// Anything that encoding_rs decodes.
    Web(&'static Encoding),
}

/// What SpecificCharacterSet declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charset {
    first: Set,
    /// A term that PS3.3 does not know, or knows only in another spelling.
    odd_term: bool,
    declared: bool,
    initial_g1: iso2022::G1,
}

impl Charset {
    /// Reads the element's text, such as `GB18030`, `\ISO 2022 IR 58` or empty. Misspelt terms are understood.
    #[must_use]
    pub fn of(raw: &str) -> Self {
        let terms: Vec<String> = raw.split('\\').map(normalise).collect();
        let first_term = terms.iter().find(|term| !term.is_empty()).filter(|_| !terms[0].is_empty());
        let first = first_term.map_or(Some(Set::Ascii), |term| set_of(term));
        // The first term unknown but another known: take that one.
        let fallback = || terms.iter().skip(1).find_map(|term| set_of(term)).unwrap_or(Set::Ascii);
        Self {
            odd_term: first.is_none(),
            declared: terms.iter().any(|term| !term.is_empty()),
            initial_g1: first_term.map_or(iso2022::G1::None, |term| iso2022::G1::of_term(term)),
            first: first.unwrap_or_else(fallback),
        }
    }

    /// Decodes a value.
    #[must_use]
    pub fn decode(&self, bytes: &[u8], field: Field) -> Decoded {
        let mut decoded = self.decode_whole(trim(bytes), field);
        if field == Field::Name {
            // Empty groups at the end of a name say nothing (PS3.5 §6.2.1.1).
            decoded.text.truncate(decoded.text.trim_end_matches('=').len());
        }
        decoded
    }

    fn decode_whole(&self, bytes: &[u8], field: Field) -> Decoded {
        if bytes.contains(&0x1B) {
            let out = iso2022::decode(bytes, self.initial_g1, field);
            return finish(out.text, out.repaired || (!self.declared && !out.unreadable), out.unreadable);
        }
        if bytes.is_ascii() {
            return finish(String::from_utf8_lossy(bytes).into_owned(), false, false);
        }
        let declared = self.strict(bytes);
        if let Some(better) = repair::better(self.family(), declared.as_deref(), bytes) {
            return finish(better, true, false);
        }
        match declared {
            Some(text) => finish(text.into_owned(), self.odd_term, false),
            // Undeclared high bytes that are neither UTF-8 nor Chinese: Latin-1 loses nothing.
            None if self.first == Set::Ascii => finish(latin1(bytes), true, false),
            None => match self.first {
                Set::Web(encoding) => finish(lossy(encoding, bytes), false, true),
                Set::Ascii | Set::Latin1 => finish(latin1(bytes), true, false),
            },
        }
    }

    fn strict<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
        match self.first {
            Set::Ascii => None,
            Set::Latin1 => Some(Cow::Owned(latin1(bytes))),
            Set::Web(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }

    fn family(&self) -> repair::Declared {
        match self.first {
            Set::Ascii => repair::Declared::Nothing,
            Set::Web(encoding) if encoding == encoding_rs::UTF_8 => repair::Declared::Utf8,
            Set::Web(encoding) if encoding == encoding_rs::GB18030 || encoding == encoding_rs::GBK => {
                repair::Declared::Chinese
            }
            Set::Latin1 => repair::Declared::Latin1,
            Set::Web(_) => repair::Declared::Other,
        }
    }
}

/// Upper case, words joined by one space: `iso-ir_192` becomes `ISO IR 192`.
fn normalise(term: &str) -> String {
    let upper = term.trim_matches(['\0', ' ']).to_ascii_uppercase().replace(['_', '-'], " ");
    upper.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The set of a normalised term, in the spelling of PS3.3 or one met in the field.
fn set_of(term: &str) -> Option<Set> {
    let number = term.strip_prefix("ISO 2022 IR ").or_else(|| term.strip_prefix("ISO IR "));
    let number = number.or_else(|| term.strip_prefix("ISO IR").filter(|n| n.parse::<u16>().is_ok()));
    Some(match number.unwrap_or(term) {
        "6" | "ASCII" | "ISO 646" => Set::Ascii,
        "100" | "ISO 8859 1" | "LATIN1" => Set::Latin1,
        "101" => Set::Web(encoding_rs::ISO_8859_2),
        "109" => Set::Web(encoding_rs::ISO_8859_3),
        "110" => Set::Web(encoding_rs::ISO_8859_4),
        "126" => Set::Web(encoding_rs::ISO_8859_7),
        "127" => Set::Web(encoding_rs::ISO_8859_6),
        "138" => Set::Web(encoding_rs::ISO_8859_8),
        "144" => Set::Web(encoding_rs::ISO_8859_5),
        "148" => Set::Web(encoding_rs::WINDOWS_1254),
        "166" => Set::Web(encoding_rs::WINDOWS_874),
        "203" => Set::Web(encoding_rs::ISO_8859_15),
        "13" => Set::Web(encoding_rs::SHIFT_JIS),
        "87" | "159" => Set::Web(encoding_rs::EUC_JP),
        "149" => Set::Web(encoding_rs::EUC_KR),
        "58" | "GB2312" | "GB 2312" | "GBK" | "GB18030" | "GB 18030" | "CP936" | "EUC CN" => {
            Set::Web(encoding_rs::GB18030)
        }
        "192" | "UTF 8" | "UTF8" => Set::Web(encoding_rs::UTF_8),
        _ => return None,
    })
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

fn lossy(encoding: &'static Encoding, bytes: &[u8]) -> String {
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// Cuts padding: NUL and space at the end, space at the start.
fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |at| at + 1);
    let bytes = &bytes[..end];
    let start = bytes.iter().position(|b| *b != b' ').unwrap_or(bytes.len());
    &bytes[start..]
}

fn finish(text: String, repaired: bool, unreadable: bool) -> Decoded {
    Decoded { text, repaired, unreadable }
}

/// Text fit for one line on a screen or in a log: control characters become a visible mark, and the characters that
/// turn the writing direction are removed, so that a name cannot forge what stands beside it.
#[must_use]
pub fn visible(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let mark = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '\u{2423}' } else { c };
    text.chars().filter(|c| !turns(*c)).map(mark).collect()
}

/// A person name as people write it: of a DICOM name (PS3.5 §6.2.1.2) the ideographic group where it can be read, else the
/// alphabetic, else the phonetic one, its components in order; Chinese ones without a space.
#[must_use]
pub fn written_name(name: &str) -> String {
    let groups: Vec<String> = name.split('=').take(3).map(written_group).collect();
    let readable = |group: &&String| !group.is_empty() && !group.contains('\u{FFFD}');
    let order = || [1, 0, 2].iter().filter_map(|i| groups.get(*i));
    order().find(readable).or_else(|| order().find(|group| !group.is_empty())).cloned().unwrap_or_default()
}

fn written_group(group: &str) -> String {
    let parts: Vec<&str> = group.split('^').map(str::trim).filter(|part| !part.is_empty()).collect();
    let chinese = group.chars().any(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}'));
    visible(parts.join(if chinese { "" } else { " " }).trim())
}

#[cfg(test)]
mod tests;
