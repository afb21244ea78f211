// SPDX-License-Identifier: GPL-2.0

//! Submissions: calls for which no thread waits.
//!
//! A submission is put together by whoever makes it, and waits in the queue of its session until
//! its turn comes, the DSP has a slot for it, and the queue has a thread of the DSP for it. Its
//! completion waits in the queue until it is taken; the results are copied then, by whoever takes
//! it. What the DSP may touch is kept until the DSP has answered, or its process has ended.
//!
//! An answer only moves a submission to another list, and wakes whoever waits for it.

mod completions;
mod idle;

pub(crate) use self::completions::Record;

use crate::{
    arena::paid,
    bank::Client,
    call::{
        Pending,
        Refusal,
        Spare,
        Watch,
        Watcher, //
    },
    channel::Channel,
    frame::Frame,
    invoke::Invoke,
    layout::MAX_INLINE,
    names::Names,
    payload::{
        Payload,
        Ready, //
    },
    process::Process,
    proto::Message,
    ring::Ring,
    threads::Threads,
    transport::Transport, //
};
use kernel::{
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    static_lock_class,
    sync::{
        poll::PollCondVarBox,
        Arc,
        Mutex,
        SpinLockIrq, //
    },
    workqueue::OwnedQueue, //
};

/// A submission that was not sent.
pub(crate) struct Waiting {
    payload: Payload,
    spare: Spare<Payload>,
}

/// What is kept of a submission.
enum Item {
    /// All of it.
    Waiting(Waiting),
    /// What its results need.
    Sent(Pending<Payload>),
    /// The results, which could not be copied yet.
    Answered(i32, Payload),
    /// Why there are none.
    Failed(Error),
}

/// A submission whose turn has come.
pub(crate) struct Turn {
    slot: u16,
    thread: u32,
    waiting: Waiting,
}

/// Why nothing more can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No slot is free.
    Starved,
    /// The transport has no room at once.
    Blocked,
}

/// How messages are sent.
#[derive(Clone, Copy)]
pub(crate) struct Send<'a> {
    /// The way to the DSP.
    pub(crate) transport: &'a dyn Transport,
    /// Whether it may be waited for room there.
    pub(crate) patient: bool,
}

impl Send<'_> {
    fn message(&self, message: &Message) -> Result {
        match self.patient {
            true => self.transport.send(message),
            false => self.transport.try_send(message),
        }
    }
}

struct State {
    ring: Ring<Item>,
    threads: Threads,
    /// The thread that each slot's submission has.
    assigned: KVVec<u32>,
    /// The DSP process is about to end, or has ended.
    stopped: bool,
    ended: bool,
}

/// The submissions of one session, and their completions.
#[pin_data]
pub(crate) struct Queue {
    process: Arc<Process>,
    /// Whose memory the arguments are in.
    client: Client,
    #[pin]
    state: SpinLockIrq<State>,
    /// Threads whose exit the DSP has not answered in time.
    #[pin]
    late: Mutex<KVec<(u32, Pending<Payload>)>>,
    changed: PollCondVarBox,
}

impl Watcher for Queue {
    fn ended(&self, token: u32, queue: Option<&OwnedQueue>) {
        // CAST: tokens are numbers of slots.
        if !self.release(token as u16) {
            return;
        }
        let channel = self.process.channel();

        self.changed.notify_all();
        channel.dispatcher.left();
        if let Some(queue) = queue {
            channel.dispatch_on(queue);
        }
    }
}

impl Queue {
    /// A queue for `depth` submissions of `process`, of which as many are made at once as there are
    /// `threads`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(process: Arc<Process>, depth: usize, threads: u32) -> Result<Arc<Self>> {
        let ring = Ring::new(depth, MAX_INLINE, paid())?;
        let assigned = KVVec::from_elem(0, ring.depth(), paid())?;
        let changed = PollCondVarBox::new(c"qda::Queue::changed", static_lock_class!())?;

