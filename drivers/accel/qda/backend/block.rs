// SPDX-License-Identifier: GPL-2.0

//! Small buffers of pages that the CPU caches, each of them one block: a file in tmpfs costs more
//! than its pages, and mapping one page for the DSP is as good as mapping many. For DSPs that see
//! the caches.

use super::Backend;
use crate::{
    driver::QdaDevice,
    gem::Buffer, //
};
use kernel::{
    prelude::*,
    sizes::SZ_64K,
    sync::aref::ARef,
    uapi, //
};

/// Largest one, in bytes. They can't be swapped out.
const MAX_SIZE: usize = SZ_64K;

/// The backend.
pub(super) struct Source;

impl Backend for Source {
    fn flag(&self) -> u32 {
        uapi::QDA_BUFFER_CACHED
    }

    fn is_available(&self, dev: &QdaDevice) -> bool {
        dev.channel.banks.is_translated() && dev.channel.banks.is_coherent()
    }

    fn suits(&self, _dev: &QdaDevice) -> bool {
        true
    }

    fn allocate(&self, dev: &QdaDevice, size: usize) -> Result<ARef<Buffer>> {
        if size > MAX_SIZE {
            return Err(ENOMEM);
        }
        Buffer::new_block(dev, size, false)
    }
}
