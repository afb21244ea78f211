// SPDX-License-Identifier: GPL-2.0

//! A DSP process of one client: its parked calls, and its end. See [`crate::identity`] for who
//! it is.

use crate::{
    bank::{
        AddressSpace,
        Lease, //
    },
    call::{
        Outcome,
        Pending, //
    },
    channel::Channel,
    frame::{
        Frame,
        Frames, //
    },
    gem::{
        self,
        Buffer, //
    },
    held::Held,
    identity::Identity,
    invoke::Invoke,
    kernel_call::KernelCall,
    mapped::Mapped,
    payload::Payload,
    polled::Polled,
    proto::ProtectionDomain,
    queue::Queue,
    sync, //
};
use kernel::{
    drm::gem::BaseObject as _,
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Completion,
        Mutex, //
    },
    task::Task,
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// How long the DSP may take to end a process, in milliseconds.
const RELEASE_TIMEOUT_MS: u32 = 10_000;

// CAST: It fits.
const RELEASE_TIMEOUT: Delta = Delta::from_millis(RELEASE_TIMEOUT_MS as i64);

/// How long to wait before the DSP is asked again to end a process, when that could not be sent.
const RELEASE_PAUSE: Delta = Delta::from_millis(20);

/// A call whose thread was interrupted while it waited.
struct Parked {
    thread: ARef<Task>,
    invoke: Invoke,
    pending: Pending<Payload>,
}

/// A call by the kernel whose caller has given up. Until it is answered nobody knows what there is
/// to end, and the DSP may use the call's memory.
struct Unanswered {
    pending: Pending<Payload>,
    /// Whether it makes the process.
    creates: bool,
}

/// A DSP process.
#[pin_data]
pub(crate) struct Process {
    /// Who it is.
    #[pin]
    pub(crate) identity: Identity,
    channel: Arc<Channel>,
    #[pin]
    frames: Frames,
    #[pin]
    parked: Mutex<KVec<Parked>>,
    /// Whether there may be some.
    any_parked: Atomic<bool>,
    #[pin]
    polled: Polled,
    begun: Atomic<bool>,
    #[pin]
    queue: Mutex<Option<Arc<Queue>>>,
    ending: Atomic<bool>,
    closing: Atomic<bool>,
    /// Whether the DSP has ended it, or nobody will know any more.
    settled: Atomic<bool>,
    #[pin]
    unanswered: Mutex<Option<Unanswered>>,
    #[pin]
    release: Mutex<Option<Pending<Payload>>>,
    #[pin]
    ended: Completion,
    #[pin]
    farewell: Work<Process>,
}

impl_has_work! {
    impl HasWork<Self> for Process { self.farewell }
}

impl WorkItem for Process {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let timeout = msecs_to_jiffies(RELEASE_TIMEOUT_MS);

        let unanswered = this.unanswered.lock().take();
        if let Some(Unanswered { pending, creates }) = unanswered {
            if !pending.wait_uninterruptible(timeout) {
                return this.end(false);
            }
            let (outcome, payload) = pending.collect();
            drop(payload);
            if !creates || outcome != Outcome::Status(0) {
                return this.end(true);
            }
        }

        if let Some(queue) = this.queue() {
            queue.stop();
            // The DSP need not answer these, since the process ends; if it does, their slots are
            // free again.
            drop(queue.exit_threads(true));
        }
        let start = Instant::<Monotonic>::now();
        let answered = loop {
            match this.send_release() {
                Ok(pending) => break pending.wait_uninterruptible(timeout),
                // A DSP that cannot be reached any more uses nothing.
                Err(EPIPE) => break true,
                // Many end at a time, and others were faster.
                Err(ENOSPC)
                    if start.elapsed() < RELEASE_TIMEOUT
                        && this.channel.calls.wait_for_release_slot(timeout) => {}
                // Of memory, or of room in the transport, there may be more in a moment.
                Err(ENOMEM | EAGAIN) if start.elapsed() < RELEASE_TIMEOUT => {
                    fsleep(RELEASE_PAUSE);
                }
                Err(_) => break false,
            }
        };
        this.end(answered);
    }
}

