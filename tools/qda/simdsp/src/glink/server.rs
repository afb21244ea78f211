// SPDX-License-Identifier: GPL-2.0

//! The link's thread: what comes from the guest, and what is done about it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;

use super::outlet::Book;
use super::outlet::Credit;
use super::outlet::Outbox;
use super::outlet::Outlet;
use super::restart::Order;
use super::restart::What;
use super::slot::Ours;
use super::slot::Slot;
use super::slot::REOPEN;
use super::Service;
use super::Side;
use super::BUSY_SLEEP;
use crate::frame::BadFrame;
use crate::frame::Frame;
use crate::intents::BadIntent;
use crate::intents::Filled;
use crate::intents::Ours as Intents;
use crate::power::Power;

/// GLINK version that both sides speak.
const VERSION: u16 = 1;
/// Feature of a link with intents: they can be used again.
const INTENT_REUSE: u32 = 1;
/// Intents that the DSP announces with each channel: number and size in bytes. Fewer than a guest
/// may have calls, so that it has to ask for more.
pub(super) const FIRST_INTENTS: (usize, u32) = (4, 64);
/// Longest message in bytes that is put together from chunks.
const MESSAGE_LIMIT: usize = 1 << 20;
/// How long bytes that are no frame may stay before they are dropped.
pub(super) const GARBAGE_LIMIT: Duration = Duration::from_secs(1);
/// Sleep between looks at the FIFO when there is no traffic.
const IDLE_SLEEP: Duration = Duration::from_micros(250);

/// What the processor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The guest has not started it, or has stopped it.
    Off,
    Running,
    /// It hangs.
    Crashed,
}

/// The link's thread.
pub(super) struct Server {
    outbox: Arc<Outbox>,
    orders: mpsc::Receiver<Order>,
    slots: Vec<Slot>,
    intents: bool,
    power: Option<Power>,
    state: State,
    /// The version handshake is done.
    up: bool,
    next_cid: u16,
    garbage: Option<Instant>,
    always: AtomicBool,
}

impl Server {
    /// A server of `services`; what it is asked to do comes through `orders`.
    pub(super) fn new(
        outbox: Arc<Outbox>,
        orders: mpsc::Receiver<Order>,
        services: Vec<Service>,
        intents: bool,
        power: Option<Power>,
    ) -> Self {
        Self {
            outbox,
            orders,
            slots: services.into_iter().map(Slot::new).collect(),
            intents,
            state: match power {
                Some(_) => State::Off,
                None => State::Running,
            },
            power,
            up: false,
            next_cid: 1,
            garbage: None,
            always: AtomicBool::new(true),
        }
    }

    /// Serves until the link is dropped.
    pub(super) fn run(&mut self) {
        let mut last = Instant::now();
        let mut buf = Vec::new();
        while !self.outbox.stop.load(Ordering::Relaxed) {
            match self.step(&mut buf) {
                Ok(true) => last = Instant::now(),
                Ok(false) if self.outbox.pace.is_hot() => thread::yield_now(),
                Ok(false) if last.elapsed() < Duration::from_millis(10) => {
                    thread::sleep(BUSY_SLEEP);
                }
                Ok(false) => thread::sleep(IDLE_SLEEP),
                Err(error) => {
                    if !self.outbox.stop.load(Ordering::Relaxed) {
                        log::warn!("{}: link ends: {error:#}", self.outbox.edge);
                    }
                    break;
                }
            }
        }
        self.slots
            .iter_mut()
            .for_each(|slot| slot.shut(Side::Guest));
    }

    /// One look at everything; whether there was anything to do.
    fn step(&mut self, buf: &mut Vec<u8>) -> anyhow::Result<bool> {
        let mut busy = false;
        while let Ok(order) = self.orders.try_recv() {
            busy = true;
            match order.what {
                What::Restart(down) => self.restart(&order.channel, down)?,
                What::Crash => self.crash(),
            }
        }
        busy |= self.follow_power()?;
        if self.state == State::Running {
            busy |= self.turn(buf)?;
        }
        Ok(busy)
    }

