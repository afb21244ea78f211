// SPDX-License-Identifier: GPL-2.0

//! Calls that the kernel itself makes, to begin and end DSP processes.
//!
//! They go to remote handle 1 with client id 0 in the message: which DSP process is meant stands in
//! their first argument.

use crate::{
    call::Pending,
    channel::Channel,
    heap::Region,
    layout::Arg,
    payload::{
        Builder,
        Payload, //
    },
    process::Identity,
    proto::{
        Scalars,
        HANDLE_KERNEL, //
    },
    space::Mapping,
    table::Class, //
};
use kernel::{
    current,
    prelude::*,
    sync::Arc, //
};

/// Bit that sets the thread numbers of [`KernelCall::Release`] apart from those of threads.
const RELEASE_TID: i32 = 1 << 30;

/// An input of a call.
pub(crate) enum Input<'a> {
    /// No bytes.
    Empty,
    /// Bytes that are copied.
    Bytes(&'a [u8]),
    /// Bytes of a buffer: where they begin, and how many there are.
    Buffer(&'a Arc<Mapping>, u64, u64),
}

/// What a new process runs.
pub(crate) struct Create<'a> {
    /// Name, with its NUL.
    pub(crate) name: &'a [u8],
    /// Image of the program.
    pub(crate) shell: Input<'a>,
    /// Size of the image, in bytes.
    pub(crate) shell_len: u32,
    /// Attributes as the user gave them.
    pub(crate) attrs: u32,
    /// Size of the signature at the end of the image, in bytes.
    pub(crate) signature_len: u32,
    /// Address, with the bank's prefix, and size of the memory that the process begins with.
    pub(crate) memory: (u64, u64),
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
}

impl KernelCall<'_> {
    const METHOD_ATTACH: u8 = 0;
    const METHOD_RELEASE: u8 = 1;
    const METHOD_CREATE: u8 = 6;
    const METHOD_CREATE_ATTR: u8 = 7;
    const METHOD_CREATE_STATIC: u8 = 8;

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
                &[Input::Bytes(&id)],
            ),
            // Several of these may be on their way from one thread, which the DSP would take one
            // after the other.
            Self::Release => send(
                channel,
                who,
                Self::METHOD_RELEASE,
                Class::Release,
                RELEASE_TID | who.client_id,
                &[Input::Bytes(&id)],
            ),
            Self::Create(create) => {
                let method = match create.attrs {
                    0 => Self::METHOD_CREATE,
                    _ => Self::METHOD_CREATE_ATTR,
                };
                // CAST: a name is at most 16 bytes.
                let words = [
                    who.client_id as u32,
                    create.name.len() as u32,
                    create.shell_len,
                    1,
                    create.attrs,
                    create.signature_len,
                ];
                send(
                    channel,
                    who,
                    method,
                    Class::Kernel,
                    thread,
                    &[
                        Input::Bytes(words.as_bytes()),
                        Input::Bytes(create.name),
                        create.shell.reborrow(),
                        Input::Bytes(&page_entry(create.memory.0, create.memory.1)),
                    ],
                )
            }
            Self::CreateStatic(create) => {
                // CAST: a name is at most 128 bytes.
                let words = [
                    who.client_id as u32,
                    create.name.len() as u32,
                    u32::from(create.heap.is_some()),
                ];
                // A physical address: no bank maps it. The entry is there also without heap.
                let page = create
                    .heap
                    .map_or([0; 16], |heap| page_entry(heap.start, heap.size));

                send(
                    channel,
                    who,
                    Self::METHOD_CREATE_STATIC,
                    Class::Kernel,
                    thread,
                    &[
                        Input::Bytes(words.as_bytes()),
                        Input::Bytes(create.name),
                        Input::Bytes(&page),
                    ],
                )
            }
        }
    }
}

fn page_entry(address: u64, size: u64) -> [u8; 16] {
    let mut page = [0u8; 16];

    page[..8].copy_from_slice(&address.to_le_bytes());
    page[8..].copy_from_slice(&size.to_le_bytes());
    page
}

impl Input<'_> {
    fn reborrow(&self) -> Input<'_> {
        match self {
            Self::Empty => Input::Empty,
            Self::Bytes(bytes) => Input::Bytes(bytes),
            Self::Buffer(mapping, offset, len) => Input::Buffer(mapping, *offset, *len),
        }
    }

    fn arg(&self) -> Arg {
        match self {
            Self::Empty => Arg::Empty,
            Self::Bytes([]) => Arg::Empty,
            Self::Bytes(bytes) => Arg::Inline { len: bytes.len() },
            Self::Buffer(mapping, offset, len) => Arg::Buffer {
                pv: mapping.dma_address() + offset,
                address: mapping.dma_address() + offset,
                len: *len,
            },
        }
    }
}

fn send(
    channel: &Channel,
    who: &Identity,
    method: u8,
    class: Class,
    tid: i32,
    inputs: &[Input<'_>],
) -> Result<Pending<Payload>> {
    let mut args = KVec::with_capacity(inputs.len(), GFP_KERNEL)?;
    for input in inputs {
        args.push(input.arg(), GFP_KERNEL)?;
    }

    let mut builder = Builder::new(who.lease()?, args)?;
    for (index, input) in inputs.iter().enumerate() {
        match input {
            Input::Empty => {}
            Input::Bytes(bytes) => builder.fill(index, bytes)?,
            Input::Buffer(mapping, ..) => builder.hold((*mapping).clone())?,
        }
    }

    // CAST: no call has more than four inputs.
    let scalars = Scalars::new(method, inputs.len() as u8, 0);
    builder.submit(
        channel,
        who,
        crate::payload::Target {
            wire_client_id: 0,
            tid,
            handle: HANDLE_KERNEL,
            scalars,
            class,
        },
    )
}
