// SPDX-License-Identifier: GPL-2.0

//! What a client asks the DSP for, and whether it may have it.

use crate::{
    channel::Channel,
    gem::Buffer,
    proto::ProtectionDomain, //
};
use kernel::{
    capability::{
        capable,
        Capability, //
    },
    drm::gem::BaseObject,
    prelude::*,
    sizes::SZ_2M,
    sync::aref::ARef,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

/// Largest program image, in bytes.
pub(crate) const MAX_SHELL: usize = SZ_2M;

/// The program of a new process.
pub(crate) enum Shell {
    /// The DSP has one.
    Builtin,
    /// Bytes of a buffer.
    Buffer {
        /// The buffer.
        buffer: ARef<Buffer>,
        /// Where they begin in it.
        offset: usize,
        /// How many there are, not 0.
        len: usize,
    },
    /// A copy of the user's bytes.
    Bytes(KVVec<u8>),
}

impl Shell {
    /// The `len` bytes at `offset` of the buffer that `lookup` finds; with length 0 none.
    ///
    /// # Errors
    ///
    /// - [`E2BIG`]: too many.
    /// - [`EINVAL`]: they reach past the end of the buffer.
    /// - whatever `lookup` returns.
    pub(crate) fn in_buffer(
        lookup: impl FnOnce() -> Result<ARef<Buffer>>,
        offset: u64,
        len: usize,
    ) -> Result<Self> {
        if len == 0 {
            return Ok(Self::Builtin);
        }
        if len > MAX_SHELL {
            return Err(E2BIG);
        }
        let buffer = lookup()?;
        let offset = usize::try_from(offset).map_err(|_| EINVAL)?;

        if offset.checked_add(len).ok_or(EINVAL)? > buffer.size() {
            return Err(EINVAL);
        }
        Ok(Self::Buffer {
            buffer,
            offset,
            len,
        })
    }

    /// A copy of the `len` bytes at the user's `address`.
    ///
    /// # Errors
    ///
    /// - [`E2BIG`]: too many.
    /// - [`ENOEXEC`]: they are not an ELF file.
    /// - [`EFAULT`]: they cannot be read.
    /// - [`ENOMEM`].
    pub(crate) fn copy(address: u64, len: usize) -> Result<Self> {
        if len == 0 {
            return Ok(Self::Builtin);
        }
        if len > MAX_SHELL {
            return Err(E2BIG);
        }
        let mut image = KVVec::new();
        let address = usize::try_from(address).map_err(|_| EFAULT)?;

        UserSlice::new(UserPtr::from_addr(address), len).read_all(&mut image, GFP_KERNEL)?;
        if !image.starts_with(b"\x7fELF") {
            return Err(ENOEXEC);
        }
        Ok(Self::Bytes(image))
    }

    /// Size of the image, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Builtin => 0,
            Self::Buffer { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A process of the client's own.
pub(crate) struct User {
    /// Its program.
    pub(crate) shell: Shell,
    /// `QDA_PROC_ATTR_*`.
    pub(crate) attrs: u32,
    /// Size of the signature at the end of the program, in bytes.
    pub(crate) signature_len: u32,
}

/// What decides on whether a client may have something that needs privilege. On a DSP of which the
/// device tree says that anybody may do anything, everybody may.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// What the caller may do.
    Caller,
    /// The device node that the client came by.
    #[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
    Node {
        /// Whether it is the one for those who may have every process.
        secure: bool,
    },
}

impl Access {
    fn is_privileged(self) -> bool {
        match self {
            Self::Caller => capable(Capability::SYS_ADMIN),
            #[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
            Self::Node { secure } => secure,
        }
    }
}

/// What a client asks for.
pub(crate) enum Kind {
    /// To be a client of the root process.
    Root,
    /// To be a client of the sensors process.
    Sensors,
    /// A process that the DSP has a program for, by name.
    Static {
        /// Its name, as it goes over the wire.
        name: KVec<u8>,
    },
    /// A process of its own.
    User(User),
}

impl Kind {
    /// A process of the client's own, whose program is `shell`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`]: the signature is longer than the program.
    pub(crate) fn user(shell: Shell, attrs: u32, signature_len: u32) -> Result<Self> {
        if signature_len as usize > shell.len() {
            return Err(EINVAL);
        }
        Ok(Self::User(User {
            shell,
            attrs,
            signature_len,
        }))
    }

    /// The protection domain that messages to it are for.
    pub(crate) fn pd(&self) -> ProtectionDomain {
        match self {
            Self::Root => ProtectionDomain::Root,
            Self::Sensors => ProtectionDomain::Sensors,
            Self::Static { .. } | Self::User(_) => ProtectionDomain::User,
        }
    }

    /// Checks that a client with this access may have it on this DSP.
    ///
    /// # Errors
    ///
    /// - [`EACCES`]: another process of the DSP, and the client is not privileged.
    /// - [`ECONNREFUSED`]: a process that needs privilege, or the DSP has no unsigned ones.
    pub(crate) fn permit(&self, channel: &Channel, access: Access) -> Result {
        let privileged = || channel.non_secure || access.is_privileged();

        match self {
            Self::Root | Self::Sensors | Self::Static { .. } => {
                if !privileged() {
                    return Err(EACCES);
                }
            }
            Self::User(User { attrs, .. }) => {
                let unsigned = attrs & uapi::QDA_PROC_ATTR_UNSIGNED != 0;
                let elevated = attrs & uapi::QDA_PROC_ATTR_PRIVILEGED != 0;

                if unsigned && !channel.domain.has_unsigned() {
                    return Err(ECONNREFUSED);
                }
                if (!unsigned || elevated) && !privileged() {
                    return Err(ECONNREFUSED);
                }
            }
        }
        Ok(())
    }
}
