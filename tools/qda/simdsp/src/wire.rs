// SPDX-License-Identifier: GPL-2.0

//! FastRPC on the wire: the 40-byte request, the 16-byte response, scalars, addresses.
//!
//! Pure code. All words are little endian; numbers in parentheses are lines of
//! `drivers/misc/fastrpc.c` of Linux 7.3.4.

use crate::port::Bank;
use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a request (196-204).
pub const REQUEST_LEN: usize = 40;
/// Bytes of a response (206-209), padding included.
pub const RESPONSE_LEN: usize = 16;
/// Bytes of a notice that names a process, padding included.
pub const NOTICE_LEN: usize = 24;
/// The protocol's page, whatever the page size of the guest is.
pub const PAGE: u64 = 4096;
/// What a polled process finds in the poll word of a call that succeeded (131).
pub const POLL_DONE: u32 = 0xdecaf;
/// Context of the notice that firmware sends unasked when a protection domain exits (63).
pub const PD_EXIT_CTX: u64 = 0xABCD_ABCD;
/// First word of a notice that says more, as out-of-tree drivers for the same firmware read it.
pub const NOTICE_PD_STATE: u32 = 4;
/// Highest handle that is assigned statically (49).
pub const MAX_STATIC_HANDLE: u32 = 20;

/// Status words. DSP errors are `0x80000400` plus the code of the Hexagon SDK.
pub mod status {
    /// Offset of errors that the DSP, not the CPU, found.
    pub const BASE: u32 = 0x8000_0400;
    /// The DSP got a fault from the SMMU while it served the call.
    pub const FAULT: i32 = (BASE + 0x01) as i32;
    /// The image could not be loaded.
    pub const CANNOT_LOAD: i32 = (BASE + 0x06) as i32;
    /// The process is going away, or is not in a state for this call.
    pub const BAD_STATE: i32 = (BASE + 0x0D) as i32;
    /// The arguments are wrong.
    pub const BAD_PARAMETER: i32 = (BASE + 0x0E) as i32;
    /// The method or handle is not known.
    pub const UNSUPPORTED: i32 = (BASE + 0x14) as i32;
    /// The number is already in use.
    pub const ALREADY: i32 = (BASE + 0x1A) as i32;
    /// No memory.
    pub const NO_MEMORY: i32 = (BASE + 0x02) as i32;
    /// No module of that name.
    pub const NO_SUCH_MODULE: i32 = (BASE + 0x3E) as i32;
    /// The wait was interrupted: a listener asks again.
    pub const INTERRUPTED: i32 = 0x2E;
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRequest {
    client_id: I32,
    tid: I32,
    ctx: U64,
    handle: U32,
    sc: U32,
    addr: U64,
    size: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawResponse {
    ctx: U64,
    retval: I32,
    pad: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawNotice {
    ctx: U64,
    kind: U32,
    client_id: I32,
    state: U32,
    pad: U32,
}

/// A request to the DSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// DSP process, or 0 on calls that the kernel built.
    pub client_id: i32,
    /// Thread of the caller.
    pub tid: i32,
    /// Context of the call; echoed in the response.
    pub ctx: u64,
    /// Remote handle.
    pub handle: u32,
    /// Which method, and how many arguments of each sort.
    pub sc: Scalars,
    /// Address of the metadata with the bank number in the upper bits.
    pub addr: u64,
    /// Bytes at `addr`, rounded up to whole pages.
    pub size: u64,
}

impl Request {
    /// Decodes a request; `None` unless it is exactly 40 bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let raw = RawRequest::read_from_bytes(bytes).ok()?;
        Some(Self {
            client_id: raw.client_id.get(),
            tid: raw.tid.get(),
            ctx: raw.ctx.get(),
            handle: raw.handle.get(),
            sc: Scalars(raw.sc.get()),
            addr: raw.addr.get(),
            size: raw.size.get(),
        })
    }

    /// Encodes the request.
    pub fn encode(&self) -> [u8; REQUEST_LEN] {
        let raw = RawRequest {
            client_id: self.client_id.into(),
            tid: self.tid.into(),
            ctx: self.ctx.into(),
            handle: self.handle.into(),
            sc: self.sc.0.into(),
            addr: self.addr.into(),
            size: self.size.into(),
        };
        zerocopy::transmute!(raw)
    }

    /// Protection domain of the caller, as the low bits of the context tell it (1272).
    pub fn pd(&self) -> u8 {
        (self.ctx & 0xf) as u8
    }
}

/// A response to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Context of the request.
    pub ctx: u64,
    /// Status of the call.
    pub retval: i32,
}

impl Response {
    /// Encodes the response; the padding is zero.
    pub fn encode(&self) -> [u8; RESPONSE_LEN] {
        let raw = RawResponse {
            ctx: self.ctx.into(),
            retval: self.retval.into(),
            pad: 0.into(),
        };
        zerocopy::transmute!(raw)
    }

    /// Decodes a response; `None` unless it has at least 16 bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawResponse::read_from_prefix(bytes).ok()?;
        Some(Self {
            ctx: raw.ctx.get(),
            retval: raw.retval.get(),
        })
    }
}

/// A notice that names the process whose state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Which process.
    pub client_id: i32,
    /// Its state: 0 up, 1 exited, 2 ended by force, 3 ended by an exception, 4 the DSP restarts.
    pub state: u32,
}

