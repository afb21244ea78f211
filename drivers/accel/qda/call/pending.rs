// SPDX-License-Identifier: GPL-2.0

//! Waiting for a call that was sent, and leaving it.

use super::{
    calls::{
        recover,
        Calls, //
    },
    Call,
    Load,
    Outcome,
    Spare,
    DESERTED,
    GONE,
    PENDING, //
};
use crate::proto::Context;
use kernel::{
    current,
    prelude::*,
    processor::cpu_relax,
    sync::{
        atomic::{
            Acquire,
            Release, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    }, //
};

/// How long [`Pending::poll`] keeps a CPU busy.
const POLL_LIMIT: Delta = Delta::from_millis(10);

/// How often it looks before it looks at the time, which takes longer.
const LOOKS: usize = 8;

/// A call's place in the table. Dropping it abandons the call.
struct Ticket<P: Load> {
    calls: Arc<Calls<P>>,
    context: Context,
    /// Whether the call was taken out.
    is_used: bool,
}

impl<P: Load> Ticket<P> {
    /// Takes the call out of the table, whether it has ended or not.
    fn withdraw(mut self) {
        self.is_used = true;
        let entry = self.calls.state.lock().table.take(self.context);
        if entry.is_some() {
            self.calls.slot_is_free();
        }
        drop(entry);
    }
}

impl<P: Load> Drop for Ticket<P> {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        let entry = self.calls.state.lock().table.abandon(self.context);

        // It was answered meanwhile.
        if let Some(entry) = entry {
            self.calls.slot_is_free();
            entry.call.answered_unheard();
        }
    }
}

/// The right to wait for a call that was sent. Dropping it abandons the call.
pub(crate) struct Pending<P: Load> {
    ticket: Ticket<P>,
    call: Arc<Call<P>>,
}

impl<P: Load> Pending<P> {
    /// The right to wait for `call`, which was put into the table of `calls` at `context`.
    pub(super) fn new(calls: Arc<Calls<P>>, context: Context, call: Arc<Call<P>>) -> Self {
        Self {
            ticket: Ticket {
                calls,
                context,
                is_used: false,
            },
            call,
        }
    }

    /// Waits until the call has ended or a signal comes.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] for a signal; the call goes on, and can be waited for again.
    pub(crate) fn wait_interruptible(&self) -> Result {
        self.call.done.wait_for_completion_interruptible()
    }

    /// Waits until the call has ended, a fatal signal comes, or `timeout` has passed.
    ///
    /// # Errors
    ///
    /// - [`EINTR`]: a fatal signal.
    /// - [`ETIMEDOUT`]: the DSP took too long.
    pub(crate) fn wait_killable(&self, timeout: Jiffies) -> Result {
        match self.call.done.wait_for_completion_killable_timeout(timeout) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ETIMEDOUT),
            Err(_) => Err(EINTR),
        }
    }

    /// Waits until the call has ended, or `timeout` has passed; returns whether it has ended.
    pub(crate) fn wait_uninterruptible(&self, timeout: Jiffies) -> bool {
        self.call.done.wait_for_completion_timeout(timeout)
    }

    /// Whether the call has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.call.outcome.load(Acquire) != PENDING
    }

    /// Waits without sleeping until `done` holds for the payload, but no longer than until the call
    /// has ended, a signal comes, or [`POLL_LIMIT`] has passed. Returns whether `done` holds.
    ///
    /// The call goes on either way: only its answer ends it.
    pub(crate) fn poll(&self, done: impl Fn(&P) -> bool) -> bool {
        let task = current!();
        let start = Instant::<Monotonic>::now();
        let Some(mut borrowed) = self.borrow() else {
            return false;
        };
        let Some(payload) = borrowed.payload() else {
            return false;
        };

        loop {
            for _ in 0..LOOKS {
                if self.has_ended() {
                    return false;
                }
                if done(payload) {
                    return true;
                }
                cpu_relax();
            }
            if task.signal_pending() || start.elapsed() >= POLL_LIMIT {
                return false;
            }
        }
    }

    /// Looks at the payload of a call; [`None`] as for [`Pending::collect`], but that the call need
    /// not have ended.
    pub(crate) fn peek<R>(&self, f: impl FnOnce(&P) -> R) -> Option<R> {
        self.call.payload.lock().as_ref().map(f)
    }

    /// Borrows the payload of a call that may not have ended: it must be given back, and stay,
    /// until the answer. [`None`] as for [`Pending::collect`].
    pub(crate) fn borrow(&self) -> Option<Borrowed<'_, P>> {
        let payload = self.call.payload.lock().take()?;

        Some(Borrowed {
            payload: Some(payload),
            pending: self,
        })
    }

    /// Takes a call that has ended out of the table, with its payload.
    ///
    /// The payload is `None` if the channel was closed or the DSP process has ended; also if the
    /// call has not ended, which leaves it abandoned.
    pub(crate) fn collect(self) -> (Outcome, Option<P>) {
        let (outcome, payload, _) = self.reclaim();

        (outcome, payload)
    }

    /// As [`Pending::collect`], and keeps the call for another, unless somebody refers to it still.
    pub(crate) fn reclaim(self) -> (Outcome, Option<P>, Option<Spare<P>>) {
        let outcome = match self.call.outcome.load(Acquire) {
            PENDING | DESERTED => return (Outcome::Gone, None, None),
            GONE => Outcome::Gone,
            // CAST: anything else is a status, which was an `i32`.
            status => Outcome::Status(status as i32),
        };
        let Self { ticket, call } = self;

        ticket.withdraw();
        let payload = call.payload.lock().take();
        (outcome, payload, Arc::into_unique_or_drop(call).map(Spare))
    }

    pub(super) fn context(&self) -> Context {
        self.ticket.context
    }

    pub(super) fn call(&self) -> &Call<P> {
        &self.call
    }

    /// Notes that the DSP has the call.
    pub(super) fn sent(self) -> Self {
        self.call.sending.store(false, Release);
        self
    }

    /// Takes a call out of the table that the DSP has not seen.
    pub(super) fn withdraw(self) {
        self.ticket.withdraw();
    }

    /// As [`Pending::withdraw`], and takes the call apart.
    pub(super) fn unsend(self) -> Option<(P, Spare<P>)> {
        self.ticket.withdraw();

        recover(self.call)
    }
}

/// The payload of a call that goes on, given back when this is dropped.
pub(crate) struct Borrowed<'a, P: Load> {
    payload: Option<P>,
    pending: &'a Pending<P>,
}

impl<P: Load> Borrowed<'_, P> {
    /// The payload.
    pub(crate) fn payload(&mut self) -> Option<&mut P> {
        self.payload.as_mut()
    }
}

impl<P: Load> Drop for Borrowed<'_, P> {
    fn drop(&mut self) {
        // If the call was answered or evicted meanwhile, nobody but the caller knows of it.
        *self.pending.call.payload.lock() = self.payload.take();
    }
}
