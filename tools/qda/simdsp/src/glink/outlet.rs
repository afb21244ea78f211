// SPDX-License-Identifier: GPL-2.0

//! How the DSP writes to the guest.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;

use super::Doorbell;
use super::BUSY_SLEEP;
use crate::fifo::Pipes;
use crate::frame::Frame;
use crate::intents::Theirs;
use crate::pace::Pace;
use crate::port::Channel;

/// Longest chunk of a message in bytes; Linux cuts at the same size.
const CHUNK: usize = 8192;
/// How long a sender waits for a guest that doesn't read.
const FULL_LIMIT: Duration = Duration::from_secs(10);
/// How long a sender waits for the intent that it has asked for; Linux waits as long.
const INTENT_LIMIT: Duration = Duration::from_secs(10);

/// The DSP's way of writing to the guest, shared by all channels of an edge.
pub(super) struct Outbox {
    pub(super) edge: String,
    pub(super) pipes: Pipes,
    /// Held while one frame is written, or while the indices are reset.
    pub(super) write: Mutex<()>,
    pub(super) doorbell: Arc<dyn Doorbell>,
    pub(super) stop: AtomicBool,
    pub(super) pace: Arc<Pace>,
    /// Frames were written that the guest has not been told of.
    pub(super) owed: AtomicBool,
    /// Answers that wait for the others of their group, and when the last of them came.
    pub(super) group: Mutex<(Vec<Frame>, Option<Instant>)>,
}

impl Outbox {
    /// Writes one frame and rings; waits while the FIFO is full and `open` holds.
    pub(super) fn post(&self, frame: &Frame, open: &AtomicBool) -> anyhow::Result<()> {
        self.write(frame, open)?;
        self.doorbell.ring()
    }

    /// Rings if there is something to be told. Whether there was.
    pub(super) fn settle(&self) -> anyhow::Result<bool> {
        let owed = self.owed.swap(false, Ordering::AcqRel);
        if owed {
            self.doorbell.ring()?;
        }
        Ok(owed)
    }

    /// Writes the answers that wait, if all of their group are there, or if none is waited for any
    /// more.
    pub(super) fn release(&self, open: &AtomicBool) -> anyhow::Result<()> {
        let (frames, since) = {
            let mut group = self.group.lock().expect("group");
            if group.0.is_empty() || group.0.len() < self.pace.group() {
                return Ok(());
            }
            std::mem::take(&mut *group)
        };
        self.pace.rest(since.unwrap_or_else(Instant::now));
        for frame in &frames {
            self.write(frame, open)?;
        }
        self.owed.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes one frame; waits while the FIFO is full and `open` holds.
    fn write(&self, frame: &Frame, open: &AtomicBool) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let since = Instant::now();
        loop {
            {
                let _turn = self.write.lock().expect("write lock");
                ensure!(open.load(Ordering::Acquire), "the channel is closed");
                if self.pipes.to_guest.write(&bytes)? {
                    break;
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                bail!("the link is going down");
            }
            ensure!(
                since.elapsed() < FULL_LIMIT,
                "{}: the guest has not read its FIFO for {FULL_LIMIT:?}",
                self.edge
            );
            if !self.settle()? {
                thread::sleep(BUSY_SLEEP);
            }
        }
        log::trace!("{}: sent {frame:?}", self.edge);
        Ok(())
    }
}

/// The guest's intents, for those who send.
#[derive(Default)]
pub(super) struct Credit {
    book: Mutex<Book>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) intents: Theirs,
    /// The guest has said no to the last request.
    pub(super) refused: bool,
}

impl Credit {
    /// Changes the book, and wakes those who wait for it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Book) -> R) -> R {
        let result = change(&mut self.book.lock().expect("book"));
        self.changed.notify_all();
        result
    }
}

/// An open channel, as the endpoint has it.
pub(super) struct Outlet {
    pub(super) outbox: Arc<Outbox>,
    pub(super) cid: u16,
    pub(super) open: AtomicBool,
    /// Keeps the chunks of one message together, and requests for intents apart.
    pub(super) message: Mutex<()>,
    /// Without, messages need no intents.
    pub(super) credit: Option<Credit>,
}

impl Outlet {
    /// Takes an intent for a message of `len` bytes; asks for one if there is none.
    fn intent(&self, credit: &Credit, len: usize) -> anyhow::Result<u32> {
        let since = Instant::now();
        loop {
            let taken = credit.change(|book| {
                book.refused = false;
                book.intents.take(len)
            });
            if let Some(iid) = taken {
                return Ok(iid);
            }
            let frame = Frame::IntentRequest {
                cid: self.cid,
                size: len as u32,
            };
            self.outbox.post(&frame, &self.open)?;
            let mut book = credit.book.lock().expect("book");
            while !book.refused && !book.intents.fits(len) {
                ensure!(self.open.load(Ordering::Acquire), "the channel is closed");
                ensure!(
                    since.elapsed() < INTENT_LIMIT,
                    "{}: no intent within {INTENT_LIMIT:?}",
                    self.outbox.edge
                );
                let turn = Duration::from_millis(20);
                book = credit.changed.wait_timeout(book, turn).expect("book").0;
            }
            ensure!(
                !book.refused,
                "{}: the guest has no intent of {len} bytes",
                self.outbox.edge
            );
        }
    }
}

impl Outlet {
    /// Hands a message, chunk by chunk, to `put`.
    fn write(
        &self,
        payload: &[u8],
        put: impl Fn(&Outbox, Frame) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let _turn = self.message.lock().expect("message lock");
        let iid = match &self.credit {
            Some(credit) => self.intent(credit, payload.len())?,
            None => 0,
        };
        let mut rest = payload;
        loop {
            let (chunk, left) = rest.split_at(rest.len().min(CHUNK));
            let frame = Frame::Data {
                cid: self.cid,
                iid,
                left: left.len() as u32,
                payload: chunk.to_vec(),
                more: chunk.len() + left.len() < payload.len(),
            };
            put(&self.outbox, frame)?;
            if left.is_empty() {
                return Ok(());
            }
            rest = left;
        }
    }
}

impl Channel for Outlet {
    fn send(&self, payload: &[u8]) -> anyhow::Result<()> {
        self.write(payload, |outbox, frame| outbox.post(&frame, &self.open))
    }

    fn post(&self, payload: &[u8]) -> anyhow::Result<()> {
        if !self.outbox.pace.is_hot() {
            return self.send(payload);
        }
        let gathers = self.outbox.pace.group() > 1;
        self.write(payload, |outbox, frame| {
            if gathers {
                let mut group = outbox.group.lock().expect("group");
                group.0.push(frame);
                group.1 = Some(Instant::now());
                return Ok(());
            }
            outbox.write(&frame, &self.open)?;
            outbox.owed.store(true, Ordering::Release);
            Ok(())
        })
    }

    fn is_read(&self) -> anyhow::Result<bool> {
        ensure!(self.open.load(Ordering::Acquire), "the channel is closed");
        Ok(self.outbox.pipes.to_guest.is_empty()?)
    }

    /// None where a sender may have to wait for intents, which the link's own thread must not.
    fn pace(&self) -> Option<&Pace> {
        self.credit.is_none().then_some(&*self.outbox.pace)
    }
}
