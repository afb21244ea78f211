// SPDX-License-Identifier: GPL-2.0

//! Words of 64 bits that programs' structures are read and written as.
//!
//! The kernel is built for strict alignment, so that this takes a fraction of what bytes would.

/// The two fields of 32 bits, in their order, that lie in a word.
pub(crate) fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();

    [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
}

/// The word in which these two fields lie.
pub(crate) fn whole(halves: [u32; 2]) -> u64 {
    let [[a, b, c, d], [e, f, g, h]] = halves.map(u32::to_ne_bytes);

    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
