// SPDX-License-Identifier: GPL-2.0

//! What one DSP process has in the address space of its bank.

use crate::{
    arena::{
        paid,
        Arena,
        CallMemory, //
    },
    bank::Lease,
    mapped::Mapped, //
};
use kernel::{
    dma::{
        attrs::DMA_ATTR_NO_WARN,
        Coherent, //
    },
    dma_pages::DmaPages,
    prelude::*,
    sync::Arc, //
};

/// The memory of calls, and that which the process itself was given. The mappings of buffers are in
/// [`crate::mappings`].
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Space {
    heap: KVec<Heap>,
    shell: Option<Arc<Mapped>>,
    memory: Option<Memory>,
    /// Memory of calls.
    pub(crate) arena: Arena,
    lease: Arc<Lease>,
}

/// Most pieces that the heap of a process can be grown by.
const MAX_HEAP: usize = 1024;

/// Memory that a process begins with. Only the DSP uses it.
enum Memory {
    /// In one piece.
    Block(DmaPages<Lease>),
    /// In as many as it takes.
    Pages(Coherent<[u8]>),
}

impl Memory {
    fn new(lease: &Arc<Lease>, size: usize) -> Result<Self> {
        if lease.is_translated() {
            if let Ok(block) = DmaPages::new(lease.clone(), size, paid()) {
                return Ok(Self::Block(block));
            }
        }
        let memory =
            Coherent::zeroed_slice_with_attrs((**lease).as_ref(), size, paid(), DMA_ATTR_NO_WARN)?;
        Ok(Self::Pages(memory))
    }

    fn dma_address(&self) -> u64 {
        match self {
            Self::Block(block) => block.dma_address(),
            Self::Pages(memory) => memory.dma_address(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Block(block) => block.size(),
            Self::Pages(memory) => memory.size(),
        }
    }
}

/// Memory that the heap of the process was grown by.
pub(crate) struct Heap {
    /// Where the DSP process has it; unknown while the DSP is being asked, and for ever if it never
    /// answered.
    address: Option<u64>,
    len: u64,
    memory: Arc<Mapped>,
}

impl Space {
    /// An empty address space.
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            heap: KVec::new(),
            shell: None,
            memory: None,
            arena: Arena::new(),
            lease,
        }
    }

    /// The bank.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Memory of `len` bytes for a call.
    ///
    /// # Errors
    ///
    /// As [`Arena::take`].
    pub(crate) fn call_memory(&mut self, len: usize) -> Result<CallMemory> {
        self.arena.take(&self.lease, len)
    }

    /// Keeps the image of the program mapped.
    pub(crate) fn set_shell(&mut self, shell: Arc<Mapped>) {
        self.shell = Some(shell);
    }

    /// Keeps `memory`, of which the DSP is being asked to add `len` bytes to the heap.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`]: there are too many pieces.
    /// - [`ENOMEM`].
    pub(crate) fn ask_grow(&mut self, memory: Arc<Mapped>, len: u64) -> Result {
        if self.heap.len() >= MAX_HEAP {
            return Err(ENOSPC);
        }
        let piece = Heap {
            address: None,
            len,
            memory,
        };
        Ok(self.heap.push(piece, GFP_KERNEL)?)
    }

    /// Notes that the heap now has `memory` at DSP address `address`.
    pub(crate) fn grown(&mut self, memory: &Arc<Mapped>, address: u64) {
        if let Some(piece) = self.find_heap(memory) {
            piece.address = Some(address);
        }
    }

    fn find_heap(&mut self, memory: &Arc<Mapped>) -> Option<&mut Heap> {
        self.heap
            .iter_mut()
            .find(|piece| Arc::ptr_eq(&piece.memory, memory))
    }

    /// Notes that the DSP is being asked to give up the piece of the heap at DSP address `address`,
    /// of exactly `len` bytes. Returns its memory.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none.
    pub(crate) fn ask_shrink(&mut self, address: u64, len: u64) -> Result<Arc<Mapped>> {
        let piece = self
            .heap
            .iter_mut()
            .find(|piece| piece.address == Some(address) && piece.len == len)
            .ok_or(EINVAL)?;

        piece.address = None;
        Ok(piece.memory.clone())
    }

    /// Takes a piece that the heap has not got, or has no more.
    #[must_use = "drop it without the lock of the address space"]
    pub(crate) fn take_heap(&mut self, memory: &Arc<Mapped>) -> Option<Heap> {
        let index = self
            .heap
            .iter()
            .position(|piece| Arc::ptr_eq(&piece.memory, memory))?;

        self.heap.remove(index).ok()
    }

    /// Gives the process `size` bytes of memory to begin with. Returns their DSP address, with the
    /// bank's prefix.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn set_memory(&mut self, size: usize) -> Result<u64> {
        let memory = Memory::new(&self.lease, size)?;
        let address = self.lease.prefix().apply(memory.dma_address())?;

        self.memory = Some(memory);
        Ok(address)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let memory = self.memory.take();

        if let Some(memory) = memory.filter(|memory| self.lease.loses(memory.size())) {
            core::mem::forget(memory);
        }
    }
}
