// SPDX-License-Identifier: GPL-2.0

//! Huge pages for the memory of GEM objects.
//!
//! Objects have their memory in tmpfs. By default that is the kernel's own mount, which has huge
//! pages only where an administrator asks for them (`shmem_enabled`). A driver may have a mount of
//! its own that has them in any case: objects are then allocated, mapped for the CPU and mapped for
//! devices with a fraction of the work.

use crate::{
    bindings,
    drm::{
        Driver,
        UnregisteredDevice, //
    },
    error::to_result,
    prelude::*, //
};

/// Which objects get huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// All of them. The end of an object wastes up to a huge page.
    Always,
    /// Those parts of objects that are as large as the page. No memory is wasted.
    WithinSize,
}

impl HugePages {
    /// The value of tmpfs's mount option `huge`.
    const fn option(self) -> &'static CStr {
        match self {
            Self::Always => c"always",
            Self::WithinSize => c"within_size",
        }
    }
}

impl<T: Driver> UnregisteredDevice<T> {
    /// Has the objects of this device that are created from now on in huge pages, where there are
    /// any: else in smaller ones, as before. It lasts for the life of the device.
    ///
    /// Without `CONFIG_TRANSPARENT_HUGEPAGE` this does nothing.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if memory runs out.
    /// - Any error of mounting a tmpfs.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     drm::{
    ///         gem::HugePages,
    ///         Driver,
    ///         UnregisteredDevice, //
    ///     },
    ///     prelude::*, //
    /// };
    ///
    /// fn prepare<T: Driver>(drm: &UnregisteredDevice<T>) {
    ///     if let Err(error) = drm.use_huge_pages(HugePages::WithinSize) {
    ///         pr_warn!("no huge pages: {:?}\n", error);
    ///     }
    /// }
    /// ```
    pub fn use_huge_pages(&self, which: HugePages) -> Result {
        // SAFETY: The device is valid. It is not registered and `self` can't be shared with other
        // threads, so that nobody else does this; objects take the mount that they find.
        to_result(unsafe {
            bindings::drm_gem_huge_mnt_create(self.as_raw(), which.option().as_char_ptr())
        })
    }
}
