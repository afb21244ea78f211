// SPDX-License-Identifier: GPL-2.0

//! The memory of a call as a DSP reads it.
//!
//! Written from the description of the protocol, not from the driver, with the offsets spelled out,
//! so that the two can disagree.

/// One entry of each of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Pointer of the argument, `remote_arg.buf.pv`.
    pub pv: u64,
    /// Length of the argument in bytes, `remote_arg.buf.len`.
    pub len: u64,
    /// Number of page entries, `invoke_buf.num`.
    pub pages: u32,
    /// Index of the first page entry, `invoke_buf.pgidx`.
    pub page_index: u32,
    /// Address of page entry number `page_index`, `phy_page.addr`, with the bank's number.
    pub page_address: u64,
    /// Size of that entry in bytes, `phy_page.size`.
    pub page_size: u64,
}

impl Entry {
    /// What an argument of no bytes has in the tables.
    pub const NONE: Self = Self {
        pv: 0,
        len: 0,
        pages: 0,
        page_index: 0,
        page_address: 0,
        page_size: 0,
    };

    /// Number of the bank whose number begins at bit `position`.
    pub fn bank(&self, position: u32) -> u64 {
        self.page_address >> position
    }

    /// Address of the argument's first byte in that bank.
    pub fn address(&self, position: u32) -> u64 {
        (self.page_address & ((1 << position) - 1)) + (self.pv & 0xfff)
    }
}

fn u32_at(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
}

fn u64_at(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(memory[at..at + 8].try_into().unwrap())
}

/// Reads the tables of a call of `n` arguments.
pub fn entries(memory: &[u8], n: usize) -> Vec<Entry> {
    (0..n)
        .map(|i| {
            let pages = u32_at(memory, 16 * n + 8 * i);
            let page_index = u32_at(memory, 16 * n + 8 * i + 4);
            // An argument without pages has an unused entry, at its own index.
            let used = if pages == 0 { i } else { page_index as usize };
            let page = 24 * n + 16 * used;

            Entry {
                pv: u64_at(memory, 16 * i),
                len: u64_at(memory, 16 * i + 8),
                pages,
                page_index,
                page_address: u64_at(memory, page),
                page_size: u64_at(memory, page + 8),
            }
        })
        .collect()
}
