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
    access,
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
        // SAFETY: Per the safety requirements.
        if let Some(obj) = unsafe { Self::exported_unchecked(dev, buf) } {
            return Ok(obj);
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

    /// Returns the object that `dev` has exported as `buf`, if it is one.
    pub fn exported(dev: &Device<T::Driver>, buf: &DmaBuf) -> Option<ARef<Self>>
    where
        T::Driver: Driver<Object = Self>,
    {
        // SAFETY: The bound is what is required.
        unsafe { Self::exported_unchecked(dev, buf) }
    }

    /// # Safety
    ///
    /// As for [`Self::import_unchecked()`].
    unsafe fn exported_unchecked(dev: &Device<T::Driver>, buf: &DmaBuf) -> Option<ARef<Self>> {
        // SAFETY: `buf` is valid.
        if !unsafe { access::is_export(buf.as_raw()) } {
            return None;
        }

        // SAFETY: Such a dma-buf holds a reference to a GEM object.
        let obj: *mut bindings::drm_gem_object = unsafe { (*buf.as_raw()).priv_.cast() };
        // SAFETY: As above.
        if unsafe { (*obj).dev } != dev.as_raw() {
            return None;
        }
        // SAFETY: Only objects of the driver's type can be exported: neither `create_handle()` nor
        // `export()` take others.
        Some(unsafe { Self::from_raw(obj) }.into())
    }

    /// Returns the dma-buf whose memory the object stands for, if it was imported.
    ///
    /// Accesses of the CPU to that memory have to be made known to the exporter, see
    /// [`DmaBuf::begin_cpu_access()`].
    #[inline]
    pub fn dma_buf(&self) -> Option<&DmaBuf> {
        // SAFETY: The object is valid, and the field does not change once it is in use. An import
        // keeps its attachment, and thereby the dma-buf, for all its life.
        unsafe {
            let attach = (*self.as_raw()).import_attach;

            (!attach.is_null()).then(|| DmaBuf::from_raw((*attach).dmabuf))
        }
    }

    /// Returns whether the object stands for the memory of a dma-buf of another device.
    #[inline]
    pub fn is_imported(&self) -> bool {
        self.dma_buf().is_some()
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

    // SAFETY: `obj` is valid, and its functions take it.
    let buf = from_err_ptr(unsafe { ((*(*obj).funcs).export.ok_or(EINVAL)?)(obj, flags) })?;

    // SAFETY: `buf` is a valid dma-buf.
    let file = NonNull::new(unsafe { (*buf).file }).ok_or(EINVAL)?;

    // SAFETY: The reference to the dma-buf is a reference to its file, which is new, so that there
    // are no calls to `fdget_pos()`.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}
