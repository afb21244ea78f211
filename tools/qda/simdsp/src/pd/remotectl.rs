// SPDX-License-Identifier: GPL-2.0

//! Remote control: opens and closes modules by name (handles 0 and 8).
//!
//! | handle 0 | handle 8 | in 0 | in 1 | out 0 | out 1 |
//! |---|---|---|---|---|---|
//! | 0 open | 2 open1 | {u32 name length, u32 error length} | name, NUL | {u32 handle, u32 error} | error text |
//! | 1 close | 3 close1 | {u32 handle, u32 error length} | | u32 error | error text |
//! | 2 grow_heap | 4 | | | | |
//! | 3 set_param | 5 | | | | |
//!
//! The status is 0 also when a name is unknown; the error word tells.

use super::{Module, Outcome};
use crate::call::{Abort, Cx};
use crate::wire::status;

/// The interface; methods are counted from `first`.
#[derive(Debug)]
pub struct Remotectl {
    /// Number of the open method.
    pub first: u32,
}

impl Remotectl {
    fn open(cx: &Cx<'_>) -> Result<(), Abort> {
        let [length, _] = cx.in_words(0)?;
        let name = cx.in_buf(1)?;
        let text = match name.split_last() {
            Some((0, text)) if name.len() as u64 == u64::from(length) => text,
            // Some clients don't count the NUL.
            Some((0, text)) if text.len() as u64 == u64::from(length) => text,
            _ => return Err(Abort::bad("name")),
        };
        let text = std::str::from_utf8(text).map_err(|_| Abort::bad("name"))?;
        let (handle, error) = match super::find(text) {
            Some(module) => {
                let handle = cx.dsp.new_handle();
                cx.process.open(handle, module);
                (handle, 0)
            }
            None => (0, status::NO_SUCH_MODULE as u32),
        };
        log::debug!(
            "{}: client {} opens {text:?}: {handle}",
            cx.dsp.label(),
            cx.process.client
        );
        cx.put_words(0, &[handle, error])?;
        Self::error_text(cx, error)
    }

    fn close(cx: &Cx<'_>) -> Result<(), Abort> {
        let [handle, _] = cx.in_words(0)?;
        let error = if cx.process.close(handle) {
            0
        } else {
            status::BAD_PARAMETER as u32
        };
        cx.put_words(0, &[error])?;
        Self::error_text(cx, error)
    }

    fn error_text(cx: &Cx<'_>, error: u32) -> Result<(), Abort> {
        if cx.outs() < 2 || cx.out_len(1) == 0 {
            return Ok(());
        }
        let mut text = match error {
            0 => Vec::new(),
            _ => format!("error {error:#x}").into_bytes(),
        };
        text.truncate(cx.out_len(1) as usize - 1);
        text.push(0);
        cx.put(1, &text)
    }
}

impl Module for Remotectl {
    fn name(&self) -> &'static str {
        "remotectl"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        match cx.method().checked_sub(self.first) {
            Some(0) => Self::open(cx)?,
            Some(1) => Self::close(cx)?,
            Some(2 | 3) => {}
            _ => return Ok(Outcome::Done(status::UNSUPPORTED)),
        }
        Ok(Outcome::Done(0))
    }
}
