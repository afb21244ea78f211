// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory, for banks that are not behind an IOMMU: of the region that the device tree
//! reserves for the DSP, where it does.

use super::Backend;
use crate::{
    driver::QdaDevice,
    gem::{
        Buffer,
        BufferData, //
    },
};
use kernel::{
    drm::gem::shmem::Object,
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

/// The backend.
pub(super) struct Source;

impl Backend for Source {
    fn flag(&self) -> u32 {
        uapi::QDA_BUFFER_POOL
    }

    fn is_available(&self, dev: &QdaDevice) -> bool {
        dev.channel.region.is_some()
    }

    fn suits(&self, _dev: &QdaDevice) -> bool {
        true
    }

    fn allocate(&self, dev: &QdaDevice, size: usize) -> Result<ARef<Buffer>> {
        let region = dev.channel.region.as_ref().ok_or(EOPNOTSUPP)?;

        Object::<BufferData>::new_coherent(dev, size, region.space.clone(), region.has_pages, false)
    }
}
