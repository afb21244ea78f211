// SPDX-License-Identifier: GPL-2.0

//! The guest's remote control, as the DSP calls it: opens and closes the guest's services by name.
//!
//! | method | in 0 | in 1 | out 0 | out 1 |
//! |---|---|---|---|---|
//! | 0 open | {u32 name length, u32 error length} | name, NUL | {u32 handle, u32 error} | error text |
//! | 1 close | {u32 handle, u32 error length} | | u32 error | error text |

use super::listener::{Answer, Reverse};
use crate::call::words;
use anyhow::{ensure, Context as _};

/// Handle of the remote control.
const HANDLE: u32 = 0;
/// Room for the text of an error.
const ERROR_LEN: u32 = 256;

/// The call that opens a service.
pub fn open(name: &str) -> Reverse {
    let name = [name.as_bytes(), &[0]].concat();
    Reverse {
        handle: HANDLE,
        method: 0,
        ins: vec![pack(&[name.len() as u32, ERROR_LEN]), name],
        outs: vec![8, ERROR_LEN],
    }
}

/// What came back from [`open`]: status, handle and error word.
///
/// # Errors
///
/// The guest sent too little.
pub fn opened(answer: &Answer) -> anyhow::Result<(i32, u32, u32)> {
    let words = answer.outs.first().and_then(|out| words(out));
    let [handle, error] = words.with_context(|| format!("status {}, no handle", answer.status))?;
    Ok((answer.status, handle, error))
}

/// The handle that [`open`] was to bring.
///
/// # Errors
///
/// The service was not opened.
pub fn handle(answer: &Answer) -> anyhow::Result<u32> {
    let (status, handle, error) = opened(answer)?;
    ensure!(
        status == 0 && error == 0,
        "not opened: status {status:#x}, error {error:#x}"
    );
    Ok(handle)
}

/// The call that closes a service.
pub fn close(handle: u32) -> Reverse {
    Reverse {
        handle: HANDLE,
        method: 1,
        ins: vec![pack(&[handle, ERROR_LEN])],
        outs: vec![4, ERROR_LEN],
    }
}

/// Words as bytes of an argument.
pub fn pack(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_those_of_the_interface() {
        assert_eq!(open("apps_std").scalars().0, 0x0002_0200);
        assert_eq!(close(5).scalars().0, 0x0101_0200);
    }

    #[test]
    fn a_handle_needs_status_and_error() {
        let answer = |status, error| Answer {
            status,
            outs: vec![pack(&[9, error]), vec![]],
        };
        assert_eq!(handle(&answer(0, 0)).unwrap(), 9);
        assert!(handle(&answer(1, 0)).is_err());
        assert!(handle(&answer(0, 1)).is_err());
        assert!(handle(&Answer {
            status: 0,
            outs: vec![vec![1]]
        })
        .is_err());
    }
}
