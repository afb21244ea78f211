// SPDX-License-Identifier: GPL-2.0

//! Property tests of the driver's pure code.
//!
//! The driver's files are compiled here as they are, against a small stand-in for the `kernel`
//! crate. What they promise is then tried on many random inputs, which a test in the kernel has no
//! time for:
//!
//! - `proto_props`: messages, scalars, contexts, replies.
//! - `kept_props`: what is kept for some time beside a list in the order of uses.
//! - `layout_props`: where the DSP finds the arguments of a call, by the independent decoder of
//!   `decode`.
//! - `exits_props`: notices of processes that have ended beside a simple model of them.
//! - `ring_props`: submissions beside a simple model of them.
//! - `slots_props`: who gets which slot of which bank, and that nobody shares with a stranger.
//! - `numbers_props`: the numbers of buffers beside a simple model of them.
//! - `pages_props`: the pages of call memory beside a list of them.
//! - `state_props`: the states of a session beside a simple model of them.
//! - `streams_props`: streams of IOMMUs beside sets of their ids.
//! - `table_props`: the call table beside a simple model of it.
//! - `threads_props`: that no thread of the DSP has two calls.
//! - `turns_props`: that everybody gets a turn.
//!
//! There is nothing but tests, so that `cargo test -p qda-core` is all there is to run.
#![cfg(test)]

#[path = "../../../../drivers/accel/qda/exits.rs"]
pub mod exits;
#[path = "../../../../drivers/accel/qda/kept.rs"]
pub mod kept;
#[path = "../../../../drivers/accel/qda/layout.rs"]
pub mod layout;
#[path = "../../../../drivers/accel/qda/numbers.rs"]
pub mod numbers;
#[path = "../../../../drivers/accel/qda/pages.rs"]
pub mod pages;
#[path = "../../../../drivers/accel/qda/proto.rs"]
pub mod proto;
#[path = "../../../../drivers/accel/qda/ring.rs"]
pub mod ring;
#[path = "../../../../drivers/accel/qda/slots.rs"]
pub mod slots;
#[path = "../../../../drivers/accel/qda/state.rs"]
pub mod state;
#[path = "../../../../drivers/accel/qda/streams.rs"]
pub mod streams;
#[path = "../../../../drivers/accel/qda/table.rs"]
pub mod table;
#[path = "../../../../drivers/accel/qda/threads.rs"]
pub mod threads;
#[path = "../../../../drivers/accel/qda/turns.rs"]
pub mod turns;

mod decode;
mod exits_props;
mod kept_props;
mod layout_props;
mod numbers_props;
mod pages_props;
mod proto_props;
mod ring_props;
mod slots_props;
mod state_props;
mod streams_props;
mod table_props;
mod threads_props;
mod turns_props;
