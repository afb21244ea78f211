// SPDX-License-Identifier: GPL-2.0

//! GLINK over message RAM: one link per edge, served by one thread.
//!
//! The link is intentless, as `qcom,glink-rpm` is. The DSP opens its channels when the guest's
//! transport has come up, and opens them again when the guest has closed them (its driver went) or
//! when its transport has started anew, so that a driver finds its DSP at every load.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;

use crate::fifo::Pipes;
use crate::frame::BadFrame;
use crate::frame::Frame;
use crate::port::Channel;

/// GLINK version that both sides speak.
const VERSION: u16 = 1;
/// Longest chunk of a message in bytes; Linux cuts at the same size.
const CHUNK: usize = 8192;
/// Longest message in bytes that is put together from chunks.
const MESSAGE_LIMIT: usize = 1 << 20;
/// How long a sender waits for a guest that doesn't read.
const FULL_LIMIT: Duration = Duration::from_secs(10);
/// How long bytes that are no frame may stay before they are dropped.
const GARBAGE_LIMIT: Duration = Duration::from_secs(1);
/// Pause before a channel that the guest closed is opened again.
const REOPEN: Duration = Duration::from_millis(50);
/// The same at most, for a driver that refuses the channel each time.
const REOPEN_MAX: Duration = Duration::from_secs(1);
/// A channel closed unused and younger than this was refused by a driver's probe.
const REFUSED: Duration = Duration::from_millis(100);
/// Sleep between looks at the FIFO while there is traffic, and otherwise.
const BUSY_SLEEP: Duration = Duration::from_micros(100);
const IDLE_SLEEP: Duration = Duration::from_micros(250);

/// Raises the edge's interrupt in the guest.
pub trait Doorbell: Send + Sync {
    /// One edge on the interrupt line.
    ///
    /// # Errors
    ///
    /// When the machine is gone.
    fn ring(&self) -> anyhow::Result<()>;
}

/// What serves a channel. Called from the link's thread: long work goes elsewhere.
pub trait Endpoint: Send + Sync {
    /// The channel is open at both ends; `channel` can be used until it is closed.
    fn opened(&self, channel: Arc<dyn Channel>);
    /// A whole message came.
    fn message(&self, payload: &[u8]);
    /// The channel has gone; what is sent from now on is refused.
    fn closed(&self);
}

/// A channel that the DSP offers.
pub struct Service {
    /// Channel name, e.g. `fastrpcglink-apps-dsp`.
    pub name: String,
    /// What serves it.
    pub endpoint: Arc<dyn Endpoint>,
}

/// The DSP's way of writing to the guest, shared by all channels of an edge.
struct Outbox {
    edge: String,
    pipes: Pipes,
    /// Held while one frame is written, or while the indices are reset.
    write: Mutex<()>,
    doorbell: Arc<dyn Doorbell>,
    stop: AtomicBool,
    hot: AtomicBool,
}

impl Outbox {
    /// Writes one frame and rings; waits while the FIFO is full and `open` holds.
    fn post(&self, frame: &Frame, open: &AtomicBool) -> anyhow::Result<()> {
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
            thread::sleep(BUSY_SLEEP);
        }
        log::trace!("{}: sent {frame:?}", self.edge);
        self.doorbell.ring()
    }
}

/// An open channel, as the endpoint has it.
struct Outlet {
    outbox: Arc<Outbox>,
    cid: u16,
    open: AtomicBool,
    /// Keeps the chunks of one message together.
    message: Mutex<()>,
}

impl Channel for Outlet {
    fn send(&self, payload: &[u8]) -> anyhow::Result<()> {
        let _turn = self.message.lock().expect("message lock");
        let mut rest = payload;
        loop {
            let (chunk, left) = rest.split_at(rest.len().min(CHUNK));
            let frame = Frame::Data {
                cid: self.cid,
                iid: 0,
                left: left.len() as u32,
                payload: chunk.to_vec(),
                more: chunk.len() + left.len() < payload.len(),
            };
            self.outbox.post(&frame, &self.open)?;
            if left.is_empty() {
                return Ok(());
            }
            rest = left;
        }
    }
}

