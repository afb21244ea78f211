// SPDX-License-Identifier: GPL-2.0

//! What a call owns: the memory that the DSP may touch because of it.

use crate::{
    arena::CallMemory,
    bank::Lease,
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
    held::Held,
    layout::Layout,
    process::{
        Identity,
        Permit, //
    },
    proto::{
        Message,
        Scalars,
        FDLIST_LEN,
        POLL_DONE, //
    },
    table::Class, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::{
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

/// Memory of a call that was sent.
///
/// Fields are dropped in this order: the lease goes last.
pub(crate) struct Payload {
    memory: CallMemory,
    layout: Layout,
    frame: Frame,
    held: Arc<Held>,
    taken_back: Atomic<bool>,
    _permit: Option<Permit>,
    _lease: Arc<Lease>,
}

impl Load for Payload {
    /// Nobody waits for the results any more, but what the DSP gave back is back.
    fn answered(&self) {
        self.take_back();
    }
}

impl Payload {
    /// Index and place of the inline arguments.
    pub(crate) fn inline(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        self.layout.inline(&self.frame.args)
    }

    /// Lets go of what the DSP had. Returns what the next call can use.
    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }

    /// Copies a range of the call's memory to a user's address.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if the user's memory cannot be written.
    pub(crate) fn copy_to_user(&self, range: Range<usize>, to: u64) -> Result {
        let writer = UserSlice::new(user_ptr(to)?, range.len()).writer();

        self.memory.copy_to_user(range, writer)
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
        self.memory.read(range.start, bytes)
    }

    /// Whether the DSP says, before it answers, that the call has succeeded. It may lie, but only
    /// about its own results.
    pub(crate) fn polled_done(&self) -> Result<bool> {
        let mut word = [0u8; 4];
        self.memory.read(self.layout.poll_word().start, &mut word)?;

        Ok(u32::from_le_bytes(word) == POLL_DONE)
    }

    /// Numbers in the DSP's list of buffers that it gives back.
    fn released(&self) -> Result<[u64; FDLIST_LEN]> {
        let mut bytes = [0u8; FDLIST_LEN * 8];
        self.memory.read(self.layout.fdlist().start, &mut bytes)?;

        let mut numbers = [0u64; FDLIST_LEN];
        for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = chunk.try_into().map_or(0, u64::from_le_bytes);
        }
        Ok(numbers)
    }

    /// Takes back the buffers that the DSP says it gives back. The first time counts: a call that
    /// was polled is answered after its results were taken.
    pub(crate) fn take_back(&self) {
        if self.taken_back.xchg(true, Full) {
            return;
        }
        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);

        let numbers = self.released().unwrap_or_default();
        for number in numbers.into_iter().take_while(|&number| number != 0) {
            self.held.take_back(number);
        }
    }
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

/// A call that can be sent.
pub(crate) struct Ready {
    /// What is sent.
    pub(crate) request: Request,
    /// What the call owns.
    pub(crate) payload: Payload,
    /// A call that is over.
    pub(crate) spare: Option<Spare<Payload>>,
}

/// Memory of a call that is being put together. The DSP does not know of it yet.
pub(crate) struct Builder {
    memory: CallMemory,
    layout: Layout,
    frame: Frame,
    permit: Option<Permit>,
    lease: Arc<Lease>,
}

impl Builder {
    /// Takes memory for a call of `who` with the arguments and buffers of `frame`.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`]: the process has ended.
    /// - [`E2BIG`]: too much inline data.
    /// - [`ENOMEM`]: out of memory, or of addresses of the bank.
    pub(crate) fn new(who: &Identity, frame: Frame) -> Result<Self> {
        let layout = Layout::new(&frame.args)?;
        let (memory, lease) = who.call_memory(layout.size())?;

        Ok(Self {
            memory,
            layout,
            frame,
            permit: None,
            lease,
        })
    }

    /// Counts the call against a limit for as long as the DSP has it.
    pub(crate) fn limit(&mut self, permit: Permit) {
        self.permit = Some(permit);
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
        let place = self
            .layout
            .inline(&self.frame.args)
            .find(|(i, _)| *i == index);
        let (_, range) = place.ok_or(EINVAL)?;
        if range.len() != bytes.len() {
            return Err(EINVAL);
        }
        self.memory.write(range.start, bytes)
    }

    /// Copies the inline arguments with an index below `count` from where `from` says.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if a user's memory cannot be read.
    pub(crate) fn copy_from_user(&mut self, count: usize, from: impl Fn(usize) -> u64) -> Result {
        for (index, range) in self.layout.inline(&self.frame.args) {
            if index >= count {
                break;
            }
            let reader = UserSlice::new(user_ptr(from(index))?, range.len()).reader();
            self.memory.copy_from_user(range, reader)?;
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
        target: Target,
    ) -> Result<Pending<Payload>> {
        let Ready {
            request,
            payload,
            spare,
        } = self.finish(who, target)?;

        channel
            .calls
            .submit(&*channel.transport, &who.dead, request, payload, spare)
    }

    /// Writes the tables; what comes of it can be sent.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`]: the bank's addresses cannot be used.
    /// - [`ENOMEM`].
    pub(crate) fn finish(mut self, who: &Identity, target: Target) -> Result<Ready> {
        let prefix = self.lease.prefix();
        let base = self.memory.dma_address();

        // The program gets back what is in these, whether the DSP writes them or not.
        let results = self.layout.inline(&self.frame.args);
        for (_, range) in results.filter(|(index, _)| *index >= target.scalars.in_bufs()) {
            self.memory.clear(range)?;
        }

        let Lists { args, tables, .. } = &mut *self.frame;
        tables.resize(self.layout.tables_len(), 0, GFP_KERNEL)?;
        self.layout
            .encode(args, base, prefix, tables)
            .map_err(|_| EOPNOTSUPP)?;
        self.memory.write(0, tables)?;
        let spare = self.frame.call.take();

        // The DSP must see the call's memory no later than the message.
        barrier::dma_mb(barrier::Write);

        Ok(Ready {
            request: Request {
                client_id: who.client_id,
                class: target.class,
                pd: who.pd,
                message: Message {
                    client_id: target.wire_client_id,
                    tid: target.tid,
                    context: 0,
                    handle: target.handle,
                    scalars: target.scalars.0,
                    address: prefix.apply(base)?,
                    size: self.layout.size() as u64,
                },
            },
            payload: Payload {
                memory: self.memory,
                layout: self.layout,
                frame: self.frame,
                held: who.held.clone(),
                taken_back: Atomic::new(false),
                _permit: self.permit,
                _lease: self.lease,
            },
            spare,
        })
    }
}
