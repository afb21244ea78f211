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
    kernel_call::{
        Create,
        KernelCall,
        Page,
        Part, //
    },
    payload::Payload,
    process::Process,
    proto::{
        status_to_value,
        ProtectionDomain, //
    },
    slots::Want,
    state::State, //
};
use kernel::{
    capability::{
        capable,
        Capability, //
    },
    current,
    new_mutex,
    prelude::*,
    sizes::{
        SZ_1M,
        SZ_2M, //
    },
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::msecs_to_jiffies,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

/// How long the DSP may take to make a process, in milliseconds.
const START_TIMEOUT_MS: u32 = 10_000;

/// Largest program image, in bytes.
const MAX_SHELL: usize = SZ_2M;

/// Where the image of a new process comes from.
pub(crate) enum Shell {
    /// The DSP has one.
    Builtin,
    /// The first bytes of a buffer.
    Buffer(ARef<Buffer>),
    /// A copy of the user's bytes.
    Bytes(KVVec<u8>),
}

/// What a client asks for.
pub(crate) enum Kind {
    /// The root process.
    Attach,
    /// A process of its own.
    User {
        /// Its program.
        shell: Shell,
        /// Size of the program, in bytes.
        shell_len: u32,
        /// `QDA_PROC_ATTR_*`.
        attrs: u32,
        /// Size of the signature, in bytes.
        signature_len: u32,
    },
}

impl Kind {
    /// Checks what `args` asks for, and copies what must be copied. `lookup` finds a buffer.
    ///
    /// # Errors
    ///
    /// - [`E2BIG`]: the image is too large.
    /// - [`EINVAL`]: the signature is longer than the image, or the buffer too small.
    /// - [`ENOEXEC`]: the copied image is not an ELF file.
    /// - [`EFAULT`]: the image cannot be read.
    /// - whatever `lookup` returns.
    pub(crate) fn create(
        args: &uapi::drm_qda_init_create,
        lookup: impl FnOnce(u32) -> Result<ARef<Buffer>>,
    ) -> Result<Self> {
        let len = args.filelen as usize;
        if len > MAX_SHELL {
            return Err(E2BIG);
        }
        if args.siglen > args.filelen {
            return Err(EINVAL);
        }

        let shell = match (len, args.filehandle) {
            (0, _) => Shell::Builtin,
            (_, 0 | u32::MAX) => Shell::Bytes(read_image(args.file, len)?),
            (_, handle) => {
                use kernel::drm::gem::BaseObject;

                let buffer = lookup(handle)?;
                if buffer.size() < len {
                    return Err(EINVAL);
                }
                Shell::Buffer(buffer)
            }
        };
        Ok(Self::User {
            shell,
            shell_len: args.filelen,
            attrs: args.attrs,
            signature_len: args.siglen,
        })
    }

    fn pd(&self) -> ProtectionDomain {
        match self {
            Self::Attach => ProtectionDomain::Root,
            Self::User { .. } => ProtectionDomain::User,
        }
    }

    /// Checks that the caller may have it on this DSP.
    ///
    /// # Errors
    ///
    /// - [`EACCES`]: attaching needs privilege.
    /// - [`ECONNREFUSED`]: the process needs privilege, or the DSP has no unsigned ones.
    fn permit(&self, channel: &Channel) -> Result {
        let privileged = || channel.non_secure || capable(Capability::SYS_ADMIN);

        match self {
            Self::Attach if !privileged() => Err(EACCES),
            Self::Attach => Ok(()),
            Self::User { attrs, .. } => {
                let unsigned = attrs & uapi::QDA_PROC_ATTR_UNSIGNED != 0;
                let elevated = attrs & uapi::QDA_PROC_ATTR_PRIVILEGED != 0;

                if unsigned && !channel.has_unsigned() {
                    return Err(ECONNREFUSED);
                }
                if (!unsigned || elevated) && !privileged() {
                    return Err(ECONNREFUSED);
                }
                Ok(())
            }
        }
    }
}

fn read_image(address: u64, len: usize) -> Result<KVVec<u8>> {
    let mut image = KVVec::new();
    let address = usize::try_from(address).map_err(|_| EFAULT)?;

    UserSlice::new(UserPtr::from_addr(address), len).read_all(&mut image, GFP_KERNEL)?;
    if !image.starts_with(b"\x7fELF") {
        return Err(ENOEXEC);
    }
    Ok(image)
}

/// A process that the DSP was asked for.
pub(crate) struct Starting {
    process: Arc<Process>,
    pending: Pending<Payload>,
}

/// One client's session. It never needs to know through which front end the client came.
#[pin_data]
pub(crate) struct Session {
    channel: Arc<Channel>,
    /// Whoever opened it; not always whoever uses it.
    client: Client,
    #[pin]
    state: Mutex<State<Arc<Process>>>,
}

impl Session {
    /// A session of the calling client, without a process.
    pub(crate) fn new(channel: Arc<Channel>) -> impl PinInit<Self> {
        pin_init!(Self {
            channel,
            client: Client::current(),
            state <- new_mutex!(State::New),
        })
    }

    /// The DSP.
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The session's process.
    ///
    /// # Errors
    ///
    /// - [`ENOTCONN`]: there is none yet.
    /// - [`ENODEV`]: the DSP has gone.
    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        self.state.lock().process().cloned()
    }

    /// Number of the session's process on its channel, and number of its bank.
    ///
    /// # Errors
    ///
    /// As [`Session::process`], and [`EPIPE`] once the process has ended.
    pub(crate) fn identity(&self) -> Result<(i32, u32)> {
        let process = self.process()?;
        let bank = process.identity.lease()?.number();

        Ok((process.identity.client_id, bank))
    }

    /// Asks the DSP for a process; [`Session::started`] waits for it.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: there is one, or one was asked for.
    /// - [`EBUSY`]: no bank is free.
    /// - [`ERESTARTSYS`]: a signal came while waiting for a bank.
    /// - those of [`Kind::permit`], of mapping the image, and of sending.
    pub(crate) fn start(&self, kind: &Kind) -> Result<Starting> {
        kind.permit(&self.channel)?;

        self.state.lock().begin()?;
        self.ask(kind).inspect_err(|_| self.settle(None))
    }

    fn ask(&self, kind: &Kind) -> Result<Starting> {
        let lease = self.channel.banks.lease(&self.client, Want::Process)?;
        let process = self.channel.register(kind.pd(), lease)?;

        match self.send(&process, kind) {
            Ok(pending) => Ok(Starting { process, pending }),
            Err(error) => {
                // The DSP does not know of it. If somebody else is ending it, they finish that.
                if process.claim_end() {
                    process.end(true);
                }
                Err(error)
            }
        }
    }

    fn send(&self, process: &Process, kind: &Kind) -> Result<Pending<Payload>> {
        let who = &process.identity;
        let Kind::User {
            shell,
            shell_len,
            attrs,
            signature_len,
        } = kind
        else {
            return KernelCall::Attach.send(&self.channel, who);
        };

        // The DSP wants four times the image, at least 2 MiB, in whole MiB.
        let size = (*shell_len as usize * 4).max(SZ_2M).next_multiple_of(SZ_1M);
        let address = who.with_space(|space| space.set_memory(size))?;

        let mapping;
        let input = match shell {
            Shell::Builtin => Part::Empty,
            Shell::Bytes(bytes) => Part::Bytes(bytes),
            Shell::Buffer(buffer) => {
                mapping = who.with_space(|space| {
                    let mapping = space.map(buffer)?;
                    space.set_shell(mapping.clone());
                    Ok(mapping)
                })?;
                Part::Buffer(&mapping, u64::from(*shell_len))
            }
        };

        let comm = current!().comm();
        let len = comm
            .iter()
            .position(|&b| b == 0)
            .map_or(comm.len(), |n| n + 1);

        KernelCall::Create(&Create {
            name: &comm[..len],
            shell: input,
            shell_len: *shell_len,
            attrs: *attrs,
            signature_len: *signature_len,
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
    /// - [`EREMOTEIO`]: see [`status_to_value`].
    pub(crate) fn started(&self, starting: Starting) -> Result<i32> {
        let Starting { process, pending } = starting;

        if let Err(error) = pending.wait_killable(msecs_to_jiffies(START_TIMEOUT_MS)) {
            // The DSP may make the process yet: it has to be told that nobody wants it.
            drop(pending);
            process.farewell(false);
            self.settle(None);
            return Err(error);
        }

        match pending.collect() {
            (Outcome::Status(0), _) => {
                self.settle(Some(process));
                Ok(0)
            }
            (Outcome::Status(status), _) => {
                if process.claim_end() {
                    process.end(true);
                }
                self.settle(None);
                status_to_value(status)
            }
            (Outcome::Gone, _) => {
                if process.claim_end() {
                    process.end(true);
                }
                self.settle(None);
                Err(EPIPE)
            }
        }
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

    /// Ends the session. Waits for the DSP, but not if the caller is dying.
    pub(crate) fn close(&self) {
        let process = self.state.lock().close();

        if let Some(process) = process {
            let task = current!();
            process.farewell(!task.is_exiting() && !task.fatal_signal_pending());
        }
    }
}
