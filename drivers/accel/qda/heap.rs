// SPDX-License-Identifier: GPL-2.0

//! Memory that the device tree reserves for a DSP.
//!
//! The static processes of an ADSP share it as their heap. The DSP keeps it from the first of them
//! on, whatever becomes of that process, and so is told of it once. Where the device tree says so,
//! the memory belongs to other virtual machines for as long as the driver is bound, and the kernel
//! may not touch it; it never does.

use crate::domain::Domain;
use kernel::{
    device::{
        self,
        property::FwNode,
        Bound, //
    },
    new_mutex,
    of,
    prelude::*,
    qcom_scm,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Most virtual machines that one region is given to.
const MAX_OWNERS: usize = 16;

/// A range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Address of the first byte.
    pub(crate) start: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// What can give memory to other virtual machines.
pub(crate) trait Assigner {
    /// Whether it works yet.
    fn is_available(&self) -> bool;

    /// Gives a region that `from` own to `to`.
    ///
    /// # Errors
    ///
    /// Whatever it reports.
    fn assign(&self, region: Region, from: &[u32], to: &[u32]) -> Result;
}

/// The secure world.
pub(crate) struct Scm;

impl Assigner for Scm {
    fn is_available(&self) -> bool {
        qcom_scm::is_available()
    }

    fn assign(&self, region: Region, from: &[u32], to: &[u32]) -> Result {
        let size = usize::try_from(region.size).map_err(|_| EINVAL)?;

        // SAFETY: The device tree reserves the memory for the DSP. Nothing else of the kernel uses
        // it, and the driver only tells the DSP where it is.
        unsafe { qcom_scm::assign_mem(region.start, size, from, to) }
    }
}

/// A region that was given to virtual machines. Dropping it takes the region back.
pub(crate) struct Assigned<A: Assigner> {
    assigner: A,
    region: Region,
    owners: KVec<u32>,
}

impl<A: Assigner> Assigned<A> {
    /// Gives `region` to `owners`.
    ///
    /// # Errors
    ///
    /// What `assigner` reports.
    pub(crate) fn new(assigner: A, region: Region, owners: KVec<u32>) -> Result<Self> {
        assigner.assign(region, &[qcom_scm::VMID_HLOS], &owners)?;

        Ok(Self {
            assigner,
            region,
            owners,
        })
    }
}

impl<A: Assigner> Drop for Assigned<A> {
    fn drop(&mut self) {
        let owners = [qcom_scm::VMID_HLOS];

        if let Err(error) = self.assigner.assign(self.region, &self.owners, &owners) {
            pr_err!(
                "reserved memory {:#x} was not given back: {:?}\n",
                self.region.start,
                error
            );
        }
    }
}

/// What the device tree says about a DSP's reserved memory.
pub(crate) struct Reserved {
    /// Where it is, if there is any.
    pub(crate) region: Option<Region>,
    /// Whom it is to be given to; nobody, if that is empty.
    pub(crate) owners: KVec<u32>,
}

impl Reserved {
    /// Reads "memory-region" and "qcom,vmids" of `node`, the node of the DSP `dev`.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: one of them is malformed, or "qcom,vmids" too long.
    /// - [`ENOMEM`].
    pub(crate) fn read(dev: &device::Device<Bound>, node: &FwNode, domain: Domain) -> Result<Self> {
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

        let region = match of::ReservedMemory::from_node(node, 0) {
            _ if !domain.has_reserved_memory() => None,
            Ok(memory) => Some(Region {
                start: memory.start(),
                size: memory.size(),
            }),
            Err(ENODEV) => None,
            Err(error) => {
                dev_err!(dev, "memory-region: {:?}\n", error);
                return Err(error);
            }
        };
        Ok(Self { region, owners })
    }

    /// Gives the memory to whom the device tree says, if to anybody.
    ///
    /// # Errors
    ///
    /// - [`EPROBE_DEFER`]: there are new owners, and `assigner` does not work yet.
    /// - what `assigner` reports.
    pub(crate) fn assign<A: Assigner>(self, assigner: A) -> Result<Option<Assigned<A>>> {
        if self.owners.is_empty() {
            return Ok(None);
        }
        // Also without memory, as the other driver of these nodes does: the secure world comes up
        // before anything of the DSP is touched.
        if !assigner.is_available() {
            return Err(EPROBE_DEFER);
        }
        match self.region {
            Some(region) => Assigned::new(assigner, region, self.owners).map(Some),
            None => Ok(None),
        }
    }
}

/// Whether the DSP has the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was never told of it, or refused it.
    Kept,
    /// It was told, and has not answered yet.
    Offered,
    /// It has it, or may have it.
    Given,
}

/// The heap of a DSP's static processes.
#[pin_data]
pub(crate) struct Heap {
    region: Option<Region>,
    #[pin]
    state: Mutex<State>,
}

impl Heap {
    /// A heap that the DSP does not know of; none without `region`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(region: Option<Region>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                region,
                state <- new_mutex!(State::Kept),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether there is one.
    pub(crate) fn exists(&self) -> bool {
        self.region.is_some()
    }

    /// What a call that makes a static process has to hand over: the heap, the first time.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: there is no heap.
    /// - [`EBUSY`]: the DSP has not answered yet to a call that hands it over.
    pub(crate) fn offer(self: &Arc<Self>) -> Result<Option<Offer>> {
        let region = self.region.ok_or(EOPNOTSUPP)?;
        let mut state = self.state.lock();

        match *state {
            State::Given => Ok(None),
            State::Offered => Err(EBUSY),
            State::Kept => {
                *state = State::Offered;
                Ok(Some(Offer {
                    heap: self.clone(),
                    region,
                }))
            }
        }
    }
}

/// The heap, on its way to the DSP. Dropping it keeps the heap.
pub(crate) struct Offer {
    heap: Arc<Heap>,
    /// What is handed over.
    pub(crate) region: Region,
}

impl Offer {
    /// Notes that the DSP has the heap, or that nobody knows.
    pub(crate) fn given(self) {
        *self.heap.state.lock() = State::Given;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut state = self.heap.state.lock();

        if *state == State::Offered {
            *state = State::Kept;
        }
    }
}