/// Where our end of a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Closed,
    /// OPEN sent; the guest may not have a driver for it yet.
    Opening,
    Open,
    /// CLOSE sent.
    Closing,
}

/// One channel of the link, as its thread keeps it.
struct Slot {
    service: Service,
    ours: Ours,
    /// Our channel id; a new one for each OPEN, so that late frames find nothing.
    cid: u16,
    /// The guest's channel id while its end is open.
    theirs: Option<u16>,
    outlet: Option<Arc<Outlet>>,
    partial: Vec<u8>,
    used: bool,
    since: Instant,
    pause: Duration,
    reopen: Option<Instant>,
}

enum Order {
    Restart(String, Duration),
}

/// A running link. Dropping it ends its thread and closes its channels.
pub struct Link {
    outbox: Arc<Outbox>,
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Serves `services` over `pipes` in a thread named after `edge`.
    ///
    /// # Errors
    ///
    /// When no thread can be had.
    pub fn start(
        edge: &str,
        pipes: Pipes,
        doorbell: Arc<dyn Doorbell>,
        services: Vec<Service>,
    ) -> anyhow::Result<Self> {
        let outbox = Arc::new(Outbox {
            edge: edge.to_owned(),
            pipes,
            write: Mutex::new(()),
            doorbell,
            stop: AtomicBool::new(false),
            hot: AtomicBool::new(false),
        });
        let (orders, inbox) = mpsc::channel();
        let mut server = Server {
            outbox: Arc::clone(&outbox),
            orders: inbox,
            slots: services.into_iter().map(Slot::new).collect(),
            up: false,
            next_cid: 1,
            garbage: None,
            always: AtomicBool::new(true),
        };
        let thread = thread::Builder::new()
            .name(format!("glink {edge}"))
            .spawn(move || server.run())?;
        Ok(Self {
            outbox,
            orders,
            thread: Some(thread),
        })
    }

    /// What restarts `channel`, wherever it is called from; see [`Restarter::restart`].
    pub fn restarter(&self, channel: &str) -> Restarter {
        Restarter {
            orders: self.orders.clone(),
            channel: channel.to_owned(),
        }
    }

    /// Makes the thread spin instead of sleep, for measurements; takes a whole CPU.
    pub fn set_hot(&self, hot: bool) {
        self.outbox.hot.store(hot, Ordering::Relaxed);
    }
}

/// Restarts one channel of a link.
#[derive(Clone)]
pub struct Restarter {
    orders: mpsc::Sender<Order>,
    channel: String,
}

impl Restarter {
    /// Closes the channel from the DSP's side, as a DSP that crashed, and offers it again after
    /// `down`. The guest's driver loses its device and gets a new one.
    pub fn restart(&self, down: Duration) {
        // Fails only when the link's thread has ended, and with it the channel.
        let _ = self.orders.send(Order::Restart(self.channel.clone(), down));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.outbox.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                log::error!("{}: the link's thread panicked", self.outbox.edge);
            }
        }
    }
}

impl Slot {
    fn new(service: Service) -> Self {
        Self {
            service,
            ours: Ours::Closed,
            cid: 0,
            theirs: None,
            outlet: None,
            partial: Vec::new(),
            used: false,
            since: Instant::now(),
            pause: REOPEN,
            reopen: None,
        }
    }

    /// Takes the channel away from the endpoint, if it has it.
    fn shut(&mut self) {
        self.partial.clear();
        if let Some(outlet) = self.outlet.take() {
            outlet.open.store(false, Ordering::Release);
            self.service.endpoint.closed();
        }
    }

    /// Both ends are closed: when to offer the channel again.
    fn plan_reopen(&mut self) {
        if self.ours != Ours::Closed || self.theirs.is_some() || self.reopen.is_some() {
            return;
        }
        let refused = !self.used && self.since.elapsed() < REFUSED;
        self.pause = if refused {
            (self.pause * 2).min(REOPEN_MAX)
        } else {
            REOPEN
        };
        self.reopen = Some(Instant::now() + self.pause);
    }
}

