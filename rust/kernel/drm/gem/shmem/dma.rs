// SPDX-License-Identifier: GPL-2.0

//! Mappings of shmem GEM objects for the DMA of devices other than the parent of the DRM device.
//!
//! [`Object::sg_table()`] maps an object for the parent device, once. Hardware with several DMA
//! masters, each a device of its own behind its own IOMMU context, needs a mapping for each of
//! them: a [`DmaMapping`].
//!
//! All calls into `dma_buf_*()` are made from functions that are neither generic nor inlined, so
//! that they end up in the kernel crate and driver modules need not import the `DMA_BUF` namespace.
//!
//! C headers: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h),
//! [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use super::{
    access::{
        For,
        MappedList, //
    },
    coherent::Memory,
    pinned::PinnedPages,
    table::PageTable,
    DmaResvGuard,
    Object, //
};
use crate::{
    bindings,
    device::{
        self,
        Bound, //
    },
    dma::{
        attrs::DMA_ATTR_SKIP_CPU_SYNC,
        DataDirection,
        DmaAddress, //
    },
    drm::gem::{
        BaseObject,
        DriverObject, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use core::{
    ops::Range,
    ptr::NonNull, //
};

const BIDIRECTIONAL: bindings::dma_data_direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

/// A mapping of a shmem GEM object for bidirectional DMA by one device.
///
/// The object appears to the device as one contiguous range of DMA addresses. Pages that the object
/// owns are pinned and mapped for the device. Where the object has been imported, the device is
/// attached to the dma-buf and the mapping is made by the exporter.
///
/// `B` is what keeps the mapping device bound, typically the driver's representation of that
/// device. It is released after the device's mapping is gone.
///
/// Making a mapping cleans the CPU's caches of the object. Undoing it leaves them alone, as it may
/// be done at any time: what the CPU has written since its last access of the device is not lost.
/// So CPU accesses to the object must be coherent with the device by other means (coherent DMA, or
/// a write-combined CPU mapping), or be followed by [`sync_for_device()`](Self::sync_for_device)
/// and preceded by [`sync_for_cpu()`](Self::sync_for_cpu). With an imported object, whose exporter
/// maps and unmaps it, undoing the mapping invalidates the caches.
///
/// Dropping a `DmaMapping` unmaps the object, which takes locks and may sleep. It must not be
/// dropped in atomic context, and not while the device may still access the object.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::{
///         Bound,
///         Device, //
///     },
///     dma::DmaAddress,
///     drm::gem::{
///         shmem::{
///             DmaMapping,
///             Object, //
///         },
///         DriverObject, //
///     },
///     sync::{
///         aref::ARef,
///         Arc, //
///     },
/// };
///
/// fn map_for<T: DriverObject, B: AsRef<Device<Bound>>>(
///     obj: &ARef<Object<T>>,
///     bank: &Arc<B>,
/// ) -> Result<(DmaMapping<T, B>, DmaAddress)> {
///     let mapping = DmaMapping::new(obj.clone(), bank.clone())?;
///     let address = mapping.dma_address();
///
///     Ok((mapping, address))
/// }
/// ```
///
/// # Invariants
///
/// `mapping` is a mapping of `obj` for the device that `owner` keeps bound.
pub struct DmaMapping<T: DriverObject, B> {
    // Fields are dropped in this order.
    mapping: Mapping,
    obj: ARef<Object<T>>,
    owner: Arc<B>,
}

impl<T: DriverObject, B: AsRef<device::Device<Bound>>> DmaMapping<T, B> {
    /// Maps `obj` for the DMA of the device that `owner` stands for.
    ///
    /// The maximum segment size of the device should be set such that the IOMMU may map objects as
    /// one range. May sleep.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` if the device does not see all of the object as one contiguous range, e.g.
    ///   because the memory is scattered and the device has no IOMMU.
    /// - `EINVAL` if the device has no DMA mask.
    /// - `ENOMEM` if memory or DMA address space runs out.
    /// - Any error that the DMA API, or the exporter of an imported object, returns.
    pub fn new(obj: ARef<Object<T>>, owner: Arc<B>) -> Result<Self> {
        let dev: &device::Device<Bound> = (*owner).as_ref();

        // SAFETY:
        // - `obj` is a valid shmem object by its type invariants, and outlives the mapping because
        //   it is dropped after it.
        // - `dev` borrows from the contents of `owner`, which are neither moved nor mutably
        //   borrowed before `owner` is dropped, i.e. `dev` is valid, and bound, until after the
        //   mapping has been dropped.
        // - The list and the memory are those of the object.
        let mapping = unsafe {
            Mapping::new(
                obj.as_raw_shmem(),
                &obj.mapped,
                obj.memory.as_ref(),
                dev.as_raw(),
                obj.size(),
            )
        }?;

        // INVARIANT: `mapping` was just made from `obj` and `owner`.
        Ok(Self {
            mapping,
            obj,
            owner,
        })
    }

    /// Returns the first DMA address of the object, as seen by the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.mapping.address
    }

    /// Returns the number of bytes that are mapped, which is the size of the object.
    #[inline]
    pub fn size(&self) -> usize {
        self.obj.size()
    }

    /// Makes what the CPU has written to bytes `range` of the object visible to the device: cleans
    /// the caches, where the device does not see them.
    ///
    /// This is for objects that own their pages. What has been imported is the exporter's business,
    /// see [`Object::dma_buf()`]. Bytes behind the end of the object are ignored.
    pub fn sync_for_device(&self, range: Range<usize>, direction: DataDirection) {
        self.mapping.sync(range, direction, For::Device);
    }

    /// Makes what the device has written to bytes `range` of the object visible to the CPU:
    /// invalidates the caches, where the device does not see them. What the CPU has written there
    /// since [`sync_for_device()`](Self::sync_for_device) may be lost.
    ///
    /// This is for objects that own their pages, as `sync_for_device()`.
    pub fn sync_for_cpu(&self, range: Range<usize>, direction: DataDirection) {
        self.mapping.sync(range, direction, For::Cpu);
    }

    /// Returns the mapped object.
    #[inline]
    pub fn object(&self) -> &Object<T> {
        &self.obj
    }

    /// Returns the owner of the device for which the object is mapped.
    #[inline]
    pub fn owner(&self) -> &Arc<B> {
        &self.owner
    }
}

impl<T: DriverObject> Object<T> {
    /// Cleans the caches of the pages of a write-combined object, for `dev`, a device that does not
    /// see the caches. From then on the pages stay in memory as long as the object exists.
    ///
    /// Before, the zeros that the pages came with may be in the caches only, where a write-combined
    /// mapping does not see them, and from where they may overwrite at any time what was written
    /// through it. So this has to be done before the CPU maps the object, see
    /// [`DriverObject::prepare_cpu_map()`]. Doing it again does nothing, nor does it for other
    /// objects.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if memory or DMA address space runs out.
    /// - Any error that the DMA API returns.
    pub fn clean(&self, dev: &device::Device<Bound>) -> Result {
        // SAFETY: The object is valid. The flag does not change once it is in use.
        if !unsafe { (*self.as_raw_shmem()).map_wc() } || self.swap_cleaned(false) {
            return Ok(());
        }

        // SAFETY: Only objects that own their pages are write-combined, and `dev` is bound. The
        // pages are unpinned below, or when the object is released.
        unsafe { pin_clean(self.as_raw_shmem(), dev.as_raw(), self.size()) }?;
        if self.swap_cleaned(true) {
            // Somebody else was faster, and the pages stay pinned once.
            // SAFETY: They were pinned above.
            unsafe { unpin_clean(self.as_raw_shmem()) };
        }
        Ok(())
    }

    /// Returns whether [`Object::clean()`] has nothing to do any more.
    pub fn is_clean(&self) -> bool {
        self.swap_cleaned(false)
    }

    /// Whether the object was cleaned before; from now on it is if `is` says so.
    fn swap_cleaned(&self, is: bool) -> bool {
        let guard = DmaResvGuard::new(self);
        let before = self.cleaned.get();

        self.cleaned.set(before || is);
        drop(guard);
        before
    }
}

/// The part of a [`DmaMapping`] that does not depend on the type of the object.
struct Mapping {
    address: DmaAddress,
    backing: Backing,
}

/// What was mapped; dropping it undoes the mapping.
enum Backing {
    /// Pages of the object itself, in the CPU's caches or write-combined.
    Pages {
        mapped: MappedPages, //
    },
    /// The dma-buf that the object has been imported from.
    DmaBuf {
        _mapped: MappedAttachment, //
    },
    /// Pages of coherent memory.
    CoherentPages {
        _mapped: MappedTable, //
    },
    /// Coherent memory, where the device reaches it.
    Direct,
}

// SAFETY: A mapping can be used and undone by any thread.
unsafe impl Send for Mapping {}

// SAFETY: There is nothing to be mutated through a shared reference.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all `size` bytes of `shmem` for `dev`.
    ///
    /// # Safety
    ///
    /// - `shmem` must be a valid shmem GEM object of `size` bytes until after the returned value is
    ///   dropped, `list` its list of mappings, and `memory` its memory, if that is not in shmem.
    /// - `dev` must be a valid and bound device until after the returned value is dropped.
    #[inline(never)]
    unsafe fn new(
        shmem: *mut bindings::drm_gem_shmem_object,
        list: &MappedList,
        memory: Option<&Memory>,
        dev: *mut bindings::device,
        size: usize,
    ) -> Result<Self> {
        // The DMA API takes that for a bug in the driver, and then reports success.
        // SAFETY: `dev` is valid per the safety requirements. The mask is set up before any DMA.
        if unsafe { (*dev).dma_mask.is_null() } {
            return Err(EINVAL);
        }

        if let Some(memory) = memory {
            return match memory.block() {
                // SAFETY: Per the safety requirements. The block is the object's.
                Some(block) => unsafe {
                    Self::of_pages(shmem, list, PageTable::of_block(block)?, dev, size)
                },
                // SAFETY: `dev` is valid and bound per the safety requirements.
                None => unsafe { Self::of_memory(memory, dev, size) },
            };
        }

        // SAFETY: `shmem` is valid per the safety requirements. The field is set when the object is
        // created and not changed afterwards.
        let import = unsafe { (*shmem).base.import_attach };

        match NonNull::new(import) {
            // SAFETY: Per the safety requirements; the object is not an import.
            None => unsafe {
                Self::of_pages(shmem, list, PageTable::new(shmem, dev, size)?, dev, size)
            },
            Some(import) => {
                // SAFETY: The attachment, and its reference to the dma-buf, live as long as the
                // object. The rest is up to the safety requirements.
                let mapped = unsafe { MappedAttachment::new((*import.as_ptr()).dmabuf, dev) }?;

                Ok(Self {
                    // SAFETY: The table is mapped, and valid until it is unmapped.
                    address: unsafe { contiguous_address(mapped.table.as_ptr(), size) }?,
                    backing: Backing::DmaBuf { _mapped: mapped },
                })
            }
        }
    }

    /// Maps pages of `shmem`, of `size` bytes, for `dev`.
    ///
    /// # Safety
    ///
    /// As for [`MappedPages::new()`].
    unsafe fn of_pages(
        shmem: *mut bindings::drm_gem_shmem_object,
        list: &MappedList,
        table: PageTable,
        dev: *mut bindings::device,
        size: usize,
    ) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        let mapped = unsafe { MappedPages::new(shmem, list, table, dev) }?;

        Ok(Self {
            // SAFETY: The table is mapped.
            address: unsafe { contiguous_address(&mapped.table.table, size) }?,
            backing: Backing::Pages { mapped },
        })
    }

    /// Maps coherent memory of `size` bytes for `dev`.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid and bound device until after the returned value is dropped.
    unsafe fn of_memory(memory: &Memory, dev: *mut bindings::device, size: usize) -> Result<Self> {
        if memory.has_pages() {
            // SAFETY: Per the safety requirements.
            let mapped = unsafe { MappedTable::new(memory.table()?, dev) }?;

            return Ok(Self {
                // SAFETY: The table is mapped.
                address: unsafe { contiguous_address(&mapped.table, size) }?,
                backing: Backing::CoherentPages { _mapped: mapped },
            });
        }

        let address = memory.dma_address().ok_or(EOPNOTSUPP)?;
        // SAFETY: `dev` is valid per the safety requirements, and its mask is set up, see `new()`.
        let (domain, mask) = unsafe { (bindings::iommu_get_domain_for_dev(dev), *(*dev).dma_mask) };
        // The address is one of another device: it serves where addresses are physical ones, and
        // the device has as many bits as that takes.
        if !domain.is_null() || address + (size as u64 - 1) > mask {
            return Err(EOPNOTSUPP);
        }
        Ok(Self {
            address,
            backing: Backing::Direct,
        })
    }

    /// See [`DmaMapping::sync_for_device()`] and [`DmaMapping::sync_for_cpu()`].
    #[inline(never)]
    fn sync(&self, range: Range<usize>, direction: DataDirection, who: For) {
        // All others are coherent, or not ours.
        let Backing::Pages { mapped } = &self.backing else {
            return;
        };
        let (dev, direction) = (mapped.dev, direction.into());

        // SAFETY: `dev` is valid, and bound, as long as the mapping exists.
        if !unsafe { bindings::dma_dev_need_sync(dev) } {
            return;
        }

        let mut sg = mapped.table.table.sgl;
        let mut start = 0;
        // An entry of the table is contiguous in memory, all of them are in the addresses of the
        // device: what the DMA API can synchronise at once is a part of an entry.
        for _ in 0..mapped.table.table.orig_nents {
            if start >= range.end {
                break;
            }
            // SAFETY: The table has as many entries.
            let len = unsafe { (*sg).length } as usize;
            let part = range.start.max(start)..range.end.min(start + len);
            if !part.is_empty() {
                let address = self.address + part.start as u64;
                // SAFETY: These bytes are mapped for that device. To synchronise them changes
                // nothing of the mapping.
                unsafe {
                    match who {
                        For::Cpu => {
                            bindings::dma_sync_single_for_cpu(dev, address, part.len(), direction);
                        }
                        For::Device => {
                            bindings::dma_sync_single_for_device(
                                dev,
                                address,
                                part.len(),
                                direction,
                            );
                        }
                    }
                }
            }
            start += len;
            // SAFETY: As above.
            sg = unsafe { bindings::sg_next(sg) };
        }
    }
}

