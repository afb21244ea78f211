// SPDX-License-Identifier: GPL-2.0

//! Things that are kept for some time after their last use, such as mappings of buffers.
//!
//! Each use of a thing gives it a stamp from a clock that counts uses. What was not used between
//! two calls of [`Kept::age`] is stale; where room is short, what was used longest ago goes first.
//!
//! Pure code, generic over what is kept; the lock around it is in [`crate::mappings`].

use kernel::prelude::*;

struct Entry<T> {
    key: usize,
    bytes: usize,
    used: u64,
    value: T,
}

/// Things by their key.
///
/// # Invariants
///
/// - No two entries have the same key.
/// - `bytes` is the sum of those of the entries.
/// - No entry was used after `clock`.
pub(crate) struct Kept<T> {
    entries: KVVec<Entry<T>>,
    bytes: usize,
    clock: u64,
    /// The clock at the last [`Kept::age`].
    aged: u64,
}

impl<T> Kept<T> {
    /// Nothing.
    pub(crate) fn new() -> Self {
        // INVARIANT: There are no entries.
        Self {
            entries: KVVec::new(),
            bytes: 0,
            clock: 0,
            aged: 0,
        }
    }

    fn position(&self, key: usize) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    /// Uses what has this key.
    pub(crate) fn find(&mut self, key: usize) -> Option<&T> {
        let index = self.position(key)?;

        self.clock += 1;
        let entry = &mut self.entries[index];
        entry.used = self.clock;
        Some(&entry.value)
    }

    /// Keeps `value`, of `bytes` bytes, which is being used. There must be nothing with this key.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn insert(&mut self, key: usize, bytes: usize, value: T) -> Result {
        let entry = Entry {
            key,
            bytes,
            used: self.clock + 1,
            value,
        };

        self.entries.push(entry, GFP_KERNEL)?;
        // INVARIANT: The entry was used now.
        self.clock += 1;
        self.bytes += bytes;
        Ok(())
    }

    fn take_at(&mut self, index: usize) -> Option<T> {
        let entry = self.entries.remove(index).ok()?;

        // INVARIANT: The entry is gone.
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Takes what has this key.
    pub(crate) fn take(&mut self, key: usize) -> Option<T> {
        self.take_at(self.position(key)?)
    }

    /// Takes something that was not used between the last two calls of [`Kept::age`], and not
    /// since, and for which `may_go` holds.
    pub(crate) fn take_stale(&mut self, may_go: impl Fn(&T) -> bool) -> Option<T> {
        let aged = self.aged;
        let index = self
            .entries
            .iter()
            .position(|entry| entry.used <= aged && may_go(&entry.value))?;

        self.take_at(index)
    }

    /// Begins a new interval in which things are used or not.
    pub(crate) fn age(&mut self) {
        self.aged = self.clock;
    }

    /// Takes what was used longest ago.
    pub(crate) fn take_oldest(&mut self) -> Option<T> {
        let entries = self.entries.iter().enumerate();
        let (index, _) = entries.min_by_key(|(_, entry)| entry.used)?;

        self.take_at(index)
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
