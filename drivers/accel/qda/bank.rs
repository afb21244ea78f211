// SPDX-License-Identifier: GPL-2.0

//! Compute context banks, and leases of them.
//!
//! A bank is an address space of the DSP behind a stream id of the IOMMU. A DSP process leases one;
//! everything that is mapped in it holds the lease. The bank goes back to the pool when the last
//! holder lets go, so that nobody ever gets a bank in which something of another is still mapped.

use crate::{
    domain::Domain,
    layout::BankPrefix,
    soc::SocData, //
};
use kernel::{
    compute_bus,
    device::{
        self,
        property::FwNode,
        Bound, //
    },
    dma::DmaMask,
    new_condvar,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};

/// How long [`Pool::lease`] waits for a bank whose DSP process is just ending, in milliseconds.
const RELEASE_WAIT_MS: u32 = 11_000;

/// One context bank.
pub(crate) struct Bank {
    device: compute_bus::Bank,
    number: u32,
    prefix: BankPrefix,
}

impl Bank {
    /// Makes the bank that `node` describes, a device below `parent`.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `reg` is missing or does not fit into an address, or the IOMMU does not
    ///   translate for the bank.
    /// - whatever its device reports.
    fn new(
        parent: &device::Device<Bound>,
        node: &FwNode,
        number: u32,
        dsp: &CStr,
        soc: &SocData,
    ) -> Result<Self> {
        let prefix = BankPrefix::new(number, soc.bank_position())?;
        let name = CString::try_from_fmt(fmt!("{}-{}", dsp, number))?;
        let mask = DmaMask::try_new(soc.dma_bits(Domain::of(dsp.to_bytes())?))?;

        Ok(Self {
            device: compute_bus::Bank::new(parent, node, &name, mask)?,
            number,
            prefix,
        })
    }
}

/// What a bank of the pool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has it.
    Free,
    /// A DSP process has it.
    Leased,
    /// Its DSP process is ending; it will soon be free.
    Releasing,
    /// Nobody has it, but its DSP process never said that it ended.
    Stuck,
}

struct Entry {
    bank: Arc<Bank>,
    state: State,
}

/// All banks of one DSP.
#[pin_data]
pub(crate) struct Pool {
    #[pin]
    entries: Mutex<KVec<Entry>>,
    #[pin]
    changed: CondVar,
}

