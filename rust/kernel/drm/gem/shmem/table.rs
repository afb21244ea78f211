// SPDX-License-Identifier: GPL-2.0

//! The pages of an object as the DMA API takes them.

use super::{
    block::Block,
    pinned::PinnedPages,
    runs::{
        runs,
        Run, //
    }, //
};
use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A scatter-gather table of an object's pages.
pub(super) struct PageTable {
    pub(super) table: bindings::sg_table,
    /// Pages in shmem stay where they are.
    _pages: Option<PinnedPages>,
}

impl PageTable {
    /// # Safety
    ///
    /// - As for [`PinnedPages::new()`], and `shmem` must have `size` bytes.
    /// - `dev` must be a valid device.
    pub(super) unsafe fn new(
        shmem: *mut bindings::drm_gem_shmem_object,
        dev: *mut bindings::device,
        size: usize,
    ) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        let pages = unsafe { PinnedPages::new(shmem) }?;

        // Neither the device nor a bounce buffer may be faced with a longer segment.
        // SAFETY: `dev` is valid per the safety requirements.
        let max_segment = unsafe {
            bindings::dma_max_mapping_size(dev)
                .min(bindings::dma_get_max_seg_size(dev) as usize)
                .max(PAGE_SIZE)
        };

        let count = size.div_ceil(PAGE_SIZE);
        let each_segment = |f: &mut dyn FnMut(usize, usize)| {
            // SAFETY: The array of pages, one for each of the object's, is there as long as they
            // are pinned.
            segments(
                unsafe { runs((*shmem).pages, 0..count) },
                max_segment / PAGE_SIZE,
                f,
            );
        };

        let mut entries = 0;
        each_segment(&mut |_, _| entries += 1);

        let mut table = bindings::sg_table::default();
        // SAFETY: The table is not in use, and freed when this is dropped.
        to_result(unsafe { bindings::sg_alloc_table(&mut table, entries, bindings::GFP_KERNEL) })?;

        let mut sg = table.sgl;
        each_segment(&mut |pfn, count| {
            // SAFETY: There are as many entries as segments. None is longer than `max_segment`.
            unsafe {
                bindings::sg_set_page(
                    sg,
                    bindings::pfn_to_page(pfn),
                    // CAST: Not longer than the maximum segment size, which fits, or a page.
                    (count * PAGE_SIZE) as u32,
                    0,
                );
                sg = bindings::sg_next(sg);
            }
        });

        Ok(Self {
            table,
            _pages: Some(pages),
        })
    }

    /// The table of a block, which must not be freed before it.
    pub(super) fn of_block(block: &Block) -> Result<Self> {
        Ok(Self {
            table: block.table()?,
            _pages: None,
        })
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        // SAFETY: The table was allocated in `new()`.
        unsafe { bindings::sg_free_table(&mut self.table) };
    }
}

/// Joins what is contiguous of `runs`, in segments of at most `most` pages, which is not 0: calls
/// `f` with the first page frame number and the length of each.
fn segments(runs: impl Iterator<Item = Run>, most: usize, mut f: impl FnMut(usize, usize)) {
    let (mut pfn, mut count) = (0, 0);

    for run in runs {
        if count != 0 && run.pfn != pfn + count {
            f(pfn, count);
            count = 0;
        }
        if count == 0 {
            pfn = run.pfn;
        }
        count += run.count;
        while count > most {
            f(pfn, most);
            pfn += most;
            count -= most;
        }
    }
    if count != 0 {
        f(pfn, count);
    }
}

#[macros::kunit_tests(rust_drm_gem_shmem_table)]
mod tests {
    use super::*;

    fn segments_of(list: &[(usize, usize)], most: usize) -> KVec<(usize, usize)> {
        let mut found = KVec::new();
        let runs = list.iter().map(|&(pfn, count)| Run {
            pfn,
            count,
            is_huge: false,
        });

        segments(runs, most, |pfn, count| {
            found.push((pfn, count), GFP_KERNEL).unwrap();
        });
        found
    }

    #[test]
    fn what_is_contiguous_is_joined() {
        assert_eq!(segments_of(&[], 8)[..], []);
        assert_eq!(segments_of(&[(5, 1)], 8)[..], [(5, 1)]);
        assert_eq!(segments_of(&[(5, 1), (6, 2), (8, 1)], 8)[..], [(5, 4)]);
        // A gap, the wrong order, the same page again.
        assert_eq!(segments_of(&[(5, 1), (7, 1)], 8)[..], [(5, 1), (7, 1)]);
        assert_eq!(segments_of(&[(6, 1), (5, 1)], 8)[..], [(6, 1), (5, 1)]);
        assert_eq!(segments_of(&[(5, 1), (5, 1)], 8)[..], [(5, 1), (5, 1)]);
    }

    #[test]
    fn none_is_longer_than_may_be() {
        assert_eq!(segments_of(&[(0, 8)], 8)[..], [(0, 8)]);
        assert_eq!(segments_of(&[(0, 20)], 8)[..], [(0, 8), (8, 8), (16, 4)]);
        assert_eq!(
            segments_of(&[(0, 6), (6, 6), (20, 1)], 4)[..],
            [(0, 4), (4, 4), (8, 4), (20, 1)]
        );
    }
}
