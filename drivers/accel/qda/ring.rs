// SPDX-License-Identifier: GPL-2.0

//! The submissions of one queue, from when they are accepted until their completions are taken.
//!
//! All room is there from the start: what is accepted has a place for its completion. Submissions
//! are sent in the order in which they came, and completions taken in the order in which they were
//! done. What happens in interrupt context only moves a number from one list to another.
//!
//! Pure code, generic over what is kept of a submission; the lock around it is in
//! [`crate::queue`].

use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// Most submissions of a queue: their numbers have 16 bits, and one stands for none.
pub(crate) const MAX_DEPTH: usize = 1024;

/// The number of no slot.
const NONE: u16 = u16::MAX;

/// How far a submission has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The slot has none.
    Free,
    /// Being put together by whoever submits it.
    Reserved,
    /// Can be sent when its turn comes.
    Waiting,
    /// With whoever sends it.
    Sending,
    /// With the DSP.
    Sent,
    /// Over.
    Done,
    /// Over, and with whoever takes the completion.
    Taken,
}

struct Slot<T> {
    phase: Phase,
    /// The DSP has no more to do with it.
    ended: bool,
    /// Behind it in the list that it is in.
    next: u16,
    sequence: u64,
    user_data: u64,
    bytes: usize,
    kept: Option<T>,
}

/// A list of slots, each of which is in one list at most.
#[derive(Clone, Copy)]
struct List {
    first: u16,
    last: u16,
    len: usize,
}

impl List {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        len: 0,
    };

    fn push_back<T>(&mut self, slots: &mut [Slot<T>], index: u16) {
        slots[usize::from(index)].next = NONE;
        match self.last {
            NONE => self.first = index,
            last => slots[usize::from(last)].next = index,
        }
        self.last = index;
        self.len += 1;
    }

    fn push_front<T>(&mut self, slots: &mut [Slot<T>], index: u16) {
        slots[usize::from(index)].next = self.first;
        if self.first == NONE {
            self.last = index;
        }
        self.first = index;
        self.len += 1;
    }

    fn pop_front<T>(&mut self, slots: &[Slot<T>]) -> Option<u16> {
        let index = self.first;
        if index == NONE {
            return None;
        }
        self.first = slots[usize::from(index)].next;
        if self.first == NONE {
            self.last = NONE;
        }
        self.len -= 1;
        Some(index)
    }

    /// Takes out a slot that is in the list.
    fn remove<T>(&mut self, slots: &mut [Slot<T>], index: u16) {
        let next = slots[usize::from(index)].next;
        let mut before = NONE;
        let mut at = self.first;

        while at != index && at != NONE {
            before = at;
            at = slots[usize::from(at)].next;
        }
        match before {
            NONE => self.first = next,
            before => slots[usize::from(before)].next = next,
        }
        if self.last == index {
            self.last = before;
        }
        self.len -= 1;
    }
}

/// A completion that is being taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion<T> {
    /// Its slot, for [`Ring::free`] and [`Ring::give_back`].
    pub(crate) slot: u16,
    /// What the submission is called.
    pub(crate) id: u64,
    /// What whoever submitted it calls it.
    pub(crate) user_data: u64,
    /// What was kept of it.
    pub(crate) kept: T,
}

/// Submissions by slot.
///
/// # Invariants
///
/// `free`, `waiting` and `done` have the slots with these phases, each once.
pub(crate) struct Ring<T> {
    slots: KVVec<Slot<T>>,
    free: List,
    waiting: List,
    done: List,
    sequence: u64,
    bytes: usize,
    max_bytes: usize,
}

impl<T> Ring<T> {
    /// Room for `depth` submissions, not above [`MAX_DEPTH`], which have at most `max_bytes`
    /// together, one alone excepted.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(depth: usize, max_bytes: usize, flags: Flags) -> Result<Self> {
        let depth = depth.min(MAX_DEPTH);
        let mut slots = KVVec::with_capacity(depth, flags)?;
        let mut free = List::EMPTY;

