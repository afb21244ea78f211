// SPDX-License-Identifier: GPL-2.0

//! Messages for which the transport has no room at once.
//!
//! Waiting for room takes as long as the DSP likes, and no signal ends it. So a work item does it,
//! for one message after the other, and whoever has made the call waits for the work item: until
//! the message is sent, or a fatal signal comes.

use super::{
    calls::Calls,
    pending::Pending,
    Load,
    Outcome,
    PENDING, //
};
use crate::{
    proto::{
        Context,
        Message, //
    },
    table::Answer, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Relaxed,
            Release, //
        },
        Arc, //
    },
    workqueue::WorkItem, //
};

/// Number of the work item.
pub(super) const POST: u64 = 1;

/// Where the message of a call is.
#[derive(Clone, Copy)]
pub(super) enum Mail {
    /// With the DSP, or with the caller.
    None,
    /// Waiting for the work item, with this number.
    Waiting(Message, u64),
    /// With the transport, by the work item.
    Leaving,
    /// The same, and the caller does not wait for that any more.
    Unheard,
    /// Back: it could not be sent.
    Returned(Error),
}

impl<P: Load> WorkItem<POST> for Calls<P> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let host = this.state.lock().host.clone();
        let Some(host) = host else {
            return;
        };

        while let Some((context, message, last)) = this.next_mail() {
            let sent = host.transport().send(&message);

            this.mailed(context, sent);
            if sent == Err(ETIMEDOUT) {
                this.return_mail(last);
            }
        }
    }
}

impl<P: Load> Calls<P> {
    /// Has the work item send the message of a call, and waits for that.
    ///
    /// # Errors
    ///
    /// The DSP has not seen it, and will not:
    ///
    /// - [`EINTR`]: a fatal signal came. Not if it came when the transport had the message already:
    ///   that is no error, and nobody knows whether the DSP sees it.
    /// - [`EPIPE`]: the DSP process is no more.
    /// - whatever the transport reports.
    pub(super) fn post(
        self: &Arc<Self>,
        pending: Pending<P>,
        message: &Message,
    ) -> Result<Pending<P>> {
        let woken = match self.put_mail(pending.context(), message) {
            true => pending.call().sent.wait_for_completion_killable(),
            false => Ok(()),
        };

        match self.leave_mail(pending.context(), woken.map_or(EINTR, |()| EPIPE)) {
            Ok(()) => Ok(pending),
            Err(error) => {
                pending.withdraw();
                Err(error)
            }
        }
    }

    /// Gives the message of a call to the work item. Returns whether the call has not ended
    /// meanwhile.
    fn put_mail(self: &Arc<Self>, context: Context, message: &Message) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (Some(entry), Some(queue)) = (state.table.get_mut(context), &state.queue) else {
            return false;
        };

        if entry.call.outcome.load(Relaxed) != PENDING {
            // Its process has died since it came into the table.
            entry.mail = Mail::Returned(EPIPE);
            return false;
        }
        state.posted += 1;
        entry.mail = Mail::Waiting(*message, state.posted);
        entry.call.posted.store(true, Relaxed);
        entry.call.sent.reinit();
        self.posting.store(true, Relaxed);
        // It may be queued already. The reference that comes back is not the last.
        let _ = queue.enqueue::<_, POST>(self.clone());
        true
    }

    /// Its caller waits no more for the message of a call. If that still waits for the work item it
    /// is taken back, for `reason`.
    fn leave_mail(&self, context: Context, reason: Error) -> Result {
        let mut state = self.state.lock();
        let Some(entry) = state.table.get_mut(context) else {
            return Ok(());
        };

        match entry.mail {
            Mail::None | Mail::Unheard => Ok(()),
            Mail::Leaving => {
                entry.mail = Mail::Unheard;
                Ok(())
            }
            Mail::Waiting(..) => {
                entry.mail = Mail::None;
                Err(reason)
            }
            Mail::Returned(error) => Err(error),
        }
    }

    /// The message that has waited longest, whose it is, and the number of the last one that waits.
    fn next_mail(&self) -> Option<(Context, Message, u64)> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let waiting = state.table.iter_mut().filter_map(|(context, entry)| {
            let Mail::Waiting(message, number) = entry.mail else {
                return None;
            };
            Some((number, context, message, entry))
        });

        let Some((_, context, message, entry)) = waiting.min_by_key(|(number, ..)| *number) else {
            self.posting.store(false, Relaxed);
            return None;
        };
        entry.mail = Mail::Leaving;
        Some((context, message, state.posted))
    }

    /// What has become of a message that was with the transport.
    fn mailed(&self, context: Context, sent: Result) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(entry) = state.table.get_mut(context) else {
            return;
        };

        let unheard = matches!(entry.mail, Mail::Unheard);
        entry.mail = match sent {
            Err(error) if !unheard => Mail::Returned(error),
            _ => Mail::None,
        };
        entry.call.sending.store(false, Release);
        entry.call.sent.complete_all();
        if !unheard || sent.is_ok() {
            return;
        }

        // The end of a call that nobody will answer.
        let lost = match state.table.answer(context.0) {
            Answer::Waiting(entry) => {
                entry.end(Outcome::Gone, state.queue.as_ref());
                None
            }
            Answer::Abandoned(_) => state.table.take(context),
            Answer::Unknown => None,
        };
        drop(guard);
        if lost.is_some() {
            self.slot_is_free();
        }
    }

    /// Gives back the messages up to number `last` that wait: the transport had no room since they
    /// came.
    fn return_mail(&self, last: u64) {
        self.give_back(ETIMEDOUT, |_, number| number <= last);
    }

    /// Gives back the messages of a DSP process that wait: it is about to end.
    pub(crate) fn recall(&self, client_id: i32) {
        self.give_back(EPIPE, |id, _| id == client_id);
    }

    /// Gives back, for `reason`, messages that wait, by their process and their number.
    fn give_back(&self, reason: Error, wanted: impl Fn(i32, u64) -> bool) {
        let mut state = self.state.lock();

        for (_, entry) in state.table.iter_mut() {
            let Mail::Waiting(_, number) = entry.mail else {
                continue;
            };
            if wanted(entry.call.client_id.load(Relaxed), number) {
                entry.mail = Mail::Returned(reason);
                entry.call.sent.complete_all();
            }
        }
    }
}
