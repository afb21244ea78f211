// SPDX-License-Identifier: GPL-2.0

//! Pages that a device uses, and the CPU does not.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    alloc::Flags,
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::{
        DataDirection,
        DmaAddress, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use core::{
    ffi::c_uint,
    ptr::NonNull, //
};

const BIDIRECTIONAL: DataDirection = DataDirection::Bidirectional;

/// A block of zeroed pages, in one piece for the CPU and for the device, that the device may read
/// and write.
///
/// Such a block is had at a fraction of the cost of [`Coherent`](crate::dma::Coherent) memory of
/// the same size, which is put together from pages and mapped for the CPU, page by page. It is not
/// always to be had: allocating it does not try hard, so that callers need another way.
///
/// # Invariants
///
/// - `page` is the first of `1 << order` pages, which are mapped for `dev` at `address` and belong
///   to this.
/// - `dev` is bound as long as `_owner` is there.
pub struct DmaPages<B> {
    dev: ARef<Device>,
    _owner: Arc<B>,
    page: NonNull<bindings::page>,
    order: c_uint,
    address: DmaAddress,
}

impl<B: AsRef<Device<Bound>>> DmaPages<B> {
    /// Allocates `size` bytes, a power of two of pages, and maps them for the device that `owner`
    /// keeps bound, whose DMA mask must have been set.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `size` is not a power of two of pages, or more than can be had in one piece.
    /// - [`ENOMEM`]: there is no such block, or no room for it in what the device can address.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     device::{
    ///         Bound,
    ///         Device, //
    ///     },
    ///     dma::{
    ///         attrs::DMA_ATTR_NO_WARN,
    ///         Coherent, //
    ///     },
    ///     dma_pages::DmaPages,
    ///     sizes::SZ_2M,
    ///     sync::Arc, //
    /// };
    ///
    /// enum Memory<B> {
    ///     Block(DmaPages<B>),
    ///     Pages(Coherent<[u8]>),
    /// }
    ///
    /// fn firmware_memory<B: AsRef<Device<Bound>>>(owner: &Arc<B>) -> Result<Memory<B>> {
    ///     if let Ok(block) = DmaPages::new(owner.clone(), SZ_2M, GFP_KERNEL) {
    ///         return Ok(Memory::Block(block));
    ///     }
    ///     Ok(Memory::Pages(Coherent::zeroed_slice_with_attrs(
    ///         (**owner).as_ref(),
    ///         SZ_2M,
    ///         GFP_KERNEL,
    ///         DMA_ATTR_NO_WARN,
    ///     )?))
    /// }
    /// ```
    pub fn new(owner: Arc<B>, size: usize, flags: Flags) -> Result<Self> {
        let dev: &Device<Bound> = (*owner).as_ref();
        let count = size / PAGE_SIZE;
        let order = count.checked_ilog2().ok_or(EINVAL)?;
        if size != PAGE_SIZE << order || order > bindings::MAX_PAGE_ORDER {
            return Err(EINVAL);
        }

        let sparing = 1 << bindings::___GFP_NORETRY_BIT | 1 << bindings::___GFP_NOWARN_BIT;
        let flags = (flags | __GFP_ZERO).as_raw() | sparing;
        // SAFETY: Any flags will do.
        let page = NonNull::new(unsafe { bindings::alloc_pages(flags, order) }).ok_or(ENOMEM)?;

        // SAFETY: The device is valid, and bound; the pages are, and nobody else has them.
        let address = unsafe {
            bindings::dma_map_page_attrs(
                dev.as_raw(),
                page.as_ptr(),
                0,
                size,
                BIDIRECTIONAL.into(),
                0,
            )
        };
        // SAFETY: The device is valid, and the address is of a mapping for it.
        if unsafe { bindings::dma_mapping_error(dev.as_raw(), address) } != 0 {
            // SAFETY: They come from `alloc_pages()` with that order, and nobody else has them.
            unsafe { bindings::__free_pages(page.as_ptr(), order) };
            return Err(ENOMEM);
        }

        // INVARIANT: They are mapped, and nobody else has them. The owner keeps the device bound.
        Ok(Self {
            dev: dev.into(),
            _owner: owner,
            page,
            order,
            address,
        })
    }
}

impl<B> DmaPages<B> {
    /// Returns the address of the first byte, for the device.
    pub fn dma_address(&self) -> DmaAddress {
        self.address
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        PAGE_SIZE << self.order
    }
}

impl<B> Drop for DmaPages<B> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants they are mapped for the device at this address, and the
        // device is bound: the owner is dropped after this.
        unsafe {
            bindings::dma_unmap_page_attrs(
                self.dev.as_raw(),
                self.address,
                self.size(),
                BIDIRECTIONAL.into(),
                0,
            )
        };
        // SAFETY: By the type invariants they belong to us, and the device can't access them any
        // more.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}

// SAFETY: The pages can be unmapped and freed by any thread.
unsafe impl<B: Send + Sync> Send for DmaPages<B> {}

// SAFETY: All that can be done with a reference is to read what never changes.
unsafe impl<B: Send + Sync> Sync for DmaPages<B> {}
