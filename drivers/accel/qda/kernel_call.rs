// SPDX-License-Identifier: GPL-2.0

//! Calls that the kernel itself makes, to begin and end DSP processes, and threads of them.
//!
//! All but the last go to remote handle 1 with client id 0 in the message: which DSP process is
//! meant stands in their first argument.

use crate::{
    call::{
        Outcome,
        Pending, //
    },
    channel::Channel,
    frame::Frame,
    heap::Region,
    identity::Identity,
    layout::Arg,
    mapped::Mapped,
    payload::{
        Builder,
        Payload,
        Target, //
    },
    proto::{
        Scalars,
        HANDLE_KERNEL, //
    },
    table::Class, //
};
use kernel::{
    current,
    prelude::*,
    sync::{
        barrier,
        Arc, //
    }, //
};

/// Bit that sets the thread numbers of [`KernelCall::Release`] apart from those of threads.
const RELEASE_TID: i32 = 1 << 30;

/// Remote handle by which a client controls its own process; its calls are a client's.
const HANDLE_CURRENT_PROCESS: u32 = 4;

/// Method of [`HANDLE_CURRENT_PROCESS`] with which a thread ends.
const METHOD_THREAD_EXIT: u8 = 3;

/// An argument of a call.
pub(crate) enum Part<'a> {
    /// No bytes.
    Empty,
    /// Bytes that are copied.
    Bytes(&'a [u8]),
    /// Bytes of a buffer: where they begin, and how many there are.
    Buffer(&'a Arc<Mapped>, u64, u64),
    /// Room for so many bytes of the DSP's answer. Comes after all others.
    Output(usize),
}

/// A range of memory that is handed to the DSP.
#[derive(Clone, Copy, Default)]
pub(crate) struct Page {
    /// Address, with the bank's prefix.
    pub(crate) address: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

impl Page {
    /// Size of one on the wire, which the DSP wants to be told.
    const LEN: u32 = 16;

    fn to_bytes(self) -> [u8; Self::LEN as usize] {
        let mut bytes = [0u8; Self::LEN as usize];

        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// What a new process runs.
pub(crate) struct Create<'a> {
    /// Name, with its NUL.
    pub(crate) name: &'a [u8],
    /// Image of the program.
    pub(crate) shell: Part<'a>,
    /// Size of the image, in bytes.
    pub(crate) shell_len: u32,
    /// Attributes as the user gave them.
    pub(crate) attrs: u32,
    /// Size of the signature at the end of the image, in bytes.
    pub(crate) signature_len: u32,
    /// Memory that the process begins with.
    pub(crate) memory: Page,
}

/// A buffer that the client maps into its process.
pub(crate) struct Map {
    /// Number that the DSP is to know it by.
    pub(crate) number: i32,
    /// Where in the memory the client means, for the DSP to make of it what it will.
    pub(crate) offset: i32,
    /// How the DSP is to map it.
    pub(crate) flags: u32,
    /// Where the client has it.
    pub(crate) client_address: u64,
    /// The memory.
    pub(crate) page: Page,
}

/// A process that the DSP has a program for.
pub(crate) struct CreateStatic<'a> {
    /// Its name.
    pub(crate) name: &'a [u8],
    /// The heap of such processes, if the DSP has not got it yet.
    pub(crate) heap: Option<Region>,
}

/// A call to handle 1.
pub(crate) enum KernelCall<'a> {
    /// Makes the client one of the root process, or of the sensors process.
    Attach,
    /// Ends the client's process, or its attachment.
    Release,
    /// Makes a user process.
    Create(&'a Create<'a>),
    /// Makes the client one of a static process.
    CreateStatic(&'a CreateStatic<'a>),
    /// Adds memory to the heap of the process. Answers the address that it got.
    Grow {
        /// What the memory is for.
        flags: u32,
        /// Where the client has it, or 0.
        client_address: u64,
        /// The memory.
        page: Page,
    },
    /// Takes memory from the heap of the process.
    Shrink {
        /// Where the process has it.
        address: u64,
        /// Size in bytes.
        size: u64,
    },
    /// Maps a buffer into the process. Answers the address that it got.
    Map(&'a Map),
    /// Undoes a mapping.
    Unmap {
        /// Number of the buffer.
        number: i32,
        /// Where the process has it.
        address: u64,
        /// Size in bytes.
        size: u64,
    },
}

/// Bytes of the words that follow each other, all little endian.
macro_rules! words {
    ($name:ident: $len:literal = $($word:expr),+ $(,)?) => {
        let mut $name = [0u8; $len];
        let mut _at = 0;
        $(
            let bytes = $word.to_le_bytes();
            $name[_at.._at + bytes.len()].copy_from_slice(&bytes);
            _at += bytes.len();
        )+
    };
}

impl KernelCall<'_> {
    const METHOD_ATTACH: u8 = 0;
    const METHOD_RELEASE: u8 = 1;
    const METHOD_MMAP: u8 = 4;
    const METHOD_MUNMAP: u8 = 5;
    const METHOD_CREATE: u8 = 6;
    const METHOD_CREATE_ATTR: u8 = 7;
    const METHOD_CREATE_STATIC: u8 = 8;
    const METHOD_MEM_MAP: u8 = 10;
    const METHOD_MEM_UNMAP: u8 = 11;

    /// Index of the argument in which the DSP answers a word, if it does.
    pub(crate) fn word(&self) -> Option<usize> {
        match self {
            Self::Grow { .. } => Some(2),
            Self::Map(_) => Some(3),
            _ => None,
        }
    }

    /// Sends the call for the process `who`.
    ///
    /// # Errors
    ///
    /// As [`Calls::submit`](crate::call::Calls::submit), and [`EPIPE`] if the process has no bank
    /// any more.
    pub(crate) fn send(&self, channel: &Channel, who: &Identity) -> Result<Pending<Payload>> {
        let id = who.client_id.to_le_bytes();
        let thread = current!().pid();

        match self {
            Self::Attach => send(
                channel,
                who,
                Self::METHOD_ATTACH,
                Class::Kernel,
                thread,
                &[Part::Bytes(&id)],
            ),
            // Several of these may be on their way from one thread, which the DSP would take one
            // after the other.
            Self::Release => send(
                channel,
                who,
                Self::METHOD_RELEASE,
                Class::Release,
                RELEASE_TID | who.client_id,
                &[Part::Bytes(&id)],
            ),
            Self::Create(create) => {
                let method = match create.attrs {
                    0 => Self::METHOD_CREATE,
                    _ => Self::METHOD_CREATE_ATTR,
                };
                // CAST: a name is at most 16 bytes.
                words!(head: 24 =
                    who.client_id,
                    create.name.len() as u32,
                    create.shell_len,
                    1u32,
                    create.attrs,
                    create.signature_len,
                );
                send(
                    channel,
                    who,
                    method,
                    Class::Kernel,
                    thread,
                    &[
                        Part::Bytes(&head),
                        Part::Bytes(create.name),
                        create.shell.reborrow(),
                        Part::Bytes(&create.memory.to_bytes()),
                    ],
                )
            }
            Self::CreateStatic(create) => {
                // CAST: a name is at most 128 bytes.
                words!(head: 12 =
                    who.client_id,
                    create.name.len() as u32,
                    u32::from(create.heap.is_some()),
                );
                // A physical address: no bank maps it. The entry is there also without heap.
                let page = create.heap.map_or(Page::default(), |heap| Page {
                    address: heap.start,
                    size: heap.size,
                });

                send(
                    channel,
                    who,
                    Self::METHOD_CREATE_STATIC,
                    Class::Kernel,
                    thread,
                    &[
                        Part::Bytes(&head),
                        Part::Bytes(create.name),
                        Part::Bytes(&page.to_bytes()),
                    ],
                )
            }
            Self::Grow {
                flags,
                client_address,
                page,
            } => {
                words!(head: 24 = who.client_id, flags, client_address, Page::LEN);
                send(
                    channel,
                    who,
                    Self::METHOD_MMAP,
                    Class::Kernel,
                    thread,
                    &[
                        Part::Bytes(&head),
                        Part::Bytes(&page.to_bytes()),
                        Part::Output(8),
                    ],
                )
            }
            Self::Shrink { address, size } => {
                words!(head: 24 = who.client_id, 0u32, address, size);
                send(
                    channel,
                    who,
                    Self::METHOD_MUNMAP,
                    Class::Kernel,
                    thread,
                    &[Part::Bytes(&head)],
                )
            }
            Self::Map(map) => {
                words!(head: 32 =
                    who.client_id,
                    map.number,
                    map.offset,
                    map.flags,
                    map.client_address,
                    Page::LEN,
                    0u32,
                );
                send(
                    channel,
                    who,
                    Self::METHOD_MEM_MAP,
                    Class::Kernel,
                    thread,
                    &[
                        Part::Bytes(&head),
                        Part::Bytes(&map.page.to_bytes()),
                        Part::Empty,
                        Part::Output(8),
                    ],
                )
            }
            Self::Unmap {
                number,
                address,
                size,
            } => {
                words!(head: 24 = who.client_id, number, address, size);
                send(
                    channel,
                    who,
                    Self::METHOD_MEM_UNMAP,
                    Class::Kernel,
                    thread,
                    &[Part::Bytes(&head)],
                )
            }
        }
    }
}

impl Part<'_> {
    fn reborrow(&self) -> Part<'_> {
        match self {
            Self::Empty => Part::Empty,
            Self::Bytes(bytes) => Part::Bytes(bytes),
            Self::Buffer(mapped, offset, len) => Part::Buffer(mapped, *offset, *len),
            Self::Output(len) => Part::Output(*len),
        }
    }

    fn arg(&self) -> Arg {
        match self {
            Self::Empty | Self::Bytes([]) | Self::Output(0) => Arg::Empty,
            Self::Bytes(bytes) => Arg::Inline { len: bytes.len() },
            Self::Buffer(mapped, offset, len) => Arg::Buffer {
                pv: mapped.address() + offset,
                address: mapped.address() + offset,
                len: *len,
            },
            Self::Output(len) => Arg::Inline { len: *len },
        }
    }
}

