// SPDX-License-Identifier: GPL-2.0

//! A program's call: from its arguments to a message, and from a reply to its results.

use crate::{
    call::{
        Outcome,
        Pending,
        Spare, //
    },
    frame::Frame,
    gem::Buffer,
    held::{
        Held,
        Holding,
        Share, //
    },
    identity::Identity,
    layout::Arg,
    mapped::Mapped,
    names::{
        buffer_at,
        buffer_named,
        checked,
        Names, //
    },
    payload::{
        invalidate,
        Builder,
        Payload,
        Ready,
        Target, //
    },
    process::Process,
    proto::{
        Scalars,
        HANDLE_KERNEL,
        LAST_STATIC_HANDLE, //
    },
    session::Session,
    sync,
    table::Class,
    words::halves, //
};
use kernel::{
    current,
    dma::DataDirection,
    drm::gem::BaseObject,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader, //
    },
    uapi, //
};

/// One argument as a program passes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserArg {
    ptr: u64,
    /// Offset in the buffer, if `ptr` does not tell.
    offset: Option<u64>,
    len: u64,
    handle: u32,
    /// Whether the program sees to the caches itself.
    synced: bool,
}

/// `struct drm_qda_invoke_arg`.
type RawInvokeArg = [u64; 3];

/// `struct drm_qda_call_arg`.
type RawCallArg = [u64; 4];

impl UserArg {
    const INVOKE_LEN: usize = size_of::<RawInvokeArg>();

    const CALL_LEN: usize = size_of::<RawCallArg>();

    /// Largest size that a program may say it has.
    const CALL_MAX: usize = 4096;

    /// Reads a `struct drm_qda_invoke_arg`.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`]: it is a buffer that is to be given to another virtual machine. The other
    /// attributes are advice.
    fn from_invoke([ptr, len, rest]: RawInvokeArg) -> Result<Self> {
        let [handle, attrs] = halves(rest);
        let arg = Self {
            ptr,
            offset: None,
            len,
            handle,
            synced: false,
        };

        if arg.buffer().is_some() && attrs & uapi::FASTRPC_ATTR_SECUREMAP != 0 {
            return Err(EOPNOTSUPP);
        }
        Ok(arg)
    }

    /// Reads a `struct drm_qda_call_arg`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`]: a field that must be 0 is not, or a flag is unknown.
    fn from_call([ptr, offset, len, rest]: RawCallArg) -> Result<Self> {
        let [handle, flags] = halves(rest);

        let (unused, known) = match handle {
            0 => (offset, 0),
            _ => (ptr, uapi::QDA_CALL_ARG_SYNCED),
        };
        if unused != 0 || flags & !known != 0 || handle == u32::MAX {
            return Err(EINVAL);
        }
        Ok(Self {
            ptr,
            offset: Some(offset),
            len,
            handle,
            synced: flags & uapi::QDA_CALL_ARG_SYNCED != 0,
        })
    }

    /// The buffer's handle, if the argument is not inline.
    fn buffer(&self) -> Option<u32> {
        match self.handle {
            0 | u32::MAX => None,
            handle => Some(handle),
        }
    }
}

