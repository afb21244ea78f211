// SPDX-License-Identifier: GPL-2.0

//! From a DSP's node to its context banks.

use super::{
    AddressSpace,
    Bank,
    Client, //
};
use crate::{
    domain::Domain,
    layout::BankPrefix,
    slots::{
        Slots,
        PHYSICAL, //
    },
    soc::SocData,
    streams::{
        place,
        Place,
        Stream, //
    }, //
};
use kernel::{
    device::{
        self,
        property::{
            FwNode,
            NArgs, //
        },
        Bound, //
    },
    dma::DmaMask,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// Most slots of one bank that `qcom,nsessions` may ask for.
const MAX_SESSIONS: u32 = 64;

impl Stream {
    /// The streams that a bank's `iommus` names.
    fn of(node: &FwNode) -> Result<KVec<Self>> {
        let mut streams = KVec::new();

        for index in 0.. {
            let nargs = NArgs::Prop(c"#iommu-cells");
            let Ok(args) = node.property_get_reference_args(c"iommus", nargs, index) else {
                break;
            };
            streams.push(
                Self {
                    iommu: args
                        .fwnode()
                        .map_or(0, |iommu| core::ptr::from_ref(iommu).addr()),
                    id: args.as_slice().first().copied().unwrap_or(0),
                    mask: args.as_slice().get(1).copied().unwrap_or(0),
                },
                GFP_KERNEL,
            )?;
        }
        Ok(streams)
    }
}

/// An address space, with the streams that lead to it.
struct Known {
    space: Arc<AddressSpace>,
    streams: KVec<Stream>,
    /// The first bank in it.
    number: u32,
}

/// What has been made so far.
pub(super) struct Maker<'a> {
    parent: &'a device::Device<Bound>,
    node: &'a FwNode,
    dsp: &'a CStr,
    soc: &'a SocData,
    /// Whether memory for banks without an IOMMU comes from the region that the node reserves.
    has_pool: bool,
    spaces: KVec<Known>,
    /// The bank of each slot.
    pub(super) banks: KVec<Arc<Bank>>,
    pub(super) slots: Slots<Client>,
}

impl<'a> Maker<'a> {
    /// Nothing yet, for the DSP `dsp` with node `node`; for `has_pool` see [`Pool::new`].
    ///
    /// [`Pool::new`]: super::Pool::new
    pub(super) fn new(
        parent: &'a device::Device<Bound>,
        node: &'a FwNode,
        dsp: &'a CStr,
        soc: &'a SocData,
        has_pool: bool,
    ) -> Self {
        Self {
            parent,
            node,
            dsp,
            soc,
            has_pool,
            spaces: KVec::new(),
            banks: KVec::new(),
            slots: Slots::new(),
        }
    }

    /// Makes all banks that the DSP's node has. One with which something is wrong is left out: the
    /// others work without it.
    ///
    /// # Errors
    ///
    /// [`EPROBE_DEFER`] and [`ENOMEM`]: there may be more of them later.
    pub(super) fn add_all(&mut self) -> Result {
        for child in self.node.children() {
            if !child.is_compatible(c"qcom,fastrpc-compute-cb") || !child.is_available() {
                continue;
            }
            match self.add(&child) {
                Ok(()) => {}
                Err(error @ (EPROBE_DEFER | ENOMEM)) => return Err(error),
                Err(error) => dev_warn!(
                    self.parent,
                    "context bank {} is left out: {:?}\n",
                    child.display_name(),
                    error
                ),
            }
        }
        Ok(())
    }

    /// Adds the bank that `node` describes, with its slots.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: it has no `reg`, one that does not fit into an address, or that of another;
    ///   or only some of its streams are another's.
    /// - what [`AddressSpace::new`] and [`AddressSpace::assign_region`] report.
    fn add(&mut self, node: &FwNode) -> Result {
        let number: u32 = node.property_read(c"reg").required_by(self.parent)?;
        let prefix = BankPrefix::new(number, self.soc.bank_position()).inspect_err(|_| {
            dev_warn!(self.parent, "bank number {} is too large\n", number);
        })?;

        if self.banks.iter().any(|bank| bank.number == number) {
            dev_warn!(self.parent, "two banks have the number {}\n", number);
            return Err(EINVAL);
        }
        let index = self.space(node, number)?;
        let space = self.spaces[index].space.clone();
        let index = if space.is_translated() {
            index
        } else {
            PHYSICAL
        };
        let bank = Bank {
            space,
            number,
            prefix,
        };
        let bank = Arc::new(bank, GFP_KERNEL)?;
        let sessions = node
            .property_read::<u32>(c"qcom,nsessions")
            .or(1)
            .clamp(1, MAX_SESSIONS);

        for _ in 0..sessions {
            self.banks.push(bank.clone(), GFP_KERNEL)?;
            self.slots.add(index)?;
        }
        Ok(())
    }

    /// The address space of bank `number`, which `node` describes, made now if there is none.
    /// Returns its index.
    fn space(&mut self, node: &FwNode, number: u32) -> Result<usize> {
        let streams = Stream::of(node)?;

        match place(&streams, self.spaces.iter().map(|known| &*known.streams)) {
            Place::New => {}
            Place::Known(index) => {
                dev_info!(
                    self.parent,
                    "bank {} shares the address space of bank {}\n",
                    number,
                    self.spaces[index].number
                );
                return Ok(index);
            }
            Place::Split(index) => {
                dev_warn!(
                    self.parent,
                    "some streams of bank {} are those of bank {}, others are not\n",
                    number,
                    self.spaces[index].number
                );
                return Err(EINVAL);
            }
        }

        let name = CString::try_from_fmt(fmt!("{}-{}", self.dsp, number))?;
        let domain = Domain::of(self.dsp.to_bytes())?;
        let mask = DmaMask::try_new(self.soc.dma_bits(domain))?;
        let mut space = AddressSpace::new(Some(self.parent), node, &name, mask)?;
        if !space.is_translated() && self.has_pool {
            space.assign_region(self.node)?;
        }
        let known = Known {
            space: Arc::new(space, GFP_KERNEL)?,
            streams,
            number,
        };
        self.spaces.push(known, GFP_KERNEL)?;
        Ok(self.spaces.len() - 1)
    }
}
