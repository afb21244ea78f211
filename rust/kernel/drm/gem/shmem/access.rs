// SPDX-License-Identifier: GPL-2.0

//! dma-bufs of shmem objects, and accesses of the CPU to objects that devices have mapped.
//!
//! What the CPU writes to its caches, and what devices write to memory, come together when an
//! object is mapped or unmapped, and when accesses of the CPU begin or end. For the latter an
//! object knows who has it mapped: the devices of its driver, see
//! [`DmaMapping`](super::DmaMapping), and those that are attached to its dma-buf.
//!
//! All of this is no more than a check for devices that see the caches.

use super::Object;
use crate::{
    bindings,
    container_of,
    dma::DataDirection,
    drm::gem::{
        DriverObject,
        IntoGEMObject, //
    },
    error::from_err_ptr,
    prelude::*,
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_int,
    ptr, //
};

/// Who is about to access memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// The CPU.
    Cpu,
    /// The device.
    Device,
}

/// A mapping of an object's pages for a device.
struct Mapped {
    dev: *mut bindings::device,
    /// A copy of the table: its entries are those that are mapped.
    table: bindings::sg_table,
}

/// The mappings of an object's pages for devices of its driver. Protected by the reservation lock
/// of the object.
pub(super) struct MappedList(UnsafeCell<KVec<Mapped>>);

impl MappedList {
    /// None.
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(KVec::new()))
    }

    /// The list of a GEM object.
    ///
    /// # Safety
    ///
    /// `obj` must be a valid GEM object that is part of an [`Object`].
    unsafe fn of<'a>(obj: *mut bindings::drm_gem_object) -> &'a Self {
        // SAFETY: An `Object` begins like a `Head`, whatever its type.
        unsafe {
            let shmem = container_of!(obj, bindings::drm_gem_shmem_object, base);
            let head = container_of!(Opaque::cast_from(shmem), Head, obj);

            &(*head).mapped
        }
    }

    /// Adds a mapping.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// - `shmem` must be the valid object that has this list.
    /// - `table` must be mapped for `dev`, a valid and bound device, until it is removed.
    pub(super) unsafe fn add(
        &self,
        shmem: *mut bindings::drm_gem_shmem_object,
        dev: *mut bindings::device,
        table: &bindings::sg_table,
    ) -> Result {
        let mapped = Mapped {
            dev,
            table: bindings::sg_table {
                sgl: table.sgl,
                nents: table.nents,
                orig_nents: table.orig_nents,
            },
        };

        // SAFETY: Per the safety requirements, and the lock is taken.
        unsafe { self.locked(&raw mut (*shmem).base, |list| list.push(mapped, GFP_KERNEL)) }?;
        Ok(())
    }

    /// Removes the mapping of the table that begins with `sgl`, if it is there.
    ///
    /// # Safety
    ///
    /// `shmem` must be the valid object that has this list.
    pub(super) unsafe fn remove(
        &self,
        shmem: *mut bindings::drm_gem_shmem_object,
        sgl: *mut bindings::scatterlist,
    ) {
        // SAFETY: Per the safety requirements.
        unsafe {
            self.locked(&raw mut (*shmem).base, |list| {
                list.retain(|mapped| mapped.table.sgl != sgl)
            })
        };
    }

    /// Runs `f` on the list with the reservation lock of `obj`.
    ///
    /// # Safety
    ///
    /// `obj` must be the valid object that has this list.
    unsafe fn locked<R>(
        &self,
        obj: *mut bindings::drm_gem_object,
        f: impl FnOnce(&mut KVec<Mapped>) -> R,
    ) -> R {
        // SAFETY: The lock is that of the object. With it, nobody else has a reference to the list.
        unsafe {
            bindings::dma_resv_lock((*obj).resv, ptr::null_mut());
            let result = f(&mut *self.0.get());
            bindings::dma_resv_unlock((*obj).resv);
            result
        }
    }
}

/// What every [`Object`] begins with.
#[repr(C)]
struct Head {
    obj: Opaque<bindings::drm_gem_shmem_object>,
    mapped: MappedList,
}

impl<T: DriverObject> Object<T> {
    /// Makes what devices of the driver have written to the object visible to the CPU.
    ///
    /// Accesses to an imported object are the exporter's business, see [`Self::dma_buf()`].
    pub fn begin_cpu_access(&self, direction: DataDirection) {
        // SAFETY: The object is valid.
        unsafe { sync(self.as_raw(), None, For::Cpu, direction.into()) };
    }

    /// Makes what the CPU has written to the object visible to devices of the driver; the
    /// counterpart of [`Self::begin_cpu_access()`].
    pub fn end_cpu_access(&self, direction: DataDirection) {
        // SAFETY: The object is valid.
        unsafe { sync(self.as_raw(), None, For::Device, direction.into()) };
    }

    /// `drm_gem_object_funcs.export`.
    pub(super) extern "C" fn export_callback(
        obj: *mut bindings::drm_gem_object,
        flags: c_int,
    ) -> *mut bindings::dma_buf {
        // SAFETY: The DRM core calls this with an object that has these functions.
        unsafe { export(obj, flags) }
    }
}

