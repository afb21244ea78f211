// SPDX-License-Identifier: GPL-2.0

//! A program's call: from its arguments to a message, and from a reply to its results.

use crate::{
    call::{
        Outcome,
        Pending, //
    },
    gem::Buffer,
    held::Holding,
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
    space::Mapped,
    table::Class, //
};
use kernel::{
    current,
    drm::gem::BaseObject,
    prelude::*,
    sync::{
        aref::ARef,
        barrier,
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// How a front end finds the buffers that a program names by a number.
///
/// Programs pass GEM handles and file descriptors of dma-bufs in the same place.
pub(crate) trait Names {
    /// The buffer with this GEM handle.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if there is none.
    fn handle(&self, handle: u32) -> Result<ARef<Buffer>>;

    /// The buffer behind this file descriptor.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if it is not one of a dma-buf, else as
    /// [`Imports::get`](crate::imports::Imports::get).
    fn fd(&self, fd: i32) -> Result<ARef<Buffer>>;
}

/// The buffer that `number` means and that the program has mapped at `ptr`, and the offset in it.
///
/// # Errors
///
/// - [`ENOENT`]: the number means no buffer.
/// - those of [`offset_in`].
pub(crate) fn buffer_at(
    names: &impl Names,
    number: u32,
    ptr: u64,
    len: u64,
) -> Result<(ARef<Buffer>, u64)> {
    let by_handle = names.handle(number).and_then(|buffer| {
        let offset = offset_in(&buffer, ptr, len)?;
        Ok((buffer, offset))
    });
    let error = match by_handle {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };

    let Ok(buffer) = i32::try_from(number).map_err(|_| ENOENT).and_then(|fd| names.fd(fd)) else {
        return Err(error);
    };
    match offset_in(&buffer, ptr, len) {
        Ok(offset) => Ok((buffer, offset)),
        // A handle comes first, also where it does not fit.
        Err(_) if error != ENOENT => Err(error),
        Err(error) => Err(error),
    }
}

/// The buffer that `number` means where there is no address to tell.
///
/// # Errors
///
/// [`ENOENT`]: none.
pub(crate) fn buffer_named(names: &impl Names, number: u32) -> Result<ARef<Buffer>> {
    match names.handle(number) {
        Err(ENOENT) => names.fd(i32::try_from(number).map_err(|_| ENOENT)?),
        other => other,
    }
}

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
    /// - [`EFAULT`]: the arguments cannot be read.
    /// - [`ENOMEM`].
    pub(crate) fn read(handle: u32, scalars: u32, address: u64) -> Result<Self> {
        let scalars = Scalars(scalars);
        if handle == HANDLE_KERNEL {
            return Err(EPERM);
        }

        let count = scalars.args();
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

    /// The argument `arg` as the DSP is to see it; what it needs is added to `call`.
    fn buffer_arg(&self, arg: &UserArg, names: &impl Names, call: &mut Parts<'_>) -> Result<Arg> {
        match (arg.buffer(), arg.len) {
            // A number must mean something, also where nothing is passed.
            (Some(number), 0) => buffer_named(names, number).map(|_| Arg::Empty),
            (None, 0) => Ok(Arg::Empty),
            (None, len) => Ok(Arg::Inline {
                len: usize::try_from(len).map_err(|_| E2BIG)?,
            }),
            (Some(number), len) => {
                let (buffer, offset) = buffer_at(names, number, arg.ptr, len)?;
                let mapped = call.process.identity.with_space(|space| space.map(&buffer))?;
                let address = mapped.address() + offset;

                call.buffers.push(mapped, GFP_KERNEL)?;
                Ok(Arg::Buffer {
                    pv: arg.ptr,
                    address,
                    len,
                })
            }
        }
    }

    /// A buffer that is passed by number, for the DSP to keep until it gives it back.
    fn handle_arg(&self, arg: &UserArg, names: &impl Names, call: &mut Parts<'_>) -> Result<Arg> {
        let who = &call.process.identity;
        // CAST: The DSP takes it as a signed number.
        let number = arg.handle as i32;
        let offset = u32::try_from(arg.ptr).map_err(|_| EINVAL)?;
        let len = u32::try_from(arg.len).map_err(|_| EINVAL)?;

        // What the DSP has under this number already goes before what it may mean now.
        let known = who
            .held
            .with(|numbers| Ok(numbers.get(number).map(|holding| holding.0.clone())))?;
        let mapped = match known {
            Some(mapped) => mapped,
            None => {
                let buffer = buffer_named(names, arg.handle)?;
                who.with_space(|space| space.map(&buffer))?
            }
        };
        let size = mapped.buffer().size() as u64;
        if u64::from(offset) + u64::from(len) > size {
            return Err(EINVAL);
        }

        call.lend(number, &mapped)?;
        let address = mapped.address();
        call.buffers.push(mapped, GFP_KERNEL)?;
        Ok(Arg::Handle {
            number,
            offset,
            len,
            address,
            size,
        })
    }

    /// Sends the call for `process`.
    fn send(
        &self,
        session: &Session,
        process: &Process,
        names: &impl Names,
    ) -> Result<Pending<Payload>> {
        let who = &process.identity;
        let permit = process.permit()?;

        let mut call = Parts::new(process);
        let mut args = KVec::with_capacity(self.args.len(), GFP_KERNEL)?;
        for (index, arg) in self.args.iter().enumerate() {
            let arg = if index < self.scalars.buffers() {
                self.buffer_arg(arg, names, &mut call)?
            } else {
                self.handle_arg(arg, names, &mut call)?
            };
            args.push(arg, GFP_KERNEL)?;
        }

        let mut builder = Builder::new(who.lease()?, args)?;
        builder.limit(permit);
        for mapped in core::mem::replace(&mut call.buffers, KVec::new()) {
            builder.hold(mapped)?;
        }
        builder.copy_from_user(self.scalars.in_bufs(), |index| self.args[index].ptr)?;

        let pending = builder.submit(
            session.channel(),
            who,
            Target {
                wire_client_id: who.client_id,
                tid: current!().pid(),
                handle: self.handle,
                scalars: self.scalars,
                class: Class::User,
            },
        )?;
        call.sent();
        Ok(pending)
    }

    /// Copies what the DSP has written back to the program, and returns the DSP's status.
    fn finish(&self, payload: &Payload, status: i32) -> Result<i32> {
        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);

        payload.take_back();
        for (index, range) in payload.inline() {
            if index >= self.scalars.in_bufs() {
                payload.copy_to_user(range, self.args[index].ptr)?;
            }
        }
        status_to_value(status)
    }
}

/// What a call that is being put together uses of its process.
struct Parts<'a> {
    process: &'a Process,
    buffers: KVec<Arc<Mapped>>,
    /// Numbers that were lent to the DSP with it; the loans end if it is not sent.
    lent: KVec<i32>,
}

