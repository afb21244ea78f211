// SPDX-License-Identifier: GPL-2.0

//! What one DSP process has in the address space of its bank.

use crate::{
    bank::Lease,
    gem::{
        Buffer,
        BufferData, //
    },
    proto::DSP_PAGE_SIZE, //
};
use kernel::{
    dma::{
        attrs::DMA_ATTR_NO_WARN,
        Coherent, //
    },
    drm::gem::shmem,
    prelude::*,
    rbtree::RBTree,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A buffer mapped in a bank: one contiguous range of DSP addresses.
pub(crate) type Mapping = shmem::DmaMapping<BufferData, Lease>;

/// Mappings of buffers, each made on first use, and the memory that the process itself was given.
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Space {
    buffers: RBTree<usize, Arc<Mapping>>,
    shell: Option<Arc<Mapping>>,
    memory: Option<Coherent<[u8]>>,
    lease: Arc<Lease>,
}

fn key(buffer: &Buffer) -> usize {
    core::ptr::from_ref(buffer).addr()
}

impl Space {
    /// An empty address space.
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            buffers: RBTree::new(),
            shell: None,
            memory: None,
            lease,
        }
    }

    /// The bank.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The mapping of `buffer`, made now if there is none.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: it has no single, page-aligned range of DSP addresses.
    /// - [`ENOMEM`]: out of memory, or of addresses.
    pub(crate) fn map(&mut self, buffer: &ARef<Buffer>) -> Result<Arc<Mapping>> {
        if let Some(mapping) = self.buffers.get(&key(buffer)) {
            return Ok(mapping.clone());
        }

        let mapping = Mapping::new(buffer.clone(), self.lease.clone())?;
        if mapping.dma_address() % DSP_PAGE_SIZE != 0 {
            return Err(EOPNOTSUPP);
        }
        let mapping = Arc::new(mapping, GFP_KERNEL)?;
        self.buffers
            .try_create_and_insert(key(buffer), mapping.clone(), GFP_KERNEL)?;
        Ok(mapping)
    }

    /// Takes the mapping of a buffer that the client has closed; calls that use it keep it.
    #[must_use = "drop it without the lock of the address space"]
    pub(crate) fn forget(&mut self, buffer: &Buffer) -> Option<Arc<Mapping>> {
        self.buffers.remove(&key(buffer))
    }

    /// Keeps the image of the program mapped.
    pub(crate) fn set_shell(&mut self, shell: Arc<Mapping>) {
        self.shell = Some(shell);
    }

    /// Gives the process `size` bytes of memory to begin with. Returns their DSP address, with the
    /// bank's prefix.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn set_memory(&mut self, size: usize) -> Result<u64> {
        let memory = Coherent::zeroed_slice_with_attrs(
            (*self.lease).as_ref(),
            size,
            GFP_KERNEL_ACCOUNT,
            DMA_ATTR_NO_WARN,
        )?;
        let address = self.lease.prefix().apply(memory.dma_address())?;

        self.memory = Some(memory);
        Ok(address)
    }
}
