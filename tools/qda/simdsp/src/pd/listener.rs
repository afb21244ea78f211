// SPDX-License-Identifier: GPL-2.0

//! The listener (handles 3 and 7): calls from the DSP to the guest.
//!
//! No message goes that way. A thread of the guest parks a `next2` call; the DSP "calls" by
//! completing it, and gets the result with the thread's following `next2`.
//!
//! | handle 3 | handle 7 | in 0 | in 1 | out 0 | out 1 |
//! |---|---|---|---|---|---|
//! | 2 init, 3 init2 | 4, 5 | | | | |
//! | 4 next2 | 6 | {u32 ctx, result, length, space} of the previous call | its packed outs | {u32 ctx, handle, scalars, length} | packed ins |
//! | 5 get_in_bufs2 | 7 | {u32 ctx, offset, space} | | u32 length | packed ins from the offset |
//!
//! Packed: per in buffer its u32 length and, when that is not 0, padding to 8 and the bytes; then
//! the u32 length of each out buffer. The outs come back in the same form as ins.

use super::{Module, Outcome};
use crate::call::{Abort, Call, Cx};
use crate::wire::{status, Scalars};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A call to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverse {
    /// Handle on the guest's side; 0 is its remote control.
    pub handle: u32,
    /// Method.
    pub method: u32,
    /// In buffers.
    pub ins: Vec<Vec<u8>>,
    /// Lengths of the out buffers.
    pub outs: Vec<u32>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Result of the method.
    pub status: i32,
    /// Out buffers; empty when the guest sent none.
    pub outs: Vec<Vec<u8>>,
}

impl Reverse {
    /// Scalars word of the call.
    pub fn scalars(&self) -> Scalars {
        Scalars::new(
            self.method,
            self.ins.len() as u32,
            self.outs.len() as u32,
            0,
            0,
        )
    }

    /// Packs in buffers and out lengths.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for data in &self.ins {
            out.extend((data.len() as u32).to_le_bytes());
            if !data.is_empty() {
                out.resize(out.len().next_multiple_of(8), 0);
                out.extend(data);
            }
        }
        for len in &self.outs {
            out.extend(len.to_le_bytes());
        }
        out
    }
}

/// Unpacks the outs of an answer; `None` when the bytes don't hold `count` buffers.
pub fn unpack(bytes: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let mut at = 0usize;
    let mut out = Vec::new();
    for _ in 0..count {
        let len = bytes.get(at..at + 4)?;
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        at += 4;
        if len != 0 {
            at = at.next_multiple_of(8);
        }
        out.push(bytes.get(at..at.checked_add(len)?)?.to_vec());
        at += len;
    }
    Some(out)
}

#[derive(Debug)]
struct Pending {
    packed: Vec<u8>,
    outs: usize,
    answer: Option<Answer>,
}

#[derive(Debug, Default)]
struct State {
    parked: VecDeque<Arc<Call>>,
    pending: HashMap<u32, Pending>,
    last: u32,
    ended: bool,
}

/// Listening threads of one process, and the calls made to them.
#[derive(Debug, Default)]
pub struct Listener {
    state: Mutex<State>,
    changed: Condvar,
}

impl Listener {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of parked `next2` calls.
    pub fn parked(&self) -> usize {
        self.state().parked.len()
    }

    /// Takes all parked calls.
    pub fn drain(&self) -> Vec<Arc<Call>> {
        self.state().parked.drain(..).collect()
    }

    /// Ends it: no call is parked any more. Takes those that are.
    pub fn end(&self) -> Vec<Arc<Call>> {
        let mut state = self.state();
        state.ended = true;
        state.parked.drain(..).collect()
    }

