// SPDX-License-Identifier: GPL-2.0

//! Open files of the FastRPC nodes: one session each.
//!
//! The structures of the ioctls are the same for 32-bit programs, as all that is in them has a size
//! of its own and stands where it is aligned: the form of the ioctl for those is the default one.

use super::{
    args::{
        self,
        UserArg, //
    },
    node::Node,
    seats::Seat, //
};
use crate::{
    attributes,
    backend,
    bank::Client,
    driver::QdaDevice,
    fdinfo,
    gem::{
        Account,
        Buffer, //
    },
    invoke::{
        invoke,
        Invoke, //
    },
    kind::{
        Kind,
        Shell,
        MAX_SHELL, //
    },
    map,
    names::{
        buffer_at,
        by_fd,
        Names, //
    },
    proto::status_to_value,
    session::Session,
    slots::Want, //
};
use core::mem::offset_of;
use kernel::{
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

/// Longest name of a static process, with its NUL.
const MAX_NAME: usize = 128;

/// An open file.
///
/// Fields are dropped in this order: no buffer outlives the device.
#[pin_data(PinnedDrop)]
pub(crate) struct CompatFile {
    #[pin]
    session: Session,
    account: Account,
    _seat: Option<Seat>,
    device: ARef<QdaDevice>,
}

#[pinned_drop]
impl PinnedDrop for CompatFile {
    fn drop(self: Pin<&mut Self>) {
        self.session.close();
    }
}

#[vtable]
impl MiscDevice for CompatFile {
    type Ptr = Pin<KBox<Self>>;
    type RegistrationData = Node;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        let node = misc.data();
        let channel = node.device.channel.clone();

        // Where a bank is only about to be free, whatever needs it waits for it: nobody else opens
        // misc devices while this runs.
        let lease = channel.banks.try_lease(&Client::current(), Want::Visit)?;
        let seat = lease.map(|lease| node.seats.take(lease)).transpose()?;

        KBox::try_pin_init(
            try_pin_init!(Self {
                session <- Session::new(channel, node.access),
                account: Account::new()?,
                _seat: seat,
                device: node.device.clone(),
            }),
            GFP_KERNEL,
        )
    }

    fn ioctl(this: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let this = this.get_ref();
        let arg = UserArg(arg);
        let value = match cmd {
            args::INVOKE => this.invoke(arg),
            args::ALLOC_DMA_BUFF => this.alloc_dma_buff(arg),
            args::INIT_ATTACH => this.session.make(&Kind::Root),
            args::INIT_ATTACH_SNS => this.session.make(&Kind::Sensors),
            args::INIT_CREATE => this.init_create(arg),
            args::INIT_CREATE_STATIC => this.init_create_static(arg),
            args::MMAP => this.mmap(arg),
            args::MUNMAP => this.munmap(arg),
            args::MEM_MAP => this.mem_map(arg),
            args::MEM_UNMAP => this.mem_unmap(arg),
            args::SET_OPTION => this.set_option(arg),
            args::GET_DSP_INFO => this.get_dsp_info(arg),
            // FASTRPC_IOCTL_FREE_DMA_BUFF has a number, and never did anything.
            _ => Err(ENOTTY),
        };

        match value {
            // CAST: What the DSP says goes to the program as it is.
            Ok(value) => Ok(value as isize),
            // On this one, and on no other, programs open the node anew.
            Err(ENODEV) => Err(EPIPE),
            Err(ENOTCONN | EEXIST) if !this.session.channel().calls.is_open() => Err(EPIPE),
            Err(error) => Err(error),
        }
    }

    fn show_fdinfo(this: Pin<&Self>, seq: &SeqFile, _file: &File) {
        let this = this.get_ref();

        fdinfo::show(&this.session, &this.account, |line| seq.call_printf(line));
    }
}

impl Names for CompatFile {
    fn handle(&self, _handle: u32) -> Result<ARef<Buffer>> {
        Err(ENOENT)
    }

    fn fd(&self, fd: i32) -> Result<ARef<Buffer>> {
        by_fd(&self.device, &self.session, fd)
    }
}

impl CompatFile {
    fn allocate(&self, size: u64) -> Result<ARef<Buffer>> {
        let allocate = || backend::allocate_for(&self.account, &self.device, size, 0);

        // What the program has closed does not count, but we can't tell whether it has.
        let allocated = allocate().or_else(|error| match error {
            ENOSPC | ENOMEM if self.session.forget_all() => allocate(),
            other => Err(other),
        });
        Ok(allocated?.0)
    }

    /// `FASTRPC_IOCTL_INVOKE`.
    fn invoke(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_invoke = arg.read()?;
        let status = invoke(&self.session, self, |frame| {
            Invoke::read(args.handle, args.sc, args.args, frame)
        })?;

        status_to_value(status)
    }

    /// `FASTRPC_IOCTL_ALLOC_DMA_BUFF`.
    fn alloc_dma_buff(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_alloc_dma_buf = arg.read()?;
        let file = self.allocate(args.size)?.export()?;

        // The program has the file only when nothing can fail any more.
        let fd = FileDescriptorReservation::get_unused_fd_flags(0)?;
        let number = fd.reserved_fd();
        arg.write(offset_of!(uapi::fastrpc_alloc_dma_buf, fd), &number)?;
        fd.fd_install(file);
        Ok(0)
    }

