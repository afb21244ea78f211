// SPDX-License-Identifier: GPL-2.0

//! One call from the guest, and the view of it that modules have.

use crate::dsp::Dsp;
use crate::lanes::Ticket;
use crate::meta::{Argument, Meta};
use crate::pd::Outcome;
use crate::port::Fault;
use crate::process::Process;
use crate::script::Action;
use crate::wire::{status, Address, Request};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Longest argument that is served; more is a mistake.
pub const MAX_ARGUMENT: u64 = 1 << 30;

/// Why a call stops early.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Abort {
    /// The SMMU refused an access.
    #[error("fault: {0}")]
    Fault(#[from] Fault),
    /// The process is released, or the channel is gone.
    #[error("cancelled")]
    Cancelled,
    /// The arguments are wrong.
    #[error("bad argument: {0}")]
    Bad(String),
}

impl Abort {
    /// Wrong arguments, with the reason.
    pub fn bad(why: impl Into<String>) -> Self {
        Abort::Bad(why.into())
    }

    /// The status that the guest sees.
    pub fn status(&self) -> i32 {
        match self {
            Abort::Fault(_) => status::FAULT,
            Abort::Cancelled => status::BAD_STATE,
            Abort::Bad(_) => status::BAD_PARAMETER,
        }
    }
}

/// What was found out when the call was first looked at.
#[derive(Debug)]
pub struct Prepared {
    /// Its tables.
    pub meta: Meta,
    /// What the script does to it.
    pub actions: Vec<Action>,
}

/// A call that the DSP has taken.
#[derive(Debug)]
pub struct Call {
    /// Number of the message, from 1.
    pub serial: u64,
    /// The message.
    pub request: Request,
    /// Where the metadata is.
    pub at: Address,
    /// Process of a user call; `None` for kernel calls and unknown clients.
    pub process: Option<Arc<Process>>,
    /// Which life of the channel it belongs to.
    pub epoch: u64,
    /// When it came.
    pub came: Instant,
    pub(crate) ticket: OnceLock<Ticket>,
    pub(crate) prepared: OnceLock<Prepared>,
    pub(crate) give_back: Mutex<Vec<u64>>,
    released: AtomicBool,
    answered: AtomicBool,
    polled: AtomicBool,
}

impl Call {
    /// A call that nobody has looked at.
    pub(crate) fn new(
        serial: u64,
        request: Request,
        at: Address,
        process: Option<Arc<Process>>,
        epoch: u64,
    ) -> Self {
        Self {
            serial,
            request,
            at,
            process,
            epoch,
            came: Instant::now(),
            ticket: OnceLock::new(),
            prepared: OnceLock::new(),
            give_back: Mutex::new(Vec::new()),
            released: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            polled: AtomicBool::new(false),
        }
    }

    /// Takes the right to answer; only the first gets it.
    pub(crate) fn take_answer(&self) -> bool {
        !self.answered.swap(true, Ordering::AcqRel)
    }

    /// Notes that the poll word is about to be written.
    pub(crate) fn set_polled(&self) {
        self.polled.store(true, Ordering::Release);
    }

    /// Whether the poll word was written, or is about to be.
    pub(crate) fn has_polled(&self) -> bool {
        self.polled.load(Ordering::Acquire)
    }

    /// Lets a held call go on.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    /// Whether it was held and may go on.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    pub(crate) fn actions(&self) -> &[Action] {
        self.prepared
            .get()
            .map_or(&[], |prepared| &prepared.actions)
    }
}

/// A call, as the code that serves it sees it. Indices count within each sort of arguments.
pub struct Cx<'a> {
    /// The DSP.
    pub dsp: &'a Arc<Dsp>,
    /// The call.
    pub call: &'a Arc<Call>,
    /// Its process.
    pub process: &'a Arc<Process>,
}

