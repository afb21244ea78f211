// SPDX-License-Identifier: GPL-2.0

//! Where everything lies in the memory of one call, and the tables that tell the DSP so.
//!
//! A call of `n` arguments has one block of memory that the DSP can reach:
//!
//! ```text
//! 0        16 n  arguments: {u64 pv, u64 length} each, or {s32 number, u32 offset, u32 length, 0}
//! 16 n      8 n  lists: {u32 number of page entries, u32 index of the first} each
//! 24 n     16 n  page entries: {u64 address of the first page, u64 size} each
//! 40 n      128  numbers of the buffers that the DSP releases, written by the DSP
//! 40 n+128  256  checksums, not used
//! 40 n+384    4  poll word, written by the DSP
//! 128-aligned    inline arguments, each 128-aligned
//! ```
//!
//! The DSP finds an argument at the address of its page entry plus the low 12 bits of `pv`.
//!
//! Pure code. It only ever writes the tables: where an argument lies is computed again from the
//! private list of arguments when results are copied out, never read back.

use crate::proto::{
    DSP_PAGE_SIZE,
    FDLIST_LEN, //
};
use core::ops::Range;
use kernel::prelude::*;

const ARG_LEN: usize = 16;
const LIST_LEN: usize = 8;
const PAGE_LEN: usize = 16;
const ENTRY_LEN: usize = ARG_LEN + LIST_LEN + PAGE_LEN;
const TRAILER_LEN: usize = FDLIST_LEN * 8 + 256 + 4;

/// Alignment of inline arguments; no cache line of the DSP holds two of them.
const INLINE_ALIGN: usize = 128;

/// Most inline data of one call.
pub(crate) const MAX_INLINE: usize = 64 << 20;

/// One argument of a call, as the DSP is to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    /// No bytes at all.
    Empty,
    /// Bytes that are copied into the memory of the call.
    Inline {
        /// How many, not 0.
        len: usize,
    },
    /// Bytes of a buffer that the DSP accesses in place.
    Buffer {
        /// What the DSP is told as the argument's pointer.
        pv: u64,
        /// DSP address of the first byte, without the bank's prefix; its low 12 bits are `pv`'s.
        address: u64,
        /// How many bytes, not 0.
        len: u64,
    },
    /// A buffer that the DSP gets to know by a number.
    Handle {
        /// The number.
        number: i32,
        /// Offset in the buffer.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// DSP address of the buffer, without the bank's prefix; a multiple of [`DSP_PAGE_SIZE`].
        address: u64,
        /// Size of the buffer.
        size: u64,
    },
}

/// The number of a context bank, at the place in an address where the DSP expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BankPrefix {
    prefix: u64,
    position: u32,
}

impl BankPrefix {
    /// Prefix of bank `number` when the number starts at bit `position`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the number does not fit above `position`.
    pub(crate) fn new(number: u32, position: u32) -> Result<Self> {
        let prefix = u64::from(number).checked_shl(position).ok_or(EINVAL)?;
        if prefix >> position != u64::from(number) {
            return Err(EINVAL);
        }
        Ok(Self { prefix, position })
    }

    /// The address to put on the wire for a DMA address of this bank.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the address reaches into the place of the number.
    pub(crate) fn apply(self, address: u64) -> Result<u64> {
        if address >> self.position != 0 {
            return Err(EINVAL);
        }
        Ok(self.prefix | address)
    }
}

const fn align_up(value: usize, align: usize) -> usize {
    value.next_multiple_of(align)
}

/// Page entry that covers `len` bytes at `address`: start of the first page, and size in bytes.
fn page_entry(address: u64, len: u64) -> Option<(u64, u64)> {
    let offset = address % DSP_PAGE_SIZE;
    let size = offset
        .checked_add(len)?
        .checked_next_multiple_of(DSP_PAGE_SIZE)?;

    Some((address - offset, size))
}

/// Sizes and offsets of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    count: usize,
    size: usize,
}

impl Layout {
    /// Lays out a call with the arguments `args`.
    ///
    /// # Errors
    ///
    /// [`E2BIG`] if the inline arguments are above [`MAX_INLINE`] together.
    pub(crate) fn new(args: &[Arg]) -> Result<Self> {
        let mut inline = 0usize;
        for arg in args {
            if let Arg::Inline { len } = arg {
                inline = inline.checked_add(*len).ok_or(E2BIG)?;
            }
        }
        if inline > MAX_INLINE {
            return Err(E2BIG);
        }

        let tables = Self {
            count: args.len(),
            size: 0,
        };
        let end = tables
            .inline(args)
            .last()
            .map_or(tables.tables_len(), |(_, range)| range.end);

        Ok(Self {
            size: align_up(end, DSP_PAGE_SIZE as usize),
            ..tables
        })
    }

