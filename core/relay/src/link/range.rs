//! Sets of byte ranges, small and sorted.

use std::ops::Range;

/// True when the ranges are in order, apart, not empty and end at or before `length`.
pub(super) fn lawful(ranges: &[Range<u64>], length: u64) -> bool {
    let mut from = 0;
    ranges.iter().all(|r| {
        let fits = r.start >= from && r.start < r.end && r.end <= length;
        from = r.end;
        fits
    })
}

/// Bytes in all ranges together.
pub(super) fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end - r.start).sum()
}

/// True when `part` lies within one of the ranges.
pub(super) fn covers(ranges: &[Range<u64>], part: &Range<u64>) -> bool {
    ranges.iter().any(|r| r.start <= part.start && part.end <= r.end)
}

/// Takes `part` out of the ranges.
pub(super) fn subtract(ranges: &mut Vec<Range<u64>>, part: &Range<u64>) {
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for r in ranges.drain(..) {
        let before = r.start..r.end.min(part.start);
        let after = r.start.max(part.end)..r.end;
        left.extend([before, after].into_iter().filter(|r| r.start < r.end));
    }
    *ranges = left;
}

/// True when the two have a byte in common.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one byte range are what is tested")]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_out_of_the_middle_and_of_the_edges() {
        let mut ranges = vec![0..10, 20..30];
        subtract(&mut ranges, &(5..25));
        assert_eq!(ranges, [0..5, 25..30]);
        subtract(&mut ranges, &(0..5));
        assert_eq!(ranges, [25..30]);
        assert_eq!(total(&ranges), 5);
    }

    #[test]
    fn ranges_out_of_order_overlapping_or_beyond_the_end_are_unlawful() {
        assert!(lawful(&[0..5, 5..9], 9));
        assert!(!lawful(&[5..9, 0..5], 9));
        assert!(!lawful(&[0..5, 4..9], 9));
        assert!(!lawful(&[0..10], 9));
        assert!(!lawful(&[3..3], 9));
    }

    #[test]
    fn covering_needs_one_range_that_holds_the_whole_part() {
        assert!(covers(&[0..5, 5..9], &(5..9)));
        assert!(!covers(&[0..5, 5..9], &(4..6)));
        assert!(overlap(&(0..5), &(4..6)) && !overlap(&(0..5), &(5..6)));
    }
}
