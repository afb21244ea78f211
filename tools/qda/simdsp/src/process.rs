// SPDX-License-Identifier: GPL-2.0

//! A process on the DSP: what one session of the guest made, and what it owns.

use crate::pd::adspmsgd::MessageLog;
use crate::pd::listener::Listener;
use crate::pd::Module;
use crate::port::Bank;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a process came about, which is also what its calls may say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Attached to the root domain.
    Root,
    /// Attached to the sensors domain.
    Sensors,
    /// Created from an image or unsigned.
    User,
    /// A static domain.
    Static,
}

impl Domain {
    /// Context bits 3:0 of its calls.
    pub const fn pd(self) -> u8 {
        match self {
            Domain::Root => 0,
            Domain::User | Domain::Static => 1,
            Domain::Sensors => 2,
        }
    }
}

/// Memory that the guest mapped into the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Address with the bank number.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// Address that the process knows it by.
    pub vaddr: u64,
}

#[derive(Debug, Default)]
struct State {
    bank: Option<Bank>,
    memory: Mapped,
    modules: BTreeMap<u32, Arc<dyn Module>>,
    /// By the number of MEM_MAP.
    mapped: BTreeMap<i32, Mapped>,
    /// By the address given out; of MMAP.
    heap: BTreeMap<u64, Mapped>,
    /// Numbers of threads that have called and have not exited.
    threads: BTreeSet<i32>,
}

/// A DSP process.
#[derive(Debug)]
pub struct Process {
    /// Its id on the channel.
    pub client: i32,
    /// How it came about.
    pub domain: Domain,
    /// Reverse calls.
    pub listener: Listener,
    /// Lines for the guest's log.
    pub messages: MessageLog,
    dead: AtomicBool,
    poll: AtomicBool,
    state: Mutex<State>,
}

impl Process {
    /// A process without modules; `bank` when the call that made it told one.
    pub fn new(client: i32, domain: Domain, bank: Option<Bank>) -> Self {
        Self {
            client,
            domain,
            listener: Listener::default(),
            messages: MessageLog::default(),
            dead: AtomicBool::new(false),
            poll: AtomicBool::new(false),
            state: Mutex::new(State {
                bank,
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is being released.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Marks it as being released: its calls stop as soon as they look.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// Whether successful calls write the poll word.
    pub fn polls(&self) -> bool {
        self.poll.load(Ordering::Relaxed)
    }

    /// Switches poll mode.
    pub fn set_poll(&self, on: bool) {
        self.poll.store(on, Ordering::Relaxed);
    }

    /// The bank of the process: the first one that is named here.
    pub fn bank(&self, seen: Bank) -> Bank {
        *self.state().bank.get_or_insert(seen)
    }

    /// The bank of the process, if it is known yet.
    pub fn known_bank(&self) -> Option<Bank> {
        self.state().bank
    }

    /// The memory that it began with; of size 0 when it was given none.
    pub fn memory(&self) -> Mapped {
        self.state().memory
    }

    /// Notes the memory that it begins with.
    pub fn set_memory(&self, addr: u64, size: u64) {
        self.state().memory = Mapped {
            addr,
            size,
            vaddr: 0,
        };
    }

    /// Opens a module under a handle.
    pub fn open(&self, handle: u32, module: Arc<dyn Module>) {
        self.state().modules.insert(handle, module);
    }

    /// Closes a handle; `false` when it isn't open.
    pub fn close(&self, handle: u32) -> bool {
        self.state().modules.remove(&handle).is_some()
    }

    /// The module behind a handle.
    pub fn module(&self, handle: u32) -> Option<Arc<dyn Module>> {
        self.state().modules.get(&handle).cloned()
    }

    /// Maps a buffer by number; gives back `false` when the number is taken.
    pub fn map(&self, number: i32, mapped: Mapped) -> bool {
        let mut state = self.state();
        if state.mapped.contains_key(&number) {
            return false;
        }
        state.mapped.insert(number, mapped);
        true
    }

    /// The buffer behind a number.
    pub fn mapped(&self, number: i32) -> Option<Mapped> {
        self.state().mapped.get(&number).copied()
    }

    /// Unmaps a number.
    pub fn unmap(&self, number: i32) -> Option<Mapped> {
        self.state().mapped.remove(&number)
    }

    /// Adds memory to the heap.
    pub fn grow(&self, mapped: Mapped) {
        self.state().heap.insert(mapped.vaddr, mapped);
    }

    /// Takes memory of exactly this address and size from the heap.
    pub fn shrink(&self, vaddr: u64, size: u64) -> bool {
        let mut state = self.state();
        if state.heap.get(&vaddr).is_some_and(|heap| heap.size == size) {
            state.heap.remove(&vaddr);
            return true;
        }
        false
    }

    /// A thread of the guest calls: from now on it has one here.
    pub fn thread_calls(&self, tid: i32) {
        self.state().threads.insert(tid);
    }

    /// A thread of the guest has exited.
    pub fn thread_exits(&self, tid: i32) {
        self.state().threads.remove(&tid);
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.state().threads.len()
    }

    /// What is behind its numbers, and its heap.
    pub fn maps(&self) -> Vec<Mapped> {
        let state = self.state();
        let maps = state.mapped.values().chain(state.heap.values());
        maps.copied().collect()
    }

    /// Numbers mapped and heap pieces held.
    pub fn holds(&self) -> usize {
        let state = self.state();
        state.mapped.len() + state.heap.len()
    }
}
