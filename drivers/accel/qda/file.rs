// SPDX-License-Identifier: GPL-2.0

//! The accel front end: open files and their ioctls.

use crate::{
    backend,
    driver::{
        QdaDevice,
        QdaDriver, //
    },
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
        Access,
        Kind,
        Shell, //
    },
    map,
    names::{
        buffer_at,
        buffer_named,
        by_fd,
        Names, //
    },
    proto::status_to_value,
    session::Session, //
};
use kernel::{
    drm::{
        self,
        gem::BaseObject,
        Ioctl,
        Registered, //
    },
    fs,
    prelude::*,
    sync::{
        aref::ARef,
        poll::{
            PollEvents,
            PollTable, //
        }, //
    },
    uapi, //
};

/// An open file: one session.
#[pin_data(PinnedDrop)]
pub(crate) struct QdaFile {
    #[pin]
    session: Session,
    account: Account,
}

/// An open file, with what the DRM core keeps of it.
pub(crate) type DrmFile = drm::File<QdaFile>;

impl drm::file::DriverFile for QdaFile {
    type Driver = QdaDriver;

    fn open(dev: &QdaDevice) -> Result<Pin<KBox<Self>>> {
        let channel = dev.channel.clone();

        KBox::try_pin_init(
            try_pin_init!(Self {
                session <- Session::new(channel, Access::Caller),
                account: Account::new()?,
            }),
            GFP_KERNEL,
        )
    }

    fn show_fdinfo(self: Pin<&Self>, printer: &drm::print::Printer) {
        let this = self.get_ref();

        fdinfo::show(&this.session, &this.account, |line| printer.print(line));
    }

    fn poll(self: Pin<&Self>, file: &fs::File, table: PollTable<'_>) -> PollEvents {
        match self.get_ref().session.queue() {
            Ok(queue) => queue.poll(file, table),
            Err(_) => PollEvents::ERROR,
        }
    }

    fn release(self: Pin<&Self>) {
        // Before the handles go, and with them the memory of buffers: the DSP process may use it
        // until it ends.
        self.session.close();
    }
}

#[pinned_drop]
impl PinnedDrop for QdaFile {
    fn drop(self: Pin<&mut Self>) {
        self.session.close();
    }
}

/// The buffer with a handle of a file.
///
/// # Errors
///
/// [`ENOENT`]: there is none.
pub(crate) fn lookup(file: &DrmFile, handle: u32) -> Result<ARef<Buffer>> {
    Buffer::lookup_handle(file, handle)
}

/// What the numbers that a client passes mean to one file.
pub(crate) struct FileNames<'a> {
    /// The device, for imports.
    pub(crate) dev: &'a QdaDevice<Ioctl>,
    /// The file.
    pub(crate) file: &'a DrmFile,
}

impl Names for FileNames<'_> {
    fn handle(&self, handle: u32) -> Result<ARef<Buffer>> {
        lookup(self.file, handle)
    }

    fn fd(&self, fd: i32) -> Result<ARef<Buffer>> {
        let session = QdaFile::session(self.file);

        // To a client it is a handle that does not exist.
        by_fd(self.dev, session, fd).map_err(|error| match error {
            EBADF | EINVAL => ENOENT,
            other => other,
        })
    }
}

/// The part of a buffer that a client means with `number`: `len` bytes from where it has the buffer
/// mapped at `address`, or from the start if it does not.
fn part_of(names: &impl Names, number: u32, address: u64, len: u64) -> Result<map::Part> {
    let mapped = if address == 0 {
        Err(EFAULT)
    } else {
        // Whether all of it is in the buffer is for later to see.
        buffer_at(names, number, address, 0)
    };
    let (buffer, offset) = match mapped {
        Ok(found) => found,
        // It is not mapped there, or says nothing about where it is.
        Err(EFAULT | EINVAL | ENOENT) => (buffer_named(names, number)?, 0),
        Err(error) => return Err(error),
    };

    Ok(map::Part {
        buffer,
        offset,
        len,
    })
}