impl Cx<'_> {
    /// Method of the scalars word.
    pub fn method(&self) -> u32 {
        self.call.request.sc.method()
    }
    /// Number of in buffers.
    pub fn ins(&self) -> usize {
        self.call.request.sc.ins()
    }
    /// Number of out buffers.
    pub fn outs(&self) -> usize {
        self.call.request.sc.outs()
    }
    /// Number of in handles.
    pub fn in_handles(&self) -> usize {
        self.call.request.sc.in_handles()
    }
    /// Number of out handles.
    pub fn out_handles(&self) -> usize {
        self.call.request.sc.out_handles()
    }

    /// Reads memory for this call.
    ///
    /// # Errors
    ///
    /// A fault, or the call is cancelled.
    pub fn read(&self, addr: Address, len: u64) -> Result<Vec<u8>, Abort> {
        self.dsp.read(self.call, addr, len)
    }

    /// Writes memory for this call.
    ///
    /// # Errors
    ///
    /// A fault, or the call is cancelled.
    pub fn write(&self, addr: Address, data: &[u8]) -> Result<(), Abort> {
        self.dsp.write(self.call, addr, data)
    }

    /// The bytes of in buffer `i`.
    ///
    /// # Errors
    ///
    /// There is no such buffer, or as for [`Cx::read`].
    pub fn in_buf(&self, i: usize) -> Result<Vec<u8>, Abort> {
        self.dsp.in_buf(self.call, i)
    }

    /// The first `N` words of in buffer `i`.
    ///
    /// # Errors
    ///
    /// It is shorter, or as for [`Cx::in_buf`].
    pub fn in_words<const N: usize>(&self, i: usize) -> Result<[u32; N], Abort> {
        let data = self.in_buf(i)?;
        words(&data).ok_or_else(|| Abort::bad(format!("in buffer {i}: {} bytes", data.len())))
    }

    /// Length of out buffer `i`; 0 when there is none.
    pub fn out_len(&self, i: usize) -> u64 {
        self.argument(self.ins() + i, i < self.outs())
            .map_or(0, Argument::len)
    }

    /// Writes the start of out buffer `i`.
    ///
    /// # Errors
    ///
    /// The buffer is shorter, or as for [`Cx::write`].
    pub fn put(&self, i: usize, data: &[u8]) -> Result<(), Abort> {
        self.dsp.put(self.call, i, data)
    }

    /// Writes all of out buffer `i`.
    ///
    /// # Errors
    ///
    /// The buffer has another length, or as for [`Cx::write`].
    pub fn put_exact(&self, i: usize, data: &[u8]) -> Result<(), Abort> {
        if i >= self.outs() || self.out_len(i) != data.len() as u64 {
            return Err(Abort::bad(format!(
                "out buffer {i}: {} bytes, not {}",
                self.out_len(i),
                data.len()
            )));
        }
        self.put(i, data)
    }

    /// Writes words to the start of out buffer `i`.
    ///
    /// # Errors
    ///
    /// As for [`Cx::put`].
    pub fn put_words(&self, i: usize, words: &[u32]) -> Result<(), Abort> {
        let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(i, &data)
    }

    /// The bytes of in handle `i`.
    ///
    /// # Errors
    ///
    /// There is no such handle, or as for [`Cx::read`].
    pub fn in_handle(&self, i: usize) -> Result<Vec<u8>, Abort> {
        let index = self.ins() + self.outs() + i;
        let argument = self.argument(index, i < self.in_handles());
        self.dsp.bytes(self.call, argument)
    }

    /// Length of out handle `i`; 0 when there is none.
    pub fn out_handle_len(&self, i: usize) -> u64 {
        self.out_handle(i).map_or(0, Argument::len)
    }

    /// Writes the start of out handle `i`.
    ///
    /// # Errors
    ///
    /// As for [`Cx::put`].
    pub fn put_handle(&self, i: usize, data: &[u8]) -> Result<(), Abort> {
        self.dsp.store(self.call, self.out_handle(i), data)
    }

    fn out_handle(&self, i: usize) -> Option<&Argument> {
        let index = self.ins() + self.outs() + self.in_handles() + i;
        self.argument(index, i < self.out_handles())
    }

    fn argument(&self, index: usize, exists: bool) -> Option<&Argument> {
        let meta = &self.call.prepared.get()?.meta;
        meta.arguments.get(index).filter(|_| exists)
    }

    /// Gives these numbers back with the answer.
    pub fn give_back(&self, numbers: Vec<u64>) {
        *self
            .call
            .give_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    /// Sleeps while the process lives.
    ///
    /// # Errors
    ///
    /// [`Abort::Cancelled`].
    pub fn sleep(&self, time: Duration) -> Result<(), Abort> {
        self.dsp.sleep(self.call, time)
    }

    /// Parks the call until the test releases it; then it is done with status 0.
    pub fn hold(&self) -> Outcome {
        if self.call.is_released() {
            return Outcome::Done(0);
        }
        self.dsp.hold(self.call);
        Outcome::Parked
    }
}

/// The first `N` words of some bytes.
pub fn words<const N: usize>(data: &[u8]) -> Option<[u32; N]> {
    let mut out = [0; N];
    for (word, bytes) in out.iter_mut().zip(data.get(..4 * N)?.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(out)
}
