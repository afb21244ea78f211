// SPDX-License-Identifier: GPL-2.0

//! The outstanding calls of one channel: sending, answering, ending.

use super::{
    pending::Pending,
    post::{
        Mail,
        POST, //
    },
    Call,
    Host,
    Load,
    Outcome,
    Spare,
    Watch,
    DESERTED, //
};
use crate::{
    exits::Exits,
    proto::{
        Context,
        Message,
        ProtectionDomain,
        Reply, //
    },
    table::{
        Answer,
        CallTable,
        Class,
        Phase, //
    },
    transport::Transport, //
};
use kernel::{
    impl_has_work,
    new_condvar,
    new_spinlock_irq,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        CondVarTimeoutResult,
        SpinLockIrq, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    },
    workqueue::{
        OwnedQueue,
        QueueFlag,
        RawWorkItem,
        Work,
        WorkItem, //
    }, //
};

/// A call as it stands in the table.
pub(super) struct Entry<P> {
    pub(super) call: Arc<Call<P>>,
    pub(super) mail: Mail,
    watch: Option<Watch>,
}

impl<P> Entry<P> {
    pub(super) fn end(&self, outcome: Outcome, queue: Option<&OwnedQueue>) {
        self.call.end(outcome);
        if let Some(watch) = &self.watch {
            watch.watcher.ended(watch.token, queue);
        }
    }
}

pub(super) struct State<P> {
    pub(super) table: CallTable<Entry<P>>,
    /// Messages so far that had to wait for room in the transport.
    pub(super) posted: u64,
    pub(super) queue: Option<OwnedQueue>,
    exits: Exits,
    pub(super) host: Option<Arc<dyn Host>>,
}

/// All outstanding calls of one channel.
#[pin_data]
pub(crate) struct Calls<P: Load> {
    #[pin]
    pub(super) state: SpinLockIrq<State<P>>,
    /// A slot is free.
    #[pin]
    freed: CondVar,
    /// How many wait for one.
    starved: Atomic<u32>,
    #[pin]
    reaper: Work<Calls<P>>,
    #[pin]
    poster: Work<Calls<P>, POST>,
    /// Whether messages may wait for that.
    pub(super) posting: Atomic<bool>,
    ignored: Atomic<u64>,
}

impl_has_work! {
    impl{P: Load} HasWork<Self> for Calls<P> { self.reaper }
    impl{P: Load} HasWork<Self, POST> for Calls<P> { self.poster }
}

impl<P: Load> WorkItem for Calls<P> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // The guard is a temporary of the `let`, so that the call is dropped without the lock.
        loop {
            let entry = this.state.lock().table.reap();
            let Some(entry) = entry else {
                break;
            };
            this.slot_is_free();
            entry.call.answered_unheard();
        }

        loop {
            let exited = this.state.lock().exits.take();
            let Some(client_id) = exited else {
                break;
            };
            let host = this.state.lock().host.clone();
            if let Some(host) = host {
                host.exited(client_id);
            }
        }
    }
}

/// What [`Calls::submit`] sends, apart from what it decides itself.
pub(crate) struct Request {
    /// DSP process that the call belongs to, also when the message does not name it.
    pub(crate) client_id: i32,
    /// Who may be refused.
    pub(crate) class: Class,
    /// Protection domain of the DSP process.
    pub(crate) pd: ProtectionDomain,
    /// The message; its context is filled in.
    pub(crate) message: Message,
}

impl<P: Load> Calls<P> {
    /// Makes an empty table of calls, named `name` in lists of work queues.
    ///
    /// Whoever makes it must [`drain`](Calls::drain) it before letting go of it: the last reference
    /// may be a work item's, from which the queue cannot be destroyed.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(name: &CStr) -> Result<Arc<Self>> {
        let queue = OwnedQueue::new(name, QueueFlag::Unbound, 0)?;
        let table = CallTable::new()?;