impl Process {
    /// A process in the bank of `lease`, which the DSP does not know of yet.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        channel: Arc<Channel>,
        client_id: i32,
        pd: ProtectionDomain,
        lease: Arc<Lease>,
    ) -> Result<Arc<Self>> {
        let held = Held::new(channel.unknown_releases.clone(), channel.kept.clone())?;

        Arc::pin_init(
            try_pin_init!(Self {
                identity <- Identity::new(client_id, pd, held, lease),
                channel,
                frames <- Frames::new(),
                parked <- new_mutex!(KVec::new()),
                any_parked: Atomic::new(false),
                polled <- Polled::new(),
                begun: Atomic::new(false),
                queue <- new_mutex!(None),
                ending: Atomic::new(false),
                closing: Atomic::new(false),
                settled: Atomic::new(false),
                unanswered <- new_mutex!(None),
                release <- new_mutex!(None),
                ended <- Completion::new(),
                farewell <- new_work!("qda::Process::farewell"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The DSP that it is on.
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Has submissions in `queue` from now on.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: it has a queue.
    /// - [`EPIPE`]: it has ended.
    /// - [`ENOMEM`].
    pub(crate) fn set_queue(&self, queue: &Arc<Queue>) -> Result {
        let mut place = self.queue.lock();

        if place.is_some() {
            return Err(EEXIST);
        }
        // What ends the process has this before it looks for a queue.
        self.identity.lease()?;
        self.channel.dispatcher.join(queue.clone())?;
        *place = Some(queue.clone());
        Ok(())
    }

    /// The queue of its submissions, if it has one and lives.
    pub(crate) fn queue(&self) -> Option<Arc<Queue>> {
        self.queue.lock().clone()
    }

    /// A frame for a call.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn frame(&self) -> Result<Frame> {
        self.frames.get(self.polled.frame())
    }

    /// Keeps a call whose results its caller has, until it is answered.
    pub(crate) fn keep_polled(&self, pending: Pending<Payload>) {
        self.polled.keep(pending);
        self.channel.trim_soon();
    }

    /// Lets go of calls that were polled, and have been answered, with their buffers.
    pub(crate) fn drop_answered(&self) -> bool {
        self.polled.drop_answered()
    }

    /// Keeps the frame of a call that is over, for another.
    pub(crate) fn keep(&self, frame: Frame) {
        if self.frames.put(frame) || self.identity.is_grown() {
            self.channel.trim_soon();
        }
    }

    /// Lets go of memory for calls, and of mappings, that were not needed since the last time.
    /// Returns whether there are some that may not be needed the next time.
    pub(crate) fn trim(&self) -> bool {
        // Until its end is confirmed the DSP may use all that it had.
        if self.is_ending() {
            return false;
        }
        let polled = self.drop_answered();
        let grown = self.identity.trim();
        let kept = self.identity.held.mappings.trim() | self.drop_deserted();

        // All are to be looked at.
        self.frames.trim() | polled | grown | kept
    }

    /// Drops parked calls whose threads have ended. Returns whether others are left.
    fn drop_deserted(&self) -> bool {
        loop {
            let mut list = self.parked.lock();
            let index = list.iter().position(|parked| parked.thread.is_exiting());
            let Some(index) = index else {
                return !list.is_empty();
            };
            let parked = list.remove(index).ok();

            // Without the lock: it may be the last that has a buffer.
            drop(list);
            drop(parked);
        }
    }

    /// Keeps a call whose thread was interrupted, until the thread comes back with it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; the call is abandoned then.
    pub(crate) fn park(&self, thread: &Task, invoke: Invoke, pending: Pending<Payload>) -> Result {
        let mut list = self.parked.lock();

        list.reserve(1, GFP_KERNEL)?;
        self.any_parked.store(true, Relaxed);
        self.channel.trim_soon();
        list.push(
            Parked {
                thread: thread.into(),
                invoke,
                pending,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// The call that `thread` was waiting for when it was interrupted, if it is this one. A thread
    /// that comes with another call has given up the one it had parked.
    pub(crate) fn unpark(&self, thread: &Task, invoke: &Invoke) -> Option<Pending<Payload>> {
        // What this thread has parked it sees.
        if !self.any_parked.load(Relaxed) {
            return None;
        }
        let mut list = self.parked.lock();

        // Threads that have ended do not come back, and their calls count.
        list.retain(|parked| !parked.thread.is_exiting());
        let index = list
            .iter()
            .position(|parked| core::ptr::eq(&*parked.thread, thread));
        let parked = index.and_then(|index| list.remove(index).ok());
        self.any_parked.store(!list.is_empty(), Relaxed);
        drop(list);
        let parked = parked?;

        if parked.invoke == *invoke {
            Some(parked.pending)
        } else {
            None
        }
    }

    /// Whether its bank has this address space.
    pub(crate) fn is_in(&self, space: &AddressSpace) -> bool {
        self.identity
            .lease()
            .is_ok_and(|lease| core::ptr::eq(&**lease.space(), space))
    }

    /// The mapping of `buffer`, made now if there is none, and kept for some time.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the process has ended, else as [`Mapped::new`].
    pub(crate) fn map(&self, buffer: &ARef<Buffer>) -> Result<Arc<Mapped>> {
        let who = &self.identity;
        // A mapping of these is right for one call.
        if who.needs_sync && sync::is_mute(buffer) {
            return self.map_anew(buffer, &who.lease()?);
        }
        let key = gem::key(buffer);
        if let Some(mapped) = who.held.mapped(key) {
            return Ok(mapped);
        }

        let lease = who.lease()?;
        let mapped = match self.channel.find_mapped(lease.space(), key) {
            Some(mapped) => mapped.share(&lease)?,
            None => self.map_anew(buffer, &lease)?,
        };
        let mapped = who.held.mappings.keep(key, mapped)?;
        self.channel.trim_soon();
        Ok(mapped)
    }

    /// Maps `buffer`, at the cost of mappings that are kept if there is no room.
    ///
    /// # Errors
    ///
    /// As [`Mapped::new`].
    pub(crate) fn map_anew(
        &self,
        buffer: &ARef<Buffer>,
        lease: &Arc<Lease>,
    ) -> Result<Arc<Mapped>> {
        let make_room = |bytes| self.channel.make_room(lease.space(), self, bytes);

        // What is large is aligned to a power of two.
        Mapped::new(buffer, lease)
            .or_else(|error| match error {
                ENOMEM if make_room(buffer.size().next_power_of_two()) => {
                    Mapped::new(buffer, lease)
                }
                other => Err(other),
            })
            .or_else(|error| match error {
                // It may be memory that is short.
                ENOMEM if self.channel.reclaim() => Mapped::new(buffer, lease),
                other => Err(other),
            })
    }

    /// Lets go of the mapping of a buffer that the client has closed.
    pub(crate) fn forget(&self, buffer: &Buffer) {
        self.drop_answered();
        self.identity.held.mappings.forget(gem::key(buffer));
    }

    /// Notes that the DSP has made the process. If it says that it has died since, see
    /// [`Process::exited`].
    pub(crate) fn begin(self: &Arc<Self>) {
        // Whichever of the two comes second sees both.
        self.begun.xchg(true, Full);
        if self.identity.dead.load(Relaxed) {
            self.clone().bury();
        }
    }

    /// The DSP says that the process has ended on its own. Nobody waits for it any more, and its
    /// end is completed in the background. Of one that it has not made yet, its answer tells more.
    pub(crate) fn exited(self: Arc<Self>) {
        self.identity.dead.xchg(true, Full);
        if self.begun.load(Relaxed) {
            self.bury();
        }
    }

    fn bury(self: Arc<Self>) {
        self.channel.calls.desert(self.identity.client_id);
        self.farewell(false);
    }

    /// Claims the right to end the process; only the first caller gets it.
    pub(crate) fn claim_end(&self) -> bool {
        if self.ending.xchg(true, Full) {
            return false;
        }
        // Clients that find no free bank are to wait for this one.
        if let Ok(lease) = self.identity.lease() {
            lease.releasing();
        }
        true
    }

    /// Whether somebody ends it.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    /// Lets go of mappings that are kept for calls to come, of at least `bytes` bytes if there are
    /// so many, unless the process is ending. Returns how many.
    pub(crate) fn evict(&self, bytes: usize) -> usize {
        if self.is_ending() {
            return 0;
        }
        self.drop_answered();
        self.identity.held.mappings.evict(bytes)
    }

    /// Leaves it to the end of the channel to end the process.
    pub(crate) fn claim_close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Whether it is left to the end of the channel to end the process.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Asks the DSP to end the process, which must not be called any more then.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] if a call is still being sent, else as [`KernelCall::send`].
    fn send_release(&self) -> Result<Pending<Payload>> {
        let (who, calls) = (&self.identity, &self.channel.calls);

        if let Some(queue) = self.queue() {
            queue.stop();
        }
        who.dead.xchg(true, Full);
        calls.recall(who.client_id);
        if !calls.wait_until_sent(who.client_id, RELEASE_TIMEOUT) {
            return Err(ETIMEDOUT);
        }
        KernelCall::Release.send(&self.channel, &self.identity)
    }

    /// Asks the DSP to end the process, when the channel is about to go.
    ///
    /// # Errors
    ///
    /// As [`Process::send_release`].
    pub(crate) fn ask_release(&self) -> Result {
        let pending = self.send_release()?;

        *self.release.lock() = Some(pending);
        Ok(())
    }

    /// Whether [`Process::ask_release`] has sent what [`Process::await_release`] waits for.
    pub(crate) fn awaits_release(&self) -> bool {
        self.release.lock().is_some()
    }

    /// Waits up to `timeout` for the answer to [`Process::ask_release`], if it was sent.
    pub(crate) fn await_release(&self, timeout: Jiffies) {
        let pending = self.release.lock().take();

        if pending.is_some_and(|pending| pending.wait_uninterruptible(timeout)) {
            self.settled.store(true, Relaxed);
        }
    }

    /// Whether it is left to the end of the channel, and the DSP, if it lives, may still run it.
    pub(crate) fn may_run(&self) -> bool {
        self.is_closing() && !self.settled.load(Relaxed)
    }

    /// Leaves to the DSP for good what it may use and nothing keeps it from.
    pub(crate) fn abandon(&self) {
        self.settled.store(true, Relaxed);
        if let Ok(lease) = self.identity.lease() {
            lease.abandon();
        }
    }

    /// Ends the process on this side. With `answered` false the DSP may still run it, and its bank
    /// stays out of use until the channel is gone.
    pub(crate) fn end(&self, answered: bool) {
        let parked = core::mem::take(&mut *self.parked.lock());
        drop(parked);
        self.polled.abandon();

        if !answered {
            if let Ok(lease) = self.identity.lease() {
                lease.mark_stuck();
                if lease.is_shared() {
                    // Nothing would keep the DSP from what somebody else gets at these addresses,
                    // which without an IOMMU are those of the memory itself: all stays where it is
                    // until the channel is gone.
                    self.claim_close();
                    self.ended.complete_all();
                    return;
                }
            }
        }
        self.identity.dead.store(true, Relaxed);
        if let Some(queue) = self.queue() {
            queue.stop();
        }
        self.channel.calls.retire(self.identity.client_id);

        self.identity.end();

        // Who waits for them may rely on the process being gone.
        let queue = self.queue.lock().take();
        if let Some(queue) = queue {
            queue.end();
        }

        self.channel.unregister(self.identity.client_id);
        self.ended.complete_all();
    }

    /// Gives up waiting for a call by the kernel; with `creates` it is the one that makes the
    /// process. [`Process::depart`] waits for its answer.
    pub(crate) fn give_up(&self, pending: Pending<Payload>, creates: bool) {
        *self.unanswered.lock() = Some(Unanswered { pending, creates });
    }

    /// Ends the process in the background, unless somebody else does already. With `wait` it
    /// returns when that is done, which the DSP can delay, but not for ever.
    pub(crate) fn farewell(self: Arc<Self>, wait: bool) {
        if self.claim_end() {
            self.depart(wait);
        }
    }

    /// As [`Process::farewell`], for whom [`Process::claim_end`] has given the right.
    pub(crate) fn depart(self: Arc<Self>, wait: bool) {
        match self.channel.calls.enqueue(self.clone()) {
            Ok(_) if wait => {
                let _ = self
                    .ended
                    .wait_for_completion_timeout(msecs_to_jiffies(RELEASE_TIMEOUT_MS + 1_000));
            }
            Ok(_) => {}
            // The channel is gone, and with it the DSP process.
            Err(this) => this.end(true),
        }
    }
}