/// A table of pages that nobody else owns, mapped for a device.
struct MappedTable {
    table: bindings::sg_table,
    dev: *mut bindings::device,
}

impl MappedTable {
    /// Takes `table`.
    ///
    /// # Safety
    ///
    /// - `table` must be a valid table that is not mapped.
    /// - `dev` must be a valid and bound device until after the returned value is dropped.
    unsafe fn new(mut table: bindings::sg_table, dev: *mut bindings::device) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        let ret = unsafe { bindings::dma_map_sgtable(dev, &mut table, BIDIRECTIONAL, 0) };
        if let Err(error) = to_result(ret) {
            // SAFETY: The table is valid.
            unsafe { bindings::sg_free_table(&mut table) };
            return Err(error);
        }

        Ok(Self { table, dev })
    }
}

impl Drop for MappedTable {
    fn drop(&mut self) {
        // SAFETY: The table was mapped for that device in `new()`, and is not used any more.
        unsafe {
            bindings::dma_unmap_sgtable(self.dev, &mut self.table, BIDIRECTIONAL, 0);
            bindings::sg_free_table(&mut self.table);
        }
    }
}

/// Returns the DMA address at which `table` maps at least `size` bytes without a gap.
///
/// A table with several segments will do as long as each starts where the one before it ends.
///
/// # Safety
///
/// `table` must be a valid and mapped table.
unsafe fn contiguous_address(table: *const bindings::sg_table, size: usize) -> Result<DmaAddress> {
    // The function takes a pointer to what it does not change.
    // SAFETY: Per the safety requirements.
    if unsafe { bindings::drm_prime_get_contiguous_size(table.cast_mut()) } < size {
        return Err(EOPNOTSUPP);
    }

    // SAFETY: `table` has at least one entry, because it is not empty.
    Ok(unsafe { bindings::sg_dma_address((*table).sgl) })
}

