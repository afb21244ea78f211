// SPDX-License-Identifier: GPL-2.0

//! What one DSP process has in the address space of its bank.

use crate::{
    arena::{
        Arena,
        CallMemory, //
    },
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
use kernel::{
    dma::{
        attrs::DMA_ATTR_NO_WARN,
        Coherent, //
    },
    dma_pages::DmaPages,
    drm::gem::shmem,
    prelude::*,
    rbtree::RBTree,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A buffer mapped in an address space: one contiguous range of DSP addresses.
pub(crate) type Mapping = shmem::DmaMapping<BufferData, AddressSpace>;

/// The mappings of one buffer, at most one in each address space, with how many use each.
pub(crate) struct Mappings(KVec<(Arc<Mapping>, usize)>);

impl Mappings {
    /// None.
    pub(crate) fn new() -> Self {
        Self(KVec::new())
    }

    fn find(&mut self, space: &Arc<AddressSpace>) -> Option<usize> {
        self.0
            .iter()
            .position(|(mapping, _)| Arc::ptr_eq(mapping.owner(), space))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter().map(|(mapping, _)| &**mapping)
    }
}

/// One use of a buffer's mapping in a bank. The mapping goes with its last use.
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Mapped {
    mapping: Option<Arc<Mapping>>,
    address: u64,
    buffer: ARef<Buffer>,
    lease: Arc<Lease>,
}

impl Mapped {
    /// Uses the mapping of `buffer` in the bank of `lease`, which is made now if there is none.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: it has no single, page-aligned range of DSP addresses.
    /// - [`ENOMEM`]: out of memory, or of addresses.
    pub(crate) fn new(buffer: &ARef<Buffer>, lease: &Arc<Lease>) -> Result<Arc<Self>> {
        let space = lease.space();
        let mapping = {
            let mut mappings = buffer.mappings.lock();

            match mappings.find(space) {
                Some(index) => {
                    let (mapping, users) = &mut mappings.0[index];
                    *users += 1;
                    mapping.clone()
                }
                None => {
                    let mapping = Mapping::new(buffer.clone(), space.clone())?;
                    if mapping.dma_address() % DSP_PAGE_SIZE != 0 {
                        return Err(EOPNOTSUPP);
                    }
                    let mapping = Arc::new(mapping, GFP_KERNEL)?;
                    mappings.0.push((mapping.clone(), 1), GFP_KERNEL)?;
                    mapping
                }
            }
        };

        // If this fails, the use is dropped, and so ends.
        let mapped = Self {
            address: mapping.dma_address(),
            mapping: Some(mapping),
            buffer: buffer.clone(),
            lease: lease.clone(),
        };
        Ok(Arc::new(mapped, GFP_KERNEL)?)
    }

    /// First DSP address, without the bank's prefix; a multiple of [`DSP_PAGE_SIZE`].
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The buffer.
    pub(crate) fn buffer(&self) -> &ARef<Buffer> {
        &self.buffer
    }

    /// The bank.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else {
            return;
        };
        let mut mappings = self.buffer.mappings.lock();
        let mut last = None;

        if let Some(index) = mappings.find(mapping.owner()) {
            mappings.0[index].1 -= 1;
            if mappings.0[index].1 == 0 {
                last = mappings.0.remove(index).ok();
            }
        }
        // While nobody can begin to make another: there is never more than one.
        drop(mapping);
        drop(last);
        drop(mappings);
    }
}

/// Mappings of buffers, each made on first use, the memory of calls, and that which the process
/// itself was given.
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Space {
    buffers: RBTree<usize, Arc<Mapped>>,
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
    Block(DmaPages),
    /// In as many as it takes.
    Pages(Coherent<[u8]>),
}

impl Memory {
    fn new(lease: &Lease, size: usize) -> Result<Self> {
        if lease.is_translated() {
            if let Ok(block) = DmaPages::new(lease.as_ref(), size, GFP_KERNEL_ACCOUNT) {
                return Ok(Self::Block(block));
            }
        }
        let memory = Coherent::zeroed_slice_with_attrs(
            lease.as_ref(),
            size,
            GFP_KERNEL_ACCOUNT,
            DMA_ATTR_NO_WARN,
        )?;
        Ok(Self::Pages(memory))
    }

    fn dma_address(&self) -> u64 {
        match self {
            Self::Block(block) => block.dma_address(),
            Self::Pages(memory) => memory.dma_address(),
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

fn key(buffer: &Buffer) -> usize {
    core::ptr::from_ref(buffer).addr()
}

impl Space {
    /// An empty address space.
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            buffers: RBTree::new(),
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

    /// The mapping of `buffer`, made now if there is none, and kept until [`Space::forget`].
    ///
    /// # Errors
    ///
    /// As [`Mapped::new`].
    pub(crate) fn map(&mut self, buffer: &ARef<Buffer>) -> Result<Arc<Mapped>> {
        if let Some(mapped) = self.buffers.get(&key(buffer)) {
            return Ok(mapped.clone());
        }

        let mapped = Mapped::new(buffer, &self.lease)?;
        self.buffers
            .try_create_and_insert(key(buffer), mapped.clone(), GFP_KERNEL)?;
        Ok(mapped)
    }

    /// Takes the mapping of a buffer that the client has closed; whoever uses it keeps it.
    #[must_use = "drop it without the lock of the address space"]
    pub(crate) fn forget(&mut self, buffer: &Buffer) -> Option<Arc<Mapped>> {
        self.buffers.remove(&key(buffer))
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
