// SPDX-License-Identifier: GPL-2.0

//! Giving back what processes keep only for their next calls, when the system is short of memory.
//!
//! Letting go of a mapping takes reservation locks, which others hold while they allocate: whoever
//! is in the middle of an allocation can't do that. A work item does, and the allocation goes on
//! trying; before a process is killed for memory, the work item is waited for.

use crate::channel::Channel;
use kernel::{
    dma_buf,
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

/// How long is waited for memory, in milliseconds.
const WAIT_MS: u32 = 500;

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
        this.evict_all();
        // The memory of a dma-buf goes with its file, which this thread leaves to others.
        dma_buf::flush_put();
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

impl Channel {
    /// Has what is kept given back, soon. Returns whether that is news.
    fn begin_reclaim(self: &Arc<Self>) -> bool {
        if self.reclaiming.wanted.xchg(true, Full) {
            return false;
        }

        self.reclaiming.done.reinit();
        // With the queue everything goes.
        self.calls.enqueue::<_, RECLAIM>(self.clone()).is_ok()
    }

    /// Has what is kept given back, and waits for it, but not for ever. Returns whether it was.
    pub(crate) fn reclaim(self: &Arc<Self>) -> bool {
        self.begin_reclaim();
        let timeout = msecs_to_jiffies(WAIT_MS);

        self.reclaiming.done.wait_for_completion_timeout(timeout)
    }
}

/// Whom the kernel asks for memory.
struct Reclaimer(Arc<Channel>);

impl Reclaimer {
    fn pages(&self) -> usize {
        self.0.kept.0.load(Relaxed) / PAGE_SIZE
    }
}

impl shrinker::Shrink for Reclaimer {
    fn count(&self) -> usize {
        self.pages()
    }

    fn scan(&self, wanted: usize) -> Option<usize> {
        let pages = self.pages();

        // What is under way is not promised twice.
        self.0.begin_reclaim().then(|| pages.min(wanted))
    }
}

impl oom::Notify for Reclaimer {
    fn out_of_memory(&self) -> usize {
        let Self(channel) = self;
        let before = self.pages();
        // What is being given back is counted no more, or is about to be.
        if before == 0 && !channel.reclaiming.wanted.load(Relaxed) {
            return 0;
        }

        match channel.reclaim() {
            true => before.saturating_sub(self.pages()).max(1),
            false => 0,
        }
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
