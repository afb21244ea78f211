// SPDX-License-Identifier: GPL-2.0

//! How far a session has come: from no DSP process, to one, to its end.
//!
//! Pure code, generic over what a process is; the lock around it is in [`crate::session`].

use kernel::prelude::*;

/// State of a session.
///
/// ```text
/// New --begin--> Starting --settle(Some)--> Live
///  ^                 |                        |
///  +--settle(None)---+                      close
///                                             v
///                 New, Starting --close--> Dead
/// ```
pub(crate) enum State<T> {
    /// No process yet.
    New,
    /// The DSP was asked for one.
    Starting,
    /// There is one.
    Live(T),
    /// The client has gone.
    Dead,
}

impl<T> State<T> {
    /// Claims the right to ask the DSP for a process.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: there is one, or it was asked for.
    /// - [`ENODEV`]: the client has gone.
    pub(crate) fn begin(&mut self) -> Result {
        match self {
            State::New => {
                *self = State::Starting;
                Ok(())
            }
            State::Starting | State::Live(_) => Err(EEXIST),
            State::Dead => Err(ENODEV),
        }
    }

    /// Notes what came of asking: a process, or none, after which the client may ask again.
    ///
    /// A process that comes too late, or that nobody asked for, is given back.
    pub(crate) fn settle(&mut self, process: Option<T>) -> Option<T> {
        match (&self, process) {
            (State::Starting, Some(process)) => {
                *self = State::Live(process);
                None
            }
            (State::Starting, None) => {
                *self = State::New;
                None
            }
            (_, process) => process,
        }
    }

    /// The process.
    ///
    /// # Errors
    ///
    /// - [`ENOTCONN`]: there is none yet.
    /// - [`ENODEV`]: the client has gone.
    pub(crate) fn process(&self) -> Result<&T> {
        match self {
            State::Live(process) => Ok(process),
            State::New | State::Starting => Err(ENOTCONN),
            State::Dead => Err(ENODEV),
        }
    }

    /// Ends the session; whoever gets the process ends that.
    pub(crate) fn close(&mut self) -> Option<T> {
        match core::mem::replace(self, State::Dead) {
            State::Live(process) => Some(process),
            _ => None,
        }
    }
}