/// The number by which the DSP is to know what a client calls `handle`.
fn dsp_number(handle: u32, dsp_handle: i32) -> i32 {
    match dsp_handle {
        // CAST: The older library's field is signed.
        0 => handle as i32,
        number => number,
    }
}

impl QdaFile {
    /// The session of an open file.
    pub(crate) fn session(file: &DrmFile) -> &Session {
        &file.inner().get_ref().session
    }

    /// `DRM_QDA_QUERY`.
    pub(crate) fn query(
        dev: &QdaDevice<Registered>,
        _reg_data: &(),
        args: &mut uapi::drm_qda_query,
        _file: &DrmFile,
    ) -> Result<u32> {
        let kind = args.query_type;
        if args.pad != 0 {
            return Err(EINVAL);
        }

        let mut name = [0u8; uapi::QDA_NAME_LEN as usize];
        let label = dev.channel.name.to_bytes();
        name[..label.len()].copy_from_slice(label);

        *args = match kind {
            uapi::QDA_QUERY_DSP_NAME => uapi::drm_qda_query {
                query_type: kind,
                dsp_name: name,
                ..Default::default()
            },
            // The older layout: the name in the first 16 bytes, and a word that is 0.
            uapi::QDA_QUERY_LEGACY => {
                let word = |at: usize| u32::from_ne_bytes(core::array::from_fn(|i| name[at + i]));
                let mut rest = [0u8; uapi::QDA_NAME_LEN as usize];
                rest[..8].copy_from_slice(&name[8..]);

                uapi::drm_qda_query {
                    query_type: word(0),
                    pad: word(4),
                    dsp_name: rest,
                    ..Default::default()
                }
            }
            _ => return Err(EINVAL),
        };
        Ok(0)
    }

    /// Allocates a buffer, on the account of `file`.
    ///
    /// # Errors
    ///
    /// As [`backend::allocate_for`].
    fn allocate(dev: &QdaDevice, size: u64, file: &DrmFile) -> Result<ARef<Buffer>> {
        let account = &file.inner().get_ref().account;

        Ok(backend::allocate_for(account, dev, size, 0)?.0)
    }

    /// Allocates a buffer, on the account of `file`. Returns a handle of it, and the flag of the
    /// backend that it is from.
    ///
    /// # Errors
    ///
    /// As [`backend::allocate_for`].
    pub(crate) fn create_buffer(
        dev: &QdaDevice,
        size: u64,
        flags: u32,
        file: &DrmFile,
    ) -> Result<(u32, u32)> {
        let account = &file.inner().get_ref().account;
        let (buffer, flag) = backend::allocate_for(account, dev, size, flags)?;

        Ok((buffer.create_handle(file)?, flag))
    }

    /// `DRM_QDA_GEM_CREATE`.
    pub(crate) fn gem_create(
        dev: &QdaDevice<Registered>,
        _reg_data: &(),
        args: &mut uapi::drm_qda_gem_create,
        file: &DrmFile,
    ) -> Result<u32> {
        (args.handle, _) = Self::create_buffer(dev, args.size, 0, file)?;
        Ok(0)
    }

    /// `DRM_QDA_GEM_MMAP_OFFSET`.
    pub(crate) fn gem_mmap_offset(
        _dev: &QdaDevice<Registered>,
        _reg_data: &(),
        args: &mut uapi::drm_qda_gem_mmap_offset,
        file: &DrmFile,
    ) -> Result<u32> {
        // The older library puts {handle, pad} where the offset stands: no handle is 0.
        let legacy = args.offset != 0;
        let (handle, pad) = if legacy {
            let bytes = args.offset.to_ne_bytes();
            let word = |at: usize| u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
            (word(0), word(4))
        } else {
            (args.handle, args.pad)
        };
        if pad != 0 {
            return Err(EINVAL);
        }

        let buffer = lookup(file, handle)?;
        if buffer.is_imported() {
            return Err(EINVAL);
        }
        let offset = buffer.create_mmap_offset()?;

        if legacy {
            let bytes = offset.to_ne_bytes();
            let word = |at: usize| u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
            (args.handle, args.pad) = (word(0), word(4));
        } else {
            args.offset = offset;
        }
        Ok(0)
    }

