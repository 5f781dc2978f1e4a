//! Pages and what stands on them: a cursor that moves down and starts a new page where a block does not fit.
//!
//! Lengths are in points (1/72 inch), origin top left, y downwards; text is placed by its base line.

use super::text::{Shaper, Unit, Weight, break_lines, width};
use crate::error::RenderError;
use crate::limits::MAX_PAGES;

/// A4 (ISO 216).
pub(super) const A4: (f32, f32) = (595.276, 841.89);
/// Left and right margin: 16 mm, room for two punch holes.
pub(super) const MARGIN: f32 = 45.0;
/// Width between the margins of a portrait page.
pub(super) const BODY_WIDTH: f32 = A4.0 - 2.0 * MARGIN;
/// Top of the body on the second and later pages, below the repeated header.
const CONTINUED_TOP: f32 = 88.0;
/// Bottom of the body, above the footer.
const BODY_BOTTOM: f32 = A4.1 - 66.0;
/// Grid text and its line distance.
const GRID_SIZE: f32 = 9.5;
const GRID_LEADING: f32 = 13.0;
const GRID_PADDING: f32 = 4.0;
/// Width of a grid label: five characters and padding.
const LABEL_WIDTH: f32 = 5.0 * 9.0 + 2.0 * GRID_PADDING;
/// Body text: 五号 (10.5 pt).
const BODY_SIZE: f32 = 10.5;
const BODY_LEADING: f32 = 17.5;
/// From the last line of a block to the base line of the next heading.
const SECTION_GAP: f32 = 25.0;
/// Vertical distances of [`Density::Tight`].
const TIGHT: f32 = 0.88;

/// Colours that survive a black-and-white printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Black,
    Grey,
    Red,
    /// Background of labels and the watermark.
    Pale,
    /// ECG paper, thin and thick lines.
    GridMinor,
    GridMajor,
}

/// One thing to draw.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Text {
        x: f32,
        y: f32,
        size: f32,
        weight: Weight,
        ink: Ink,
        units: Vec<Unit>,
        tracking: f32,
    },
    Line {
        from: (f32, f32),
        to: (f32, f32),
        width: f32,
        ink: Ink,
    },
    Fill {
        x: f32,
        y: f32,
        w: f32,
        h: f32,
        ink: Ink,
    },
    Frame {
        x: f32,
        y: f32,
        w: f32,
        h: f32,
        width: f32,
        ink: Ink,
    },
    Polyline {
        points: Vec<(f32, f32)>,
        width: f32,
        ink: Ink,
    },
    /// Large pale text across the page, below everything else.
    Watermark {
        units: Vec<Unit>,
        size: f32,
    },
}

/// One page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) size: (f32, f32),
    pub(super) ops: Vec<Op>,
}

/// Where text stands and how it looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) ink: Ink,
}

impl Style {
    pub(super) fn new(size: f32, weight: Weight, ink: Ink) -> Self {
        Self { size, weight, ink }
    }
}

/// Horizontal place of a line of text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Align {
    /// Starts at x.
    Left(f32),
    /// Ends at x.
    Right(f32),
    /// Centred on x.
    Center(f32),
}

/// One field of the header grid.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) label: &'static str,
    pub(super) value: Option<String>,
    /// Thirds of the row: 1, 2 or 3.
    pub(super) thirds: u8,
}

/// How close lines stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Density {
    /// As designed.
    Normal,
    /// Slightly closer, taken when it saves a page, mostly one with nothing but the signatures.
    Tight,
}

/// Composes pages.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) shaper: Shaper<'a>,
    density: Density,
    pub(super) pages: Vec<Page>,
    pub(super) y: f32,
}

impl<'a> Flow<'a> {
    /// Starts with one empty portrait page.
    pub(super) fn new(shaper: Shaper<'a>, density: Density, top: f32) -> Self {
        Self { shaper, density, pages: vec![Page { size: A4, ops: Vec::new() }], y: top }
    }

    /// A vertical distance at this density.
    fn space(&self, points: f32) -> f32 {
        match self.density {
            Density::Normal => points,
            Density::Tight => points * TIGHT,
        }
    }

    fn push(&mut self, op: Op) {
        self.pages.last_mut().expect("invariant: there is always a page").ops.push(op);
    }

