// SPDX-License-Identifier: GPL-2.0

//! What a DSP says that it can do: its attributes, numbered from 1.
//!
//! The DSP is asked once, for all of them, when somebody wants to know the first.

use crate::{
    call::Pending,
    channel::Channel,
    frame::Frame,
    identity::Identity,
    layout::Arg,
    payload::{
        Builder,
        Payload,
        Target, //
    },
    proto::{
        ProtectionDomain,
        Scalars,
        HANDLE_UTILITIES,
        STATUS_UNSUPPORTED, //
    },
    session::Session,
    slots::Want,
    table::Class, //
};
use kernel::{
    current,
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::msecs_to_jiffies, //
};

/// How many attributes there are.
pub(crate) const COUNT: usize = 255;

/// How long the DSP may take to answer, in milliseconds.
const TIMEOUT_MS: u32 = 10_000;

type Values = KBox<[u32; COUNT]>;

/// The attributes of one DSP, once it was asked.
#[pin_data]
pub(crate) struct Attributes {
    #[pin]
    values: Mutex<Option<Values>>,
}

impl Attributes {
    /// Attributes of a DSP that was not asked yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            values <- new_mutex!(None),
        })
    }

    /// Attribute `id`; 0 is none of the DSP's, and always 0. Asks the DSP in the name of `session`
    /// if it was not asked yet.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `id` is above [`COUNT`].
    /// - those of [`ask`].
    pub(crate) fn get(&self, session: &Session, id: usize) -> Result<u32> {
        if id > COUNT {
            return Err(EINVAL);
        }
        if let Some(value) = self.known(id) {
            return Ok(value);
        }

        // Without the lock, since the DSP may take its time. Two that ask at once get the same.
        let values = ask(session)?;
        *self.values.lock() = Some(values);
        self.known(id).ok_or(EINVAL)
    }

    fn known(&self, id: usize) -> Option<u32> {
        let values = self.values.lock();
        let values = values.as_ref()?;

        match id.checked_sub(1) {
            None => Some(0),
            Some(index) => values.get(index).copied(),
        }
    }
}

/// Asks the DSP, in the name of the session's process if it has one.
///
/// # Errors
///
/// - [`EOPNOTSUPP`]: the DSP knows of no attributes.
/// - [`EREMOTEIO`]: it answered with another error.
/// - [`EPIPE`]: it went away.
/// - [`ETIMEDOUT`]: it does not answer.
/// - [`EINTR`]: a fatal signal came while waiting.
/// - those of sending, and without a process those of leasing a bank.
fn ask(session: &Session) -> Result<Values> {
    let channel = session.channel();

    if let Ok(process) = session.process() {
        let pending = send(channel, &process.identity)?;
        pending.wait_killable(msecs_to_jiffies(TIMEOUT_MS))?;
        return read(pending);
    }

    // The answer has to go somewhere: a bank is needed for as long as the call takes. The DSP hears
    // of no process, and so need not be told of its end.
    let lease = channel.banks.lease(session.client(), Want::Visit)?;
    let process = channel.register(ProtectionDomain::Root, lease)?;
    process.claim_end();
    match send(channel, &process.identity) {
        Ok(pending) => {
            if let Err(error) = pending.wait_killable(msecs_to_jiffies(TIMEOUT_MS)) {
                process.give_up(pending, false);
                process.depart(false);
                return Err(error);
            }
            let values = read(pending);
            process.end(true);
            values
        }
        Err(error) => {
            process.end(true);
            Err(error)
        }
    }
}

fn send(channel: &Channel, who: &Identity) -> Result<Pending<Payload>> {
    let mut frame = Frame::new()?;
    frame.args.push(Arg::Inline { len: 4 }, GFP_KERNEL)?;
    frame
        .args
        .push(Arg::Inline { len: COUNT * 4 }, GFP_KERNEL)?;

    let mut builder = Builder::new(who, frame, who.held.unlimited_share())?;
    // CAST: the count is 255.
    builder.fill(0, &(COUNT as u32).to_le_bytes())?;
    builder.submit(
        channel,
        who,
        &Target {
            wire_client_id: 0,
            tid: current!().pid(),
            handle: HANDLE_UTILITIES,
            scalars: Scalars::new(0, 1, 1),
            class: Class::Kernel,
        },
    )
}

/// What a call says that has ended.
fn read(pending: Pending<Payload>) -> Result<Values> {
    let payload = match pending.answer()? {
        (0, payload) => payload,
        (STATUS_UNSUPPORTED, _) => return Err(EOPNOTSUPP),
        _ => return Err(EREMOTEIO),
    };

    let mut bytes = KBox::new([0u8; COUNT * 4], GFP_KERNEL)?;
    payload.read(1, &mut bytes[..])?;
    let mut values = Values::new([0; COUNT], GFP_KERNEL)?;
    for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = chunk.try_into().map_or(0, u32::from_le_bytes);
    }
    Ok(values)
}
