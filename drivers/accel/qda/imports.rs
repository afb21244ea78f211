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
const MAX_IMPORTS: usize = 1024;

struct Import {
    dma_buf: ARef<DmaBuf>,
    buffer: ARef<Buffer>,
}

impl Import {
    /// Whether only we have it: the object has one reference, and this another.
    fn is_forsaken(&self) -> bool {
        self.dma_buf.references() <= 2
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
        let mut list = self.list.lock();

        let known = list
            .iter()
            .find(|import| core::ptr::eq(&*import.dma_buf, &*dma_buf));
        if let Some(import) = known {
            return Ok(import.buffer.clone());
        }

        let mut forsaken = KVec::new();
        while let Some(index) = list.iter().position(Import::is_forsaken) {
            forsaken.reserve(1, GFP_KERNEL)?;
            if let Ok(import) = list.remove(index) {
                forsaken.push(import, GFP_KERNEL)?;
            }
        }

        let buffer = Buffer::import(dev, &dma_buf)?;
        // One of the device's own is kept by whoever has its dma-buf or a handle.
        if buffer.is_imported() {
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
        }
        drop(list);

        for import in forsaken.iter() {
            forget(&import.buffer);
        }
        Ok(buffer)
    }
}
