//! A coarse map of attenuation, in decades (log10 of the weakening of the beam), drawn with a few solids.
//!
//! Coordinates are millimetres on the detector: x from the middle, to the right of the picture; y from the top.

/// Coarse cell edge in film pixels: edges of anatomy are softer than this, so that a cubic upsampling loses nothing.
pub(super) const CELL_PIXELS: usize = 3;

/// Attenuation over the detector.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Cell edge in mm.
    pub(super) cell: f32,
    /// Decades, row by row.
    pub(super) data: Vec<f32>,
    scratch: Vec<f32>,
}

/// What a tube or ball is made of: how its chord weakens the beam.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matter {
    /// Decades a mm of the outer shell (cortex), or of the whole when `cortex` is 1.
    pub(super) shell: f32,
    /// Shell thickness as a part of the radius.
    pub(super) cortex: f32,
    /// Decades a mm of what is inside the shell.
    pub(super) inside: f32,
}

/// Soft tissue in air, 60 keV effective: 0.2 /cm.
pub(super) const SOFT: f32 = 0.0082;

impl Matter {
    /// Solid soft tissue (or, negative, air that displaces it).
    pub(super) const fn soft(part: f32) -> Self {
        Self { shell: SOFT * part, cortex: 1.0, inside: 0.0 }
    }

    /// Bone beyond the soft tissue it displaces: dense cortex, spongy inside.
    pub(super) const fn bone(cortex: f32) -> Self {
        Self { shell: 0.0165, cortex, inside: 0.0026 }
    }

    /// Decades through a body of half-depth `r` mm at `u` (0 middle, 1 edge).
    fn chord(self, r: f32, u: f32) -> f32 {
        let outer = (1.0 - u * u).max(0.0).sqrt();
        let hole = 1.0 - self.cortex;
        let inner = (hole * hole - u * u).max(0.0).sqrt();
        2.0 * r * (self.shell * (outer - inner) + self.inside * inner)
    }
}

/// A point of a tube: position and half-width, mm.
pub(super) type Knot = (f32, f32, f32);

impl Canvas {
    /// An empty map for a film of `columns` x `rows` pixels of `pitch` mm.
    pub(super) fn new(columns: usize, rows: usize, pitch: f32) -> Self {
        // One cell more on each side for the cubic kernel.
        let (width, height) = (columns / CELL_PIXELS + 4, rows / CELL_PIXELS + 4);
        let size = width * height;
        Self {
            width,
            height,
            cell: pitch * CELL_PIXELS as f32,
            data: vec![0.0; size],
            scratch: vec![2.0; size],
        }
    }

    pub(super) fn x_of(&self, column: usize) -> f32 {
        (column as f32 - 0.5 * (self.width - 1) as f32) * self.cell
    }

    pub(super) fn y_of(&self, row: usize) -> f32 {
        (row as f32 - 1.0) * self.cell
    }

    fn column_of(&self, x: f32) -> f32 {
        x / self.cell + 0.5 * (self.width - 1) as f32
    }

    fn row_of(&self, y: f32) -> f32 {
        y / self.cell + 1.0
    }

    /// Adds `f(x, y)` everywhere.
    pub(super) fn add(&mut self, f: impl Fn(f32, f32) -> f32) {
        for row in 0..self.height {
            let y = self.y_of(row);
            for column in 0..self.width {
                let at = row * self.width + column;
                self.data[at] += f(self.x_of(column), y);
            }
        }
    }

    fn bounds(&self, x: f32, y: f32, r: f32) -> (usize, usize, usize, usize) {
        let clip = |v: f32, max: usize| v.clamp(0.0, max as f32) as usize;
        let (c, l, n) = (self.column_of(x), self.row_of(y), r / self.cell + 1.0);
        (clip(c - n, self.width), clip(c + n, self.width), clip(l - n, self.height), clip(l + n, self.height))
    }

    /// A tube along the knots; its depth is `flat` times its width.
    pub(super) fn tube(&mut self, knots: &[Knot], matter: Matter, flat: f32) {
        let (mut left, mut right, mut top, mut bottom) = (self.width, 0, self.height, 0);
        for pair in knots.windows(2) {
            let ((x0, y0, r0), (x1, y1, r1)) = (pair[0], pair[1]);
            let steps = (((x1 - x0).hypot(y1 - y0)) / self.cell).ceil().max(1.0);
            for step in 0..=steps as usize {
                let t = step as f32 / steps;
                let (x, y, r) = (x0 + t * (x1 - x0), y0 + t * (y1 - y0), r0 + t * (r1 - r0));
                let (a, b, c, d) = self.bounds(x, y, r);
                (left, right, top, bottom) = (left.min(a), right.max(b), top.min(c), bottom.max(d));
                let inverse = 1.0 / (r * r);
                for row in c..d {
                    let dy = self.y_of(row) - y;
                    for column in a..b {
                        let dx = self.x_of(column) - x;
                        let u = (dx * dx + dy * dy) * inverse;
                        let cell = &mut self.scratch[row * self.width + column];
                        if u < *cell {
                            *cell = u;
                        }
                    }
                }
            }
        }
        let r = knots.iter().map(|k| k.2).sum::<f32>() / knots.len().max(1) as f32;
        for row in top..bottom {
            for column in left..right {
                let at = row * self.width + column;
                let u = self.scratch[at];
                if u < 1.0 {
                    self.data[at] += matter.chord(r * flat, u.sqrt());
                }
                self.scratch[at] = 2.0;
            }
        }
    }