        Arc::pin_init(
            pin_init!(Self {
                state <- new_spinlock_irq!(State {
                    table,
                    posted: 0,
                    queue: Some(queue),
                    exits: Exits::new(),
                    host: None,
                }),
                freed <- new_condvar!(),
                starved: Atomic::new(0),
                reaper <- new_work!("qda::Calls::reaper"),
                poster <- new_work!("qda::Calls::poster"),
                posting: Atomic::new(false),
                ignored: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Sends a call, which owns `payload` until it is collected or dropped. It allocates nothing if
    /// it gets a `spare`. `dead` tells whether the DSP process is no more: then only calls pass
    /// that end it.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`]: the channel is closing, or the DSP process is no more.
    /// - [`ENOSPC`]: no slot is free.
    /// - [`ENOMEM`]: out of memory.
    /// - those of [`Calls::post`].
    pub(crate) fn submit(
        self: &Arc<Self>,
        transport: &dyn Transport,
        dead: &Atomic<bool>,
        mut request: Request,
        payload: P,
        spare: Option<Spare<P>>,
    ) -> Result<Pending<P>> {
        let spare = match spare {
            Some(spare) => spare,
            None => Spare::new()?,
        };
        let pending = self
            .enter(dead, &mut request, payload, spare, None)
            .map_err(|(refusal, _)| match refusal {
                Refusal::Table(error) | Refusal::Transport(error) => error,
            })?;

        // Who comes later does not overtake those who wait.
        let sent = match self.posting.load(Relaxed) {
            true => Err(EAGAIN),
            false => transport.try_send(&request.message),
        };
        match sent {
            Ok(()) => Ok(pending.sent()),
            Err(EAGAIN) => self.post(pending, &request.message),
            Err(error) => {
                // The DSP has not seen it, so that nothing needs to stay.
                pending.withdraw();
                Err(error)
            }
        }
    }

    /// Sends a call with `send`, for which no thread waits: `watch` hears of its end. It allocates
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`Calls::submit`], with what was to be sent, unless the channel or the DSP process has
    /// ended meanwhile. The watcher may have heard of the end of a call that was not sent.
    pub(crate) fn submit_watched(
        self: &Arc<Self>,
        send: impl FnOnce(&Message) -> Result,
        dead: &Atomic<bool>,
        mut request: Request,
        payload: P,
        spare: Spare<P>,
        watch: Watch,
    ) -> core::result::Result<Pending<P>, Unsent<P>> {
        let pending = self.enter(dead, &mut request, payload, spare, Some(watch))?;

        match send(&request.message) {
            Ok(()) => Ok(pending.sent()),
            Err(error) => Err((Refusal::Transport(error), pending.unsend())),
        }
    }

    /// Puts a call that is about to be sent into the table, and its context into the message.
    fn enter(
        self: &Arc<Self>,
        dead: &Atomic<bool>,
        request: &mut Request,
        payload: P,
        spare: Spare<P>,
        watch: Option<Watch>,
    ) -> core::result::Result<Pending<P>, Unsent<P>> {
        let call = spare.renew(request.client_id, request.class, payload);
        let entry = Entry {
            call: call.clone(),
            mail: Mail::None,
            watch,
        };

        let mut state = self.state.lock();
        // With the lock: what gets in before the end of the process is found by those who look for
        // its calls after it.
        let place = if dead.load(Relaxed) && request.class != Class::Release {
            Err(EPIPE)
        } else {
            state.table.allocate(request.class, request.pd)
        };
        match place {
            Ok(context) => {
                state.table.insert(context, entry);
                drop(state);
                request.message.context = context.0;
                Ok(Pending::new(self.clone(), context, call))
            }
            Err(error) => {
                drop(state);
                drop(entry);
                Err((Refusal::Table(error), recover(call)))
            }
        }
    }

    /// Waits until there may be a slot for a program's call, or the channel is closing. For threads
    /// of the kernel, which nobody signals: it may take as long as the DSP likes.
    pub(crate) fn wait_for_slot(&self) {
        let mut state = self.state.lock();

        self.starved.fetch_add(1, Relaxed);
        while state.table.is_full(Class::User) {
            // A signal is no reason to leave, only to look again.
            let _ = self.freed.wait_interruptible(&mut state);
        }
        self.starved.fetch_sub(1, Relaxed);
    }

    /// As [`Calls::wait_for_slot`], but for a call that ends a process; no longer than `timeout`.
    /// Returns whether it was not for that.
    pub(crate) fn wait_for_release_slot(&self, timeout: Jiffies) -> bool {
        let mut state = self.state.lock();
        let mut left = Some(timeout);

        self.starved.fetch_add(1, Relaxed);
        while state.table.is_full(Class::Release) {
            let Some(jiffies) = left else { break };
            left = match self.freed.wait_interruptible_timeout(&mut state, jiffies) {
                CondVarTimeoutResult::Woken { jiffies } => Some(jiffies),
                _ => None,
            };
        }
        self.starved.fetch_sub(1, Relaxed);
        !state.table.is_full(Class::Release)
    }

    /// To be called, without the lock, when a slot has become free.
    pub(super) fn slot_is_free(&self) {
        // Whoever has found the table full before it was freed waits by now: they looked with the
        // lock, and have kept it until they were in the queue.
        if self.starved.load(Relaxed) != 0 {
            self.freed.notify_all();
        }
    }

    /// Waits until no call of a DSP process is being sent, after it was marked as dead; no longer
    /// than `timeout`. Returns whether it was not for that.
    pub(crate) fn wait_until_sent(&self, client_id: i32, timeout: Delta) -> bool {
        let start = Instant::<Monotonic>::now();
        let is_sending = |entry: &Entry<P>| {
            entry.call.client_id.load(Relaxed) == client_id && entry.call.sending.load(Acquire)
        };

        // Calls are rarely made when their process ends, and sent at once if they are.
        while self.state.lock().table.calls().any(is_sending) {
            if start.elapsed() >= timeout {
                return false;
            }
            fsleep(Delta::from_millis(1));
        }
        true
    }

    /// Handles a message from the DSP. Hard-interrupt context: drops nothing.
    pub(crate) fn received(self: &Arc<Self>, bytes: &[u8]) {
        match Reply::parse(bytes) {
            Reply::Done { context, status } => self.answer(context, status),
            Reply::PdExit { client_id } => {
                let mut state = self.state.lock();
                if state.exits.note(client_id) {
                    self.rouse(&state);
                }
            }
            Reply::PdState | Reply::Signal | Reply::Short => {
                self.ignored.fetch_add(1, Relaxed);
            }
        }
    }

    fn answer(self: &Arc<Self>, context: u64, status: i32) {
        let mut guard = self.state.lock();
        let state = &mut *guard;

        let watched = match state.table.answer(context) {
            Answer::Waiting(entry) => {
                entry.end(Outcome::Status(status), state.queue.as_ref());
                entry.watch.is_some()
            }
            Answer::Abandoned(entry) => {
                entry.end(Outcome::Status(status), state.queue.as_ref());
                self.rouse(state);
                false
            }
            Answer::Unknown => {
                self.ignored.fetch_add(1, Relaxed);
                false
            }
        };
        if watched {
            // Whoever collects it may take long, and does not need the slot. This drops nothing:
            // there is somebody who has not abandoned the call, and its watcher is there.
            drop(state.table.take(Context(context)));
            drop(guard);
            self.slot_is_free();
        }
    }

    /// Has the work item look for what there is to do. Safe in any context.
    fn rouse(self: &Arc<Self>, state: &State<P>) {
        if let Some(queue) = &state.queue {
            // It is queued already, or will see what is new: either way nothing is lost. The
            // reference that comes back is not the last: the caller holds one.
            let _ = queue.enqueue::<_, 0>(self.clone());
        }
    }

    /// Has `host` do its part until the queue is [`drained`](Calls::drain).
    pub(crate) fn set_host(&self, host: Arc<dyn Host>) {
        let earlier = self.state.lock().host.replace(host);
        drop(earlier);
    }

    /// Runs `work` on the channel's queue.
    ///
    /// # Errors
    ///
    /// Gives `work` back when the channel is closed.
    pub(crate) fn enqueue<W: RawWorkItem<ID> + Send + 'static, const ID: u64>(
        &self,
        work: W,
    ) -> core::result::Result<W::EnqueueOutput, W> {
        match &self.state.lock().queue {
            Some(queue) => Ok(queue.enqueue(work)),
            None => Err(work),
        }
    }

    /// Whether it takes calls of programs.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().table.is_open()
    }

