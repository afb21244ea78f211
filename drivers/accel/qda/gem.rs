// SPDX-License-Identifier: GPL-2.0

//! Buffers: GEM objects that own their pages.

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
    page::page_align,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    }, //
};

/// Largest buffer, in bytes.
const MAX_SIZE: u64 = kernel::uapi::QDA_MAX_BUFFER_SIZE as u64;

/// Driver part of a buffer.
#[pin_data]
pub(crate) struct BufferData {
    /// Where the DSPs have it.
    #[pin]
    pub(crate) mappings: Mutex<Mappings>,
}

impl BufferData {
    fn init() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            mappings <- new_mutex!(Mappings::new()),
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

    fn close(buffer: &Buffer, file: &gem::DriverFile<Self>) {
        QdaFile::session(file).forget(buffer);
    }
}

/// Allocates a zero-filled buffer of at least `size` bytes.
///
/// # Errors
///
/// - [`EINVAL`]: `size` is 0.
/// - [`E2BIG`]: `size` is above the limit.
/// - [`ENOMEM`].
pub(crate) fn create(dev: &QdaDevice, size: u64) -> Result<ARef<Buffer>> {
    if size == 0 {
        return Err(EINVAL);
    }
    if size > MAX_SIZE {
        return Err(E2BIG);
    }
    let size = page_align(size as usize).ok_or(E2BIG)?;

    Buffer::new(
        dev,
        size,
        shmem::ObjectConfig {
            // A bank that does not snoop the CPU's caches must find everything in memory.
            map_wc: !dev.channel.banks.is_coherent(),
            ..shmem::ObjectConfig::default()
        },
        (),
    )
}