/// The pages of an object, mapped for a device, which the object knows of.
struct MappedPages {
    table: PageTable,
    dev: *mut bindings::device,
    shmem: *mut bindings::drm_gem_shmem_object,
    list: NonNull<MappedList>,
}

impl MappedPages {
    /// # Safety
    ///
    /// - `shmem` must be valid until after the returned value is dropped, `list` the one of it, and
    ///   `table` its pages.
    /// - `dev` must be a valid and bound device until after the returned value is dropped.
    unsafe fn new(
        shmem: *mut bindings::drm_gem_shmem_object,
        list: &MappedList,
        mut table: PageTable,
        dev: *mut bindings::device,
    ) -> Result<Self> {
        // SAFETY: `dev` is valid and bound per the safety requirements, and `table` is not mapped.
        to_result(unsafe { bindings::dma_map_sgtable(dev, &mut table.table, BIDIRECTIONAL, 0) })?;

        let mapped = Self {
            table,
            dev,
            shmem,
            list: list.into(),
        };
        // SAFETY: The object is valid, and the list is the one of it. The entry is removed before
        // the table is unmapped. Should this fail, there is none to be removed.
        unsafe { list.add(shmem, dev, &mapped.table.table) }?;
        Ok(mapped)
    }
}

impl Drop for MappedPages {
    fn drop(&mut self) {
        // SAFETY: The object, and its list, are valid per the safety requirements of `new()`. The
        // table was mapped for that device there.
        unsafe {
            self.list.as_ref().remove(self.shmem, self.table.table.sgl);
            bindings::dma_unmap_sgtable(
                self.dev,
                &mut self.table.table,
                BIDIRECTIONAL,
                DMA_ATTR_SKIP_CPU_SYNC.as_raw(),
            );
        }
    }
}

