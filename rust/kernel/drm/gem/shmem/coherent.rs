// SPDX-License-Identifier: GPL-2.0

//! Objects whose memory comes from the DMA API instead of shmem.
//!
//! A device without an IOMMU needs memory that is contiguous, or that lies in a region which the
//! device tree reserves for it. [`Object::new_coherent()`] makes an object of such memory. It is an
//! [`Object`] like any other: it can be mapped by user space and for devices, and exported, unless
//! the region has no `struct page`.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use super::{
    access::MappedList,
    block::Block,
    pinned::{
        self,
        check_available, //
    },
    prefault,
    Object, //
};
use crate::{
    alloc::flags::__GFP_RETRY_MAYFAIL,
    bindings,
    container_of,
    device::{
        self,
        Bound, //
    },
    dma::{
        Coherent,
        DmaAddress, //
    },
    drm::{
        gem::{
            DriverObject,
            IntoGEMObject, //
        },
        Device,
        Driver, //
    },
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque, //
};

/// Memory of the DMA API, and what keeps the device bound that it was allocated for.
///
/// Fields are dropped in this order.
struct CoherentMemory {
    memory: Coherent<[u8]>,
    _owner: KBox<dyn Send + Sync>,
    dev: ARef<device::Device>,
}

enum Source {
    Coherent(CoherentMemory),
    Block(Block),
}

/// Memory of an object that is not in shmem.
pub(super) struct Memory {
    source: Source,
    has_pages: bool,
}

/// `vm_ops` of user mappings. All pages are mapped at once, and come back by faults if the mappings
/// of the device are undone, as when it is unplugged. Memory of the DMA API does not: the device
/// that it is from has gone.
struct VmOps(bindings::vm_operations_struct);

// SAFETY: It is never written to.
unsafe impl Sync for VmOps {}

static VM_OPS: VmOps = VmOps(bindings::vm_operations_struct {
    open: Some(bindings::drm_gem_vm_open),
    close: Some(bindings::drm_gem_vm_close),
    fault: Some(fault_callback),
    // SAFETY: All other operations are optional, and pointers.
    ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
});

/// What every [`Object`] begins with.
#[repr(C)]
struct Head {
    obj: Opaque<bindings::drm_gem_shmem_object>,
    mapped: MappedList,
    memory: Option<Memory>,
}

/// `vm_operations_struct.fault`.
///
/// # Safety
///
/// For the memory manager, with a fault in a mapping that [`Memory::mmap()`] has made.
unsafe extern "C" fn fault_callback(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: Per the safety requirements. The mapping holds its object, and an `Object` begins
    // like a `Head`, whatever its type.
    unsafe {
        let vma = (*vmf).__bindgen_anon_1.vma;
        let obj: *mut bindings::drm_gem_object = (*vma).vm_private_data.cast();
        let shmem = container_of!(obj, bindings::drm_gem_shmem_object, base);
        let head = container_of!(Opaque::cast_from(shmem), Head, obj);

        match &(*head).memory {
            Some(Memory {
                source: Source::Block(block),
                ..
            }) => block.fault(
                vma,
                (*vmf).__bindgen_anon_1.address,
                (*vmf).__bindgen_anon_1.pgoff,
            ),
            _ => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }
}

impl Memory {
    fn new<B: AsRef<device::Device<Bound>> + Send + Sync + 'static>(
        owner: Arc<B>,
        size: usize,
        has_pages: bool,
    ) -> Result<Self> {
        // Before the memory: an owner whose box can't be had lets go of the device.
        let owner = KBox::new(owner, GFP_KERNEL)?;
        let dev: &device::Device<Bound> = (**owner).as_ref();

        Ok(Self {
            source: Source::Coherent(CoherentMemory {
                memory: Coherent::zeroed_slice_with_attrs(
                    dev,
                    size,
                    GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL,
                    crate::dma::attrs::DMA_ATTR_NO_WARN,
                )?,
                dev: dev.into(),
                _owner: owner,
            }),
            has_pages,
        })
    }

    pub(super) fn of_block(block: Block) -> Self {
        Self {
            source: Source::Block(block),
            has_pages: true,
        }
    }

    /// Whether user mappings with these operations are ones of coherent memory.
    pub(super) fn is_vm_ops(vm_ops: *const bindings::vm_operations_struct) -> bool {
        core::ptr::eq(vm_ops, &raw const VM_OPS.0)
    }

    /// Whether the memory has `struct page`s, and so can be mapped for any device.
    pub(super) fn has_pages(&self) -> bool {
        self.has_pages
    }

    /// The block that it is, if it is one: memory in the CPU's caches.
    pub(super) fn block(&self) -> Option<&Block> {
        match &self.source {
            Source::Coherent(_) => None,
            Source::Block(block) => Some(block),
        }
    }

    /// The DMA address for devices that reach memory as the one does that it was allocated for.
    pub(super) fn dma_address(&self) -> Option<DmaAddress> {
        match &self.source {
            Source::Coherent(coherent) => Some(coherent.memory.dma_address()),
            Source::Block(_) => None,
        }
    }

    /// The kernel's address.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        match &self.source {
            Source::Coherent(coherent) => coherent.memory.as_mut_ptr().cast(),
            Source::Block(block) => block.as_ptr(),
        }
    }

    /// Makes a table of the pages, which the caller has to free with `sg_free_table()`.
    #[inline(never)]
    pub(super) fn table(&self) -> Result<bindings::sg_table> {
        if !self.has_pages {
            return Err(EOPNOTSUPP);
        }
        let coherent = match &self.source {
            Source::Coherent(coherent) => coherent,
            Source::Block(block) => return block.table(),
        };
        let mut table = bindings::sg_table::default();

        // SAFETY: The memory was allocated for `dev`, with these addresses and this size.
        to_result(unsafe {
            bindings::dma_get_sgtable_attrs(
                coherent.dev.as_raw(),
                &mut table,
                self.as_ptr(),
                coherent.memory.dma_address(),
                coherent.memory.size(),
                0,
            )
        })?;
        Ok(table)
    }

    /// Maps the memory into user space.
    ///
    /// # Safety
    ///
    /// `obj` must be the valid GEM object that has this memory, and `vma` an area that is being
    /// made, whose offset contains the fake offset of `obj`.
    #[inline(never)]
    pub(super) unsafe fn mmap(
        &self,
        obj: *mut bindings::drm_gem_object,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: Per the safety requirements; nobody else knows of `vma` yet.
        unsafe {
            // The DMA API wants the offset in the memory.
            (*vma).vm_pgoff -=
                (bindings::drm_vma_node_offset_addr(&raw mut (*obj).vma_node) as usize) / PAGE_SIZE;
            (*vma).vm_ops = &raw const VM_OPS.0;
            match &self.source {
                Source::Coherent(coherent) => bindings::dma_mmap_attrs(
                    coherent.dev.as_raw(),
                    vma,
                    self.as_ptr(),
                    coherent.memory.dma_address(),
                    coherent.memory.size(),
                    0,
                ),
                Source::Block(block) => block.mmap(vma, (*vma).vm_pgoff),
            }
        }
    }
}

