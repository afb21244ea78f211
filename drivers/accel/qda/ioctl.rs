// SPDX-License-Identifier: GPL-2.0

//! The ioctls from `DRM_QDA_GET_PARAM` to `DRM_QDA_BUFFER_SYNC`, which no FastRPC library has.

use crate::{
    backend,
    driver::QdaDevice,
    file::{
        lookup,
        DrmFile,
        FileNames,
        QdaFile, //
    },
    held::MAX_OUTSTANDING,
    invoke::{
        invoke,
        Invoke, //
    },
    kind::{
        Kind,
        Shell,
        MAX_SHELL, //
    },
    layout::MAX_INLINE,
    ring::MAX_DEPTH,
    slots::Want,
    sync,
    threads::MAX_THREADS, //
};
use kernel::{
    dma::DataDirection,
    drm::{
        Ioctl,
        Registered, //
    },
    prelude::*,
    uapi, //
};

impl QdaFile {
    /// `DRM_QDA_GET_PARAM`.
    pub(crate) fn get_param(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_get_param,
        file: &DrmFile,
    ) -> Result<i32> {
        let channel = &dev.channel;
        let index = args.index;
        let plain = |value: u64| if index == 0 { Ok(value) } else { Err(EINVAL) };

        args.value = match args.param {
            uapi::QDA_PARAM_ABI_VERSION => plain(u64::from(uapi::QDA_ABI_VERSION))?,
            uapi::QDA_PARAM_NAME => name_part(channel.name.to_bytes(), index)?,
            uapi::QDA_PARAM_DOMAIN => plain(channel.domain as u64)?,
            uapi::QDA_PARAM_BANKS => plain(channel.banks.len() as u64)?,
            uapi::QDA_PARAM_UNSIGNED => plain(channel.domain.has_unsigned().into())?,
            uapi::QDA_PARAM_STATIC => plain(channel.heap.exists().into())?,
            uapi::QDA_PARAM_NON_SECURE => plain(channel.non_secure.into())?,
            uapi::QDA_PARAM_POLL => plain(channel.polls.into())?,
            uapi::QDA_PARAM_MAX_CALLS => plain(MAX_OUTSTANDING.into())?,
            uapi::QDA_PARAM_MAX_INLINE => plain(MAX_INLINE as u64)?,
            uapi::QDA_PARAM_MAX_BUFFER => plain(backend::max_size(dev))?,
            uapi::QDA_PARAM_MAX_SHELL => plain(MAX_SHELL as u64)?,
            uapi::QDA_PARAM_MAX_DEPTH => plain(MAX_DEPTH as u64)?,
            uapi::QDA_PARAM_MAX_THREADS => plain(MAX_THREADS.into())?,
            uapi::QDA_PARAM_DSP_ATTRIBUTE => channel
                .attributes
                .get(Self::session(file), index as usize)?
                .into(),
            _ => return Err(EINVAL),
        };
        Ok(0)
    }

    /// `DRM_QDA_SESSION_CREATE`.
    pub(crate) fn session_create(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_session_create,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);
        let known = uapi::QDA_SESSION_POLL | uapi::QDA_SESSION_OWN_BANK;
        if args.flags & !known != 0 || args.pad != 0 || args.status != 0 {
            return Err(EINVAL);
        }
        let polls = args.flags & uapi::QDA_SESSION_POLL != 0;
        let kind = kind(args, file)?;
        if polls && !session.channel().polls {
            return Err(EOPNOTSUPP);
        }