/// Has the pages of a write-combined object clean, and keeps them.
///
/// # Safety
///
/// As for [`PageTable::new()`], with a `dev` that is bound. The pages have to be unpinned before
/// the object is released.
pub(super) unsafe fn pin_clean(
    shmem: *mut bindings::drm_gem_shmem_object,
    dev: *mut bindings::device,
    size: usize,
) -> Result {
    // SAFETY: Per the safety requirements.
    let mut table = unsafe { PageTable::new(shmem, dev, size) }?;

    // Mapping them for a device that does not see the caches writes the caches back. Nobody has
    // written to the pages since, so that nothing is lost when they are invalidated.
    // SAFETY: Per the safety requirements.
    unsafe {
        to_result(bindings::dma_map_sgtable(
            dev,
            &mut table.table,
            BIDIRECTIONAL,
            0,
        ))?;
        bindings::dma_unmap_sgtable(
            dev,
            &mut table.table,
            BIDIRECTIONAL,
            DMA_ATTR_SKIP_CPU_SYNC.as_raw(),
        );
    }

    // SAFETY: The object is pinned by the table, too; this does not fail and does not sleep long.
    let pages = unsafe { PinnedPages::new(shmem) }?;
    core::mem::forget(pages);
    Ok(())
}

/// Undoes [`pin_clean()`].
///
/// # Safety
///
/// `shmem` must be a valid object for which [`pin_clean()`] has succeeded, once for each call.
pub(super) unsafe fn unpin_clean(shmem: *mut bindings::drm_gem_shmem_object) {
    drop(PinnedPages(shmem));
}

