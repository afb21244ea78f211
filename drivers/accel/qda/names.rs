// SPDX-License-Identifier: GPL-2.0

//! Finding the buffers that a program names, and the places in them.

use crate::gem::Buffer;
use kernel::{
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
    /// [`ENOENT`] if it is not one of a dma-buf, else as
    /// [`Imports::get`](crate::imports::Imports::get).
    fn fd(&self, fd: i32) -> Result<ARef<Buffer>>;
}

/// The buffer that `number` means and that the program has mapped at `ptr`, and the offset in it.
///
/// # Errors
///
/// - [`ENOENT`]: the number means no buffer.
/// - [`ENOMEM`]: out of memory.
/// - those of [`offset_in`].
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
        // It is one, which may be had the next time.
        Err(ENOMEM) => return Err(ENOMEM),
        Err(_) => return Err(error),
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
/// [`ENOENT`]: none.
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
