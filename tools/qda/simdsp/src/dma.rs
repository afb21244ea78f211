// SPDX-License-Identifier: GPL-2.0

//! How calls reach memory: always through the context bank, and only while they live.

use crate::call::{Abort, Call, MAX_ARGUMENT};
use crate::dsp::{Dsp, Inner};
use crate::meta::{Argument, Kind};
use crate::strict::Rule;
use crate::wire::Address;
use std::time::{Duration, Instant};

/// Bytes that a probe reads at once.
const PROBE: u64 = 1 << 20;

impl Dsp {
    /// Whether the process or the channel of a call is gone.
    pub(crate) fn is_cancelled(&self, call: &Call) -> bool {
        call.epoch != self.epoch()
            || call
                .process
                .as_ref()
                .is_some_and(|process| process.is_dead())
    }

    fn alive(&self, call: &Call) -> Result<(), Abort> {
        match self.is_cancelled(call) {
            true => Err(Abort::Cancelled),
            false => Ok(()),
        }
    }

    /// Reads memory for a call.
    ///
    /// # Errors
    ///
    /// A fault, which is recorded; the call is cancelled; more than [`MAX_ARGUMENT`] bytes.
    pub fn read(&self, call: &Call, addr: Address, len: u64) -> Result<Vec<u8>, Abort> {
        let _access = self.accessing();
        self.alive(call)?;
        if len > MAX_ARGUMENT {
            return Err(Abort::bad(format!("{len:#x} bytes")));
        }
        let mut data = vec![0; len as usize];
        if len != 0 {
            self.memory
                .read(addr.bank, addr.iova, &mut data)
                .map_err(|fault| {
                    self.record_fault(call, addr.bank, &fault);
                    Abort::Fault(fault)
                })?;
        }
        Ok(data)
    }

    /// Writes memory for a call.
    ///
    /// # Errors
    ///
    /// A fault, which is recorded; the call is cancelled.
    pub fn write(&self, call: &Call, addr: Address, data: &[u8]) -> Result<(), Abort> {
        let _access = self.accessing();
        self.alive(call)?;
        if data.is_empty() {
            return Ok(());
        }
        self.memory
            .write(addr.bank, addr.iova, data)
            .map_err(|fault| {
                self.record_fault(call, addr.bank, &fault);
                Abort::Fault(fault)
            })
    }

    /// Reads all of a range, and reports what is not mapped.
    ///
    /// # Errors
    ///
    /// As for [`Dsp::read`].
    pub(crate) fn probe(
        &self,
        call: &Call,
        what: &str,
        addr: Address,
        size: u64,
    ) -> Result<(), Abort> {
        if size > MAX_ARGUMENT {
            return Err(Abort::bad(format!("{what}: {size:#x} bytes")));
        }
        let end = addr.iova.saturating_add(size);
        for iova in (addr.iova..end).step_by(PROBE as usize) {
            let len = PROBE.min(end - iova);
            self.read(call, Address { iova, ..addr }, len)
                .inspect_err(|abort| {
                    if let Abort::Fault(fault) = abort {
                        self.judge()
                            .report(Rule::Unmapped, format!("{what}: {fault}"));
                    }
                })?;
        }
        Ok(())
    }

    /// The data of an argument.
    ///
    /// # Errors
    ///
    /// There is no such argument, or as for [`Dsp::read`].
    pub(crate) fn bytes(&self, call: &Call, argument: Option<&Argument>) -> Result<Vec<u8>, Abort> {
        let argument = argument.ok_or_else(|| Abort::bad("too few arguments"))?;
        match argument.data() {
            _ if argument.is_empty() => Ok(Vec::new()),
            Some(addr) => self.read(call, self.split(addr), argument.len()),
            None => Err(Abort::bad("argument without a page entry")),
        }
    }

    /// Writes the start of an argument.
    ///
    /// # Errors
    ///
    /// There is no such argument, it is too short, or as for [`Dsp::write`].
    pub(crate) fn store(
        &self,
        call: &Call,
        argument: Option<&Argument>,
        data: &[u8],
    ) -> Result<(), Abort> {
        let argument = argument.ok_or_else(|| Abort::bad("too few arguments"))?;
        if data.len() as u64 > argument.len() {
            return Err(Abort::bad(format!(
                "{} bytes into {}",
                data.len(),
                argument.len()
            )));
        }
        match argument.data() {
            _ if data.is_empty() => Ok(()),
            Some(addr) => self.write(call, self.split(addr), data),
            None => Err(Abort::bad("argument without a page entry")),
        }
    }

    /// The bytes of in buffer `i`.
    ///
    /// # Errors
    ///
    /// There is no such buffer, or as for [`Dsp::read`].
    pub fn in_buf(&self, call: &Call, i: usize) -> Result<Vec<u8>, Abort> {
        let argument = self
            .argument(call, i)
            .filter(|argument| argument.kind == Kind::In);
        self.bytes(call, argument)
    }

    /// Writes the start of out buffer `i`.
    ///
    /// # Errors
    ///
    /// There is no such buffer, it is too short, or as for [`Dsp::write`].
    pub fn put(&self, call: &Call, i: usize, data: &[u8]) -> Result<(), Abort> {
        let argument = self.argument(call, call.request.sc.ins() + i);
        self.store(
            call,
            argument.filter(|argument| argument.kind == Kind::Out),
            data,
        )
    }

    /// Writes all of out buffer `i` of a kernel call; another length breaks a rule.
    ///
    /// # Errors
    ///
    /// There is no such buffer, it is too short, or as for [`Dsp::write`].
    pub(crate) fn put_exact(&self, call: &Call, i: usize, data: &[u8]) -> Result<(), Abort> {
        let argument = self.argument(call, call.request.sc.ins() + i);
        let len = argument.map_or(0, Argument::len);
        if len != data.len() as u64 {
            let what = format!(
                "{:?} out {i}: {len} bytes, not {}",
                call.request.sc,
                data.len()
            );
            self.judge().report(Rule::KernelSize, &*what);
            return Err(Abort::Bad(what));
        }
        self.put(call, i, data)
    }

    fn argument<'a>(&self, call: &'a Call, index: usize) -> Option<&'a Argument> {
        call.prepared.get()?.meta.arguments.get(index)
    }

    /// Sleeps while the call lives.
    ///
    /// # Errors
    ///
    /// [`Abort::Cancelled`].
    pub(crate) fn sleep(&self, call: &Call, time: Duration) -> Result<(), Abort> {
        self.wait(Instant::now() + time, |_: &mut Inner| {
            self.is_cancelled(call)
        });
        self.alive(call)
    }
}