impl<T: DriverObject> Object<T> {
    /// Creates an object whose memory is contiguous, zeroed, and allocated for the DMA of the
    /// device that `owner` stands for.
    ///
    /// `has_pages` says whether memory of that device has `struct page`s. It has unless a reserved
    /// region with the property `no-map` is assigned to the device. Without them the object can't
    /// be exported, and be mapped only for devices that reach memory without an IOMMU.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if `size` is zero or not a multiple of [`PAGE_SIZE`].
    /// - `ENOMEM` if there is no such memory.
    pub fn new_coherent<B: AsRef<device::Device<Bound>> + Send + Sync + 'static>(
        dev: &Device<T::Driver>,
        size: usize,
        owner: Arc<B>,
        has_pages: bool,
        args: T::Args,
    ) -> Result<ARef<Self>>
    where
        T::Driver: Driver<Object = Self>,
    {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }

        let memory = Memory::new(owner, size, has_pages)?;

        Self::with_memory(dev, size, memory, T::new(dev, size, args))
    }

    /// Creates an object that has `memory`, of `size` bytes.
    pub(super) fn with_memory(
        dev: &Device<T::Driver>,
        size: usize,
        memory: Memory,
        inner: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>>
    where
        T::Driver: Driver<Object = Self>,
    {
        let obj = Self::alloc_with(None, Some(memory), inner)?;

        // SAFETY: The arguments are valid, and the object has not been initialized yet. Should this
        // fail, dropping `obj` frees it.
        to_result(unsafe {
            bindings::drm_gem_shmem_init_private(dev.as_raw(), obj.as_raw_shmem(), size)
        })?;

        // SAFETY: The object was initialized just now.
        Ok(unsafe { Self::from_alloc(obj) })
    }

    /// The object behind a GEM object of this type.
    ///
    /// # Safety
    ///
    /// `obj` must be a valid GEM object that is part of a `Self`.
    unsafe fn memory_of<'a>(obj: *mut bindings::drm_gem_object) -> Option<&'a Memory> {
        // SAFETY: Per the safety requirements.
        unsafe { Self::from_raw(obj) }.memory.as_ref()
    }

    /// `drm_gem_object_funcs.export`.
    pub(super) extern "C" fn export_funcs_callback(
        obj: *mut bindings::drm_gem_object,
        flags: c_int,
    ) -> *mut bindings::dma_buf {
        // SAFETY: The DRM core calls this with an object that has these functions.
        match unsafe { Self::memory_of(obj) } {
            Some(memory) if !memory.has_pages() => EOPNOTSUPP.to_ptr(),
            Some(_) => Self::export_callback(obj, flags),
            // Whoever imports it may map it for the CPU.
            // SAFETY: As above.
            None => match unsafe { Self::from_raw(obj) }.prepare_export() {
                Ok(()) => Self::export_callback(obj, flags),
                Err(error) => error.to_ptr(),
            },
        }
    }

    /// `drm_gem_object_funcs.pin`.
    pub(super) extern "C" fn pin_callback(obj: *mut bindings::drm_gem_object) -> c_int {
        // SAFETY: As in `export_funcs_callback()`.
        match unsafe { Self::memory_of(obj) } {
            Some(_) => 0,
            // SAFETY: As above.
            None => unsafe {
                pinned::pin_locked(container_of!(obj, bindings::drm_gem_shmem_object, base))
            },
        }
    }

    /// `drm_gem_object_funcs.unpin`.
    pub(super) extern "C" fn unpin_callback(obj: *mut bindings::drm_gem_object) {
        // SAFETY: As in `export_funcs_callback()`.
        unsafe {
            if Self::memory_of(obj).is_none() {
                bindings::drm_gem_shmem_object_unpin(obj);
            }
        }
    }

    /// `drm_gem_object_funcs.get_sg_table`.
    pub(super) extern "C" fn get_sg_table_callback(
        obj: *mut bindings::drm_gem_object,
    ) -> *mut bindings::sg_table {
        // SAFETY: As in `export_funcs_callback()`.
        let Some(memory) = (unsafe { Self::memory_of(obj) }) else {
            // SAFETY: As above.
            return unsafe { bindings::drm_gem_shmem_object_get_sg_table(obj) };
        };

        let table = || Ok(KBox::new(memory.table()?, GFP_KERNEL)?);
        match table() {
            // The DRM core frees it with `kfree()`.
            Ok(table) => KBox::into_raw(table),
            Err(error) => Error::to_ptr(error),
        }
    }

    /// `drm_gem_object_funcs.vmap`.
    pub(super) extern "C" fn vmap_callback(
        obj: *mut bindings::drm_gem_object,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        // SAFETY: As in `export_funcs_callback()`.
        let Some(memory) = (unsafe { Self::memory_of(obj) }) else {
            // The reservation lock is held here: an object that is write-combined has been prepared
            // when it was exported.
            // SAFETY: As above.
            return unsafe { bindings::drm_gem_shmem_object_vmap(obj, map) };
        };

        // SAFETY: The DRM core passes a map that can be written.
        unsafe {
            (*map).is_iomem = false;
            (*map).__bindgen_anon_1.vaddr = memory.as_ptr();
        }
        0
    }

    /// `drm_gem_object_funcs.vunmap`.
    pub(super) extern "C" fn vunmap_callback(
        obj: *mut bindings::drm_gem_object,
        map: *mut bindings::iosys_map,
    ) {
        // SAFETY: As in `export_funcs_callback()`.
        unsafe {
            if Self::memory_of(obj).is_none() {
                bindings::drm_gem_shmem_object_vunmap(obj, map);
            }
        }
    }

    /// `drm_gem_object_funcs.mmap`.
    pub(super) extern "C" fn mmap_callback(
        obj: *mut bindings::drm_gem_object,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: As in `export_funcs_callback()`. The area is valid and not in use yet, and the
        // DRM core sees to it that its offset contains the fake offset.
        unsafe {
            match Self::memory_of(obj) {
                Some(memory) => memory.mmap(obj, vma),
                None => match Self::from_raw(obj).prepare() {
                    Ok(()) => prefault::mmap_callback(obj, vma),
                    Err(error) => error.to_errno(),
                },
            }
        }
    }

    /// As [`Self::prepare()`], for objects that are write-combined: others can be prepared later.
    fn prepare_export(&self) -> Result {
        // SAFETY: The object is valid, and the flag does not change any more.
        match unsafe { (*self.as_raw_shmem()).map_wc() } {
            true => self.prepare(),
            false => Ok(()),
        }
    }

    /// Has the driver make an object in shmem fit for being mapped by the CPU. Must be called
    /// without the reservation lock.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is not enough memory for it, also when what is not needed is gone.
    /// - those of [`DriverObject::prepare_cpu_map()`].
    fn prepare(&self) -> Result {
        // SAFETY: The object is valid, and one of its driver.
        let obj = unsafe { <T::Driver as Driver>::Object::from_raw(self.as_raw()) };

        let prepare = || {
            // SAFETY: The object is valid.
            unsafe { check_available(self.as_raw_shmem()) }?;
            T::prepare_cpu_map(obj)
        };

        prepare().or_else(|error| {
            if error != ENOMEM {
                return Err(error);
            }
            T::reclaim(obj);
            prepare()
        })
    }
}
