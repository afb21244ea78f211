// SPDX-License-Identifier: GPL-2.0

//! What a DSP process holds: buffers under a number, see [`crate::numbers`], mappings that it
//! keeps, and calls.

use crate::{
    gem,
    mapped::Mapped,
    mappings::Mappings,
    numbers::Numbers,
    reclaim::KeptBytes, //
};
use core::ops::Deref;
use kernel::{
    dma::DataDirection,
    dma_buf::DmaBuf,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// Most calls of one process that may be outstanding at once.
pub(crate) const MAX_OUTSTANDING: u32 = 128;

/// How many more may be, of those to handles that every process has.
const MORE_STATIC: u32 = 4;

/// A use of a buffer; two are the same if they are of one memory.
pub(crate) struct Holding(pub(crate) Arc<Mapped>);

impl Holding {
    fn key(&self) -> usize {
        gem::key(self.0.buffer())
    }
}

impl PartialEq for Holding {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

/// What one DSP process holds.
#[pin_data]
pub(crate) struct Held {
    #[pin]
    numbers: Mutex<Option<Numbers<Holding>>>,
    /// Mappings of buffers between calls.
    #[pin]
    pub(crate) mappings: Mappings,
    /// Outstanding calls of the program's.
    calls: Atomic<u32>,
    /// Numbers that the DSP gave back without having got them.
    unknown: Arc<Atomic<u64>>,
}

impl Held {
    /// Nothing; `unknown` counts numbers that the DSP gives back without having got them, and
    /// `kept` what processes keep mapped.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(unknown: Arc<Atomic<u64>>, kept: KeptBytes) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                numbers <- new_mutex!(Some(Numbers::new())),
                mappings <- Mappings::new(kept),
                calls: Atomic::new(0),
                unknown,
            }),
            GFP_KERNEL,
        )
    }

    /// The part of an outstanding call of the program's, to a handle that every process has or not.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] if there are too many.
    pub(crate) fn share(self: &Arc<Self>, is_static: bool) -> Result<Share> {
        let most = MAX_OUTSTANDING + if is_static { MORE_STATIC } else { 0 };
        let before = self.calls.fetch_add(1, Relaxed);
        let share = Share {
            held: self.clone(),
            counted: true,
        };

        if before >= most {
            return Err(ENOSPC);
        }
        Ok(share)
    }

    /// The part of a call that is limited elsewhere.
    pub(crate) fn unlimited_share(self: &Arc<Self>) -> Share {
        Share {
            held: self.clone(),
            counted: false,
        }
    }

    /// Runs `f` on the numbers of the process.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the process has ended, else what `f` returns.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Numbers<Holding>) -> Result<R>) -> Result<R> {
        let mut numbers = self.numbers.lock();

        f((*numbers).as_mut().ok_or(EPIPE)?)
    }

    /// The mapping of the buffer with this key, if there is one.
    pub(crate) fn mapped(&self, key: usize) -> Option<Arc<Mapped>> {
        self.mappings.find(key).or_else(|| {
            let find = |numbers: &mut Numbers<Holding>| {
                Ok(numbers
                    .find_held(|holding| holding.key() == key)
                    .map(|holding| holding.0.clone()))
            };

            self.with(find).ok().flatten()
        })
    }

    /// The buffer that the DSP has under `number`, as it gives it back.
    fn lent(&self, number: u64) -> Option<Arc<Mapped>> {
        let number = i32::try_from(number).ok()?;
        let find = |numbers: &mut Numbers<Holding>| {
            Ok(numbers.lent(number).map(|holding| holding.0.clone()))
        };

        self.with(find).ok().flatten()
    }

    /// The dma-buf that the DSP has under `number`, if it is an import.
    pub(crate) fn lent_dma_buf(&self, number: u64) -> Option<ARef<DmaBuf>> {
        Some(self.lent(number)?.buffer().dma_buf()?.into())
    }

    /// Takes back a buffer that the DSP has given back, as the number it was lent as. The program
    /// sees what the DSP has written to it, but for imports, see [`crate::sync`]. With `heard`
    /// false nobody sees to those, and the mapping goes.
    pub(crate) fn take_back(&self, number: u64, heard: bool) {
        let lent = self.lent(number);
        let known = match i32::try_from(number) {
            Ok(number) => self.with(|numbers| Ok(numbers.take_back(number))),
            Err(_) => Err(EINVAL),
        };
        match known {
            // The buffer is dropped here, without the lock.
            Ok((true, _buffer)) => {}
            _ => {
                self.unknown.fetch_add(1, Relaxed);
            }
        }

        let Some(mapped) = lent else {
            return;
        };
        mapped.sync_for_cpu(mapped.all(), DataDirection::FromDevice);
        if !heard && mapped.buffer().is_imported() && mapped.lease().needs_sync() {
            self.mappings.forget(gem::key(mapped.buffer()));
        }
    }

    /// Undoes the loan of a number with a call that was not sent.
    pub(crate) fn withdraw(&self, number: i32) {
        let buffer = self.with(|numbers| Ok(numbers.take_back(number)));

        drop(buffer);
    }

    /// Forgets everything: the process has ended.
    pub(crate) fn end(&self) {
        let numbers = self.numbers.lock().take();

        drop(numbers);
        self.mappings.end();
    }
}

/// An outstanding call's part in what its process holds.
pub(crate) struct Share {
    held: Arc<Held>,
    counted: bool,
}

impl Deref for Share {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.counted {
            self.held.calls.fetch_sub(1, Relaxed);
        }
    }
}
