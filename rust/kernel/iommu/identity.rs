// SPDX-License-Identifier: GPL-2.0

//! Memory that a device behind an IOMMU reaches at its physical addresses.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    bindings,
    device::Device,
    error::to_result,
    io::PhysAddr,
    prelude::*,
    sync::aref::ARef, //
};
use core::ptr::NonNull;

/// A range of memory that is mapped 1:1 for a device. Dropping it unmaps the range.
///
/// The device may be that of another driver, which may give it another domain meanwhile. The
/// mapping is gone with the old one then, and dropping this does nothing.
pub struct IdentityMapping {
    dev: ARef<Device>,
    start: PhysAddr,
    size: usize,
}

/// The domain of `dev`.
fn domain_of(dev: &Device) -> Option<NonNull<bindings::iommu_domain>> {
    // SAFETY: The device is valid.
    NonNull::new(unsafe { bindings::iommu_get_domain_for_dev(dev.as_raw()) })
}

/// Whether `domain` has the memory from `start` to `last` at its own address, as far as its first
/// and last byte tell.
///
/// # Safety
///
/// `domain` must be valid.
unsafe fn has(domain: NonNull<bindings::iommu_domain>, start: PhysAddr, last: PhysAddr) -> bool {
    [start, last].into_iter().all(|address| {
        // SAFETY: Per the safety requirements.
        unsafe { bindings::iommu_iova_to_phys(domain.as_ptr(), address) == address }
    })
}

impl IdentityMapping {
    /// Maps `size` bytes from `start` for `dev`, to be read and written; [`None`] if they are
    /// already, as for all of memory where the IOMMU does not translate for the device.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`]: the device is not behind an IOMMU.
    /// - [`EINVAL`]: the range is empty, or not one of pages of the IOMMU.
    /// - whatever the IOMMU's driver reports, e.g. that something else is mapped there.
    ///
    /// # Safety
    ///
    /// The domain of `dev` must not change during this call, and when the mapping is dropped. That
    /// is so as long as the driver of `dev` waits for whoever does that, as drivers of remote
    /// processors do when these stop.
    ///
    /// Nothing of the kernel may use the memory as long as the device may write to it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use kernel::{
    ///     device::Device,
    ///     iommu::identity::IdentityMapping,
    ///     of, //
    /// };
    ///
    /// /// Lets a remote processor at the memory that is reserved for it.
    /// fn map(processor: &Device, memory: &of::ReservedMemory) -> Result<Option<IdentityMapping>> {
    ///     let size = usize::try_from(memory.size()).map_err(|_| EINVAL)?;
    ///
    ///     // SAFETY: The processor runs, and its driver stops nothing before we are gone. The
    ///     // memory is for the processor alone.
    ///     unsafe { IdentityMapping::new(processor, memory.start(), size) }
    /// }
    /// ```
    pub unsafe fn new(dev: &Device, start: PhysAddr, size: usize) -> Result<Option<Self>> {
        let domain = domain_of(dev).ok_or(ENODEV)?;
        let last = size
            .checked_sub(1)
            .and_then(|last| start.checked_add(last as PhysAddr))
            .ok_or(EINVAL)?;

        // SAFETY: Per the safety requirements the domain is valid.
        if unsafe { has(domain, start, last) } {
            return Ok(None);
        }
        // SAFETY: As above; nobody minds that the device can write there.
        to_result(unsafe {
            bindings::iommu_map(
                domain.as_ptr(),
                start as usize,
                start,
                size,
                (bindings::IOMMU_READ | bindings::IOMMU_WRITE) as c_int,
                GFP_KERNEL.as_raw(),
            )
        })?;
        Ok(Some(Self {
            dev: dev.into(),
            start,
            size,
        }))
    }
}

impl Drop for IdentityMapping {
    fn drop(&mut self) {
        let Some(domain) = domain_of(&self.dev) else {
            return;
        };

        // SAFETY: By the safety requirements of `new()` the domain is valid. If it is still the one
        // that we have mapped the memory in, the mapping is ours, else there is none.
        unsafe {
            if has(domain, self.start, self.start + (self.size - 1) as PhysAddr) {
                bindings::iommu_unmap(domain.as_ptr(), self.start as usize, self.size);
            }
        }
    }
}
