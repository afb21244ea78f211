// SPDX-License-Identifier: GPL-2.0

//! The current process (handle 4), and the default listener.
//!
//! | method | in 0 | does |
//! |---|---|---|
//! | 2 exit | | completes the parked listeners, and waits for messages, with 0x8000040D, and those that come later |
//! | 3 thread_exit | | ends the caller's thread |
//! | 4, 8 logging, 6 QoS, 10 notifications, 11 panic codes | | nothing |
//! | 5 getASID | | out 0: u32 bank |
//! | 9 poll_mode | {u32 enable, u32 timeout} | successful calls write the poll word from now on |

use super::{Module, Outcome};
use crate::call::{Abort, Cx};
use crate::wire::status;

/// The interface of handle 4.
#[derive(Debug)]
pub struct CurrentProcess;

impl Module for CurrentProcess {
    fn name(&self) -> &'static str {
        "current_process"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        match cx.method() {
            2 => {
                cx.dsp.end_messages(cx.process);
                cx.dsp.end_listeners(cx.process);
            }
            3 => cx.process.thread_exits(cx.call.request.tid),
            4 | 6 | 8 | 10 | 11 => {}
            5 => cx.put_words(0, &[cx.call.at.bank])?,
            9 => {
                let [enable, _timeout] = cx.in_words(0)?;
                cx.process.set_poll(enable != 0);
            }
            _ => return Ok(Outcome::Done(status::UNSUPPORTED)),
        }
        Ok(Outcome::Done(0))
    }
}

/// The default listener, by its two names: "adsp_default_listener" with one number for the method
/// that registers it, and the library's URI with another.
#[derive(Debug)]
pub struct DefaultListener {
    /// Number of the method.
    pub register: u32,
}

impl Module for DefaultListener {
    fn name(&self) -> &'static str {
        "adsp_default_listener"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        Ok(Outcome::Done(match cx.method() {
            method if method == self.register => 0,
            _ => status::UNSUPPORTED,
        }))
    }
}
