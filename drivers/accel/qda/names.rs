// SPDX-License-Identifier: GPL-2.0

//! Finding the buffers that a program names, and the places in them.

use crate::{
    driver::QdaDevice,
    gem::{
        self,
        Buffer, //
    },
    session::Session, //
};
use kernel::{
    dma_buf::DmaBuf,
    drm::gem::BaseObject,
    prelude::*,
    sync::aref::ARef, //
};

/// How a front end finds the buffers that a program names by a number.
///
/// Older programs pass GEM handles and file descriptors of dma-bufs in the same place.
pub(crate) trait Names {
    /// The buffer with this GEM handle.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if there is none.
    fn handle(&self, handle: u32) -> Result<ARef<Buffer>>;

    /// The buffer behind this file descriptor.
    ///
    /// # Errors
    ///
    /// Those of [`by_fd`].
    fn fd(&self, fd: i32) -> Result<ARef<Buffer>>;
}

/// The buffer behind the caller's file descriptor `fd`: the one that `session` has mapped, if it
/// has, else an import that lasts as long as it is used.
///
/// # Errors
///
/// - [`EBADF`]: it is not open.
/// - [`EINVAL`]: it is not a dma-buf, or one that does not consist of whole pages.
/// - [`ENOMEM`], and whatever the exporter reports.
pub(crate) fn by_fd(dev: &QdaDevice, session: &Session, fd: i32) -> Result<ARef<Buffer>> {
    let dma_buf = DmaBuf::from_fd(fd)?;
    if let Some(buffer) = Buffer::exported(dev, &dma_buf) {
        return Ok(buffer);
    }

    let process = session.process();
    let key = gem::key_of(&dma_buf);
    match process.map(|process| process.identity.held.mapped(key)) {
        Ok(Some(mapped)) => Ok(mapped.buffer().into()),
        _ => Buffer::import(dev, &dma_buf),
    }
}

/// Whether it says no more than that a number is not one of a dma-buf.
fn is_no_buffer(error: Error) -> bool {
    matches!(error, EBADF | EINVAL | ENOENT)
}

/// The buffer that `number` means and that the program has mapped at `ptr`, and the offset in it.
///
/// # Errors
///
/// - [`ENOENT`]: the number means no buffer.
/// - those of [`offset_in`], and of [`by_fd`] for a number that is one of a dma-buf.
pub(crate) fn buffer_at(
    names: &impl Names,
    number: u32,
    ptr: u64,
    len: u64,
) -> Result<(ARef<Buffer>, u64)> {
    let by_handle = names.handle(number).and_then(|buffer| {
        let offset = offset_in(&buffer, ptr, len)?;
        Ok((buffer, offset))
    });
    let error = match by_handle {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };

    let by_fd = i32::try_from(number)
        .map_err(|_| ENOENT)
        .and_then(|fd| names.fd(fd));
    let buffer = match by_fd {
        Ok(buffer) => buffer,
        Err(no_buffer) if is_no_buffer(no_buffer) => return Err(error),
        Err(other) => return Err(other),
    };
    match offset_in(&buffer, ptr, len) {
        Ok(offset) => Ok((buffer, offset)),
        // A handle comes first, also where it does not fit.
        Err(_) if error != ENOENT => Err(error),
        Err(error) => Err(error),
    }
}

/// The buffer that `number` means where there is no address to tell.
///
/// # Errors
///
/// [`ENOENT`] if it means none, else as [`by_fd`].
pub(crate) fn buffer_named(names: &impl Names, number: u32) -> Result<ARef<Buffer>> {
    match names.handle(number) {
        Err(ENOENT) => names.fd(i32::try_from(number).map_err(|_| ENOENT)?),
        other => other,
    }
}

/// Offset in `buffer` of the `len` bytes at the user's address `ptr`.
///
/// # Errors
///
/// - [`EFAULT`]: no buffer is mapped there.
/// - [`EINVAL`]: another is, or the bytes reach past the end of this one.
fn offset_in(buffer: &Buffer, ptr: u64, len: u64) -> Result<u64> {
    let offset = buffer.vma_offset(usize::try_from(ptr).map_err(|_| EFAULT)?)? as u64;

    checked(buffer, offset, len)
}

/// `offset`, if `buffer` has `len` bytes from there on.
///
/// # Errors
///
/// [`EINVAL`] if it has not.
pub(crate) fn checked(buffer: &Buffer, offset: u64, len: u64) -> Result<u64> {
    let end = offset.checked_add(len).ok_or(EINVAL)?;

    if end > buffer.size() as u64 {
        return Err(EINVAL);
    }
    Ok(offset)
}