impl<'a> Parts<'a> {
    fn new(process: &'a Process) -> Self {
        Self {
            process,
            buffers: KVec::new(),
            lent: KVec::new(),
        }
    }

    fn lend(&mut self, number: i32, mapped: &Arc<Mapped>) -> Result {
        self.lent.reserve(1, GFP_KERNEL)?;
        self.process
            .identity
            .held
            .with(|numbers| numbers.lend(number, Holding(mapped.clone())))?;
        Ok(self.lent.push(number, GFP_KERNEL)?)
    }

    fn sent(mut self) {
        self.lent.clear();
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        for number in self.lent.iter() {
            self.process.identity.held.withdraw(*number);
        }
    }
}

/// Offset in `buffer` of the `len` bytes at the user's address `ptr`.
///
/// # Errors
///
/// - [`EFAULT`]: no buffer is mapped there.
/// - [`EINVAL`]: another is, or the bytes reach past the end of this one.
pub(crate) fn offset_in(buffer: &Buffer, ptr: u64, len: u64) -> Result<u64> {
    let offset = buffer.vma_offset(usize::try_from(ptr).map_err(|_| EFAULT)?)? as u64;
    let end = offset.checked_add(len).ok_or(EINVAL)?;

    if end > buffer.size() as u64 {
        return Err(EINVAL);
    }
    Ok(offset)
}

/// Makes a call and waits for its result.
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
    names: &impl Names,
) -> Result<i32> {
    let process = session.process()?;
    let task = current!();

    let pending = match process.unpark(task, &invoke) {
        Some(pending) => pending,
        None => invoke.send(session, &process, names)?,
    };

    // The DSP may say that the call has succeeded before it answers, and need not be believed in
    // anything else: its answer alone ends what it may touch.
    if session.polls(&process, invoke.handle)
        && pending.poll(|payload| payload.polled_done() == Ok(true))
    {
        let borrowed = pending.borrow().ok_or(EPIPE)?;
        return invoke.finish(borrowed.payload().ok_or(EPIPE)?, 0);
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
    invoke.finish(&payload, status)
}