    /// Size of the whole, in bytes: a multiple of [`DSP_PAGE_SIZE`].
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Offset of the list of released buffers.
    pub(crate) fn fdlist(&self) -> Range<usize> {
        let start = self.count * ENTRY_LEN;

        start..start + FDLIST_LEN * 8
    }

    /// Offset of the poll word.
    pub(crate) fn poll_word(&self) -> Range<usize> {
        self.tables_len() - 4..self.tables_len()
    }

    /// Size of all that lies before the inline arguments.
    pub(crate) fn tables_len(&self) -> usize {
        self.count * ENTRY_LEN + TRAILER_LEN
    }

    /// Index and place of each inline argument of `args`, in order of index.
    pub(crate) fn inline<'a>(
        &self,
        args: &'a [Arg],
    ) -> impl Iterator<Item = (usize, Range<usize>)> + 'a {
        let mut cursor = self.tables_len();

        args.iter().enumerate().filter_map(move |(index, arg)| {
            let Arg::Inline { len } = arg else {
                return None;
            };
            let start = align_up(cursor, INLINE_ALIGN);
            cursor = start + len;
            Some((index, start..cursor))
        })
    }

    /// Writes the tables of a call whose memory is at DMA address `base` into `tables`.
    ///
    /// `tables` is [`Layout::tables_len`] zero bytes: an argument of length 0 has no entries.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `tables` is too small, `base` or the address behind a number is not aligned to
    /// [`DSP_PAGE_SIZE`], an address has no room for the bank's number, or a buffer's pointer and
    /// address disagree in their low 12 bits.
    pub(crate) fn encode(
        &self,
        args: &[Arg],
        base: u64,
        bank: BankPrefix,
        tables: &mut [u8],
    ) -> Result {
        if base == 0 || base % DSP_PAGE_SIZE != 0 || tables.len() < self.tables_len() {
            return Err(EINVAL);
        }

        let mut inline = self.inline(args);
        for (index, arg) in args.iter().enumerate() {
            let (pv, address, len) = match *arg {
                Arg::Empty => continue,
                Arg::Handle {
                    number,
                    offset,
                    len,
                    address,
                    size,
                } => {
                    // The page entry has the whole buffer.
                    if address % DSP_PAGE_SIZE != 0 {
                        return Err(EINVAL);
                    }
                    self.put_handle(index, number, offset, len, tables)?;
                    if len != 0 {
                        self.put_list(index, tables)?;
                        self.put_page(index, bank.apply(address)?, size, tables)?;
                    }
                    continue;
                }
                Arg::Inline { len } => {
                    // An inline argument carries its own address, so that no two are the same and
                    // none is 0.
                    let (_, range) = inline.next().ok_or(EINVAL)?;
                    let address = base + range.start as u64;
                    (address, address, len as u64)
                }
                Arg::Buffer { pv, address, len } => (pv, address, len),
            };
            if pv == 0 || pv % DSP_PAGE_SIZE != address % DSP_PAGE_SIZE {
                return Err(EINVAL);
            }

            let (page, size) = page_entry(address, len).ok_or(EINVAL)?;
            self.put_arg(index, pv, len, tables)?;
            self.put_list(index, tables)?;
            self.put_page(index, bank.apply(page)?, size, tables)?;
        }
        Ok(())
    }

    fn put_arg(&self, index: usize, pv: u64, len: u64, tables: &mut [u8]) -> Result {
        let at = index * ARG_LEN;

        put(tables, at, &pv.to_le_bytes())?;
        put(tables, at + 8, &len.to_le_bytes())
    }

    fn put_handle(
        &self,
        index: usize,
        number: i32,
        offset: u32,
        len: u32,
        tables: &mut [u8],
    ) -> Result {
        let at = index * ARG_LEN;

        put(tables, at, &number.to_le_bytes())?;
        put(tables, at + 4, &offset.to_le_bytes())?;
        put(tables, at + 8, &len.to_le_bytes())
    }

    fn put_list(&self, index: usize, tables: &mut [u8]) -> Result {
        let at = self.count * ARG_LEN + index * LIST_LEN;

        put(tables, at, &1u32.to_le_bytes())?;
        put(tables, at + 4, &(index as u32).to_le_bytes())
    }

    fn put_page(&self, index: usize, address: u64, size: u64, tables: &mut [u8]) -> Result {
        let at = self.count * (ARG_LEN + LIST_LEN) + index * PAGE_LEN;

        put(tables, at, &address.to_le_bytes())?;
        put(tables, at + 8, &size.to_le_bytes())
    }
}

fn put(tables: &mut [u8], at: usize, bytes: &[u8]) -> Result {
    tables
        .get_mut(at..at + bytes.len())
        .ok_or(EINVAL)?
        .copy_from_slice(bytes);
    Ok(())
}
