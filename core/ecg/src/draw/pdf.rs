//! The paper as a one-page PDF 1.4: lines in points computed from millimetres, words in Helvetica. Other letters are drawn from the
//! outlines the caller hands over, kept in the document as a Type 3 font (PDF 32000-1 9.6.5); letters he has none for are left to the
//! reader's own Song type (9.7.5.2: STSong-Light under a predefined map is not embedded).
//!
//! Same paper, same outlines, same bytes: no time and no identifier is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Paper;

/// Points in a millimetre.
const PT: f64 = 72.0 / 25.4;
/// Letters of a Type 3 font: its codes are one byte, and 0 is left out.
const MAX_LETTERS: usize = 255;

/// A step of an outline, in thousandths of the letter's size, y upwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A contour begins.
    Move([f64; 2]),
    /// A straight line.
    Line([f64; 2]),
    /// A cubic curve: two control points and its end.
    Curve([f64; 2], [f64; 2], [f64; 2]),
    /// The contour ends where it began.
    Close,
}

/// A letter: its width in thousandths of its size, and its contours, filled by the non-zero rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Glyph {
    /// Distance to the next letter.
    pub advance: f64,
    /// Contours.
    pub outline: Vec<Step>,
}

/// One PDF file. `glyph` gives the shape of letters beyond ASCII, from a font the caller has; `None` = not in it.
pub fn pdf(paper: &Paper, glyph: &dyn Fn(char) -> Option<Glyph>) -> Vec<u8> {
    let words = Words::of(paper, glyph);
    let content = content(paper, &words);
    let own = if words.glyphs.is_empty() { "" } else { " /F3 9 0 R" };
    // named only where it is needed: a reader without that type complains of its name alone
    let song = if words.all_drawn(paper) { "" } else { " /F2 6 0 R" };
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {:.4} {:.4}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R{song}{own} >> >> >>",
            paper.width * PT,
            paper.height * PT
        ),
        stream(&content),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-H /DescendantFonts [7 0 R] >>".to_owned(),
        "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) \
         /Supplement 4 >> /DW 1000 /W [1 95 500] /FontDescriptor 8 0 R >>"
            .to_owned(),
        "<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0 /Ascent 880 \
         /Descent -120 /CapHeight 700 /StemV 80 >>"
            .to_owned(),
    ];
    words.font(&mut objects);
    let mut out = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        places.push(out.len());
        let _ = write!(out, "{} 0 obj\n{object}\nendobj\n", n + 1);
    }
    let start = out.len();
    let _ = write!(out, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for place in places {
        let _ = writeln!(out, "{place:010} 00000 n ");
    }
    let _ =
        write!(out, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    out.into_bytes()
}

fn stream(content: &str) -> String {
    format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len())
}

/// The letters beyond ASCII that the caller had outlines for, numbered from 1.
struct Words {
    glyphs: Vec<(char, Glyph)>,
    codes: BTreeMap<char, usize>,
}

impl Words {
    fn of(paper: &Paper, glyph: &dyn Fn(char) -> Option<Glyph>) -> Self {
        let (mut glyphs, mut codes) = (Vec::new(), BTreeMap::new());
        for c in paper.labels.iter().flat_map(|l| l.text.chars()).filter(|c| !c.is_ascii() && *c != '—') {
            if glyphs.len() == MAX_LETTERS || codes.contains_key(&c) {
                continue;
            }
            if let Some(shape) = glyph(c) {
                glyphs.push((c, shape));
                codes.insert(c, glyphs.len());
            }
        }
        Self { glyphs, codes }
    }

    /// No letter is left to the reader's own type.
    fn all_drawn(&self, paper: &Paper) -> bool {
        paper.labels.iter().flat_map(|l| l.text.chars()).all(|c| c == '—' || self.face(c) != "F2")
    }

