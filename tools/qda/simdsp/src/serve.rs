// SPDX-License-Identifier: GPL-2.0

//! How one call is served: its tables are read and judged, the script has its say, the module
//! runs, and the answer goes out.

use crate::babble::Random;
use crate::call::{Abort, Call, Cx, Prepared};
use crate::dsp::Dsp;
use crate::kernel_calls;
use crate::lanes::Ticket;
use crate::meta::{self, Argument, Layout, Meta};
use crate::pd::{self, Module, Outcome};
use crate::script::{Action, Rewrite, Subject, Touch, Word};
use crate::stats::count;
use crate::strict::Rule;
use crate::wire::{status, Address, Response, MAX_STATIC_HANDLE, POLL_DONE};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Dsp {
    /// Runs a call until it is answered or parked.
    pub(crate) fn serve(self: &Arc<Self>, ticket: Ticket, call: Arc<Call>) {
        let _ = call.ticket.set(ticket);
        if let Err(abort) = self.try_serve(&call) {
            if let Abort::Bad(why) = &abort {
                log::info!("{}: call {:#x}: {why}", self.label(), call.request.ctx);
            }
            self.reply(&call, abort.status());
        }
    }

    fn try_serve(self: &Arc<Self>, call: &Arc<Call>) -> Result<(), Abort> {
        let module = self.module(call);
        if call.prepared.get().is_none() {
            let meta = self.tables(call)?;
            let subject = Subject {
                handle: call.request.handle,
                module: module.as_ref().map(|module| module.name()),
                method: call.request.sc.method(),
                client: call.request.client_id,
            };
            let actions = self.inner().script.actions(subject);
            let _ = call.prepared.set(Prepared { meta, actions });
            if !self.before(call)? {
                return Ok(());
            }
        }
        match self.execute(call, module)? {
            Outcome::Done(status) => self.reply(call, status),
            Outcome::Parked => {}
        }
        Ok(())
    }

    /// The interface that serves a user call.
    fn module(&self, call: &Call) -> Option<Arc<dyn Module>> {
        let handle = call.request.handle;
        let process = call.process.as_ref()?;
        if handle <= MAX_STATIC_HANDLE {
            return pd::by_handle(handle);
        }
        process.module(handle)
    }

    /// Reads and judges the tables of a call.
    fn tables(&self, call: &Call) -> Result<Meta, Abort> {
        let request = &call.request;
        let end = Layout::new(request.sc).end();
        self.probe(call, "message", call.at, request.size.max(end))?;
        let bytes = self.read(call, call.at, end)?;
        let meta =
            meta::decode(request.sc, &bytes).map_err(|error| Abort::bad(error.to_string()))?;
        let mut sink = |rule, detail| self.judge().report(rule, detail);
        self.shape().meta(request, &meta, &mut sink);
        if let Some(process) = &call.process {
            let bank = process.bank(call.at.bank);
            if !self.is_one_context(bank, call.at.bank) {
                let detail = format!(
                    "call in bank {}, client {} in {bank}",
                    call.at.bank, process.client
                );
                sink(Rule::BankMixed, detail);
            }
        }
        for (i, argument) in meta.arguments.iter().enumerate() {
            self.reach(call, i, argument)?;
        }
        Ok(meta)
    }

    /// Checks that an argument can be used at all.
    fn reach(&self, call: &Call, i: usize, argument: &Argument) -> Result<(), Abort> {
        if argument.is_empty() {
            return Ok(());
        }
        let Some(page) = argument.page else {
            return Err(Abort::bad(format!("argument {i}: no page entry")));
        };
        let request = &call.request;
        let inline = page.addr >= request.addr
            && page.addr.saturating_add(page.size) <= request.addr.saturating_add(request.size);
        if !inline {
            let what = format!("argument {i}");
            self.probe(call, &what, self.split(page.addr), page.size)?;
        }
        let end = argument.offset().saturating_add(argument.len());
        if end > page.size {
            return Err(Abort::bad(format!(
                "argument {i}: {end:#x} of {:#x}",
                page.size
            )));
        }
        Ok(())
    }

    /// What the script wants before the call runs; `false` when it is not to run (yet).
    fn before(&self, call: &Arc<Call>) -> Result<bool, Abort> {
        for action in call.actions() {
            match action {
                Action::DelayMs(ms) => self.sleep(call, Duration::from_millis(*ms))?,
                Action::Fail(status) => {
                    self.reply(call, *status as i32);
                    return Ok(false);
                }
                Action::Hold => {
                    self.hold(call);
                    return Ok(false);
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn execute(
        self: &Arc<Self>,
        call: &Arc<Call>,
        module: Option<Arc<dyn Module>>,
    ) -> Result<Outcome, Abort> {
        let handle = call.request.handle;
        if matches!(handle, kernel_calls::INIT | kernel_calls::UTILITIES) {
            return kernel_calls::invoke(self, call).map(Outcome::Done);
        }
        let Some(process) = call.process.as_ref().filter(|process| !process.is_dead()) else {
            return Ok(Outcome::Done(status::BAD_STATE));
        };
        match module {
            Some(module) => module.invoke(&Cx {
                dsp: self,
                call,
                process,
            }),
            None => {
                log::debug!("{}: no handle {handle}", self.label());
                Ok(Outcome::Done(status::UNSUPPORTED))
            }
        }
    }

    /// Answers a call, once; the script may change how.
    pub(crate) fn reply(&self, call: &Arc<Call>, status: i32) {
        if !call.take_answer() {
            return;
        }
        let (status, dropped) = self.after(call, status);
        let channel = self.inner().channel.clone();
        if let Some(pace) = channel.as_ref().and_then(|channel| channel.pace()) {
            pace.rest(call.came);
        }
        if status == 0 && call.request.handle == kernel_calls::INIT {
            match call.request.sc.method() {
                0 => count(&self.counters.attaches),
                1 => count(&self.counters.releases),
                6..=8 => count(&self.counters.creates),
                _ => {}
            }
        }
        let channel = {
            let mut inner = self.inner();
            if call.epoch != self.epoch() {
                return;
            }
            // Before the answer: the guest may use context and thread again as soon as it has it.
            inner.outstanding.remove(&call.serial);
            inner.answering.insert(call.serial, call.request.client_id);
            inner.channel.clone()
        };
        if dropped {
            count(&self.counters.drops);
        } else if let Some(channel) = channel {
            self.log(format_args!("answer {:#x}: {status:#x}", call.request.ctx));
            count(&self.counters.replies);
            self.flood(call, status);
            for payload in payloads(call, status) {
                if let Err(error) = channel.send(&payload) {
                    log::warn!("{}: answer {:#x}: {error}", self.label(), call.request.ctx);
                }
            }
        }
        // After the answer, so that answers of one thread keep their order, and a RELEASE its
        // place.
        self.inner().answering.remove(&call.serial);
        self.notify();
        if let Some(ticket) = call.ticket.get() {
            let more = self.lanes.finish(*ticket);
            self.start_worker(more);
        }
        self.late(call);
    }

    /// Answers calls that don't exist, as many as the script wants before the answer.
    fn flood(&self, call: &Call, status: i32) {
        for action in call.actions() {
            if let Action::Flood(n) = *action {
                let nobody = (0..n).map(|i| {
                    // Sequence numbers from the far end, each slot in turn.
                    let sequence = u64::MAX - u64::from(i);
                    answer(sequence << 16 | u64::from(i % 255 + 1) << 8, status)
                });
                let messages: Vec<_> = nobody.collect();
                if let Err(error) = self.tell(&messages, || call.epoch != self.epoch()) {
                    log::warn!(
                        "{}: flood of {:#x}: {error}",
                        self.label(),
                        call.request.ctx
                    );
                }
            }
        }
    }

    /// What the script wants between execution and answer. Gives the status, and whether it is
    /// never sent.
    fn after(&self, call: &Call, mut status: i32) -> (i32, bool) {
        let layout = Layout::new(call.request.sc);
        let mut numbers = std::mem::take(
            &mut *call
                .give_back
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let mut poll = None;
        let mut dropped = false;
        for action in call.actions() {
            match action {
                Action::Status(other) => status = *other as i32,
                Action::Drop => dropped = true,
                Action::Fdlist(list) => numbers.clone_from(list),
                Action::PollWord(word) => poll = Some(*word),
                Action::Rewrite(rewrite) => self.rewrite(call, layout, *rewrite),
                Action::Scramble(seed) => self.scramble(call, layout, *seed),
                Action::Touch(touch) if touch.after_ms.is_none() => self.touch(call, *touch),
                _ => {}
            }
        }
        let polls =
            |process: &Arc<crate::process::Process>| process.polls() && process.domain.pd() == 1;
        if status == 0
            && call.request.handle > MAX_STATIC_HANDLE
            && call.process.as_ref().is_some_and(polls)
        {
            poll = poll.or(Some(POLL_DONE));
        }
        if !numbers.is_empty() {
            numbers.truncate(((layout.poll() - layout.fdlist()) / 8) as usize);
            let bytes: Vec<u8> = numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            self.poke(call, layout.fdlist(), &bytes);
        }
        // Last, as the guest may go on as soon as it sees it.
        if let Some(word) = poll {
            call.set_polled();
            self.poke(call, layout.poll(), &word.to_le_bytes());
        }
        (status, dropped)
    }

    /// Writes into the metadata.
    fn poke(&self, call: &Call, offset: u64, bytes: &[u8]) {
        let addr = Address {
            bank: call.at.bank,
            iova: call.at.iova + offset,
        };
        if let Err(abort) = self.write(call, addr, bytes) {
            log::debug!(
                "{}: metadata of {:#x}: {abort}",
                self.label(),
                call.request.ctx
            );
        }
    }

    fn rewrite(&self, call: &Call, layout: Layout, rewrite: Rewrite) {
        let i = rewrite.index;
        let (offset, size) = match rewrite.word {
            Word::Pv => (layout.argument(i), 8),
            Word::Len => (layout.argument(i) + 8, 8),
            Word::Num => (layout.list(i), 4),
            Word::Pgidx => (layout.list(i) + 4, 4),
            Word::PageAddr => (layout.page(i), 8),
            Word::PageSize => (layout.page(i) + 8, 8),
            Word::Crc => (layout.crc() + 4 * i as u64, 4),
            Word::Any => (4 * i as u64, 4),
        };
        if offset + size as u64 > layout.end() {
            log::warn!("{}: {rewrite:?} is not in the metadata", self.label());
            return;
        }
        self.poke(call, offset, &rewrite.value.to_le_bytes()[..size]);
    }

    fn scramble(&self, call: &Call, layout: Layout, seed: u64) {
        let mut random = Random::new(seed ^ call.serial << 32);
        self.poke(call, 0, &random.bytes(layout.end() as usize));
    }

    fn touch(&self, call: &Call, touch: Touch) {
        let argument = touch
            .arg
            .and_then(|i| call.prepared.get()?.meta.arguments.get(i)?.data());
        let Some(iova) = touch.iova.or(argument.map(|addr| self.split(addr).iova)) else {
            log::warn!("{}: touch without an address", self.label());
            return;
        };
        let addr = Address {
            bank: touch.bank.unwrap_or(call.at.bank),
            iova,
        };
        let len = touch.len.clamp(1, 16 << 20);
        let done = match touch.write {
            true => self.write(call, addr, &vec![0xA5; len as usize]),
            false => self.read(call, addr, len).map(drop),
        };
        log::debug!("{}: touch {addr:x?}: {done:?}", self.label());
    }

    /// Accesses that the script wants after the answer.
    fn late(&self, call: &Call) {
        for action in call.actions() {
            if let Action::Touch(touch) = action {
                if let Some(ms) = touch.after_ms {
                    std::thread::sleep(Duration::from_millis(ms));
                    self.touch(call, *touch);
                }
            }
        }
    }

    /// Makes an access as a client's process would, for a test that only wants to know.
    ///
    /// # Errors
    ///
    /// There is no such process, its bank is not known yet, or the fault.
    pub fn touch_as(&self, client: i32, iova: u64, len: u64, write: bool) -> anyhow::Result<()> {
        let process = self
            .process(client)
            .ok_or_else(|| anyhow::anyhow!("no client {client}"))?;
        let bank = process
            .known_bank()
            .ok_or_else(|| anyhow::anyhow!("bank of client {client} not known"))?;
        anyhow::ensure!(len <= 16 << 20, "more than 16 MiB");
        let mut data = vec![0xA5; len as usize];
        match write {
            true => self.memory.write(bank, iova, &data)?,
            false => self.memory.read(bank, iova, &mut data)?,
        }
        Ok(())
    }

    /// Writes memory that a process holds, not for a call.
    ///
    /// # Errors
    ///
    /// A fault.
    pub(crate) fn store_at(&self, addr: u64, data: &[u8]) -> anyhow::Result<()> {
        let Address { bank, iova } = self.split(addr);
        Ok(self.memory.write(bank, iova, data)?)
    }

    /// Answers a call that waited for messages: so many bytes of them are there.
    pub(crate) fn answer_wait(&self, call: &Arc<Call>, bytes: u64) {
        let written = self.put(call, 0, &bytes.to_le_bytes());
        self.reply(call, written.as_ref().map_or_else(Abort::status, |()| 0));
    }

    /// Makes a call to the guest through a parked listener of this process.
    ///
    /// # Errors
    ///
    /// Nobody listens or answers within `patience`.
    pub fn reverse(
        &self,
        process: &Arc<crate::process::Process>,
        call: &pd::listener::Reverse,
        patience: Duration,
    ) -> anyhow::Result<pd::listener::Answer> {
        process
            .listener
            .reverse(call, patience, |parked, words, packed| {
                let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                let index = parked.request.sc.ins() + 1;
                let arguments = parked
                    .prepared
                    .get()
                    .map(|prepared| &prepared.meta.arguments);
                let space = arguments
                    .and_then(|list| list.get(index))
                    .map_or(0, Argument::len);
                let written = self.put(parked, 0, &head).and_then(|()| {
                    let first = packed.len().min(space as usize);
                    self.put(parked, 1, &packed[..first])
                });
                self.reply(parked, written.as_ref().map_or_else(Abort::status, |()| 0));
                written
            })
    }
}

fn answer(ctx: u64, status: i32) -> Vec<u8> {
    Response {
        ctx,
        retval: status,
    }
    .encode()
    .to_vec()
}

/// The messages that answer a call, as the script wants them.
fn payloads(call: &Call, status: i32) -> Vec<Vec<u8>> {
    let ctx = call.request.ctx;
    let answer = |ctx| answer(ctx, status);
    let mut before = Vec::new();
    let mut main = answer(ctx);
    let mut times = 1;
    for action in call.actions() {
        match action {
            Action::CtxFirst(other) => before.push(answer(other.of(ctx))),
            Action::ShortFirst(len) => before.push(answer(ctx)[..(*len).min(main.len())].to_vec()),
            Action::Ctx(other) => main = answer(other.of(ctx)),
            Action::Short(len) => main.truncate(*len),
            Action::Long(len) => main.resize((*len).max(main.len()), 0xEE),
            Action::ReplyTwice => times = 2,
            _ => {}
        }
    }
    before.extend(std::iter::repeat_n(main, times));
    before
}
