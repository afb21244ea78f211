// SPDX-License-Identifier: GPL-2.0

//! The message daemon (handle 5): lines from the DSP for a log of the guest.
//!
//! The lines stand in a ring in memory of the guest, each ended by a NUL. The last word of that
//! memory is the index in the ring at which the DSP writes next.
//!
//! | method | in 0 | out 0 | does |
//! |---|---|---|---|
//! | 3 deinit | | | ends the log, and a waiting thread with 0x8000040D |
//! | 4 init3 | {s32 heap, u32 heap flags, u32 filter, pad, u64 length} | u64 address in the guest | has the guest allocate the ring, by a reverse call; address 0 when there is one already |
//! | 5 wait | | u64 bytes | waits for lines |

use super::{apps_mem, Module, Outcome};
use crate::call::{Abort, Call, Cx};
use crate::dsp::Dsp;
use crate::process::Mapped;
use crate::wire::status;
use anyhow::{ensure, Context as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest line, with its NUL: the reader's buffer.
const MAX_LINE: usize = 256;
/// Bytes of the index after the ring.
const INDEX_LEN: u64 = 4;
/// Longest ring.
const MAX_LEN: u64 = 16 << 20;
/// How long the guest may take to allocate the ring.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Ring {
    mapped: Mapped,
    next: u64,
    /// Bytes that no wait has told of.
    unread: u64,
}

impl Ring {
    fn len(&self) -> u64 {
        self.mapped.size - INDEX_LEN
    }
}

#[derive(Debug, Default)]
enum State {
    /// No log yet.
    #[default]
    None,
    /// The guest allocates the ring.
    Starting,
    /// Lines may be written.
    On(Ring),
    /// The process is on its way out.
    Ended,
}

/// The log of one process.
#[derive(Debug, Default)]
pub struct MessageLog {
    state: Mutex<State>,
    waiting: Mutex<Vec<Arc<Call>>>,
}

impl MessageLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Call>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of threads that wait for lines.
    pub fn waiters(&self) -> usize {
        self.waiting().len()
    }

    /// Ends the log; gives the calls that waited for lines.
    pub fn end(&self) -> Vec<Arc<Call>> {
        *self.state() = State::Ended;
        std::mem::take(&mut *self.waiting())
    }

    /// Writes a line, and wakes a thread that waits for one.
    ///
    /// # Errors
    ///
    /// There is no log, the line is too long, or the ring can't be reached.
    pub fn write(&self, dsp: &Dsp, line: &str) -> anyhow::Result<()> {
        ensure!(line.len() < MAX_LINE, "{} bytes", line.len());
        ensure!(!line.contains('\0'), "a NUL in it");
        let mut state = self.state();
        let State::On(ring) = &mut *state else {
            anyhow::bail!("no message log");
        };
        let text = [line.as_bytes(), &[0]].concat();
        for byte in &text {
            dsp.store_at(ring.mapped.addr + ring.next, &[*byte])?;
            ring.next = (ring.next + 1) % ring.len();
        }
        dsp.store_at(
            ring.mapped.addr + ring.len(),
            &(ring.next as u32).to_le_bytes(),
        )?;
        ring.unread += text.len() as u64;
        let waiter = self.waiting().pop();
        if let Some(call) = waiter {
            let bytes = std::mem::take(&mut ring.unread);
            drop(state);
            dsp.answer_wait(&call, bytes);
        }
        Ok(())
    }

    /// A thread waits for lines.
    fn wait(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let mut state = self.state();
        match &mut *state {
            State::On(ring) if ring.unread != 0 => {
                let bytes = std::mem::take(&mut ring.unread);
                drop(state);
                cx.put_exact(0, &bytes.to_le_bytes())?;
                Ok(Outcome::Done(0))
            }
            State::On(_) if !cx.process.is_dead() => {
                self.waiting().push(cx.call.clone());
                Ok(Outcome::Parked)
            }
            _ => Ok(Outcome::Done(status::BAD_STATE)),
        }
    }

    fn start(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let data = cx.in_buf(0)?;
        let [heap, heap_flags, _filter, _, low, high] =
            crate::call::words(&data).ok_or_else(|| Abort::bad("in buffer of init3"))?;
        let len = u64::from(high) << 32 | u64::from(low);
        if data.len() != 24 || len % 8 != 0 || !(4096..=MAX_LEN).contains(&len) {
            return Err(Abort::bad(format!("ring of {len} bytes")));
        }
        {
            let mut state = self.state();
            match *state {
                State::None => *state = State::Starting,
                State::Starting | State::On(_) => {
                    cx.put_exact(0, &0u64.to_le_bytes())?;
                    return Ok(Outcome::Done(0));
                }
                State::Ended => return Ok(Outcome::Done(status::BAD_STATE)),
            }
        }
        let ring = self.allocate(cx, heap as i32, heap_flags, len);
        let mut state = self.state();
        // The process may have ended meanwhile.
        if !matches!(*state, State::Starting) {
            return Ok(Outcome::Done(status::BAD_STATE));
        }
        match ring {
            Ok((address, mapped)) => {
                *state = State::On(Ring {
                    mapped,
                    next: 0,
                    unread: 0,
                });
                drop(state);
                cx.put_exact(0, &address.to_le_bytes())?;
                Ok(Outcome::Done(0))
            }
            Err(error) => {
                *state = State::None;
                log::info!("{}: no message log: {error:#}", cx.dsp.label());
                Ok(Outcome::Done(status::NO_MEMORY))
            }
        }
    }

    fn allocate(
        &self,
        cx: &Cx<'_>,
        heap: i32,
        heap_flags: u32,
        len: u64,
    ) -> anyhow::Result<(u64, Mapped)> {
        let call = |call: &_| cx.dsp.reverse(cx.process, call, PATIENCE);
        let buffer = apps_mem::request_map(call, heap, heap_flags, len)?;
        let mapped = cx.process.mapped(buffer.number);
        let mapped = mapped.with_context(|| format!("number {} not mapped", buffer.number))?;
        ensure!(mapped.size == len, "{} bytes mapped", mapped.size);
        cx.dsp.store_at(mapped.addr + len - INDEX_LEN, &[0; 4])?;
        Ok((buffer.address, mapped))
    }
}

/// The interface of handle 5.
#[derive(Debug)]
pub struct Interface;

impl Module for Interface {
    fn name(&self) -> &'static str {
        "adspmsgd"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let messages = &cx.process.messages;
        match cx.method() {
            3 => {
                cx.dsp.end_messages(cx.process);
                Ok(Outcome::Done(0))
            }
            4 => messages.start(cx),
            5 => messages.wait(cx),
            _ => Ok(Outcome::Done(status::UNSUPPORTED)),
        }
    }
}
