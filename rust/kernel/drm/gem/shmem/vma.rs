// SPDX-License-Identifier: GPL-2.0

//! Finding the place in a shmem GEM object at which a user address points.

use super::{
    coherent::Memory,
    Object, //
};
use crate::{
    bindings,
    drm::gem::DriverObject,
    mm::virt::VmaRef,
    page::PAGE_SHIFT,
    prelude::*, //
};
use core::ptr;

impl<T: DriverObject> Object<T> {
    /// Returns the offset, in bytes, of the byte in this object that the current process sees at
    /// the user address `addr`.
    ///
    /// It does not matter by which file the process has mapped the object: the DRM device, a
    /// dma-buf that the object has been exported to, or, for an imported object, the dma-buf that
    /// it came from. The answer is a snapshot. Other threads may change the mapping at any time, so
    /// that the offset can only serve to name a place in the object, not to prove that the process
    /// still maps it. May sleep.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if nothing is mapped at `addr`, or the current task has no user address space.
    /// - `EINVAL` if something else than this object is mapped at `addr`.
    pub fn vma_offset(&self, addr: usize) -> Result<usize> {
        // SAFETY: The object is valid by its type invariants.
        unsafe { vma_offset(self.as_raw_shmem(), addr) }
    }
}

/// # Safety
///
/// `shmem` must be a valid shmem GEM object.
unsafe fn vma_offset(shmem: *mut bindings::drm_gem_shmem_object, addr: usize) -> Result<usize> {
    let task = current!();
    let mm = task.mm().ok_or(EFAULT)?;

    if let Some(vma) = mm.lock_vma_under_rcu(addr) {
        // SAFETY: Per the safety requirements.
        return unsafe { offset_in_vma(shmem, &vma, addr) };
    }

    let guard = mm.mmap_read_lock();
    let vma = guard.vma_lookup(addr).ok_or(EFAULT)?;

    // SAFETY: Per the safety requirements.
    unsafe { offset_in_vma(shmem, vma, addr) }
}

/// # Safety
///
/// `shmem` must be a valid shmem GEM object.
unsafe fn offset_in_vma(
    shmem: *mut bindings::drm_gem_shmem_object,
    vma: &VmaRef,
    addr: usize,
) -> Result<usize> {
    // SAFETY: `shmem` is valid per the safety requirements.
    let obj = unsafe { &raw mut (*shmem).base };
    // SAFETY: `obj` is valid. These fields are set before the object is used by anyone.
    let (size, import) = unsafe { ((*obj).size, (*obj).import_attach) };

    // SAFETY: The VMA is locked for reading, and so its fields are stable.
    let (vm_file, vm_ops, vm_private_data, vm_pgoff) = unsafe {
        let vma = vma.as_ptr();
        (
            (*vma).vm_file,
            (*vma).vm_ops,
            (*vma).vm_private_data,
            (*vma).vm_pgoff,
        )
    };

    // Where in the address space of the mapped file the object starts, in pages.
    let first_page = if import.is_null() {
        // This is how `drm_gem_mmap_obj()` and `drm_gem_prime_mmap()` leave a VMA behind, for the
        // DRM file and for exported dma-bufs. Both have the fake offset of the object, which
        // coherent memory does without.
        let is_coherent = Memory::is_vm_ops(vm_ops);
        if (!is_coherent && !ptr::eq(vm_ops, &raw const bindings::drm_gem_shmem_vm_ops))
            || vm_private_data != obj.cast()
        {
            return Err(EINVAL);
        }

        if is_coherent {
            0
        } else {
            // SAFETY: `obj` is valid.
            unsafe { fake_offset(obj) }
        }
    } else {
        // SAFETY: An import keeps its attachment, and thereby the dma-buf, for all its life.
        let buf = unsafe { (*import).dmabuf };

        // SAFETY: `buf` is valid.
        let exported = unsafe { exported_object(buf) };

        // `drm_gem_shmem_mmap()` replaces the DRM file by the one of the dma-buf, whose pages it
        // counts from zero, as everyone does who maps that file directly. Where the exporter is a
        // GEM driver, the process may as well have mapped the object by a DRM file of the exporter.
        // SAFETY: `buf` and `vm_file`, if it is one, are valid, and so is the exported object.
        let is_buffer = unsafe {
            (*buf).file == vm_file
                || exported.is_some_and(|exported| {
                    vm_private_data == exported.cast()
                        && !vm_file.is_null()
                        && (*vm_file).f_mapping == (*(*(*exported).dev).anon_inode).i_mapping
                })
        };
        if !is_buffer {
            return Err(EINVAL);
        }

        // SAFETY: The object is valid.
        match exported.map(|exported| unsafe { fake_offset(exported) }) {
            // The exporter is a GEM driver that leaves its own fake offset behind, of which the
            // lowest is 4 GiB. An offset below that is a real one.
            Some(first_page) if vm_pgoff >= first_page => first_page,
            _ => 0,
        }
    };

    let offset = vm_pgoff
        .checked_sub(first_page)
        .and_then(|page| page.checked_mul(1 << PAGE_SHIFT))
        .and_then(|start| start.checked_add(addr - vma.start()))
        .ok_or(EINVAL)?;

    if offset >= size {
        return Err(EINVAL);
    }

    Ok(offset)
}

/// Returns the fake offset, in pages, by which user space maps `obj` from the DRM file.
///
/// # Safety
///
/// `obj` must be a valid GEM object.
unsafe fn fake_offset(obj: *mut bindings::drm_gem_object) -> usize {
    // SAFETY: `obj` is valid per the safety requirements.
    let addr = unsafe { bindings::drm_vma_node_offset_addr(&raw mut (*obj).vma_node) };

    // CAST: Page offsets are `unsigned long` on the C side.
    (addr >> PAGE_SHIFT) as usize
}

/// Returns the GEM object behind `buf`, if there is one.
///
/// # Safety
///
/// `buf` must be a valid dma-buf.
unsafe fn exported_object(buf: *mut bindings::dma_buf) -> Option<*mut bindings::drm_gem_object> {
    // SAFETY: `buf` is valid per the safety requirements, and its operations are constant.
    let mmap = unsafe { (*(*buf).ops).mmap }?;

    let gem_mmap: unsafe extern "C" fn(_, _) -> _ = bindings::drm_gem_dmabuf_mmap;
    if !ptr::fn_addr_eq(mmap, gem_mmap) {
        return None;
    }

    // `drm_gem_dmabuf_mmap()` is only for dma-bufs whose private data is a GEM object, which they
    // hold a reference to.
    // SAFETY: `buf` is valid.
    Some(unsafe { (*buf).priv_.cast() })
}
