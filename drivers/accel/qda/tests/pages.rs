// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of pages that are taken and given back.

use crate::pages::{
    bits,
    find,
    unused,
    MAX_PAGES, //
};
use kernel::prelude::*;

#[kunit_tests(qda_pages)]
mod cases {
    use super::*;

    #[test]
    fn the_first_run_that_fits_is_taken() {
        assert_eq!(find(unused(8), 8), Some(0..8));
        assert_eq!(find(unused(8), 9), None);
        assert_eq!(find(0b1011, 1), Some(2..3));
        assert_eq!(find(0b1011, 2), Some(4..6));
        assert_eq!(find(u64::MAX >> 1, 1), Some(63..64));
        assert_eq!(find(0, MAX_PAGES), Some(0..MAX_PAGES));
        assert_eq!(find(0, 0), None);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut used = unused(8);
        let first = find(used, 3);
        let Some(first) = first else {
            panic!("no pages")
        };
        used += bits(&first);
        let Some(second) = find(used, 5) else {
            panic!("no pages")
        };
        used += bits(&second);

        assert_eq!(second, 3..8);
        assert_eq!(find(used, 1), None);
        used -= bits(&first);
        assert_eq!(find(used, 3), Some(0..3));
        assert_eq!(find(used, 4), None);
    }
}
