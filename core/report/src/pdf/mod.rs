//! The report as a PDF/A-2b file: own layout, drawn with krilla.
//!
//! Same content, same fonts → same bytes: dates come from the content, the document id from its canonical form.

mod ecg;
mod flow;
mod form;
mod plan;
mod text;

use std::collections::BTreeSet;

use krilla::Document;
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::geom::{PathBuilder, Point, Rect, Transform};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule, Stroke};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use sha2::{Digest, Sha256};

pub use ecg::{
    DRAWING_MAX_HEIGHT_MM, DRAWING_MAX_LABELS, DRAWING_MAX_POINTS, DRAWING_MAX_WIDTH_MM, EcgDrawing, EcgLabel,
};

use crate::content::{ReportContent, UtcMillis};
use crate::error::RenderError;
use crate::fhir::{canonical_json, canonical_plan_json};
use crate::font::Fonts;
use crate::plan::TreatmentPlan;
use flow::{Density, Flow, Ink, Op, Page};
use form::Frame;
use text::{Shaper, Unit, Weight};

/// Code points of missing characters that are printed; the whole list is in [`RenderedPdf::missing_chars`].
const MAX_PRINTED_MISSING: usize = 12;

/// A finished PDF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPdf {
    /// The file.
    pub bytes: Vec<u8>,
    /// Number of pages.
    pub pages: usize,
    /// Characters that the font lacks, in code point order; each was printed as □ and named in a note.
    pub missing_chars: Vec<char>,
}

/// Renders a report.
///
/// # Errors
/// A field that breaks a rule, too many pages, an unreadable font file.
pub fn render_pdf(report: &ReportContent, fonts: &Fonts) -> Result<RenderedPdf, RenderError> {
    render_pdf_with(report, None, fonts)
}

/// Renders a report, with an ECG drawing on a last landscape page.
///
/// # Errors
/// As [`render_pdf`]; also a drawing that does not fit on its page.
pub fn render_pdf_with(
    report: &ReportContent,
    drawing: Option<&EcgDrawing>,
    fonts: &Fonts,
) -> Result<RenderedPdf, RenderError> {
    let canonical = canonical_json(report)?;
    let frame = Frame::of_report(report);
    let mut flow = lay_out(fonts, &frame, |flow| form::compose(flow, report))?;
    if let Some(drawing) = drawing {
        ecg::compose(&mut flow, drawing)?;
    }
    let about = About {
        title: format!("{}{} {} v{}", frame.hospital, frame.title, report.report_no, report.version),
        author: report.author.name.clone(),
        issued_at: report.issued_at(),
        canonical: &canonical,
    };
    finish(flow, &frame, &about)
}

/// Renders a treatment plan.
///
/// # Errors
/// A field that breaks a rule, too many pages, an unreadable font file.
pub fn render_plan_pdf(plan: &TreatmentPlan, fonts: &Fonts) -> Result<RenderedPdf, RenderError> {
    let canonical = canonical_plan_json(plan)?;
    let frame = plan::frame(plan);
    let flow = lay_out(fonts, &frame, |flow| plan::compose(flow, plan))?;
    let about = About {
        title: format!("{}{} {} v{}", frame.hospital, frame.title, plan.plan_id, plan.version),
        author: plan.author.name.clone(),
        issued_at: plan.author.signed_at,
        canonical: &canonical,
    };
    finish(flow, &frame, &about)
}

/// Composes at the normal density, or tightly where that saves a page.
fn lay_out<'a>(
    fonts: &'a Fonts,
    frame: &Frame,
    compose: impl Fn(&mut Flow<'a>) -> Result<(), RenderError>,
) -> Result<Flow<'a>, RenderError> {
    let attempt = |density| {
        let mut flow = Flow::new(Shaper::new(fonts), density, form::FIRST_TOP);
        frame.first_page(&mut flow);
        compose(&mut flow)?;
        note_missing(&mut flow)?;
        Ok::<_, RenderError>(flow)
    };
    let normal = attempt(Density::Normal);
    if normal.as_ref().is_ok_and(|flow| flow.pages.len() == 1) {
        return normal;
    }
    match (normal, attempt(Density::Tight)) {
        (Ok(normal), Ok(tight)) if tight.pages.len() >= normal.pages.len() => Ok(normal),
        (_, tight) => tight,
    }
}

