// SPDX-License-Identifier: GPL-2.0

//! Which sort of DSP one is. Pure code.

use kernel::prelude::*;

/// A sort of DSP. A machine may have several of one, "cdsp", "cdsp1" and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Domain {
    /// Audio.
    Adsp = 0,
    /// Modem.
    Mdsp = 1,
    /// Sensors.
    Sdsp = 2,
    /// Compute.
    Cdsp = 3,
    /// General purpose.
    Gdsp = 4,
}

impl Domain {
    /// The sort of the DSP called `name`, by which it begins.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none.
    pub(crate) fn of(name: &[u8]) -> Result<Self> {
        [
            (&b"adsp"[..], Self::Adsp),
            (b"mdsp", Self::Mdsp),
            (b"sdsp", Self::Sdsp),
            (b"cdsp", Self::Cdsp),
            (b"gdsp", Self::Gdsp),
        ]
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, domain)| domain)
        .ok_or(EINVAL)
    }

    /// Whether the DSP runs unsigned processes.
    pub(crate) fn has_unsigned(self) -> bool {
        matches!(self, Self::Cdsp | Self::Gdsp)
    }

    /// Whether memory that the device tree reserves for the DSP is its own.
    pub(crate) fn has_reserved_memory(self) -> bool {
        matches!(self, Self::Adsp | Self::Sdsp)
    }

    /// Whether buffers come from the reserved memory, where banks are not behind an IOMMU.
    pub(crate) fn has_pool(self) -> bool {
        matches!(self, Self::Sdsp)
    }

    /// Whether the DSP has static processes that begin with the reserved memory.
    pub(crate) fn has_static(self) -> bool {
        matches!(self, Self::Adsp)
    }
}
