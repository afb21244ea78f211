// SPDX-License-Identifier: GPL-2.0

//! Memory of the calls of one DSP process.
//!
//! It comes in pieces that are mapped in the process's bank once and for all its calls, so that a
//! call neither allocates nor maps. The first piece stays; more come when calls need them, and go
//! when for some time none has. What is too large for a piece is allocated for one call.
//!
//! Pieces are zero when they come and belong to one process: the DSP finds nothing in them but what
//! calls of this process have left there.

use crate::{
    bank::Lease,
    pages,
    proto::DSP_PAGE_SIZE, //
};
use core::ops::Range;
use kernel::{
    alloc::{
        flags::__GFP_RETRY_MAYFAIL,
        Flags, //
    },
    dma::{
        attrs::DMA_ATTR_NO_WARN,
        Coherent, //
    },
    io::{
        io_project,
        Io, //
    },
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    },
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    },
};

/// Size of a page of call memory, whatever the size of the kernel's pages.
// CAST: a small number.
const PAGE: usize = DSP_PAGE_SIZE as usize;

/// Pages of the first piece, enough for a few small calls at once.
const FIRST_PAGES: usize = 8;

/// Most pages of the others; memory for larger calls is allocated one by one.
const MOST_PAGES: usize = pages::MAX_PAGES;

/// Most pieces of a process: about 4 MiB.
const MAX_PIECES: usize = 17;

/// How memory is allocated of which programs decide how much is needed: they pay for it, and are
/// refused where their memory control group has no more, rather than that one of them is killed.
pub(crate) fn paid() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL
}

/// Memory that is mapped in a bank.
///
/// Fields are dropped in this order: the lease goes last.
struct Piece {
    memory: Arc<Coherent<[u8]>>,
    count: usize,
    /// See [`pages`]. Bits are set under the lock of the arena, and cleared without.
    used: Atomic<u64>,
    lease: Arc<Lease>,
}

impl Piece {
    /// A refusal is no news.
    fn new(lease: &Arc<Lease>, size: usize, count: usize) -> Result<Arc<Self>> {
        let memory =
            Coherent::zeroed_slice_with_attrs((**lease).as_ref(), size, paid(), DMA_ATTR_NO_WARN)?;

        Ok(Arc::new(
            Self {
                memory: Arc::new(memory, GFP_KERNEL)?,
                count,
                used: Atomic::new(pages::unused(count)),
                lease: lease.clone(),
            },
            GFP_KERNEL,
        )?)
    }

    /// Takes `count` pages in a row. Only for the holder of the arena's lock.
    fn take(&self, count: usize) -> Option<Range<usize>> {
        let range = pages::find(self.used.load(Acquire), count)?;

        // None of these bits is set, so that adding them sets them, and carries none.
        self.used.fetch_add(pages::bits(&range), Acquire);
        Some(range)
    }

    fn is_unused(&self) -> bool {
        self.used.load(Acquire) == pages::unused(self.count)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.lease.loses(self.memory.size()) {
            core::mem::forget(self.memory.clone());
        }
    }
}

/// The memory of one call. Goes back to where it came from when it is dropped.
pub(crate) struct CallMemory {
    piece: Arc<Piece>,
    /// Pages of the piece; none of one that was made for this call.
    pages: Range<usize>,
    len: usize,
}

impl CallMemory {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn start(&self) -> usize {
        self.pages.start * PAGE
    }

    /// Where `range` of the call's memory is in the piece.
    fn place(&self, range: &Range<usize>) -> Result<Range<usize>> {
        if range.start > range.end || range.end > self.len {
            return Err(EINVAL);
        }
        Ok(self.start() + range.start..self.start() + range.end)
    }

    /// The bank.
    pub(crate) fn lease(&self) -> &Lease {
        &self.piece.lease
    }

    /// Address of the first byte, a multiple of [`DSP_PAGE_SIZE`], without the bank's prefix.
    pub(crate) fn dma_address(&self) -> u64 {
        self.piece.memory.dma_address() + self.start() as u64
    }

    /// Writes `bytes` at `at`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if they do not fit.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result {
        let place = self.place(&(at..at + bytes.len()))?;

