// SPDX-License-Identifier: GPL-2.0

//! The metadata buffer of a call: where its tables are, and what they say.
//!
//! Pure code, bounds-checked, and without opinion: [`crate::strict`] judges what was decoded.
//!
//! ```text
//! 0        16 n  argument: buffer {u64 pv, u64 len} or handle {s32 fd, u32 offset, u32 len, pad}
//! 16 n      8 n  list: {u32 num, u32 pgidx}
//! 24 n     16 n  page: {u64 addr, u64 size}
//! 40 n      128  numbers of buffers that the DSP gives back, ended by a 0
//! 40 n+128  256  checksums, unused
//! 40 n+384    4  poll word
//! ```
//!
//! Inline data follows, from the next multiple of 128 on (`fastrpc.c` 984-1023, 1111-1121).

use crate::wire::{Scalars, PAGE};
use thiserror::Error;
use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Entries of the list of numbers that the DSP gives back.
pub const FDLIST_LEN: usize = 16;
/// Alignment of the first inline argument.
pub const INLINE_ALIGN: u64 = 128;

/// Offsets of the tables for a number of arguments, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    arguments: usize,
}

impl Layout {
    /// Layout of a call with these scalars.
    pub const fn new(sc: Scalars) -> Self {
        Self {
            arguments: sc.arguments(),
        }
    }
    /// Argument `i`.
    pub const fn argument(self, i: usize) -> u64 {
        16 * i as u64
    }
    /// List entry of argument `i`.
    pub const fn list(self, i: usize) -> u64 {
        16 * self.arguments as u64 + 8 * i as u64
    }
    /// Page entry `i`.
    pub const fn page(self, i: usize) -> u64 {
        24 * self.arguments as u64 + 16 * i as u64
    }
    /// List of numbers given back.
    pub const fn fdlist(self) -> u64 {
        40 * self.arguments as u64
    }
    /// Checksums.
    pub const fn crc(self) -> u64 {
        self.fdlist() + 8 * FDLIST_LEN as u64
    }
    /// Poll word.
    pub const fn poll(self) -> u64 {
        self.crc() + 256
    }
    /// First byte behind the metadata.
    pub const fn end(self) -> u64 {
        self.poll() + 4
    }
    /// First byte where inline data may be.
    pub const fn inline(self) -> u64 {
        self.end().next_multiple_of(INLINE_ALIGN)
    }
}

/// The four sorts of arguments, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Buffer that the DSP reads.
    In,
    /// Buffer that the DSP writes.
    Out,
    /// Registered buffer that the DSP reads.
    InHandle,
    /// Registered buffer that the DSP writes.
    OutHandle,
}

/// What the argument table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A buffer; of `pv`, only the low 12 bits mean anything to the DSP.
    Buffer {
        /// The caller's pointer.
        pv: u64,
        /// Bytes.
        len: u64,
    },
    /// A registered buffer.
    Handle {
        /// Number that the DSP knows the buffer by.
        fd: i32,
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
}

/// One entry of the page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Address with the bank number.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
}

/// One argument, with the page entry that its list entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Sort.
    pub kind: Kind,
    /// Entry of the argument table.
    pub value: Value,
    /// Number of page entries.
    pub num: u32,
    /// Index of the first page entry.
    pub pgidx: u32,
    /// That entry; `None` when `num` is 0 or the index is outside the table.
    pub page: Option<Page>,
}