/// Says on paper which characters could not be printed.
fn note_missing(flow: &mut Flow<'_>) -> Result<(), RenderError> {
    let missing = &flow.shaper.missing;
    if missing.is_empty() {
        return Ok(());
    }
    let codes: Vec<String> =
        missing.iter().take(MAX_PRINTED_MISSING).map(|c| format!("U+{:04X}", *c as u32)).collect();
    let more = if missing.len() > MAX_PRINTED_MISSING { " 等" } else { "" };
    let note = format!("字库缺字以 □ 代替（{}{more}），原字见随附电子数据。", codes.join("、"));
    flow.notes(&[(note, Ink::Black)])
}

/// What the file says about itself.
struct About<'a> {
    title: String,
    author: String,
    issued_at: UtcMillis,
    canonical: &'a [u8],
}

impl About<'_> {
    fn metadata(&self) -> Metadata {
        let metadata = Metadata::new()
            .title(self.title.clone())
            .authors(vec![self.author.clone()])
            .creator("relay-report".to_owned())
            .language("zh-CN".to_owned())
            .document_id(hex::encode(Sha256::digest(self.canonical)));
        let Some(t) = crate::time::local(self.issued_at) else { return metadata };
        let small = |v: i8| u8::try_from(v).unwrap_or(0);
        let date = DateTime::new(u16::try_from(t.year()).unwrap_or(0))
            .month(small(t.month()))
            .day(small(t.day()))
            .hour(small(t.hour()))
            .minute(small(t.minute()))
            .second(small(t.second()))
            .utc_offset_hour(i8::try_from(t.offset().seconds() / 3600).unwrap_or(0))
            .utc_offset_minute(0);
        metadata.creation_date(date)
    }
}

fn finish(mut flow: Flow<'_>, frame: &Frame, about: &About<'_>) -> Result<RenderedPdf, RenderError> {
    frame.finish(&mut flow);
    let pages = std::mem::take(&mut flow.pages);
    let used = |wanted| -> BTreeSet<u16> {
        pages.iter().flat_map(|p| &p.ops).flat_map(|op| op.glyphs(wanted)).map(|u| u.glyph).collect()
    };
    let font = |weight| -> Result<Font, RenderError> {
        let bytes = flow.shaper.face(weight).document_font(&used(weight))?;
        Font::new(bytes.into(), 0).ok_or_else(|| RenderError::Pdf("the document font was refused".to_owned()))
    };
    let pen = Pen { regular: font(Weight::Regular)?, bold: font(Weight::Bold)? };

    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_B).finish();
    let configuration = configuration.map_err(|e| RenderError::Pdf(format!("{e:?}")))?;
    let settings = krilla::SerializeSettings { configuration, enable_tagging: false, ..Default::default() };
    let mut document = Document::new_with(settings);
    document.set_metadata(about.metadata());
    for page in &pages {
        pen.page(&mut document, page)?;
    }
    let bytes = document.finish().map_err(|e| RenderError::Pdf(format!("{e}: {e:?}")))?;
    let missing_chars = flow.shaper.missing.iter().copied().collect();
    Ok(RenderedPdf { bytes, pages: pages.len(), missing_chars })
}

impl Op {
    /// Text of one weight in this operation.
    fn glyphs(&self, wanted: Weight) -> &[Unit] {
        match self {
            Self::Text { units, weight, .. } if *weight == wanted => units,
            Self::Watermark { units, .. } if wanted == Weight::Bold => units,
            _ => &[],
        }
    }
}

/// Draws operations with the fonts of one document.
struct Pen {
    regular: Font,
    bold: Font,
}