    /// `FASTRPC_IOCTL_INIT_CREATE`.
    fn init_create(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_init_create = arg.read()?;
        let len = args.filelen as usize;
        if len > MAX_SHELL {
            return Err(EINVAL);
        }

        let shell = match args.filefd {
            // No descriptor: 0 is not one here.
            ..=0 => Shell::copy(args.file, len)?,
            _ if len == 0 => Shell::Builtin,
            fd => {
                let part = self.part_at(fd, args.file, len as u64)?;
                Shell::in_buffer(|| Ok(part.buffer), part.offset, len)?
            }
        };
        self.session
            .make(&Kind::user(shell, args.attrs, args.siglen)?)
    }

    /// The `len` bytes of the dma-buf `fd` that the program has mapped at `address`; those at the
    /// start if it says nothing about where it has them.
    fn part_at(&self, fd: i32, address: u64, len: u64) -> Result<map::Part> {
        let (buffer, offset) = match address {
            0 => (self.fd(fd)?, 0),
            // CAST: It is not negative, or else means nothing to `Names`.
            _ => buffer_at(self, fd as u32, address, len)?,
        };

        Ok(map::Part {
            buffer,
            offset,
            len,
        })
    }

    /// `FASTRPC_IOCTL_INIT_CREATE_STATIC`.
    fn init_create_static(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_init_create_static = arg.read()?;
        let len = args.namelen as usize;
        if len == 0 || len > MAX_NAME {
            return Err(EINVAL);
        }
        let address = usize::try_from(args.name).map_err(|_| EFAULT)?;
        let mut name = KVec::with_capacity(len, GFP_KERNEL)?;
        UserSlice::new(UserPtr::from_addr(address), len)
            .reader()
            .read_all(&mut name, GFP_KERNEL)?;

        match self.session.make(&Kind::Static { name }) {
            // By this one a daemon knows that it need not try again.
            Err(EOPNOTSUPP) => Err(ENOMEM),
            other => other,
        }
    }

    /// `FASTRPC_IOCTL_MMAP`: memory of the kernel for the heap of the process.
    fn mmap(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_req_mmap = arg.read()?;
        if args.flags != uapi::QDA_HEAP_ADD || args.vaddrin != 0 {
            return Err(EINVAL);
        }
        let part = map::Part {
            buffer: self.allocate(args.size)?,
            offset: 0,
            len: args.size,
        };

        let (status, address) = map::grow(&self.session, &part, args.flags, 0)?;
        if status == 0 {
            arg.write(offset_of!(uapi::fastrpc_req_mmap, vaddrout), &address)
                .inspect_err(|_| {
                    // Nobody knows of it, and so nobody else can undo it.
                    let _ = map::shrink(&self.session, address, args.size);
                })?;
        }
        status_to_value(status)
    }

    /// `FASTRPC_IOCTL_MUNMAP`.
    fn munmap(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_req_munmap = arg.read()?;

        map::shrink(&self.session, args.vaddrout, args.size)
    }

    /// `FASTRPC_IOCTL_MEM_MAP`: a dma-buf, from its start, as the number of its descriptor.
    fn mem_map(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_mem_map = arg.read()?;
        let part = map::Part {
            buffer: self.fd(args.fd)?,
            offset: 0,
            len: args.length,
        };

        let told = map::Told {
            flags: args.flags,
            client_address: args.vaddrin,
            offset: args.offset,
        };

        let (status, address) = map::map(&self.session, args.fd, &part, told)?;
        if status == 0 {
            arg.write(offset_of!(uapi::fastrpc_mem_map, vaddrout), &address)
                .inspect_err(|_| {
                    // As above.
                    let _ = map::unmap(&self.session, Some(args.fd), address);
                })?;
        }
        status_to_value(status)
    }

    /// `FASTRPC_IOCTL_MEM_UNMAP`: with a negative number, whatever is at the address.
    fn mem_unmap(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_mem_unmap = arg.read()?;

        map::unmap(&self.session, (args.fd >= 0).then_some(args.fd), args.vaddr)
    }

    /// `FASTRPC_IOCTL_SET_OPTION`.
    fn set_option(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_ioctl_set_option = arg.read()?;
        if args.reserved != [0; 6] || args.request_id != uapi::FASTRPC_POLL_MODE {
            return Err(EINVAL);
        }
        if !self.session.channel().polls {
            return Err(EOPNOTSUPP);
        }

        self.session.set_polls(match args.value {
            uapi::FASTRPC_POLL_MODE_ENABLE => true,
            uapi::FASTRPC_POLL_MODE_DISABLE => false,
            _ => return Err(EINVAL),
        })?;
        Ok(0)
    }

    /// `FASTRPC_IOCTL_GET_DSP_INFO`.
    fn get_dsp_info(&self, arg: UserArg) -> Result<i32> {
        let args: uapi::fastrpc_ioctl_capability = arg.read()?;
        let id = args.attribute_id as usize;
        if id > attributes::COUNT {
            return Err(EOVERFLOW);
        }

        let value = self.session.channel().attributes.get(&self.session, id)?;
        arg.write(
            offset_of!(uapi::fastrpc_ioctl_capability, capability),
            &value,
        )?;
        Ok(0)
    }
}