    /// Starts or stops when the guest wants it; whether it did.
    fn follow_power(&mut self) -> anyhow::Result<bool> {
        let Some(power) = &self.power else {
            return Ok(false);
        };
        match (power.wanted()?, self.state) {
            (true, State::Off) => {
                log::info!("{}: starting", self.outbox.edge);
                // The guest waits for us, so that nobody else is at the FIFOs.
                self.outbox.pipes.reset()?;
                power.tell(true)?;
                self.state = State::Running;
            }
            (false, State::Running | State::Crashed) => {
                log::info!("{}: stopped", self.outbox.edge);
                self.forget(Side::Dsp);
                if let Some(power) = &self.power {
                    power.tell(false)?;
                }
                self.state = State::Off;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn crash(&mut self) {
        if self.state == State::Running {
            log::info!("{}: crashed", self.outbox.edge);
            self.state = State::Crashed;
            self.shut_all(Side::Dsp);
        }
    }

    /// Takes all channels from their endpoints; afterwards nobody but us writes to the guest.
    fn shut_all(&mut self, by: Side) {
        self.slots.iter_mut().for_each(|slot| slot.shut(by));
        drop(self.outbox.write.lock().expect("write lock"));
    }

    /// Nothing of before counts any more.
    fn forget(&mut self, by: Side) {
        self.shut_all(by);
        self.up = false;
        self.garbage = None;
        for slot in &mut self.slots {
            slot.service.endpoint.halted();
            slot.ours = Ours::Closed;
            slot.theirs = None;
            slot.reopen = None;
            slot.pause = REOPEN;
        }
    }

    fn post(&self, frame: &Frame) -> anyhow::Result<()> {
        self.outbox.post(frame, &self.always)
    }

    /// One look at timers and the FIFO; whether there was anything to do.
    fn turn(&mut self, buf: &mut Vec<u8>) -> anyhow::Result<bool> {
        let mut busy = false;
        let now = Instant::now();
        for i in 0..self.slots.len() {
            let slot = &self.slots[i];
            let closed = slot.ours == Ours::Closed && slot.theirs.is_none();
            if self.up && closed && slot.reopen.is_some_and(|at| at <= now) {
                self.open_channel(i)?;
                busy = true;
            }
        }

        let pipes = &self.outbox.pipes;
        pipes.to_dsp.peek(buf)?;
        let decoded = Frame::decode(buf, pipes.to_dsp.size() as usize);
        match decoded {
            Ok(Some((frame, len))) => {
                self.garbage = None;
                log::trace!("{}: got {frame:?}", self.outbox.edge);
                if matches!(frame, Frame::Version { .. }) {
                    self.begin()?;
                }
                self.outbox.pipes.to_dsp.advance(len as u32)?;
                self.handle(frame)?;
                Ok(true)
            }
            _ if pipes.guest_restarted()? => {
                self.begin()?;
                Ok(true)
            }
            Ok(None) => {
                self.outbox.release(&self.always)?;
                Ok(self.outbox.settle()? || busy)
            }
            Err(error) => {
                self.drop_garbage(error)?;
                Ok(busy)
            }
        }
    }

    /// Bytes that are no frame: a guest amid a restart, or a broken one.
    fn drop_garbage(&mut self, error: BadFrame) -> anyhow::Result<()> {
        let since = *self.garbage.get_or_insert_with(Instant::now);
        if since.elapsed() > GARBAGE_LIMIT {
            log::error!("{}: {error}; dropping what is there", self.outbox.edge);
            let fifo = &self.outbox.pipes.to_dsp;
            fifo.set_tail(fifo.head()?)?;
            self.garbage = None;
        }
        Ok(())
    }

    /// The guest's transport begins, for the first time or anew.
    fn begin(&mut self) -> anyhow::Result<()> {
        if self.up {
            log::info!("{}: the guest's transport started anew", self.outbox.edge);
        }
        self.forget(Side::Guest);
        let _turn = self.outbox.write.lock().expect("write lock");
        self.outbox.pipes.follow_restart()?;
        Ok(())
    }

    fn open_channel(&mut self, i: usize) -> anyhow::Result<()> {
        let cid = self.next_cid;
        self.next_cid = self.next_cid.checked_add(1).unwrap_or(1);
        let slot = &mut self.slots[i];
        slot.reopen = None;
        slot.ours = Ours::Opening;
        slot.cid = cid;
        let name = slot.service.name.clone();
        log::debug!("{}: offering {name} as {cid}", self.outbox.edge);
        self.post(&Frame::Open { cid, name })
    }

    /// Closes our end because the DSP went down, to come back later.
    fn restart(&mut self, name: &str, down: Duration) -> anyhow::Result<()> {
        if self.state == State::Off {
            log::warn!("{}: does not run, can't restart {name}", self.outbox.edge);
            return Ok(());
        }
        self.state = State::Running;
        let Some(slot) = self.slots.iter_mut().find(|s| s.service.name == name) else {
            log::warn!("{}: no channel {name} to restart", self.outbox.edge);
            return Ok(());
        };
        slot.shut(Side::Dsp);
        slot.used = true;
        match slot.ours {
            Ours::Opening | Ours::Open => {
                log::info!("{}: restarting {name}", self.outbox.edge);
                slot.ours = Ours::Closing;
                slot.reopen = Some(Instant::now() + down);
                let cid = slot.cid;
                self.post(&Frame::Close { cid })
            }
            Ours::Closed | Ours::Closing => Ok(()),
        }
    }

    fn handle(&mut self, frame: Frame) -> anyhow::Result<()> {
        match frame {
            Frame::Version { version, features } => {
                ensure!(
                    version == VERSION,
                    "guest speaks GLINK version {version}, features {features:#x}"
                );
                let features = if self.intents { INTENT_REUSE } else { 0 };
                self.post(&Frame::VersionAck { version, features })?;
                self.post(&Frame::Version { version, features })
            }
            Frame::VersionAck { .. } => {
                self.up = true;
                (0..self.slots.len()).try_for_each(|i| self.open_channel(i))
            }
            Frame::Open { cid, name } => self.guest_opens(cid, &name),
            Frame::OpenAck { cid } => {
                if let Some(slot) = self.ours(cid).filter(|s| s.ours == Ours::Opening) {
                    slot.ours = Ours::Open;
                }
                Ok(())
            }
            Frame::Close { cid } => self.guest_closes(cid),
            Frame::CloseAck { cid } => {
                if let Some(slot) = self.ours(cid).filter(|s| s.ours == Ours::Closing) {
                    slot.ours = Ours::Closed;
                    slot.plan_reopen();
                }
                Ok(())
            }
            Frame::Data {
                cid,
                iid,
                left,
                payload,
                ..
            } if self.intents => self.data_by_intent(cid, iid, &payload, left),
            Frame::Data {
                cid,
                left,
                payload,
                more,
                ..
            } => {
                self.data(cid, left, &payload, more);
                Ok(())
            }
            Frame::ReadNotif => self.outbox.doorbell.ring(),
            Frame::Intent { cid, intents } => {
                for (size, iid) in intents {
                    self.credit(cid, |book| book.intents.add(iid, size));
                }
                Ok(())
            }
            Frame::RxDone { cid, iid, reuse } => {
                self.credit(cid, |book| book.intents.done(iid, reuse));
                Ok(())
            }
            Frame::IntentRequestAck { cid, granted } => {
                self.credit(cid, |book| {
                    book.refused = !granted;
                    Ok(())
                });
                Ok(())
            }
            Frame::IntentRequest { cid, size } => self.grant(cid, size),
            other => {
                log::debug!("{}: {other:?} means nothing here", self.outbox.edge);
                Ok(())
            }
        }
    }

    fn ours(&mut self, cid: u16) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|s| s.cid == cid)
    }

    fn guest_opens(&mut self, cid: u16, name: &str) -> anyhow::Result<()> {
        let edge = &self.outbox.edge;
        let Some(i) = self.slots.iter().position(|s| s.service.name == name) else {
            log::info!("{edge}: the guest asks for channel {name}, which this DSP has not");
            return Ok(());
        };
        if self.slots[i].ours == Ours::Closed {
            self.open_channel(i)?;
        }
        self.post(&Frame::OpenAck { cid })?;
        let slot = &mut self.slots[i];
        slot.shut(Side::Guest);
        slot.theirs = Some(cid);
        if slot.ours == Ours::Closing {
            return Ok(());
        }
        if self.intents {
            self.announce(i)?;
        }
        let slot = &mut self.slots[i];
        log::info!("{}: {name} is open", self.outbox.edge);
        slot.since = Instant::now();
        slot.used = false;
        let outlet = Arc::new(Outlet {
            outbox: Arc::clone(&self.outbox),
            cid: slot.cid,
            open: AtomicBool::new(true),
            message: Mutex::new(()),
            credit: self.intents.then(Credit::default),
        });
        slot.outlet = Some(Arc::clone(&outlet));
        slot.service.endpoint.opened(outlet);
        Ok(())
    }

    fn guest_closes(&mut self, cid: u16) -> anyhow::Result<()> {
        let Some(slot) = self.slots.iter_mut().find(|s| s.theirs == Some(cid)) else {
            log::warn!("{}: CLOSE of unknown channel {cid}", self.outbox.edge);
            return Ok(());
        };
        slot.shut(Side::Guest);
        slot.theirs = None;
        let ours = slot.cid;
        let mut close = false;
        match slot.ours {
            Ours::Opening | Ours::Open => {
                log::info!(
                    "{}: the guest closed {}{}",
                    self.outbox.edge,
                    slot.service.name,
                    if slot.used { "" } else { " unused" }
                );
                slot.ours = Ours::Closing;
                close = true;
            }
            Ours::Closed => slot.plan_reopen(),
            Ours::Closing => {}
        }
        self.post(&Frame::CloseAck { cid })?;
        if close {
            self.post(&Frame::Close { cid: ours })?;
        }
        Ok(())
    }

    /// The channel that the guest has open as `cid`. We may have closed our end: then what comes is
    /// taken, so that the guest does not get stuck, and dropped.
    fn slot(&mut self, cid: u16) -> Option<&mut Slot> {
        let slot = self.slots.iter_mut().find(|s| s.theirs == Some(cid));
        if slot.is_none() {
            log::warn!("{}: unknown channel {cid}", self.outbox.edge);
        }
        slot
    }

    /// Announces the first intents of a channel.
    fn announce(&mut self, i: usize) -> anyhow::Result<()> {
        let slot = &mut self.slots[i];
        slot.intents = Intents::default();
        let (count, size) = FIRST_INTENTS;
        let offers = (0..count).filter_map(|_| slot.intents.offer(size, true));
        let frame = Frame::Intent {
            cid: slot.cid,
            intents: offers.map(|iid| (size, iid)).collect(),
        };
        self.post(&frame)
    }

    /// The guest wants an intent of `size` bytes. It gets one, if we can; every second is good for
    /// one message only, as those are that Linux grants.
    fn grant(&mut self, cid: u16, size: u32) -> anyhow::Result<()> {
        let Some(slot) = self.slot(cid) else {
            return Ok(());
        };
        let ours = slot.cid;
        slot.granted = slot.granted.wrapping_add(1);
        let reuse = slot.granted % 2 == 0;
        let offer = slot.intents.offer(size, reuse);
        if let Some(iid) = offer {
            self.post(&Frame::Intent {
                cid: ours,
                intents: vec![(size, iid)],
            })?;
        }
        self.post(&Frame::IntentRequestAck {
            cid: ours,
            granted: offer.is_some(),
        })
    }

    /// What the guest says about its intents.
    fn credit(&mut self, cid: u16, change: impl FnOnce(&mut Book) -> Result<(), BadIntent>) {
        let edge = self.outbox.edge.clone();
        let outlet = self.slot(cid).and_then(|slot| slot.outlet.as_ref());
        let Some(credit) = outlet.and_then(|outlet| outlet.credit.as_ref()) else {
            return;
        };
        if let Err(error) = credit.change(change) {
            log::error!("{edge}: guest: {error}");
        }
    }

    /// A chunk for one of our intents.
    fn data_by_intent(
        &mut self,
        cid: u16,
        iid: u32,
        payload: &[u8],
        left: u32,
    ) -> anyhow::Result<()> {
        let edge = self.outbox.edge.clone();
        let Some(slot) = self.slot(cid) else {
            return Ok(());
        };
        let cid = slot.cid;
        let Filled { message, reuse } = match slot.intents.fill(iid, payload, left) {
            Ok(Some(filled)) => filled,
            Ok(None) => return Ok(()),
            Err(error) => {
                log::error!("{edge}: guest: {error}");
                return Ok(());
            }
        };
        slot.deliver(&message);
        self.post(&Frame::RxDone { cid, iid, reuse })
    }

    /// A chunk of a message on a link without intents.
    fn data(&mut self, cid: u16, left: u32, payload: &[u8], more: bool) {
        let Some(slot) = self.slot(cid) else {
            return;
        };
        if !more {
            slot.partial.clear();
        }
        slot.partial.extend_from_slice(payload);
        if slot.partial.len() > MESSAGE_LIMIT {
            let name = &slot.service.name;
            log::error!("{name}: message above {MESSAGE_LIMIT} bytes");
            slot.partial.clear();
        } else if left == 0 {
            let message = std::mem::take(&mut slot.partial);
            slot.deliver(&message);
        }
    }
}
