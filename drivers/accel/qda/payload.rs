// SPDX-License-Identifier: GPL-2.0

//! What a call owns: the memory that the DSP may touch because of it.

use crate::{
    arena::CallMemory,
    call::{
        Load,
        Pending,
        Request,
        Spare, //
    },
    channel::Channel,
    frame::{
        Frame,
        Lists, //
    },
    held::Share,
    identity::Identity,
    invoke::{
        Invoke,
        Loans, //
    },
    layout::{
        Arg,
        Layout, //
    },
    mapped::Mapped,
    proto::{
        Message,
        Scalars,
        POLL_DONE, //
    },
    sync,
    table::Class, //
};
use core::ops::Range;
use kernel::{
    dma::DataDirection,
    dma_buf::DmaBuf,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full, //
        },
        barrier,
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// Where a call is in its bank, and its part in what its process holds.
pub(crate) struct Place {
    memory: CallMemory,
    layout: Layout,
    /// DSP address of the memory, with the bank's prefix.
    address: u64,
    share: Share,
    taken_back: Atomic<bool>,
}

/// Memory of a call that was sent: a frame that has a place. A call moves often, and this is small.
pub(crate) struct Payload(Frame);

impl Load for Payload {
    /// Nobody waits for the results any more, but what the DSP gave back is back.
    fn answered(&self) {
        self.take_back(false);
    }
}

impl Payload {
    fn place(&self) -> Result<&Place> {
        self.0.place.as_ref().ok_or(EINVAL)
    }

    /// Index and place of the inline arguments.
    pub(crate) fn inline(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let place = self.0.place.iter();

        place.flat_map(|place| place.layout.inline(&self.0.args))
    }

    /// Keeps what the program asked for.
    pub(crate) fn set_invoke(&mut self, invoke: Invoke) {
        self.0.invoke = Some(invoke);
    }

    /// What the program asked for.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is not kept here.
    pub(crate) fn invoke(&self) -> Result<&Invoke> {
        self.0.invoke.as_ref().ok_or(EINVAL)
    }

    /// Takes what the program asked for.
    pub(crate) fn take_invoke(&mut self) -> Option<Invoke> {
        self.0.invoke.take()
    }

    /// Takes the loans of a call that is about to be sent.
    pub(crate) fn take_loans(&mut self) -> Loans {
        core::mem::take(&mut self.0.loans)
    }

    /// Gives back the loans of a call that was not sent.
    pub(crate) fn set_loans(&mut self, loans: Loans) {
        self.0.loans = loans;
    }

    /// Lets go of what the DSP had. Returns what the next call can use.
    pub(crate) fn into_frame(mut self) -> Frame {
        self.0.place = None;
        self.0
    }

    /// DSP address of the call's memory, with the bank's prefix, and its size in bytes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none.
    pub(crate) fn extent(&self) -> Result<(u64, u64)> {
        let place = self.place()?;

        Ok((place.address, place.layout.size() as u64))
    }

    /// Copies a range of the call's memory to a user's address.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if the user's memory cannot be written.
    pub(crate) fn copy_to_user(&self, range: Range<usize>, to: u64) -> Result {
        let writer = UserSlice::new(user_ptr(to)?, range.len()).writer();

        self.place()?.memory.copy_to_user(range, writer)
    }

    /// Copies inline argument `index` to `bytes`, which are as long.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is not an inline argument of that length.
    pub(crate) fn read(&self, index: usize, bytes: &mut [u8]) -> Result {
        let place = self.inline().find(|(i, _)| *i == index);
        let (_, range) = place.ok_or(EINVAL)?;
        if range.len() != bytes.len() {
            return Err(EINVAL);
        }
        self.place()?.memory.read(range.start, bytes)
    }

    /// Whether the DSP says, before it answers, that the call has succeeded. It may lie, but only
    /// about its own results.
    pub(crate) fn polled_done(&self) -> Result<bool> {
        let place = self.place()?;
        let mut word = [0u8; 4];
        place
            .memory
            .read(place.layout.poll_word().start, &mut word)?;

        Ok(u32::from_le_bytes(word) == POLL_DONE)
    }

    /// The numbers of buffers that the DSP says it gives back.
    fn given_back(&self) -> impl Iterator<Item = u64> + '_ {
        let place = self.0.place.iter();
        let numbers = place.flat_map(|place| {
            place.layout.fdlist().step_by(8).map(|start| {
                let mut number = [0u8; 8];

                place.memory.read(start, &mut number)?;
                Ok::<_, Error>(u64::from_le_bytes(number))
            })
        });