/// The link's thread.
struct Server {
    outbox: Arc<Outbox>,
    orders: mpsc::Receiver<Order>,
    slots: Vec<Slot>,
    /// The version handshake is done.
    up: bool,
    next_cid: u16,
    garbage: Option<Instant>,
    always: AtomicBool,
}

impl Server {
    fn run(&mut self) {
        let mut last = Instant::now();
        let mut buf = Vec::new();
        while !self.outbox.stop.load(Ordering::Relaxed) {
            match self.turn(&mut buf) {
                Ok(true) => last = Instant::now(),
                Ok(false) if self.outbox.hot.load(Ordering::Relaxed) => thread::yield_now(),
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
        self.slots.iter_mut().for_each(Slot::shut);
    }

    fn post(&self, frame: &Frame) -> anyhow::Result<()> {
        self.outbox.post(frame, &self.always)
    }

    /// One look at orders, timers and the FIFO; whether there was anything to do.
    fn turn(&mut self, buf: &mut Vec<u8>) -> anyhow::Result<bool> {
        let mut busy = false;
        while let Ok(Order::Restart(name, down)) = self.orders.try_recv() {
            busy = true;
            self.close_channel(&name, down)?;
        }
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
            Ok(None) => Ok(busy),
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

    /// The guest's transport begins, for the first time or anew: nothing of before counts.
    fn begin(&mut self) -> anyhow::Result<()> {
        if self.up {
            log::info!("{}: the guest's transport started anew", self.outbox.edge);
        }
        self.up = false;
        for slot in &mut self.slots {
            slot.shut();
            slot.ours = Ours::Closed;
            slot.theirs = None;
            slot.reopen = None;
            slot.pause = REOPEN;
        }
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

    /// Closes our end because the DSP went down.
    fn close_channel(&mut self, name: &str, down: Duration) -> anyhow::Result<()> {
        let Some(slot) = self.slots.iter_mut().find(|s| s.service.name == name) else {
            log::warn!("{}: no channel {name} to restart", self.outbox.edge);
            return Ok(());
        };
        slot.shut();
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
                self.post(&Frame::VersionAck {
                    version,
                    features: 0,
                })?;
                self.post(&Frame::Version {
                    version,
                    features: 0,
                })
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
                left,
                payload,
                more,
                ..
            } => {
                self.data(cid, left, &payload, more);
                Ok(())
            }
            Frame::ReadNotif => self.outbox.doorbell.ring(),
            Frame::IntentRequest { cid, .. } => self.post(&Frame::IntentRequestAck {
                cid,
                granted: false,
            }),
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
        slot.shut();
        slot.theirs = Some(cid);
        if slot.ours == Ours::Closing {
            return Ok(());
        }
        log::info!("{}: {name} is open", self.outbox.edge);
        slot.since = Instant::now();
        slot.used = false;
        let outlet = Arc::new(Outlet {
            outbox: Arc::clone(&self.outbox),
            cid: slot.cid,
            open: AtomicBool::new(true),
            message: Mutex::new(()),
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
        slot.shut();
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

    fn data(&mut self, cid: u16, left: u32, payload: &[u8], more: bool) {
        let Some(slot) = self.slots.iter_mut().find(|s| s.theirs == Some(cid)) else {
            log::warn!("{}: data on unknown channel {cid}", self.outbox.edge);
            return;
        };
        if slot.outlet.is_none() {
            return;
        }
        if !more {
            slot.partial.clear();
        }
        slot.partial.extend_from_slice(payload);
        if slot.partial.len() > MESSAGE_LIMIT {
            log::error!("{}: message above {MESSAGE_LIMIT} bytes", self.outbox.edge);
            slot.partial.clear();
        } else if left == 0 {
            slot.used = true;
            let message = std::mem::take(&mut slot.partial);
            slot.service.endpoint.message(&message);
        }
    }
}

#[cfg(test)]
mod tests;