/// The attachment of a device to a dma-buf.
struct Attachment(NonNull<bindings::dma_buf_attachment>);

impl Attachment {
    /// # Safety
    ///
    /// - `buf` must be a valid dma-buf until after the returned value is dropped.
    /// - `dev` must be a valid and bound device until after the returned value is dropped.
    #[inline(never)]
    unsafe fn new(buf: *mut bindings::dma_buf, dev: *mut bindings::device) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        let attach = from_err_ptr(unsafe { bindings::dma_buf_attach(buf, dev) })?;

        NonNull::new(attach).map(Self).ok_or(EINVAL)
    }
}

impl Drop for Attachment {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: The attachment was made in `new()`, and the dma-buf is still there per its safety
        // requirements.
        unsafe { bindings::dma_buf_detach((*self.0.as_ptr()).dmabuf, self.0.as_ptr()) };
    }
}

/// A dma-buf, mapped for a device by its exporter.
struct MappedAttachment {
    attachment: Attachment,
    table: NonNull<bindings::sg_table>,
}

impl MappedAttachment {
    /// # Safety
    ///
    /// As for [`Attachment::new()`].
    #[inline(never)]
    unsafe fn new(buf: *mut bindings::dma_buf, dev: *mut bindings::device) -> Result<Self> {
        // SAFETY: Per the safety requirements.
        let attachment = unsafe { Attachment::new(buf, dev) }?;

        // SAFETY: `attachment` is valid.
        let table = from_err_ptr(unsafe {
            bindings::dma_buf_map_attachment_unlocked(attachment.0.as_ptr(), BIDIRECTIONAL)
        })?;

        Ok(Self {
            table: NonNull::new(table).ok_or(EINVAL)?,
            attachment,
        })
    }
}

