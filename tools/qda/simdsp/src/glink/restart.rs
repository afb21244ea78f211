// SPDX-License-Identifier: GPL-2.0

//! Restarts and crashes, from wherever they are wanted.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;

/// How long the link's thread may take to carry out an order.
const ORDER_LIMIT: Duration = Duration::from_secs(15);

/// What the link's thread is asked to do; the sender is dropped when it is done.
pub(super) struct Order {
    pub(super) channel: String,
    pub(super) what: What,
    _done: mpsc::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Restart(Duration),
    Crash,
}

/// Restarts one channel of a link, or crashes the processor behind it.
#[derive(Debug, Clone)]
pub struct Restarter {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) channel: String,
}

impl Restarter {
    /// Closes the channel from the DSP's side, as a DSP that crashed, and offers it again after
    /// `down`. The guest's driver loses its device and gets a new one. A processor that crashed
    /// runs again.
    ///
    /// # Errors
    ///
    /// When the link has ended or its thread is stuck.
    pub fn restart(&self, down: Duration) -> anyhow::Result<()> {
        self.order(What::Restart(down))
    }

    /// The processor hangs: from when this returns it answers nothing, reads nothing and touches no
    /// memory, until the guest stops and starts it or one of its channels is
    /// [restarted](Self::restart). The guest is not told.
    ///
    /// # Errors
    ///
    /// When the link has ended or its thread is stuck.
    pub fn crash(&self) -> anyhow::Result<()> {
        self.order(What::Crash)
    }

    fn order(&self, what: What) -> anyhow::Result<()> {
        let (done, wait) = mpsc::channel();
        let order = Order {
            channel: self.channel.clone(),
            what,
            _done: done,
        };
        self.orders.send(order).ok().context("the link has ended")?;
        match wait.recv_timeout(ORDER_LIMIT) {
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the link is stuck"),
            _ => Ok(()),
        }
    }
}
