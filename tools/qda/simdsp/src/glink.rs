// SPDX-License-Identifier: GPL-2.0

//! GLINK: one link per edge, served by one thread.
//!
//! The DSP opens its channels when the guest's transport has come up, and opens them again when the
//! guest has closed them (its driver went) or when its transport has started anew, so that a driver
//! finds its DSP at every load. Over message RAM, as `qcom,glink-rpm` has it, the link has no
//! intents and always runs; over SMEM it has [`intents`](crate::intents), and the guest starts and
//! stops the processor that it leads to.

mod outlet;
mod restart;
mod server;
mod slot;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use self::outlet::Outbox;
use self::restart::Order;
pub use self::restart::Restarter;
use self::server::Server;
use crate::fifo::Pipes;
use crate::pace::Pace;
use crate::port::Channel;
use crate::power::Power;

/// Sleep between looks at a FIFO while there is traffic.
const BUSY_SLEEP: Duration = Duration::from_micros(100);

/// Raises the edge's interrupt in the guest.
pub trait Doorbell: Send + Sync {
    /// One edge on the interrupt line.
    ///
    /// # Errors
    ///
    /// When the machine is gone.
    fn ring(&self) -> anyhow::Result<()>;
}

/// Who ended a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The guest closed it, or its transport started anew.
    Guest,
    /// The DSP went down, by itself or because the guest stopped it.
    Dsp,
}

/// What serves a channel. Called from the link's thread: long work goes elsewhere.
pub trait Endpoint: Send + Sync {
    /// The channel is open at both ends; `channel` can be used until it is closed.
    fn opened(&self, channel: Arc<dyn Channel>);
    /// A whole message came.
    fn message(&self, payload: &[u8]);
    /// The channel has gone; what is sent from now on is refused. When this returns, nothing that
    /// went on touches memory any more.
    fn closed(&self, by: Side);
    /// The processor was halted, or the guest began anew: it knows nothing of before.
    fn halted(&self) {}
}

/// A channel that the DSP offers.
pub struct Service {
    /// Channel name, e.g. `fastrpcglink-apps-dsp`.
    pub name: String,
    /// What serves it.
    pub endpoint: Arc<dyn Endpoint>,
}

/// What a link runs over.
pub struct Wires {
    /// The FIFOs.
    pub pipes: Pipes,
    /// Whether its channels have intents.
    pub intents: bool,
    /// How the guest starts and stops the processor; without, it always runs.
    pub power: Option<Power>,
}

/// A running link. Dropping it ends its thread and closes its channels.
pub struct Link {
    outbox: Arc<Outbox>,
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Serves `services` over `wires` in a thread named after `edge`.
    ///
    /// # Errors
    ///
    /// When no thread can be had.
    pub fn start(
        edge: &str,
        wires: Wires,
        doorbell: Arc<dyn Doorbell>,
        services: Vec<Service>,
    ) -> anyhow::Result<Self> {
        let Wires {
            pipes,
            intents,
            power,
        } = wires;
        let outbox = Arc::new(Outbox {
            edge: edge.to_owned(),
            pipes,
            write: Mutex::new(()),
            doorbell,
            stop: AtomicBool::new(false),
            pace: Arc::default(),
            owed: AtomicBool::new(false),
            group: Mutex::default(),
        });
        let (orders, inbox) = mpsc::channel();
        let mut server = Server::new(Arc::clone(&outbox), inbox, services, intents, power);
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

    /// How it is served.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.outbox.pace)
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

#[cfg(test)]
mod tests;
