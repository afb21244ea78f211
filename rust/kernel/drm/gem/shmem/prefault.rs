// SPDX-License-Identifier: GPL-2.0

//! Mapping an object for user space at once, where page faults would do it page by page.
//!
//! An object has its pages as soon as it is mapped. What is missing are the entries of the page
//! table: two faults for each page that is written to, since the first one maps it read-only. With
//! an entry there is at most one, where a CPU does not keep track of dirty pages. A huge page is
//! different. Where it is aligned in the mapping, a single fault maps it with a single entry.
//!
//! Mappings by the DRM file are aligned, see `drm_gem_get_unmapped_area()`, those by a dma-buf are
//! as `mmap()` happens to choose.

use super::{
    pinned::PinnedPages,
    runs::{
        runs,
        Run, //
    }, //
};
use crate::{
    bindings,
    container_of,
    page::PAGE_SHIFT, //
};
use core::{
    ffi::c_int,
    ops::Range, //
};

/// Whether one fault maps all of `run` at address `at`.
fn faults_at_once(run: &Run, at: usize) -> bool {
    cfg!(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)
        && run.is_huge
        && at.is_multiple_of(run.count << PAGE_SHIFT)
}

/// `drm_gem_object_funcs.mmap` of objects in shmem, with entries for their pages.
///
/// # Safety
///
/// As for the DRM core: `obj` must be a valid shmem GEM object, and `vma` a mapping of it that is
/// not in use yet, with the fake offset in its offset.
pub(super) unsafe extern "C" fn mmap_callback(
    obj: *mut bindings::drm_gem_object,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: Per the safety requirements.
    unsafe {
        // An import is mapped by its exporter, and `obj` may be gone then.
        if !(*obj).import_attach.is_null() {
            return bindings::drm_gem_shmem_object_mmap(obj, vma);
        }

        let shmem = container_of!(obj, bindings::drm_gem_shmem_object, base);
        // The mapping has the pages for itself then.
        let _pages = match PinnedPages::new(shmem) {
            Ok(pages) => pages,
            Err(error) => return error.to_errno(),
        };
        let ret = bindings::drm_gem_shmem_object_mmap(obj, vma);
        if ret == 0 {
            prefault(shmem, vma);
        }
        ret
    }
}

/// Enters the pages of `shmem` into `vma`, except those that one fault for many of them will. What
/// could not be entered is left to faults, too.
///
/// # Safety
///
/// - `shmem` must be a valid shmem GEM object, not an import.
/// - `vma` must be a mapping of it that `drm_gem_shmem_mmap()` has just set up, with the fake
///   offset in its offset.
unsafe fn prefault(shmem: *mut bindings::drm_gem_shmem_object, vma: *mut bindings::vm_area_struct) {
    // SAFETY: Per the safety requirements. The mapping keeps the pages.
    let (pages, first, prot, Range { start, end }) = unsafe {
        let fake_offset = (*shmem).base.vma_node.vm_node.start as usize;
        let addresses = (*vma).__bindgen_anon_1.__bindgen_anon_1;

        (
            (*shmem).pages,
            (*vma).vm_pgoff - fake_offset,
            (*vma).vm_page_prot,
            addresses.vm_start..addresses.vm_end,
        )
    };

    let count = (end - start) >> PAGE_SHIFT;
    let mut at = start;
    // SAFETY: The object has a page for each of the mapping.
    for run in unsafe { runs(pages, first..first + count) } {
        let size = run.count << PAGE_SHIFT;

        if !faults_at_once(&run, at) {
            // SAFETY: The caller holds `mmap_lock`, and the pages stay as long as the mapping does.
            let ret = unsafe { bindings::remap_pfn_range(vma, at, run.pfn, size, prot) };

            if ret != 0 {
                break;
            }
        }
        at += size;
    }
}

#[macros::kunit_tests(rust_drm_gem_shmem_prefault)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_huge_pages_fault_at_once() {
        let count = 512;
        let size = count << PAGE_SHIFT;
        let run = |is_huge| Run {
            pfn: 4 * count,
            count,
            is_huge,
        };

        assert_eq!(
            faults_at_once(&run(true), 3 * size),
            cfg!(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)
        );
        assert!(!faults_at_once(&run(true), 3 * size + (1 << PAGE_SHIFT)));
        assert!(!faults_at_once(&run(false), 3 * size));
    }
}