        io_project!(*self.piece.memory, [try: place.start..place.end]).copy_from_slice(bytes);
        Ok(())
    }

    /// Reads what is at `at` into `bytes`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there are not so many.
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) -> Result {
        let place = self.place(&(at..at + bytes.len()))?;

        io_project!(*self.piece.memory, [try: place.start..place.end]).copy_to_slice(bytes);
        Ok(())
    }

    /// Clears `range`, in which an earlier call may have left something.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it reaches too far.
    pub(crate) fn clear(&self, range: Range<usize>) -> Result {
        static ZEROS: [u8; PAGE] = [0; PAGE];

        // Memory that was made for this call is zero.
        if self.pages.is_empty() {
            return Ok(());
        }
        for at in range.clone().step_by(PAGE) {
            self.write(at, &ZEROS[..PAGE.min(range.end - at)])?;
        }
        Ok(())
    }

    /// Fills `range` from `reader`.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: the range reaches too far.
    /// - [`EFAULT`]: the user's memory cannot be read.
    pub(crate) fn copy_from_user(
        &self,
        range: Range<usize>,
        mut reader: UserSliceReader,
    ) -> Result {
        let place = self.place(&range)?;

        reader.read_dma(&self.piece.memory, place.start, place.len())
    }

    /// Copies `range` to `writer`.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: the range reaches too far.
    /// - [`EFAULT`]: the user's memory cannot be written.
    pub(crate) fn copy_to_user(&self, range: Range<usize>, mut writer: UserSliceWriter) -> Result {
        let place = self.place(&range)?;

        writer.write_dma(&self.piece.memory, place.start, place.len())
    }
}

impl Drop for CallMemory {
    fn drop(&mut self) {
        // All these bits are set, so that subtracting them clears them. What was done with the
        // pages stays before it.
        self.piece.used.fetch_sub(pages::bits(&self.pages), Release);
    }
}

/// A piece as the arena has it.
struct Entry {
    piece: Arc<Piece>,
    /// Whether a call took pages of it since [`Arena::age`].
    recent: bool,
}

/// The call memory of a process.
pub(crate) struct Arena(KVec<Entry>);

impl Arena {
    /// Empty: memory comes with the first call.
    pub(crate) fn new() -> Self {
        Self(KVec::new())
    }

    /// Memory of `len` bytes for a call.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]: out of memory, or of addresses of the bank.
    pub(crate) fn take(&mut self, lease: &Arc<Lease>, len: usize) -> Result<CallMemory> {
        let count = len.div_ceil(PAGE);
        for entry in self.0.iter_mut() {
            if let Some(pages) = entry.piece.take(count) {
                entry.recent = true;
                return Ok(CallMemory {
                    piece: entry.piece.clone(),
                    pages,
                    len,
                });
            }
        }

        if count > MOST_PAGES || self.0.len() >= MAX_PIECES {
            return Self::alone(lease, len);
        }
        // Memory for this call alone is less, and perhaps to be had where a piece is not.
        self.grow(lease, count)
            .and_then(|piece| {
                let pages = piece.take(count).ok_or(ENOMEM)?;
                Ok(CallMemory { piece, pages, len })
            })
            .or_else(|_| Self::alone(lease, len))
    }

    /// Adds a piece with at least `count` pages, not above [`MOST_PAGES`]. The more there are, the
    /// larger it is: a large call now and then needs no more than its own memory.
    fn grow(&mut self, lease: &Arc<Lease>, count: usize) -> Result<Arc<Piece>> {
        let pages = (FIRST_PAGES << self.0.len().min(usize::BITS as usize / 2))
            .max(count.next_power_of_two())
            .min(MOST_PAGES);

        self.0.reserve(1, GFP_KERNEL)?;
        let piece = Piece::new(lease, pages * PAGE, pages)?;
        self.0.push(
            Entry {
                piece: piece.clone(),
                recent: true,
            },
            GFP_KERNEL,
        )?;
        Ok(piece)
    }

    fn alone(lease: &Arc<Lease>, len: usize) -> Result<CallMemory> {
        Ok(CallMemory {
            piece: Piece::new(lease, len, 0)?,
            pages: 0..0,
            len,
        })
    }

    /// Whether it has pieces that are to go when no call needs them any more.
    pub(crate) fn is_grown(&self) -> bool {
        self.0.iter().any(|entry| entry.piece.count > FIRST_PAGES)
    }

    /// Takes a piece that no call has used since [`Arena::age`], if there is one.
    #[must_use = "drop it without the lock of the address space"]
    pub(crate) fn take_stale(&mut self) -> Option<impl Sized> {
        let index = self.0.iter().position(|entry| {
            entry.piece.count > FIRST_PAGES && !entry.recent && entry.piece.is_unused()
        })?;

        self.0.remove(index).ok()
    }

    /// Begins a new interval in which pieces are used or not.
    pub(crate) fn age(&mut self) {
        for entry in self.0.iter_mut() {
            entry.recent = false;
        }
    }
}
