// SPDX-License-Identifier: GPL-2.0

//! One DSP: takes messages, keeps processes, and hands calls to its threads.
//!
//! Calls run at once and are answered in any order; those of one (client, thread) run one after
//! the other. How a call is served is in [`crate::serve`], how it reaches memory in
//! [`crate::dma`].

use crate::babble::{Babble, Windows};
use crate::call::Call;
use crate::check::Shape;
use crate::glink::Side;
use crate::lanes::Lanes;
use crate::meta::Layout;
use crate::pace::Pace;
use crate::pd::debug;
use crate::port::{Bank, Channel, Memory};
use crate::process::Process;
use crate::script::Active;
use crate::stats::{count, Counters, FaultRecord};
use crate::strict::{Judge, Profile, Rule};
use crate::wire::{status, Address, Notice, Request, Response, PD_EXIT_CTX, POLL_DONE};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

/// Threads of one DSP; more calls than a channel has slots.
const MAX_WORKERS: usize = 300;
/// First handle given out: above all static ones, and those from 0x100 on by which the user library
/// knows static processes.
const FIRST_HANDLE: u32 = 0x1000;

/// What a DSP is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// Label of its device-tree node, e.g. `cdsp`.
    pub label: String,
    /// Bit at which the bank number stands in addresses: 32 or 56.
    pub sid_pos: u32,
    /// Numbers of its context banks.
    pub banks: Vec<Bank>,
    /// Address and size of the memory that the device tree reserves for it.
    pub heap: Option<(u64, u64)>,
    /// Width of the banks' addresses in bits; by default as the driver sets it for the label.
    pub dma_bits: Option<u32>,
    /// Whose driver is on the other side.
    pub profile: Profile,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            label: "cdsp".into(),
            sid_pos: 32,
            banks: Vec::new(),
            heap: None,
            dma_bits: None,
            profile: Profile::Qda,
        }
    }
}

/// What changes with each message.
#[derive(Default)]
pub(crate) struct Inner {
    pub channel: Option<Arc<dyn Channel>>,
    pub outstanding: BTreeMap<u64, Arc<Call>>,
    /// Clients of calls whose answer is on its way, by serial number.
    pub answering: BTreeMap<u64, i32>,
    pub held: Vec<Arc<Call>>,
    pub processes: BTreeMap<i32, Arc<Process>>,
    pub script: Active,
    pub faults: Vec<FaultRecord>,
    /// Whether the heap of static processes was handed over.
    pub has_heap: bool,
    /// Banks that messages named since the test began.
    pub used: BTreeSet<Bank>,
    /// What it says unasked.
    pub babble: Option<Babble>,
    /// When the guest has heard that.
    pub windows: Windows,
}

/// A simulated DSP.
pub struct Dsp {
    config: Config,
    dma_bits: u32,
    /// Pairs of banks that have a stream id in common, either way round.
    aliases: Vec<(Bank, Bank)>,
    pub(crate) memory: Arc<dyn Memory>,
    judge: Judge,
    pub(crate) lanes: Arc<Lanes<Arc<Call>>>,
    inner: Mutex<Inner>,
    changed: Condvar,
    pub(crate) counters: Counters,
    epoch: AtomicU64,
    serial: AtomicU64,
    handle: AtomicU32,
    vaddr: AtomicU64,
    trace: AtomicBool,
    /// Held for reading while a call touches memory, for writing when all calls are cut off.
    access: RwLock<()>,
    /// Held by whoever tells the guest what it has not asked for.
    pub(crate) unasked: Mutex<()>,
    me: Weak<Dsp>,
}

impl std::fmt::Debug for Dsp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dsp")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Drop for Dsp {
    fn drop(&mut self) {
        self.lanes.stop();
    }
}

