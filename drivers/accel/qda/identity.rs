// SPDX-License-Identifier: GPL-2.0

//! Who a DSP process is, and what it has of its bank.

use crate::{
    arena::CallMemory,
    bank::Lease,
    held::Held,
    proto::{
        ProtectionDomain,
        DSP_PAGE_SIZE, //
    },
    space::Space, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The names by which the DSP knows a process, and its address space.
#[pin_data]
pub(crate) struct Identity {
    /// Number of the process on its channel; not 0.
    pub(crate) client_id: i32,
    /// Kind of protection domain.
    pub(crate) pd: ProtectionDomain,
    /// Buffers that the DSP has under a number.
    pub(crate) held: Arc<Held>,
    /// Whether the CPU's caches have to be synchronised with what the DSP accesses.
    pub(crate) needs_sync: bool,
    /// Whether the DSP process is no more. Calls to it are refused then, but for those that end it.
    pub(crate) dead: Atomic<bool>,
    /// Whether there is memory for calls that goes when it is not needed.
    grown: Atomic<bool>,
    #[pin]
    space: Mutex<Option<Space>>,
    /// Memory for the call that ends the process: no other call can take it away.
    #[pin]
    last: Mutex<Option<CallMemory>>,
}

impl Identity {
    /// Those of a process in the bank of `lease`.
    pub(crate) fn new(
        client_id: i32,
        pd: ProtectionDomain,
        held: Arc<Held>,
        lease: Arc<Lease>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            client_id,
            pd,
            held,
            needs_sync: lease.needs_sync(),
            dead: Atomic::new(false),
            grown: Atomic::new(false),
            space <- new_mutex!(Some(Space::new(lease))),
            last <- new_mutex!(None),
        })
    }

    /// The bank of the process.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the process has ended.
    pub(crate) fn lease(&self) -> Result<Arc<Lease>> {
        self.with_space(|space| Ok(space.lease().clone()))
    }

    /// Memory of `len` bytes for a call.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the process has ended, else as [`Arena::take`](crate::arena::Arena::take).
    pub(crate) fn call_memory(&self, len: usize) -> Result<CallMemory> {
        let take = || {
            self.with_space(|space| {
                let memory = space.call_memory(len)?;

                self.grown.store(space.arena.is_grown(), Relaxed);
                Ok(memory)
            })
        };

        // What is kept may be in the way.
        take().or_else(|error| match error {
            ENOMEM if self.held.mappings.evict(usize::MAX) > 0 => take(),
            other => Err(other),
        })
    }

    /// Puts memory by for the call that will end the process. Before any other call.
    ///
    /// # Errors
    ///
    /// As [`Identity::call_memory`].
    pub(crate) fn keep_last(&self) -> Result {
        // CAST: a small number.
        let memory = self.call_memory(DSP_PAGE_SIZE as usize)?;

        *self.last.lock() = Some(memory);
        Ok(())
    }

    /// Memory for the call that ends the process: that which was put by, if it has room for `len`
    /// bytes.
    ///
    /// # Errors
    ///
    /// As [`Identity::call_memory`].
    pub(crate) fn last_memory(&self, len: usize) -> Result<CallMemory> {
        let kept = self.last.lock().take();

        match kept {
            Some(memory) if memory.len() >= len => Ok(memory),
            _ => self.call_memory(len),
        }
    }

    /// Runs `f` on the address space of the process.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the process has ended, else what `f` returns.
    pub(crate) fn with_space<R>(&self, f: impl FnOnce(&mut Space) -> Result<R>) -> Result<R> {
        let mut space = self.space.lock();

        f((*space).as_mut().ok_or(EPIPE)?)
    }

    /// Whether there is memory for calls that goes when it is not needed.
    pub(crate) fn is_grown(&self) -> bool {
        self.grown.load(Relaxed)
    }

    /// Lets go of memory for calls that was not needed since the last time. Returns whether there
    /// is some that may not be needed the next time.
    pub(crate) fn trim(&self) -> bool {
        loop {
            let stale = self
                .with_space(|space| Ok(space.arena.take_stale()))
                .unwrap_or(None);
            if stale.is_none() {
                break;
            }
        }
        let grown = self
            .with_space(|space| {
                space.arena.age();
                Ok(space.arena.is_grown())
            })
            .unwrap_or(false);

        self.grown.store(grown, Relaxed);
        grown
    }

    /// Lets go of all that the process has, which the DSP uses no more.
    pub(crate) fn end(&self) {
        let last = self.last.lock().take();
        drop(last);
        self.held.end();
        let space = self.space.lock().take();
        drop(space);
    }
}