    /// An ellipsoid: half-axes `rx`, `ry` mm turned by `angle` radians, half-depth `depth` mm.
    pub(super) fn ball(
        &mut self,
        centre: (f32, f32),
        axes: (f32, f32),
        angle: f32,
        depth: f32,
        matter: Matter,
    ) {
        let (sin, cos) = angle.sin_cos();
        let (left, right, top, bottom) = self.bounds(centre.0, centre.1, axes.0.max(axes.1));
        for row in top..bottom {
            let dy = self.y_of(row) - centre.1;
            for column in left..right {
                let dx = self.x_of(column) - centre.0;
                let (p, q) = ((dx * cos + dy * sin) / axes.0, (dy * cos - dx * sin) / axes.1);
                let u = p * p + q * q;
                if u < 1.0 {
                    self.data[row * self.width + column] += matter.chord(depth, u.sqrt());
                }
            }
        }
    }

    /// Draws each shape alone and adds the deepest at every place: overlapping parts of one organ do not add up.
    pub(super) fn merged(&mut self, shapes: &[&dyn Fn(&mut Self)]) {
        let mut one = self.clone();
        let mut deepest = vec![0.0f32; self.data.len()];
        for shape in shapes {
            one.data.fill(0.0);
            shape(&mut one);
            for (all, this) in deepest.iter_mut().zip(&one.data) {
                if this.abs() > all.abs() {
                    *all = *this;
                }
            }
        }
        for (value, add) in self.data.iter_mut().zip(&deepest) {
            *value += add;
        }
    }

    /// Softens everything by about `mm` (two box passes each way).
    pub(super) fn soften(&mut self, mm: f32) {
        let radius = (mm / self.cell).round() as usize;
        for _ in 0..2 {
            self.data = box_blur(&self.data, self.width, self.height, radius);
        }
    }
}

/// Mean over `2 radius + 1` cells each way, edges repeated.
pub(super) fn box_blur(data: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    if radius == 0 {
        return data.to_vec();
    }
    let scale = 1.0 / (2 * radius + 1) as f32;
    let mut across = vec![0.0; data.len()];
    for row in 0..height {
        let line = &data[row * width..][..width];
        let mut sum: f32 = line[0] * radius as f32 + line[..=radius.min(width - 1)].iter().sum::<f32>();
        for column in 0..width {
            across[row * width + column] = sum * scale;
            sum += line[(column + radius + 1).min(width - 1)] - line[column.saturating_sub(radius)];
        }
    }
    let mut out = vec![0.0; data.len()];
    let mut sums: Vec<f32> = across[..width].iter().map(|v| v * radius as f32).collect();
    for row in 0..=radius {
        let line = row.min(height - 1) * width;
        for column in 0..width {
            sums[column] += across[line + column];
        }
    }
    for row in 0..height {
        let (enters, leaves) =
            ((row + radius + 1).min(height - 1) * width, row.saturating_sub(radius) * width);
        for column in 0..width {
            out[row * width + column] = sums[column] * scale;
            sums[column] += across[enters + column] - across[leaves + column];
        }
    }
    out
}

/// A smooth curve through points sorted by their first value; flat beyond the ends.
pub(super) fn curve(points: &[(f32, f32)], at: f32) -> f32 {
    let last = points.len() - 1;
    if at <= points[0].0 {
        return points[0].1;
    }
    if at >= points[last].0 {
        return points[last].1;
    }
    let i = points.iter().rposition(|p| p.0 <= at).unwrap_or(0).min(last - 1);
    let slope = |i: usize| {
        let (a, b) = (points[i.saturating_sub(1)], points[(i + 1).min(last)]);
        (b.1 - a.1) / (b.0 - a.0)
    };
    let ((x0, y0), (x1, y1)) = (points[i], points[i + 1]);
    let (h, t) = (x1 - x0, (at - x0) / (x1 - x0));
    let (t2, t3) = (t * t, t * t * t);
    (2.0 * t3 - 3.0 * t2 + 1.0) * y0
        + (t3 - 2.0 * t2 + t) * h * slope(i)
        + (3.0 * t2 - 2.0 * t3) * y1
        + (t3 - t2) * h * slope(i + 1)
}

/// 0 below `a`, 1 above `b`, smooth between.
pub(super) fn smooth(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