        numbers.map_while(|number| number.ok().filter(|&number| number != 0))
    }

    /// Index of the arguments that are buffers, with the use of each, and the part that is passed.
    fn passed(&self) -> impl Iterator<Item = (usize, &Arc<Mapped>, Range<usize>)> + '_ {
        let mut uses = self.0.buffers.iter();

        self.0
            .args
            .iter()
            .enumerate()
            .filter_map(move |(index, arg)| match arg {
                Arg::Buffer { address, len, .. } => {
                    let mapped = uses.next()?;
                    // CAST: It is in the buffer.
                    let start = (address - mapped.address()) as usize;
                    Some((index, mapped, start..start + *len as usize))
                }
                Arg::Handle { .. } => {
                    let mapped = uses.next()?;
                    Some((index, mapped, mapped.all()))
                }
                _ => None,
            })
    }

    /// Number `count` of the imports that the DSP has written to, as far as `invoke` tells, or
    /// gives back, where the CPU does not see that by itself.
    fn written(&self, invoke: &Invoke, count: usize) -> Option<ARef<DmaBuf>> {
        let place = self.0.place.as_ref()?;
        if !place.memory.lease().needs_sync() {
            return None;
        }

        let passed = self.passed().filter_map(|(index, mapped, _)| {
            let dma_buf = mapped.buffer().dma_buf()?;
            // The others are unmapped with the call.
            let is_wanted = invoke.is_written(index) && dma_buf.has_cpu_access();
            is_wanted.then(|| dma_buf.into())
        });
        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);
        let given_back = self
            .given_back()
            .filter_map(|number| place.share.lent_dma_buf(number))
            .filter(|dma_buf| dma_buf.has_cpu_access());

        Iterator::chain(passed, given_back).nth(count)
    }

    /// Whether the CPU can see what the DSP has written before the buffers of the call are
    /// unmapped, which they are when it is answered.
    pub(crate) fn is_visible(&self) -> bool {
        let needs_sync = |mapped: &Arc<Mapped>| mapped.lease().needs_sync();

        !self
            .0
            .buffers
            .iter()
            .any(|mapped| needs_sync(mapped) && sync::is_mute(mapped.buffer()))
    }

    /// Makes what the DSP has written to our own buffers visible to the CPU.
    pub(crate) fn sync_written(&self, invoke: &Invoke) {
        for (_, mapped, range) in self
            .passed()
            .filter(|(index, ..)| invoke.is_written(*index))
        {
            mapped.sync_for_cpu(range, DataDirection::FromDevice);
        }
    }

    /// Takes back the buffers that the DSP says it gives back. The first time counts: a call that
    /// was polled is answered after its results were taken. The results can be read when this
    /// returns. See [`Held::take_back`] for `heard`.
    ///
    /// [`Held::take_back`]: crate::held::Held::take_back
    pub(crate) fn take_back(&self, heard: bool) {
        let Some(place) = &self.0.place else {
            return;
        };
        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);
        if place.taken_back.xchg(true, Full) {
            return;
        }

        for number in self.given_back() {
            place.share.take_back(number, heard);
        }
    }
}

/// Makes what the DSP has written to imports visible to the CPU, before the results of a call are
/// taken; `invoke` is what the program asked for, if it is not kept in the call.
///
/// # Errors
///
/// Those of [`sync::invalidate`]; the results can be taken later.
pub(crate) fn invalidate(pending: &Pending<Payload>, invoke: Option<&Invoke>) -> Result {
    for count in 0.. {
        let dma_buf = pending.peek(|payload| {
            let invoke = invoke.or(payload.invoke().ok())?;

            payload.written(invoke, count)
        });
        let Some(dma_buf) = dma_buf.flatten() else {
            break;
        };
        sync::invalidate(&dma_buf)?;
    }
    Ok(())
}

fn user_ptr(address: u64) -> Result<UserPtr> {
    Ok(UserPtr::from_addr(
        usize::try_from(address).map_err(|_| EFAULT)?,
    ))
}

/// Where a call goes, and in whose name.
pub(crate) struct Target {
    /// Client id in the message: that of the process, or 0.
    pub(crate) wire_client_id: i32,
    /// Thread number in the message.
    pub(crate) tid: i32,
    /// Remote handle.
    pub(crate) handle: u32,
    /// Method and argument counts.
    pub(crate) scalars: Scalars,
    /// Who may be refused.
    pub(crate) class: Class,
}

impl Target {
    /// What is sent in the name of `who` for the call with memory at `address`, of `size` bytes.
    pub(crate) fn request(&self, who: &Identity, (address, size): (u64, u64)) -> Request {
        Request {
            client_id: who.client_id,
            class: self.class,
            pd: who.pd,
            message: Message {
                client_id: self.wire_client_id,
                tid: self.tid,
                context: 0,
                handle: self.handle,
                scalars: self.scalars.0,
                address,
                size,
            },
        }
    }
}

