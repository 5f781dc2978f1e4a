//! Long lists in pages. What needs a person is sorted to the front by the query and stands on the first page whole.

/// Rows of a page: a clinic's busiest day has a hundred studies.
const PAGE_ROWS: i64 = 250;
/// Rows of the first page at most, however many need a person: 2,000 studies are 2 MB of answer, and more than a week
/// without a line brings together. What is beyond stands on the following pages, in the same order.
const FIRST_PAGE_ROWS: i64 = 2_000;

/// Which rows make up a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) limit: i64,
    pub(super) offset: i64,
    pub(super) pages: u64,
}

impl Slice {
    /// Page `page` of `total` rows, the first `never_cut` of which belong on the first page.
    pub(super) fn of(page: u64, total: i64, never_cut: i64) -> Self {
        let first = never_cut.clamp(PAGE_ROWS, FIRST_PAGE_ROWS);
        let behind = (total - first).max(0);
        let pages = 1 + (behind.unsigned_abs()).div_ceil(PAGE_ROWS.unsigned_abs());
        let page = i64::try_from(page.min(pages)).unwrap_or(i64::MAX);
        if page == 0 {
            return Self { limit: first, offset: 0, pages };
        }
        Self { limit: PAGE_ROWS, offset: first + (page - 1) * PAGE_ROWS, pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_row_once_and_the_first_holds_all_that_needs_a_person() {
        for (total, never_cut) in [(0, 0), (1, 1), (250, 0), (251, 3), (900, 700), (5_000, 4_000)] {
            let pages = Slice::of(0, total, never_cut).pages;
            let mut next = 0;
            for page in 0..pages {
                let slice = Slice::of(page, total, never_cut);
                assert_eq!((slice.offset, slice.pages), (next, pages));
                next += slice.limit;
            }
            assert!(next >= total, "{total} rows in {pages} pages");
            assert!(Slice::of(0, total, never_cut).limit >= never_cut.min(FIRST_PAGE_ROWS));
            assert!(Slice::of(u64::MAX, total, never_cut).offset >= total);
        }
    }
}
