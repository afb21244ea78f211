// SPDX-License-Identifier: GPL-2.0

//! The FastRPC front end: `/dev/fastrpc-*` of the kernel's other FastRPC driver, for programs that
//! know no other.
//!
//! - [`node`]: the device nodes, and what one opens by them.
//! - [`seats`]: the banks that open files wait with.
//! - [`mod@file`]: open files, and what their ioctls do.
//! - [`args`]: the arguments of the ioctls.
//!
//! Everything below is that of the accel front end. What the other driver does is done here too,
//! except where that is a defect of it; the documentation lists those.

mod args;
mod file;
mod node;
mod seats;

pub(crate) use node::Nodes;
