// SPDX-License-Identifier: GPL-2.0

//! The heap of a DSP's static processes.
//!
//! They share it. The DSP keeps it from the first of them on, whatever becomes of that process, and
//! so is told of it once. The kernel never touches it.

use kernel::{
    new_mutex,
    prelude::*,
    remote_memory::Knows,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// A range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Address of the first byte.
    pub(crate) start: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

struct State {
    /// Whether the DSP knows that it has the heap.
    knows: Knows,
    /// Whether it is being told.
    offered: bool,
}

/// The heap of a DSP's static processes.
#[pin_data]
pub(crate) struct Heap {
    region: Option<Region>,
    #[pin]
    state: Mutex<State>,
}

impl Heap {
    /// The heap in `region`; none without it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(region: Option<Region>, knows: Knows) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                region,
                state <- new_mutex!(State {
                    knows,
                    offered: false,
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether there is one.
    pub(crate) fn exists(&self) -> bool {
        self.region.is_some()
    }

    /// Whether the DSP knows that it has the heap. It may, where it is just being told.
    pub(crate) fn knows(&self) -> Knows {
        let state = self.state.lock();

        match state.knows {
            Knows::No if state.offered => Knows::Maybe,
            knows => knows,
        }
    }

    /// What a call that makes a static process has to hand over: the heap, unless the DSP knows.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: there is no heap.
    /// - [`EBUSY`]: the DSP has not answered yet to a call that hands it over.
    pub(crate) fn offer(self: &Arc<Self>) -> Result<Option<Offer>> {
        let region = self.region.ok_or(EOPNOTSUPP)?;
        let mut state = self.state.lock();

        if state.knows == Knows::Yes {
            return Ok(None);
        }
        if state.offered {
            return Err(EBUSY);
        }
        state.offered = true;
        Ok(Some(Offer {
            heap: self.clone(),
            region,
        }))
    }
}

/// The heap, on its way to the DSP. Dropping it says that the DSP does not have it.
pub(crate) struct Offer {
    heap: Arc<Heap>,
    /// What is handed over.
    pub(crate) region: Region,
}

impl Offer {
    /// Notes that the DSP has the heap, or is to be taken to have it.
    pub(crate) fn given(self) {
        self.heap.state.lock().knows = Knows::Yes;
    }

    /// Notes that nobody can say whether the DSP has the heap.
    pub(crate) fn lost(self) {
        self.heap.state.lock().knows = Knows::Maybe;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.heap.state.lock().offered = false;
    }
}
