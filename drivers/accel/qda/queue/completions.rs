// SPDX-License-Identifier: GPL-2.0

//! Completions: waiting for them, and taking them.

use super::{
    Item,
    Queue, //
};
use crate::{
    call::Outcome,
    payload::invalidate,
    ring::Completion, //
};
use kernel::{
    fs,
    prelude::*,
    sync::{
        poll::{
            PollEvents,
            PollTable, //
        },
        CondVarTimeoutResult, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic,
        NSEC_PER_MSEC, //
    }, //
};

/// Longest wait at once, in milliseconds: it is waited again.
const WAIT_MS: i64 = 3_600_000;

/// A completion as a program gets it.
pub(crate) struct Record {
    /// Id of the submission.
    pub(crate) id: u64,
    /// What the program calls it.
    pub(crate) user_data: u64,
    /// The DSP's status, or why there is none.
    pub(crate) result: Result<i32>,
}

impl Queue {
    /// Waits until `wanted` completions can be taken, or nothing more will come, or until
    /// `deadline`. Returns whether it was not for the deadline.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`]: a signal came.
    pub(crate) fn wait(&self, wanted: usize, deadline: Instant<Monotonic>) -> Result<bool> {
        let mut state = self.state.lock();

        while state.ring.done() < wanted && !state.ended {
            let left = deadline - Instant::now();
            if left <= Delta::ZERO {
                return Ok(false);
            }
            // CAST: not above `WAIT_MS`.
            let ms = (left.as_nanos() / NSEC_PER_MSEC + 1).min(WAIT_MS) as u32;
            let woken = self
                .changed
                .wait_interruptible_timeout(&mut state, msecs_to_jiffies(ms));
            if matches!(woken, CondVarTimeoutResult::Signal { .. }) {
                return Err(ERESTARTSYS);
            }
        }
        Ok(true)
    }

    /// Takes up to `max` completions: copies their results, and hands them, numbered, to `deliver`.
    /// Returns how many.
    ///
    /// # Errors
    ///
    /// If none was taken:
    ///
    /// - [`EPIPE`]: there is none, and the DSP process has ended.
    /// - those of `deliver`; the completion is not taken then.
    pub(crate) fn reap(
        &self,
        max: usize,
        mut deliver: impl FnMut(usize, Record) -> Result,
    ) -> Result<usize> {
        let mut taken = 0;
        let mut over = None;

        let result = loop {
            let mut state = self.state.lock();
            if let Some(slot) = over.take() {
                state.ring.free(slot);
            }
            if taken == max {
                break Ok(());
            }
            let Some(completion) = state.ring.take_done() else {
                break if state.ended { Err(EPIPE) } else { Ok(()) };
            };
            drop(state);

            let slot = completion.slot;
            if let Err(error) = self.deliver(completion, |record| deliver(taken, record)) {
                break Err(error);
            }
            over = Some(slot);
            taken += 1;
        };
        self.channel().trim_soon();
        self.channel().end_threads_soon();
        match result {
            Err(error) if taken == 0 => Err(error),
            _ => Ok(taken),
        }
    }

    /// Copies the results of a completion that was taken, and hands it to `deliver`. If that does
    /// not take it, it is the next again.
    fn deliver(
        &self,
        completion: Completion<Item>,
        deliver: impl FnOnce(Record) -> Result,
    ) -> Result {
        let Completion {
            slot,
            id,
            user_data,
            kept,
        } = completion;

        if let (true, Item::Sent(pending)) = (self.process.identity.needs_sync, &kept) {
            if let Err(error) = invalidate(pending, None) {
                self.put_back(slot, kept);
                return Err(error);
            }
        }
        let (item, spare) = match kept {
            Item::Sent(pending) => match pending.reclaim() {
                (Outcome::Status(status), Some(payload), spare) => {
                    (Item::Answered(status, payload), spare)
                }
                _ => (Item::Failed(EPIPE), None),
            },
            item => (item, None),
        };
        let result = match &item {
            Item::Answered(status, payload) => payload
                .invoke()
                .and_then(|invoke| invoke.finish(payload, *status)),
            Item::Failed(error) => Err(*error),
            Item::Waiting(_) | Item::Sent(_) => Err(EPIPE),
        };

        let delivered = deliver(Record {
            id,
            user_data,
            result,
        });
        if let Err(error) = delivered {
            self.put_back(slot, item);
            return Err(error);
        }

        if let Item::Answered(_, mut payload) = item {
            if let Some(invoke) = payload.take_invoke() {
                self.process.keep(invoke.into_frame(payload, spare));
            }
        }
        Ok(())
    }

    /// Has a completion that could not be taken be the next again, and tells whoever waits.
    fn put_back(&self, slot: u16, mut item: Item) {
        let mut state = self.state.lock();
        let mut old = None;

        // Nothing that the process had may stay behind it.
        if state.ended {
            old = Some(core::mem::replace(&mut item, Item::Failed(EPIPE)));
        }
        state.ring.give_back(slot, item);
        drop(state);
        self.changed.notify_all();
        drop(old);
    }

    /// What there is to wait for.
    pub(crate) fn poll(&self, file: &fs::File, table: PollTable<'_>) -> PollEvents {
        table.register_wait(file, &self.changed);
        let state = self.state.lock();

        let ready = match state.ring.done() {
            0 => PollEvents::NONE,
            _ => PollEvents::READABLE,
        };
        match state.ended {
            true => ready | PollEvents::HANGUP,
            false => ready,
        }
    }
}
