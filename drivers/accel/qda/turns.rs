// SPDX-License-Identifier: GPL-2.0

//! Whose turn it is: those who share something scarce get it one after the other.
//!
//! Pure code, generic over who takes turns; the lock around it is in [`crate::dispatch`].

use kernel::prelude::*;

/// Those that take turns.
pub(crate) struct Turns<T> {
    members: KVec<T>,
    /// Who is asked first.
    next: usize,
}

impl<T> Turns<T> {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self {
            members: KVec::new(),
            next: 0,
        }
    }

    /// Adds a member.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(&mut self, member: T) -> Result {
        Ok(self.members.push(member, GFP_KERNEL)?)
    }

    /// Removes a member for which `wanted` holds.
    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.members.iter().position(wanted)?;

        // Whoever was to be next still is.
        if index < self.next {
            self.next -= 1;
        }
        self.members.remove(index).ok()
    }

    /// Gives a turn to the first member, beginning with the one after the last that had one, of
    /// which `take` takes something. Until a member's next turn every other has one that wants it.
    pub(crate) fn next<R>(&mut self, mut take: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let len = self.members.len();

        for step in 0..len {
            let index = (self.next + step) % len;
            if let Some(taken) = take(&self.members[index]) {
                self.next = (index + 1) % len;
                return Some(taken);
            }
        }
        None
    }

    /// Takes back the last turn, which could not be used.
    pub(crate) fn undo(&mut self) {
        let len = self.members.len();

        if len > 0 {
            self.next = (self.next + len - 1) % len;
        }
    }
}