/// Makes what one side has written to `obj` visible to the other: `who` is about to access it.
///
/// # Safety
///
/// `obj` must be a valid GEM object that is part of an [`Object`], and `buf` a dma-buf of it.
unsafe fn sync(
    obj: *mut bindings::drm_gem_object,
    buf: Option<*mut bindings::dma_buf>,
    who: For,
    direction: bindings::dma_data_direction,
) {
    let one = |dev: *mut bindings::device, table: *const bindings::sg_table| {
        // SAFETY: Both are valid, see below, and the table is mapped for the device, which does not
        // change it.
        unsafe {
            match who {
                For::Cpu => {
                    bindings::dma_sync_sgtable_for_cpu(dev, table.cast_mut(), direction);
                }
                For::Device => {
                    bindings::dma_sync_sgtable_for_device(dev, table.cast_mut(), direction);
                }
            }
        }
    };

    // SAFETY: Per the safety requirements. The object has its functions, and thus the type that
    // they are for.
    unsafe {
        let shmem = container_of!(obj, bindings::drm_gem_shmem_object, base);
        if (*shmem).map_wc() {
            return;
        }

        MappedList::of(obj).locked(obj, |list| {
            for mapped in list.iter() {
                one(mapped.dev, &mapped.table);
            }
            // The reservation lock of the dma-buf is that of the object.
            let Some(buf) = buf else {
                return;
            };
            let head = &raw mut (*buf).attachments;
            let mut node = (*head).next;
            while node != head {
                let attach = container_of!(node, bindings::dma_buf_attachment, node);
                if !(*attach).priv_.is_null() {
                    one((*attach).dev, (*attach).priv_.cast());
                }
                node = (*node).next;
            }
        });
    }
}

/// Exports `obj` as a new dma-buf.
///
/// # Safety
///
/// `obj` must be a valid GEM object that is part of an [`Object`].
#[inline(never)]
unsafe fn export(obj: *mut bindings::drm_gem_object, flags: c_int) -> *mut bindings::dma_buf {
    // SAFETY: Per the safety requirements; its device, and the driver, are valid as long as the
    // object is.
    unsafe {
        let dev = (*obj).dev;
        let mut info = bindings::dma_buf_export_info {
            exp_name: (*(*dev).driver).name,
            owner: (*(*(*dev).driver).fops).owner,
            ops: &raw const OPS.0,
            size: (*obj).size,
            flags,
            resv: (*obj).resv,
            priv_: obj.cast(),
        };

        bindings::drm_gem_dmabuf_export(dev, &mut info)
    }
}

/// Whether `buf` is a dma-buf of an [`Object`], of whatever type.
///
/// # Safety
///
/// `buf` must be a valid dma-buf.
pub(super) unsafe fn is_export(buf: *mut bindings::dma_buf) -> bool {
    // SAFETY: Per the safety requirements.
    ptr::eq(unsafe { (*buf).ops }, &raw const OPS.0)
}

/// The operations of dma-bufs of shmem objects.
struct Ops(bindings::dma_buf_ops);

// SAFETY: It is constant.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(bindings::dma_buf_ops {
    attach: Some(bindings::drm_gem_map_attach),
    detach: Some(bindings::drm_gem_map_detach),
    map_dma_buf: Some(map_callback),
    unmap_dma_buf: Some(unmap_callback),
    release: Some(bindings::drm_gem_dmabuf_release),
    mmap: Some(bindings::drm_gem_dmabuf_mmap),
    vmap: Some(bindings::drm_gem_dmabuf_vmap),
    vunmap: Some(bindings::drm_gem_dmabuf_vunmap),
    begin_cpu_access: Some(begin_cpu_access_callback),
    end_cpu_access: Some(end_cpu_access_callback),
    pin: None,
    unpin: None,
});

/// Whether the CPU accesses the memory of `buf` through its caches.
///
/// # Safety
///
/// `buf` must be a valid dma-buf of an [`Object`].
unsafe fn is_cached(buf: *mut bindings::dma_buf) -> bool {
    // SAFETY: Per the safety requirements.
    unsafe {
        let obj: *mut bindings::drm_gem_object = (*buf).priv_.cast();

        !(*container_of!(obj, bindings::drm_gem_shmem_object, base)).map_wc()
    }
}

/// `dma_buf_ops.map_dma_buf`: what the CPU has written is there when the device begins, as with
/// other exporters.
///
/// # Safety
///
/// For the dma-buf core, which calls it with the reservation lock.
unsafe extern "C" fn map_callback(
    attach: *mut bindings::dma_buf_attachment,
    direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    // SAFETY: The attachment is valid, and one to a dma-buf with these operations.
    unsafe {
        let table = bindings::drm_gem_map_dma_buf(attach, direction);

        if from_err_ptr(table).is_ok() {
            (*attach).priv_ = table.cast();
            if is_cached((*attach).dmabuf) {
                bindings::dma_sync_sgtable_for_device((*attach).dev, table, direction);
            }
        }
        table
    }
}

/// `dma_buf_ops.unmap_dma_buf`.
///
/// # Safety
///
/// As for [`map_callback()`].
unsafe extern "C" fn unmap_callback(
    attach: *mut bindings::dma_buf_attachment,
    table: *mut bindings::sg_table,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: As for `map_callback()`, which has mapped the table.
    unsafe {
        (*attach).priv_ = ptr::null_mut();
        if is_cached((*attach).dmabuf) {
            bindings::dma_sync_sgtable_for_cpu((*attach).dev, table, direction);
        }
        bindings::drm_gem_unmap_dma_buf(attach, table, direction);
    }
}

/// `dma_buf_ops.begin_cpu_access`.
///
/// # Safety
///
/// For the dma-buf core.
unsafe extern "C" fn begin_cpu_access_callback(
    buf: *mut bindings::dma_buf,
    direction: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The dma-buf is valid, and one of an object.
    unsafe { sync((*buf).priv_.cast(), Some(buf), For::Cpu, direction) };
    0
}

/// `dma_buf_ops.end_cpu_access`.
///
/// # Safety
///
/// For the dma-buf core.
unsafe extern "C" fn end_cpu_access_callback(
    buf: *mut bindings::dma_buf,
    direction: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: As in `begin_cpu_access_callback()`.
    unsafe { sync((*buf).priv_.cast(), Some(buf), For::Device, direction) };
    0
}
