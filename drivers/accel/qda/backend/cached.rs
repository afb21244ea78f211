// SPDX-License-Identifier: GPL-2.0

//! Pages that the CPU caches: fast for the CPU. Where the DSP does not see its caches, accesses of
//! the CPU have to be announced, by `DRM_QDA_BUFFER_SYNC` or `DMA_BUF_IOCTL_SYNC`.

use super::Backend;
use crate::{
    driver::QdaDevice,
    gem::Buffer, //
};
use kernel::{
    drm::gem::shmem::ObjectConfig,
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

/// The backend.
pub(super) struct Source;

impl Backend for Source {
    fn flag(&self) -> u32 {
        uapi::QDA_BUFFER_CACHED
    }

    fn is_available(&self, _dev: &QdaDevice) -> bool {
        true
    }

    fn suits(&self, dev: &QdaDevice) -> bool {
        dev.channel.banks.takes_scattered() && dev.channel.banks.is_coherent()
    }

    fn allocate(&self, dev: &QdaDevice, size: usize) -> Result<ARef<Buffer>> {
        Buffer::new(dev, size, ObjectConfig::default(), false)
    }
}
