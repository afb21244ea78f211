// SPDX-License-Identifier: GPL-2.0

//! Error numbers.

use crate::alloc::AllocError;

/// A kernel error: a negative error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(i32);

impl Error {
    /// The error number, negative.
    pub fn to_errno(self) -> i32 {
        self.0
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

/// Result of what can fail with an [`Error`].
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// The errors, by their C names, with the numbers of arm64.
pub mod code {
    use super::Error;

    /// No such file or directory.
    pub const ENOENT: Error = Error(-2);
    /// Argument list too long.
    pub const E2BIG: Error = Error(-7);
    /// Try again.
    pub const EAGAIN: Error = Error(-11);
    /// Out of memory.
    pub const ENOMEM: Error = Error(-12);
    /// Device or resource busy.
    pub const EBUSY: Error = Error(-16);
    /// File exists.
    pub const EEXIST: Error = Error(-17);
    /// No such device.
    pub const ENODEV: Error = Error(-19);
    /// Invalid argument.
    pub const EINVAL: Error = Error(-22);
    /// No space left.
    pub const ENOSPC: Error = Error(-28);
    /// Broken pipe.
    pub const EPIPE: Error = Error(-32);
    /// Transport endpoint is not connected.
    pub const ENOTCONN: Error = Error(-107);
    /// Remote I/O error.
    pub const EREMOTEIO: Error = Error(-121);
}
