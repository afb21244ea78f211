// SPDX-License-Identifier: GPL-2.0

//! Memory that a client gives to its DSP process: buffers that are mapped under a number, and
//! pieces of the process' heap.

use crate::{
    call::Pending,
    gem::{
        self,
        Buffer, //
    },
    held::Holding,
    kernel_call::{
        KernelCall,
        Map,
        Page, //
    },
    mapped::Mapped,
    payload::Payload,
    process::Process,
    proto::{
        status_to_value,
        DSP_PAGE_SIZE, //
    },
    session::Session,
    sync, //
};
use kernel::{
    dma::DataDirection,
    dma_buf::DmaBuf,
    drm::gem::BaseObject,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    time::msecs_to_jiffies, //
};

/// How long the DSP may take to map or unmap something, in milliseconds.
const TIMEOUT_MS: u32 = 10_000;

/// Part of a buffer.
pub(crate) struct Part {
    /// The buffer.
    pub(crate) buffer: ARef<Buffer>,
    /// Offset of the part, in bytes.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) len: u64,
}

impl Part {
    /// Checks that the DSP can map it.
    ///
    /// # Errors
    ///
    /// [`EINVAL`]: it is empty, reaches past the end of the buffer, or does not begin at a page of
    /// the DSP.
    fn check(&self) -> Result {
        let end = self.offset.checked_add(self.len).ok_or(EINVAL)?;

        if self.len == 0 || self.offset % DSP_PAGE_SIZE != 0 || end > self.buffer.size() as u64 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// As the DSP is told of it.
    fn page(&self, mapped: &Mapped) -> Result<Page> {
        Ok(Page {
            address: mapped
                .lease()
                .prefix()
                .apply(mapped.address() + self.offset)?,
            size: self.len,
        })
    }
}

/// What the DSP answered, with the word that it wrote into the argument `word`.
fn outcome(pending: Pending<Payload>, word: Option<usize>) -> Result<(i32, u64)> {
    pending.wait_killable(msecs_to_jiffies(TIMEOUT_MS))?;
    let (status, payload) = pending.answer()?;

    let word = match word {
        Some(index) if status == 0 => {
            let mut bytes = [0u8; 8];
            payload.read(index, &mut bytes)?;
            u64::from_le_bytes(bytes)
        }
        _ => 0,
    };
    Ok((status, word))
}

/// Asks the DSP for something. If it has done it, `done` gets the word that it answered with it, or
/// 0; if it has not, `undone` is called.
///
/// # Errors
///
/// - [`ETIMEDOUT`], [`EINTR`]: the DSP did not answer. It may do it yet: neither is called.
/// - those of sending, of `done` and of `undone`.
fn ask(
    session: &Session,
    process: &Process,
    call: &KernelCall<'_>,
    done: impl FnOnce(u64) -> Result,
    undone: impl FnOnce() -> Result,
) -> Result<(i32, u64)> {
    let pending = match call.send(session.channel(), &process.identity) {
        Ok(pending) => pending,
        Err(error) => {
            undone()?;
            return Err(error);
        }
    };

    let result = outcome(pending, call.word());
    match result {
        Ok((0, word)) => done(word)?,
        Ok(_) => undone()?,
        // What it was given stays with it until the process has ended.
        Err(_) => {}
    }
    result
}

/// What the DSP is told of a mapping, and the driver makes nothing of.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    /// How the DSP is to map it.
    pub(crate) flags: u32,
    /// Where the client has it.
    pub(crate) client_address: u64,
    /// Where in it the client means.
    pub(crate) offset: i32,
}

/// Maps a part of a buffer into the DSP process of `session`, as `number`. Returns the DSP's status
/// and the address that it got there.
///
/// # Errors
///
/// - [`EEXIST`]: the number is held for another buffer, or mapped.
/// - [`ENOSPC`]: too many numbers are held.
/// - [`ETIMEDOUT`], [`EINTR`]: the DSP did not answer; the number stays held.
/// - those of [`Part::check`], [`Session::process`], [`Mapped::new`] and of sending.
pub(crate) fn map(session: &Session, number: i32, part: &Part, told: Told) -> Result<(i32, u64)> {
    part.check()?;
    let process = session.process()?;
    let who = &process.identity;
    sync::clean(&part.buffer)?;
    let mapped = process.map(&part.buffer)?;
    mapped.sync_for_device(mapped.all(), DataDirection::Bidirectional);
    let page = part.page(&mapped)?;

    who.held
        .with(|numbers| numbers.ask_map(number, Holding(mapped)))?;
    let request = Map {
        number,
        offset: told.offset,
        flags: told.flags,
        client_address: told.client_address,
        page,
    };

    ask(
        session,
        &process,
        &KernelCall::Map(&request),
        |address| mapped_at(&process, number, address, part.len),
        || unmapped(&process, number),
    )
}

