// SPDX-License-Identifier: GPL-2.0

//! What runs in a DSP process: interfaces with static handles, and modules opened by name. Those
//! whose names begin with `apps` are the other way round: services of the guest, as a DSP process
//! calls them.

pub mod adspmsgd;
pub mod apps_mem;
pub mod apps_remotectl;
pub mod apps_std;
pub mod calculator;
pub mod current_process;
pub mod debug;
pub mod listener;
pub mod remotectl;

use crate::call::{Abort, Cx};
use std::sync::Arc;

/// How far a call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Executed; this is its status.
    Done(i32),
    /// Somebody else will answer it.
    Parked,
}

/// Code that serves calls.
pub trait Module: Send + Sync + std::fmt::Debug {
    /// Name that scripts know it by.
    fn name(&self) -> &'static str;

    /// Serves one call.
    ///
    /// # Errors
    ///
    /// [`Abort`] when memory can't be reached, the process goes away, or arguments are wrong.
    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort>;
}

/// The module that a name opens: a plain name, or the `file:///` form of the user library.
pub fn find(name: &str) -> Option<Arc<dyn Module>> {
    let plain = match name.strip_prefix("file:///") {
        Some(uri) => uri.split('?').next()?,
        None => name,
    };
    match plain {
        "calculator" | "libcalculator_skel.so" => Some(Arc::new(calculator::Calculator)),
        "simdsp" | "libsimdsp_skel.so" => Some(Arc::new(debug::Debug)),
        "adsp_default_listener" => Some(Arc::new(current_process::DefaultListener { register: 0 })),
        "libadsp_default_listener1_skel.so" => {
            Some(Arc::new(current_process::DefaultListener { register: 2 }))
        }
        _ => None,
    }
}

/// The interface of a static handle of user processes. Calls on the others, among them those of the
/// performance counters (6 and 9), are answered as unsupported.
pub fn by_handle(handle: u32) -> Option<Arc<dyn Module>> {
    Some(match handle {
        0 => Arc::new(remotectl::Remotectl { first: 0 }),
        8 => Arc::new(remotectl::Remotectl { first: 2 }),
        3 => Arc::new(listener::Interface { first: 2 }),
        7 => Arc::new(listener::Interface { first: 4 }),
        4 => Arc::new(current_process::CurrentProcess),
        5 => Arc::new(adspmsgd::Interface),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uris() {
        let uri = "file:///libcalculator_skel.so?calculator_skel_handle_invoke&_modver=1.0&_idlver=1.2.3&_dom=cdsp";
        for name in ["calculator", uri] {
            assert_eq!(find(name).unwrap().name(), "calculator");
        }
        assert!(find("file:///libother_skel.so?calculator").is_none());
        assert!(find("").is_none());
    }
}