impl Drop for MappedAttachment {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: The table was mapped through that attachment in `new()`.
        unsafe {
            bindings::dma_buf_unmap_attachment_unlocked(
                self.attachment.0.as_ptr(),
                self.table.as_ptr(),
                BIDIRECTIONAL,
            )
        };
    }
}

#[macros::kunit_tests(rust_drm_gem_shmem_dma)]
mod tests {
    use super::*;

    /// Calls [`contiguous_address()`] with a table of the given (address, length) segments.
    fn address_of(segments: &[(DmaAddress, u32)], size: usize) -> Result<DmaAddress> {
        let mut table = bindings::sg_table::default();

        // SAFETY: The table is freed below.
        to_result(unsafe {
            // CAST: There are just a few.
            bindings::sg_alloc_table(&mut table, segments.len() as u32, bindings::GFP_KERNEL)
        })?;

        let mut sg = table.sgl;
        for (address, len) in segments {
            // SAFETY: The table has as many entries as there are segments.
            unsafe {
                (*sg).dma_address = *address;
                (*sg).length = *len;
                #[cfg(CONFIG_NEED_SG_DMA_LENGTH)]
                {
                    (*sg).dma_length = *len;
                }
                sg = bindings::sg_next(sg);
            }
        }

        // SAFETY: The table was allocated above; it looks as if it were mapped.
        let address = unsafe { contiguous_address(&table, size) };
        // SAFETY: The table was allocated above.
        unsafe { bindings::sg_free_table(&mut table) };
        address
    }

    #[test]
    fn contiguous() {
        assert_eq!(address_of(&[(0x1000, 0x3000)], 0x3000), Ok(0x1000));
        assert_eq!(address_of(&[(0, 0x1000)], 0x1000), Ok(0));
        assert_eq!(
            address_of(&[(0x1000, 0x1000), (0x2000, 0x2000)], 0x3000),
            Ok(0x1000)
        );
        // More than needed, and a gap after what is needed.
        assert_eq!(address_of(&[(0x1000, 0x3000)], 0x2000), Ok(0x1000));
        assert_eq!(
            address_of(&[(0x1000, 0x2000), (0x8000, 0x1000)], 0x2000),
            Ok(0x1000)
        );
    }

    #[test]
    fn not_contiguous() {
        // Too short.
        assert_eq!(address_of(&[(0x1000, 0x1000)], 0x1001), Err(EOPNOTSUPP));
        // A gap, an overlap, and the wrong order.
        assert_eq!(
            address_of(&[(0x1000, 0x1000), (0x3000, 0x1000)], 0x2000),
            Err(EOPNOTSUPP)
        );
        assert_eq!(
            address_of(&[(0x1000, 0x1000), (0x1000, 0x1000)], 0x2000),
            Err(EOPNOTSUPP)
        );
        assert_eq!(
            address_of(&[(0x2000, 0x1000), (0x1000, 0x1000)], 0x2000),
            Err(EOPNOTSUPP)
        );
        // Entries that the IOMMU merged away have no length, and end the mapping.
        assert_eq!(
            address_of(&[(0x1000, 0x1000), (0x2000, 0), (0x2000, 0x1000)], 0x2000),
            Err(EOPNOTSUPP)
        );
    }
}
