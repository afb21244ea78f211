// SPDX-License-Identifier: GPL-2.0

//! Stand-in for the `kernel` crate, so that the driver's pure files compile for the host as they
//! are.
//!
//! It has what those files use and no more: a file that begins to use something of the real kernel
//! is not pure any more, and its host tests stop compiling. In particular there is no `PAGE_SIZE`:
//! the protocol counts in units of 4096 bytes whatever the kernel's pages are.

pub mod alloc;
pub mod error;

/// What the driver's files import with `use kernel::prelude::*`.
pub mod prelude {
    pub use crate::alloc::{flags::*, KVVec, KVec};
    pub use crate::error::{code::*, Error, Result};
}
