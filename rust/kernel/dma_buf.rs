// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque,
};
use core::ptr::NonNull;

/// A buffer that drivers share with each other and with user space, which holds it as a file.
///
/// The address of a `DmaBuf` identifies the buffer for as long as a reference to it is held: two
/// file descriptors stand for the same buffer if and only if [`from_fd()`](Self::from_fd) returns
/// references that are equal by [`core::ptr::eq`].
///
/// # Invariants
///
/// Instances are always reference-counted, by the count of the buffer's file.
#[repr(transparent)]
pub struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: The last reference to a `struct dma_buf` may be dropped from any thread.
unsafe impl Send for DmaBuf {}

// SAFETY: `DmaBuf` only offers access to what does not change during the life of the buffer.
unsafe impl Sync for DmaBuf {}

// SAFETY: The type invariants guarantee that `DmaBuf` is reference-counted.
unsafe impl AlwaysRefCounted for DmaBuf {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the buffer, and thus its file, has a non-zero
        // reference count.
        unsafe { bindings::get_file((*self.as_raw()).file) };
    }

    #[inline(never)]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller passes a reference.
        unsafe { bindings::dma_buf_put(obj.cast().as_ptr()) };
    }
}

impl DmaBuf {
    /// Returns a reference to the buffer behind a file descriptor of the current process.
    ///
    /// # Errors
    ///
    /// - `EBADF` if `fd` is not an open file descriptor.
    /// - `EINVAL` if it is one of something else.
    // Not inlined, so that the reference to the symbol, which is in a namespace, stays in the
    // kernel crate.
    #[inline(never)]
    pub fn from_fd(fd: i32) -> Result<ARef<Self>> {
        // SAFETY: `dma_buf_get()` is safe to call with any number.
        let buf = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
        let buf = NonNull::new(buf.cast()).ok_or(EINVAL)?;

        // SAFETY: `dma_buf_get()` returned a reference, which is now owned by the `ARef`.
        Ok(unsafe { ARef::from_raw(buf) })
    }

    /// Creates a reference from a raw pointer.
    ///
    /// # Safety
    ///
    /// `buf` must be a valid `struct dma_buf` throughout `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(buf: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: `buf` is valid per the safety requirements, and the layouts are the same.
        unsafe { &*buf.cast() }
    }

    /// Returns a raw pointer to the `struct dma_buf`.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// Returns how many references to the buffer there are: file descriptors, mappings into user
    /// space, importers, and those of `ARef<DmaBuf>`.
    ///
    /// Others may take and drop references at any time. The number is only good for finding out
    /// that nobody but the caller has any, because then nobody else can take one.
    #[inline]
    pub fn references(&self) -> usize {
        // SAFETY: The buffer, and thus its file, is valid.
        unsafe { bindings::file_count((*self.as_raw()).file) }
    }

    /// Returns the size of the buffer in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: The buffer is valid, and its size never changes.
        unsafe { (*self.as_raw()).size }
    }
}
