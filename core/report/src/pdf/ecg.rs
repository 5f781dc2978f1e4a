//! An ECG trace on a landscape page of its own, true to scale.

use super::flow::{A4, Align, Flow, Ink, MARGIN, Op, Page, Style};
use super::text::Weight;
use crate::error::RenderError;

/// Points per millimetre.
const PT_PER_MM: f32 = 72.0 / 25.4;
/// Room for a drawing on landscape A4 below the page header, mm.
pub const DRAWING_MAX_WIDTH_MM: f32 = 265.0;
/// Height of that room, mm.
pub const DRAWING_MAX_HEIGHT_MM: f32 = 148.0;
/// Points of all traces together: 15 leads of 10 s at 1 kHz.
pub const DRAWING_MAX_POINTS: usize = 150_000;
/// Labels of one drawing.
pub const DRAWING_MAX_LABELS: usize = 64;
/// Top of the drawing on its page.
const TOP: f32 = 100.0;

/// A drawing in millimetres on paper, origin top left, y downwards; printed at 1:1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EcgDrawing {
    /// Width of the grid, at most [`DRAWING_MAX_WIDTH_MM`].
    pub width_mm: f32,
    /// Height of the grid, at most [`DRAWING_MAX_HEIGHT_MM`].
    pub height_mm: f32,
    /// Thin grid lines every 1 mm and thick ones every 5 mm.
    pub grid: bool,
    /// Traces, each a list of points inside the grid.
    pub traces: Vec<Vec<(f32, f32)>>,
    /// Lead names and calibration, each at its base line.
    pub labels: Vec<EcgLabel>,
    /// Below the drawing: `25 mm/s　10 mm/mV　0.05–150 Hz`.
    pub caption: String,
}

/// A short text on the drawing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EcgLabel {
    /// Left end, mm.
    pub x_mm: f32,
    /// Base line, mm.
    pub y_mm: f32,
    /// Text.
    pub text: String,
}

impl EcgDrawing {
    fn check(&self) -> Result<(), RenderError> {
        let size = |field, value: f32, most: f32| {
            if value > 0.0 && value <= most {
                Ok(())
            } else {
                Err(RenderError::Drawing { field, reason: "does not fit on a landscape A4 page at 1:1" })
            }
        };
        size("width_mm", self.width_mm, DRAWING_MAX_WIDTH_MM)?;
        size("height_mm", self.height_mm, DRAWING_MAX_HEIGHT_MM)?;
        if self.traces.iter().map(Vec::len).sum::<usize>() > DRAWING_MAX_POINTS {
            return Err(RenderError::Drawing { field: "traces", reason: "more than 150000 points" });
        }
        let inside =
            |x: f32, y: f32| (0.0..=self.width_mm).contains(&x) && (0.0..=self.height_mm).contains(&y);
        if !self.traces.iter().flatten().all(|(x, y)| inside(*x, *y)) {
            return Err(RenderError::Drawing { field: "traces", reason: "a point lies outside the grid" });
        }
        if self.labels.len() > DRAWING_MAX_LABELS || !self.labels.iter().all(|l| inside(l.x_mm, l.y_mm)) {
            return Err(RenderError::Drawing { field: "labels", reason: "too many, or outside the grid" });
        }
        crate::limits::text("caption", &self.caption, crate::limits::MAX_LINE_CHARS)?;
        self.labels
            .iter()
            .try_for_each(|l| crate::limits::text("labels", &l.text, crate::limits::MAX_NAME_CHARS))?;
        Ok(())
    }
}

/// Appends the page.
pub(super) fn compose(flow: &mut Flow<'_>, drawing: &EcgDrawing) -> Result<(), RenderError> {
    drawing.check()?;
    let size = (A4.1, A4.0);
    let left = (size.0 - drawing.width_mm * PT_PER_MM) / 2.0;
    let place = |x: f32, y: f32| (left + x * PT_PER_MM, TOP + y * PT_PER_MM);
    let mut ops = Vec::new();
    if drawing.grid {
        grid(&mut ops, drawing, place);
    }
    for trace in drawing.traces.iter().filter(|t| t.len() > 1) {
        let points = trace.iter().map(|(x, y)| place(*x, *y)).collect();
        ops.push(Op::Polyline { points, width: 0.6, ink: Ink::Black });
    }
    flow.pages.push(Page { size, ops });
    let bold = Style::new(9.0, Weight::Bold, Ink::Black);
    for label in &drawing.labels {
        let (x, y) = place(label.x_mm, label.y_mm);
        flow.line(Align::Left(x), y, &label.text, bold, size.0 - MARGIN - x);
    }
    let plain = Style::new(9.0, Weight::Regular, Ink::Black);
    let y = TOP + drawing.height_mm * PT_PER_MM + 14.0;
    flow.line(Align::Left(left), y, &drawing.caption, plain, size.0 - 2.0 * MARGIN);
    Ok(())
}

fn grid(ops: &mut Vec<Op>, drawing: &EcgDrawing, place: impl Fn(f32, f32) -> (f32, f32)) {
    let mut lines = |extent: f32, ends: &dyn Fn(f32) -> ((f32, f32), (f32, f32))| {
        // Thin lines first, so that thick ones cross over them.
        for (every, width, ink) in [(1_u16, 0.2, Ink::GridMinor), (5, 0.5, Ink::GridMajor)] {
            let mut at = 0_u16;
            while f32::from(at) <= extent {
                let (from, to) = ends(f32::from(at));
                ops.push(Op::Line { from, to, width, ink });
                at += every;
            }
        }
    };
    lines(drawing.width_mm, &|x| (place(x, 0.0), place(x, drawing.height_mm)));
    lines(drawing.height_mm, &|y| (place(0.0, y), place(drawing.width_mm, y)));
}
