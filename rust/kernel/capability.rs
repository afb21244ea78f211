// SPDX-License-Identifier: GPL-2.0

//! Capabilities of tasks.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::{
    bindings,
    prelude::*, //
};

/// A capability, as in capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(c_int);

impl Capability {
    /// System administration, and whatever has no capability of its own.
    pub const SYS_ADMIN: Self = Self(bindings::CAP_SYS_ADMIN as c_int);

    /// Raw access to hardware.
    pub const SYS_RAWIO: Self = Self(bindings::CAP_SYS_RAWIO as c_int);

    /// Priorities and scheduling of other tasks.
    pub const SYS_NICE: Self = Self(bindings::CAP_SYS_NICE as c_int);
}

/// Returns whether the current task has `cap` in the initial user namespace.
///
/// To be asked only where the answer decides, since a "yes" is noted as use of the privilege and a
/// "no" may be audited. The caller must be in process context.
///
/// # Examples
///
/// ```
/// use kernel::capability::{
///     capable,
///     Capability, //
/// };
///
/// fn reset() -> Result {
///     if !capable(Capability::SYS_ADMIN) {
///         return Err(EPERM);
///     }
///
///     Ok(())
/// }
///
/// // Kernel threads have all capabilities.
/// reset()?;
/// # Ok::<(), Error>(())
/// ```
#[inline]
pub fn capable(cap: Capability) -> bool {
    // SAFETY: `cap` is a valid capability, of which `Capability` has no other.
    unsafe { bindings::capable(cap.0) }
}