impl Pool {
    /// Makes the banks that the children of `node`, the DSP's node, describe.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`]: there is no bank.
    /// - [`EINVAL`]: a bank has no `reg`, one that does not fit, or that of another.
    /// - whatever making a bank's device reports.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        node: &FwNode,
        dsp: &CStr,
        soc: &SocData,
    ) -> Result<Arc<Self>> {
        let mut numbers = KVec::new();
        let mut entries = KVec::new();

        for child in node.children() {
            if !child.is_compatible(c"qcom,fastrpc-compute-cb") || !child.is_available() {
                continue;
            }
            let number: u32 = child.property_read(c"reg").required_by(parent)?;
            if numbers.contains(&number) {
                dev_err!(parent, "two context banks have the number {}\n", number);
                return Err(EINVAL);
            }
            numbers.push(number, GFP_KERNEL)?;

            let bank = Bank::new(parent, &child, number, dsp, soc).inspect_err(|error| {
                dev_err!(parent, "context bank {}: {:?}\n", number, error);
            })?;
            entries.push(
                Entry {
                    bank: Arc::new(bank, GFP_KERNEL)?,
                    state: State::Free,
                },
                GFP_KERNEL,
            )?;
        }
        if entries.is_empty() {
            dev_err!(parent, "no context bank in the device tree\n");
            return Err(ENODEV);
        }

        Arc::pin_init(
            pin_init!(Self {
                entries <- new_mutex!(entries),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Leases a bank, waiting for one that is just being released if there is no other.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`]: all are in use.
    /// - [`ENODEV`]: the channel is gone, and its banks with it.
    /// - [`ERESTARTSYS`]: a signal came while waiting.
    /// - [`ENOMEM`].
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Arc<Lease>> {
        let mut entries = self.entries.lock();
        let mut left = msecs_to_jiffies(RELEASE_WAIT_MS);

        loop {
            if let Some(index) = entries.iter().position(|e| e.state == State::Free) {
                entries[index].state = State::Leased;
                let bank = entries[index].bank.clone();
                drop(entries);

                // If this fails, the lease is dropped, and so gives the bank back.
                let lease = Lease {
                    bank,
                    seat: Seat {
                        pool: self.clone(),
                        index,
                        stuck: Atomic::new(false),
                    },
                };
                return Ok(Arc::new(lease, GFP_KERNEL)?);
            }
            if entries.is_empty() {
                return Err(ENODEV);
            }
            if !entries.iter().any(|e| e.state == State::Releasing) {
                return Err(EBUSY);
            }
            left = match self.changed.wait_interruptible_timeout(&mut entries, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                CondVarTimeoutResult::Timeout => return Err(EBUSY),
                CondVarTimeoutResult::Signal { .. } => return Err(ERESTARTSYS),
            };
        }
    }

    fn set(&self, index: usize, state: State) {
        if let Some(entry) = self.entries.lock().get_mut(index) {
            entry.state = state;
        }
        self.changed.notify_all();
    }

    /// Waits until all leases have ended, then removes the banks. For the end of the channel, when
    /// no lease can begin and every holder is bound to let go.
    pub(crate) fn close(&self) {
        let mut entries = self.entries.lock();

        while entries
            .iter()
            .any(|e| matches!(e.state, State::Leased | State::Releasing))
        {
            self.changed.wait(&mut entries);
        }
        let banks = core::mem::take(&mut *entries);
        drop(entries);
        drop(banks);
    }

    /// How many banks there are; none once the channel is gone.
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether the DSP sees what the CPU writes to cached memory, in every bank.
    pub(crate) fn is_coherent(&self) -> bool {
        self.entries
            .lock()
            .iter()
            .all(|e| e.bank.device.is_coherent())
    }
}

/// A leased entry of the pool, given back when this is dropped.
struct Seat {
    pool: Arc<Pool>,
    index: usize,
    stuck: Atomic<bool>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let state = if self.stuck.load(Relaxed) {
            State::Stuck
        } else {
            State::Free
        };
        self.pool.set(self.index, state);
    }
}

/// The right to use a bank. Everything that is mapped in the bank holds it.
///
/// Fields are dropped in this order: when the pool hears of it, nobody refers to the bank any more.
pub(crate) struct Lease {
    bank: Arc<Bank>,
    seat: Seat,
}

impl Lease {
    /// Number of the bank, `reg` in the device tree.
    pub(crate) fn number(&self) -> u32 {
        self.bank.number
    }

    /// Prefix of the bank's addresses on the wire.
    pub(crate) fn prefix(&self) -> BankPrefix {
        self.bank.prefix
    }

    /// Whether an IOMMU keeps the DSP from what is not mapped.
    pub(crate) fn is_translated(&self) -> bool {
        self.bank.device.is_translated()
    }

    /// Notes that the DSP process is ending, so that others wait for the bank.
    pub(crate) fn releasing(&self) {
        self.seat.pool.set(self.seat.index, State::Releasing);
    }

    /// Keeps the bank out of use, when the lease ends, until the channel is gone: the DSP may still
    /// use it.
    pub(crate) fn mark_stuck(&self) {
        self.seat.stuck.store(true, Relaxed);
        // There is nothing to wait for any more.
        self.seat.pool.set(self.seat.index, State::Leased);
    }
}

impl AsRef<device::Device<Bound>> for Lease {
    fn as_ref(&self) -> &device::Device<Bound> {
        self.bank.device.as_ref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Whoever gets the bank next must not be seen through a stale translation.
        self.bank.device.flush_iotlb();
    }
}
