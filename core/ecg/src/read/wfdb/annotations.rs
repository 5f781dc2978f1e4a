//! WFDB annotation files (annot(5), MIT format).

use crate::limits::MAX_ITEMS;
use crate::model::Annotation;

/// Codes to the symbols people know, index = code.
const SYMBOLS: [&str; 50] = [
    " ", "N", "L", "R", "a", "V", "F", "J", "A", "S", "E", "j", "/", "Q", "~", " ", "|", " ", "s", "T", "*",
    "D", "\"", "=", "p", "B", "^", "t", "+", "u", "?", "!", "[", "]", "e", "n", "@", "x", "f", "(", ")", "r",
    " ", " ", " ", " ", " ", " ", " ", " ",
];

/// Symbols that mark a beat.
pub const BEATS: &str = "NLRaVFJASEj/Qeenfr?B";

/// Reads an annotation file; what follows a damaged entry is left out and said in the second value.
pub(super) fn read(bytes: &[u8], rate: f64) -> (Vec<Annotation>, Option<String>) {
    let (mut out, mut at, mut sample) = (Vec::new(), 0_usize, 0_i64);
    while let Some([low, high]) = bytes.get(at..at + 2) {
        let word = u16::from_le_bytes([*low, *high]);
        let (kind, delta) = (word >> 10, i64::from(word & 0x3FF));
        at += 2;
        match kind {
            0 if delta == 0 => return (out, None),
            // SKIP: a 32-bit interval, high word first
            59 => {
                let Some([a, b, c, d]) = bytes.get(at..at + 4) else {
                    return (out, Some(format!("cut at byte {at}")));
                };
                sample = sample.saturating_add(i64::from(i32::from_le_bytes([*c, *d, *a, *b])));
                at += 4;
            }
            // NUM, SUB, CHN change fields that are not kept
            60..=62 => {}
            // AUX: text for the last annotation, padded to even length
            63 => {
                let len = delta as usize;
                if let (Some(text), Some(last)) = (bytes.get(at..at + len), out.last_mut()) {
                    let last: &mut Annotation = last;
                    let words = crate::text::eight_bit(text);
                    if !words.is_empty() {
                        last.text = format!("{} {words}", last.text);
                    }
                }
                at += len + len % 2;
            }
            _ => {
                sample = sample.saturating_add(delta);
                if out.len() >= MAX_ITEMS {
                    return (out, Some(format!("more than {MAX_ITEMS} annotations")));
                }
                let text = SYMBOLS.get(usize::from(kind)).copied().unwrap_or("?").to_owned();
                out.push(Annotation { at_s: sample as f64 / rate, text });
            }
        }
    }
    (out, None)
}
