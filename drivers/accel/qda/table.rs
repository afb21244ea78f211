// SPDX-License-Identifier: GPL-2.0

//! The table of outstanding calls of one channel.
//!
//! A call sits in one of 255 slots from before it is sent until it is taken out, by the caller that
//! waited for it or by whoever cleans up. An answer only marks the slot, once: it never moves or
//! drops a call, so it may come in hard-interrupt context.
//!
//! Pure code, generic over what a call is; the lock around it is in [`crate::call`].

use crate::proto::{
    Context,
    ProtectionDomain, //
};
use kernel::prelude::*;

/// Slots; number 0 is not used, so that no context of a user's call is small.
pub(crate) const SLOTS: usize = 256;

/// Slots that only the kernel's own calls may take, and those to handles that every process has.
pub(crate) const RESERVED: usize = 4;

/// Slots, of those, that only calls may take which end a DSP process, so that one can always be
/// ended.
pub(crate) const RESERVED_RELEASE: usize = 2;

/// Who asks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A program: refused when only the reserved slots are left, or the channel is closing.
    User,
    /// A program, to a handle that every process has: as [`Class::Kernel`], so that a listener can
    /// still take the DSP's calls to the program, and give it their results.
    Static,
    /// The kernel, to make or change a DSP process: refused when the channel is closing.
    Kernel,
    /// The kernel, to end a DSP process: refused only when the channel is closed.
    Release,
}

/// How far the channel has come in closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes calls.
    Open,
    /// Takes only [`Class::Release`].
    Closing,
    /// Takes none.
    Closed,
}

/// Which call a reply was for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a, T> {
    /// One that somebody waits for.
    Waiting(&'a T),
    /// One whose caller has left; [`CallTable::reap`] finds it.
    Abandoned(&'a T),
    /// None: never sent, answered before, or of an earlier use of its slot.
    Unknown,
}

struct Slot<T> {
    context: Context,
    call: T,
    answered: bool,
    abandoned: bool,
}

/// Outstanding calls, by slot.
///
/// # Invariants
///
/// - `slots` has [`SLOTS`] entries, and entry 0 is `None`.
/// - `used` of them are `Some`, each with a context that names its own index.
pub(crate) struct CallTable<T> {
    slots: KVVec<Option<Slot<T>>>,
    used: usize,
    last: usize,
    sequence: u64,
    phase: Phase,
}

impl<T> CallTable<T> {
    /// Makes an empty, open table.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory for it.
    pub(crate) fn new() -> Result<Self> {
        let mut slots = KVVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            slots.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            used: 0,
            last: 0,
            sequence: 0,
            phase: Phase::Open,
        })
    }

    /// Moves on to `phase`; never back.
    pub(crate) fn advance(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    /// Whether it takes calls of programs.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Takes a slot for the next call; [`CallTable::insert`] fills it.
    ///
    /// Slots are given out in turn, so that one is not used again at once.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`]: the channel is closing.
    /// - [`ENOSPC`]: no slot is free for this class.
    pub(crate) fn allocate(&mut self, class: Class, pd: ProtectionDomain) -> Result<Context> {
        if self.used >= self.limit(class).ok_or(EPIPE)? {
            return Err(ENOSPC);
        }

        let mut index = self.last;
        loop {
            index = index % (SLOTS - 1) + 1;
            if self.slots[index].is_none() {
                break;
            }
        }
        self.last = index;
        self.sequence = self.sequence.wrapping_add(1);
        // CAST: `index` is at most 255.
        Ok(Context::new(self.sequence, index as u8, pd))
    }

    /// Puts `call` into the slot that `context` names, which [`CallTable::allocate`] just gave.
    pub(crate) fn insert(&mut self, context: Context, call: T) {
        // INVARIANT: `allocate` never gives slot 0, nor one that is in use.
        self.slots[context.slot()] = Some(Slot {
            context,
            call,
            answered: false,
            abandoned: false,
        });
        self.used += 1;
    }

    /// Slots that may be used when a call of `class` takes one more, while the channel takes such.
    fn limit(&self, class: Class) -> Option<usize> {
        match class {
            Class::Release if self.phase < Phase::Closed => Some(SLOTS - 1),
            Class::Static | Class::Kernel if self.phase == Phase::Open => {
                Some(SLOTS - 1 - RESERVED_RELEASE)
            }
            Class::User if self.phase == Phase::Open => Some(SLOTS - 1 - RESERVED),
            _ => None,
        }
    }

    /// Whether a call of `class` would find no slot, while the channel takes such calls.
    pub(crate) fn is_full(&self, class: Class) -> bool {
        self.limit(class).is_some_and(|limit| self.used >= limit)
    }

    fn find(&mut self, context: Context) -> Option<&mut Slot<T>> {
        self.slots[context.slot()]
            .as_mut()
            .filter(|slot| slot.context == context)
    }

    /// The call that `context` names, if it is there.
    pub(crate) fn get_mut(&mut self, context: Context) -> Option<&mut T> {
        Some(&mut self.find(context)?.call)
    }

    /// Marks the call that a reply names as answered. The whole context is compared.
    pub(crate) fn answer(&mut self, context: u64) -> Answer<'_, T> {
        match self.find(Context(context)) {
            Some(slot) if !slot.answered => {
                slot.answered = true;
                if slot.abandoned {
                    Answer::Abandoned(&slot.call)
                } else {
                    Answer::Waiting(&slot.call)
                }
            }
            _ => Answer::Unknown,
        }
    }

    /// Takes a call out, whatever its state; whoever gets it owns it.
    pub(crate) fn take(&mut self, context: Context) -> Option<T> {
        self.find(context)?;
        self.take_slot(context.slot())
    }

    fn take_slot(&mut self, index: usize) -> Option<T> {
        let slot = self.slots[index].take()?;
        self.used -= 1;
        Some(slot.call)
    }

    /// Notes that nobody waits for a call any more. Returns it if it was answered already.
    pub(crate) fn abandon(&mut self, context: Context) -> Option<T> {
        let slot = self.find(context)?;
        slot.abandoned = true;
        if slot.answered {
            self.take_slot(context.slot())
        } else {
            None
        }
    }

    fn take_first(&mut self, wanted: impl Fn(&Slot<T>) -> bool) -> Option<T> {
        let index = self
            .slots
            .iter()
            .position(|slot| slot.as_ref().is_some_and(&wanted))?;
        self.take_slot(index)
    }

    /// Takes out a call that was abandoned and has been answered since.
    pub(crate) fn reap(&mut self) -> Option<T> {
        self.take_first(|slot| slot.abandoned && slot.answered)
    }

    /// How many calls are in the table, whatever their state.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Those calls.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|slot| &slot.call)
    }

    /// The same, with what names each.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Context, &mut T)> {
        let slots = self.slots.iter_mut().flatten();

        slots.map(|slot| (slot.context, &mut slot.call))
    }

    /// Takes out a call for which `wanted` holds, answered or not.
    pub(crate) fn evict(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.take_first(|slot| wanted(&slot.call))
    }
}
