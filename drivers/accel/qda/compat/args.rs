// SPDX-License-Identifier: GPL-2.0

//! Arguments of the ioctls of `include/uapi/misc/fastrpc.h`.
//!
//! The other driver copies what a program passes as a whole, and copies back the one thing that is
//! an answer; so does this.

use core::mem::size_of;
use kernel::{
    ioctl::{
        _IO,
        _IOWR, //
    },
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

const TYPE: u32 = b'R' as u32;

pub(crate) const ALLOC_DMA_BUFF: u32 = _IOWR::<uapi::fastrpc_alloc_dma_buf>(TYPE, 1);
pub(crate) const INVOKE: u32 = _IOWR::<uapi::fastrpc_invoke>(TYPE, 3);
pub(crate) const INIT_ATTACH: u32 = _IO(TYPE, 4);
pub(crate) const INIT_CREATE: u32 = _IOWR::<uapi::fastrpc_init_create>(TYPE, 5);
pub(crate) const MMAP: u32 = _IOWR::<uapi::fastrpc_req_mmap>(TYPE, 6);
pub(crate) const MUNMAP: u32 = _IOWR::<uapi::fastrpc_req_munmap>(TYPE, 7);
pub(crate) const INIT_ATTACH_SNS: u32 = _IO(TYPE, 8);
pub(crate) const INIT_CREATE_STATIC: u32 = _IOWR::<uapi::fastrpc_init_create_static>(TYPE, 9);
pub(crate) const MEM_MAP: u32 = _IOWR::<uapi::fastrpc_mem_map>(TYPE, 10);
pub(crate) const MEM_UNMAP: u32 = _IOWR::<uapi::fastrpc_mem_unmap>(TYPE, 11);
pub(crate) const SET_OPTION: u32 = _IOWR::<uapi::fastrpc_ioctl_set_option>(TYPE, 12);
pub(crate) const GET_DSP_INFO: u32 = _IOWR::<uapi::fastrpc_ioctl_capability>(TYPE, 13);

/// A structure of the user interface.
#[repr(transparent)]
struct Wire<T>(T);

macro_rules! integers {
    ($($name:ident),+ $(,)?) => {
        // SAFETY: It is a C structure of integers, for which all bytes are valid.
        $(unsafe impl FromBytes for Wire<uapi::$name> {})+
    };
}

integers!(
    fastrpc_alloc_dma_buf,
    fastrpc_invoke,
    fastrpc_init_create,
    fastrpc_init_create_static,
    fastrpc_req_mmap,
    fastrpc_req_munmap,
    fastrpc_mem_map,
    fastrpc_mem_unmap,
    fastrpc_ioctl_set_option,
    fastrpc_ioctl_capability,
);

/// Where a program has the argument of an ioctl.
#[derive(Clone, Copy)]
pub(crate) struct UserArg(pub(crate) usize);

impl UserArg {
    /// Reads a structure.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    #[expect(private_bounds)]
    pub(crate) fn read<T>(self) -> Result<T>
    where
        Wire<T>: FromBytes,
    {
        let mut reader = UserSlice::new(UserPtr::from_addr(self.0), size_of::<T>()).reader();

        Ok(reader.read::<Wire<T>>()?.0)
    }

    /// Writes the field that stands at `offset`.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    pub(crate) fn write<F: AsBytes>(self, offset: usize, field: &F) -> Result {
        let at = UserPtr::from_addr(self.0).wrapping_byte_add(offset);

        UserSlice::new(at, size_of::<F>()).writer().write(field)
    }
}
