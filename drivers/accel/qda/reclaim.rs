// SPDX-License-Identifier: GPL-2.0

//! Giving back what processes keep only for their next calls, when the system is short of memory.
//!
//! Letting go of a mapping takes reservation locks, which others hold while they allocate: whoever
//! is in the middle of an allocation can't do that. A work item does, and the allocation goes on
//! trying; before a process is killed for memory, the work item is waited for.

use crate::channel::Channel;
use kernel::{
    oom,
    page::PAGE_SIZE,
    prelude::*,
    shrinker,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::msecs_to_jiffies,
    workqueue::WorkItem, //
};

/// Which work item of a channel it is.
pub(crate) const RECLAIM: u64 = 3;

/// How long the last resort may take, in milliseconds.
const OOM_TIMEOUT_MS: u32 = 500;

/// How many bytes the processes of a DSP keep.
#[derive(Clone)]
pub(crate) struct KeptBytes(Arc<Atomic<usize>>);

impl KeptBytes {
    /// None.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Atomic::new(0), GFP_KERNEL)?))
    }

    /// Notes that something is kept.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }

    /// Notes that something is kept no more.
    pub(crate) fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

impl WorkItem<RECLAIM> for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.reclaim();
        this.reclaiming.end();
    }
}

/// Whether what is kept is being given back.
#[pin_data]
pub(crate) struct Reclaiming {
    wanted: Atomic<bool>,
    #[pin]
    done: Completion,
}

impl Reclaiming {
    /// It is not.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            wanted: Atomic::new(false),
            done <- Completion::new(),
        })
    }

    fn end(&self) {
        self.wanted.xchg(false, Full);
        self.done.complete_all();
    }
}

/// Whom the kernel asks for memory.
struct Reclaimer(Arc<Channel>);

impl Reclaimer {
    fn pages(&self) -> usize {
        self.0.kept.0.load(Relaxed) / PAGE_SIZE
    }

    /// Has what is kept given back, soon. Returns whether that is news.
    fn begin(&self) -> bool {
        let Self(channel) = self;
        if channel.reclaiming.wanted.xchg(true, Full) {
            return false;
        }

        channel.reclaiming.done.reinit();
        // With the queue everything goes.
        channel.calls.enqueue::<_, RECLAIM>(channel.clone()).is_ok()
    }
}

impl shrinker::Shrink for Reclaimer {
    fn count(&self) -> usize {
        self.pages()
    }

    fn scan(&self, wanted: usize) -> Option<usize> {
        let pages = self.pages();

        // What is under way is not promised twice.
        self.begin().then(|| pages.min(wanted))
    }
}

impl oom::Notify for Reclaimer {
    fn out_of_memory(&self) -> usize {
        let before = self.pages();
        if before == 0 {
            return 0;
        }

        self.begin();
        let timeout = msecs_to_jiffies(OOM_TIMEOUT_MS);
        self.0.reclaiming.done.wait_for_completion_timeout(timeout);
        before.saturating_sub(self.pages())
    }
}

/// The registrations by which the kernel asks for memory; none asks once this is dropped.
pub(crate) struct Registrations {
    _shrinker: shrinker::Registration<Reclaimer>,
    _notifier: Pin<KBox<oom::Registration<Reclaimer>>>,
}

impl Registrations {
    /// Those of `channel`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(channel: &Arc<Channel>) -> Result<Self> {
        let reclaimer = Arc::new(Reclaimer(channel.clone()), GFP_KERNEL)?;

        Ok(Self {
            _shrinker: shrinker::Registration::new(c"qda", reclaimer.clone())?,
            _notifier: KBox::pin_init(oom::Registration::new(reclaimer), GFP_KERNEL)?,
        })
    }
}
