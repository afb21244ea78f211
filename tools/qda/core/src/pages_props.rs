// SPDX-License-Identifier: GPL-2.0

//! The pages of a piece of call memory beside a list of them, one by one.

use crate::pages::{bits, find, unused, MAX_PAGES};
use proptest::prelude::*;

/// Whether page `n` is in use.
fn in_use(used: u64, n: usize) -> bool {
    used >> n & 1 == 1
}

/// The first run of free pages, looked for one by one.
fn find_slowly(used: u64, count: usize) -> Option<usize> {
    (0..=MAX_PAGES.checked_sub(count)?)
        .find(|first| (*first..first + count).all(|n| !in_use(used, n)))
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    /// Give back one of those that were taken.
    Give(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..=MAX_PAGES / 4).prop_map(Step::Take),
        1 => any::<prop::sample::Index>().prop_map(Step::Give),
    ]
}

proptest! {
    #[test]
    fn the_first_run_is_found(used: u64, mask: u64, count in 1..=MAX_PAGES + 2) {
        // Few bits, so that there are long runs.
        let used = used & mask & mask.rotate_left(7);
        prop_assert_eq!(find(used, count).map(|r| r.start), find_slowly(used, count));
        if let Some(range) = find(used, count) {
            prop_assert_eq!(range.len(), count);
            prop_assert_eq!(used & bits(&range), 0);
            prop_assert_eq!(bits(&range).count_ones() as usize, count);
        }
    }

    #[test]
    fn pages_that_are_not_there_are_never_given(count in 1..=MAX_PAGES, want in 1..=MAX_PAGES) {
        match find(unused(count), want) {
            Some(range) => prop_assert!(range.end <= count),
            None => prop_assert!(want > count),
        }
    }

    /// Whatever is taken and given back, by adding and subtracting bits as the arena does: no page
    /// has two owners, and in the end all are free.
    #[test]
    fn nobody_shares(count in 1..=MAX_PAGES, steps in prop::collection::vec(step(), 0..200)) {
        let mut used = unused(count);
        let mut taken: Vec<std::ops::Range<usize>> = Vec::new();
        for step in steps {
            match step {
                Step::Take(pages) => {
                    let Some(range) = find(used, pages) else {
                        prop_assert!(find_slowly(used, pages).is_none());
                        continue;
                    };
                    let apart = |other: &std::ops::Range<usize>| {
                        range.end <= other.start || other.end <= range.start
                    };
                    prop_assert!(taken.iter().all(apart));
                    used += bits(&range);
                    taken.push(range);
                }
                Step::Give(_) if taken.is_empty() => {}
                Step::Give(which) => {
                    let range = taken.swap_remove(which.index(taken.len()));
                    used -= bits(&range);
                }
            }
            let owned: usize = taken.iter().map(|range| range.len()).sum();
            prop_assert_eq!((used.count_ones() as usize) - (MAX_PAGES - count), owned);
        }
        for range in taken {
            used -= bits(&range);
        }
        prop_assert_eq!(used, unused(count));
    }
}

#[test]
fn none_and_too_many_are_not_found() {
    assert_eq!(find(0, 0), None);
    assert_eq!(find(0, MAX_PAGES), Some(0..MAX_PAGES));
    assert_eq!(find(0, MAX_PAGES + 1), None);
    assert_eq!(find(u64::MAX, 1), None);
    assert_eq!(bits(&(0..0)), 0);
    assert_eq!(bits(&(0..MAX_PAGES)), u64::MAX);
}
