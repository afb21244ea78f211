// SPDX-License-Identifier: GPL-2.0

//! Buffers: GEM objects that own their memory. Where it comes from is in [`crate::backend`].

use crate::{
    driver::{
        QdaDevice,
        QdaDriver, //
    },
    file::QdaFile, //
};
use kernel::{
    dma_buf::DmaBuf,
    drm::gem::{
        self,
        shmem, //
    },
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

/// How many bytes of buffers one client has.
#[derive(Clone)]
pub(crate) struct Account(Arc<Atomic<u64>>);

impl Account {
    /// An account of nothing.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Atomic::new(0), GFP_KERNEL)?))
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds `bytes`, unless that makes more than `limit`.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`].
    pub(crate) fn charge(&self, bytes: u64, limit: u64) -> Result<Charge> {
        let before = self.0.fetch_add(bytes, Relaxed);
        let charge = Charge {
            account: self.clone(),
            bytes,
        };

        // `bytes` is small enough for nothing to overflow.
        if before + bytes > limit {
            return Err(ENOSPC);
        }
        Ok(charge)
    }
}

/// Bytes on an account, taken off when this is dropped.
pub(crate) struct Charge {
    account: Account,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// Driver part of a buffer.
#[pin_data]
pub(crate) struct BufferData {
    /// Whether the CPU has nothing of it in its caches.
    pub(crate) write_combined: bool,
    /// Who pays for it, of those that allocated it by an ioctl.
    #[pin]
    pub(crate) charge: Mutex<Option<Charge>>,
}

impl BufferData {
    fn init(write_combined: bool) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            write_combined,
            charge <- new_mutex!(None),
        })
    }
}

/// A buffer.
pub(crate) type Buffer = shmem::Object<BufferData>;

impl gem::DriverObject for BufferData {
    type Driver = QdaDriver;
    /// Whether it is write-combined.
    type Args = bool;

    fn new(_dev: &QdaDevice, _size: usize, write_combined: bool) -> impl PinInit<Self, Error> {
        Self::init(write_combined)
    }

    fn new_imported(_dev: &QdaDevice, _size: usize) -> impl PinInit<Self, Error> {
        Self::init(false)
    }

    fn prepare_cpu_map(buffer: &Buffer) -> Result {
        if !buffer.write_combined || buffer.is_clean() {
            return Ok(());
        }
        let banks = &buffer.dev().channel.banks;

        banks.with_incoherent(|space| buffer.clean(space.as_ref()))
    }

    fn reclaim(buffer: &Buffer) {
        buffer.dev().channel.reclaim();
    }

    fn close(buffer: &Buffer, file: &gem::DriverFile<Self>) {
        QdaFile::session(file).forget(buffer);
    }
}

/// What tells one memory from another: the same for all objects that stand for one dma-buf. Good
/// for as long as one of them is held.
pub(crate) fn key(buffer: &Buffer) -> usize {
    match buffer.dma_buf() {
        Some(dma_buf) => key_of(dma_buf),
        None => core::ptr::from_ref(buffer).addr(),
    }
}

/// The [`key`] of objects that stand for `dma_buf`, which comes from elsewhere.
pub(crate) fn key_of(dma_buf: &DmaBuf) -> usize {
    core::ptr::from_ref(dma_buf).addr()
}