    /// Makes room for a block of `height`.
    pub(super) fn ensure(&mut self, height: f32) -> Result<(), RenderError> {
        if self.y + height <= BODY_BOTTOM {
            return Ok(());
        }
        if self.pages.len() == MAX_PAGES {
            return Err(RenderError::TooManyPages { limit: MAX_PAGES });
        }
        self.pages.push(Page { size: A4, ops: Vec::new() });
        self.y = CONTINUED_TOP;
        Ok(())
    }

    /// One line of text on the current page, made smaller until it fits into `room`.
    pub(super) fn line(&mut self, align: Align, y: f32, text: &str, style: Style, room: f32) {
        let index = self.pages.len() - 1;
        self.line_on(index, align, y, text, style, room);
    }

    /// The same on page `index`.
    pub(super) fn line_on(
        &mut self,
        index: usize,
        align: Align,
        y: f32,
        text: &str,
        style: Style,
        room: f32,
    ) {
        let units = self.shaper.shape(text, style.weight);
        let ems = width(&units);
        let size = if ems * style.size > room { room / ems } else { style.size };
        let x = match align {
            Align::Left(x) => x,
            Align::Right(x) => x - ems * size,
            Align::Center(x) => x - ems * size / 2.0,
        };
        let op = Op::Text { x, y, size, weight: style.weight, ink: style.ink, units, tracking: 0.0 };
        self.pages[index].ops.push(op);
    }

    pub(super) fn rule(&mut self, y: f32, width: f32) {
        self.push(Op::Line { from: (MARGIN, y), to: (MARGIN + BODY_WIDTH, y), width, ink: Ink::Black });
    }

    /// A row of fields; left out when all of them are empty.
    pub(super) fn grid_row(&mut self, cells: &[Cell]) -> Result<(), RenderError> {
        if cells.iter().all(|c| c.value.is_none()) {
            return Ok(());
        }
        let third = BODY_WIDTH / 3.0;
        let mut wrapped = Vec::new();
        for cell in cells {
            let room = third * f32::from(cell.thirds) - LABEL_WIDTH - 2.0 * GRID_PADDING;
            let units = self.shaper.shape(cell.value.as_deref().unwrap_or("—"), Weight::Regular);
            wrapped.push(break_lines(&units, room / GRID_SIZE, 0.0));
        }
        let count = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        let height = as_f32(count) * self.space(GRID_LEADING) + self.space(5.0);
        self.ensure(height)?;
        let leading = self.space(GRID_LEADING);
        let (top, mut x) = (self.y, MARGIN);
        for (cell, lines) in cells.iter().zip(wrapped) {
            let w = third * f32::from(cell.thirds);
            self.push(Op::Fill { x, y: top, w: LABEL_WIDTH, h: height, ink: Ink::Pale });
            self.push(Op::Frame { x, y: top, w, h: height, width: 0.5, ink: Ink::Grey });
            let middle = top + height / 2.0 + 3.3;
            let style = Style::new(9.0, Weight::Regular, Ink::Black);
            self.line(Align::Left(x + GRID_PADDING), middle, cell.label, style, LABEL_WIDTH - GRID_PADDING);
            let first = middle - (as_f32(lines.len()) - 1.0) * leading / 2.0;
            for (i, units) in lines.into_iter().enumerate() {
                let (x, y) = (x + LABEL_WIDTH + GRID_PADDING, first + as_f32(i) * leading);
                let (weight, ink) = (Weight::Regular, Ink::Black);
                self.push(Op::Text { x, y, size: GRID_SIZE, weight, ink, units, tracking: 0.0 });
            }
            x += w;
        }
        self.y = top + height;
        Ok(())
    }

    /// A framed notice.
    pub(super) fn notice(&mut self, text: &str, ink: Ink) -> Result<(), RenderError> {
        const PADDING: f32 = 6.0;
        const SIZE: f32 = 10.0;
        const LEADING: f32 = 15.0;
        let units = self.shaper.shape(text, Weight::Bold);
        let lines = break_lines(&units, (BODY_WIDTH - 2.0 * PADDING) / SIZE, 0.0);
        let height = as_f32(lines.len()) * LEADING + 7.0;
        self.ensure(height + 6.0)?;
        let top = self.y + 6.0;
        self.push(Op::Frame { x: MARGIN, y: top, w: BODY_WIDTH, h: height, width: 0.9, ink });
        for (i, units) in lines.into_iter().enumerate() {
            let (x, y) = (MARGIN + PADDING, top + 14.0 + as_f32(i) * LEADING);
            self.push(Op::Text { x, y, size: SIZE, weight: Weight::Bold, ink, units, tracking: 0.0 });
        }
        self.y = top + height;
        Ok(())
    }