fn mapped_at(process: &Process, number: i32, address: u64, size: u64) -> Result {
    process.identity.held.with(|numbers| {
        numbers.mapped(number, address, size);
        Ok(())
    })
}

/// Notes that a mapping is no more. What the DSP has written to it is seen by the program, which
/// may not need the buffer any more: it is unmapped at once, unless it has other uses.
fn unmapped(process: &Process, number: i32) -> Result {
    process.drop_answered();
    let held = &process.identity.held;
    let (mapped, holding) = held.with(|numbers| {
        let mapped = numbers.mapping(number).map(|holding| holding.0.clone());
        Ok((mapped, numbers.unmapped(number)))
    })?;

    // Dropped here, without the lock.
    drop(holding);
    let Some(mapped) = mapped else {
        return Ok(());
    };
    mapped.sync_for_cpu(mapped.all(), DataDirection::FromDevice);
    let needs_sync = mapped.lease().needs_sync();
    let dma_buf: Option<ARef<DmaBuf>> = mapped.buffer().dma_buf().map(Into::into);
    held.mappings.forget(gem::key(mapped.buffer()));
    drop(mapped);

    match dma_buf {
        // If nobody had it mapped but us, its exporter has seen to it. No lease is held.
        Some(dma_buf) if needs_sync && dma_buf.has_cpu_access() => sync::invalidate(&dma_buf),
        _ => Ok(()),
    }
}

/// Undoes [`map`] of `number`, or of whatever number for `None`, at the DSP's `address`. Returns
/// the DSP's status.
///
/// # Errors
///
/// - [`EINVAL`]: there is no such mapping.
/// - [`ETIMEDOUT`], [`EINTR`]: the DSP did not answer; the mapping stays, and can't be undone.
/// - those of [`Session::process`] and of sending.
pub(crate) fn unmap(session: &Session, number: Option<i32>, address: u64) -> Result<i32> {
    let process = session.process()?;
    let held = &process.identity.held;
    let (number, size) = held.with(|numbers| numbers.ask_unmap(number, address))?;

    let (status, _) = ask(
        session,
        &process,
        &KernelCall::Unmap {
            number,
            address,
            size,
        },
        |_| unmapped(&process, number),
        || mapped_at(&process, number, address, size),
    )?;
    status_to_value(status)
}

/// Adds a part of a buffer to the heap of the DSP process. Returns the DSP's status and the address
/// that it got there.
///
/// # Errors
///
/// - [`ENOSPC`]: the heap has too many pieces.
/// - [`ETIMEDOUT`], [`EINTR`]: the DSP did not answer; the memory stays with it.
/// - those of [`Part::check`], [`Session::process`], [`Mapped::new`] and of sending.
pub(crate) fn grow(
    session: &Session,
    part: &Part,
    flags: u32,
    client_address: u64,
) -> Result<(i32, u64)> {
    part.check()?;
    let process = session.process()?;
    let who = &process.identity;
    sync::clean(&part.buffer)?;
    let mapped = process.map_anew(&part.buffer, &who.lease()?)?;
    let page = part.page(&mapped)?;

    who.with_space(|space| space.ask_grow(mapped.clone(), part.len))?;

    ask(
        session,
        &process,
        &KernelCall::Grow {
            flags,
            client_address,
            page,
        },
        |address| grown(&process, &mapped, address),
        || forget(&process, &mapped),
    )
}

fn grown(process: &Process, memory: &Arc<Mapped>, address: u64) -> Result {
    process.identity.with_space(|space| {
        space.grown(memory, address);
        Ok(())
    })
}

fn forget(process: &Process, memory: &Arc<Mapped>) -> Result {
    let piece = process
        .identity
        .with_space(|space| Ok(space.take_heap(memory)));

    // Dropped here, without the lock.
    drop(piece);
    Ok(())
}

/// Undoes [`grow`] of exactly `len` bytes at the DSP's `address`. Returns the DSP's status.
///
/// # Errors
///
/// - [`EINVAL`]: the heap has no such piece.
/// - [`ETIMEDOUT`], [`EINTR`]: the DSP did not answer; the memory stays with it.
/// - those of [`Session::process`] and of sending.
pub(crate) fn shrink(session: &Session, address: u64, len: u64) -> Result<i32> {
    let process = session.process()?;
    let who = &process.identity;
    let memory = who.with_space(|space| space.ask_shrink(address, len))?;

    let (status, _) = ask(
        session,
        &process,
        &KernelCall::Shrink { address, size: len },
        |_| forget(&process, &memory),
        || grown(&process, &memory, address),
    )?;
    status_to_value(status)
}
