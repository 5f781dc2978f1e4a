//! Rows with room on both sides, and the few above the current one.

/// Samples of room on either side of a row.
pub(super) const MARGIN: usize = 8;

/// A row and those above it, each with [`MARGIN`] on both sides.
#[derive(Debug, Clone)]
pub(super) struct Rows<T, const N: usize> {
    rows: [Vec<T>; N],
}

impl<T: Copy, const N: usize> Rows<T, N> {
    pub(super) fn new(width: usize, value: T) -> Self {
        Self { rows: std::array::from_fn(|_| vec![value; width + 2 * MARGIN]) }
    }

    /// The current row becomes the first above; a new one takes the place of the last.
    pub(super) fn advance(&mut self) {
        self.rows.rotate_right(1);
    }

    /// Row `above` rows up, with its margins.
    #[inline]
    pub(super) fn row(&self, above: usize) -> &[T] {
        &self.rows[above]
    }

    #[inline]
    pub(super) fn split(&mut self) -> (&mut [T], &[Vec<T>]) {
        let [first, rest @ ..] = self.rows.as_mut_slice() else { unreachable!("invariant: there are rows") };
        (first, rest)
    }

    /// Fills the left margin of the current row.
    pub(super) fn begin(&mut self, value: T) {
        self.rows[0][..MARGIN].fill(value);
    }

    /// Repeats the last sample into the right margin of the current row.
    pub(super) fn end(&mut self) {
        let row = &mut self.rows[0];
        let last = row.len() - MARGIN;
        let value = row[last - 1];
        row[last..].fill(value);
    }

    pub(super) fn each(&mut self, f: impl Fn(T) -> T) {
        for value in self.rows.iter_mut().flatten() {
            *value = f(*value);
        }
    }
}
