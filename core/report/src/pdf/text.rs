//! From characters to lines: glyph lookup, missing characters and Chinese line breaking (避头尾).

use std::collections::BTreeSet;

use crate::font::{Face, Fonts};

/// Which face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// One character on paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// What is drawn, and what text extraction finds.
    pub(super) shown: char,
    pub(super) glyph: u16,
    /// Width in ems.
    pub(super) advance: f32,
}

/// Looks characters up and remembers those that the font lacks.
#[derive(Debug)]
pub(super) struct Shaper<'a> {
    fonts: &'a Fonts,
    pub(super) missing: BTreeSet<char>,
}

impl<'a> Shaper<'a> {
    pub(super) fn new(fonts: &'a Fonts) -> Self {
        Self { fonts, missing: BTreeSet::new() }
    }

    pub(super) fn face(&self, weight: Weight) -> &'a Face {
        match weight {
            Weight::Regular => &self.fonts.regular,
            Weight::Bold => &self.fonts.bold,
        }
    }

    /// Glyphs of one paragraph; line feeds count as spaces.
    pub(super) fn shape(&mut self, text: &str, weight: Weight) -> Vec<Unit> {
        let face = self.face(weight);
        let mut units = Vec::with_capacity(text.len() / 2);
        for c in text.chars().filter(|c| !is_invisible(*c)) {
            let c = if c.is_whitespace() && c != '\u{3000}' { ' ' } else { c };
            let unit = match face.glyph(c).filter(|_| !is_private(c)) {
                Some(glyph) => Unit { shown: c, glyph, advance: face.advance(glyph) },
                None => {
                    self.missing.insert(c);
                    let glyph = face.fallback();
                    Unit { shown: FALLBACK, glyph, advance: face.advance(glyph) }
                }
            };
            units.push(unit);
        }
        units
    }
}

/// Stands for a character that the font lacks.
pub(super) const FALLBACK: char = '□';

/// Width in ems.
pub(super) fn width(units: &[Unit]) -> f32 {
    units.iter().map(|u| u.advance).sum()
}

/// Characters without ink: zero-width, variation selectors, soft hyphen, tags.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c, '\u{ad}' | '\r' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Private use: what a font shows there is its own affair.
fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// No line starts with these (GB/T 15834-2011 §5, CLREQ §3.1.3).
fn may_not_start(c: char) -> bool {
    "、。，．；：？！…—～·）〕】》〉」』’”〗％‰℃°′″,.;:?!)]}>%/".contains(c)
}

/// No line ends with these.
fn may_not_end(c: char) -> bool {
    "（〔【《〈「『‘“〖([{<￥$#№".contains(c)
}

/// Inside a Latin word or number: not broken while it fits on a line.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_+.,/:@*×~µ".contains(c) || matches!(c, '\u{c0}'..='\u{24f}' | 'α'..='ω')
}

/// True when a line may end between the two characters.
fn may_break(before: char, after: char) -> bool {
    if after == ' ' || may_not_start(after) || may_not_end(before) {
        return false;
    }
    before == ' ' || !(is_word(before) && is_word(after))
}

/// Breaks one paragraph into lines of at most `width` ems, the first one shorter by `indent`.
///
/// A word or a chain of punctuation that is wider than a line is broken anywhere. Never returns an empty list.
pub(super) fn break_lines(units: &[Unit], width: f32, indent: f32) -> Vec<Vec<Unit>> {
    /// Narrower than this nothing fits; callers have columns of at least three ems.
    const NARROWEST_EM: f32 = 1.5;
    let mut lines = Vec::new();
    let mut start = 0;
    while start < units.len() {
        let room = (width - if lines.is_empty() { indent } else { 0.0 }).max(NARROWEST_EM);
        let (mut end, mut used) = (start, 0.0);
        while end < units.len() {
            // Spaces at the end of a line take no room.
            if units[end].shown != ' ' && used + units[end].advance > room + 1e-3 {
                break;
            }
            used += units[end].advance;
            end += 1;
        }
        if end < units.len() {
            let breakable = |at: &usize| may_break(units[*at - 1].shown, units[*at].shown);
            end = (start + 1..=end).rev().find(breakable).unwrap_or(end.max(start + 1));
        }
        let mut line = units[start..end].to_vec();
        while line.last().is_some_and(|u| u.shown == ' ') {
            line.pop();
        }
        lines.push(line);
        start = end;
        while start < units.len() && units[start].shown == ' ' {
            start += 1;
        }
    }
    if lines.is_empty() {
        lines.push(Vec::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> Vec<Unit> {
        let advance = |c: char| if c.is_ascii() { 0.5 } else { 1.0 };
        text.chars().map(|c| Unit { shown: c, glyph: 1, advance: advance(c) }).collect()
    }

    fn lines(text: &str, width: f32) -> Vec<String> {
        break_lines(&units(text), width, 0.0).iter().map(|l| l.iter().map(|u| u.shown).collect()).collect()
    }

    #[test]
    fn no_line_starts_with_a_closing_mark() {
        assert_eq!(lines("两肺纹理清晰，未见", 6.0), ["两肺纹理清", "晰，未见"]);
        assert_eq!(lines("心影（大）。好", 4.0), ["心影", "（大）。", "好"]);
    }

    #[test]
    fn no_line_ends_with_an_opening_mark() {
        assert_eq!(lines("考虑炎症（右）", 5.0), ["考虑炎症", "（右）"]);
    }

    #[test]
    fn numbers_and_words_stay_whole_while_they_fit() {
        assert_eq!(lines("大小约4.6cm×3.8cm左右", 7.5), ["大小约", "4.6cm×3.8cm左", "右"]);
        assert_eq!(lines("ABCDEFGHIJ", 2.0), ["ABCD", "EFGH", "IJ"]);
    }

    #[test]
    fn the_first_line_is_shorter_by_the_indent() {
        let broken = break_lines(&units("一二三四五六"), 4.0, 2.0);
        assert_eq!(broken.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_chain_of_punctuation_wider_than_the_line_is_broken_all_the_same() {
        assert_eq!(lines("。。。。。", 2.0).len(), 3);
    }

    proptest! {
        #[test]
        fn breaking_loses_nothing_but_spaces(text in "[a-c0-9 ，。（）肺心、.%]{0,80}", width in 2.0_f32..12.0) {
            let joined: String = lines(&text, width).concat().chars().filter(|c| *c != ' ').collect();
            let expected: String = text.chars().filter(|c| *c != ' ').collect();
            prop_assert_eq!(joined, expected);
            for line in break_lines(&units(&text), width, 0.0) {
                prop_assert!(super::width(&line) <= width + 0.01);
            }
        }
    }
}
