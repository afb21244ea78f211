// SPDX-License-Identifier: GPL-2.0

//! Streams of IOMMUs, and which address space they lead to. Pure code.
//!
//! An IOMMU gives all streams of a device one address space. Two devices can't have one stream, so
//! banks with the same streams are one device. A bank that has some streams of another's, and some
//! of its own, can be neither: its own streams would lead nowhere.

/// A stream of an IOMMU, or several whose ids differ in some bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Which IOMMU.
    pub(crate) iommu: usize,
    /// Id of the stream.
    pub(crate) id: u64,
    /// Bits of the id that do not matter.
    pub(crate) mask: u64,
}

impl Stream {
    /// Whether any stream is one of both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.iommu == other.iommu && (self.id ^ other.id) & !(self.mask | other.mask) == 0
    }

    /// Whether every stream of `other` is one of these.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.overlaps(other) && other.mask & !self.mask == 0
    }
}

/// What streams have in common with those of known address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    New,
    /// All of them lead to the address space with this index.
    Known(usize),
    /// Some do, others do not.
    Split(usize),
}

/// Finds the place of `streams` among address spaces, of which no two have a stream in common.
pub(crate) fn place<'a>(streams: &[Stream], spaces: impl Iterator<Item = &'a [Stream]>) -> Place {
    for (index, space) in spaces.enumerate() {
        let overlaps = |stream: &Stream| space.iter().any(|known| known.overlaps(stream));
        let is_covered = |stream: &Stream| space.iter().any(|known| known.covers(stream));

        if streams.iter().any(overlaps) {
            return if streams.iter().all(is_covered) {
                Place::Known(index)
            } else {
                Place::Split(index)
            };
        }
    }
    Place::New
}