        // No call can be made before the DSP has answered.
        let want = if args.flags & uapi::QDA_SESSION_OWN_BANK != 0 {
            Want::OwnProcess
        } else {
            Want::Process
        };
        let starting = session.start(&kind, want)?;
        session.set_polls(polls)?;
        args.status = session.started(starting)?;
        Ok(0)
    }

    /// `DRM_QDA_CALL`.
    pub(crate) fn call(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_call,
        file: &DrmFile,
    ) -> Result<i32> {
        let session = Self::session(file);

        args.status = invoke(session, &FileNames { dev, file }, |frame| {
            Invoke::read_call(args, frame)
        })?;
        Ok(0)
    }

    /// `DRM_QDA_BUFFER_CREATE`.
    pub(crate) fn buffer_create(
        dev: &QdaDevice<Registered>,
        _reg_data: &(),
        args: &mut uapi::drm_qda_buffer_create,
        file: &DrmFile,
    ) -> Result<u32> {
        if args.handle != 0 || args.pad != 0 {
            return Err(EINVAL);
        }

        (args.handle, args.flags) = Self::create_buffer(dev, args.size, args.flags, file)?;
        Ok(0)
    }

    /// `DRM_QDA_BUFFER_SYNC`.
    pub(crate) fn buffer_sync(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_buffer_sync,
        file: &DrmFile,
    ) -> Result<i32> {
        let way = args.flags & (uapi::QDA_SYNC_READ | uapi::QDA_SYNC_WRITE);
        if way == 0 || args.flags & !(way | uapi::QDA_SYNC_END) != 0 {
            return Err(EINVAL);
        }

        let direction = match way {
            uapi::QDA_SYNC_READ => DataDirection::FromDevice,
            uapi::QDA_SYNC_WRITE => DataDirection::ToDevice,
            _ => DataDirection::Bidirectional,
        };
        let buffer = lookup(file, args.handle)?;

        sync::access(&buffer, direction, args.flags & uapi::QDA_SYNC_END == 0)?;
        Ok(0)
    }
}

/// Bytes `8 * index` to `8 * index + 7` of a name.
fn name_part(name: &[u8], index: u32) -> Result<u64> {
    let mut padded = [0u8; uapi::QDA_NAME_LEN as usize];
    padded
        .get_mut(..name.len())
        .ok_or(EINVAL)?
        .copy_from_slice(name);
    let part = padded.chunks_exact(8).nth(index as usize).ok_or(EINVAL)?;

    Ok(u64::from_ne_bytes(part.try_into().map_err(|_| EINVAL)?))
}

/// What `args` asks for. Fields that the kind has no use for must be 0.
fn kind(args: &uapi::drm_qda_session_create, file: &DrmFile) -> Result<Kind> {
    let no_name = args.name.iter().all(|&byte| byte == 0);
    let no_program = args.attrs == 0
        && args.shell_handle == 0
        && args.shell_offset == 0
        && args.shell_size == 0
        && args.signature_size == 0;

    match args.kind {
        uapi::QDA_SESSION_ROOT if no_name && no_program => Ok(Kind::Root),
        uapi::QDA_SESSION_SENSORS if no_name && no_program => Ok(Kind::Sensors),
        uapi::QDA_SESSION_STATIC if no_program => Ok(Kind::Static {
            name: static_name(&args.name)?,
        }),
        uapi::QDA_SESSION_USER_SIGNED if no_name => user(args, 0, file),
        uapi::QDA_SESSION_USER_UNSIGNED if no_name => {
            user(args, uapi::QDA_PROC_ATTR_UNSIGNED, file)
        }
        _ => Err(EINVAL),
    }
}

fn user(args: &uapi::drm_qda_session_create, signing: u32, file: &DrmFile) -> Result<Kind> {
    // The kind says it, and once is enough.
    if args.attrs & uapi::QDA_PROC_ATTR_UNSIGNED != 0 {
        return Err(EINVAL);
    }
    if args.shell_size == 0 && (args.shell_handle != 0 || args.shell_offset != 0) {
        return Err(EINVAL);
    }
    let shell = Shell::in_buffer(
        || lookup(file, args.shell_handle),
        args.shell_offset,
        args.shell_size as usize,
    )?;

    Kind::user(shell, args.attrs | signing, args.signature_size)
}

/// A name that is not empty, with its terminating NUL and nothing behind it.
fn static_name(name: &[u8]) -> Result<KVec<u8>> {
    let len = name.iter().position(|&byte| byte == 0).ok_or(EINVAL)?;
    if len == 0 || name[len..].iter().any(|&byte| byte != 0) {
        return Err(EINVAL);
    }
    let mut copy = KVec::new();

    copy.extend_from_slice(&name[..=len], GFP_KERNEL)?;
    Ok(copy)
}
