// SPDX-License-Identifier: GPL-2.0

//! The seats that open files have in banks before they have a DSP process.
//!
//! A program that can open a node expects that there is room for it, for as long as it has the
//! file. A seat is a lease, and what a lease is of must not outlive the channel: the end of the
//! channel takes them all.

use crate::bank::Lease;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The seat of one file.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

struct Inner {
    open: bool,
    last: u64,
    leases: KVec<(u64, Arc<Lease>)>,
}

/// The seats of all open files of one DSP.
#[pin_data]
pub(crate) struct Seats {
    #[pin]
    inner: Mutex<Inner>,
}

impl Seats {
    /// No seats.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(Inner {
                    open: true,
                    last: 0,
                    leases: KVec::new(),
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Keeps `lease` until the seat is dropped, or the channel ends.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`]: the channel has ended.
    /// - [`ENOMEM`].
    pub(crate) fn take(self: &Arc<Self>, lease: Arc<Lease>) -> Result<Seat> {
        let mut inner = self.inner.lock();
        if !inner.open {
            return Err(ENODEV);
        }
        inner.leases.reserve(1, GFP_KERNEL)?;
        let number = inner.last + 1;

        inner.last = number;
        inner.leases.push((number, lease), GFP_KERNEL)?;
        Ok(Seat {
            seats: self.clone(),
            number,
        })
    }

    /// Takes all seats back, for the end of the channel.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.open = false;
        let leases = core::mem::take(&mut inner.leases);
        drop(inner);

        drop(leases);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.inner.lock();
        let index = inner
            .leases
            .iter()
            .position(|(number, _)| *number == self.number);
        let lease = index.and_then(|index| inner.leases.remove(index).ok());
        drop(inner);

        drop(lease);
    }
}
