// SPDX-License-Identifier: GPL-2.0

//! FastRPC on the wire: messages, scalars and call contexts.
//!
//! Pure code: no I/O, no allocation, nothing that knows of a device. All fields are little endian,
//! as is every machine that the driver runs on.

use core::ops::RangeInclusive;
use kernel::prelude::*;

/// Unit in which the protocol counts memory, whatever the size of the kernel's pages.
pub(crate) const DSP_PAGE_SIZE: u64 = 4096;

/// Remote handle of the calls by which the kernel makes and ends DSP processes.
pub(crate) const HANDLE_KERNEL: u32 = 1;

/// Remote handle by which the kernel asks a DSP what it can do.
pub(crate) const HANDLE_UTILITIES: u32 = 2;

/// Highest of the remote handles that are the same everywhere; modules get higher ones.
pub(crate) const LAST_STATIC_HANDLE: u32 = 20;

/// What the DSP writes into the poll word of a call that has succeeded.
pub(crate) const POLL_DONE: u32 = 0xdecaf;

/// Status of a call that the DSP does not know.
pub(crate) const STATUS_UNSUPPORTED: i32 = 0x8000_0414_u32 as i32;

/// Fixed length of a DSP-written list of released buffers, in entries.
pub(crate) const FDLIST_LEN: usize = 16;

/// Context that firmware sends, unasked, when a protection domain has ended.
///
/// Some firmware says no more. Other firmware goes on with three words: that this is about the
/// state of a process, the client id of that process, and its state, which may be another one.
pub(crate) const CONTEXT_PD_EXIT: u64 = 0xabcd_abcd;

/// First word of a notice that names a process.
const NOTICE_PD_STATE: u32 = 4;

/// States of a process that is no more: it has ended, was ended, or had an exception.
const PD_STATES_ENDED: RangeInclusive<u32> = 1..=3;

/// Kind of protection domain that a message is for; travels in the low bits of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ProtectionDomain {
    /// The DSP's root process.
    Root = 0,
    /// A process made by a user, or a static one.
    User = 1,
    /// The DSP's sensors process.
    Sensors = 2,
}

/// A scalars word: method number and how many arguments of each kind follow.
///
/// Bits 31:29 are attributes, 28:24 the method, 23:16 in-buffers, 15:8 out-buffers, 7:4
/// in-handles and 3:0 out-handles. Arguments come in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalars(pub(crate) u32);

impl Scalars {
    /// Scalars of `method` with `in_bufs` and `out_bufs` buffers and no handles.
    pub(crate) const fn new(method: u8, in_bufs: u8, out_bufs: u8) -> Self {
        Self(((method & 0x1f) as u32) << 24 | (in_bufs as u32) << 16 | (out_bufs as u32) << 8)
    }

    /// Number of buffers that the DSP reads.
    pub(crate) const fn in_bufs(self) -> usize {
        (self.0 >> 16 & 0xff) as usize
    }

    /// Number of buffers that the DSP writes.
    pub(crate) const fn out_bufs(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    /// Number of buffers, either way.
    pub(crate) const fn buffers(self) -> usize {
        self.in_bufs() + self.out_bufs()
    }

    /// Number of arguments.
    pub(crate) const fn args(self) -> usize {
        self.buffers() + self.handles()
    }

    /// Number of handles, either way.
    pub(crate) const fn handles(self) -> usize {
        (self.0 >> 4 & 0xf) as usize + (self.0 & 0xf) as usize
    }
}

/// Identity of one call: what the DSP echoes in its reply.
///
/// Bits 63:16 are a sequence number that no two calls of a channel share, 15:8 the slot of the
/// call table (1 to 255), 3:0 the protection domain. Bit 4 is for calls that ask for no reply; it
/// and 7:5 are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context(pub(crate) u64);

impl Context {
    /// Context of call number `sequence` in `slot`, for `pd`.
    pub(crate) const fn new(sequence: u64, slot: u8, pd: ProtectionDomain) -> Self {
        Self(sequence << 16 | (slot as u64) << 8 | pd as u64)
    }

    /// Slot of the call table.
    pub(crate) const fn slot(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }
}

/// What the kernel sends for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// DSP process that calls; 0 in calls that the kernel makes itself.
    pub(crate) client_id: i32,
    /// Thread that calls; the DSP runs calls of one thread one after the other.
    pub(crate) tid: i32,
    /// See [`Context`].
    pub(crate) context: u64,
    /// Remote handle: which module of the DSP process is called.
    pub(crate) handle: u32,
    /// See [`Scalars`].
    pub(crate) scalars: u32,
    /// Address of the call's metadata, with the number of the context bank in its upper bits.
    pub(crate) address: u64,
    /// Size of the metadata and the inline arguments, a multiple of [`DSP_PAGE_SIZE`].
    pub(crate) size: u64,
}

impl Message {
    /// Size on the wire, in bytes.
    pub(crate) const LEN: usize = 40;

    /// The message as it goes over the wire.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0u8; Self::LEN];

        bytes[0..4].copy_from_slice(&self.client_id.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.tid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.context.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.handle.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.scalars.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.address.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// What a message from the DSP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A call has ended.
    Done {
        /// Which one.
        context: u64,
        /// The DSP's status.
        status: i32,
    },
    /// A protection domain has ended; not an answer to anything.
    PdExit {
        /// The DSP process, if the firmware says which one it was.
        client_id: Option<i32>,
    },
    /// A protection domain is in another state than ended.
    PdState,
    /// A word that some firmware sends for its own signalling.
    Signal,
    /// Too short to mean anything.
    Short,
}

impl Reply {
    /// Size of the shortest answer: context, status and padding. Newer firmware sends more.
    const LEN: usize = 16;

    /// Reads a message from the DSP.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Some((context, rest)) = bytes.split_first_chunk::<8>() else {
            return Reply::Short;
        };
        let context = u64::from_le_bytes(*context);

        if bytes.len() == 8 {
            return Reply::Signal;
        }
        if bytes.len() < Self::LEN {
            return Reply::Short;
        }
        if context == CONTEXT_PD_EXIT {
            return Self::parse_notice(rest);
        }
        match rest.first_chunk::<4>() {
            Some(status) => Reply::Done {
                context,
                status: i32::from_le_bytes(*status),
            },
            None => Reply::Short,
        }
    }

    /// Reads what follows [`CONTEXT_PD_EXIT`].
    fn parse_notice(bytes: &[u8]) -> Self {
        let word = |index: usize| {
            let bytes = bytes.get(index * 4..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes))
        };

        match (word(0), word(1), word(2)) {
            (Some(NOTICE_PD_STATE), Some(_), Some(state)) if !PD_STATES_ENDED.contains(&state) => {
                Reply::PdState
            }
            (Some(NOTICE_PD_STATE), Some(id), Some(_)) => Reply::PdExit {
                // Client ids are positive.
                client_id: i32::try_from(id).ok().filter(|&id| id != 0),
            },
            _ => Reply::PdExit { client_id: None },
        }
    }
}

/// The DSP's status as the value of an ioctl.
///
/// # Errors
///
/// [`EREMOTEIO`] for the numbers by which the kernel's system-call path knows that a call is to be
/// restarted (-512 to -530): a DSP must not be able to do that.
pub(crate) fn status_to_value(status: i32) -> Result<i32> {
    match status {
        -530..=-512 => Err(EREMOTEIO),
        _ => Ok(status),
    }
}
