//! Code extension by escape sequences (ISO 2022 as PS3.3 §C.12.1.1.2 and PS3.5 §6.1.2.5 use it).

use super::Field;
use encoding_rs::Encoding;

/// What bytes below 0x80 mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum G0 {
    Ascii,
    JisX0208,
    JisX0212,
    Gb2312,
}

/// What bytes from 0x80 on mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum G1 {
    None,
    Latin1,
    Katakana,
    Gb2312,
    KsX1001,
    Single(&'static Encoding),
}

impl G1 {
    /// What a value begins with under this (normalised) first term.
    pub(super) fn of_term(term: &str) -> Self {
        let number = term.strip_prefix("ISO 2022 IR ").or_else(|| term.strip_prefix("ISO IR "));
        match number.unwrap_or(term) {
            "13" => Self::Katakana,
            "58" | "GB2312" | "GBK" | "GB18030" => Self::Gb2312,
            "149" => Self::KsX1001,
            "100" => Self::Latin1,
            other => Self::of_number(other),
        }
    }

    fn of_number(number: &str) -> Self {
        match number {
            "101" => Self::Single(encoding_rs::ISO_8859_2),
            "109" => Self::Single(encoding_rs::ISO_8859_3),
            "110" => Self::Single(encoding_rs::ISO_8859_4),
            "126" => Self::Single(encoding_rs::ISO_8859_7),
            "127" => Self::Single(encoding_rs::ISO_8859_6),
            "138" => Self::Single(encoding_rs::ISO_8859_8),
            "144" => Self::Single(encoding_rs::ISO_8859_5),
            "148" => Self::Single(encoding_rs::WINDOWS_1254),
            "166" => Self::Single(encoding_rs::WINDOWS_874),
            "203" => Self::Single(encoding_rs::ISO_8859_15),
            _ => Self::None,
        }
    }
}

/// An escape sequence and what it designates.
#[derive(Debug, Clone, Copy)]
enum Designation {
    ToG0(G0),
    ToG1(G1),
}

/// Escape sequences of PS3.3 Table C.12-3 and -4, longest first, and two older forms met in the field.
fn designation(bytes: &[u8]) -> Option<(usize, Designation)> {
    use Designation::{ToG0, ToG1};
    let table: [(&[u8], Designation); 23] = [
        (b"\x1B$)A", ToG1(G1::Gb2312)),
        (b"\x1B$)C", ToG1(G1::KsX1001)),
        (b"\x1B$(D", ToG0(G0::JisX0212)),
        (b"\x1B$(B", ToG0(G0::JisX0208)),
        (b"\x1B$B", ToG0(G0::JisX0208)),
        (b"\x1B$@", ToG0(G0::JisX0208)),
        (b"\x1B$A", ToG0(G0::Gb2312)),
        (b"\x1B(B", ToG0(G0::Ascii)),
        (b"\x1B(J", ToG0(G0::Ascii)),
        (b"\x1B)I", ToG1(G1::Katakana)),
        (b"\x1B-A", ToG1(G1::Latin1)),
        (b"\x1B-B", ToG1(G1::Single(encoding_rs::ISO_8859_2))),
        (b"\x1B-C", ToG1(G1::Single(encoding_rs::ISO_8859_3))),
        (b"\x1B-D", ToG1(G1::Single(encoding_rs::ISO_8859_4))),
        (b"\x1B-F", ToG1(G1::Single(encoding_rs::ISO_8859_7))),
        (b"\x1B-G", ToG1(G1::Single(encoding_rs::ISO_8859_6))),
        (b"\x1B-H", ToG1(G1::Single(encoding_rs::ISO_8859_8))),
        (b"\x1B-L", ToG1(G1::Single(encoding_rs::ISO_8859_5))),
        (b"\x1B-M", ToG1(G1::Single(encoding_rs::WINDOWS_1254))),
        (b"\x1B-T", ToG1(G1::Single(encoding_rs::WINDOWS_874))),
        (b"\x1B-b", ToG1(G1::Single(encoding_rs::ISO_8859_15))),
        (b"\x1B(I", ToG1(G1::Katakana)),
        (b"\x1B)A", ToG1(G1::Gb2312)),
    ];
    table.into_iter().find(|(escape, _)| bytes.starts_with(escape)).map(|(escape, what)| (escape.len(), what))
}