impl Argument {
    /// Bytes of the argument.
    pub fn len(&self) -> u64 {
        match self.value {
            Value::Buffer { len, .. } => len,
            Value::Handle { len, .. } => len.into(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset of the data in the page entry: the low 12 bits of `pv`, or the handle's offset.
    pub fn offset(&self) -> u64 {
        match self.value {
            Value::Buffer { pv, .. } => pv % PAGE,
            Value::Handle { offset, .. } => offset.into(),
        }
    }

    /// Address of the data, with the bank number; `None` without a page entry.
    pub fn data(&self) -> Option<u64> {
        self.page?.addr.checked_add(self.offset())
    }
}

/// Decoded metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Arguments in wire order.
    pub arguments: Vec<Argument>,
    /// Numbers given back, as the guest left them (it should be zero).
    pub fdlist: [u64; FDLIST_LEN],
    /// Poll word, as the guest left it (it should be zero).
    pub poll: u32,
}

/// Why metadata can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MetaError {
    /// The buffer ends before the tables do.
    #[error("metadata needs {need} bytes, there are {have}")]
    Short {
        /// Bytes that the scalars ask for.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBuffer {
    pv: U64,
    len: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHandle {
    fd: I32,
    offset: U32,
    len: U32,
    pad: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawList {
    num: U32,
    pgidx: U32,
}

fn at<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8], offset: u64) -> Option<T> {
    let tail = bytes.get(usize::try_from(offset).ok()?..)?;
    T::read_from_prefix(tail).ok().map(|(value, _)| value)
}

/// Decodes the metadata at the start of `bytes`.
///
/// # Errors
///
/// [`MetaError::Short`] when the tables of `sc` don't fit.
pub fn decode(sc: Scalars, bytes: &[u8]) -> Result<Meta, MetaError> {
    let layout = Layout::new(sc);
    let short = MetaError::Short {
        need: layout.end(),
        have: bytes.len() as u64,
    };
    if layout.end() > bytes.len() as u64 {
        return Err(short);
    }
    let count = sc.arguments();
    let mut arguments = Vec::with_capacity(count);
    for i in 0..count {
        arguments.push(argument(sc, layout, bytes, i).ok_or(short)?);
    }
    let fdlist: [U64; FDLIST_LEN] = at(bytes, layout.fdlist()).ok_or(short)?;
    let poll: U32 = at(bytes, layout.poll()).ok_or(short)?;
    Ok(Meta {
        arguments,
        fdlist: fdlist.map(U64::get),
        poll: poll.get(),
    })
}

fn argument(sc: Scalars, layout: Layout, bytes: &[u8], i: usize) -> Option<Argument> {
    let kind = if i < sc.ins() {
        Kind::In
    } else if i < sc.buffers() {
        Kind::Out
    } else if i < sc.buffers() + sc.in_handles() {
        Kind::InHandle
    } else {
        Kind::OutHandle
    };
    let value = if i < sc.buffers() {
        let raw: RawBuffer = at(bytes, layout.argument(i))?;
        Value::Buffer {
            pv: raw.pv.get(),
            len: raw.len.get(),
        }
    } else {
        let raw: RawHandle = at(bytes, layout.argument(i))?;
        Value::Handle {
            fd: raw.fd.get(),
            offset: raw.offset.get(),
            len: raw.len.get(),
        }
    };
    let list: RawList = at(bytes, layout.list(i))?;
    let (num, pgidx) = (list.num.get(), list.pgidx.get());
    let page = if num != 0 && (pgidx as usize) < sc.arguments() {
        let raw: [U64; 2] = at(bytes, layout.page(pgidx as usize))?;
        Some(Page {
            addr: raw[0].get(),
            size: raw[1].get(),
        })
    } else {
        None
    };
    Some(Argument {
        kind,
        value,
        num,
        pgidx,
        page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Puts words where the diagram says, with nothing shared with the decoder.
    fn encode(
        words: &[(u64, u64)],
        lists: &[(u32, u32)],
        pages: &[(u64, u64)],
        fds: &[u64],
        poll: u32,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for (a, b) in words.iter().chain([].iter()) {
            out.extend(a.to_le_bytes());
            out.extend(b.to_le_bytes());
        }
        for (num, index) in lists {
            out.extend(num.to_le_bytes());
            out.extend(index.to_le_bytes());
        }
        for (addr, size) in pages {
            out.extend(addr.to_le_bytes());
            out.extend(size.to_le_bytes());
        }
        for fd in fds {
            out.extend(fd.to_le_bytes());
        }
        out.extend([0; 256]);
        out.extend(poll.to_le_bytes());
        out
    }

    #[test]
    fn worked_example() {
        let layout = Layout::new(Scalars(0x0402_0200));
        assert_eq!(
            (layout.list(0), layout.page(0), layout.fdlist()),
            (64, 96, 160)
        );
        assert_eq!(
            (layout.crc(), layout.poll(), layout.end(), layout.inline()),
            (288, 544, 548, 640)
        );
        for (n, end) in [(0, 388), (1, 428), (2, 468), (4, 548), (6, 628)] {
            assert_eq!(Layout { arguments: n }.end(), end);
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            (ins, outs, hin, hout) in (0u32..5, 0u32..5, 0u32..4, 0u32..4),
            words in vec((any::<u64>(), any::<u64>()), 16),
            lists in vec((0u32..3, 0u32..20), 16),
            pages in vec((any::<u64>(), any::<u64>()), 16),
            fds in vec(any::<u64>(), 16),
            poll: u32,
        ) {
            let sc = Scalars::new(2, ins, outs, hin, hout);
            let n = sc.arguments();
            let bytes = encode(&words[..n], &lists[..n], &pages[..n], &fds, poll);
            let meta = decode(sc, &bytes).unwrap();
            prop_assert_eq!(&meta.fdlist[..], &fds[..]);
            prop_assert_eq!(meta.poll, poll);
            prop_assert_eq!(meta.arguments.len(), n);
            for (i, arg) in meta.arguments.iter().enumerate() {
                let (a, b) = words[i];
                match arg.value {
                    Value::Buffer { pv, len } => {
                        prop_assert!(i < (ins + outs) as usize);
                        prop_assert_eq!((pv, len), (a, b));
                        prop_assert_eq!(arg.kind == Kind::In, i < ins as usize);
                    }
                    Value::Handle { fd, offset, len } => {
                        let want = (a as u32, (a >> 32) as u32, b as u32);
                        prop_assert_eq!((fd as u32, offset, len), want);
                        prop_assert_eq!(arg.kind == Kind::OutHandle, i >= n - hout as usize);
                    }
                }
                prop_assert_eq!((arg.num, arg.pgidx), lists[i]);
                let (num, index) = lists[i];
                let page = (num != 0 && (index as usize) < n)
                    .then(|| Page { addr: pages[index as usize].0, size: pages[index as usize].1 });
                prop_assert_eq!(arg.page, page);
            }
            for cut in [0, bytes.len() / 2, bytes.len() - 1] {
                prop_assert!(decode(sc, &bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_survived(sc: u32, bytes in vec(any::<u8>(), 0..4096)) {
            if let Ok(meta) = decode(Scalars(sc), &bytes) {
                for arg in meta.arguments {
                    let _ = arg.data();
                }
            }
        }
    }
}