impl Pending<Payload> {
    /// What the DSP has answered to a call that has ended: its status, and what it wrote.
    ///
    /// # Errors
    ///
    /// [`EPIPE`]: the DSP went away, or the process has ended.
    pub(crate) fn answer(self) -> Result<(i32, Payload)> {
        let (Outcome::Status(status), Some(payload)) = self.collect() else {
            return Err(EPIPE);
        };

        // What the DSP wrote before its reply must be seen after it.
        barrier::dma_mb(barrier::Read);
        Ok((status, payload))
    }
}

/// Tells the DSP, as the thread `tid` of the client, that this thread has exited.
///
/// # Errors
///
/// As [`KernelCall::send`].
pub(crate) fn thread_exit(channel: &Channel, who: &Identity, tid: i32) -> Result<Pending<Payload>> {
    Builder::new(who, Frame::new()?, who.held.unlimited_share())?.submit(
        channel,
        who,
        &Target {
            wire_client_id: who.client_id,
            tid,
            handle: HANDLE_CURRENT_PROCESS,
            scalars: Scalars::new(METHOD_THREAD_EXIT, 0, 0),
            class: Class::Kernel,
        },
    )
}

fn send(
    channel: &Channel,
    who: &Identity,
    method: u8,
    class: Class,
    tid: i32,
    parts: &[Part<'_>],
) -> Result<Pending<Payload>> {
    let mut frame = Frame::new()?;
    for part in parts {
        frame.args.push(part.arg(), GFP_KERNEL)?;
        if let Part::Buffer(mapped, ..) = part {
            frame.buffers.push((*mapped).clone(), GFP_KERNEL)?;
        }
    }

    let mut builder = match class {
        Class::Release => Builder::last(who, frame)?,
        _ => Builder::new(who, frame, who.held.unlimited_share())?,
    };
    let mut outputs = 0;
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Empty | Part::Buffer(..) => {}
            Part::Bytes(bytes) => builder.fill(index, bytes)?,
            Part::Output(_) => outputs += 1,
        }
    }

    // CAST: no call has more than four arguments.
    let scalars = Scalars::new(method, (parts.len() - outputs) as u8, outputs as u8);
    builder.submit(
        channel,
        who,
        &Target {
            wire_client_id: 0,
            tid,
            handle: HANDLE_KERNEL,
            scalars,
            class,
        },
    )
}
