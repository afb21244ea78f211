// SPDX-License-Identifier: GPL-2.0

//! One DSP: its channel, its banks and its DSP processes.

use crate::{
    attributes::Attributes,
    bank::{
        AddressSpace,
        Lease,
        Pool, //
    },
    call::{
        Calls,
        Host, //
    },
    dispatch::{
        Dispatcher,
        DISPATCH, //
    },
    domain::Domain,
    heap::Heap,
    mapped::Mapped,
    payload::Payload,
    process::Process,
    proto::ProtectionDomain,
    reclaim::{
        KeptBytes,
        Reclaiming,
        RECLAIM, //
    },
    region::Region,
    transport::Transport, //
};
use core::ops::Deref;
use kernel::{
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    rbtree::RBTree,
    rpmsg,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Completion,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// How long memory of calls, and mappings of buffers, are kept that no call needs; twice as long at
/// most. In milliseconds.
const TRIM_INTERVAL_MS: u32 = 200;

/// How long threads of the DSP are kept that no submission needs; twice as long at most. In
/// milliseconds.
const THREADS_INTERVAL_MS: u32 = 400;

/// Which work item of a channel ends them.
const THREADS: u64 = 2;

/// How long ending all DSP processes may take when the channel goes, in milliseconds.
const CLOSE_TIMEOUT_MS: u32 = 2_000;

struct Registry {
    last_id: i32,
    processes: RBTree<i32, Arc<Process>>,
}

/// What there is to know of a DSP before it was asked anything.
pub(crate) struct Traits {
    /// Its name, shorter than `QDA_NAME_LEN`.
    pub(crate) name: CString,
    /// Which sort it is.
    pub(crate) domain: Domain,
    /// Whether the device tree says that anybody may do anything.
    pub(crate) non_secure: bool,
    /// Whether it can write the poll words of calls.
    pub(crate) polls: bool,
}

/// One DSP.
#[pin_data]
pub(crate) struct Channel {
    traits: Traits,
    /// What it has said about itself.
    #[pin]
    pub(crate) attributes: Attributes,
    /// What its static processes share.
    pub(crate) heap: Arc<Heap>,
    /// Outstanding calls.
    pub(crate) calls: Arc<Calls<Payload>>,
    /// Way to the DSP.
    pub(crate) transport: KBox<dyn Transport>,
    /// Context banks.
    pub(crate) banks: Arc<Pool>,
    /// Contiguous memory, if a bank needs it.
    pub(crate) region: Option<Region>,
    /// Buffer numbers that the DSP gave back without having got them.
    pub(crate) unknown_releases: Arc<Atomic<u64>>,
    #[pin]
    registry: Mutex<Registry>,
    trimming: Atomic<bool>,
    #[pin]
    closing: Completion,
    #[pin]
    trimmer: Work<Channel>,
    ending_threads: Atomic<bool>,
    #[pin]
    ender: Work<Channel, THREADS>,
    /// How much processes keep mapped.
    pub(crate) kept: KeptBytes,
    /// Whether they are giving it back.
    #[pin]
    pub(crate) reclaiming: Reclaiming,
    #[pin]
    reclaimer: Work<Channel, RECLAIM>,
    /// Submissions.
    #[pin]
    pub(crate) dispatcher: Dispatcher,
    #[pin]
    dispatching: Work<Channel, DISPATCH>,
}

impl_has_work! {
    impl HasWork<Self> for Channel { self.trimmer }
    impl HasWork<Self, THREADS> for Channel { self.ender }
    impl HasWork<Self, RECLAIM> for Channel { self.reclaimer }
    impl HasWork<Self, DISPATCH> for Channel { self.dispatching }
}

impl WorkItem for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.every(TRIM_INTERVAL_MS, &this.trimming, Self::trim);
    }
}

impl WorkItem<THREADS> for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // The DSP may take its time: nothing else waits for this.
        this.every(THREADS_INTERVAL_MS, &this.ending_threads, Self::end_threads);
    }
}