impl Pen {
    fn page(&self, document: &mut Document, page: &Page) -> Result<(), RenderError> {
        let settings = PageSettings::from_wh(page.size.0, page.size.1)
            .ok_or_else(|| RenderError::Pdf("page without size".to_owned()))?;
        let mut sheet = document.start_page_with(settings);
        let mut surface = sheet.surface();
        for op in &page.ops {
            self.draw(&mut surface, page.size, op);
        }
        surface.finish();
        sheet.finish();
        Ok(())
    }

    fn draw(&self, surface: &mut Surface<'_>, page: (f32, f32), op: &Op) {
        match op {
            Op::Text { x, y, size, weight, ink, units, tracking } => {
                fill_with(surface, *ink);
                let font = if *weight == Weight::Bold { &self.bold } else { &self.regular };
                text(surface, (*x, *y), units, font, *size, *tracking);
            }
            Op::Watermark { units, size } => {
                fill_with(surface, Ink::Pale);
                let (cx, cy) = (page.0 / 2.0, page.1 / 2.0);
                surface.push_transform(&Transform::from_rotate_at(-45.0, cx, cy));
                let x = cx - text::width(units) * size / 2.0;
                text(surface, (x, cy + size * 0.35), units, &self.bold, *size, 0.0);
                surface.pop();
            }
            Op::Fill { x, y, w, h, ink } => {
                fill_with(surface, *ink);
                rectangle(surface, *x, *y, *w, *h);
            }
            Op::Frame { x, y, w, h, width, ink } => {
                stroke_with(surface, *width, *ink);
                rectangle(surface, *x, *y, *w, *h);
            }
            Op::Line { from, to, width, ink } => {
                stroke_with(surface, *width, *ink);
                polyline(surface, &[*from, *to]);
            }
            Op::Polyline { points, width, ink } => {
                stroke_with(surface, *width, *ink);
                polyline(surface, points);
            }
        }
    }
}

fn color(ink: Ink) -> rgb::Color {
    match ink {
        Ink::Black => rgb::Color::new(0, 0, 0),
        Ink::Grey => rgb::Color::new(105, 105, 105),
        Ink::Red => rgb::Color::new(190, 20, 20),
        Ink::Pale => rgb::Color::new(240, 240, 240),
        Ink::GridMinor => rgb::Color::new(250, 215, 215),
        Ink::GridMajor => rgb::Color::new(238, 160, 160),
    }
}

fn fill_with(surface: &mut Surface<'_>, ink: Ink) {
    surface.set_stroke(None);
    let fill = Fill { paint: color(ink).into(), opacity: NormalizedF32::ONE, rule: FillRule::NonZero };
    surface.set_fill(Some(fill));
}

fn stroke_with(surface: &mut Surface<'_>, width: f32, ink: Ink) {
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke { paint: color(ink).into(), width, ..Stroke::default() }));
}

fn rectangle(surface: &mut Surface<'_>, x: f32, y: f32, w: f32, h: f32) {
    let mut path = PathBuilder::new();
    if let Some(rect) = Rect::from_xywh(x, y, w, h) {
        path.push_rect(rect);
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
}

fn polyline(surface: &mut Surface<'_>, points: &[(f32, f32)]) {
    let Some(((x, y), rest)) = points.split_first() else { return };
    let mut path = PathBuilder::new();
    path.move_to(*x, *y);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
}

fn text(surface: &mut Surface<'_>, at: (f32, f32), units: &[Unit], font: &Font, size: f32, tracking: f32) {
    if units.is_empty() {
        return;
    }
    let shown: String = units.iter().map(|u| u.shown).collect();
    let mut start = 0;
    let glyphs: Vec<KrillaGlyph> = units
        .iter()
        .map(|u| {
            let range = start..start + u.shown.len_utf8();
            start = range.end;
            let glyph = GlyphId::new(u32::from(u.glyph));
            KrillaGlyph::new(glyph, u.advance + tracking, 0.0, 0.0, 0.0, range, None)
        })
        .collect();
    surface.draw_glyphs(Point::from_xy(at.0, at.1), &glyphs, font.clone(), &shown, size, false);
}

#[cfg(test)]
mod tests;
