// SPDX-License-Identifier: GPL-2.0

//! Calls that were polled: their callers have the results, the DSP has still to answer them.
//!
//! Until then the DSP may touch their memory. When they have been answered, what they had serves
//! later calls of the process, without a work item that would have to free it.

use crate::{
    call::Pending,
    frame::Frame,
    payload::Payload, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        SpinLock, //
    }, //
};

/// Most calls of a process that are kept; more are abandoned.
const KEPT: usize = 32;

/// The calls of one process.
#[pin_data]
pub(crate) struct Polled {
    #[pin]
    calls: SpinLock<KVec<Pending<Payload>>>,
    /// Whether there may be some.
    any: Atomic<bool>,
}

impl Polled {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            calls <- new_spinlock!(KVec::new()),
            any: Atomic::new(false),
        })
    }

    /// Keeps a call until it is answered, with what the program asked for in its payload. If there
    /// is no room it is abandoned.
    pub(crate) fn keep(&self, pending: Pending<Payload>) {
        if self.calls.lock().capacity() == 0 {
            // The first one, and without room the call is abandoned.
            let Ok(mut room) = KVec::with_capacity(KEPT, GFP_KERNEL) else {
                return;
            };
            let mut calls = self.calls.lock();
            if calls.capacity() == 0 {
                core::mem::swap(&mut *calls, &mut room);
            }
            drop(calls);
        }

        let mut calls = self.calls.lock();
        let refused = calls.push_within_capacity(pending);
        self.any.store(true, Relaxed);
        drop(calls);
        // Without the lock.
        drop(refused);
    }

    /// Takes one that has been answered, or will not be any more.
    fn take_ended(&self) -> Option<Pending<Payload>> {
        // What this thread has kept it sees.
        if !self.any.load(Relaxed) {
            return None;
        }
        let mut calls = self.calls.lock();
        let index = calls.iter().position(Pending::has_ended)?;
        let ended = calls.remove(index).ok();

        self.any.store(!calls.is_empty(), Relaxed);
        ended
    }

    /// The frame of one that has been answered, for another call.
    pub(crate) fn frame(&self) -> Option<Frame> {
        let (_, payload, spare) = self.take_ended()?.reclaim();
        let mut payload = payload?;
        let invoke = payload.take_invoke()?;

        Some(invoke.into_frame(payload, spare).emptied())
    }

    /// Lets go of all that have been answered. Returns whether others are left.
    pub(crate) fn drop_answered(&self) -> bool {
        while let Some(pending) = self.take_ended() {
            drop(pending.reclaim());
        }
        self.any.load(Relaxed)
    }

    /// Abandons all, when their process ends.
    pub(crate) fn abandon(&self) {
        let mut calls = self.calls.lock();
        let all = core::mem::take(&mut *calls);

        self.any.store(false, Relaxed);
        drop(calls);
        drop(all);
    }
}