    /// Waits until `done` gives something.
    fn wait<T>(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(value) = done(&mut state) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Makes a call to the guest: waits for a parked thread, then for its answer, `patience` each.
    ///
    /// # Errors
    ///
    /// Nobody listens, nobody answers, or the call could not be written.
    pub fn reverse(
        &self,
        call: &Reverse,
        patience: Duration,
        complete: impl FnOnce(&Arc<Call>, [u32; 4], &[u8]) -> Result<(), Abort>,
    ) -> anyhow::Result<Answer> {
        let packed = call.pack();
        let taken = self.wait(Instant::now() + patience, |state| {
            let parked = state.parked.pop_front()?;
            state.last = state.last.wrapping_add(1).max(1);
            let pending = Pending {
                packed: packed.clone(),
                outs: call.outs.len(),
                answer: None,
            };
            state.pending.insert(state.last, pending);
            Some((state.last, parked))
        });
        let (ctx, parked) = taken.ok_or_else(|| anyhow::anyhow!("no listener is parked"))?;
        let words = [ctx, call.handle, call.scalars().0, packed.len() as u32];
        let sent = complete(&parked, words, &packed).map_err(|abort| anyhow::anyhow!("{abort}"));
        let answer = sent.and_then(|()| {
            self.wait(Instant::now() + patience, |state| {
                state
                    .pending
                    .get_mut(&ctx)
                    .and_then(|pending| pending.answer.take())
            })
            .ok_or_else(|| anyhow::anyhow!("no answer from the guest"))
        });
        self.state().pending.remove(&ctx);
        answer
    }

    fn answered(&self, ctx: u32, result: i32, packed: &[u8]) {
        let mut state = self.state();
        if let Some(pending) = state.pending.get_mut(&ctx) {
            let outs = if packed.is_empty() {
                Some(Vec::new())
            } else {
                unpack(packed, pending.outs)
            };
            pending.answer = Some(match outs {
                Some(outs) => Answer {
                    status: result,
                    outs,
                },
                None => Answer {
                    status: status::BAD_PARAMETER,
                    outs: Vec::new(),
                },
            });
        } else if ctx != 0 {
            log::warn!("answer to an unknown reverse call {ctx}");
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Parks a call; `false` when it is too late for that.
    fn park(&self, call: &Arc<Call>) -> bool {
        let mut state = self.state();
        if state.ended {
            return false;
        }
        state.parked.push_back(call.clone());
        drop(state);
        self.changed.notify_all();
        true
    }

    fn packed(&self, ctx: u32) -> Option<Vec<u8>> {
        self.state()
            .pending
            .get(&ctx)
            .map(|pending| pending.packed.clone())
    }
}

/// The listener's interface; methods are counted from `first`.
#[derive(Debug)]
pub struct Interface {
    /// Number of the init method.
    pub first: u32,
}

impl Module for Interface {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let listener = &cx.process.listener;
        match cx.method().checked_sub(self.first) {
            Some(0 | 1) => Ok(Outcome::Done(0)),
            Some(2) => {
                let [ctx, result, length, space] = cx.in_words(0)?;
                let packed = cx.in_buf(1)?;
                if packed.len() as u64 != u64::from(length) || cx.out_len(1) != u64::from(space) {
                    return Err(Abort::bad("lengths of next2"));
                }
                listener.answered(ctx, result as i32, &packed);
                if cx.process.is_dead() || !listener.park(cx.call) {
                    return Err(Abort::Cancelled);
                }
                Ok(Outcome::Parked)
            }
            Some(3) => {
                let [ctx, offset, space] = cx.in_words(0)?;
                let packed = listener
                    .packed(ctx)
                    .ok_or_else(|| Abort::bad("reverse context"))?;
                let rest = packed
                    .get(offset as usize..)
                    .ok_or_else(|| Abort::bad("offset"))?;
                cx.put_words(0, &[packed.len() as u32])?;
                cx.put(1, &rest[..rest.len().min(space as usize)])?;
                Ok(Outcome::Done(0))
            }
            _ => Ok(Outcome::Done(status::UNSUPPORTED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packed_as_the_clients_read_it() {
        let open = Reverse {
            handle: 0,
            method: 0,
            ins: vec![
                vec![9, 0, 0, 0, 16, 0, 0, 0],
                b"apps_std\0".to_vec(),
                vec![],
            ],
            outs: vec![8, 16],
        };
        assert_eq!(open.scalars().0, 0x0003_0200);
        let packed = open.pack();
        assert_eq!(packed[..4], [8, 0, 0, 0]);
        assert_eq!(packed[8..12], [9, 0, 0, 0]);
        assert_eq!(packed[16..20], [9, 0, 0, 0]);
        assert_eq!(&packed[24..33], b"apps_std\0");
        assert_eq!(packed[33..], [0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn outs_round_trip(
            ins in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let call = Reverse { handle: 0, method: 0, ins: ins.clone(), outs: vec![] };
            prop_assert_eq!(unpack(&call.pack(), ins.len()), Some(ins));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, count in 0usize..20) {
            let _ = unpack(&bytes, count);
        }
    }
}