        Arc::pin_init(
            pin_init!(Self {
                process,
                client: Client::current(),
                state <- new_spinlock_irq!(State {
                    ring,
                    threads: Threads::new(threads),
                    assigned,
                    stopped: false,
                    ended: false,
                }),
                late <- new_mutex!(KVec::new()),
                changed,
            }),
            paid(),
        )
    }

    /// Whether the caller may use the queue: it is not another's memory that would be meant.
    ///
    /// # Errors
    ///
    /// [`EACCES`] if not.
    pub(crate) fn check_client(&self) -> Result {
        if self.client != Client::current() {
            return Err(EACCES);
        }
        Ok(())
    }

    fn channel(&self) -> &Arc<Channel> {
        self.process.channel()
    }

    /// The submission in `slot` is the DSP's no more, nor is its thread. Returns whether that is
    /// news.
    fn release(&self, slot: u16) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.ring.ended(slot) {
            return false;
        }

        state.threads.put(state.assigned[usize::from(slot)]);
        true
    }

    /// A frame for a submission.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn frame(&self) -> Result<Frame> {
        self.process.frame()
    }

    /// Submits a call that is made with what `frame` has room for; `tell` tells its id before it
    /// can be over.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`]: no room before a completion is taken.
    /// - [`EPIPE`]: the DSP process has ended.
    /// - those of `tell`, and of [`Invoke::prepare`].
    pub(crate) fn submit(
        &self,
        invoke: Invoke,
        user_data: u64,
        frame: Frame,
        names: &impl Names,
        tell: impl FnOnce(u64) -> Result,
    ) -> Result {
        let bytes = usize::try_from(invoke.inline_len()).map_err(|_| E2BIG)?;
        if bytes > MAX_INLINE {
            return Err(E2BIG);
        }
        let (slot, id) = {
            let mut state = self.state.lock();

            if state.stopped {
                return Err(EPIPE);
            }
            state.ring.reserve(user_data, bytes)?
        };

        let prepared = self
            .prepare(invoke, frame, names)
            .and_then(|waiting| tell(id).map(|()| waiting));
        match prepared {
            Ok(waiting) => self.accept(slot, waiting),
            Err(error) => {
                self.state.lock().ring.free(slot);
                Err(error)
            }
        }
    }

    fn prepare(&self, invoke: Invoke, frame: Frame, names: &impl Names) -> Result<Waiting> {
        let share = self.process.identity.held.unlimited_share();
        let Ready { mut payload, spare } = invoke.prepare(&self.process, frame, names, share)?;
        payload.set_invoke(invoke);
        let spare = match spare {
            Some(spare) => spare,
            None => Spare::new()?,
        };

        Ok(Waiting { payload, spare })
    }

    fn accept(&self, slot: u16, waiting: Waiting) -> Result {
        let mut state = self.state.lock();
        if state.stopped {
            state.ring.free(slot);
            drop(state);
            drop(waiting);
            return Err(EPIPE);
        }

        state.ring.publish(slot, Item::Waiting(waiting));
        drop(state);
        self.channel().dispatcher.came();
        self.channel().dispatch();
        Ok(())
    }

    /// Takes the submission that is to be sent next, if there is a thread for it.
    pub(crate) fn take_turn(&self) -> Option<Turn> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.stopped || !state.ring.has_waiting() {
            return None;
        }
        let thread = state.threads.take()?;

        match state.ring.take_waiting() {
            Some((slot, Item::Waiting(waiting))) => {
                state.assigned[usize::from(slot)] = thread;
                Some(Turn {
                    slot,
                    thread,
                    waiting,
                })
            }
            // None but these wait.
            _ => {
                state.threads.put(thread);
                None
            }
        }
    }

    /// Sends a submission with `send`. If that is not possible now, it is the next again.
    pub(crate) fn send(
        self: &Arc<Self>,
        turn: Turn,
        send: Send<'_>,
    ) -> core::result::Result<(), Stop> {
        let Turn {
            slot,
            thread,
            waiting,
        } = turn;
        let Waiting { mut payload, spare } = waiting;
        let who = &self.process.identity;
        let request = payload.invoke().and_then(|invoke| {
            let target = invoke.target(who, Threads::number(thread));

            Ok(target.request(who, payload.extent()?))
        });
        let loans = payload.take_loans();
        let watch = Watch {
            watcher: self.clone(),
            token: slot.into(),
        };

        self.channel().dispatcher.entered();
        let sent = match request {
            Ok(request) => self.channel().calls.submit_watched(
                |message| send.message(message),
                &who.dead,
                request,
                payload,
                spare,
                watch,
            ),
            Err(error) => Err((Refusal::Transport(error), Some((payload, spare)))),
        };
        let (refusal, unsent) = match sent {
            Ok(pending) => {
                loans.keep();
                let item = Item::Sent(pending);
                let over = self.state.lock().ring.sent(slot, item);
                if over {
                    self.changed.notify_all();
                }
                return Ok(());
            }
            Err(unsent) => unsent,
        };

        if self.release(slot) {
            self.channel().dispatcher.left();
        }
        let (stop, error) = match refusal {
            Refusal::Table(error @ ENOSPC) => (Some(Stop::Starved), error),
            Refusal::Transport(error @ EAGAIN) if !send.patient => (Some(Stop::Blocked), error),
            Refusal::Table(error) | Refusal::Transport(error) => (None, error),
        };
        match (stop, unsent) {
            (Some(stop), Some((mut payload, spare))) => {
                payload.set_loans(loans);
                let item = Item::Waiting(Waiting { payload, spare });

                self.state.lock().ring.put_back(slot, item);
                self.channel().dispatcher.came();
                Err(stop)
            }
            (_, unsent) => {
                drop((unsent, loans));
                self.finish(slot, error);
                Ok(())
            }
        }
    }

    fn finish(&self, slot: u16, error: Error) {
        self.state.lock().ring.finish(slot, Item::Failed(error));
        self.changed.notify_all();
    }

    /// Takes back a submission that was not sent; it completes with [`ECANCELED`].
    ///
    /// # Errors
    ///
    /// - [`ENOENT`]: there is no such submission, or it is over.
    /// - [`EBUSY`]: it was sent.
    pub(crate) fn cancel(&self, id: u64) -> Result {
        let (slot, item) = self.state.lock().ring.cancel(id)?;

        self.channel().dispatcher.gone();
        drop(item);
        self.finish(slot, ECANCELED);
        Ok(())
    }

    /// How many submissions there can be.
    pub(crate) fn depth(&self) -> usize {
        self.state.lock().ring.depth()
    }

    /// Submissions whose completions nobody has taken.
    pub(crate) fn outstanding(&self) -> usize {
        self.state.lock().ring.outstanding()
    }

    /// Nothing more is sent: when this returns, nothing is on its way either. May sleep.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.channel()
            .dispatcher
            .leave(|queue| core::ptr::eq(&**queue, self));
    }

    /// Ends all submissions: the DSP process has ended, and has none any more.
    pub(crate) fn end(&self) {
        self.stop();
        loop {
            let taken = self.state.lock().ring.take_waiting();
            let Some((slot, item)) = taken else {
                break;
            };
            self.channel().dispatcher.gone();
            drop(item);
            self.finish(slot, EPIPE);
        }

        let late = core::mem::take(&mut *self.late.lock());
        drop(late);
        let depth = {
            let mut state = self.state.lock();

            state.ended = true;
            state.ring.depth()
        };
        for slot in 0..depth {
            let old = self
                .state
                .lock()
                .ring
                .replace_done(slot, Item::Failed(EPIPE));
            drop(old);
        }
        self.changed.notify_all();
    }
}
