// SPDX-License-Identifier: GPL-2.0

//! A buffer that is mapped in a bank.

use crate::{
    bank::{
        AddressSpace,
        Lease, //
    },
    gem::{
        Buffer,
        BufferData, //
    },
    proto::DSP_PAGE_SIZE, //
};
use core::ops::Range;
use kernel::{
    dma::DataDirection,
    drm::gem::{
        shmem,
        BaseObject, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A buffer mapped in the address space of a bank: one contiguous range of DSP addresses. Processes
/// that share the address space share the mapping.
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Mapped {
    mapping: Arc<shmem::DmaMapping<BufferData, AddressSpace>>,
    lease: Arc<Lease>,
}

impl Mapped {
    /// Maps `buffer` in the bank of `lease`.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: it has no single, page-aligned range of DSP addresses, or is in memory
    ///   that the DSP can't address, and that no IOMMU maps to where it can.
    /// - [`ENOMEM`]: out of memory, or of addresses.
    /// - those of the buffer's exporter.
    pub(crate) fn new(buffer: &ARef<Buffer>, lease: &Arc<Lease>) -> Result<Arc<Self>> {
        let space = lease.space();
        let mapping = shmem::DmaMapping::new(buffer.clone(), space.clone())?;
        let address = mapping.dma_address();
        if address % DSP_PAGE_SIZE != 0 || space.is_bounced(address) {
            return Err(EOPNOTSUPP);
        }

        let mapped = Self {
            mapping: Arc::new(mapping, GFP_KERNEL)?,
            lease: lease.clone(),
        };
        Ok(Arc::new(mapped, GFP_KERNEL)?)
    }

    /// The same mapping for another process, whose lease is of a bank with the same address space.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn share(&self, lease: &Arc<Lease>) -> Result<Arc<Self>> {
        let mapped = Self {
            mapping: self.mapping.clone(),
            lease: lease.clone(),
        };
        Ok(Arc::new(mapped, GFP_KERNEL)?)
    }

    /// First DSP address, without the bank's prefix; a multiple of [`DSP_PAGE_SIZE`].
    pub(crate) fn address(&self) -> u64 {
        self.mapping.dma_address()
    }

    /// The buffer.
    pub(crate) fn buffer(&self) -> &Buffer {
        self.mapping.object()
    }

    /// The bank.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// All bytes of the buffer.
    pub(crate) fn all(&self) -> Range<usize> {
        0..self.buffer().size()
    }

    /// Makes what the CPU has written to bytes `range` visible to the DSP, if the buffer is our
    /// own; for others see [`crate::sync`].
    pub(crate) fn sync_for_device(&self, range: Range<usize>, direction: DataDirection) {
        if !self.is_write_combined() {
            self.mapping.sync_for_device(range, direction);
        }
    }

    /// Makes what the DSP has written to bytes `range` visible to the CPU, as
    /// [`Mapped::sync_for_device`].
    pub(crate) fn sync_for_cpu(&self, range: Range<usize>, direction: DataDirection) {
        if !self.is_write_combined() {
            self.mapping.sync_for_cpu(range, direction);
        }
    }

    /// Whether the CPU has nothing of it in its caches.
    fn is_write_combined(&self) -> bool {
        self.buffer().write_combined
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let buffer = self.buffer();

        if self.lease.loses(buffer.size()) {
            // With its device, which it has no reference to.
            core::mem::forget(ARef::from(buffer.dev()));
            core::mem::forget(ARef::from(buffer));
        }
    }
}
