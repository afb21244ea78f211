// SPDX-License-Identifier: GPL-2.0

//! Notices of the DSP that its processes have ended, until somebody acts on them.
//!
//! They come in hard-interrupt context, where there is nothing that can be ended: what is to be
//! done is noted there, and done by a work item. Pure code; the lock around it is in
//! [`crate::call`].

/// Processes that can be noted at once. A DSP that makes more die before anybody could act is not
/// heard, and only its own processes are the worse for it.
const ROOM: usize = 64;

/// Notices that nobody has acted on yet, and how many there were.
///
/// # Invariants
///
/// `len` is at most [`ROOM`].
pub(crate) struct Exits {
    total: u64,
    ids: [i32; ROOM],
    len: usize,
}

impl Exits {
    /// None.
    pub(crate) const fn new() -> Self {
        // INVARIANT: 0 is at most `ROOM`.
        Self {
            total: 0,
            ids: [0; ROOM],
            len: 0,
        }
    }

    /// Counts a notice, and notes which process it is on, if it says so. Returns whether there is
    /// something to act on that was not there before.
    pub(crate) fn note(&mut self, client_id: Option<i32>) -> bool {
        self.total += 1;

        let Some(client_id) = client_id else {
            return false;
        };
        if self.len == ROOM || self.ids[..self.len].contains(&client_id) {
            return false;
        }
        self.ids[self.len] = client_id;
        // INVARIANT: `len` was below `ROOM`.
        self.len += 1;
        true
    }

    /// Takes the number of a process that has ended.
    pub(crate) fn take(&mut self) -> Option<i32> {
        // INVARIANT: `len` gets smaller.
        self.len = self.len.checked_sub(1)?;
        Some(self.ids[self.len])
    }

    /// How many notices there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
