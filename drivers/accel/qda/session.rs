// SPDX-License-Identifier: GPL-2.0

//! A session: one client's way from no DSP process to one, and to none again.

use crate::{
    bank::Client,
    call::{
        Outcome,
        Pending, //
    },
    channel::Channel,
    gem::Buffer,
    heap::Offer,
    kernel_call::{
        Create,
        CreateStatic,
        KernelCall,
        Page,
        Part, //
    },
    kind::{
        Access,
        Kind,
        Shell,
        User, //
    },
    payload::Payload,
    process::Process,
    proto::{
        status_to_value,
        ProtectionDomain,
        LAST_STATIC_HANDLE, //
    },
    queue::Queue,
    slots::Want,
    state::State,
    sync, //
};
use kernel::{
    current,
    dma::DataDirection,
    new_mutex,
    prelude::*,
    sizes::{
        SZ_1M,
        SZ_2M, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    time::msecs_to_jiffies, //
};

/// How long the DSP may take to make a process, in milliseconds.
const START_TIMEOUT_MS: u32 = 10_000;

/// A process that the DSP was asked for.
pub(crate) struct Starting {
    process: Arc<Process>,
    pending: Pending<Payload>,
    offer: Option<Offer>,
}

/// One client's session. It never needs to know through which front end the client came.
#[pin_data]
pub(crate) struct Session {
    channel: Arc<Channel>,
    access: Access,
    /// Whoever opened it; not always whoever uses it.
    client: Client,
    polls: Atomic<bool>,
    queue: SetOnce<Arc<Queue>>,
    #[pin]
    state: Mutex<State<Arc<Process>>>,
}

impl Session {
    /// A session of the calling client, without a process.
    pub(crate) fn new(channel: Arc<Channel>, access: Access) -> impl PinInit<Self> {
        pin_init!(Self {
            channel,
            access,
            client: Client::current(),
            polls: Atomic::new(false),
            queue: SetOnce::new(),
            state <- new_mutex!(State::New),
        })
    }

    /// Whose it is.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The DSP.
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Has the session's calls poll for their ends, or not.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`]: this DSP cannot be polled.
    pub(crate) fn set_polls(&self, polls: bool) -> Result {
        if polls && !self.channel.polls {
            return Err(EOPNOTSUPP);
        }
        self.polls.store(polls, Relaxed);
        Ok(())
    }

    /// Whether calls to `handle` poll for their ends: those to modules of user processes do, if the
    /// client wants that.
    pub(crate) fn polls(&self, process: &Process, handle: u32) -> bool {
        self.polls.load(Relaxed)
            && handle > LAST_STATIC_HANDLE
            && process.identity.pd == ProtectionDomain::User
    }

    /// The session's process.
    ///
    /// # Errors
    ///
    /// - [`ENOTCONN`]: there is none yet.
    /// - [`ENODEV`]: the DSP has gone.
    /// - [`EPIPE`]: it has died.
    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        let process = self.state.lock().process().cloned()?;

        if process.identity.dead.load(Relaxed) {
            return Err(EPIPE);
        }
        Ok(process)
    }

    /// Makes the queue of the session's submissions.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is one, else as [`Session::process`], [`Queue::new`] and
    /// [`Process::set_queue`].
    pub(crate) fn create_queue(&self, depth: usize, threads: u32) -> Result {
        let process = self.process()?;
        let queue = Queue::new(process.clone(), depth, threads)?;

        process.set_queue(&queue)?;
        // It is the only one that the process took.
        self.queue.populate(queue);
        Ok(())
    }

    /// The queue of the session's submissions. It stays when the process has ended.
    ///
    /// # Errors
    ///
    /// [`ENOTCONN`] if there is none.
    pub(crate) fn queue(&self) -> Result<&Arc<Queue>> {
        self.queue.as_ref().ok_or(ENOTCONN)
    }

    /// Number of the session's process on its channel, and number of its bank.
    ///
    /// # Errors
    ///
    /// As [`Session::process`].
    pub(crate) fn identity(&self) -> Result<(i32, u32)> {
        let process = self.process()?;
        let bank = process.identity.lease()?.number();

        Ok((process.identity.client_id, bank))
    }

    /// Asks the DSP for a process, in a bank that fits what the client wants of it;
    /// [`Session::started`] waits for it.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: there is one, or one was asked for.
    /// - [`EBUSY`]: no bank is free.
    /// - [`ERESTARTSYS`]: a signal came while waiting for a bank.
    /// - those of [`Kind::permit`], of mapping the image, of [`Heap::offer`] and of sending.
    ///
    /// [`Heap::offer`]: crate::heap::Heap::offer
    pub(crate) fn start(&self, kind: &Kind, want: Want) -> Result<Starting> {
        kind.permit(&self.channel, self.access)?;
        // Before there is a bank to be held up.
        if let Kind::User(User {
            shell: Shell::Buffer { buffer, .. },
            ..
        }) = kind
        {
            sync::clean(buffer)?;
        }

        self.state.lock().begin()?;
        self.ask(kind, want).inspect_err(|_| self.settle(None))
    }

    fn ask(&self, kind: &Kind, want: Want) -> Result<Starting> {
        let lease = self.channel.banks.lease(&self.client, want)?;
        let process = self.channel.register(kind.pd(), lease)?;

        match self.send(&process, kind) {
            Ok((pending, offer)) => Ok(Starting {
                process,
                pending,
                offer,
            }),
            Err(error) => {
                // The DSP does not know of it. If somebody else is ending it, they finish that.
                if process.claim_end() {
                    process.end(true);
                }
                Err(error)
            }
        }
    }

    fn send(&self, process: &Process, kind: &Kind) -> Result<(Pending<Payload>, Option<Offer>)> {
        let who = &process.identity;

        // What is begun can be ended.
        who.keep_last()?;
        match kind {
            Kind::Root | Kind::Sensors => {
                let pending = KernelCall::Attach.send(&self.channel, who)?;
                Ok((pending, None))
            }
            Kind::Static { name } => {
                let offer = self.channel.heap.offer()?;
                let call = CreateStatic {
                    name,
                    heap: offer.as_ref().map(|offer| offer.region),
                };
                let pending = KernelCall::CreateStatic(&call).send(&self.channel, who)?;
                Ok((pending, offer))
            }
            Kind::User(user) => Ok((self.create(process, user)?, None)),
        }
    }

    fn create(&self, process: &Process, user: &User) -> Result<Pending<Payload>> {
        let who = &process.identity;

        // The DSP wants four times the image, at least 2 MiB, in whole MiB.
        let len = user.shell.len();
        let size = (len * 4).max(SZ_2M).next_multiple_of(SZ_1M);
        let address = who.with_space(|space| space.set_memory(size))?;

        let mapping;
        let shell = match &user.shell {
            Shell::Builtin => Part::Empty,
            Shell::Bytes(bytes) => Part::Bytes(bytes),
            Shell::Buffer {
                buffer,
                offset,
                len,
            } => {
                mapping = process.map(buffer)?;
                mapping.sync_for_device(*offset..*offset + *len, DataDirection::ToDevice);
                who.with_space(|space| {
                    space.set_shell(mapping.clone());
                    Ok(())
                })?;
                Part::Buffer(&mapping, *offset as u64, *len as u64)
            }
        };

        let comm = current!().comm();
        let end = comm
            .iter()
            .position(|&b| b == 0)
            .map_or(comm.len(), |n| n + 1);

        KernelCall::Create(&Create {
            name: &comm[..end],
            shell,
            // CAST: a program is at most 2 MiB.
            shell_len: len as u32,
            attrs: user.attrs,
            signature_len: user.signature_len,
            memory: Page {
                address,
                size: size as u64,
            },
        })
        .send(&self.channel, who)
    }

    /// Waits until the DSP has made the process, or refused. Returns the DSP's status.
    ///
    /// # Errors
    ///
    /// - [`EPIPE`]: the DSP went away.
    /// - [`ETIMEDOUT`]: it does not answer.
    /// - [`EINTR`]: a fatal signal.
    pub(crate) fn started(&self, starting: Starting) -> Result<i32> {
        let Starting {
            process,
            pending,
            offer,
        } = starting;

        if let Err(error) = pending.wait_killable(msecs_to_jiffies(START_TIMEOUT_MS)) {
            // The DSP may make the process yet: it has to be told then that nobody wants it.
            process.give_up(pending, true);
            if let Some(offer) = offer {
                offer.given();
            }
            process.farewell(false);
            self.settle(None);
            return Err(error);
        }

        match pending.collect() {
            (Outcome::Status(0), _) => {
                if let Some(offer) = offer {
                    offer.given();
                }
                self.settle(Some(process.clone()));
                process.begin();
                Ok(0)
            }
            (Outcome::Status(status), _) => {
                if process.claim_end() {
                    process.end(true);
                }
                self.settle(None);
                Ok(status)
            }
            (Outcome::Gone, _) => {
                if let Some(offer) = offer {
                    offer.lost();
                }
                if process.claim_end() {
                    process.end(true);
                }
                self.settle(None);
                Err(EPIPE)
            }
        }
    }

    /// Has the DSP make a process, and returns what it says, in the form of an ioctl's value.
    ///
    /// # Errors
    ///
    /// Those of [`Session::start`], of [`Session::started`], and of [`status_to_value`].
    pub(crate) fn make(&self, kind: &Kind) -> Result<i32> {
        status_to_value(self.started(self.start(kind, Want::Process)?)?)
    }

    fn settle(&self, process: Option<Arc<Process>>) {
        let refused = self.state.lock().settle(process);

        if let Some(process) = refused {
            process.farewell(false);
        }
    }

    /// Drops the mapping of a buffer that the client has closed.
    pub(crate) fn forget(&self, buffer: &Buffer) {
        if let Ok(process) = self.process() {
            process.forget(buffer);
        }
    }

    /// Lets go of all mappings that are kept for calls to come. Returns whether there were some.
    pub(crate) fn forget_all(&self) -> bool {
        self.process()
            .is_ok_and(|process| process.evict(usize::MAX) > 0)
    }

    /// Ends the session. Waits for the DSP, but not if the caller is dying.
    pub(crate) fn close(&self) {
        let process = self.state.lock().close();

        if let Some(process) = process {
            let task = current!();
            process.farewell(!task.is_exiting() && !task.fatal_signal_pending());
        }
    }
}
