// SPDX-License-Identifier: GPL-2.0

//! Driver for Qualcomm's Hexagon DSPs: remote procedure calls (FastRPC) as a DRM accel device.
//!
//! Layers, top to bottom; each uses only those below:
//!
//! - [`mod@file`]: the accel front end, open files and their ioctls.
//! - [`session`], [`process`], [`invoke`], [`map`], [`kernel_call`]: what a client does.
//! - [`call`], [`payload`]: outstanding calls and the memory that they own.
//! - [`gem`], [`imports`], [`space`], [`held`]: buffers, and where a DSP process has them.
//! - [`bank`]: context banks and their leases.
//! - [`channel`], [`transport`], [`driver`]: one DSP and the way to it.
//! - [`proto`], [`layout`], [`table`], [`state`], [`slots`], [`numbers`]: pure code.
//!
//! Limitations:
//!
//! - No static and no sensors processes, no capability query, no poll mode.

mod bank;
mod call;
mod channel;
mod driver;
mod file;
mod gem;
mod held;
mod imports;
mod invoke;
mod kernel_call;
mod layout;
mod map;
mod numbers;
mod payload;
mod process;
mod proto;
mod session;
mod slots;
mod soc;
mod space;
mod state;
mod table;
mod transport;

#[cfg(CONFIG_DRM_ACCEL_QDA_KUNIT_TEST)]
mod tests;

kernel::module_rpmsg_driver! {
    type: driver::QdaRpmsgDriver,
    name: "qda",
    authors: ["QDA authors"],
    description: "Qualcomm DSP accelerator driver",
    license: "GPL",
}