impl Channel {
    /// A channel to a DSP, which has to be [`shut_down`](Channel::shut_down).
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        traits: Traits,
        calls: Arc<Calls<Payload>>,
        transport: KBox<dyn Transport>,
        banks: Arc<Pool>,
        region: Option<Region>,
        heap: Arc<Heap>,
    ) -> Result<Arc<Self>> {
        let unknown_releases = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let kept = KeptBytes::new()?;

        let channel = Arc::pin_init(
            pin_init!(Self {
                traits,
                attributes <- Attributes::new(),
                heap,
                calls,
                transport,
                banks,
                region,
                unknown_releases,
                registry <- new_mutex!(Registry {
                    last_id: 0,
                    processes: RBTree::new(),
                }),
                trimming: Atomic::new(false),
                closing <- Completion::new(),
                trimmer <- new_work!("qda::Channel::trimmer"),
                ending_threads: Atomic::new(false),
                ender <- new_work!("qda::Channel::ender"),
                kept,
                reclaiming <- Reclaiming::new(),
                reclaimer <- new_work!("qda::Channel::reclaimer"),
                dispatcher <- Dispatcher::new(),
                dispatching <- new_work!("qda::Channel::dispatching"),
            }),
            GFP_KERNEL,
        )?;
        channel.calls.set_host(channel.clone());
        Ok(channel)
    }

    /// Makes a process with a number that no other of this channel has.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn register(
        self: &Arc<Self>,
        pd: ProtectionDomain,
        lease: Arc<Lease>,
    ) -> Result<Arc<Process>> {
        let mut registry = self.registry.lock();

        let mut id = registry.last_id;
        loop {
            // Positive, and below the bit that marks threads of release calls.
            id = if id >= (1 << 30) - 1 { 1 } else { id + 1 };
            if registry.processes.get(&id).is_none() {
                break;
            }
        }
        registry.last_id = id;

        // A failure drops the lease, which takes no lock of ours.
        let process = Process::new(self.clone(), id, pd, lease)?;
        registry
            .processes
            .try_create_and_insert(id, process.clone(), GFP_KERNEL)?;
        Ok(process)
    }

    /// Forgets a process that has ended.
    pub(crate) fn unregister(&self, client_id: i32) {
        let process = self.registry.lock().processes.remove(&client_id);
        drop(process);
    }

    /// Calls `f` now and then, until there is nothing more to do for it, or the channel ends. Who
    /// finds something to do sets `flag`, and begins this if it was not set.
    fn every(&self, interval_ms: u32, flag: &Atomic<bool>, f: impl Fn(&Self) -> bool) {
        let interval = msecs_to_jiffies(interval_ms);

        // A timer could not be waited for at the end of the queue; this sleep can, and ends then.
        while !self.closing.wait_for_completion_timeout(interval) {
            // Before the look, so that what comes after it finds the work to do again.
            flag.xchg(false, Full);
            if !f(self) || flag.xchg(true, Full) {
                break;
            }
        }
    }

    /// Lets go of memory of calls, and of mappings, soon, where there are no calls to need them.
    pub(crate) fn trim_soon(self: &Arc<Self>) {
        if !self.trimming.load(Relaxed) && !self.trimming.xchg(true, Full) {
            // With the queue everything goes.
            let _ = self.calls.enqueue::<_, 0>(self.clone());
        }
    }

    /// Ends threads of the DSP, soon, where there are no submissions to need them.
    pub(crate) fn end_threads_soon(self: &Arc<Self>) {
        if !self.ending_threads.load(Relaxed) && !self.ending_threads.xchg(true, Full) {
            // With the queue everything goes.
            let _ = self.calls.enqueue::<_, THREADS>(self.clone());
        }
    }

    /// Runs `f` on all processes, one after the other, without the lock of the registry.
    fn for_each(&self, mut f: impl FnMut(&Process)) {
        let mut last = 0;

        while let Some(process) = self.find(|process| process.identity.client_id > last) {
            last = process.identity.client_id;
            f(&process);
        }
    }

    fn trim(&self) -> bool {
        let mut more = false;

        self.for_each(|process| more |= process.trim());
        more
    }

    /// Lets go of all mappings that are kept for calls to come.
    pub(crate) fn evict_all(&self) {
        self.for_each(|process| {
            process.evict(usize::MAX);
        });
    }

    /// A mapping in `space` that a process has of the buffer with this key, if there is one.
    pub(crate) fn find_mapped(&self, space: &AddressSpace, key: usize) -> Option<Arc<Mapped>> {
        let mut found = None;

        self.for_each(|process| {
            if found.is_none() && process.is_in(space) {
                found = process.identity.held.mapped(key);
            }
        });
        found
    }

    /// Lets go of mappings in `space`, of at least `bytes` bytes if there are so many, those of
    /// `first` first. Returns whether there were some.
    pub(crate) fn make_room(&self, space: &AddressSpace, first: &Process, bytes: usize) -> bool {
        let mut evicted = first.evict(bytes);

        self.for_each(|process| {
            if evicted < bytes && process.is_in(space) {
                evicted += process.evict(bytes - evicted);
            }
        });
        evicted > 0
    }

    /// Ends threads of the DSP that no submission needs. Returns whether there may be more of them
    /// the next time.
    fn end_threads(&self) -> bool {
        let mut more = false;

        self.for_each(|process| {
            if let Some(queue) = process.queue() {
                more |= queue.end_threads();
            }
        });
        more
    }

    /// The first process for which `wanted` holds.
    fn find(&self, wanted: impl Fn(&Process) -> bool) -> Option<Arc<Process>> {
        let registry = self.registry.lock();
        let process = registry.processes.values().find(|process| wanted(process));

        process.cloned()
    }

    fn ask_release(&self, process: &Process) -> Result {
        match process.ask_release() {
            // Those that were asked have the last slots.
            Err(ENOSPC) => {
                self.await_releases();
                process.ask_release()
            }
            asked => asked,
        }
    }

    /// Waits for the answers to [`Process::ask_release`].
    fn await_releases(&self) {
        let start = Instant::<Monotonic>::now();

        while let Some(process) = self.find(Process::awaits_release) {
            let spent = start.elapsed().as_millis();
            let left = u32::try_from(i64::from(CLOSE_TIMEOUT_MS) - spent).unwrap_or(0);

            process.await_release(msecs_to_jiffies(left));
        }
    }

    /// Ends all that goes on: takes no more calls, ends every DSP process if the DSP still lives,
    /// and wakes all who wait. Afterwards only callers that are just returning hold anything.
    pub(crate) fn shut_down(&self) {
        self.calls.begin_close();
        self.closing.complete_all();

        // All are asked before any is waited for, so that they end side by side.
        let mut asked = Ok(());
        while let Some(process) = self.find(Process::claim_end) {
            process.claim_close();
            // That one cannot be asked says nothing about the others, unless it is the DSP's fault.
            if !matches!(asked, Err(EPIPE | ETIMEDOUT)) {
                asked = self.ask_release(&process);
            }
        }
        self.await_releases();
        // A DSP that has gone uses nothing. Of one that no process could be asked about it is not
        // known.
        if asked != Err(EPIPE) {
            while let Some(process) = self.find(Process::may_run) {
                process.abandon();
            }
        }

        self.transport.close();
        self.calls.finish_close();
        while let Some(process) = self.find(Process::is_closing) {
            process.end(true);
        }
        // Processes that were ending already let go of their buffers here, which must not outlive
        // the accel device.
        self.calls.drain();
    }
}

