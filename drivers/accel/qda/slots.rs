// SPDX-License-Identifier: GPL-2.0

//! Which client has which place in the context banks of a DSP.
//!
//! A slot is the right to run DSP processes of one client in one bank. Most banks have one slot,
//! and then what is mapped in the bank is that client's alone. The slots of a bank with several,
//! and of banks whose streams are one to the IOMMU, share an address space; they are given last.
//!
//! Pure code, generic over what a client is; the lock around it is in [`crate::bank`].

use kernel::prelude::*;

/// Number of the address space of all banks that are not behind an IOMMU: all of memory, shared
/// with everything.
pub(crate) const PHYSICAL: usize = usize::MAX;

/// What a client wants a slot for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// For something without a DSP process: any slot that the client has will do.
    Visit,
    /// For a DSP process. A client's second one gets a slot of its own while one is free.
    Process,
    /// For a DSP process that shares its address space with nothing, now or later.
    OwnProcess,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This slot.
    Slot(usize),
    /// None now, but one is about to become free.
    Wait,
    /// None.
    Busy,
}

/// One place in a bank.
struct Slot<K> {
    /// Which address space it is in.
    space: usize,
    /// Who has it; only meaningful while there are leases.
    client: Option<K>,
    /// Holders.
    leases: usize,
    /// Of those, the ones for a DSP process.
    processes: usize,
    /// Of the leases, those that are about to end.
    ending: usize,
    /// One of its holders shares with nobody.
    own: bool,
    /// A DSP process in it never said that it ended.
    stuck: bool,
}

impl<K: PartialEq> Slot<K> {
    fn is_free(&self) -> bool {
        self.leases == 0 && !self.stuck
    }

    /// Whether more of `client` may come into it.
    fn admits(&self, client: Option<&K>) -> bool {
        self.leases > self.ending
            && !self.stuck
            && !self.own
            && client.is_some()
            && self.client.as_ref() == client
    }

    fn is_about_to_be_free(&self) -> bool {
        self.leases > 0 && self.leases == self.ending && !self.stuck
    }
}

/// All slots of one DSP.
///
/// # Invariants
///
/// No slot has more `processes`, or more `ending`, than `leases`.
pub(crate) struct Slots<K> {
    slots: KVec<Slot<K>>,
}

impl<K: PartialEq> Slots<K> {
    /// No slots.
    pub(crate) fn new() -> Self {
        Self { slots: KVec::new() }
    }

    /// Adds a slot in address space `space`; two with the same number are not isolated from each
    /// other.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(&mut self, space: usize) -> Result {
        self.slots.push(
            Slot {
                space,
                client: None,
                leases: 0,
                processes: 0,
                ending: 0,
                own: false,
                stuck: false,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// Whether slot `index` has an address space of its own.
    fn is_isolated(&self, index: usize) -> bool {
        let space = self.slots[index].space;

        space != PHYSICAL && self.slots.iter().filter(|slot| slot.space == space).count() == 1
    }

    /// Whether the address space of slot `index`, which is leased, has others in it than the one
    /// lease, or may get some in other slots.
    pub(crate) fn is_shared(&self, index: usize) -> bool {
        !self.is_isolated(index) || self.slots[index].leases > 1
    }

    /// Leases in the address space of slot `index`.
    fn crowd(&self, index: usize) -> usize {
        let space = self.slots[index].space;
        let here = self.slots.iter().filter(|slot| slot.space == space);

        here.map(|slot| slot.leases).sum()
    }

    /// The best of the free slots: isolated ones first, then the emptiest address space.
    fn free(&self, isolated_only: bool) -> Option<usize> {
        let free = (0..self.slots.len()).filter(|&index| self.slots[index].is_free());

        // No other is better than the first that is isolated, and there mostly is one.
        let isolated = free.clone().find(|&index| self.is_isolated(index));
        if isolated.is_some() || isolated_only {
            return isolated;
        }
        free.min_by_key(|&index| self.crowd(index))
    }

    fn position(&self, wanted: impl Fn(&Slot<K>) -> bool) -> Option<usize> {
        self.slots.iter().position(wanted)
    }

    /// Chooses a slot for `client`; without an identity it shares with nobody. [`Slots::take`]
    /// takes it.
    pub(crate) fn choose(&self, client: Option<&K>, want: Want) -> Choice {
        let unused = |slot: &Slot<K>| slot.admits(client) && slot.processes == 0;
        let own = |slot: &Slot<K>| slot.admits(client);
        let found = match want {
            Want::Visit => self.position(own).or_else(|| self.free(false)),
            Want::Process => self
                .position(unused)
                .or_else(|| self.free(false))
                .or_else(|| self.position(own)),
            Want::OwnProcess => self.free(true),
        };

        let about_to_be_free = |index: &usize| {
            self.slots[*index].is_about_to_be_free()
                && (want != Want::OwnProcess || self.is_isolated(*index))
        };
        match found {
            Some(index) => Choice::Slot(index),
            None if (0..self.slots.len()).any(|index| about_to_be_free(&index)) => Choice::Wait,
            None => Choice::Busy,
        }
    }

    /// Takes a slot that [`Slots::choose`] just chose.
    pub(crate) fn take(&mut self, index: usize, client: Option<K>, want: Want) {
        let slot = &mut self.slots[index];

        if slot.leases == 0 {
            slot.client = client;
        }
        slot.leases += 1;
        slot.processes += usize::from(want != Want::Visit);
        slot.own = slot.own || want == Want::OwnProcess;
    }

    /// Notes that a DSP process in slot `index` is ending.
    pub(crate) fn ending(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.ending += 1;
        }
    }

    /// Notes that a DSP process in slot `index` never said that it ended: the slot stays out of use
    /// when its last lease has ended.
    pub(crate) fn stuck(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.stuck = true;
        }
    }

    /// Gives back a lease of slot `index`; `ending` says whether [`Slots::ending`] was called for
    /// it. Returns the client when it was the last.
    pub(crate) fn give_back(&mut self, index: usize, want: Want, ending: bool) -> Option<K> {
        let slot = self.slots.get_mut(index)?;

        slot.leases -= 1;
        slot.processes -= usize::from(want != Want::Visit);
        slot.ending -= usize::from(ending);
        if slot.leases > 0 {
            return None;
        }
        slot.own = false;
        slot.client.take()
    }

    /// Whether anybody holds a slot.
    pub(crate) fn in_use(&self) -> bool {
        self.slots.iter().any(|slot| slot.leases > 0)
    }
}
