// SPDX-License-Identifier: GPL-2.0

//! The pages of an object, by what is contiguous in memory.
//!
//! An object has an array of pages, of which up to some hundred in a row are parts of one folio.
//! Whoever maps the object for somebody takes folio by folio, not page by page.

use crate::bindings;
use core::{
    mem::size_of,
    ops::Range, //
};

/// Pages of an object that are contiguous in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Page frame number of the first.
    pub(super) pfn: usize,
    /// How many pages, not 0.
    pub(super) count: usize,
    /// Whether they are a whole folio, which one entry of a page table can map.
    pub(super) is_huge: bool,
}

impl Run {
    /// What there is from `page` to the end of its folio.
    ///
    /// # Safety
    ///
    /// `page` must be a page of a shmem object, pinned.
    unsafe fn at(page: *mut bindings::page) -> Self {
        // SAFETY: Per the safety requirements.
        unsafe {
            let folio = bindings::page_folio(page);
            // A folio begins with its first page, and its pages are an array.
            let index = (page.addr() - folio.addr()) / size_of::<bindings::page>();

            Self {
                pfn: bindings::page_to_pfn(page),
                count: bindings::folio_nr_pages(folio) - index,
                is_huge: index == 0 && bindings::folio_test_pmd_mappable(folio),
            }
        }
    }
}

/// The pages `range` of an object with the array `pages`, folio by folio.
///
/// # Safety
///
/// `pages` must be the pages of a shmem object, pinned while the iterator is used, `range` of which
/// exist.
pub(super) unsafe fn runs(
    pages: *mut *mut bindings::page,
    range: Range<usize>,
) -> impl Iterator<Item = Run> {
    let mut index = range.start;

    core::iter::from_fn(move || {
        if index >= range.end {
            return None;
        }
        // SAFETY: Per the safety requirements.
        let mut run = unsafe { Run::at(*pages.add(index)) };

        if run.count > range.end - index {
            run.count = range.end - index;
            run.is_huge = false;
        }
        index += run.count;
        Some(run)
    })
}
