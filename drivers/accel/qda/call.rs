// SPDX-License-Identifier: GPL-2.0

//! Outstanding calls: sending, waiting, answering, leaving.
//!
//! A [`Call`] owns all memory that the DSP may touch because of it (its payload). It stays in the
//! table of its channel until it is answered and collected, until its DSP process has ended, or
//! until the channel is closed. A caller may leave at any time: the call stays.
//!
//! Replies come in hard-interrupt context. There a call is only marked and its waiter woken; calls
//! without a waiter are dropped by a work item, on a queue that is drained before the channel goes.

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
    current,
    impl_has_work,
    new_condvar,
    new_spinlock_irq,
    new_work,
    prelude::*,
    processor::cpu_relax,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        new_mutex,
        Arc,
        Completion,
        CondVar,
        Mutex,
        SpinLockIrq,
        UniqueArc, //
    },
    time::{
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

/// How long [`Pending::poll`] keeps a CPU busy.
const POLL_LIMIT: Delta = Delta::from_millis(10);

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

/// Who acts on the DSP's notices that its processes have ended.
pub(crate) trait ExitHandler: Send + Sync {
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
    is_user: Atomic<bool>,
    outcome: Atomic<i64>,
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
                is_user: Atomic::new(false),
                outcome: Atomic::new(GONE),
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
        call.is_user.store(class == Class::User, Relaxed);
        call.outcome.store(PENDING, Relaxed);
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
        self.done.complete_all();
    }
}

/// A call as it stands in the table.
struct Entry<P> {
    call: Arc<Call<P>>,
    watch: Option<Watch>,
}

impl<P> Entry<P> {
    fn end(&self, outcome: Outcome, queue: Option<&OwnedQueue>) {
        self.call.end(outcome);
        if let Some(watch) = &self.watch {
            watch.watcher.ended(watch.token, queue);
        }
    }
}

struct State<P> {
    table: CallTable<Entry<P>>,
    queue: Option<OwnedQueue>,
    exits: Exits,
    handler: Option<Arc<dyn ExitHandler>>,
}

/// All outstanding calls of one channel.
#[pin_data]
pub(crate) struct Calls<P: Load> {
    #[pin]
    state: SpinLockIrq<State<P>>,
    /// Somebody may wait for a slot, and one is free.
    #[pin]
    freed: CondVar,
    starved: Atomic<bool>,
    #[pin]
    reaper: Work<Calls<P>>,
    ignored: Atomic<u64>,
}

impl_has_work! {
    impl{P: Load} HasWork<Self> for Calls<P> { self.reaper }
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
            let handler = this.state.lock().handler.clone();
            if let Some(handler) = handler {
                handler.exited(client_id);
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
                    queue: Some(queue),
                    exits: Exits::new(),
                    handler: None,
                }),
                freed <- new_condvar!(),
                starved: Atomic::new(false),
                reaper <- new_work!("qda::Calls::reaper"),
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
    /// - whatever the transport reports.
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

        match transport.send(&request.message) {
            Ok(()) => Ok(pending),
            Err(error) => {
                // The DSP has not seen it, so that nothing needs to stay.
                pending.ticket.withdraw();
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
            Ok(()) => Ok(pending),
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
                Ok(Pending {
                    ticket: Ticket {
                        calls: self.clone(),
                        context: Some(context),
                    },
                    call,
                })
            }
            Err(error) => {
                drop(state);
                drop(entry);
                Err((Refusal::Table(error), recover(call)))
            }
        }
    }

    /// Waits until there may be a slot for a program's call, or the channel is closing.
    pub(crate) fn wait_for_slot(&self) {
        let mut state = self.state.lock();

        while state.table.is_full() {
            self.starved.store(true, Relaxed);
            self.freed.wait(&mut state);
        }
    }

    /// To be called, without the lock, when a slot has become free.
    fn slot_is_free(&self) {
        if self.starved.load(Relaxed) {
            self.starved.store(false, Relaxed);
            self.freed.notify_all();
        }
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

    /// Has `handler` act on the DSP's notices that its processes have ended, until the queue is
    /// [`drained`](Calls::drain).
    pub(crate) fn handle_exits(&self, handler: Arc<dyn ExitHandler>) {
        let earlier = self.state.lock().handler.replace(handler);
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

    /// Ends all calls of a DSP process that is no more.
    pub(crate) fn retire(&self, client_id: i32) {
        self.evict(|call| call.client_id.load(Relaxed) == client_id);
    }

    /// Has everybody leave who waits for a program's call to a DSP process that is dead. The calls
    /// stay: what the DSP still does with their memory is not known before it was told that the
    /// process ends.
    pub(crate) fn desert(&self, client_id: i32) {
        let state = self.state.lock();

        for Entry { call, .. } in state.table.calls() {
            if call.is_user.load(Relaxed) && call.client_id.load(Relaxed) == client_id {
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

        let handler = self.state.lock().handler.take();
        drop(handler);
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
fn recover<P: Load>(call: Arc<Call<P>>) -> Option<(P, Spare<P>)> {
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

/// A call's place in the table. Dropping it abandons the call.
struct Ticket<P: Load> {
    calls: Arc<Calls<P>>,
    /// Where the call is; none if it was taken out.
    context: Option<Context>,
}

impl<P: Load> Ticket<P> {
    /// Takes the call out of the table, whether it has ended or not.
    fn withdraw(mut self) {
        let Some(context) = self.context.take() else {
            return;
        };
        let entry = self.calls.state.lock().table.take(context);
        if entry.is_some() {
            self.calls.slot_is_free();
        }
        drop(entry);
    }
}

impl<P: Load> Drop for Ticket<P> {
    fn drop(&mut self) {
        let Some(context) = self.context else {
            return;
        };
        let entry = self.calls.state.lock().table.abandon(context);

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
    fn has_ended(&self) -> bool {
        self.call.outcome.load(Acquire) != PENDING
    }

    /// Waits without sleeping until `done` holds for the payload, but no longer than until the call
    /// has ended, a signal comes, or [`POLL_LIMIT`] has passed. Returns whether `done` holds.
    ///
    /// The call goes on either way: only its answer ends it.
    pub(crate) fn poll(&self, done: impl Fn(&P) -> bool) -> bool {
        let task = current!();
        let start = Instant::<Monotonic>::now();

        while !self.has_ended() {
            if self.call.payload.lock().as_ref().is_some_and(&done) {
                return true;
            }
            if task.signal_pending() || start.elapsed() >= POLL_LIMIT {
                break;
            }
            cpu_relax();
        }
        false
    }

    /// Borrows the payload of a call that may not have ended, and abandons the call: its slot, and
    /// the payload when it is given back, stay until the answer. [`None`] as for
    /// [`Pending::collect`].
    pub(crate) fn borrow(self) -> Option<Borrowed<P>> {
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

    /// Takes a call out of the table that the DSP has not seen.
    fn unsend(self) -> Option<(P, Spare<P>)> {
        self.ticket.withdraw();

        recover(self.call)
    }
}

/// The payload of a call that goes on, given back when this is dropped. Then the call is abandoned.
pub(crate) struct Borrowed<P: Load> {
    payload: Option<P>,
    pending: Pending<P>,
}

impl<P: Load> Borrowed<P> {
    /// The payload.
    pub(crate) fn payload(&self) -> Option<&P> {
        self.payload.as_ref()
    }
}

impl<P: Load> Drop for Borrowed<P> {
    fn drop(&mut self) {
        // If the call was answered or evicted meanwhile, nobody but us knows of it any more, and
        // the payload goes with it.
        *self.pending.call.payload.lock() = self.payload.take();
    }
}