    /// Takes no more calls of programs; those that end DSP processes still pass.
    pub(crate) fn begin_close(&self) {
        self.state.lock().table.advance(Phase::Closing);
        self.slot_is_free();
    }

    /// Ends all calls: waiters see [`Outcome::Gone`]. The transport must be closed before.
    pub(crate) fn finish_close(&self) {
        self.state.lock().table.advance(Phase::Closed);
        self.evict(|_| true);
    }

    /// Ends all calls of a DSP process that is no more, and of which none is being sent.
    pub(crate) fn retire(&self, client_id: i32) {
        self.evict(|call| call.client_id.load(Relaxed) == client_id);
    }

    /// Has everybody leave who waits for a program's call to a DSP process that is dead. The calls
    /// stay: what the DSP still does with their memory is not known before it was told that the
    /// process ends.
    pub(crate) fn desert(&self, client_id: i32) {
        let state = self.state.lock();

        for Entry { call, .. } in state.table.calls() {
            if call.is_program.load(Relaxed) && call.client_id.load(Relaxed) == client_id {
                call.settle(DESERTED);
            }
        }
    }

    fn evict(&self, wanted: impl Fn(&Call<P>) -> bool) {
        loop {
            let entry = self.state.lock().table.evict(|entry| wanted(&entry.call));
            let Some(entry) = entry else {
                break;
            };
            self.slot_is_free();
            // What the DSP could touch goes first: whoever hears of the end may rely on that.
            let payload = entry.call.payload.lock().take();
            drop(payload);
            let state = self.state.lock();
            entry.end(Outcome::Gone, state.queue.as_ref());
        }
    }

    /// Drains the queue and takes no more work. Not from a work item of that queue.
    pub(crate) fn drain(&self) {
        let queue = self.state.lock().queue.take();
        drop(queue);

        let host = self.state.lock().host.take();
        drop(host);
    }

    /// Notices of the DSP so far that a protection domain has ended.
    pub(crate) fn exits(&self) -> u64 {
        self.state.lock().exits.total()
    }

    /// Calls that are not answered yet, or that nobody has collected.
    pub(crate) fn outstanding(&self) -> usize {
        self.state.lock().table.used()
    }

    /// Messages from the DSP so far that answered no call, apart from [`Calls::exits`].
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored.load(Relaxed)
    }
}

/// Takes a call apart that was not sent, unless somebody has taken its payload.
pub(super) fn recover<P: Load>(call: Arc<Call<P>>) -> Option<(P, Spare<P>)> {
    let payload = call.payload.lock().take();

    payload.zip(Arc::into_unique_or_drop(call).map(Spare))
}

/// Who refused a call, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The table of calls.
    Table(Error),
    /// Whatever was to send it.
    Transport(Error),
}

/// Who refused a call, and what it was.
pub(crate) type Unsent<P> = (Refusal, Option<(P, Spare<P>)>);
