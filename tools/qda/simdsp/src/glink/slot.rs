// SPDX-License-Identifier: GPL-2.0

//! What the link's thread knows of one channel.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::outlet::Outlet;
use super::Service;
use super::Side;
use crate::intents::Ours as Intents;

/// Pause before a channel that the guest closed is opened again.
pub(super) const REOPEN: Duration = Duration::from_millis(50);
/// The same at most, for a driver that refuses the channel each time.
const REOPEN_MAX: Duration = Duration::from_secs(1);
/// A channel closed unused and younger than this was refused by a driver's probe.
const REFUSED: Duration = Duration::from_millis(100);

/// Where our end of a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ours {
    Closed,
    /// OPEN sent; the guest may not have a driver for it yet.
    Opening,
    Open,
    /// CLOSE sent.
    Closing,
}

/// One channel of the link, as its thread keeps it.
pub(super) struct Slot {
    pub(super) service: Service,
    pub(super) ours: Ours,
    /// Our channel id; a new one for each OPEN, so that late frames find nothing.
    pub(super) cid: u16,
    /// The guest's channel id while its end is open.
    pub(super) theirs: Option<u16>,
    pub(super) outlet: Option<Arc<Outlet>>,
    /// The begin of a message that came without an intent.
    pub(super) partial: Vec<u8>,
    /// Intents that the guest fills.
    pub(super) intents: Intents,
    /// Requests for intents so far.
    pub(super) granted: u32,
    pub(super) used: bool,
    pub(super) since: Instant,
    pub(super) pause: Duration,
    pub(super) reopen: Option<Instant>,
}

impl Slot {
    pub(super) fn new(service: Service) -> Self {
        Self {
            service,
            ours: Ours::Closed,
            cid: 0,
            theirs: None,
            outlet: None,
            partial: Vec::new(),
            intents: Intents::default(),
            granted: 0,
            used: false,
            since: Instant::now(),
            pause: REOPEN,
            reopen: None,
        }
    }

    /// Takes the channel away from the endpoint, if it has it.
    pub(super) fn shut(&mut self, by: Side) {
        self.partial.clear();
        if let Some(outlet) = self.outlet.take() {
            outlet.open.store(false, Ordering::Release);
            self.service.endpoint.closed(by);
        }
    }

    /// Hands a message to the endpoint, if it has the channel.
    pub(super) fn deliver(&mut self, message: &[u8]) {
        if self.outlet.is_some() {
            self.used = true;
            self.service.endpoint.message(message);
        }
    }

    /// Both ends are closed: when to offer the channel again.
    pub(super) fn plan_reopen(&mut self) {
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
