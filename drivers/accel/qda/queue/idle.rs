// SPDX-License-Identifier: GPL-2.0

//! Ending threads of the DSP that no submission needs.

use super::Queue;
use crate::{
    call::Pending,
    kernel_call::thread_exit,
    payload::Payload,
    threads::Threads, //
};
use kernel::{
    prelude::*,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    }, //
};

/// How long the DSP may take to end its threads, in milliseconds.
const EXIT_TIMEOUT_MS: u32 = 10_000;

impl Queue {
    /// Tells the DSP that threads have exited which had no call for some time, or, with `all`,
    /// which have none. They have a call until that is answered.
    pub(crate) fn exit_threads(&self, all: bool) -> KVec<(u32, Pending<Payload>)> {
        let mut exits = KVec::new();

        if all {
            self.state.lock().threads.age();
        }
        loop {
            let thread = self.state.lock().threads.take_idle();
            let Some(thread) = thread else {
                break;
            };
            let number = Threads::number(thread);
            let sent = exits
                .reserve(1, GFP_KERNEL)
                .map_err(Error::from)
                .and_then(|()| thread_exit(self.channel(), &self.process.identity, number));
            match sent {
                Ok(pending) => {
                    // There is room.
                    let _ = exits.push((thread, pending), GFP_KERNEL);
                }
                Err(_) => {
                    self.state.lock().threads.put(thread);
                    break;
                }
            }
        }
        self.state.lock().threads.age();
        exits
    }

    /// Ends threads of the DSP that had no call for some time. Returns whether there may be some to
    /// end the next time. Waits for the DSP.
    pub(crate) fn end_threads(&self) -> bool {
        let mut timeout = msecs_to_jiffies(EXIT_TIMEOUT_MS);

        // A process that is no more has no threads: whoever stops the queue waits until these are
        // sent, and then none is.
        let exits = self.channel().dispatcher.exclusively(|| {
            let stopped = self.state.lock().stopped;

            match stopped {
                true => KVec::new(),
                false => self.exit_threads(false),
            }
        });
        let mut late = core::mem::take(&mut *self.late.lock());
        // These were waited for already.
        late.retain(|(thread, pending)| !self.has_exited(*thread, pending, 0));
        for (thread, pending) in exits {
            if !self.has_exited(thread, &pending, timeout) {
                // It has a call until the DSP answers; without memory to note that, for ever.
                timeout = 0;
                let _ = late.push((thread, pending), GFP_KERNEL);
            }
        }
        *self.late.lock() = late;
        self.channel().dispatch();
        self.state.lock().threads.any()
    }

    /// Whether the DSP answers within `timeout` that it has ended a thread, which may begin anew
    /// then.
    fn has_exited(&self, thread: u32, pending: &Pending<Payload>, timeout: Jiffies) -> bool {
        let answered = pending.wait_uninterruptible(timeout);

        if answered {
            self.state.lock().threads.exited(thread);
        }
        answered
    }
}
