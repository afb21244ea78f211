// SPDX-License-Identifier: GPL-2.0

//! The buffers that a DSP process holds under a number, see [`crate::numbers`].

use crate::{
    numbers::Numbers,
    space::Mapped, //
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
                unknown,
            }),
            GFP_KERNEL,
        )
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