impl Notice {
    /// Encodes the notice; the padding is zero.
    pub fn encode(&self) -> [u8; NOTICE_LEN] {
        let raw = RawNotice {
            ctx: PD_EXIT_CTX.into(),
            kind: NOTICE_PD_STATE.into(),
            client_id: self.client_id.into(),
            state: self.state.into(),
            pad: 0.into(),
        };
        zerocopy::transmute!(raw)
    }
}

/// The scalars word (83-108): attributes 31:29, method 28:24, in buffers 23:16, out buffers 15:8,
/// in handles 7:4, out handles 3:0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scalars(pub u32);

impl Scalars {
    /// Builds a word without attributes; numbers are cut to their fields.
    pub const fn new(method: u32, ins: u32, outs: u32, in_handles: u32, out_handles: u32) -> Self {
        Self(
            (method & 0x1f) << 24
                | (ins & 0xff) << 16
                | (outs & 0xff) << 8
                | (in_handles & 0xf) << 4
                | (out_handles & 0xf),
        )
    }

    /// Attribute bits.
    pub const fn attributes(self) -> u32 {
        self.0 >> 29
    }
    /// Method; 31 means that the number is the first word of in buffer 0.
    pub const fn method(self) -> u32 {
        self.0 >> 24 & 0x1f
    }
    /// Number of in buffers.
    pub const fn ins(self) -> usize {
        (self.0 >> 16 & 0xff) as usize
    }
    /// Number of out buffers.
    pub const fn outs(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }
    /// Number of in handles.
    pub const fn in_handles(self) -> usize {
        (self.0 >> 4 & 0xf) as usize
    }
    /// Number of out handles.
    pub const fn out_handles(self) -> usize {
        (self.0 & 0xf) as usize
    }
    /// Number of arguments that are buffers; they come first.
    pub const fn buffers(self) -> usize {
        self.ins() + self.outs()
    }
    /// Number of all arguments: in buffers, out buffers, in handles, out handles.
    pub const fn arguments(self) -> usize {
        self.buffers() + self.in_handles() + self.out_handles()
    }
}

impl std::fmt::Debug for Scalars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// An address as the DSP sees it: a bank, and an I/O virtual address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Context bank.
    pub bank: Bank,
    /// Address within the bank.
    pub iova: u64,
}

impl Address {
    /// Splits a wire address at bit `sid_pos` (374-378); 32 or 56.
    pub const fn split(raw: u64, sid_pos: u32) -> Self {
        Self {
            bank: (raw >> sid_pos) as Bank,
            iova: raw & ((1 << sid_pos) - 1),
        }
    }

    /// The wire form.
    pub const fn join(self, sid_pos: u32) -> u64 {
        (self.bank as u64) << sid_pos | self.iova
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn request_round_trips(
            client_id: i32,
            tid: i32,
            ctx: u64,
            handle: u32,
            sc: u32,
            addr: u64,
            size: u64,
        ) {
            let request = Request { client_id, tid, ctx, handle, sc: Scalars(sc), addr, size };
            prop_assert_eq!(Request::decode(&request.encode()), Some(request));
        }

        #[test]
        fn only_forty_bytes_are_a_request(len in 0usize..100) {
            prop_assert_eq!(Request::decode(&vec![0; len]).is_some(), len == 40);
        }

        #[test]
        fn scalars_fields_are_those_of_the_macro(
            m in 0u32..32,
            i in 0u32..256,
            o in 0u32..256,
            h in 0u32..16,
            g in 0u32..16,
        ) {
            let sc = Scalars::new(m, i, o, h, g);
            prop_assert_eq!(sc.0, m * 0x100_0000 + i * 0x1_0000 + o * 0x100 + h * 0x10 + g);
            prop_assert_eq!(
                (sc.method(), sc.ins(), sc.outs(), sc.in_handles(), sc.out_handles()),
                (m, i as usize, o as usize, h as usize, g as usize)
            );
            prop_assert_eq!(sc.arguments(), (i + o + h + g) as usize);
        }

        #[test]
        fn addresses_round_trip(bank in 0u32..256, iova in 0u64..1 << 32, wide: bool) {
            let pos = if wide { 56 } else { 32 };
            let addr = Address { bank, iova };
            prop_assert_eq!(Address::split(addr.join(pos), pos), addr);
        }
    }

    #[test]
    fn words_stand_where_the_driver_puts_them() {
        let mut bytes = [0; 40];
        bytes[0] = 3;
        bytes[4] = 7;
        bytes[8..16].copy_from_slice(&0x0001_0000_0000_0201u64.to_le_bytes());
        bytes[16] = 1;
        bytes[20..24].copy_from_slice(&0x0001_0000u32.to_le_bytes());
        bytes[24..32].copy_from_slice(&0x0000_0002_ffff_e000u64.to_le_bytes());
        bytes[32..40].copy_from_slice(&4096u64.to_le_bytes());
        let request = Request::decode(&bytes).unwrap();
        assert_eq!((request.client_id, request.tid, request.handle), (3, 7, 1));
        assert_eq!((request.pd(), request.sc.ins(), request.size), (1, 1, 4096));
        let addr = Address::split(request.addr, 32);
        assert_eq!((addr.bank, addr.iova), (2, 0xffff_e000));
        let notice = Notice {
            client_id: 0x0102,
            state: 3,
        };
        assert_eq!(
            notice.encode(),
            [0xCD, 0xAB, 0xCD, 0xAB, 0, 0, 0, 0, 4, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
        );
        let response = Response {
            ctx: 0x1122_3344,
            retval: -1,
        }
        .encode();
        assert_eq!(
            response,
            [0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]
        );
    }
}
