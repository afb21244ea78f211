// SPDX-License-Identifier: GPL-2.0

//! Buffers: GEM objects that own their memory. Where it comes from is in [`crate::backend`].

use crate::{
    driver::{
        QdaDevice,
        QdaDriver, //
    },
    file::QdaFile,
    space::Mappings, //
};
use kernel::{
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
    /// Where the DSPs have it.
    #[pin]
    pub(crate) mappings: Mutex<Mappings>,
    /// Who pays for it, of those that allocated it by an ioctl.
    #[pin]
    pub(crate) charge: Mutex<Option<Charge>>,
}

impl BufferData {
    fn init() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            mappings <- new_mutex!(Mappings::new()),
            charge <- new_mutex!(None),
        })
    }
}

/// A buffer.
pub(crate) type Buffer = shmem::Object<BufferData>;

impl gem::DriverObject for BufferData {
    type Driver = QdaDriver;
    type Args = ();

    fn new(_dev: &QdaDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        Self::init()
    }

    fn new_imported(_dev: &QdaDevice, _size: usize) -> impl PinInit<Self, Error> {
        Self::init()
    }

    fn begin_cpu_access(buffer: &Buffer) -> Result {
        sync(buffer, true)
    }

    fn end_cpu_access(buffer: &Buffer) -> Result {
        sync(buffer, false)
    }

    fn close(buffer: &Buffer, file: &gem::DriverFile<Self>) {
        QdaFile::session(file).forget(buffer);
    }
}

/// Begins or ends accesses of the CPU to a cached buffer that DSPs have mapped.
///
/// # Errors
///
/// What the exporter of an imported buffer reports.
pub(crate) fn sync(buffer: &Buffer, begin: bool) -> Result {
    // The exporter may be another device of this driver, which must be able to take its own lock.
    if buffer.is_imported() {
        return if begin {
            buffer.begin_import_access()
        } else {
            buffer.end_import_access()
        };
    }

    for mapping in buffer.mappings.lock().iter() {
        if begin {
            mapping.begin_cpu_access();
        } else {
            mapping.end_cpu_access();
        }
    }
    Ok(())
}
