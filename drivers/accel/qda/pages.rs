// SPDX-License-Identifier: GPL-2.0

//! Which pages of a piece of call memory are in use.
//!
//! A piece has up to 64 pages, and one bit of a word for each: finding some in a row takes no more
//! than a few shifts, and giving them back is one atomic operation.
//!
//! Pure code; the words are in [`crate::arena`].

use core::ops::Range;

/// Most pages of a piece.
pub(crate) const MAX_PAGES: usize = u64::BITS as usize;

/// The word of a piece of `count` pages, none of them in use. Those that it does not have are in
/// use for ever.
pub(crate) const fn unused(count: usize) -> u64 {
    if count < MAX_PAGES {
        u64::MAX << count
    } else {
        0
    }
}

/// The bits of `pages`.
pub(crate) const fn bits(pages: &Range<usize>) -> u64 {
    unused(pages.start) & !unused(pages.end)
}

/// The first `count` pages in a row that are not in use, if there are so many.
pub(crate) fn find(used: u64, count: usize) -> Option<Range<usize>> {
    if count == 0 || count > MAX_PAGES {
        return None;
    }

    // Bit n of `runs`: the `known` pages from n on are free.
    let mut runs = !used;
    let mut known = 1;
    while known < count {
        let step = known.min(count - known);
        runs &= runs >> step;
        known += step;
    }
    // CAST: at most 64.
    let first = runs.trailing_zeros() as usize;

    (first < MAX_PAGES).then_some(first..first + count)
}
