//! The paper as a one-page PDF 1.4: lines in points computed from millimetres, words in Helvetica, Chinese words in the reader's own
//! Song type (PDF 32000-1 9.7.5.2: STSong-Light under a predefined map is not embedded).
//!
//! Same paper, same bytes: no time and no identifier is written.

use std::fmt::Write as _;

use super::Paper;

/// Points in a millimetre.
const PT: f64 = 72.0 / 25.4;

/// One PDF file.
pub fn pdf(paper: &Paper) -> Vec<u8> {
    let content = content(paper);
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {:.4} {:.4}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
            paper.width * PT,
            paper.height * PT
        ),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-H /DescendantFonts [7 0 R] >>".to_owned(),
        "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) \
         /Supplement 4 >> /DW 1000 /W [1 95 500] /FontDescriptor 8 0 R >>"
            .to_owned(),
        "<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0 /Ascent 880 \
         /Descent -120 /CapHeight 700 /StemV 80 >>"
            .to_owned(),
    ];
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

fn content(paper: &Paper) -> String {
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
        for run in text.chars().collect::<Vec<_>>().chunk_by(|a, b| a.is_ascii() == b.is_ascii()) {
            let (font, shown) = words(run);
            let _ = write!(out, " /{font} {:.3} Tf {shown} Tj", label.size * PT);
        }
        out.push_str(" ET\n");
    }
    out
}

/// Font and string of a run that is ASCII throughout, or nowhere.
fn words(run: &[char]) -> (&'static str, String) {
    if run.iter().all(char::is_ascii) {
        let quoted: String = run
            .iter()
            .map(|c| if matches!(c, '(' | ')' | '\\') { format!("\\{c}") } else { c.to_string() })
            .collect();
        return ("F1", format!("({quoted})"));
    }
    let text: String = run.iter().collect();
    ("F2", format!("<{}>", text.encode_utf16().map(|u| format!("{u:04X}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use crate::draw::{Options, layout, pdf};
    use crate::synth;

    #[test]
    fn the_same_paper_gives_the_same_bytes() {
        let ecg = synth::ecg(&synth::Spec::normal(1));
        let paper = layout(&ecg, &Options::default());
        assert_eq!(pdf(&paper), pdf(&paper));
        assert!(pdf(&paper).ends_with(b"%%EOF\n"));
    }

    #[test]
    fn chinese_words_are_set_in_a_chinese_font_and_brackets_are_quoted() {
        let mut paper = layout(&synth::ecg(&synth::Spec::normal(1)), &Options::default());
        for text in ["张三 M", "a (b) \\"] {
            paper.labels.push(crate::draw::Label { x: 10.0, y: 8.0, size: 3.4, text: text.into() });
        }
        let text = String::from_utf8_lossy(&pdf(&paper)).into_owned();
        assert!(text.contains("<5F204E09> Tj") && text.contains("( M) Tj"), "UTF-16 of 张三, then M");
        assert!(text.contains(r"(a \(b\) \\) Tj"), "quoted");
    }
}
