// SPDX-License-Identifier: GPL-2.0

//! Compute context banks, and leases of them.
//!
//! A bank is an address space of the DSP behind a stream of the IOMMU. A client, that is an address
//! space of user space, leases a slot of one for its DSP processes; everything that is mapped in
//! the bank holds a lease. The slot goes back to the pool when the last holder lets go, so that
//! nobody ever gets a bank in which something of another is still mapped. Which slot a client gets
//! is in [`crate::slots`].

mod maker;

use self::maker::Maker;
use crate::{
    domain::Domain,
    layout::BankPrefix,
    slots::{
        Choice,
        Slots,
        Want, //
    },
    soc::SocData, //
};
use kernel::{
    compute_bus,
    current,
    device::{
        self,
        property::FwNode,
        Bound, //
    },
    mm::Mm,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};

/// How long [`Pool::lease`] waits for a slot whose DSP process is just ending, in milliseconds.
const RELEASE_WAIT_MS: u32 = 11_000;

/// A client: whoever has one address space, however many files it has opened.
///
/// A child that was forked is another client, and so is what a process becomes by exec(). The
/// reference keeps the identity from being used again, not the memory.
#[derive(Clone)]
pub(crate) struct Client(Option<ARef<Mm>>);

impl Client {
    /// The client that the caller is part of.
    pub(crate) fn current() -> Self {
        Self(current!().mm().map(|mm| ARef::from(&**mm)))
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => core::ptr::eq(&**a, &**b),
            // Nobody shares with a thread of the kernel.
            _ => false,
        }
    }
}

/// An address space of the DSP: the device that memory is mapped for.
pub(crate) type AddressSpace = compute_bus::Bank;

/// One context bank.
pub(crate) struct Bank {
    /// Shared with banks whose streams are the same to the IOMMU.
    space: Arc<AddressSpace>,
    number: u32,
    prefix: BankPrefix,
}

struct Inner {
    /// The bank of each slot.
    banks: KVec<Arc<Bank>>,
    slots: Slots<Client>,
    /// Whether no lease can begin any more.
    closing: bool,
    /// How many use an address space without a lease.
    visitors: usize,
}

/// All banks of one DSP.
#[pin_data]
pub(crate) struct Pool {
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    changed: CondVar,
    coherent: bool,
    all_translated: bool,
    any_translated: bool,
    reach: u64,
    /// Bytes that are the DSP's for good.
    lost: Atomic<u64>,
}

impl Pool {
    /// Makes the banks that the children of `node`, the DSP's node, describe. If the DSP
    /// `has_pool`, memory for those that are not behind an IOMMU comes from the region that `node`
    /// reserves.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`]: there is no bank, or none that works.
    /// - [`EPROBE_DEFER`] and [`ENOMEM`]: there may be more of them later.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        node: &FwNode,
        dsp: &CStr,
        soc: &SocData,
        has_pool: bool,
    ) -> Result<Arc<Self>> {
        let mut maker = Maker::new(parent, node, dsp, soc, has_pool);

        maker.add_all()?;
        if maker.banks.is_empty() {
            dev_err!(parent, "no context bank in the device tree that works\n");
            return Err(ENODEV);
        }

        let bits = soc.dma_bits(Domain::of(dsp.to_bytes())?);
        let Maker { banks, slots, .. } = maker;
        let coherent = banks.iter().all(|bank| bank.space.is_coherent());
        let all_translated = banks.iter().all(|bank| bank.space.is_translated());
        let any_translated = banks.iter().any(|bank| bank.space.is_translated());
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(Inner {
                    banks,
                    slots,
                    closing: false,
                    visitors: 0,
                }),
                changed <- new_condvar!(),
                coherent,
                all_translated,
                any_translated,
                reach: 1 << bits,
                lost: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Leases a slot for `client`, waiting for one that is just being released if there is no
    /// other.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`]: all are in use.
    /// - [`ENODEV`]: the channel is gone, and its banks with it.
    /// - [`ERESTARTSYS`]: a signal came while waiting.
    /// - [`ENOMEM`].
    pub(crate) fn lease(self: &Arc<Self>, client: &Client, want: Want) -> Result<Arc<Lease>> {
        let mut inner = self.inner.lock();
        let mut left = msecs_to_jiffies(RELEASE_WAIT_MS);

        loop {
            if let Some(lease) = self.grant(&mut inner, client, want)? {
                drop(inner);
                return Ok(Arc::new(lease, GFP_KERNEL)?);
            }
            left = match self.changed.wait_interruptible_timeout(&mut inner, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                CondVarTimeoutResult::Timeout => return Err(EBUSY),
                CondVarTimeoutResult::Signal { .. } => return Err(ERESTARTSYS),
            };
        }
    }

    /// As [`Pool::lease`], for those who can't wait: none, if a slot is just being released.
    ///
    /// # Errors
    ///
    /// [`EBUSY`], [`ENODEV`] and [`ENOMEM`], as [`Pool::lease`].
    pub(crate) fn try_lease(
        self: &Arc<Self>,
        client: &Client,
        want: Want,
    ) -> Result<Option<Arc<Lease>>> {
        let lease = self.grant(&mut self.inner.lock(), client, want)?;

        Ok(lease.map(|lease| Arc::new(lease, GFP_KERNEL)).transpose()?)
    }

    /// Takes a slot, if there is one. The lease must be dropped without the lock.
    fn grant(
        self: &Arc<Self>,
        inner: &mut Inner,
        client: &Client,
        want: Want,
    ) -> Result<Option<Lease>> {
        if inner.closing {
            return Err(ENODEV);
        }
        let index = match inner.slots.choose(Some(client), want) {
            Choice::Slot(index) => index,
            Choice::Busy => return Err(EBUSY),
            Choice::Wait => return Ok(None),
        };

        inner.slots.take(index, Some(client.clone()), want);
        Ok(Some(Lease {
            bank: inner.banks[index].clone(),
            seat: Seat {
                pool: self.clone(),
                index,
                want,
                ending: Atomic::new(false),
            },
            abandoned: Atomic::new(false),
        }))
    }

    /// Lets no lease begin any more, waits until all have ended, then removes the banks. For the
    /// end of the channel, when every holder is bound to let go.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();

        inner.closing = true;
        // Nobody needs to wait for a slot any more.
        self.changed.notify_all();
        while inner.slots.in_use() || inner.visitors > 0 {
            self.changed.wait(&mut inner);
        }
        let banks = core::mem::take(&mut inner.banks);
        inner.slots = Slots::new();
        drop(inner);
        drop(banks);
    }

    /// Runs `f` on an address space through which the DSP does not see the CPU's caches. The end of
    /// the pool waits for it.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if there is none, or no more; else what `f` returns.
    pub(crate) fn with_incoherent<R>(
        &self,
        f: impl FnOnce(&AddressSpace) -> Result<R>,
    ) -> Result<R> {
        let space = {
            let mut inner = self.inner.lock();
            let bank = inner.banks.iter().find(|bank| !bank.space.is_coherent());
            let space = bank.ok_or(ENODEV)?.space.clone();

            inner.visitors += 1;
            space
        };

        let result = f(&space);
        drop(space);
        self.inner.lock().visitors -= 1;
        self.changed.notify_all();
        result
    }

    /// Whether the DSP sees what the CPU writes to cached memory, in every bank.
    pub(crate) fn is_coherent(&self) -> bool {
        self.coherent
    }

    /// Whether an IOMMU is in front of every bank, so that memory need not be contiguous.
    pub(crate) fn is_translated(&self) -> bool {
        self.all_translated
    }

    /// Whether an IOMMU is in front of any bank, so that scattered memory is of use.
    pub(crate) fn takes_scattered(&self) -> bool {
        self.any_translated
    }

    /// How many bytes a bank can address.
    pub(crate) fn reach(&self) -> u64 {
        self.reach
    }

    /// How many bytes were not freed because the DSP may use them for ever, see [`Lease::abandon`].
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How many slots there are, and so clients at a time; none once the channel is gone.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().banks.len()
    }
}

