// SPDX-License-Identifier: GPL-2.0

//! The contiguous memory allocator.
//!
//! The page allocator lends the pages of a contiguous memory area to whoever can be moved out of
//! it, as long as nobody has allocated them from the area.
//!
//! C header: [`include/linux/cma.h`](srctree/include/linux/cma.h)

#[cfg(CONFIG_CMA)]
use crate::time::{
    delay::fsleep,
    Delta, //
};
use crate::{
    bindings,
    io::PhysAddr,
    prelude::*, //
};
use core::ptr::NonNull;

/// How often an allocation is tried again.
#[cfg(CONFIG_CMA)]
const RETRIES: usize = 4;

/// How long to wait before that.
#[cfg(CONFIG_CMA)]
const RETRY_INTERVAL: Delta = Delta::from_millis(20);

/// All pages of a contiguous memory area. Dropping it gives them back.
///
/// # Invariants
///
/// `pages` are all pages of `area`, `count` of them, which belong to this.
pub struct WholeArea {
    area: NonNull<bindings::cma>,
    pages: NonNull<bindings::page>,
    count: usize,
}

/// What [`look_at`] is to find.
#[cfg(CONFIG_CMA)]
struct Search {
    start: PhysAddr,
    last: PhysAddr,
    found: *mut bindings::cma,
}

/// Ends the search at an area that has anything of what is searched.
#[cfg(CONFIG_CMA)]
extern "C" fn look_at(area: *mut bindings::cma, data: *mut c_void) -> c_int {
    // SAFETY: `cma_for_each_area()` passes on what `WholeArea::allocate()` gave it.
    let search = unsafe { &mut *data.cast::<Search>() };

    // SAFETY: `area` is valid.
    if unsafe { bindings::cma_intersects(area, search.start as usize, search.last as usize) } {
        search.found = area;
        return 1;
    }
    0
}

impl WholeArea {
    /// Allocates all pages of the area that is at `start`, of `size` bytes; [`None`] where there is
    /// no area, and the page allocator thus lends no pages. May sleep, until those to whom pages
    /// are lent have moved out.
    ///
    /// The CPU has no use for the pages: nothing is cleared, and nothing is left in its caches that
    /// it could write back later.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: there is an area, which begins or ends elsewhere.
    /// - [`EBUSY`]: some of the pages are allocated, or can't be freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     cma::WholeArea,
    ///     of, //
    /// };
    ///
    /// /// Sees to it that nobody else uses memory that is reserved for a device.
    /// fn take(memory: &of::ReservedMemory) -> Result<Option<WholeArea>> {
    ///     WholeArea::allocate(memory.start(), memory.size())
    /// }
    ///
    /// // There is no memory.
    /// # use kernel::io::PhysAddr;
    /// assert!(WholeArea::allocate(PhysAddr::MAX - 0x2000, 0x1000)?.is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn allocate(start: PhysAddr, size: PhysAddr) -> Result<Option<Self>> {
        #[cfg(CONFIG_CMA)]
        return Self::find(start, size);

        #[cfg(not(CONFIG_CMA))]
        {
            let _ = (start, size);
            Ok(None)
        }
    }

    #[cfg(CONFIG_CMA)]
    fn find(start: PhysAddr, size: PhysAddr) -> Result<Option<Self>> {
        let mut search = Search {
            start,
            last: size
                .checked_sub(1)
                .and_then(|last| start.checked_add(last))
                .ok_or(EINVAL)?,
            found: core::ptr::null_mut(),
        };

        // SAFETY: `look_at()` gets `search`, which is valid during the call.
        unsafe { bindings::cma_for_each_area(Some(look_at), (&raw mut search).cast()) };
        let Some(area) = NonNull::new(search.found) else {
            return Ok(None);
        };

        // SAFETY: Areas stay as they are for ever. What has several ranges is not for a device, and
        // gives a warning.
        let (base, bytes) = unsafe {
            (
                bindings::cma_get_base(area.as_ptr()),
                bindings::cma_get_size(area.as_ptr()),
            )
        };
        if base != start || bytes as PhysAddr != size {
            return Err(EINVAL);
        }

        let count = bytes / crate::page::PAGE_SIZE;
        let allocate = |no_warn| {
            // SAFETY: The area is valid, and has so many pages.
            NonNull::new(unsafe { bindings::cma_alloc(area.as_ptr(), count, 0, no_warn) })
        };
        // One page that is in use for a moment keeps all others.
        let pages = (0..RETRIES)
            .find_map(|_| {
                let pages = allocate(true);
                if pages.is_none() {
                    fsleep(RETRY_INTERVAL);
                }
                pages
            })
            .or_else(|| allocate(false))
            .ok_or(EBUSY)?;

        // SAFETY: The pages are valid, and nobody else has them.
        unsafe { bindings::cma_clean_pages(pages.as_ptr(), bytes) };

        // INVARIANT: They have been allocated just now, and are all that the area has.
        Ok(Some(Self { area, pages, count }))
    }
}

impl Drop for WholeArea {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the pages were allocated from the area, and belong to us.
        #[cfg(CONFIG_CMA)]
        unsafe {
            bindings::cma_release(self.area.as_ptr(), self.pages.as_ptr(), self.count)
        };
    }
}

// SAFETY: The pages can be freed by any thread.
unsafe impl Send for WholeArea {}

// SAFETY: Nothing can be done with a reference.
unsafe impl Sync for WholeArea {}