impl Dsp {
    /// A DSP that waits for its channel.
    pub fn new(config: Config, memory: Arc<dyn Memory>) -> Arc<Self> {
        // As the driver's SoC data has it: 34 bits for CDSPs whose bank numbers are at bit 56.
        let dma_bits = config.dma_bits.unwrap_or(match config.sid_pos {
            56 if config.label.starts_with("cdsp") => 34,
            _ => 32,
        });
        Arc::new_cyclic(|me| Self {
            judge: Judge::new(&config.label, config.profile),
            aliases: aliases(&config.banks, &*memory),
            config,
            dma_bits,
            memory,
            lanes: Arc::new(Lanes::new(MAX_WORKERS)),
            inner: Mutex::new(Inner::default()),
            changed: Condvar::new(),
            counters: Counters::default(),
            epoch: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            handle: AtomicU32::new(FIRST_HANDLE),
            vaddr: AtomicU64::new(0xD000_0000),
            trace: AtomicBool::new(false),
            access: RwLock::new(()),
            unasked: Mutex::new(()),
            me: me.clone(),
        })
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something changed; call it with the lock given back.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `done` holds, at most until the deadline; gives whether it does.
    pub(crate) fn wait(&self, deadline: Instant, mut done: impl FnMut(&mut Inner) -> bool) -> bool {
        let mut inner = self.inner();
        loop {
            if done(&mut inner) {
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            // Things that have no notification of their own are seen at the next turn.
            let turn = left.min(Duration::from_millis(20));
            inner = self
                .changed
                .wait_timeout(inner, turn)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Label.
    pub fn label(&self) -> &str {
        &self.config.label
    }

    /// What it is made of.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The record of broken rules.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// What checks need to know.
    pub fn shape(&self) -> Shape<'_> {
        Shape {
            sid_pos: self.config.sid_pos,
            dma_bits: self.dma_bits,
            banks: &self.config.banks,
            aliases: &self.aliases,
        }
    }

    /// Whether two banks are one address space by the device tree.
    pub fn is_one_context(&self, one: Bank, other: Bank) -> bool {
        self.shape().is_one_context(one, other)
    }

    /// Splits a wire address.
    pub fn split(&self, raw: u64) -> Address {
        Address::split(raw, self.config.sid_pos)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Logs messages at level info from now on, or no longer.
    pub fn set_trace(&self, on: bool) {
        self.trace.store(on, Ordering::Relaxed);
    }

    pub(crate) fn log(&self, line: std::fmt::Arguments<'_>) {
        let level = match self.trace.load(Ordering::Relaxed) {
            true => log::Level::Info,
            false => log::Level::Debug,
        };
        log::log!(level, "{}: {line}", self.label());
    }

    /// Keeps the channel from closing while a call touches memory.
    pub(crate) fn accessing(&self) -> RwLockReadGuard<'_, ()> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A live process.
    pub fn process(&self, client: i32) -> Option<Arc<Process>> {
        self.inner().processes.get(&client).cloned()
    }

    /// All live processes.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.inner().processes.values().cloned().collect()
    }

    /// Adds a process; `false` when its id is taken.
    pub(crate) fn add_process(&self, process: Process) -> bool {
        let mut inner = self.inner();
        if inner.processes.contains_key(&process.client) {
            return false;
        }
        self.counters
            .last_client
            .store(process.client as u64, Ordering::Relaxed);
        inner.processes.insert(process.client, Arc::new(process));
        true
    }

    /// Ends a process: its calls are answered with an error, its mappings forgotten.
    pub(crate) fn release_process(&self, process: &Arc<Process>) {
        self.end_calls(process);
        self.inner().processes.remove(&process.client);
        self.notify();
    }

    /// Has a process die on its own: its calls are answered with an error, later ones too, and the
    /// notice that a protection domain has ended is sent. The guest is to release it all the same.
    ///
    /// # Errors
    ///
    /// The channel is closed or fails.
    pub fn kill_process(&self, process: &Arc<Process>) -> anyhow::Result<()> {
        self.end_calls(process);
        let notice = Response {
            ctx: PD_EXIT_CTX,
            retval: 0,
        };
        self.say(&notice.encode())
    }

    /// As [`Dsp::kill_process`], but calls that are parked are not answered before the process is
    /// released, and the notice says which process it was.
    ///
    /// # Errors
    ///
    /// The channel is closed or fails.
    pub fn kill_process_named(&self, process: &Process) -> anyhow::Result<()> {
        process.kill();
        self.notify();
        let notice = Notice {
            client_id: process.client,
            state: 3,
        };
        self.say(&notice.encode())
    }

    /// Sends the guest a message that it has not asked for.
    ///
    /// # Errors
    ///
    /// The channel is closed or fails.
    pub fn say(&self, message: &[u8]) -> anyhow::Result<()> {
        self.channel()?.send(message)
    }

    /// The channel, as long as it is open.
    pub(crate) fn channel(&self) -> anyhow::Result<Arc<dyn Channel>> {
        let channel = self.inner().channel.clone();
        channel.context("the channel is closed")
    }

    /// Has it say things that mean nothing, all the time, as this seed decides, or no longer. Gives
    /// how many it has said since the last time.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn babble(&self, seed: Option<u64>) -> std::io::Result<u64> {
        let next = seed.map(|seed| Babble::start(self.me.clone(), self.label(), seed));
        let next = next.transpose()?;
        let mut inner = self.inner();
        inner.windows.reset();
        let last = std::mem::replace(&mut inner.babble, next);
        drop(inner);
        Ok(last.map_or(0, |babble| babble.sent()))
    }

    fn end_calls(&self, process: &Arc<Process>) {
        process.kill();
        self.notify();
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let held: Vec<_> = {
                let mut inner = self.inner();
                let mine = |call: &&Arc<Call>| call.request.client_id == process.client;
                let held = inner.held.iter().filter(mine).cloned().collect();
                inner
                    .held
                    .retain(|call| call.request.client_id != process.client);
                held
            };
            let parked = process.listener.end().into_iter();
            for call in held.into_iter().chain(parked).chain(process.messages.end()) {
                self.reply(&call, status::BAD_STATE);
            }
            let idle = |inner: &mut Inner| {
                let busy = |call: &Arc<Call>| call.request.client_id == process.client;
                !inner.outstanding.values().any(busy)
                    && !inner
                        .answering
                        .values()
                        .any(|client| *client == process.client)
            };
            if self.wait(Instant::now() + Duration::from_millis(20), idle) {
                break;
            }
            if Instant::now() > deadline {
                log::error!(
                    "{}: client {} has calls that don't end",
                    self.label(),
                    process.client
                );
                break;
            }
        }
    }

    /// A handle that no module has.
    pub(crate) fn new_handle(&self) -> u32 {
        count(&self.counters.opens);
        self.handle.fetch_add(1, Ordering::Relaxed)
    }

    /// An address on the DSP for `size` bytes.
    pub(crate) fn new_vaddr(&self, size: u64) -> u64 {
        let pages = size.max(1).next_multiple_of(4096);
        self.vaddr.fetch_add(pages, Ordering::Relaxed)
    }

    /// Answers all parked listeners of a process; gives how many there were.
    pub fn complete_listeners(&self, process: &Process, status: i32) -> usize {
        let parked = process.listener.drain();
        for call in &parked {
            self.reply(call, status);
        }
        parked.len()
    }

    /// Answers all parked listeners of a process that is on its way out, and parks no more.
    pub(crate) fn end_listeners(&self, process: &Process) {
        for call in process.listener.end() {
            self.reply(&call, status::BAD_STATE);
        }
    }

    /// Ends the message log of a process, and the calls that wait for messages.
    pub(crate) fn end_messages(&self, process: &Process) {
        for call in process.messages.end() {
            self.reply(&call, status::BAD_STATE);
        }
    }

    /// Parks a call until [`Dsp::release_held`].
    pub(crate) fn hold(&self, call: &Arc<Call>) {
        self.inner().held.push(call.clone());
        self.notify();
    }

    /// Lets held calls go on, or answers them with `status`; gives how many there were.
    pub fn release_held(&self, status: Option<i32>) -> usize {
        let held = std::mem::take(&mut self.inner().held);
        for call in &held {
            match (status, call.ticket.get()) {
                (None, Some(ticket)) => {
                    call.release();
                    let more = self.lanes.resubmit(*ticket, call.clone());
                    self.start_worker(more);
                }
                (status, _) => self.reply(call, status.unwrap_or(0)),
            }
        }
        held.len()
    }

    /// The channel is open.
    pub fn opened(&self, channel: Arc<dyn Channel>) {
        self.log(format_args!("channel open"));
        let mut inner = self.inner();
        inner.channel = Some(channel);
        inner.windows.opened();
        drop(inner);
        self.notify();
    }

    /// The processor knows nothing of before any more.
    pub fn halted(&self) {
        self.inner().has_heap = false;
    }

    /// The channel is gone: all calls and processes end; calls at work reach no memory any more. A
    /// guest that closes it has to have released its processes before.
    pub fn closed(&self, by: Side) {
        self.log(format_args!("channel closed: {by:?}"));
        {
            let _none = self.access.write().unwrap_or_else(PoisonError::into_inner);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        let (processes, busy) = {
            let mut inner = self.inner();
            inner.channel = None;
            inner.windows.closed();
            // One that runs keeps its heap. What `fastrpc.ko` has given, it takes back (2694).
            if by == Side::Dsp || self.judge.profile() == Profile::Fastrpc {
                inner.has_heap = false;
            }
            inner.held.clear();
            let busy = std::mem::take(&mut inner.outstanding);
            (std::mem::take(&mut inner.processes), busy)
        };
        self.lanes.clear();
        drop(busy);
        for process in processes.values() {
            process.kill();
            drop(process.listener.drain());
            drop(process.messages.end());
            if by == Side::Guest {
                self.judge.report(
                    Rule::MissingRelease,
                    format!("channel closed, client {} alive", process.client),
                );
            }
        }
        self.notify();
    }

    /// Answers a call that does nothing, on a link that is measured: without a look at its tables
    /// and without another thread. Whether it was one.
    fn answer_at_once(&self, payload: &[u8]) -> bool {
        let began = Instant::now();
        let channel = self.inner().channel.clone();
        let Some(channel) = channel.filter(|c| c.pace().is_some_and(Pace::is_hot)) else {
            return false;
        };
        let Some(request) = Request::decode(payload).filter(|r| r.sc.method() == debug::NOOP)
        else {
            return false;
        };
        let process = self.process(request.client_id);
        let Some(process) = process.filter(|process| {
            let module = process.module(request.handle);
            module.is_some_and(|module| module.name() == debug::NAME)
        }) else {
            return false;
        };
        count(&self.counters.messages);
        count(&self.counters.invokes);
        if process.polls() {
            let at = self.split(request.addr);
            let word = at.iova + Layout::new(request.sc).poll();
            if let Err(fault) = self.memory.write(at.bank, word, &POLL_DONE.to_le_bytes()) {
                log::warn!("{}: poll word: {fault}", self.label());
            }
        }
        if let Some(pace) = channel.pace() {
            pace.keep(began);
        }
        count(&self.counters.replies);
        let answer = Response {
            ctx: request.ctx,
            retval: 0,
        };
        if let Err(error) = channel.post(&answer.encode()) {
            log::warn!("{}: answer {:#x}: {error}", self.label(), request.ctx);
        }
        true
    }

    /// A message came. Does not wait.
    pub fn message(&self, payload: &[u8]) {
        if self.answer_at_once(payload) {
            return;
        }
        count(&self.counters.messages);
        let Some(request) = Request::decode(payload) else {
            self.judge
                .report(Rule::MessageLength, format!("{} bytes", payload.len()));
            return;
        };
        self.log(format_args!("{request:x?}"));
        let mut found = Vec::new();
        let at = self
            .shape()
            .request(&request, &mut |rule, detail| found.push((rule, detail)));
        let is_kernel = matches!(
            request.handle,
            crate::kernel_calls::INIT | crate::kernel_calls::UTILITIES
        ) && request.client_id == 0;
        count(match is_kernel {
            true => &self.counters.kernel_calls,
            false => &self.counters.invokes,
        });
        let call = {
            let mut inner = self.inner();
            inner
                .windows
                .asked(crate::kernel_calls::is_release(&request));
            self.check_order(&inner, &request, is_kernel, &mut found);
            let process = inner.processes.get(&request.client_id).cloned();
            let process = process.filter(|_| !is_kernel);
            if let Some(process) = &process {
                process.thread_calls(request.tid);
            }
            let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
            let call = Arc::new(Call::new(serial, request, at, process, self.epoch()));
            if self.config.banks.contains(&at.bank) {
                inner.used.insert(at.bank);
            }
            inner.outstanding.insert(serial, call.clone());
            call
        };
        for (rule, detail) in found {
            self.judge.report(rule, detail);
        }
        let more = self.lanes.submit((request.client_id, request.tid), call);
        self.start_worker(more);
    }

    /// Checks a request against those that are outstanding.
    fn check_order(
        &self,
        inner: &Inner,
        request: &Request,
        is_kernel: bool,
        found: &mut Vec<(Rule, String)>,
    ) {
        let thread = (request.client_id, request.tid);
        for other in inner.outstanding.values() {
            if other.request.ctx == request.ctx {
                found.push((Rule::DuplicateContext, format!("ctx {:#x}", request.ctx)));
            }
            // A polled call is over for its caller as soon as the poll word is written.
            if (other.request.client_id, other.request.tid) == thread && !other.has_polled() {
                found.push((
                    Rule::ThreadBusy,
                    format!("client {}, thread {}", thread.0, thread.1),
                ));
            }
        }
        if is_kernel {
            return;
        }
        if request.handle == crate::kernel_calls::INIT {
            let detail = format!("client {} on handle 1", request.client_id);
            found.push((Rule::KernelClient, detail));
        } else if let Some(process) = inner.processes.get(&request.client_id) {
            if request.pd() != process.domain.pd() {
                let detail = format!("ctx {:#x} of a {:?} process", request.ctx, process.domain);
                found.push((Rule::PdBits, detail));
            }
        } else {
            let detail = format!("client {}, handle {}", request.client_id, request.handle);
            found.push((Rule::UnknownClient, detail));
        }
    }

    pub(crate) fn start_worker(&self, more: bool) {
        if !more {
            return;
        }
        let (me, lanes) = (self.me.clone(), self.lanes.clone());
        let thread = std::thread::Builder::new().name(self.config.label.clone());
        let spawned = thread.spawn(move || {
            while let Some((ticket, call)) = lanes.next() {
                let Some(dsp) = me.upgrade() else { return };
                dsp.serve(ticket, call);
            }
        });
        if let Err(error) = spawned {
            log::error!("{}: no thread: {error}", self.label());
        }
    }
}

/// Pairs of `banks` that have a stream id in common.
fn aliases(banks: &[Bank], memory: &dyn Memory) -> Vec<(Bank, Bank)> {
    let streams: Vec<_> = banks.iter().map(|bank| memory.streams(*bank)).collect();
    let pairs = (0..banks.len()).flat_map(|i| (0..banks.len()).map(move |j| (i, j)));
    pairs
        .filter(|&(i, j)| i != j && streams[i].iter().any(|sid| streams[j].contains(sid)))
        .map(|(i, j)| (banks[i], banks[j]))
        .collect()
}

impl crate::glink::Endpoint for Dsp {
    fn opened(&self, channel: Arc<dyn Channel>) {
        Dsp::opened(self, channel);
    }
    fn message(&self, payload: &[u8]) {
        Dsp::message(self, payload);
    }
    fn closed(&self, by: Side) {
        Dsp::closed(self, by);
    }
    fn halted(&self) {
        Dsp::halted(self);
    }
}
