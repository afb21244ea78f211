// SPDX-License-Identifier: GPL-2.0

//! The two seams between the machine and the DSP: memory and message channel.
//!
//! The machine side ([`crate::smmu`], [`crate::glink`]) implements them for a real guest; unit
//! tests implement them in a few lines.

use crate::pace::Pace;
use thiserror::Error;

/// Number of a context bank: its `reg` in the device tree, which the guest puts into the upper
/// bits of every address it hands out.
pub type Bank = u32;

/// An access that the SMMU refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} sid {sid:#x} iova {iova:#x} level {level}{}", if *.write { " (write)" } else { "" })]
pub struct Fault {
    /// What the SMMU would call it, e.g. `F_TRANSLATION`, `F_PERMISSION`, `C_BAD_STE`.
    pub kind: &'static str,
    /// Stream id of the access (not the bank number).
    pub sid: u32,
    /// Address that faulted.
    pub iova: u64,
    /// Table level at which the walk stopped.
    pub level: u8,
    /// Whether it was a write.
    pub write: bool,
}

/// One contiguous range that a bank can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First I/O virtual address.
    pub iova: u64,
    /// Physical address behind it.
    pub pa: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether the DSP may write.
    pub writable: bool,
}

/// Memory as the DSP sees it: by context bank and I/O virtual address.
pub trait Memory: Send + Sync {
    /// Reads `buf.len()` bytes at `iova` of `bank`; page by page through the tables.
    fn read(&self, bank: Bank, iova: u64, buf: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `iova` of `bank`.
    fn write(&self, bank: Bank, iova: u64, data: &[u8]) -> Result<(), Fault>;

    /// All that `bank` can reach now, merged into contiguous ranges, in address order. Without a
    /// stream id that is all memory, always.
    fn mappings(&self, bank: Bank) -> Result<Vec<Mapping>, Fault>;

    /// How many pages and blocks of its page table `bank` has for `len` bytes at `iova`. Without a
    /// stream id there is no table, and all memory is one.
    ///
    /// # Errors
    ///
    /// A part of the range is not mapped.
    fn entries(&self, bank: Bank, iova: u64, len: u64) -> Result<u64, Fault>;

    /// As [`Memory::mappings`], of what the processor itself can reach. [`None`]: that is not
    /// behind the SMMU.
    fn own_mappings(&self) -> Result<Option<Vec<Mapping>>, Fault> {
        Ok(None)
    }

    /// Stream ids that the device tree gives to `bank`; without any its addresses are physical.
    /// Banks with one in common are meant to share an address space.
    fn streams(&self, bank: Bank) -> Vec<u32>;

    /// Stream ids of `bank` that are translated, each with the root of its page table; two with the
    /// same root share an address space.
    fn tables(&self, bank: Bank) -> Vec<(u32, u64)>;
}

/// The DSP's end of the FastRPC rpmsg channel.
pub trait Channel: Send + Sync {
    /// Sends one message to the guest; blocks while the FIFO is full.
    fn send(&self, payload: &[u8]) -> anyhow::Result<()>;

    /// As [`Channel::send`], from the link's own thread: while it spins, it raises one interrupt
    /// for all that it answers in a row.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    fn post(&self, payload: &[u8]) -> anyhow::Result<()> {
        self.send(payload)
    }

    /// Whether the guest has read all that was sent.
    ///
    /// # Errors
    ///
    /// The channel is closed, or the FIFO is not in RAM.
    fn is_read(&self) -> anyhow::Result<bool> {
        Ok(true)
    }

    /// How the link is served, if it can be measured.
    fn pace(&self) -> Option<&Pace> {
        None
    }
}
