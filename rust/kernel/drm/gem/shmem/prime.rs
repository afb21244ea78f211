// SPDX-License-Identifier: GPL-2.0

//! Objects that are shared as a dma-buf, and the objects that the DRM core asks for.
//!
//! The core creates objects of its own accord for two ioctls, `DRM_IOCTL_PRIME_FD_TO_HANDLE` and
//! `DRM_IOCTL_MODE_CREATE_DUMB`. Any object of a driver must be an [`Object`], since that is what a
//! handle of its files is taken for. The C helpers for these ioctls can't see to that, not even
//! with a `gem_create_object` callback: should the initialization of the object fail after it, they
//! `kfree()` the memory, without dropping the pinned data of the driver in it. Hence they are not
//! used here. Nothing else in C creates shmem objects for a driver.

use super::{
    Object,
    ObjectConfig, //
};
use crate::{
    bindings,
    dma_buf::DmaBuf,
    drm::{
        gem::{
            DriverObject,
            IntoGEMObject, //
        },
        Device,
        Driver, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};
use core::ptr::NonNull;

impl<T: DriverObject> Object<T> {
    /// Returns the object for a dma-buf.
    ///
    /// If the dma-buf was exported by `dev`, this is the very object that was exported. Otherwise
    /// it is a new object, made with [`DriverObject::new_imported()`], which stands for the
    /// dma-buf's memory. That memory is not mapped for any device; see
    /// [`DmaMapping`](super::DmaMapping).
    ///
    /// This does the same as `DRM_IOCTL_PRIME_FD_TO_HANDLE`, but for a user that has no DRM file.
    /// Every call makes a new object, callers who want only one per dma-buf have to remember it.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` if the driver does not support imports.
    /// - `EINVAL` if the dma-buf does not consist of whole pages.
    /// - Any error of [`DriverObject::new_imported()`] or of the exporter.
    pub fn import(dev: &Device<T::Driver>, buf: &DmaBuf) -> Result<ARef<Self>>
    where
        T::Driver: Driver<Object = Self>,
    {
        // SAFETY: The bound is what is required.
        unsafe { Self::import_unchecked(dev, buf) }
    }

    /// # Safety
    ///
    /// `Self` must be the type of objects of the driver, i.e. [`Driver::Object`].
    unsafe fn import_unchecked(dev: &Device<T::Driver>, buf: &DmaBuf) -> Result<ARef<Self>> {
        // SAFETY: `dev` and `buf` are valid.
        if unsafe { bindings::drm_gem_is_prime_exported_dma_buf(dev.as_raw(), buf.as_raw()) } {
            // SAFETY: Such a dma-buf holds a reference to an object of `dev`. Only objects of the
            // driver's type can be exported: neither `create_handle()` nor `export()` take others.
            return Ok(unsafe { Self::from_raw((*buf.as_raw()).priv_.cast()) }.into());
        }

        let size = buf.size();
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }

        let obj = Self::alloc(None, T::new_imported(dev, size))?;

        // SAFETY: The arguments are valid, and the object has not been initialized yet. Should this
        // fail, dropping `obj` frees it.
        to_result(unsafe {
            bindings::drm_gem_shmem_init_private(dev.as_raw(), obj.as_raw_shmem(), size)
        })?;

        // SAFETY: The object was initialized just now. From here on, it is freed by its reference
        // count dropping to zero.
        let obj = unsafe { Self::from_alloc(obj) };

        // SAFETY: `obj` is private to this function, and gets attached only once.
        unsafe { attach(obj.as_raw(), buf) }?;

        Ok(obj)
    }

    /// Returns whether the object stands for the memory of a dma-buf of another device.
    #[inline]
    pub fn is_imported(&self) -> bool {
        // SAFETY: The object is valid, and the field does not change once it is in use.
        unsafe { !(*self.as_raw()).import_attach.is_null() }
    }

    /// Has the exporter of an imported object make the memory fit for accesses of the CPU.
    ///
    /// Does nothing for an object that was not imported.
    ///
    /// # Errors
    ///
    /// What the exporter reports.
    pub fn begin_import_access(&self) -> Result {
        // SAFETY: The object is valid.
        unsafe { access(self.as_raw(), true) }
    }

    /// Tells the exporter that the accesses of the CPU are over; the counterpart of
    /// [`begin_import_access()`](Self::begin_import_access).
    ///
    /// # Errors
    ///
    /// What the exporter reports.
    pub fn end_import_access(&self) -> Result {
        // SAFETY: The object is valid.
        unsafe { access(self.as_raw(), false) }
    }

    /// Exports the object as a new dma-buf, and returns the file of that.
    ///
    /// The file can be installed with
    /// [`FileDescriptorReservation`](crate::fs::file::FileDescriptorReservation). It permits
    /// reading and writing, and it keeps the object, the DRM device and the driver module.
    ///
    /// This is for objects that have no handle. Those with one are exported by
    /// `DRM_IOCTL_PRIME_HANDLE_TO_FD`, where the DRM core takes care that an object has not more
    /// than one dma-buf at a time. For the same reason this can be done only once per object, and
    /// no handle must be created for the object other than by importing the dma-buf.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if the object has been exported before, or has a handle.
    /// - `EINVAL` if the object has been imported.
    /// - `ENOMEM` if memory runs out.
    pub fn export(&self) -> Result<ARef<File>>
    where
        T::Driver: Driver<Object = Self>,
    {
        if self.is_imported() {
            return Err(EINVAL);
        }

        // SAFETY: The object is valid by its type invariants, and it is locked with its device.
        unsafe {
            let lock = &raw mut (*(*self.as_raw()).dev).object_name_lock;

            bindings::mutex_lock(lock);
            let file = if self.exported.get() {
                Err(EBUSY)
            } else {
                export(self.as_raw())
            };
            // This is the only place where the flag is used, with the lock held.
            self.exported.set(self.exported.get() || file.is_ok());
            bindings::mutex_unlock(lock);
            file
        }
    }

    /// `drm_driver.gem_prime_import` for shmem objects.
    pub(super) extern "C" fn import_callback(
        raw_dev: *mut bindings::drm_device,
        raw_buf: *mut bindings::dma_buf,
    ) -> *mut bindings::drm_gem_object {
        // SAFETY: The DRM core calls this with a device that uses these callbacks, i.e. whose
        // driver has this type of objects, and is the one that this type belongs to.
        let dev: &Device<T::Driver> = unsafe { Device::from_raw(raw_dev) };

        // SAFETY: The DRM core holds a reference to the dma-buf during the call.
        let buf = unsafe { DmaBuf::from_raw(raw_buf) };

        // SAFETY: As above.
        match unsafe { Self::import_unchecked(dev, buf) } {
            // SAFETY: The pointer is that of a valid object.
            Ok(obj) => unsafe { ARef::into_raw(obj).as_ref() }.as_raw(),
            Err(e) => e.to_ptr(),
        }
    }

    /// `drm_driver.dumb_create` for shmem objects.
    pub(super) extern "C" fn dumb_create_callback(
        raw_file: *mut bindings::drm_file,
        raw_dev: *mut bindings::drm_device,
        args: *mut bindings::drm_mode_create_dumb,
    ) -> core::ffi::c_int {
        let create = || {
            // SAFETY: The DRM core calls this with a valid device and exclusive arguments.
            to_result(unsafe { bindings::drm_mode_size_dumb(raw_dev, args, 0, 0) })?;

            // SAFETY: As in `import_callback()`.
            let dev: &Device<T::Driver> = unsafe { Device::from_raw(raw_dev) };

            // SAFETY: As above.
            let size = usize::try_from(unsafe { (*args).size })?;

            let obj = Self::with_inner(
                dev,
                size,
                ObjectConfig::default(),
                T::new_dumb(dev, size), //
            )?;

            // SAFETY: The DRM core calls this with a valid file. The handle takes a reference to
            // the object.
            to_result(unsafe {
                bindings::drm_gem_handle_create(raw_file, obj.as_raw(), &raw mut (*args).handle)
            })
        };

        create().map_or_else(|e: Error| e.to_errno(), |()| 0)
    }
}

