// SPDX-License-Identifier: GPL-2.0

//! What the CPU has in its caches, where the DSP does not see them.
//!
//! Programs expect that a call reads what they have written, and that they read what the call has
//! written, without announcing their accesses. So caches are cleaned before a call is sent, and
//! invalidated before its caller returns.
//!
//! Our own buffers are synchronised by their mappings, see [`crate::mapped`], in the range of the
//! argument. The caches of an import are its exporter's business, who knows of the whole buffer
//! only, and may wait for others as long as it likes: no lock and no lease of a bank is held then,
//! which the end of the channel waits for. An exporter that can't be asked is right only when it
//! maps and unmaps a buffer: its buffers are mapped anew for each call.
//!
//! An exporter invalidates the caches when it unmaps a buffer, and what a program has written since
//! the last call is lost. So a mapping that is kept between calls stays while a program can write,
//! see [`is_written`], and the caches are cleaned before it goes.

use crate::gem::Buffer;
use kernel::{
    dma::DataDirection,
    dma_buf::DmaBuf,
    prelude::*, //
};

/// Whether `buffer` is right only when it is mapped and unmapped.
pub(crate) fn is_mute(buffer: &Buffer) -> bool {
    buffer
        .dma_buf()
        .is_some_and(|dma_buf| !dma_buf.has_cpu_access())
}

/// Whether a program may be writing to an import through the CPU's caches.
pub(crate) fn is_written(buffer: &Buffer) -> bool {
    buffer.dma_buf().is_some_and(DmaBuf::is_mapped)
}

/// Makes what the CPU has written to an import visible to whoever has it mapped.
///
/// Both accesses are pure writes of the CPU: what is in the caches and not in memory stays right.
///
/// # Errors
///
/// - [`ERESTARTSYS`]: a signal came.
/// - what the exporter reports.
pub(crate) fn clean(buffer: &Buffer) -> Result {
    match buffer.dma_buf() {
        Some(dma_buf) if dma_buf.has_cpu_access() => around(dma_buf, DataDirection::ToDevice),
        _ => Ok(()),
    }
}

/// Makes what devices have written to a dma-buf visible to the CPU.
///
/// # Errors
///
/// As [`clean`].
pub(crate) fn invalidate(dma_buf: &DmaBuf) -> Result {
    around(dma_buf, DataDirection::FromDevice)
}

/// An access of the CPU that is over as soon as it has begun.
fn around(dma_buf: &DmaBuf, direction: DataDirection) -> Result {
    dma_buf.begin_cpu_access(direction)?;
    dma_buf.end_cpu_access(direction)
}

/// Begins or ends accesses of the CPU to a buffer, as a program announces them.
///
/// # Errors
///
/// As [`clean`].
pub(crate) fn access(buffer: &Buffer, direction: DataDirection, begin: bool) -> Result {
    match (buffer.dma_buf(), begin) {
        (Some(dma_buf), true) => dma_buf.begin_cpu_access(direction)?,
        (Some(dma_buf), false) => dma_buf.end_cpu_access(direction)?,
        (None, true) => buffer.begin_cpu_access(direction),
        (None, false) => buffer.end_cpu_access(direction),
    }
    Ok(())
}