    /// A heading with paragraphs below it; the heading never stands alone at the foot of a page.
    pub(super) fn section(&mut self, heading: &str, text: &str, weight: Weight) -> Result<(), RenderError> {
        self.ensure(self.space(SECTION_GAP + 2.0 * BODY_LEADING + 8.0))?;
        self.y += self.space(SECTION_GAP);
        let style = Style::new(11.5, Weight::Bold, Ink::Black);
        self.line(Align::Left(MARGIN), self.y, heading, style, BODY_WIDTH);
        self.y += 3.0;
        for paragraph in text.trim_end().split(['\n', '\u{2028}', '\u{2029}']) {
            self.paragraph(paragraph.trim(), weight)?;
        }
        Ok(())
    }

    fn paragraph(&mut self, text: &str, weight: Weight) -> Result<(), RenderError> {
        let units = self.shaper.shape(text, weight);
        let indent = if is_numbered(text) { 0.0 } else { 2.0 };
        let room = BODY_WIDTH / BODY_SIZE;
        let lines = break_lines(&units, room, indent);
        let last = lines.len() - 1;
        for (i, units) in lines.into_iter().enumerate() {
            let leading = self.space(BODY_LEADING);
            self.ensure(leading)?;
            self.y += leading;
            let start = if i == 0 { indent } else { 0.0 };
            let tracking = if i == last { 0.0 } else { justify(&units, room - start) };
            let (x, y) = (MARGIN + start * BODY_SIZE, self.y);
            self.push(Op::Text { x, y, size: BODY_SIZE, weight, ink: Ink::Black, units, tracking });
        }
        Ok(())
    }

    /// Lines of `text` in a column, not yet placed.
    pub(super) fn wrap(&mut self, text: &str, style: Style, room: f32) -> Vec<Vec<Unit>> {
        let units = self.shaper.shape(text, style.weight);
        break_lines(&units, room / style.size, 0.0)
    }

    /// Places wrapped lines, the first base line at `y`, and gives the base line of the last.
    pub(super) fn place(&mut self, lines: Vec<Vec<Unit>>, x: f32, y: f32, style: Style) -> f32 {
        let mut base = y;
        for (i, units) in lines.into_iter().enumerate() {
            base = y + as_f32(i) * style.size * 1.45;
            let Style { size, weight, ink } = style;
            self.push(Op::Text { x, y: base, size, weight, ink, units, tracking: 0.0 });
        }
        base
    }

    /// Small notes, one a line.
    pub(super) fn notes(&mut self, notes: &[(String, Ink)]) -> Result<(), RenderError> {
        const SIZE: f32 = 8.5;
        for (note, ink) in notes {
            let units = self.shaper.shape(note, Weight::Regular);
            for units in break_lines(&units, BODY_WIDTH / SIZE, 0.0) {
                self.ensure(12.5)?;
                self.y += 12.5;
                let (x, y, weight) = (MARGIN, self.y, Weight::Regular);
                self.push(Op::Text { x, y, size: SIZE, weight, ink: *ink, units, tracking: 0.0 });
            }
        }
        Ok(())
    }
}

/// `1. …`, `（2）…`, `③…`: such lines start at the margin, running text is indented by two characters.
fn is_numbered(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = rest.len() < text.len();
    let dotted = digits && rest.starts_with(['.', '、', '．', ')', '）']);
    // "2.5cm" is a number, not a heading.
    let decimal = rest.strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    (dotted && !decimal)
        || text.starts_with(['（', '(', '-', '·', '①', '②', '③', '④', '⑤', '⑥', '⑦', '⑧', '⑨'])
}

/// Extra space in ems after each character that brings a full line to both margins; none where it would show.
fn justify(units: &[Unit], room: f32) -> f32 {
    /// At most this much a gap, in ems.
    const MOST: f32 = 0.08;
    let gaps = units.len().saturating_sub(1);
    if gaps == 0 {
        return 0.0;
    }
    let extra = (room - width(units)) / as_f32(gaps);
    if (0.0..=MOST).contains(&extra) { extra } else { 0.0 }
}

/// Small counts as lengths.
pub(super) fn as_f32(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
}