/// Reads what a newer program has behind what is known here: `len` bytes that must be nothing.
///
/// # Errors
///
/// - [`E2BIG`]: there is something.
/// - [`EFAULT`]: they cannot be read.
pub(crate) fn read_nothing(reader: &mut UserSliceReader, len: usize) -> Result {
    let mut left = len;

    while left > 0 {
        let mut more = [0u8; UserArg::CALL_LEN];
        let len = left.min(more.len());

        reader.read_slice(&mut more[..len])?;
        if more.iter().any(|&byte| byte != 0) {
            return Err(E2BIG);
        }
        left -= len;
    }
    Ok(())
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
    /// Reads a call whose arguments stand at the user's `address`; for them there may be room in
    /// `frame`.
    ///
    /// # Errors
    ///
    /// - [`EPERM`]: `handle` is the kernel's.
    /// - [`EOPNOTSUPP`]: as `UserArg::from_invoke`.
    /// - [`EFAULT`]: the arguments cannot be read.
    /// - [`ENOMEM`].
    pub(crate) fn read(handle: u32, scalars: u32, address: u64, frame: &mut Frame) -> Result<Self> {
        let scalars = Scalars(scalars);
        if handle == HANDLE_KERNEL {
            return Err(EPERM);
        }

        let count = scalars.args();
        let mut args = frame.take_user();
        args.reserve(count, GFP_KERNEL)?;
        if count > 0 {
            let start = usize::try_from(address).map_err(|_| EFAULT)?;
            let mut reader =
                UserSlice::new(UserPtr::from_addr(start), count * UserArg::INVOKE_LEN).reader();
            for _ in 0..count {
                args.push(UserArg::from_invoke(reader.read()?)?, GFP_KERNEL)?;
            }
        }
        Ok(Self {
            handle,
            scalars,
            address,
            args,
        })
    }

    /// Reads a call whose arguments have a size that may grow; for them there may be room in
    /// `frame`.
    ///
    /// # Errors
    ///
    /// - [`EPERM`]: the handle is the kernel's.
    /// - [`EINVAL`]: the number of arguments is not what the scalars say, they are too small, or a
    ///   field that must be 0 is not.
    /// - [`E2BIG`]: the arguments have something that is not known here.
    /// - [`EFAULT`]: the arguments cannot be read.
    /// - [`ENOMEM`].
    pub(crate) fn read_call(call: &uapi::drm_qda_call, frame: &mut Frame) -> Result<Self> {
        let scalars = Scalars(call.scalars);
        let (count, size) = (call.arg_count as usize, call.arg_size as usize);
        if call.handle == HANDLE_KERNEL {
            return Err(EPERM);
        }
        if call.flags != 0 || call.status != 0 || count != scalars.args() {
            return Err(EINVAL);
        }
        if count > 0 && size < UserArg::CALL_LEN {
            return Err(EINVAL);
        }
        if size > UserArg::CALL_MAX {
            return Err(E2BIG);
        }

        let mut args = frame.take_user();
        args.reserve(count, GFP_KERNEL)?;
        let start = usize::try_from(call.args).map_err(|_| EFAULT)?;
        let mut reader = UserSlice::new(UserPtr::from_addr(start), count * size).reader();
        for _ in 0..count {
            args.push(UserArg::from_call(reader.read()?)?, GFP_KERNEL)?;

            read_nothing(&mut reader, size - UserArg::CALL_LEN)?;
        }
        Ok(Self {
            handle: call.handle,
            scalars,
            address: call.args,
            args,
        })
    }

    /// The buffer of argument `index`, and the offset in it.
    fn buffer_of(&self, index: usize, names: &impl Names) -> Result<Option<(ARef<Buffer>, u64)>> {
        let arg = &self.args[index];
        let is_handle = index >= self.scalars.buffers();

        match (arg.buffer(), arg.offset) {
            (None, _) => Ok(None),
            (_, Some(offset)) => Ok(Some((names.handle(arg.handle)?, offset))),
            (Some(number), None) if is_handle => Ok(Some((buffer_named(names, number)?, arg.ptr))),
            (_, None) if arg.len == 0 => Ok(None),
            (Some(number), None) => buffer_at(names, number, arg.ptr, arg.len).map(Some),
        }
    }

    /// Makes what the CPU has written to imports visible to the DSP, where that is not so by
    /// itself. Of a buffer that is written by the DSP as well: what is in the caches could come
    /// later, and over it.
    ///
    /// # Errors
    ///
    /// As [`sync::clean`]. What is wrong with an argument is not told.
    fn clean(&self, names: &impl Names, who: &Identity) -> Result {
        if !who.needs_sync {
            return Ok(());
        }

        for (index, arg) in self.args.iter().enumerate() {
            let is_again = |other: &UserArg| other.handle == arg.handle && !other.synced;
            if arg.synced || self.args[..index].iter().any(is_again) {
                continue;
            }
            if let Ok(Some((buffer, _))) = self.buffer_of(index, names) {
                sync::clean(&buffer)?;
            }
        }
        Ok(())
    }

    /// Whether the DSP may write to argument `index`, and the program does not see to the caches.
    pub(crate) fn is_written(&self, index: usize) -> bool {
        index >= self.scalars.in_bufs() && !self.args[index].synced
    }

    /// The argument `index` as the DSP is to see it; the buffer that it needs is added to `frame`.
    fn buffer_arg(
        &self,
        index: usize,
        names: &impl Names,
        process: &Process,
        frame: &mut Frame,
    ) -> Result<Arg> {
        let arg = &self.args[index];
        let direction = match index < self.scalars.in_bufs() {
            true => DataDirection::ToDevice,
            false => DataDirection::FromDevice,
        };
        match (arg.buffer(), arg.len) {
            // A number must mean something, also where nothing is passed.
            (Some(number), 0) if arg.offset.is_some() => names.handle(number).map(|_| Arg::Empty),
            (Some(number), 0) => buffer_named(names, number).map(|_| Arg::Empty),
            (None, 0) => Ok(Arg::Empty),
            (None, len) => Ok(Arg::Inline {
                len: usize::try_from(len).map_err(|_| E2BIG)?,
            }),
            (Some(number), len) => {
                let (buffer, offset) = match arg.offset {
                    Some(offset) => {
                        let buffer = names.handle(number)?;
                        let offset = checked(&buffer, offset, len)?;
                        (buffer, offset)
                    }
                    None => buffer_at(names, number, arg.ptr, len)?,
                };
                let mapped = process.map(&buffer)?;
                let address = mapped.address() + offset;
                if !arg.synced {
                    // CAST: It is in the buffer.
                    let start = offset as usize;
                    mapped.sync_for_device(start..start + len as usize, direction);
                }

                frame.buffers.push(mapped, GFP_KERNEL)?;
                Ok(Arg::Buffer {
                    // The DSP's own address says it all, where there is no user's.
                    pv: arg.offset.map_or(arg.ptr, |_| address),
                    address,
                    len,
                })
            }
        }
    }

    /// A buffer that is passed by number, for the DSP to keep until it gives it back.
    fn handle_arg(
        &self,
        arg: &UserArg,
        names: &impl Names,
        process: &Process,
        frame: &mut Frame,
    ) -> Result<Arg> {
        let who = &process.identity;
        // CAST: The DSP takes it as a signed number.
        let number = arg.handle as i32;
        let offset = u32::try_from(arg.offset.unwrap_or(arg.ptr)).map_err(|_| EINVAL)?;
        let len = u32::try_from(arg.len).map_err(|_| EINVAL)?;

        // It is what it is now, whatever the DSP was given as this number before.
        let buffer = match arg.offset {
            Some(_) => names.handle(arg.handle),
            // As for buffers, these numbers mean none.
            None if arg.buffer().is_none() => return Err(ENOENT),
            None => buffer_named(names, arg.handle),
        };
        let mapped = match buffer {
            Ok(buffer) => process.map(&buffer)?,
            // An older library closes the descriptor of what the DSP has.
            Err(error @ (EBADF | EINVAL | ENOENT)) if arg.offset.is_none() => who
                .held
                .with(|numbers| Ok(numbers.get(number).map(|holding| holding.0.clone())))?
                .ok_or(error)?,
            Err(error) => return Err(error),
        };
        let size = mapped.buffer().size() as u64;
        if u64::from(offset) + u64::from(len) > size {
            return Err(EINVAL);
        }

        if !arg.synced {
            mapped.sync_for_device(mapped.all(), DataDirection::Bidirectional);
        }
        frame.loans.lend(&who.held, number, &mapped)?;
        let address = mapped.address();
        frame.buffers.push(mapped, GFP_KERNEL)?;
        Ok(Arg::Handle {
            number,
            offset,
            len,
            address,
            size,
        })
    }

    /// Sends the call for `process`, with what `frame` has room for.
    fn send(
        &self,
        session: &Session,
        process: &Process,
        frame: Frame,
        names: &impl Names,
    ) -> Result<Pending<Payload>> {
        let who = &process.identity;
        let channel = session.channel();
        let share = who.held.share(self.is_static())?;

        let Ready { mut payload, spare } = self.prepare(process, frame, names, share)?;
        let loans = payload.take_loans();
        let request = self
            .target(who, current!().pid())
            .request(who, payload.extent()?);
        let pending =
            channel
                .calls
                .submit(&*channel.transport, &who.dead, request, payload, spare)?;
        loans.keep();
        Ok(pending)
    }

    /// Where the call goes, as one of the thread `tid`.
    pub(crate) fn target(&self, who: &Identity, tid: i32) -> Target {
        Target {
            wire_client_id: who.client_id,
            tid,
            handle: self.handle,
            scalars: self.scalars,
            class: if self.is_static() {
                Class::Static
            } else {
                Class::User
            },
        }
    }

    /// Whether the handle is one that every process has.
    fn is_static(&self) -> bool {
        self.handle <= LAST_STATIC_HANDLE
    }

    /// Bytes of the inline arguments.
    pub(crate) fn inline_len(&self) -> u64 {
        self.args[..self.scalars.buffers()]
            .iter()
            .filter(|arg| arg.buffer().is_none())
            .fold(0, |sum, arg| arg.len.saturating_add(sum))
    }

    /// Puts the call together for `process`, with what `frame` has room for.
    pub(crate) fn prepare(
        &self,
        process: &Process,
        mut frame: Frame,
        names: &impl Names,
        share: Share,
    ) -> Result<Ready> {
        let who = &process.identity;

        self.clean(names, who)?;
        frame.args.reserve(self.args.len(), GFP_KERNEL)?;
        for (index, arg) in self.args.iter().enumerate() {
            let arg = if index < self.scalars.buffers() {
                self.buffer_arg(index, names, process, &mut frame)?
            } else {
                self.handle_arg(arg, names, process, &mut frame)?
            };
            frame.args.push(arg, GFP_KERNEL)?;
        }

        let mut builder = Builder::new(who, frame, share)?;
        builder.copy_from_user(self.scalars.in_bufs(), |index| self.args[index].ptr)?;
        builder.finish(self.scalars)
    }

    /// What the call had, for another call: it is over.
    pub(crate) fn into_frame(self, payload: Payload, spare: Option<Spare<Payload>>) -> Frame {
        let mut frame = payload.into_frame();

        frame.user = Some(self.args);
        frame.call = spare;
        frame
    }

    /// Copies what the DSP has written back to the program, and returns the DSP's status. For
    /// imports, [`invalidate`] was before.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if the program's memory cannot be written.
    pub(crate) fn finish(&self, payload: &Payload, status: i32) -> Result<i32> {
        payload.take_back(true);
        payload.sync_written(self);
        for (index, range) in payload.inline() {
            if index >= self.scalars.in_bufs() {
                payload.copy_to_user(range, self.args[index].ptr)?;
            }
        }
        Ok(status)
    }
}

