// SPDX-License-Identifier: GPL-2.0

//! How messages get to the DSP.
//!
//! Replies come the other way, into [`Calls::received`](crate::call::Calls::received).

use crate::proto::Message;
use kernel::{
    device::Core,
    prelude::*,
    rpmsg,
    sync::Arc, //
};

/// A channel to one DSP.
pub(crate) trait Transport: Send + Sync {
    /// Sends `message`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] once the channel is closed or the DSP has gone, else what the transport reports.
    /// The DSP has not seen a message whose sending failed.
    fn send(&self, message: &Message) -> Result;

    /// As [`Transport::send`], but does not sleep.
    ///
    /// # Errors
    ///
    /// Also [`EAGAIN`], if there is no room at once.
    fn try_send(&self, message: &Message) -> Result;

    /// Ends sending: when this returns no message is on its way, and none will be. May sleep.
    fn close(&self);
}

/// The transport of real DSPs.
pub(crate) struct Rpmsg {
    endpoint: rpmsg::Endpoint,
    sender: rpmsg::Sender,
}

impl Rpmsg {
    /// Opens the channel; messages of the DSP go to `receiver` from now on.
    ///
    /// # Errors
    ///
    /// As [`rpmsg::Endpoint::open`].
    pub(crate) fn open<R: rpmsg::Receiver>(
        rpdev: &rpmsg::Device<Core<'_>>,
        receiver: Arc<R>,
    ) -> Result<Self> {
        let endpoint = rpmsg::Endpoint::open(rpdev, receiver)?;
        let sender = endpoint.sender();

        Ok(Self { endpoint, sender })
    }
}

/// GLINK's words for a DSP that has gone: the driver is about to be unbound.
fn gone(error: Error) -> Error {
    match error {
        EIO | ECANCELED => EPIPE,
        error => error,
    }
}

impl Transport for Rpmsg {
    fn send(&self, message: &Message) -> Result {
        self.sender.send(&message.to_bytes()).map_err(gone)
    }

    fn try_send(&self, message: &Message) -> Result {
        self.sender
            .try_send(&message.to_bytes())
            .map_err(|error| match error {
                // Without an intent of the DSP, or room in the FIFO.
                EBUSY | ENOMEM => EAGAIN,
                error => gone(error),
            })
    }

    fn close(&self) {
        self.endpoint.close();
    }
}
