// SPDX-License-Identifier: GPL-2.0

//! A simulated Hexagon DSP.
//!
//! The simulator plays the DSP for an arm64 guest under QEMU. It shares the guest's RAM file,
//! speaks GLINK in it, and touches DMA buffers only by walking the SMMUv3 tables that the guest's
//! own driver programmed.
//!
//! Layers, from the machine up to the services that run on the DSP:
//!
//! ```text
//! sim                       all of it, as programs use it
//! machine                   a guest, its links, the memory of its DSPs
//! qemu, qtest, qmp,         launch, registers, interrupt, console, device tree
//!   console, board
//! ram, smmu, stream, lpae,  guest memory, and the walk that every DMA access takes
//!   trace
//! edu                       a device whose DMA takes QEMU's own walk, to compare
//! glink, frame, intents,    the transport, over
//!   power
//! fifo, message_ram, smem   FIFOs in memory that the guest shares
//! wire, meta                FastRPC on the wire: messages, scalars, metadata (pure)
//! dsp, serve, dma, stats    one DSP: messages, calls, their memory, numbers
//! lanes, process, call      its threads, processes and calls
//! strict, check             the rules it insists on
//! kernel_calls, pd/*        what handles 1 and 2 and the user-PD services do
//! script, babble, control   per-test behaviour, and the port by which a test asks for it
//! ```

pub mod board;
pub mod console;
pub mod edu;
pub mod fifo;
pub mod floor;
pub mod frame;
pub mod glink;
pub mod intents;
pub mod lpae;
pub mod machine;
pub mod message_ram;
pub mod pace;
pub mod port;
pub mod power;
pub mod qemu;
pub mod qmp;
pub mod qtest;
pub mod ram;
pub mod sim;
pub mod smem;
pub mod smmu;
pub mod stream;
pub mod trace;

pub mod babble;
pub mod call;
pub mod check;
pub mod control;
pub mod dma;
pub mod dsp;
pub mod kernel_calls;
pub mod lanes;
pub mod meta;
pub mod pd;
pub mod process;
pub mod script;
pub mod serve;
pub mod stats;
pub mod strict;
pub mod wire;
