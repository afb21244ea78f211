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
const WORD_LEN: usize = size_of::<u64>();
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

    /// Size of all that lies before the inline arguments, in bytes.
    pub(crate) fn tables_len(&self) -> usize {
        self.count * ENTRY_LEN + TRAILER_LEN
    }

    /// Size of the tables of arguments, in words of 64 bits.
    pub(crate) fn entry_words(&self) -> usize {
        self.count * ENTRY_LEN / WORD_LEN
    }

    /// Offset of what lies between these and the inline arguments: the DSP's part, zero at first.
    pub(crate) fn trailer(&self) -> Range<usize> {
        self.count * ENTRY_LEN..self.tables_len()
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
    /// `tables` is [`Layout::entry_words`] zeros: an argument of length 0 has no entries. All that
    /// is written are words of 64 bits, or pairs of 32.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `tables` is too small, `args` are more or fewer than were laid out, `base` or
    /// the address behind a number is not aligned to [`DSP_PAGE_SIZE`], an address has no room for
    /// the bank's number, or a buffer's pointer and address disagree in their low 12 bits.
    pub(crate) fn encode(
        &self,
        args: &[Arg],
        base: u64,
        bank: BankPrefix,
        tables: &mut [u64],
    ) -> Result {
        if base == 0 || base % DSP_PAGE_SIZE != 0 || args.len() != self.count {
            return Err(EINVAL);
        }
        let tables = tables.get_mut(..self.entry_words()).ok_or(EINVAL)?;
        let (pointers, tables) = tables.split_at_mut(self.count * ARG_LEN / WORD_LEN);
        let (lists, pages) = tables.split_at_mut(self.count * LIST_LEN / WORD_LEN);
        let pointers = pointers.chunks_exact_mut(ARG_LEN / WORD_LEN);
        let pages = pages.chunks_exact_mut(PAGE_LEN / WORD_LEN);

        let mut inline = self.inline(args);
        let places = pointers.zip(lists).zip(pages);
        for ((index, arg), ((pointer, list), page)) in args.iter().enumerate().zip(places) {
            let (pv, len, start, size) = match *arg {
                Arg::Empty => continue,
                Arg::Handle {
                    number,
                    offset,
                    len,
                    address,
                    size,
                } => {
                    if address % DSP_PAGE_SIZE != 0 {
                        return Err(EINVAL);
                    }
                    // CAST: The bits of a signed number.
                    let pv = pair(number as u32, offset);
                    if len == 0 {
                        put(pointer, [pv, 0]);
                        continue;
                    }
                    // The page entry has the whole buffer.
                    (pv, len.into(), address, size)
                }
                Arg::Inline { len } => {
                    // An inline argument carries its own address, so that no two are the same and
                    // none is 0.
                    let (_, range) = inline.next().ok_or(EINVAL)?;
                    let address = base + range.start as u64;
                    page_arg(address, address, len as u64)?
                }
                Arg::Buffer { pv, address, len } => page_arg(pv, address, len)?,
            };

            put(pointer, [pv, len]);
            // CAST: There are no more arguments than scalars can tell.
            *list = pair(1, index as u32).to_le();
            put(page, [bank.apply(start)?, size]);
        }
        Ok(())
    }
}

/// An argument with the page entry that covers it: pointer, length, start and size of the pages.
fn page_arg(pv: u64, address: u64, len: u64) -> Result<(u64, u64, u64, u64)> {
    if pv == 0 || pv % DSP_PAGE_SIZE != address % DSP_PAGE_SIZE {
        return Err(EINVAL);
    }

    let offset = address % DSP_PAGE_SIZE;
    let size = offset
        .checked_add(len)
        .and_then(|size| size.checked_next_multiple_of(DSP_PAGE_SIZE))
        .ok_or(EINVAL)?;
    Ok((pv, len, address - offset, size))
}

/// Two numbers of 32 bits, one behind the other.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(second) << 32 | u64::from(first)
}

fn put(place: &mut [u64], words: [u64; 2]) {
    for (place, word) in place.iter_mut().zip(words) {
        *place = word.to_le();
    }
}
