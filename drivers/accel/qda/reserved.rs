// SPDX-License-Identifier: GPL-2.0

//! Memory that the device tree reserves for a DSP: what it is for, and how the DSP gets at it.
//!
//! While the DSP has it, nothing of the kernel uses it, unless it is for buffers. What the DSP
//! knows of stays with it when the driver is unbound, until its remote processor is down.

use crate::{
    domain::Domain,
    heap::{
        Heap,
        Region, //
    }, //
};
use kernel::{
    dev_err_probe,
    device::{
        self,
        property::FwNode,
        Bound, //
    },
    do_once_lite,
    of,
    prelude::*,
    qcom_scm,
    remote_memory::{
        Access,
        Knows,
        RemoteMemory, //
    },
    rpmsg,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// Most virtual machines that one region is given to.
const MAX_OWNERS: usize = 16;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The static processes of the DSP share it as their heap.
    Heap,
    /// Buffers come from it, where banks are not behind an IOMMU.
    Pool,
    /// The DSP's own ones, of which nobody here knows.
    Own,
}

/// How a DSP gets at memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It can do so as it is.
    Open,
    /// The secure world gives it to virtual machines.
    Assign,
    /// The IOMMU of the remote processor maps it.
    Map,
}

impl Way {
    /// The way for memory that is to be given to `owners`, where the remote processor is behind an
    /// IOMMU of ours, or is not.
    pub(crate) fn of(owners: &[u32], is_behind_iommu: bool) -> Self {
        match (is_behind_iommu, owners) {
            // There are no other virtual machines: the kernel has that IOMMU in place of a
            // hypervisor.
            (true, _) => Self::Map,
            (false, []) => Self::Open,
            (false, _) => Self::Assign,
        }
    }

    /// Whether it is too early, by what `is_available` says of the secure world.
    pub(crate) fn has_to_wait(self, is_available: impl FnOnce() -> bool) -> bool {
        self == Self::Assign && !is_available()
    }
}

impl Purpose {
    /// What memory of a DSP of the sort `domain` is for, that it gets at by `way`.
    pub(crate) fn of(domain: Domain, way: Way, owners: &[u32]) -> Self {
        let is_ours = way != Way::Assign || owners.contains(&qcom_scm::VMID_HLOS);

        match domain.has_static() {
            true => Self::Heap,
            false if is_ours => Self::Pool,
            false => Self::Own,
        }
    }
}

/// What the device tree says about a DSP's reserved memory.
pub(crate) struct Reserved<'a> {
    rpdev: &'a rpmsg::Device<Bound>,
    domain: Domain,
    memory: Option<of::ReservedMemory>,
    owners: KVec<u32>,
    way: Way,
}

impl<'a> Reserved<'a> {
    /// Reads "memory-region" and "qcom,vmids" of `node`, the node of the DSP `rpdev`.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: one of them is malformed, or "qcom,vmids" too long.
    /// - [`EPROBE_DEFER`]: the secure world is to be called, and is not there yet.
    /// - [`ENOMEM`].
    pub(crate) fn read(
        rpdev: &'a rpmsg::Device<Bound>,
        node: &FwNode,
        domain: Domain,
    ) -> Result<Self> {
        let dev: &device::Device<Bound> = rpdev.as_ref();
        let owners = match node.property_present(c"qcom,vmids") {
            false => KVec::new(),
            true => {
                let count = node.property_count_elem::<u32>(c"qcom,vmids")?;
                if count > MAX_OWNERS {
                    dev_err!(dev, "qcom,vmids has more than {} entries\n", MAX_OWNERS);
                    return Err(EINVAL);
                }
                node.property_read_array_vec(c"qcom,vmids", count)?
                    .required_by(dev)?
            }
        };

        let memory = match of::ReservedMemory::from_node(node, 0) {
            _ if !domain.has_reserved_memory() => None,
            Ok(memory) => Some(memory),
            Err(ENODEV) => None,
            Err(error) => {
                dev_err!(dev, "memory-region: {:?}\n", error);
                return Err(error);
            }
        };

        let is_behind_iommu = rpdev
            .processor()
            .and_then(|processor| processor.fwnode())
            .is_some_and(|node| node.property_present(c"iommus"));
        let way = Way::of(&owners, is_behind_iommu);
        // Also without memory, as the other driver of these nodes does: the secure world comes up
        // before anything of the DSP is touched.
        if way.has_to_wait(qcom_scm::is_available) {
            // A DSP that is put off may offer its channel anew, as another device, time and again.
            do_once_lite! {
                dev_info!(dev, "waits for the secure world, which qcom,vmids need\n");
            }
            return Err(dev_err_probe!(
                dev,
                EPROBE_DEFER,
                "the secure world is not there yet, which qcom,vmids need\n"
            ));
        }
        Ok(Self {
            rpdev,
            domain,
            memory,
            owners,
            way,
        })
    }

