// SPDX-License-Identifier: GPL-2.0

//! Blocks of pages, for small objects.
//!
//! A file in tmpfs costs more than the few pages of a small object. A block has no file, and
//! nothing to look up: it is one piece of memory. In return it can't be swapped out.

use super::{
    coherent::Memory,
    Object, //
};
use crate::{
    bindings,
    drm::{
        gem::DriverObject,
        Device,
        Driver, //
    },
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    ffi::c_uint,
    ptr::NonNull, //
};

/// Zeroed pages that are contiguous in memory.
///
/// # Invariants
///
/// `page` is the first of `1 << order` pages, which belong to this.
pub(super) struct Block {
    page: NonNull<bindings::page>,
    order: c_uint,
    /// In bytes, whole pages, not more than there are.
    size: usize,
}

// SAFETY: It can be used and freed by any thread.
unsafe impl Send for Block {}

// SAFETY: There is nothing to be mutated through a shared reference.
unsafe impl Sync for Block {}

impl Block {
    #[inline(never)]
    fn new(size: usize) -> Result<Self> {
        let order = (size / PAGE_SIZE).next_power_of_two().ilog2();
        // There is another way if there is no such block.
        let sparing = 1 << bindings::___GFP_NORETRY_BIT | 1 << bindings::___GFP_NOWARN_BIT;
        let flags = (GFP_KERNEL_ACCOUNT | __GFP_ZERO).as_raw() | sparing;
        // SAFETY: Any flags will do.
        let page = NonNull::new(unsafe { bindings::alloc_pages(flags, order) }).ok_or(ENOMEM)?;

        // INVARIANT: They were just allocated.
        Ok(Self { page, order, size })
    }

    /// The kernel's address.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        // SAFETY: The page is valid, and mapped by the kernel, as it is not in high memory.
        unsafe { bindings::page_address(self.page.as_ptr()) }
    }

    /// Makes a table of the pages, which the caller has to free with `sg_free_table()`.
    #[inline(never)]
    pub(super) fn table(&self) -> Result<bindings::sg_table> {
        let mut table = bindings::sg_table::default();

        // SAFETY: The table is not in use, and has one entry then. CAST: A block is small.
        unsafe {
            to_result(bindings::sg_alloc_table(
                &mut table,
                1,
                bindings::GFP_KERNEL,
            ))?;
            bindings::sg_set_page(table.sgl, self.page.as_ptr(), self.size as u32, 0);
        }
        Ok(table)
    }

    /// Enters the page with index `index` at address `at`.
    ///
    /// # Safety
    ///
    /// For a fault in `vma`, which must have been made by [`Block::mmap()`].
    pub(super) unsafe fn fault(
        &self,
        vma: *mut bindings::vm_area_struct,
        at: usize,
        index: usize,
    ) -> bindings::vm_fault_t {
        if index >= self.size / PAGE_SIZE {
            return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
        }
        // SAFETY: Per the safety requirements. The page is one of the block.
        unsafe {
            let pfn = bindings::page_to_pfn(self.page.as_ptr()) + index;

            bindings::vmf_insert_pfn(vma, at, pfn)
        }
    }

    /// Enters pages from the one with index `first` into all of `vma`.
    ///
    /// # Safety
    ///
    /// `vma` must be an area that is being made, not longer than what there is from `first` on, and
    /// must keep the block.
    #[inline(never)]
    pub(super) unsafe fn mmap(&self, vma: *mut bindings::vm_area_struct, first: usize) -> c_int {
        // SAFETY: Per the safety requirements.
        unsafe {
            let addresses = (*vma).__bindgen_anon_1.__bindgen_anon_1;

            bindings::remap_pfn_range(
                vma,
                addresses.vm_start,
                bindings::page_to_pfn(self.page.as_ptr()) + first,
                addresses.vm_end - addresses.vm_start,
                (*vma).vm_page_prot,
            )
        }
    }
}

impl Drop for Block {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: They were allocated in `new()`, and belong to this.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}

impl<T: DriverObject> Object<T> {
    /// Creates an object whose memory is one block of pages, which has to be small to be had.
    ///
    /// It can be mapped by user space and for devices, and be exported, as others.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if `size` is zero or not a multiple of [`PAGE_SIZE`].
    /// - `ENOMEM` if there is no such block; [`Object::new()`] may still find as many pages.
    pub fn new_block(dev: &Device<T::Driver>, size: usize, args: T::Args) -> Result<ARef<Self>>
    where
        T::Driver: Driver<Object = Self>,
    {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let memory = Memory::of_block(Block::new(size)?);

        Self::with_memory(dev, size, memory, T::new(dev, size, args))
    }
}
