// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory, for banks that are not behind an IOMMU.

use crate::{
    bank::AddressSpace,
    domain::Domain,
    soc::SocData, //
};
use kernel::{
    device::property::{
        FwNode,
        NArgs, //
    },
    dma::DmaMask,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Memory for banks that are not behind an IOMMU. It outlives the banks, since buffers do.
pub(crate) struct Region {
    /// What memory is allocated for.
    pub(crate) space: Arc<AddressSpace>,
    /// Whether the memory has `struct page`s.
    pub(crate) has_pages: bool,
}

impl Region {
    /// The memory of the DSP called `dsp`, whose node is `node`. If the DSP `has_pool`, it comes
    /// from the region that `node` reserves.
    ///
    /// # Errors
    ///
    /// Whatever making its device reports.
    pub(crate) fn new(node: &FwNode, dsp: &CStr, soc: &SocData, has_pool: bool) -> Result<Self> {
        // One may be left from before a restart, for buffers that are still there.
        static COUNT: Atomic<u64> = Atomic::new(0);

        let domain = Domain::of(dsp.to_bytes())?;
        let count = COUNT.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!("{}-memory-{}", dsp, count))?;
        let mask = DmaMask::try_new(soc.dma_bits(domain))?;
        let mut space = AddressSpace::new(None, node, &name, mask)?;

        if has_pool {
            space.assign_region(node)?;
        }
        let no_map = node
            .property_get_reference_args(c"memory-region", NArgs::N(0), 0)
            .is_ok_and(|args| {
                args.fwnode()
                    .is_some_and(|n| n.property_read_bool(c"no-map"))
            });
        Ok(Self {
            space: Arc::new(space, GFP_KERNEL)?,
            has_pages: !(has_pool && no_map),
        })
    }
}
