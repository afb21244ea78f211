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

/// Sorts of DSPs, by what the names of theirs begin with.
const PREFIXES: [(&[u8], Domain); 5] = [
    (b"adsp", Domain::Adsp),
    (b"mdsp", Domain::Mdsp),
    (b"sdsp", Domain::Sdsp),
    (b"cdsp", Domain::Cdsp),
    (b"gdsp", Domain::Gdsp),
];

/// The sort of the DSP called `name`, and the rest of its name.
fn split(name: &[u8]) -> Option<(Domain, &[u8])> {
    PREFIXES
        .into_iter()
        .find_map(|(prefix, domain)| Some((domain, name.strip_prefix(prefix)?)))
}

impl Domain {
    /// The sort of the DSP called `name`, by which it begins.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none.
    pub(crate) fn of(name: &[u8]) -> Result<Self> {
        split(name).map(|(domain, _)| domain).ok_or(EINVAL)
    }

    /// Whether the DSP runs unsigned processes.
    pub(crate) fn has_unsigned(self) -> bool {
        matches!(self, Self::Cdsp | Self::Gdsp)
    }

    /// Whether memory that the device tree reserves for the DSP is its own.
    pub(crate) fn has_reserved_memory(self) -> bool {
        matches!(self, Self::Adsp | Self::Sdsp)
    }

    /// Whether the DSP has static processes that begin with the reserved memory.
    pub(crate) fn has_static(self) -> bool {
        matches!(self, Self::Adsp)
    }
}

/// Which DSPs are to be the driver's, where another one could have them: the module's parameter
/// `domains`. Negative if nobody has said.
///
/// There is a byte for each number that the name of a DSP can end in, from 0, which "cdsp" has too,
/// to 3, and in it a bit for each sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Domains(pub(crate) i32);

impl Domains {
    /// Whether the DSP called `name` is to be the driver's; [`None`] if nobody has said.
    pub(crate) fn have(self, name: &[u8]) -> Option<bool> {
        let mask = u32::try_from(self.0).ok()?;

        Some(Self::bit(name).is_some_and(|bit| mask & 1 << bit != 0))
    }

    /// The bit of the DSP called `name`, if it has one.
    fn bit(name: &[u8]) -> Option<u32> {
        let (domain, number) = split(name)?;
        let number = match number {
            [] => 0,
            [digit @ b'0'..=b'3'] => u32::from(digit - b'0'),
            _ => return None,
        };

        // CAST: It is the number of the variant.
        Some(8 * number + domain as u32)
    }
}
