// SPDX-License-Identifier: GPL-2.0

//! Outstanding calls: sending, waiting, answering, leaving.
//!
//! A [`Call`] owns all memory that the DSP may touch because of it (its payload). It stays in the
//! table of its channel until it is answered and collected, until its DSP process has ended, or
//! until the channel is closed. A caller may leave at any time: the call stays.
//!
//! Replies come in hard-interrupt context. There a call is only marked and its waiter woken; calls
//! without a waiter are dropped by a work item, on a queue that is drained before the channel goes.

mod calls;
mod pending;
mod post;

pub(crate) use self::{
    calls::{
        Calls,
        Refusal,
        Request, //
    },
    pending::Pending, //
};

use crate::{
    table::Class,
    transport::Transport, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Completion,
        Mutex,
        UniqueArc, //
    },
    workqueue::OwnedQueue, //
};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The DSP answered with this status.
    Status(i32),
    /// The channel was closed, or the DSP process ended, before it answered.
    Gone,
}

/// [`Call::outcome`] of a call that has not ended; no status has this value, nor the others.
const PENDING: i64 = i64::MIN;
/// Of one that has ended as [`Outcome::Gone`].
const GONE: i64 = i64::MAX;
/// Of one whose caller has to leave, whatever becomes of it.
const DESERTED: i64 = i64::MAX - 1;

/// What a call owns.
pub(crate) trait Load: Send + Unpin + 'static {
    /// The call was answered, but nobody waits for it. May sleep.
    fn answered(&self);
}

/// What calls need of the channel that they are of.
pub(crate) trait Host: Send + Sync {
    /// The way to the DSP.
    fn transport(&self) -> &dyn Transport;

    /// The DSP says that the process `client_id` has ended; there may be none of that number. May
    /// sleep, but does not wait for the DSP.
    fn exited(&self, client_id: i32);
}

/// Who hears of the end of calls for which no thread waits.
pub(crate) trait Watcher: Send + Sync {
    /// The call that was sent with `token` has ended: nobody touches its memory any more, and its
    /// slot is free. What follows from that can be done on `queue`, if the channel has it still.
    ///
    /// Any context, with the lock of the calls: it calls nothing of them, and drops nothing.
    fn ended(&self, token: u32, queue: Option<&OwnedQueue>);
}

/// A call's watcher, and what the watcher calls the call.
pub(crate) struct Watch {
    /// The watcher, which is not let go of before the call has ended.
    pub(crate) watcher: Arc<dyn Watcher>,
    /// The watcher's name of the call.
    pub(crate) token: u32,
}

/// A call that was sent, or is about to be.
#[pin_data]
pub(crate) struct Call<P> {
    client_id: Atomic<i32>,
    /// Whether it is a program's.
    is_program: Atomic<bool>,
    /// Whether it is being sent, so that the DSP may or may not have it.
    sending: Atomic<bool>,
    outcome: Atomic<i64>,
    /// Whether a work item sends it.
    posted: Atomic<bool>,
    /// Then: it has, or will not.
    #[pin]
    sent: Completion,
    #[pin]
    done: Completion,
    #[pin]
    payload: Mutex<Option<P>>,
}

/// A call that is over and that nobody else refers to, for the next call to use.
pub(crate) struct Spare<P>(Pin<UniqueArc<Call<P>>>);

impl<P: Load> Spare<P> {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        let call = UniqueArc::pin_init(
            pin_init!(Call {
                client_id: Atomic::new(0),
                is_program: Atomic::new(false),
                sending: Atomic::new(false),
                outcome: Atomic::new(GONE),
                posted: Atomic::new(false),
                sent <- Completion::new(),
                done <- Completion::new(),
                payload <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;

        Ok(Self(call))
    }

    fn renew(self, client_id: i32, class: Class, payload: P) -> Arc<Call<P>> {
        let call = Arc::from(self.0);

        call.client_id.store(client_id, Relaxed);
        let is_program = matches!(class, Class::User | Class::Static);
        call.is_program.store(is_program, Relaxed);
        call.sending.store(true, Relaxed);
        call.outcome.store(PENDING, Relaxed);
        call.posted.store(false, Relaxed);
        call.done.reinit();
        *call.payload.lock() = Some(payload);
        call
    }
}

impl<P: Load> Call<P> {
    /// Tells the payload that the call was answered with nobody waiting.
    fn answered_unheard(&self) {
        let payload = self.payload.lock();

        if let Some(payload) = payload.as_ref() {
            payload.answered();
        }
    }
}

impl<P> Call<P> {
    /// Ends the call. Safe in any context.
    fn end(&self, outcome: Outcome) {
        let value = match outcome {
            Outcome::Status(status) => i64::from(status),
            Outcome::Gone => GONE,
        };
        self.settle(value);
    }

    /// Wakes the caller with an outcome, if there is none yet. Whoever calls this has the lock of
    /// the table, or has taken the call out.
    fn settle(&self, outcome: i64) {
        if self.outcome.load(Relaxed) == PENDING {
            self.outcome.store(outcome, Release);
        }
        if self.posted.load(Relaxed) {
            self.sent.complete_all();
        }
        self.done.complete_all();
    }
}