    /// Font a letter is set in.
    fn face(&self, c: char) -> &'static str {
        match c {
            _ if c.is_ascii() => "F1",
            _ if self.codes.contains_key(&c) => "F3",
            _ => "F2",
        }
    }

    /// The string of a run that is of one font.
    fn string(&self, face: &str, run: &[char]) -> String {
        let hex: String = match face {
            "F1" => {
                let quoted = run.iter().map(|c| match c {
                    '(' | ')' | '\\' => format!("\\{c}"),
                    _ => c.to_string(),
                });
                return format!("({})", quoted.collect::<String>());
            }
            "F3" => run.iter().filter_map(|c| self.codes.get(c)).map(|n| format!("{n:02X}")).collect(),
            _ => run.iter().collect::<String>().encode_utf16().map(|u| format!("{u:04X}")).collect(),
        };
        format!("<{hex}>")
    }

    /// Object 9 and what it names: the Type 3 font, its map to Unicode, a drawing a letter.
    fn font(&self, objects: &mut Vec<String>) {
        if self.glyphs.is_empty() {
            return;
        }
        let (mut names, mut programs, mut widths) = (String::new(), String::new(), String::new());
        let first = objects.len() + 3;
        for (n, (_, glyph)) in self.glyphs.iter().enumerate() {
            let _ = write!(names, " /g{}", n + 1);
            let _ = write!(programs, " /g{} {} 0 R", n + 1, first + n);
            let _ = write!(widths, " {:.0}", glyph.advance);
        }
        objects.push(format!(
            "<< /Type /Font /Subtype /Type3 /FontBBox [0 0 0 0] /FontMatrix [0.001 0 0 0.001 0 0] /FirstChar 1 /LastChar {} \
             /Encoding << /Type /Encoding /Differences [1{names}] >> /CharProcs <<{programs} >> /Widths [{widths} ] \
             /Resources << >> /ToUnicode {} 0 R >>",
            self.glyphs.len(),
            objects.len() + 2
        ));
        objects.push(stream(&self.to_unicode()));
        objects.extend(self.glyphs.iter().map(|(_, glyph)| stream(&drawing(glyph))));
    }

    /// What each code means, for those who search and copy (9.10.3).
    fn to_unicode(&self) -> String {
        let mut out = String::from(
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n/CMapName /Letters def /CMapType 2 def\n\
             1 begincodespacerange <01> <FF> endcodespacerange\n",
        );
        // at most a hundred lines stand in one block
        for (block, some) in self.glyphs.chunks(100).enumerate() {
            let _ = writeln!(out, "{} beginbfchar", some.len());
            for (n, (c, _)) in some.iter().enumerate() {
                let utf16: String = c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("{u:04X}")).collect();
                let _ = writeln!(out, "<{:02X}> <{utf16}>", block * 100 + n + 1);
            }
            out.push_str("endbfchar\n");
        }
        out.push_str("endcmap CMapName currentdict /CMap defineresource pop end end");
        out
    }
}

fn drawing(glyph: &Glyph) -> String {
    let mut out = format!("{:.0} 0 d0\n", glyph.advance);
    for step in &glyph.outline {
        let _ = match step {
            Step::Move([x, y]) => writeln!(out, "{x:.1} {y:.1} m"),
            Step::Line([x, y]) => writeln!(out, "{x:.1} {y:.1} l"),
            Step::Curve([a, b], [c, d], [x, y]) => {
                writeln!(out, "{a:.1} {b:.1} {c:.1} {d:.1} {x:.1} {y:.1} c")
            }
            Step::Close => writeln!(out, "h"),
        };
    }
    if !glyph.outline.is_empty() {
        out.push('f');
    }
    out
}

