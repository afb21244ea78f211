// SPDX-License-Identifier: GPL-2.0

//! The other end of a channel that only answers: what a call costs on the transport alone.

use crate::glink::{Endpoint, Side};
use crate::port::Channel;
use crate::wire::{Request, Response};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Answers each request with its own context and status 0.
#[derive(Default)]
pub struct Floor(Mutex<Option<Arc<dyn Channel>>>);

impl Floor {
    fn set(&self, channel: Option<Arc<dyn Channel>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }
}

impl Endpoint for Floor {
    fn opened(&self, channel: Arc<dyn Channel>) {
        self.set(Some(channel));
    }

    fn message(&self, payload: &[u8]) {
        let began = Instant::now();
        let channel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(channel), Some(request)) = (&*channel, Request::decode(payload)) else {
            log::warn!("floor: {} bytes", payload.len());
            return;
        };
        if let Some(pace) = channel.pace() {
            pace.keep(began);
        }
        let answer = Response {
            ctx: request.ctx,
            retval: 0,
        };
        if let Err(error) = channel.post(&answer.encode()) {
            log::warn!("floor: {error}");
        }
    }

    fn closed(&self, _by: Side) {
        self.set(None);
    }
}
