// SPDX-License-Identifier: GPL-2.0

//! Pages that the CPU does not cache: right for every bank behind an IOMMU, and without need for
//! synchronisation.

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
        uapi::QDA_BUFFER_WRITE_COMBINED
    }

    fn is_available(&self, dev: &QdaDevice) -> bool {
        // Where the DSP sees the caches, nobody would clean them: the memory is the CPU's as well.
        !dev.channel.banks.is_coherent()
    }

    fn suits(&self, dev: &QdaDevice) -> bool {
        // A bank that does not snoop the CPU's caches must find everything in memory.
        dev.channel.banks.takes_scattered()
    }

    fn allocate(&self, dev: &QdaDevice, size: usize) -> Result<ARef<Buffer>> {
        let config = ObjectConfig {
            map_wc: true,
            ..ObjectConfig::default()
        };

        Buffer::new(dev, size, config, true)
    }
}