    /// `DRM_QDA_INIT_ATTACH`.
    pub(crate) fn init_attach(
        _dev: &QdaDevice<Ioctl>,
        _args: &mut (),
        file: &DrmFile,
    ) -> Result<i32> {
        Self::session(file).make(&Kind::Root)
    }

    /// `DRM_QDA_INIT_CREATE`.
    pub(crate) fn init_create(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_init_create,
        file: &DrmFile,
    ) -> Result<i32> {
        let len = args.filelen as usize;
        if args.siglen > args.filelen {
            return Err(EINVAL);
        }
        let shell = match args.filehandle {
            _ if len == 0 => Shell::Builtin,
            0 | u32::MAX => Shell::copy(args.file, len)?,
            handle => {
                let names = FileNames { dev, file };
                let part = part_of(&names, handle, args.file, args.filelen.into())?;
                Shell::in_buffer(|| Ok(part.buffer), part.offset, len)?
            }
        };

        Self::session(file).make(&Kind::user(shell, args.attrs, args.siglen)?)
    }

    /// `DRM_QDA_MAP`.
    pub(crate) fn map(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_mem_map,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);
        let names = FileNames { dev, file };
        if args.attrs != 0 || args.offset != 0 {
            return Err(EINVAL);
        }

        let (status, address) = match (args.request, args.flags) {
            (uapi::QDA_MAP_REQUEST_LEGACY, uapi::QDA_HEAP_ADD | uapi::QDA_HEAP_ADD_LLC) => {
                let part = match args.handle {
                    // The memory is to come from the kernel.
                    0 | u32::MAX if args.vaddrin != 0 => return Err(EINVAL),
                    0 | u32::MAX => map::Part {
                        buffer: Self::allocate(dev, args.size, file)?,
                        offset: 0,
                        len: args.size,
                    },
                    handle => part_of(&names, handle, args.vaddrin, args.size)?,
                };
                map::grow(session, &part, args.flags, args.vaddrin)?
            }
            (
                uapi::QDA_MAP_REQUEST_ATTR,
                uapi::QDA_MAP_STATIC
                | uapi::QDA_MAP_RESERVED
                | uapi::QDA_MAP_FD
                | uapi::QDA_MAP_FD_DELAYED
                | uapi::QDA_MAP_FD_NOMAP,
            ) => {
                let number = dsp_number(args.handle, args.dsp_handle);
                let part = part_of(&names, args.handle, args.vaddrin, args.size)?;
                let told = map::Told {
                    flags: args.flags,
                    client_address: args.vaddrin,
                    offset: 0,
                };
                map::map(session, number, &part, told)?
            }
            _ => return Err(EINVAL),
        };
        args.vaddrout = address;
        status_to_value(status)
    }

    /// `DRM_QDA_MUNMAP`.
    pub(crate) fn munmap(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_mem_unmap,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);

        // The older library's form, which ends before `size`: {request, fd, vaddr, vaddrout, size}.
        let legacy = args.size == 0;
        let (number, vaddr, vaddrout, size) = if legacy {
            // CAST: The two fields are the halves of one.
            let vaddr = u64::from(args.pad) << 32 | u64::from(args.dsp_handle as u32);
            (dsp_number(args.handle, 0), vaddr, args.vaddr, args.vaddrout)
        } else {
            if args.pad != 0 {
                return Err(EINVAL);
            }
            let number = dsp_number(args.handle, args.dsp_handle);
            (number, args.vaddr, args.vaddrout, args.size)
        };

        match args.request {
            uapi::QDA_MAP_REQUEST_LEGACY => map::shrink(session, vaddrout, size),
            uapi::QDA_MAP_REQUEST_ATTR => {
                map::unmap(session, (number >= 0).then_some(number), vaddr)
            }
            _ => Err(EINVAL),
        }
    }

    /// `DRM_QDA_INVOKE`.
    pub(crate) fn invoke(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_invoke,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);
        let status = invoke(session, &FileNames { dev, file }, |frame| {
            Invoke::read(args.handle, args.sc, args.args, frame)
        })?;

        status_to_value(status)
    }
}
