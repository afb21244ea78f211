// SPDX-License-Identifier: GPL-2.0

//! The mappings that a DSP process keeps between calls.
//!
//! A buffer is mapped when a call first passes it, and stays so while calls use it and for a short
//! time after, so that steady calls map nothing. Nobody tells when a program closes the file
//! descriptor of a buffer: what is kept goes when it was not used for some time, see
//! [`Channel::trim_soon`](crate::channel::Channel::trim_soon), and before that if addresses of the
//! bank or memory of the system are short. Where the DSP does not see the CPU's caches, an import
//! stays while a program has it mapped, see [`mod@sync`].
//!
//! Whoever uses a mapping holds it as well: it goes when the last lets go of it.

use crate::{
    kept::Kept,
    mapped::Mapped,
    reclaim::KeptBytes,
    sync, //
};
use kernel::{
    drm::gem::BaseObject,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The mappings that one DSP process keeps, by [`Buffer::key`](crate::gem::key); none once the
/// process has ended.
///
/// The lock is held for a look and for a change, never while anything is mapped or unmapped.
#[pin_data]
pub(crate) struct Mappings {
    #[pin]
    kept: Mutex<Option<Kept<Arc<Mapped>>>>,
    /// How much all processes keep.
    total: KeptBytes,
}

impl Mappings {
    /// None; `total` counts those of all processes.
    pub(crate) fn new(total: KeptBytes) -> impl PinInit<Self> {
        pin_init!(Self {
            kept <- new_mutex!(Some(Kept::new())),
            total,
        })
    }

    /// The mapping of the buffer with this key, if it is kept.
    pub(crate) fn find(&self, key: usize) -> Option<Arc<Mapped>> {
        (*self.kept.lock()).as_mut()?.find(key).cloned()
    }

    /// Keeps a mapping of the buffer with this key. Returns the one to be used, which is another if
    /// somebody else was faster.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`] once the process has ended.
    /// - [`ENOMEM`].
    pub(crate) fn keep(&self, key: usize, mapped: Arc<Mapped>) -> Result<Arc<Mapped>> {
        let bytes = mapped.buffer().size();
        // If ours is not the one, it is dropped without the lock: the guard goes first.
        let mut kept = self.kept.lock();
        let list = (*kept).as_mut().ok_or(EPIPE)?;

        if let Some(other) = list.find(key) {
            return Ok(other.clone());
        }
        list.insert(key, bytes, mapped.clone())?;
        self.total.add(bytes);
        Ok(mapped)
    }

    /// Lets go of what `take` takes, one after the other; each is dropped without the lock.
    fn drop_each(&self, mut take: impl FnMut(&mut Kept<Arc<Mapped>>) -> Option<Arc<Mapped>>) {
        loop {
            let taken = (*self.kept.lock()).as_mut().and_then(&mut take);
            let Some(mapped) = taken else {
                break;
            };

            self.let_go(mapped);
        }
    }

    /// Lets go of a mapping. To unmap an import throws away what the CPU has in its caches: that is
    /// written back before.
    fn let_go(&self, mapped: Arc<Mapped>) {
        let bytes = mapped.buffer().size();

        if mapped.lease().needs_sync() {
            // If this fails nothing else can be done for it.
            let _ = sync::clean(mapped.buffer());
        }
        drop(mapped);
        self.total.sub(bytes);
    }

    /// Lets go of the mapping of the buffer with this key.
    pub(crate) fn forget(&self, key: usize) {
        self.drop_each(|kept| kept.take(key));
    }

    /// Lets go of what was not used since the last time, unless a program may be writing to it and
    /// the CPU's caches matter. Returns whether there is something left.
    pub(crate) fn trim(&self) -> bool {
        let may_go = |mapped: &Arc<Mapped>| {
            !mapped.lease().needs_sync() || !sync::is_written(mapped.buffer())
        };

        self.drop_each(|kept| kept.take_stale(may_go));

        let mut kept = self.kept.lock();
        (*kept).as_mut().is_some_and(|kept| {
            kept.age();
            !kept.is_empty()
        })
    }

    /// Lets go of at least `bytes` bytes, those first that were used longest ago; of all, if there
    /// are not so many. Returns how many were let go.
    pub(crate) fn evict(&self, bytes: usize) -> usize {
        let mut evicted = 0;

        self.drop_each(|kept| {
            if evicted >= bytes {
                return None;
            }
            let before = kept.bytes();
            let oldest = kept.take_oldest();
            evicted += before - kept.bytes();
            oldest
        });
        evicted
    }

    /// Lets go of all, and keeps nothing any more: the process has ended.
    pub(crate) fn end(&self) {
        let kept = self.kept.lock().take();

        if let Some(mut kept) = kept {
            while let Some(mapped) = kept.take_oldest() {
                self.let_go(mapped);
            }
        }
    }
}