    /// Lets the DSP at the memory.
    ///
    /// If this is not possible the DSP has no static processes; it can still be used.
    ///
    /// # Errors
    ///
    /// - what [`RemoteMemory::new`] reports for memory that buffers are to come from.
    /// - [`ENOMEM`].
    pub(crate) fn hand_over(self) -> Result<Holding> {
        let purpose = Purpose::of(self.domain, self.way, &self.owners);
        let memory = match self.memory {
            Some(memory) => self.share(memory, purpose).map(Some),
            None => Ok(None),
        };

        let (memory, knows) = match memory {
            Ok(Some((memory, knows))) => (Some(memory), knows),
            Ok(None) => (None, Knows::No),
            Err(error) if purpose == Purpose::Pool => return Err(error),
            Err(_) => (None, Knows::No),
        };
        let region = self
            .memory
            .filter(|_| purpose == Purpose::Heap && memory.is_some())
            .map(|memory| Region {
                start: memory.start(),
                size: memory.size(),
            });
        Ok(Holding {
            rpdev: self.rpdev.into(),
            purpose,
            heap: Heap::new(region, knows)?,
            memory,
        })
    }

    fn share(&self, memory: of::ReservedMemory, purpose: Purpose) -> Result<(RemoteMemory, Knows)> {
        let access = match self.way {
            Way::Open => Access::Open,
            Way::Assign => {
                let mut owners = KVec::new();
                owners.extend_from_slice(&self.owners, GFP_KERNEL)?;
                Access::Assigned(owners)
            }
            Way::Map => Access::Mapped(self.rpdev.processor().ok_or(ENODEV)?.into()),
        };
        let edge = self.rpdev.edge().ok_or(ENODEV)?;

        // SAFETY: The device tree reserves the memory for the DSP, and only buffers come from it,
        // if it is for them: then the kernel can go on using it, see `Purpose::of()`. The channel
        // to the DSP is on the edge, which is on the remote processor.
        unsafe { RemoteMemory::new(memory, purpose == Purpose::Pool, access, edge) }.inspect_err(
            |error| {
                dev_err!(
                    self.rpdev.as_ref(),
                    "the DSP can't get the reserved memory at {:#x}: {:?}\n",
                    memory.start(),
                    error
                );
            },
        )
    }
}

/// The memory of a DSP while the driver is bound.
pub(crate) struct Holding {
    rpdev: ARef<rpmsg::Device>,
    purpose: Purpose,
    memory: Option<RemoteMemory>,
    /// The heap of static processes, or none.
    pub(crate) heap: Arc<Heap>,
}

impl Holding {
    /// Whether buffers come from the memory.
    pub(crate) fn is_pool(&self) -> bool {
        self.memory.is_some() && self.purpose == Purpose::Pool
    }

    /// Whether the DSP knows of the memory when the driver is unbound.
    fn knows(&self) -> Knows {
        match self.purpose {
            // One that has closed the channel may have begun anew.
            Purpose::Heap if self.rpdev.is_vanishing() => match self.heap.knows() {
                Knows::No => Knows::No,
                Knows::Maybe | Knows::Yes => Knows::Maybe,
            },
            Purpose::Heap => self.heap.knows(),
            // It has never been told, but is used to it.
            Purpose::Pool | Purpose::Own => Knows::Yes,
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let knows = self.knows();

        if let Some(memory) = self.memory.take() {
            memory.leave(knows);
        }
    }
}
