//! Which bytes of a coded form are here: sorted, disjoint, merged ranges.

use std::ops::Range;

/// A set of byte positions.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `range`; empty ranges change nothing.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut from, mut to) = (range.start, range.end);
        self.0.retain(|&(a, b)| {
            let touches = a <= to && from <= b;
            if touches {
                (from, to) = (from.min(a), to.max(b));
            }
            !touches
        });
        let at = self.0.partition_point(|&(a, _)| a < from);
        self.0.insert(at, (from, to));
    }

    /// What of `0..length` is not in the set.
    #[must_use]
    pub(super) fn missing(&self, length: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for &(from, to) in &self.0 {
            if from.min(length) > at {
                gaps.push(at..from.min(length));
            }
            at = at.max(to);
        }
        if at < length {
            gaps.push(at..length);
        }
        gaps
    }

    /// True when `0..length` is in the set.
    #[must_use]
    pub(super) fn covers(&self, length: u64) -> bool {
        self.missing(length).is_empty()
    }

    /// The set without everything at and beyond `length`: what a shorter file can still hold.
    #[must_use]
    pub(super) fn cut(&self, length: u64) -> Self {
        let kept = self.0.iter().filter(|(from, _)| *from < length).map(|&(from, to)| (from, to.min(length)));
        Self(kept.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[Range<u64>]) -> Ranges {
        let mut set = Ranges::default();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    #[test]
    fn ranges_merge_in_any_order() {
        let set = of(&[10..20, 0..5, 5..7, 15..30, 40..40]);
        assert_eq!(set, of(&[0..7, 10..30]));
        assert_eq!(set.missing(35), [7..10, 30..35]);
        assert_eq!(set.missing(12), vec![7..10]);
        assert!(of(&[3..9, 0..3]).covers(9) && !set.covers(30));
    }

    #[test]
    fn a_shorter_file_holds_less() {
        assert_eq!(of(&[0..7, 10..30]).cut(12), of(&[0..7, 10..12]));
        assert_eq!(of(&[10..30, 40..50]).cut(10), Ranges::default());
    }
}
