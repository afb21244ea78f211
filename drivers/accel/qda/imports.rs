// SPDX-License-Identifier: GPL-2.0

//! Buffers that a client names by the file descriptor of a dma-buf.
//!
//! The object that stands for a dma-buf is kept, so that the next call finds the buffer mapped. The
//! client does not say when it closes a descriptor: objects whose dma-buf nobody else has any more
//! are dropped when the next one comes.

use crate::{
    driver::QdaDevice,
    gem::Buffer, //
};
use kernel::{
    dma_buf::DmaBuf,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    }, //
};

/// Most dma-bufs of one client that are kept.
const MAX_IMPORTS: usize = 4096;

struct Import {
    dma_buf: ARef<DmaBuf>,
    buffer: ARef<Buffer>,
}

impl Import {
    /// Whether only we have it. The object of a dma-buf that comes from elsewhere has a reference
    /// as well.
    fn is_forsaken(&self) -> bool {
        self.dma_buf.references() <= 1 + usize::from(self.buffer.is_imported())
    }
}

/// The dma-bufs of one client.
#[pin_data]
pub(crate) struct Imports {
    #[pin]
    list: Mutex<KVec<Import>>,
}

impl Imports {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!(KVec::new()),
        })
    }

    /// The buffer behind the caller's file descriptor `fd`. `forget` is called for buffers that are
    /// not kept any more.
    ///
    /// # Errors
    ///
    /// - [`EBADF`]: it is not open.
    /// - [`EINVAL`]: it is not a dma-buf, or one that does not consist of whole pages.
    /// - [`ENOSPC`]: too many are kept.
    /// - [`ENOMEM`], and whatever the exporter reports.
    pub(crate) fn get(
        &self,
        dev: &QdaDevice,
        fd: i32,
        forget: impl Fn(&Buffer),
    ) -> Result<ARef<Buffer>> {
        let dma_buf = DmaBuf::from_fd(fd)?;
        let known = |list: &[Import]| {
            list.iter()
                .find(|import| core::ptr::eq(&*import.dma_buf, &*dma_buf))
                .map(|import| import.buffer.clone())
        };
        if let Some(buffer) = known(&self.list.lock()) {
            return Ok(buffer);
        }

        self.drop_forsaken(forget);
        let mut list = self.list.lock();
        // Another thread may have come with the same meanwhile.
        if let Some(buffer) = known(&list) {
            return Ok(buffer);
        }
        let buffer = Buffer::import(dev, &dma_buf)?;
        if list.len() >= MAX_IMPORTS {
            return Err(ENOSPC);
        }
        list.push(
            Import {
                dma_buf,
                buffer: buffer.clone(),
            },
            GFP_KERNEL,
        )?;
        Ok(buffer)
    }

    /// Drops what nobody else has any more, and has `forget` drop its mappings.
    pub(crate) fn drop_forsaken(&self, forget: impl Fn(&Buffer)) {
        loop {
            let mut list = self.list.lock();
            let index = list.iter().position(Import::is_forsaken);
            let Some(Ok(import)) = index.map(|index| list.remove(index)) else {
                break;
            };
            drop(list);
            forget(&import.buffer);
        }
    }
}
