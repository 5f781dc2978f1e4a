//! The paper as SVG in true millimetres.

use std::fmt::Write as _;

use super::Paper;

/// One SVG document; its user unit is the millimetre.
pub fn svg(paper: &Paper) -> String {
    let mut out = String::new();
    let (w, h) = (paper.width, paper.height);
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}mm\" height=\"{h}mm\" viewBox=\"0 0 {w} {h}\">"
    );
    let _ = write!(out, "<rect width=\"{w}\" height=\"{h}\" fill=\"#fff\"/>");
    let [x, y, gw, gh] = paper.grid;
    for (step, width, colour) in [(1.0, 0.08, "#f6c9c9"), (5.0, 0.2, "#e89090")] {
        let mut path = String::new();
        let mut at = 0.0;
        while at <= gw + 1e-9 {
            let _ = write!(path, "M{} {y}v{gh}", x + at);
            at += step;
        }
        at = 0.0;
        while at <= gh + 1e-9 {
            let _ = write!(path, "M{x} {}h{gw}", y + at);
            at += step;
        }
        let _ =
            write!(out, "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"none\"/>");
    }
    for run in paper.pulses.iter().chain(paper.traces.iter().flat_map(|t| &t.runs)) {
        let mut points = String::new();
        for [px, py] in run {
            let _ = write!(points, "{px:.3},{py:.3} ");
        }
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#111\" stroke-width=\"0.25\" stroke-linejoin=\"round\"/>",
            points.trim_end()
        );
    }
    for tick in &paper.pacing {
        let _ = write!(
            out,
            "<path d=\"M{} {}v{}\" stroke=\"#0645ad\" stroke-width=\"0.4\"/>",
            tick.x, tick.y, tick.height
        );
    }
    for label in &paper.labels {
        let text = label.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" font-family=\"sans-serif\" fill=\"#111\">{text}</text>",
            label.x, label.y, label.size
        );
    }
    out.push_str("</svg>");
    out
}
