// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what needs no device.
//!
//! The pure code is given fixed vectors here, taken from the protocol; the same files are tried on
//! random input on the host, by `tools/qda/core`. The call engine, in [`calls`], [`exits`],
//! [`polling`], [`closing`] and [`submissions`], has the transport of [`mod@bench`].

mod bench;
mod calls;
mod closing;
mod domain;
mod exits;
mod heap;
mod layout;
mod pages;
mod polling;
mod post;
mod proto;
mod state;
mod streams;
mod submissions;
mod table;