/// A call that can be sent.
pub(crate) struct Ready {
    /// What the call owns.
    pub(crate) payload: Payload,
    /// A call that is over.
    pub(crate) spare: Option<Spare<Payload>>,
}

/// Memory of a call that is being put together. The DSP does not know of it yet.
pub(crate) struct Builder(Payload);

impl Builder {
    /// Takes memory for a call of `who` with the arguments and buffers of `frame`, and the part
    /// `share` in what the process holds.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`]: the process has ended.
    /// - [`E2BIG`]: too much inline data.
    /// - [`EOPNOTSUPP`]: the bank's addresses cannot be used.
    /// - [`ENOMEM`]: out of memory, or of addresses of the bank.
    pub(crate) fn new(who: &Identity, frame: Frame, share: Share) -> Result<Self> {
        Self::with(frame, share, |len| who.call_memory(len))
    }

    /// As [`Builder::new`], for the call that ends the process.
    ///
    /// # Errors
    ///
    /// As [`Builder::new`]; out of memory, it does so only for the second of such calls.
    pub(crate) fn last(who: &Identity, frame: Frame) -> Result<Self> {
        let share = who.held.unlimited_share();

        Self::with(frame, share, |len| who.last_memory(len))
    }

    fn with(
        mut frame: Frame,
        share: Share,
        memory: impl FnOnce(usize) -> Result<CallMemory>,
    ) -> Result<Self> {
        let layout = Layout::new(&frame.args)?;
        let memory = memory(layout.size())?;
        let prefix = memory.lease().prefix();

        frame.place = Some(Place {
            address: prefix.apply(memory.dma_address()).map_err(|_| EOPNOTSUPP)?,
            memory,
            layout,
            share,
            taken_back: Atomic::new(false),
        });
        Ok(Self(Payload(frame)))
    }

    /// Copies `bytes` into argument `index`; all of them, or none.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is not an inline argument of that length.
    pub(crate) fn fill(&mut self, index: usize, bytes: &[u8]) -> Result {
        if bytes.is_empty() {
            return Ok(());
        }
        let place = self.0.inline().find(|(i, _)| *i == index);
        let (_, range) = place.ok_or(EINVAL)?;
        if range.len() != bytes.len() {
            return Err(EINVAL);
        }
        self.0.place()?.memory.write(range.start, bytes)
    }

    /// Copies the inline arguments with an index below `count` from where `from` says.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if a user's memory cannot be read.
    pub(crate) fn copy_from_user(&mut self, count: usize, from: impl Fn(usize) -> u64) -> Result {
        let memory = &self.0.place()?.memory;

        for (index, range) in self.0.inline() {
            if index >= count {
                break;
            }
            let reader = UserSlice::new(user_ptr(from(index))?, range.len()).reader();
            memory.copy_from_user(range, reader)?;
        }
        Ok(())
    }

    /// Writes the tables and sends the call.
    ///
    /// # Errors
    ///
    /// As [`Builder::finish`] and [`Calls::submit`](crate::call::Calls::submit).
    pub(crate) fn submit(
        self,
        channel: &Channel,
        who: &Identity,
        target: &Target,
    ) -> Result<Pending<Payload>> {
        let Ready { payload, spare } = self.finish(target.scalars)?;
        let request = target.request(who, payload.extent()?);

        channel
            .calls
            .submit(&*channel.transport, &who.dead, request, payload, spare)
    }

    /// Writes the tables of a call with `scalars`; what comes of it can be sent.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: the bank's addresses cannot be used.
    /// - [`ENOMEM`].
    pub(crate) fn finish(self, scalars: Scalars) -> Result<Ready> {
        let Self(mut payload) = self;
        let Lists {
            args,
            tables,
            place,
            call,
            ..
        } = &mut *payload.0;
        let Place { memory, layout, .. } = place.as_ref().ok_or(EINVAL)?;

        // The program gets back what is in these, whether the DSP writes them or not.
        let results = layout.inline(args);
        for (_, range) in results.filter(|(index, _)| *index >= scalars.in_bufs()) {
            memory.clear(range)?;
        }

        memory.clear(layout.trailer())?;
        tables.resize(layout.entry_words(), 0, GFP_KERNEL)?;
        layout
            .encode(args, memory.dma_address(), memory.lease().prefix(), tables)
            .map_err(|_| EOPNOTSUPP)?;
        memory.write(0, tables.as_bytes())?;

        // The DSP must see the call's memory no later than the message.
        barrier::dma_mb(barrier::Write);

        let spare = call.take();
        Ok(Ready { payload, spare })
    }
}
