// SPDX-License-Identifier: GPL-2.0

//! A program's call: from its arguments to a message, and from a reply to its results.

use crate::{
    call::{
        Outcome,
        Pending, //
    },
    gem::Buffer,
    layout::Arg,
    payload::{
        Builder,
        Payload,
        Target, //
    },
    process::Process,
    proto::{
        status_to_value,
        Scalars,
        HANDLE_KERNEL, //
    },
    session::Session,
    table::Class, //
};
use kernel::{
    current,
    drm::gem::BaseObject,
    prelude::*,
    sync::{
        aref::ARef,
        barrier, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// One argument as a program passes it: `struct drm_qda_invoke_arg`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserArg {
    ptr: u64,
    len: u64,
    handle: u32,
}

impl UserArg {
    const LEN: usize = 24;

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let u64_at = |at: usize| u64::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));

        Self {
            ptr: u64_at(0),
            len: u64_at(8),
            handle: u32::from_ne_bytes(core::array::from_fn(|i| bytes[16 + i])),
        }
    }

    /// The buffer's handle, if the argument is not inline.
    fn buffer(&self) -> Option<u32> {
        match self.handle {
            0 | u32::MAX => None,
            handle => Some(handle),
        }
    }
}

/// A call as a program asks for it. Two are the same if the thread that asks again means the one
/// that it was waiting for.
#[derive(PartialEq, Eq)]
pub(crate) struct Invoke {
    handle: u32,
    scalars: Scalars,
    address: u64,
    args: KVec<UserArg>,
}

impl Invoke {
    /// Reads a call whose arguments stand at the user's `address`.
    ///
    /// # Errors
    ///
    /// - [`EPERM`]: `handle` is the kernel's.
    /// - [`EOPNOTSUPP`]: `scalars` asks for handle arguments.
    /// - [`EFAULT`]: the arguments cannot be read.
    /// - [`ENOMEM`].
    pub(crate) fn read(handle: u32, scalars: u32, address: u64) -> Result<Self> {
        let scalars = Scalars(scalars);
        if handle == HANDLE_KERNEL {
            return Err(EPERM);
        }
        if scalars.handles() != 0 {
            return Err(EOPNOTSUPP);
        }

        let count = scalars.buffers();
        let mut args = KVec::with_capacity(count, GFP_KERNEL)?;
        if count > 0 {
            let start = usize::try_from(address).map_err(|_| EFAULT)?;
            let mut reader =
                UserSlice::new(UserPtr::from_addr(start), count * UserArg::LEN).reader();
            for _ in 0..count {
                let mut bytes = [0u8; UserArg::LEN];
                reader.read_slice(&mut bytes)?;
                args.push(UserArg::from_bytes(&bytes), GFP_KERNEL)?;
            }
        }
        Ok(Self {
            handle,
            scalars,
            address,
            args,
        })
    }

    /// Sends the call for `process`. `lookup` finds a buffer by its handle.
    fn send(
        &self,
        session: &Session,
        process: &Process,
        lookup: impl Fn(u32) -> Result<ARef<Buffer>>,
    ) -> Result<Pending<Payload>> {
        let who = &process.identity;
        let permit = process.permit()?;

        let mut args = KVec::with_capacity(self.args.len(), GFP_KERNEL)?;
        let mut buffers = KVec::new();
        for arg in &self.args {
            let buffer = arg.buffer().map(&lookup).transpose()?;
            let arg = match (buffer, arg.len) {
                (_, 0) => Arg::Empty,
                (None, len) => Arg::Inline {
                    len: usize::try_from(len).map_err(|_| E2BIG)?,
                },
                (Some(buffer), len) => {
                    let offset = offset_in(&buffer, arg.ptr, len)?;
                    let mapping = who.with_space(|space| space.map(&buffer))?;
                    let address = mapping.dma_address() + offset;

                    buffers.push(mapping, GFP_KERNEL)?;
                    Arg::Buffer {
                        pv: arg.ptr,
                        address,
                        len,
                    }
                }
            };
            args.push(arg, GFP_KERNEL)?;
        }

        let mut builder = Builder::new(who.lease()?, args)?;
        builder.limit(permit);
        for mapping in buffers {
            builder.hold(mapping)?;
        }
        builder.copy_from_user(self.scalars.in_bufs(), |index| self.args[index].ptr)?;

        builder.submit(
            session.channel(),
            who,
            Target {
                wire_client_id: who.client_id,
                tid: current!().pid(),
                handle: self.handle,
                scalars: self.scalars,
                class: Class::User,
            },
        )
    }

    /// Copies what the DSP has written back to the program, and returns the DSP's status.
    fn finish(&self, session: &Session, payload: &Payload, status: i32) -> Result<i32> {
        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);

        // The DSP gets no buffers to keep yet, so that it has none to give back.
        let released = payload.released()?;
        let unknown = released.iter().take_while(|&&number| number != 0).count();
        session.channel().count_unknown_releases(unknown as u64);

        for (index, range) in payload.inline() {
            if index >= self.scalars.in_bufs() {
                payload.copy_to_user(range, self.args[index].ptr)?;
            }
        }
        status_to_value(status)
    }
}

/// Offset in `buffer` of the `len` bytes at the user's address `ptr`.
///
/// # Errors
///
/// - [`EFAULT`]: no buffer is mapped there.
/// - [`EINVAL`]: another is, or the bytes reach past the end of this one.
fn offset_in(buffer: &Buffer, ptr: u64, len: u64) -> Result<u64> {
    let offset = buffer.vma_offset(usize::try_from(ptr).map_err(|_| EFAULT)?)? as u64;
    let end = offset.checked_add(len).ok_or(EINVAL)?;

    if end > buffer.size() as u64 {
        return Err(EINVAL);
    }
    Ok(offset)
}

/// Makes a call and waits for its result. `lookup` finds a buffer by its handle.
///
/// A call is sent once: a thread that was interrupted and comes back with the same call waits for
/// the one that it has sent.
///
/// # Errors
///
/// - [`ERESTARTSYS`]: a signal came, and the call is kept for the thread.
/// - [`EINTR`]: a signal came, and the call is abandoned.
/// - those of `struct drm_qda_invoke`.
pub(crate) fn invoke(
    session: &Session,
    invoke: Invoke,
    lookup: impl Fn(u32) -> Result<ARef<Buffer>>,
) -> Result<i32> {
    let process = session.process()?;
    let task = current!();

    let pending = match process.unpark(task, &invoke) {
        Some(pending) => pending,
        None => invoke.send(session, &process, lookup)?,
    };

    // The DSP may say that the call has succeeded before it answers, and need not be believed in
    // anything else: its answer alone ends what it may touch.
    if session.polls(&process, invoke.handle)
        && pending.poll(|payload| payload.polled_done() == Ok(true))
    {
        let borrowed = pending.borrow().ok_or(EPIPE)?;
        return invoke.finish(session, borrowed.payload().ok_or(EPIPE)?, 0);
    }

    if let Err(error) = pending.wait_interruptible() {
        if task.fatal_signal_pending() || process.park(task, invoke, pending).is_err() {
            return Err(EINTR);
        }
        return Err(error);
    }
    let (Outcome::Status(status), Some(payload)) = pending.collect() else {
        return Err(EPIPE);
    };
    invoke.finish(session, &payload, status)
}
