// SPDX-License-Identifier: GPL-2.0

//! The guest's memory, as the DSP asks for it: its service "apps_mem".
//!
//! | method | in 0 | out 0 |
//! |---|---|---|
//! | 2 request_map64 | {s32 heap, u32 heap flags, u32 flags, pad, u64 address, s64 length} | {u64 address in the guest's process, u64 address on the DSP} |
//!
//! With the flag that is used here the guest allocates a dma-buf and maps it into the process by
//! MEM_MAP; in place of the address on the DSP stands the number by which MEM_MAP knows it.

use super::apps_remotectl::{self, pack};
use super::listener::{Answer, Reverse};
use crate::call::words;
use anyhow::{ensure, Context as _};

/// Name of the service.
pub const NAME: &str = "apps_mem";
/// Flag of request_map64: a dma-buf, known by its number.
const BY_NUMBER: u32 = 0x1_0000;

/// Memory that the guest allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Its address in the guest's process.
    pub address: u64,
    /// The number by which it is mapped.
    pub number: i32,
}

fn request(service: u32, heap: i32, heap_flags: u32, len: u64) -> Reverse {
    let words = [heap as u32, heap_flags, BY_NUMBER, 0, 0, 0];
    Reverse {
        handle: service,
        method: 2,
        ins: vec![[pack(&words), len.to_le_bytes().to_vec()].concat()],
        outs: vec![16],
    }
}

/// Has the guest allocate and map `len` bytes.
///
/// # Errors
///
/// The guest can't, or a call fails.
pub fn request_map(
    mut call: impl FnMut(&Reverse) -> anyhow::Result<Answer>,
    heap: i32,
    heap_flags: u32,
    len: u64,
) -> anyhow::Result<Buffer> {
    let service = apps_remotectl::handle(&call(&apps_remotectl::open(NAME))?)?;
    let answer = call(&request(service, heap, heap_flags, len))?;
    ensure!(
        answer.status == 0,
        "request_map64: status {:#x}",
        answer.status
    );
    let out = answer.outs.first().and_then(|out| words(out));
    let [low, high, number, rest] = out.context("request_map64: no addresses")?;
    let address = u64::from(high) << 32 | u64::from(low);
    ensure!(
        address != 0 && rest == 0,
        "request_map64: address {address:#x}, number {rest:#x}{number:08x}"
    );
    Ok(Buffer {
        address,
        number: number as i32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answer() {
        assert_eq!(request(7, 0, 0, 4096).scalars().0, 0x0201_0100);
        assert_eq!(request(7, 0, 0, 4096).ins[0].len(), 32);
        let guest = |call: &Reverse| {
            let outs = match (call.handle, call.method) {
                (0, 0) => vec![pack(&[7, 0]), vec![]],
                _ => vec![pack(&[0x1000, 0x7f, 11, 0])],
            };
            Ok(Answer { status: 0, outs })
        };
        let buffer = request_map(guest, 0, 0, 4096).unwrap();
        assert_eq!((buffer.address, buffer.number), (0x7f_0000_1000, 11));
    }
}