/// Makes `obj` an import of `buf`.
///
/// The attachment is for the parent of the DRM device. It is never mapped, and serves to mark the
/// object as an import, and to hold the dma-buf.
///
/// # Safety
///
/// `obj` must be a valid GEM object that is neither in use by anyone else nor attached.
#[inline(never)]
unsafe fn attach(obj: *mut bindings::drm_gem_object, buf: &DmaBuf) -> Result {
    // SAFETY: `obj` is valid, and thus is the device it was initialized for.
    let dev = unsafe { (*(*obj).dev).dev };

    // SAFETY: `buf` and `dev` are valid. The DRM device, which outlives its objects, has a
    // reference to `dev`.
    let attach = from_err_ptr(unsafe { bindings::dma_buf_attach(buf.as_raw(), dev) })?;

    // This reference is dropped by `drm_gem_shmem_release()`.
    core::mem::forget(ARef::from(buf));

    // SAFETY: `obj` is valid, and nobody else is using it.
    unsafe {
        (*obj).import_attach = attach;
        (*obj).resv = (*buf.as_raw()).resv;
    }

    Ok(())
}

/// Exports `obj`.
///
/// # Safety
///
/// `obj` must be a valid GEM object, and the `object_name_lock` of its device must be held.
unsafe fn export(obj: *mut bindings::drm_gem_object) -> Result<ARef<File>> {
    // SAFETY: `obj` is valid, and its fields are protected by the lock.
    if unsafe { (*obj).handle_count != 0 || !(*obj).dma_buf.is_null() } {
        return Err(EBUSY);
    }

    // CAST: The flags are small and positive.
    let flags = (bindings::DRM_CLOEXEC | bindings::DRM_RDWR) as c_int;

    // SAFETY: `obj` is valid.
    let buf = from_err_ptr(unsafe { bindings::drm_gem_prime_export(obj, flags) })?;

    // SAFETY: `buf` is a valid dma-buf.
    let file = NonNull::new(unsafe { (*buf).file }).ok_or(EINVAL)?;

    // SAFETY: The reference to the dma-buf is a reference to its file, which is new, so that there
    // are no calls to `fdget_pos()`.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}

/// Begins or ends accesses of the CPU to what `obj` was imported from, if it was.
///
/// # Safety
///
/// `obj` must be a valid GEM object.
#[inline(never)]
unsafe fn access(obj: *mut bindings::drm_gem_object, begin: bool) -> Result {
    // SAFETY: `obj` is valid, and the field does not change once it is in use.
    let attach = unsafe { (*obj).import_attach };
    if attach.is_null() {
        return Ok(());
    }
    let direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

    // SAFETY: An import keeps its attachment, and thereby the dma-buf, for all its life.
    to_result(unsafe {
        let buf = (*attach).dmabuf;

        if begin {
            bindings::dma_buf_begin_cpu_access(buf, direction)
        } else {
            bindings::dma_buf_end_cpu_access(buf, direction)
        }
    })
}
