// SPDX-License-Identifier: GPL-2.0

//! Calls over a transport in memory.
//!
//! Answers are given with interrupts disabled, as the real ones come, and payloads may sleep when
//! they are dropped, as the real ones do: a kernel that checks for that sees a payload that is
//! dropped where it must not be.

use crate::{
    call::{
        Calls,
        Load,
        Outcome,
        Pending,
        Request,
        Spare, //
    },
    proto::{
        Message,
        ProtectionDomain, //
    },
    table::Class,
    transport::Transport, //
};
use core::ops::Deref;
use kernel::{
    interrupt::local_interrupt_disable,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    task::might_sleep,
    time::msecs_to_jiffies, //
};

/// Longest wait for what has to happen, in milliseconds. Only a test that fails waits so long.
pub(super) const PATIENCE_MS: u32 = 20_000;

pub(super) type Count = Arc<Atomic<u32>>;

/// A payload that counts how often one was dropped, and was answered with nobody waiting.
pub(super) struct Token {
    number: i32,
    drops: Count,
    late: Count,
}

impl Token {
    /// Number of the call.
    pub(super) fn number(&self) -> i32 {
        self.number
    }
}

impl Load for Token {
    fn answered(&self) {
        might_sleep();
        self.late.fetch_add(1, Relaxed);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        might_sleep();
        self.drops.fetch_add(1, Relaxed);
    }
}

/// A transport that keeps the messages.
#[pin_data]
pub(super) struct Memory {
    #[pin]
    pub(super) sent: Mutex<KVec<Message>>,
    pub(super) broken: Atomic<bool>,
}

impl Transport for Memory {
    fn send(&self, message: &Message) -> Result {
        might_sleep();
        if self.broken.load(Relaxed) {
            return Err(EREMOTEIO);
        }
        Ok(self.sent.lock().push(*message, GFP_KERNEL)?)
    }

    fn try_send(&self, message: &Message) -> Result {
        self.send(message)
    }

    fn close(&self) {}
}

/// Hands a message of the DSP to `calls`, in the context in which the real transport does.
pub(super) fn receive(calls: &Arc<Calls<Token>>, bytes: &[u8]) {
    let _disabled = local_interrupt_disable();

    calls.received(bytes);
}

pub(super) fn answer(calls: &Arc<Calls<Token>>, context: u64, status: i32) {
    let mut bytes = [0u8; 16];

    bytes[..8].copy_from_slice(&context.to_le_bytes());
    bytes[8..12].copy_from_slice(&status.to_le_bytes());
    receive(calls, &bytes);
}

/// A transport whose DSP has answered before sending is over.
pub(super) struct Echo(pub(super) Arc<Calls<Token>>);

impl Transport for Echo {
    fn send(&self, message: &Message) -> Result {
        answer(&self.0, message.context, message.tid);
        Ok(())
    }

    fn try_send(&self, message: &Message) -> Result {
        self.send(message)
    }

    fn close(&self) {}
}

/// Calls over a transport in memory.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) calls: Arc<Calls<Token>>,
    pub(super) memory: Arc<Memory>,
    drops: Count,
    late: Count,
    /// Whether the client's process is no more.
    pub(super) dead: Arc<Atomic<bool>>,
}

impl Client {
    /// Sends call `number` of a client. No message names the client, as those to handle 1.
    pub(super) fn submit_to(
        &self,
        transport: &dyn Transport,
        class: Class,
        client_id: i32,
        number: i32,
    ) -> Result<Pending<Token>> {
        self.submit_with(transport, class, client_id, number, None)
    }

    /// As [`Client::submit_to`], with a call that is over.
    pub(super) fn submit_with(
        &self,
        transport: &dyn Transport,
        class: Class,
        client_id: i32,
        number: i32,
        spare: Option<Spare<Token>>,
    ) -> Result<Pending<Token>> {
        let request = Request {
            class,
            ..self.request(client_id, number)
        };

        self.calls
            .submit(transport, &self.dead, request, self.token(number), spare)
    }

    /// What call `number` of a client sends.
    pub(super) fn request(&self, client_id: i32, number: i32) -> Request {
        Request {
            client_id,
            class: Class::User,
            pd: ProtectionDomain::User,
            message: Message {
                client_id: 0,
                tid: number,
                context: 0,
                handle: 3,
                scalars: 0x0200_0000,
                address: 0x1_0000_1000,
                size: 4096,
            },
        }
    }

    /// What call `number` owns.
    pub(super) fn token(&self, number: i32) -> Token {
        Token {
            number,
            drops: self.drops.clone(),
            late: self.late.clone(),
        }
    }

    pub(super) fn submit(
        &self,
        class: Class,
        client_id: i32,
        number: i32,
    ) -> Result<Pending<Token>> {
        self.submit_to(&*self.memory, class, client_id, number)
    }

    pub(super) fn user(&self, number: i32) -> Result<Pending<Token>> {
        self.submit(Class::User, 1, number)
    }

    /// Message number `index` of those that were sent.
    pub(super) fn message(&self, index: usize) -> Message {
        self.memory.sent.lock()[index]
    }

    pub(super) fn answer(&self, context: u64, status: i32) {
        answer(&self.calls, context, status);
    }

    pub(super) fn drops(&self) -> u32 {
        self.drops.load(Relaxed)
    }

    /// Calls that were answered with nobody waiting.
    pub(super) fn late(&self) -> u32 {
        self.late.load(Relaxed)
    }
}

/// A [`Client`] whose channel ends with it.
pub(super) struct Bench(Client);

impl Bench {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Client {
            calls: Calls::new(c"qda_kunit")?,
            memory: Arc::pin_init(
                pin_init!(Memory {
                    sent <- new_mutex!(KVec::new()),
                    broken: Atomic::new(false),
                }),
                GFP_KERNEL,
            )?,
            drops: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            late: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            dead: Arc::new(Atomic::new(false), GFP_KERNEL)?,
        }))
    }
}

impl Deref for Bench {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.calls.drain();
    }
}

/// Whether `pending` has ended by now.
pub(super) fn has_ended(pending: &Pending<Token>) -> bool {
    pending.wait_uninterruptible(0)
}

/// The status that `pending` has ended with, if its own payload came back with it.
pub(super) fn status_of(pending: Pending<Token>, number: i32) -> Option<i32> {
    match pending.collect() {
        (Outcome::Status(status), Some(token)) if token.number == number => Some(status),
        _ => None,
    }
}

/// Waits as a thread does, and ends as [`status_of`].
pub(super) fn wait(pending: Pending<Token>, number: i32) -> Option<i32> {
    if pending.wait_uninterruptible(msecs_to_jiffies(PATIENCE_MS)) {
        status_of(pending, number)
    } else {
        None
    }
}
