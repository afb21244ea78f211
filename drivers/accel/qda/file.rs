// SPDX-License-Identifier: GPL-2.0

//! The accel front end: open files and their ioctls.

use crate::{
    driver::{
        QdaDevice,
        QdaDriver, //
    },
    gem::{
        self,
        Buffer, //
    },
    invoke::{
        invoke,
        Invoke, //
    },
    kind::{
        Kind,
        Shell, //
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
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

/// An open file: one session.
#[pin_data(PinnedDrop)]
pub(crate) struct QdaFile {
    #[pin]
    session: Session,
}

/// An open file, with what the DRM core keeps of it.
pub(crate) type DrmFile = drm::File<QdaFile>;

impl drm::file::DriverFile for QdaFile {
    type Driver = QdaDriver;

    fn open(dev: &QdaDevice) -> Result<Pin<KBox<Self>>> {
        let channel = dev.channel.clone();

        KBox::try_pin_init(
            try_pin_init!(Self {
                session <- Session::new(channel),
            }),
            GFP_KERNEL,
        )
    }

    fn show_fdinfo(self: Pin<&Self>, printer: &drm::print::Printer) {
        let session = &self.get_ref().session;

        printer.print(fmt!("qda-dsp:\t{}\n", &*session.channel().name));
        printer.print(fmt!("qda-pd-exits:\t{}\n", session.channel().calls.exits()));
        if let Ok((client_id, bank)) = session.identity() {
            printer.print(fmt!("qda-client:\t{}\n", client_id));
            printer.print(fmt!("qda-bank:\t{}\n", bank));
        }
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

    /// `DRM_QDA_GEM_CREATE`.
    pub(crate) fn gem_create(
        dev: &QdaDevice<Registered>,
        _reg_data: &(),
        args: &mut uapi::drm_qda_gem_create,
        file: &DrmFile,
    ) -> Result<u32> {
        args.handle = gem::create(dev, args.size)?.create_handle(file)?;
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
        let session = Self::session(file);

        status_to_value(session.started(session.start(&Kind::Root)?)?)
    }

    /// `DRM_QDA_INIT_CREATE`.
    pub(crate) fn init_create(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_init_create,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);
        let len = args.filelen as usize;
        if args.siglen > args.filelen {
            return Err(EINVAL);
        }
        let shell = match args.filehandle {
            0 | u32::MAX => Shell::copy(args.file, len)?,
            handle => Shell::in_buffer(|| lookup(file, handle), 0, len)?,
        };
        let kind = Kind::user(shell, args.attrs, args.siglen)?;

        status_to_value(session.started(session.start(&kind)?)?)
    }

    /// `DRM_QDA_MAP`.
    pub(crate) fn map(
        _dev: &QdaDevice<Ioctl>,
        _args: &mut uapi::drm_qda_mem_map,
        _file: &DrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }

    /// `DRM_QDA_MUNMAP`.
    pub(crate) fn munmap(
        _dev: &QdaDevice<Ioctl>,
        _args: &mut uapi::drm_qda_mem_unmap,
        _file: &DrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }

    /// `DRM_QDA_INVOKE`.
    pub(crate) fn invoke(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_invoke,
        file: &DrmFile,
    ) -> Result<i32> {
        invoke(
            Self::session(file),
            Invoke::read(args.handle, args.sc, args.args)?,
            |handle| lookup(file, handle),
        )
    }
}
