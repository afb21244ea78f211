// SPDX-License-Identifier: GPL-2.0

//! Getting the pages of an object, and keeping them in memory.

use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sizes::SZ_1M, //
};
use core::{
    ffi::c_int,
    ptr, //
};

/// Size up to which an object's pages are just asked for, in bytes.
const SMALL: usize = SZ_1M;

/// Refuses to get the pages of a large object where there is not enough memory for them: to find
/// out by trying would take what others need.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Safety
///
/// `shmem` must be a valid shmem GEM object, whose reservation the caller does not hold.
pub(super) unsafe fn check_available(shmem: *mut bindings::drm_gem_shmem_object) -> Result {
    // SAFETY: `shmem` is valid, and its size does not change.
    let size = unsafe { (*shmem).base.size };
    if size <= SMALL {
        return Ok(());
    }
    // SAFETY: `shmem` is valid, and thus is its reservation object, which guards the pages. If they
    // come or go afterwards the answer is too pessimistic, or there is no harm done.
    let has_pages = unsafe {
        bindings::dma_resv_lock((*shmem).base.resv, ptr::null_mut());
        let has_pages = !(*shmem).pages.is_null();
        bindings::dma_resv_unlock((*shmem).base.resv);
        has_pages
    };

    // SAFETY: It can be called at any time.
    let available = unsafe { bindings::si_mem_available() };
    if has_pages || size / PAGE_SIZE <= usize::try_from(available).unwrap_or(0) {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}

/// `drm_gem_shmem_pin_locked()`, and all or nothing: of a new object, what was allocated before
/// there were no more pages goes at once. Else it stayed charged to a memory control group that is
/// full because of it, and in which the next page that anybody needs has a process killed.
///
/// # Safety
///
/// `shmem` must be a valid shmem GEM object, and not an import, whose reservation the caller holds.
#[inline(never)]
pub(super) unsafe fn pin_locked(shmem: *mut bindings::drm_gem_shmem_object) -> c_int {
    // SAFETY: Per the safety requirements: pages come and go with the lock, except that some may be
    // swapped out, which are counted too. What had none has nothing to lose.
    unsafe {
        let inode = (*(*shmem).base.filp).f_inode;
        let was_empty = (*inode).i_blocks == 0;
        let ret = bindings::drm_gem_shmem_pin_locked(shmem);

        if ret != 0 && was_empty {
            bindings::shmem_truncate_range(inode, 0, bindings::uoff_t::MAX);
        }
        ret
    }
}

/// Keeps the pages of a shmem object in memory.
pub(super) struct PinnedPages(pub(super) *mut bindings::drm_gem_shmem_object);

impl PinnedPages {
    /// # Safety
    ///
    /// `shmem` must be a valid shmem GEM object, and not an import, until after the returned value
    /// is dropped. The caller must not hold its reservation.
    pub(super) unsafe fn new(shmem: *mut bindings::drm_gem_shmem_object) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        unsafe { check_available(shmem) }?;

        // SAFETY: `shmem` is valid, and thus is its reservation object.
        let ret = unsafe {
            bindings::dma_resv_lock((*shmem).base.resv, ptr::null_mut());
            let ret = pin_locked(shmem);
            bindings::dma_resv_unlock((*shmem).base.resv);
            ret
        };
        to_result(ret)?;

        Ok(Self(shmem))
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        // SAFETY: The object is valid per the safety requirements of `new()`, which also pinned it.
        unsafe {
            bindings::dma_resv_lock((*self.0).base.resv, ptr::null_mut());
            // Nobody may have told that pages have been written to, as a device does not: they must
            // not be taken for what can be dropped.
            (*self.0).set_pages_mark_dirty_on_put(true);
            bindings::drm_gem_shmem_unpin_locked(self.0);
            bindings::dma_resv_unlock((*self.0).base.resv);
        }
    }
}