/// A leased place in the pool, given back when this is dropped.
struct Seat {
    pool: Arc<Pool>,
    index: usize,
    want: Want,
    ending: Atomic<bool>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let ending = self.ending.load(Relaxed);
        let client = self
            .pool
            .inner
            .lock()
            .slots
            .give_back(self.index, self.want, ending);

        // Without the lock: it may be the last that is left of an address space.
        drop(client);
        self.pool.changed.notify_all();
    }
}

/// The right to use a bank. Everything that is mapped in the bank holds it.
///
/// Fields are dropped in this order: when the pool hears of it, nobody refers to the bank any more.
pub(crate) struct Lease {
    bank: Arc<Bank>,
    seat: Seat,
    abandoned: Atomic<bool>,
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

    /// The address space behind the bank.
    pub(crate) fn space(&self) -> &Arc<AddressSpace> {
        &self.bank.space
    }

    /// Whether an IOMMU keeps the DSP from what is not mapped.
    pub(crate) fn is_translated(&self) -> bool {
        self.bank.space.is_translated()
    }

    /// Whether the CPU's caches have to be synchronised with what the DSP accesses.
    pub(crate) fn needs_sync(&self) -> bool {
        self.bank.space.needs_sync()
    }

    /// Whether others use the addresses of the bank, or may do so yet. No more of them come once
    /// the slot is stuck, unless their slots are in the same address space.
    pub(crate) fn is_shared(&self) -> bool {
        self.seat.pool.inner.lock().slots.is_shared(self.seat.index)
    }

    /// Leaves to the DSP for good what is in a bank without an IOMMU: it may use it for ever, and
    /// the channel goes. Whoever lets go of some of it asks [`Lease::loses`].
    pub(crate) fn abandon(&self) {
        if !self.is_translated() {
            self.abandoned.store(true, Relaxed);
        }
    }

    /// Whether `bytes` of the bank's memory are the DSP's for good, and so must not be freed.
    pub(crate) fn loses(&self, bytes: usize) -> bool {
        let lost = self.abandoned.load(Relaxed);

        if lost {
            self.seat.pool.lost.fetch_add(bytes as u64, Relaxed);
        }
        lost
    }

    /// Notes that the DSP process is ending, so that others wait for the slot. Once is enough.
    pub(crate) fn releasing(&self) {
        if !self.seat.ending.xchg(true, Full) {
            self.seat.pool.inner.lock().slots.ending(self.seat.index);
        }
        self.seat.pool.changed.notify_all();
    }

    /// Keeps the slot out of use, when its leases end, until the channel is gone: the DSP may still
    /// use it.
    pub(crate) fn mark_stuck(&self) {
        self.seat.pool.inner.lock().slots.stuck(self.seat.index);
        // There is nothing to wait for any more.
        self.seat.pool.changed.notify_all();
    }
}

impl AsRef<device::Device<Bound>> for Lease {
    fn as_ref(&self) -> &device::Device<Bound> {
        (*self.bank.space).as_ref()
    }
}