impl Host for Channel {
    fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    fn exited(&self, client_id: i32) {
        let process = self.registry.lock().processes.get(&client_id).cloned();

        if let Some(process) = process {
            process.exited();
        }
    }
}

impl Deref for Channel {
    type Target = Traits;

    fn deref(&self) -> &Traits {
        &self.traits
    }
}

/// The driver's hold on a channel; dropping it ends the channel.
///
/// Must be dropped after the accel device was unplugged, when no ioctl can map anything any more.
pub(crate) struct Owner(pub(crate) Arc<Channel>);

impl Drop for Owner {
    fn drop(&mut self) {
        let channel = &self.0;

        channel.shut_down();
        channel.banks.close();

        let lost = channel.banks.lost();
        if lost != 0 {
            pr_warn!(
                "{}: {} bytes are lost: DSP processes that never ended may use them, and no IOMMU is before them\n",
                &*channel.name,
                lost
            );
        }
        let exits = channel.calls.exits();
        if exits != 0 {
            pr_info!(
                "{}: {} protection domains ended on their own\n",
                &*channel.name,
                exits
            );
        }
        let ignored = channel.calls.ignored();
        let unknown = channel.unknown_releases.load(Relaxed);
        if ignored != 0 || unknown != 0 {
            pr_info!(
                "{}: ignored {} messages that answered no call, and the release of {} buffers that the DSP did not have\n",
                &*channel.name,
                ignored,
                unknown
            );
        }
    }
}

/// Takes messages of the DSP, in hard-interrupt context.
pub(crate) struct Receiver(pub(crate) Arc<Calls<Payload>>);

impl rpmsg::Receiver for Receiver {
    fn receive(&self, message: &[u8], _source: u32) {
        self.0.received(message);
    }
}