/// The outcome of a decoding.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) text: String,
    pub(super) repaired: bool,
    pub(super) unreadable: bool,
}

/// Decodes bytes with escapes. Delimiters reset to the initial state; a high byte that then has no meaning is read
/// in the set last designated (devices forget to renew the escape), and that is marked as a repair.
pub(super) fn decode(bytes: &[u8], initial: G1, field: Field) -> Out {
    let (mut g0, mut g1, mut last) = (G0::Ascii, initial, initial);
    let mut out = Out { text: String::new(), repaired: false, unreadable: false };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == 0x1B {
            match designation(&bytes[at..]) {
                Some((length, what)) => {
                    at += length;
                    match what {
                        Designation::ToG0(set) => g0 = set,
                        Designation::ToG1(set) => {
                            (g1, last) = (set, set);
                            g0 = G0::Ascii;
                        }
                    }
                }
                None => {
                    out.text.push(char::REPLACEMENT_CHARACTER);
                    out.unreadable = true;
                    at += 1;
                }
            }
            continue;
        }
        if byte < 0x80 {
            if g0 != G0::Ascii && byte > 0x20 && bytes.get(at + 1).is_some_and(|b| (0x21..0x7F).contains(b)) {
                let pair = [byte | 0x80, bytes[at + 1] | 0x80];
                push(&mut out, g0_encoding(g0), &pair, g0 == G0::JisX0212);
                at += 2;
                continue;
            }
            if ends_run(byte, field) {
                (g0, g1) = (G0::Ascii, initial);
            }
            out.text.push(char::from(byte));
            at += 1;
            continue;
        }
        let set = if g1 == G1::None {
            out.repaired = true;
            last
        } else {
            g1
        };
        at += high(&mut out, set, &bytes[at..]);
    }
    out
}

/// Delimiters after which the initial state holds again (PS3.5 §6.1.2.5.3).
const fn ends_run(byte: u8, field: Field) -> bool {
    match byte {
        b'\t' | b'\n' | 0x0C | b'\r' => true,
        b'\\' => !matches!(field, Field::Paragraph),
        b'^' | b'=' => matches!(field, Field::Name),
        _ => false,
    }
}

fn g0_encoding(g0: G0) -> &'static Encoding {
    if g0 == G0::Gb2312 { encoding_rs::GBK } else { encoding_rs::EUC_JP }
}

fn push(out: &mut Out, encoding: &'static Encoding, pair: &[u8; 2], jis_x0212: bool) {
    let three = [0x8F, pair[0], pair[1]];
    let bytes: &[u8] = if jis_x0212 { &three } else { pair };
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => out.text.push_str(&text),
        None => {
            out.text.push(char::REPLACEMENT_CHARACTER);
            out.unreadable = true;
        }
    }
}

/// Decodes what begins with a high byte; returns how many bytes that took.
fn high(out: &mut Out, set: G1, bytes: &[u8]) -> usize {
    let byte = bytes[0];
    let encoding = match set {
        G1::Gb2312 => encoding_rs::GBK,
        G1::KsX1001 => encoding_rs::EUC_KR,
        G1::Katakana => encoding_rs::SHIFT_JIS,
        G1::Single(encoding) => encoding,
        G1::Latin1 | G1::None => {
            out.text.push(char::from(byte));
            return 1;
        }
    };
    let width = if matches!(set, G1::Gb2312 | G1::KsX1001) { 2 } else { 1 };
    let Some(unit) = bytes.get(..width) else {
        out.text.push(char::REPLACEMENT_CHARACTER);
        out.unreadable = true;
        return bytes.len();
    };
    match encoding.decode_without_bom_handling_and_without_replacement(unit) {
        Some(text) => {
            out.text.push_str(&text);
            width
        }
        None => {
            out.text.push(char::REPLACEMENT_CHARACTER);
            out.unreadable = true;
            1
        }
    }
}
