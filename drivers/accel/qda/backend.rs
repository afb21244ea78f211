// SPDX-License-Identifier: GPL-2.0

//! Where the memory of buffers comes from.
//!
//! A backend is one way to allocate it. [`allocate_for`] takes the first of the table that the
//! client asked for, or, where it leaves the choice to us, the first that suits the DSP. What has
//! no memory of the size leaves it to the next.
//!
//! To add one, write a file in `backend/` that implements [`Backend`] for a unit struct of the name
//! `Source`, and add its name to the table, before those that it is to be preferred to.

use crate::{
    driver::QdaDevice,
    gem::{
        Account,
        Buffer, //
    },
};
use kernel::{
    page::page_align,
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

/// Largest buffer, in bytes.
const MAX_SIZE: u64 = uapi::QDA_MAX_BUFFER_SIZE as u64;

/// Largest buffer for this DSP, in bytes: what its banks can map.
///
/// Ranges of addresses are aligned to their size, rounded up to a power of two. Address 0 is not
/// used, and the memory of calls is at the top: a half of what a bank can address is never free as
/// a whole, a quarter is.
pub(crate) fn max_size(dev: &QdaDevice) -> u64 {
    MAX_SIZE.min(dev.channel.banks.reach() / 4)
}

/// All that a client can ask for.
const KNOWN: u32 =
    uapi::QDA_BUFFER_WRITE_COMBINED | uapi::QDA_BUFFER_CACHED | uapi::QDA_BUFFER_POOL;

/// A way to allocate buffers.
pub(crate) trait Backend: Sync {
    /// The `QDA_BUFFER_*` flag by which a client asks for it, and is told that it got it.
    fn flag(&self) -> u32;

    /// Whether a client that asks for it can have it on this DSP.
    fn is_available(&self, dev: &QdaDevice) -> bool;

    /// Whether it is a good choice for this DSP, where it is available.
    fn suits(&self, dev: &QdaDevice) -> bool;

    /// Allocates a zero-filled buffer of `size` bytes, whole pages.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn allocate(&self, dev: &QdaDevice, size: usize) -> Result<ARef<Buffer>>;
}

/// Declares the backends, best first.
macro_rules! backends {
    ($($name:ident),+ $(,)?) => {
        $(mod $name;)+

        static BACKENDS: &[&dyn Backend] = &[$(&$name::Source),+];
    };
}

backends! {
    pool,
    block,
    write_combined,
    cached,
}

/// Checks what a client asks for.
///
/// # Errors
///
/// - [`EINVAL`]: `size` is 0, or `flags` is not one flag.
/// - [`E2BIG`]: `size` is above `most`.
fn check(size: u64, flags: u32, most: u64) -> Result {
    if size == 0 || flags & !KNOWN != 0 || flags.count_ones() > 1 {
        return Err(EINVAL);
    }
    if size > most {
        return Err(E2BIG);
    }
    Ok(())
}

/// Allocates a zero-filled buffer of `size` bytes, whole pages, from the backend that `flags`
/// names, or the best one for the DSP if it is 0; both have been checked. Returns the flag of the
/// one that it is from, too.
///
/// # Errors
///
/// - [`EOPNOTSUPP`]: this DSP has nothing of that kind.
/// - [`ENOMEM`].
fn allocate(dev: &QdaDevice, size: usize, flags: u32) -> Result<(ARef<Buffer>, u32)> {
    let mut error = EOPNOTSUPP;
    for backend in BACKENDS {
        let wanted = match flags {
            0 => backend.suits(dev),
            flag => backend.flag() == flag,
        };
        if !wanted || !backend.is_available(dev) {
            continue;
        }
        match backend.allocate(dev, size) {
            Ok(buffer) => return Ok((buffer, backend.flag())),
            // Another may have enough. This is how shmem says that it had no memory for an inode.
            Err(ENOSPC) => error = ENOMEM,
            Err(other) => error = other,
        }
    }
    Err(error)
}

/// Allocates a buffer as [`allocate`] does, on `account`, which may have as much as a bank of the
/// DSP can address.
///
/// # Errors
///
/// [`ENOSPC`] if that is too much, else as [`allocate`].
pub(crate) fn allocate_for(
    account: &Account,
    dev: &QdaDevice,
    size: u64,
    flags: u32,
) -> Result<(ARef<Buffer>, u32)> {
    let most = max_size(dev);
    check(size, flags, most)?;
    let size = page_align(size as usize).ok_or(E2BIG)?;
    let charge = account.charge(size as u64, dev.channel.banks.reach())?;

    let (buffer, flag) = allocate(dev, size, flags)?;
    *buffer.charge.lock() = Some(charge);
    Ok((buffer, flag))
}