/// Numbers that are lent to the DSP with a call; the loans end if it is not sent.
#[derive(Default)]
pub(crate) struct Loans(Option<Lent>);

struct Lent {
    /// Whose numbers they are.
    held: Arc<Held>,
    numbers: KVec<i32>,
}

impl Loans {
    fn lend(&mut self, held: &Arc<Held>, number: i32, mapped: &Arc<Mapped>) -> Result {
        let lent = self.0.get_or_insert_with(|| Lent {
            held: held.clone(),
            numbers: KVec::new(),
        });

        lent.numbers.reserve(1, GFP_KERNEL)?;
        held.with(|numbers| numbers.lend(number, Holding(mapped.clone())))?;
        Ok(lent.numbers.push(number, GFP_KERNEL)?)
    }

    /// The call is sent: they last until the DSP gives the buffers back.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Loans {
    fn drop(&mut self) {
        let Some(Lent { held, numbers }) = &self.0 else {
            return;
        };

        for number in numbers.iter() {
            held.withdraw(*number);
        }
    }
}

/// Makes a call that `read` reads, and waits for its result, which is the DSP's status.
///
/// A call is sent once: a thread that was interrupted and comes back with the same call waits for
/// the one that it has sent.
///
/// # Errors
///
/// - [`ERESTARTSYS`]: a signal came, and the call is kept for the thread, or was not sent yet.
/// - [`EINTR`]: a signal came, and the call is abandoned.
/// - those of `struct drm_qda_invoke`.
pub(crate) fn invoke(
    session: &Session,
    names: &impl Names,
    read: impl FnOnce(&mut Frame) -> Result<Invoke>,
) -> Result<i32> {
    let process = session.process();
    let mut frame = match &process {
        Ok(process) => process.frame()?,
        // What is wrong with the call itself is told first.
        Err(_) => Frame::new()?,
    };
    let invoke = read(&mut frame)?;
    let process = process?;
    let task = current!();

    let pending = match process.unpark(task, &invoke) {
        Some(pending) => pending,
        None => invoke.send(session, &process, frame, names)?,
    };

    // The DSP may say that the call has succeeded before it answers, and need not be believed in
    // anything else: its answer alone ends what it may touch.
    if session.polls(&process, invoke.handle)
        && pending.peek(Payload::is_visible) == Some(true)
        && pending.poll(|payload| payload.polled_done() == Ok(true))
        && invalidate(&pending, Some(&invoke)).is_ok()
    {
        let mut borrowed = pending.borrow().ok_or(EPIPE)?;
        let payload = borrowed.payload().ok_or(EPIPE)?;
        let result = invoke.finish(payload, 0);

        payload.set_invoke(invoke);
        drop(borrowed);
        process.keep_polled(pending);
        return result;
    }

    let waited = pending
        .wait_interruptible()
        .and_then(|()| invalidate(&pending, Some(&invoke)));
    if let Err(error) = waited {
        if error != ERESTARTSYS {
            return Err(error);
        }
        if task.fatal_signal_pending() || process.park(task, invoke, pending).is_err() {
            return Err(EINTR);
        }
        return Err(error);
    }
    let (Outcome::Status(status), Some(payload), spare) = pending.reclaim() else {
        return Err(EPIPE);
    };
    let result = invoke.finish(&payload, status);

    process.keep(invoke.into_frame(payload, spare));
    result
}
