// SPDX-License-Identifier: GPL-2.0

//! Driver for Qualcomm's Hexagon DSPs: remote procedure calls (FastRPC) as a DRM accel device.
//!
//! Layers, top to bottom; each uses only those below:
//!
//! - [`mod@file`], [`ioctl`], [`submission`], [`fdinfo`]: the accel front end, open files and their
//!   ioctls.
//! - `compat`: the front end of `/dev/fastrpc-*`, if it is configured.
//! - [`session`], [`kind`], [`process`], [`invoke`], [`map`], [`kernel_call`], [`attributes`]: what
//!   a client does.
//! - [`queue`], [`dispatch`]: calls for which no thread waits.
//! - [`call`], [`payload`], [`frame`]: outstanding calls and what they own.
//! - [`gem`], [`backend`], [`names`]: buffers, and what clients call them.
//! - [`mapped`], [`mappings`], [`reclaim`], [`space`], [`held`], [`identity`]: where a DSP process
//!   has them, and for how long.
//! - [`mod@sync`]: what the CPU has in its caches.
//! - [`arena`]: memory of calls.
//! - [`bank`], [`region`]: context banks and their leases, and memory for those without an IOMMU.
//! - [`channel`], [`reserved`], [`heap`], [`transport`], [`driver`]: one DSP and the way to it.
//! - [`proto`], [`layout`], [`table`], [`ring`], [`threads`], [`turns`], [`state`], [`slots`],
//!   [`streams`], [`numbers`], [`kept`], [`domain`], [`exits`], [`pages`], [`words`]: pure code.

mod arena;
mod attributes;
mod backend;
mod bank;
mod call;
mod channel;
#[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
mod compat;
mod dispatch;
mod domain;
mod driver;
mod exits;
mod fdinfo;
mod file;
mod frame;
mod gem;
mod heap;
mod held;
mod identity;
mod invoke;
mod ioctl;
mod kept;
mod kernel_call;
mod kind;
mod layout;
mod map;
mod mapped;
mod mappings;
mod names;
mod numbers;
mod pages;
mod payload;
mod polled;
mod process;
mod proto;
mod queue;
mod reclaim;
mod region;
mod reserved;
mod ring;
mod session;
mod slots;
mod soc;
mod space;
mod state;
mod streams;
mod submission;
mod sync;
mod table;
mod threads;
mod transport;
mod turns;
mod words;

#[cfg(CONFIG_DRM_ACCEL_QDA_KUNIT_TEST)]
mod tests;

kernel::module_rpmsg_driver! {
    type: driver::QdaRpmsgDriver,
    name: "qda",
    authors: ["QDA authors"],
    description: "Qualcomm DSP accelerator driver",
    license: "GPL",
    params: {
        domains: i32 {
            default: -1,
            writable: true,
            description: "DSPs to take though the FastRPC driver is there: 0x1 ADSP, 0x2 MDSP, \
                          0x4 SDSP, 0x8 CDSP, 0x10 GDSP; 0x800 CDSP1 and so on, a byte for each \
                          number up to 3. All others are left alone. (default: -1, those that no \
                          other driver takes)",
        },
    },
}
