// SPDX-License-Identifier: GPL-2.0

//! Sending submissions: the queues of a DSP take turns.
//!
//! Whoever submits something sends it, if nothing keeps it back. What has to wait, for a slot, for
//! a thread of the DSP or for room in the transport, is sent by a work item, which answers set off.

use crate::{
    channel::Channel,
    queue::{
        Queue,
        Send,
        Stop, //
    },
    turns::Turns, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    workqueue::{
        OwnedQueue,
        WorkItem, //
    }, //
};

/// Slots that submissions may have at a time; the others are for those who wait for their calls.
pub(crate) const MAX_SUBMITTED: u32 = 128;

/// Number of the work item.
pub(crate) const DISPATCH: u64 = 1;

/// What there is of submissions on one channel.
#[pin_data]
pub(crate) struct Dispatcher {
    /// Held while something is sent, which keeps the order. Taken before that of the turns.
    #[pin]
    sending: Mutex<()>,
    #[pin]
    turns: Mutex<Turns<Arc<Queue>>>,
    /// Submissions that have, or are about to have, a slot.
    submitted: Atomic<u32>,
    /// Submissions that wait.
    waiting: Atomic<u32>,
}

impl Dispatcher {
    /// No queues.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            sending <- new_mutex!(()),
            turns <- new_mutex!(Turns::new()),
            submitted: Atomic::new(0),
            waiting: Atomic::new(0),
        })
    }

    /// Lets a queue take turns. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn join(&self, queue: Arc<Queue>) -> Result {
        self.turns.lock().add(queue)
    }

    /// Lets a queue take no more turns; it has none when this returns. May sleep.
    pub(crate) fn leave(&self, wanted: impl Fn(&Arc<Queue>) -> bool) {
        let queue = self.turns.lock().remove(wanted);
        drop(queue);

        // It may have had one.
        drop(self.sending.lock());
    }

    /// Runs `f` while no queue has its turn. May sleep.
    pub(crate) fn exclusively<R>(&self, f: impl FnOnce() -> R) -> R {
        let _sending = self.sending.lock();

        f()
    }

    // The counters are changed before what they count is looked for, so that of two who do both at
    // a time one sees the other.

    /// A submission waits.
    pub(crate) fn came(&self) {
        self.waiting.fetch_add(1, Full);
    }

    /// A submission waits no more.
    pub(crate) fn gone(&self) {
        self.waiting.fetch_sub(1, Full);
    }

    /// A submission that was waiting gets a slot.
    pub(crate) fn entered(&self) {
        self.submitted.fetch_add(1, Full);
        self.gone();
    }

    /// A submission has no slot any more. Any context.
    pub(crate) fn left(&self) {
        self.submitted.fetch_sub(1, Full);
    }
}

impl WorkItem<DISPATCH> for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        loop {
            // Each may take long, and others wait for the lock.
            let sent = {
                let _sending = this.dispatcher.sending.lock();

                this.send_next(true)
            };
            match sent {
                Ok(true) => {}
                Err(Stop::Starved) => this.calls.wait_for_slot(),
                _ => break,
            }
        }
    }
}

impl Channel {
    /// Sends what waits, without waiting for anything; what has to wait goes to the work item.
    pub(crate) fn dispatch(self: &Arc<Self>) {
        let sent = match self.dispatcher.sending.try_lock() {
            Some(_sending) => loop {
                match self.send_next(false) {
                    Ok(true) => {}
                    sent => break sent,
                }
            },
            // Somebody sends, and may have looked already.
            None => Err(Stop::Blocked),
        };

        if sent.is_err() {
            // Without the queue everything ends.
            let _ = self.calls.enqueue::<_, DISPATCH>(self.clone());
        }
    }

    /// Has the work item send on `queue` what waits, if anything does. Any context.
    pub(crate) fn dispatch_on(self: &Arc<Self>, queue: &OwnedQueue) {
        if self.dispatcher.waiting.load(Relaxed) > 0 {
            // It may be queued already. The reference that comes back is not the last.
            let _ = queue.enqueue::<_, DISPATCH>(self.clone());
        }
    }

    /// Sends the next that waits, for whoever holds the lock for it. Returns whether there was one
    /// that may be sent now.
    fn send_next(&self, patient: bool) -> core::result::Result<bool, Stop> {
        let send = Send {
            transport: &*self.transport,
            patient,
        };

        // Whoever adds one that is not counted yet looks for it here afterwards.
        if self.dispatcher.waiting.load(Relaxed) == 0
            || self.dispatcher.submitted.load(Relaxed) >= MAX_SUBMITTED
        {
            return Ok(false);
        }
        let turns = &self.dispatcher.turns;
        let turn = turns
            .lock()
            .next(|queue| queue.take_turn().map(|turn| (queue.clone(), turn)));
        let Some((queue, turn)) = turn else {
            return Ok(false);
        };
        queue
            .send(turn, send)
            .inspect_err(|_| turns.lock().undo())?;
        Ok(true)
    }
}
