// SPDX-License-Identifier: GPL-2.0

//! What a DSP process holds: buffers under a number, see [`crate::numbers`], and calls.

use crate::{
    numbers::Numbers,
    space::Mapped, //
};
use core::ops::Deref;
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

/// Most calls of one process that may be outstanding at once.
pub(crate) const MAX_OUTSTANDING: u32 = 128;

/// How many more may be, of those to handles that every process has.
const MORE_STATIC: u32 = 4;

/// A use of a buffer; two are the same if they are of one buffer.
pub(crate) struct Holding(pub(crate) Arc<Mapped>);

impl PartialEq for Holding {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(&**self.0.buffer(), &**other.0.buffer())
    }
}

/// What one DSP process holds.
#[pin_data]
pub(crate) struct Held {
    #[pin]
    numbers: Mutex<Option<Numbers<Holding>>>,
    /// Outstanding calls of the program's.
    calls: Atomic<u32>,
    /// Numbers that the DSP gave back without having got them.
    unknown: Arc<Atomic<u64>>,
}

impl Held {
    /// Nothing; `unknown` counts numbers that the DSP gives back without having got them.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(unknown: Arc<Atomic<u64>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                numbers <- new_mutex!(Some(Numbers::new())),
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

    /// Takes back a buffer that the DSP has given back, as the number it was lent as.
    pub(crate) fn take_back(&self, number: u64) {
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
