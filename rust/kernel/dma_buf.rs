// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    bindings,
    dma::DataDirection,
    error::{
        from_err_ptr,
        to_result, //
    },
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

/// Frees the buffers whose last reference a kernel thread has dropped.
///
/// That drops the reference to a file, which kernel threads leave to a work item. For who wants the
/// memory at once. May sleep.
pub fn flush_put() {
    // SAFETY: It can be called in any context that may sleep.
    unsafe { bindings::flush_delayed_fput() };
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

    /// Returns whether the exporter makes accesses of the CPU and of devices coherent that have the
    /// buffer mapped, by [`begin_cpu_access()`](Self::begin_cpu_access) and
    /// [`end_cpu_access()`](Self::end_cpu_access). Else only mapping and unmapping does.
    #[inline]
    pub fn has_cpu_access(&self) -> bool {
        // SAFETY: The buffer is valid, and its operations never change.
        let ops = unsafe { &*(*self.as_raw()).ops };

        ops.begin_cpu_access.is_some() && ops.end_cpu_access.is_some()
    }

    /// Returns whether user space has the buffer mapped, by its file descriptors. It may change at
    /// any time.
    #[inline]
    pub fn is_mapped(&self) -> bool {
        // SAFETY: The buffer is valid, and has a file, which has a mapping, as long as it exists.
        unsafe { bindings::mapping_mapped((*(*self.as_raw()).file).f_mapping) != 0 }
    }

    /// Makes what devices have written to the buffer visible to the CPU, which is about to access
    /// it in this direction: with [`DataDirection::ToDevice`] it only writes.
    ///
    /// Waits for fences of the buffer, for as long as these take: no locks may be held that others
    /// need.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal came.
    /// - Any error of the exporter.
    #[inline(never)]
    pub fn begin_cpu_access(&self, direction: DataDirection) -> Result {
        // SAFETY: The buffer is valid.
        to_result(unsafe { bindings::dma_buf_begin_cpu_access(self.as_raw(), direction.into()) })
    }

    /// Makes what the CPU has written to the buffer visible to devices; the counterpart of
    /// [`begin_cpu_access()`](Self::begin_cpu_access), with the same direction.
    ///
    /// # Errors
    ///
    /// Any error of the exporter.
    #[inline(never)]
    pub fn end_cpu_access(&self, direction: DataDirection) -> Result {
        // SAFETY: The buffer is valid.
        to_result(unsafe { bindings::dma_buf_end_cpu_access(self.as_raw(), direction.into()) })
    }

    /// Returns the size of the buffer in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: The buffer is valid, and its size never changes.
        unsafe { (*self.as_raw()).size }
    }
}