fn content(paper: &Paper, words: &Words) -> String {
    let up = |y: f64| (paper.height - y) * PT;
    let mut out = String::from("1 J 1 j\n");
    let [x, y, w, h] = paper.grid;
    for (step, width, colour) in [(1.0, 0.08, "0.965 0.79 0.79"), (5.0, 0.2, "0.91 0.565 0.565")] {
        let _ = writeln!(out, "{colour} RG {:.3} w", width * PT);
        let mut at = 0.0;
        while at <= w + 1e-9 {
            let px = (x + at) * PT;
            let _ = writeln!(out, "{px:.3} {:.3} m {px:.3} {:.3} l", up(y), up(y + h));
            at += step;
        }
        at = 0.0;
        while at <= h + 1e-9 {
            let py = up(y + at);
            let _ = writeln!(out, "{:.3} {py:.3} m {:.3} {py:.3} l", x * PT, (x + w) * PT);
            at += step;
        }
        out.push_str("S\n");
    }
    let _ = writeln!(out, "0.07 G {:.3} w", 0.25 * PT);
    for run in paper.pulses.iter().chain(paper.traces.iter().flat_map(|t| &t.runs)) {
        for (n, [px, py]) in run.iter().enumerate() {
            let _ = writeln!(out, "{:.3} {:.3} {}", px * PT, up(*py), if n == 0 { "m" } else { "l" });
        }
        out.push_str("S\n");
    }
    let _ = writeln!(out, "0.02 0.27 0.68 RG {:.3} w", 0.4 * PT);
    for tick in &paper.pacing {
        let _ = writeln!(
            out,
            "{0:.3} {1:.3} m {0:.3} {2:.3} l S",
            tick.x * PT,
            up(tick.y),
            up(tick.y + tick.height)
        );
    }
    for label in &paper.labels {
        let text = label.text.replace('—', "-");
        let _ = write!(out, "BT 0.07 g {:.3} {:.3} Td", label.x * PT, up(label.y));
        // run by run: a reader without the Chinese font still shows numbers and Latin letters
        for run in text.chars().collect::<Vec<_>>().chunk_by(|a, b| words.face(*a) == words.face(*b)) {
            let face = run.first().map_or("F1", |c| words.face(*c));
            let _ = write!(out, " /{face} {:.3} Tf {} Tj", label.size * PT, words.string(face, run));
        }
        out.push_str(" ET\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Glyph, Step};
    use crate::draw::{Options, layout, pdf};
    use crate::synth;

    #[test]
    fn the_same_paper_gives_the_same_bytes() {
        let ecg = synth::ecg(&synth::Spec::normal(1));
        let paper = layout(&ecg, &Options::default());
        assert_eq!(pdf(&paper, &|_| None), pdf(&paper, &|_| None));
        assert!(pdf(&paper, &|_| None).ends_with(b"%%EOF\n"));
        assert!(
            !String::from_utf8_lossy(&pdf(&paper, &|_| None)).contains("/F2 6 0 R"),
            "named and not needed"
        );
    }

    #[test]
    fn chinese_words_are_set_in_a_chinese_font_and_brackets_are_quoted() {
        let mut paper = layout(&synth::ecg(&synth::Spec::normal(1)), &Options::default());
        for text in ["张三 M", "a (b) \\"] {
            paper.labels.push(crate::draw::Label { x: 10.0, y: 8.0, size: 3.4, text: text.into() });
        }
        let text = String::from_utf8_lossy(&pdf(&paper, &|_| None)).into_owned();
        assert!(text.contains("<5F204E09> Tj") && text.contains("( M) Tj"), "UTF-16 of 张三, then M");
        assert!(text.contains(r"(a \(b\) \\) Tj"), "quoted");
    }

    #[test]
    fn letters_with_an_outline_stand_in_the_document() {
        let mut paper = layout(&synth::ecg(&synth::Spec::normal(1)), &Options::default());
        paper.labels.push(crate::draw::Label { x: 10.0, y: 8.0, size: 3.4, text: "张三张䶮".into() });
        let square = |c: char| {
            let outline = vec![Step::Move([0.0, 0.0]), Step::Line([880.0, 0.0]), Step::Close];
            (c != '䶮').then_some(Glyph { advance: 1000.0, outline })
        };
        let text = String::from_utf8_lossy(&pdf(&paper, &square)).into_owned();
        assert!(text.contains("/F1 5 0 R /F2 6 0 R /F3 9 0 R"));
        assert!(
            text.contains("/F3 9.638 Tf <010201> Tj /F2 9.638 Tf <4DAE> Tj"),
            "three of one font, one of the reader's"
        );
        assert!(text.contains("<01> <5F20>\n<02> <4E09>"), "they can be searched for");
        assert!(text.contains("1000 0 d0\n0.0 0.0 m\n880.0 0.0 l\nh\nf"));
    }
}
