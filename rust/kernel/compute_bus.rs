// SPDX-License-Identifier: GPL-2.0

//! Context banks of Qualcomm compute DSPs.
//!
//! C header: [`include/linux/qda_compute_bus.h`](srctree/include/linux/qda_compute_bus.h)

use crate::{
    bindings,
    device::{
        property::FwNode,
        Bound,
        Device, //
    },
    dma::{
        DmaAddress,
        DmaMask, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};
use core::ptr::NonNull;

/// A context bank: the device that memory of a DSP is mapped for.
///
/// What has been unmapped the DSP can't reach any more: the IOMMU, if there is one, is strict.
///
/// The device is bound as long as the [`Bank`] exists, and no longer. Thus no DMA mapping or
/// allocation made for it may outlive the [`Bank`]: whoever makes one keeps an
/// [`Arc<Bank>`](crate::sync::Arc) next to it, to be dropped after it. `CONFIG_DMA_API_DEBUG`
/// reports what is left.
///
/// The [`Bank`] in turn must be dropped before a bank for the same node is made again, which fails
/// otherwise: an IOMMU may not have two devices with one stream id. It should not, but may, outlive
/// the DSP's device.
///
/// # Examples
///
/// ```no_run
/// use kernel::{
///     compute_bus::Bank,
///     device::{
///         Bound,
///         Device, //
///     },
///     dma::DmaMask,
///     str::CString,
///     sync::Arc, //
/// };
///
/// fn banks(dsp: &Device<Bound>) -> Result<KVec<Arc<Bank>>> {
///     let node = dsp.fwnode().ok_or(ENODEV)?;
///     let mut banks = KVec::new();
///
///     for child in node.children() {
///         if !child.is_available() || !child.is_compatible(c"qcom,fastrpc-compute-cb") {
///             continue;
///         }
///
///         let sid = child.property_read::<u32>(c"reg").required_by(dsp)?;
///         let name = CString::try_from_fmt(fmt!("{}:bank@{sid}", dsp.name()))?;
///         let bank = Bank::new(Some(dsp), &child, &name, DmaMask::new::<32>())?;
///
///         banks.push(Arc::new(bank, GFP_KERNEL)?, GFP_KERNEL)?;
///     }
///
///     Ok(banks)
/// }
/// ```
///
/// # Invariants
///
/// The pointer is that of a device made by `qda_compute_bank_create`, which is bound, and which we
/// have to destroy.
pub struct Bank(NonNull<bindings::device>);

// SAFETY: The driver core allows a device to be used and removed on any thread.
unsafe impl Send for Bank {}
// SAFETY: All methods are functions of the driver and IOMMU cores that are thread-safe.
unsafe impl Sync for Bank {}

impl Bank {
    /// Makes a device for the bank that `node` describes, below `parent`, the DSP's device.
    ///
    /// Without `parent` it is no bank in the device tree, but stands for a DSP's memory, and may
    /// outlive the DSP's device; `node` is the DSP's then.
    ///
    /// `name` must be unique among all banks, not only those of this DSP. `mask` is what the DSP
    /// can address through this bank.
    ///
    /// If `node` has no property `iommus`, then the DSP uses physical addresses.
    ///
    /// # Errors
    ///
    /// - [`EPROBE_DEFER`] if the bank's IOMMU is not there yet.
    /// - [`EINVAL`] if the IOMMU does not translate for this bank, for instance because another
    ///   device has the same stream id, or if it may still use translations that have been undone.
    ///   Also if `node` is not from a device tree.
    /// - [`EEXIST`] if there is a bank with this name.
    /// - [`EIO`] if `mask` is too narrow for the platform.
    /// - [`ENOMEM`] if there is no memory.
    pub fn new(
        parent: Option<&Device<Bound>>,
        node: &FwNode,
        name: &CStr,
        mask: DmaMask,
    ) -> Result<Self> {
        // SAFETY: All pointers are valid, and the function takes its own references.
        let dev = from_err_ptr(unsafe {
            bindings::qda_compute_bank_create(
                parent.map_or(core::ptr::null_mut(), |parent| parent.as_raw()),
                node.as_raw(),
                name.as_char_ptr(),
                mask.value(),
            )
        })?;

        // INVARIANT: The device has just been made, for us, and is bound.
        NonNull::new(dev).map(Self).ok_or(ENODEV)
    }

    /// Has memory that is allocated for the bank come from the region that `node` reserves first.
    ///
    /// To be called before any is allocated.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`] if `node` reserves none.
    /// - [`EINVAL`] if the DMA API can't allocate from it.
    pub fn assign_region(&mut self, node: &FwNode) -> Result {
        // SAFETY: By the type invariant the pointer is that of a bank, and `node` is valid.
        to_result(unsafe {
            bindings::qda_compute_bank_assign_region(self.0.as_ptr(), node.as_raw())
        })
    }

    /// Returns whether an IOMMU translates the addresses that the DSP uses through this bank.
    pub fn is_translated(&self) -> bool {
        // SAFETY: By the type invariant the pointer is that of a bank.
        unsafe { bindings::qda_compute_bank_is_translated(self.0.as_ptr()) }
    }

    /// Returns whether what the CPUs have in their caches has to be synchronised with what the DSP
    /// accesses through this bank.
    pub fn needs_sync(&self) -> bool {
        // SAFETY: By the type invariant the pointer is that of a bank.
        unsafe { bindings::dma_dev_need_sync(self.0.as_ptr()) }
    }

    /// Returns whether `address`, which memory was mapped at for this bank, is that of a copy,
    /// because the DSP can't address the memory itself.
    ///
    /// A copy is of no use for memory that both sides use at a time.
    pub fn is_bounced(&self, address: DmaAddress) -> bool {
        // SAFETY: By the type invariant the pointer is that of a bank.
        unsafe { bindings::qda_compute_bank_is_bounced(self.0.as_ptr(), address) }
    }

    /// Returns whether the DSP sees the CPUs' caches through this bank.
    pub fn is_coherent(&self) -> bool {
        // SAFETY: By the type invariant the pointer is that of a bank.
        unsafe { bindings::qda_compute_bank_is_coherent(self.0.as_ptr()) }
    }
}

impl AsRef<Device<Bound>> for Bank {
    fn as_ref(&self) -> &Device<Bound> {
        // SAFETY: By the type invariant the device is valid and bound. It stays so until `self` is
        // dropped: user space can't unbind it, as the driver has `suppress_bind_attrs` set.
        unsafe { Device::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pointer is that of a bank that we have to destroy.
        unsafe { bindings::qda_compute_bank_destroy(self.0.as_ptr()) };
    }
}