        for _ in 0..depth {
            slots.push(
                Slot {
                    phase: Phase::Free,
                    ended: false,
                    next: NONE,
                    sequence: 0,
                    user_data: 0,
                    bytes: 0,
                    kept: None,
                },
                flags,
            )?;
        }
        for index in 0..depth {
            // CAST: not above `MAX_DEPTH`.
            free.push_back(&mut slots, index as u16);
        }
        Ok(Self {
            slots,
            free,
            waiting: List::EMPTY,
            done: List::EMPTY,
            sequence: 0,
            bytes: 0,
            max_bytes,
        })
    }

    fn slot(&mut self, index: u16) -> &mut Slot<T> {
        &mut self.slots[usize::from(index)]
    }

    fn id(&self, index: u16) -> u64 {
        self.slots[usize::from(index)].sequence << 16 | u64::from(index)
    }

    /// Takes a slot for a submission with so many `bytes`. Returns the slot and the id, which is
    /// not 0 and is never given twice.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`]: there is no room before a completion is taken.
    pub(crate) fn reserve(&mut self, user_data: u64, bytes: usize) -> Result<(u16, u64)> {
        let total = self.bytes.saturating_add(bytes);
        if bytes > 0 && self.bytes > 0 && total > self.max_bytes {
            return Err(EAGAIN);
        }
        let index = self.free.pop_front(&self.slots).ok_or(EAGAIN)?;

        self.sequence += 1;
        self.bytes = total;
        let sequence = self.sequence;
        let slot = self.slot(index);
        slot.phase = Phase::Reserved;
        slot.sequence = sequence;
        slot.user_data = user_data;
        slot.bytes = bytes;
        slot.ended = false;
        Ok((index, self.id(index)))
    }

    /// Gives a slot back whose submission was not accepted, or whose completion was taken.
    pub(crate) fn free(&mut self, index: u16) {
        let slot = self.slot(index);
        if !matches!(slot.phase, Phase::Reserved | Phase::Taken) {
            return;
        }

        slot.phase = Phase::Free;
        let bytes = slot.bytes;
        self.bytes -= bytes;
        self.free.push_back(&mut self.slots, index);
    }

    /// Accepts the submission of a slot that is reserved.
    pub(crate) fn publish(&mut self, index: u16, kept: T) {
        let slot = self.slot(index);

        slot.phase = Phase::Waiting;
        slot.kept = Some(kept);
        self.waiting.push_back(&mut self.slots, index);
    }

    /// Whether a submission waits to be sent.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.len > 0
    }

    /// Takes the submission that is to be sent next.
    pub(crate) fn take_waiting(&mut self) -> Option<(u16, T)> {
        let index = self.waiting.pop_front(&self.slots)?;
        let slot = self.slot(index);

        slot.phase = Phase::Sending;
        let kept = slot.kept.take()?;
        Some((index, kept))
    }

    /// Puts a submission back that could not be sent, to be the next.
    pub(crate) fn put_back(&mut self, index: u16, kept: T) {
        let slot = self.slot(index);

        slot.phase = Phase::Waiting;
        slot.ended = false;
        slot.kept = Some(kept);
        self.waiting.push_front(&mut self.slots, index);
    }

    /// Notes that a submission was sent. Returns whether it is over already.
    pub(crate) fn sent(&mut self, index: u16, kept: T) -> bool {
        let slot = self.slot(index);

        slot.kept = Some(kept);
        slot.phase = if slot.ended { Phase::Done } else { Phase::Sent };
        let over = slot.ended;
        if over {
            self.done.push_back(&mut self.slots, index);
        }
        over
    }

    /// Notes that the DSP has no more to do with a submission, perhaps before [`Ring::sent`]. In
    /// interrupt context: drops nothing. Returns whether that is news.
    pub(crate) fn ended(&mut self, index: u16) -> bool {
        let slot = self.slot(index);
        if slot.ended || !matches!(slot.phase, Phase::Sending | Phase::Sent) {
            return false;
        }

        slot.ended = true;
        if slot.phase == Phase::Sent {
            slot.phase = Phase::Done;
            self.done.push_back(&mut self.slots, index);
        }
        true
    }

    /// Ends a submission that [`Ring::take_waiting`] or [`Ring::cancel`] has given, and that the
    /// DSP does not have.
    pub(crate) fn finish(&mut self, index: u16, kept: T) {
        let slot = self.slot(index);

        slot.phase = Phase::Done;
        slot.ended = true;
        slot.kept = Some(kept);
        self.done.push_back(&mut self.slots, index);
    }

    /// Takes out a submission that was not sent, for [`Ring::finish`].
    ///
    /// # Errors
    ///
    /// - [`ENOENT`]: there is no such submission, or it is over.
    /// - [`EBUSY`]: it was sent, or is about to be.
    pub(crate) fn cancel(&mut self, id: u64) -> Result<(u16, T)> {
        // CAST: the low bits are the number of the slot.
        let index = id as u16;
        if usize::from(index) >= self.slots.len() || self.id(index) != id {
            return Err(ENOENT);
        }
        match self.slot(index).phase {
            Phase::Waiting => {}
            Phase::Sending | Phase::Sent => return Err(EBUSY),
            // Nobody was told the id of one that is being put together.
            Phase::Free | Phase::Reserved | Phase::Done | Phase::Taken => return Err(ENOENT),
        }

        self.waiting.remove(&mut self.slots, index);
        let slot = self.slot(index);
        slot.phase = Phase::Sending;
        let kept = slot.kept.take().ok_or(ENOENT)?;
        Ok((index, kept))
    }

    /// How many completions there are to take.
    pub(crate) fn done(&self) -> usize {
        self.done.len
    }

    /// Submissions that were accepted, or are about to be, and whose completions nobody has.
    pub(crate) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len
    }

    /// Takes the next completion.
    pub(crate) fn take_done(&mut self) -> Option<Completion<T>> {
        let index = self.done.pop_front(&self.slots)?;
        let id = self.id(index);
        let slot = self.slot(index);

        slot.phase = Phase::Taken;
        let user_data = slot.user_data;
        let kept = slot.kept.take()?;
        Some(Completion {
            slot: index,
            id,
            user_data,
            kept,
        })
    }

    /// Puts a completion back that could not be delivered, to be the next.
    pub(crate) fn give_back(&mut self, index: u16, kept: T) {
        let slot = self.slot(index);

        slot.phase = Phase::Done;
        slot.kept = Some(kept);
        self.done.push_front(&mut self.slots, index);
    }

    /// Keeps `kept` of the submission in slot `index` from now on, if it is over. Returns what is
    /// not kept any more.
    pub(crate) fn replace_done(&mut self, index: usize, kept: T) -> Option<T> {
        match self.slots.get_mut(index) {
            Some(slot) if slot.phase == Phase::Done => slot.kept.replace(kept),
            _ => Some(kept),
        }
    }

    /// How many slots there are.
    pub(crate) fn depth(&self) -> usize {
        self.slots.len()
    }
}
