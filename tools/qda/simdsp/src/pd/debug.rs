// SPDX-License-Identifier: GPL-2.0

//! The module "simdsp": calls that tests need and no real module has.
//!
//! Opened by the name `simdsp`. Words are little endian u32 unless noted. "ins" and "outs" are
//! the buffers that follow the named ones.
//!
//! | method | name | arguments | does |
//! |---|---|---|---|
//! | 2 | echo | n ins, n outs of the same lengths | out i := in i |
//! | 3 | checksum | any ins; out 0: u64 | FNV-1a (64 bit) of all ins in order |
//! | 4 | fill | in 0: seed; any outs | fills out i with pattern(seed + i) |
//! | 5 | verify | in 0: seed; any ins; out 0: u64 | offset, over all ins in order, of the first byte that differs from pattern(seed + i) of in i (i from 0), or 2^64-1 |
//! | 6 | touch | in 0: {u64 iova, len, write} | reads or writes (0xA5) in the caller's own bank; status 0x80000401 on a fault |
//! | 7 | sleep | in 0: ms | answers later; other threads are served meanwhile |
//! | 8 | status | in 0: s32; n ins, n outs | echoes, then answers that status |
//! | 9 | hold | any arguments | parks until `release-held` on the control port |
//! | 10 | info | out 0: 32 bytes | {client_id, tid, pd, bank, u64 ctx, u64 calls served by this DSP} |
//! | 11 | invert | n ins, n outs of the same lengths | out i := !in i |
//! | 12 | handles | in 0: seed; out 0: u64; in handles, out handles | checksum of all in handles; fills out handle i with pattern(seed + i) |
//! | 13 | give_back | in 0: u64 numbers (at most 16) | writes them into the call's list of returned numbers |
//! | 14 | mapped | in 0: {s32 number, offset, len, write}; out 0: u64 | checksum of that part of a buffer mapped by MEM_MAP; or fills it with pattern(0) first |
//! | 15 | slow_echo | in 0: ms; n ins, n outs | sleep, then echo |
//! | 16 | noop | any arguments | nothing; on a link that is measured, the link's thread answers |
//!
//! pattern(seed): byte j is `(seed + 131 j + 17 (j >> 8) + 29 (j >> 16)) & 0xff`.

use super::{Module, Outcome};
use crate::call::{Abort, Cx};
use crate::wire::{status, Address};
use std::time::Duration;

/// Name of the debug module.
pub const NAME: &str = "simdsp";
/// Its method that does nothing.
pub const NOOP: u32 = 16;

/// The debug module.
#[derive(Debug)]
pub struct Debug;

/// FNV-1a, 64 bit, continued from `hash`.
pub fn checksum(hash: u64, data: &[u8]) -> u64 {
    data.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Start value of [`checksum`].
pub const CHECKSUM: u64 = 0xcbf2_9ce4_8422_2325;

/// Byte `j` of the pattern.
pub fn pattern(seed: u32, j: usize) -> u8 {
    let sum = [
        j.wrapping_mul(131),
        (j >> 8).wrapping_mul(17),
        (j >> 16).wrapping_mul(29),
    ];
    sum.into_iter().fold(seed as usize, usize::wrapping_add) as u8
}

fn patterned(seed: u32, len: u64) -> Vec<u8> {
    (0..len as usize).map(|j| pattern(seed, j)).collect()
}

impl Debug {
    /// Copies the ins from `first` on to the outs.
    fn echo(cx: &Cx<'_>, first: usize, change: impl Fn(u8) -> u8) -> Result<(), Abort> {
        if cx.ins() != first + cx.outs() {
            return Err(Abort::bad("as many outs as ins"));
        }
        for i in 0..cx.outs() {
            let data: Vec<u8> = cx.in_buf(first + i)?.into_iter().map(&change).collect();
            cx.put_exact(i, &data)?;
        }
        Ok(())
    }

    fn verify(cx: &Cx<'_>) -> Result<u64, Abort> {
        let [seed] = cx.in_words(0)?;
        let mut before = 0;
        for i in 1..cx.ins() {
            let data = cx.in_buf(i)?;
            let seed = seed.wrapping_add(i as u32 - 1);
            if let Some(j) = (0..data.len()).find(|j| data[*j] != pattern(seed, *j)) {
                return Ok(before + j as u64);
            }
            before += data.len() as u64;
        }
        Ok(u64::MAX)
    }

    fn handles(cx: &Cx<'_>) -> Result<u64, Abort> {
        let [seed] = cx.in_words(0)?;
        let mut hash = CHECKSUM;
        for i in 0..cx.in_handles() {
            hash = checksum(hash, &cx.in_handle(i)?);
        }
        for i in 0..cx.out_handles() {
            let data = patterned(seed.wrapping_add(i as u32), cx.out_handle_len(i));
            cx.put_handle(i, &data)?;
        }
        Ok(hash)
    }

    fn mapped(cx: &Cx<'_>) -> Result<u64, Abort> {
        let [number, offset, len, write] = cx.in_words(0)?;
        let mapped = cx
            .process
            .mapped(number as i32)
            .ok_or_else(|| Abort::bad(format!("number {number} is not mapped")))?;
        if u64::from(offset) + u64::from(len) > mapped.size {
            return Err(Abort::bad(format!("{offset} + {len} of {}", mapped.size)));
        }
        let addr = cx.dsp.split(mapped.addr + u64::from(offset));
        if write != 0 {
            cx.write(addr, &patterned(0, len.into()))?;
        }
        Ok(checksum(CHECKSUM, &cx.read(addr, len.into())?))
    }

    fn touch(cx: &Cx<'_>) -> Result<(), Abort> {
        let [low, high, len, write] = cx.in_words(0)?;
        let addr = Address {
            bank: cx.call.at.bank,
            iova: u64::from(high) << 32 | u64::from(low),
        };
        if len > 16 << 20 {
            return Err(Abort::bad("more than 16 MiB"));
        }
        if write != 0 {
            cx.write(addr, &vec![0xA5; len as usize])
        } else {
            cx.read(addr, len.into()).map(drop)
        }
    }

    fn info(cx: &Cx<'_>) -> Vec<u8> {
        let request = &cx.call.request;
        let words = [
            request.client_id as u32,
            request.tid as u32,
            request.pd().into(),
            cx.call.at.bank,
        ];
        let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        out.extend(request.ctx.to_le_bytes());
        out.extend(cx.dsp.stat("replies").unwrap_or(0).to_le_bytes());
        out
    }
}

impl Module for Debug {
    fn name(&self) -> &'static str {
        NAME
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let same = |byte| byte;
        match cx.method() {
            2 => Self::echo(cx, 0, same)?,
            3 => {
                let mut hash = CHECKSUM;
                for i in 0..cx.ins() {
                    hash = checksum(hash, &cx.in_buf(i)?);
                }
                cx.put_exact(0, &hash.to_le_bytes())?;
            }
            4 => {
                let [seed] = cx.in_words(0)?;
                for i in 0..cx.outs() {
                    let data = patterned(seed.wrapping_add(i as u32), cx.out_len(i));
                    cx.put_exact(i, &data)?;
                }
            }
            5 => cx.put_exact(0, &Self::verify(cx)?.to_le_bytes())?,
            6 => Self::touch(cx)?,
            7 => {
                let [ms] = cx.in_words(0)?;
                cx.sleep(Duration::from_millis(ms.into()))?;
            }
            8 => {
                let [status] = cx.in_words(0)?;
                Self::echo(cx, 1, same)?;
                return Ok(Outcome::Done(status as i32));
            }
            9 => return Ok(cx.hold()),
            10 => cx.put_exact(0, &Self::info(cx))?,
            11 => Self::echo(cx, 0, |byte| !byte)?,
            12 => cx.put_exact(0, &Self::handles(cx)?.to_le_bytes())?,
            13 => {
                let numbers = cx.in_buf(0)?;
                let numbers = numbers
                    .chunks_exact(8)
                    .map(|n| n.try_into().map(u64::from_le_bytes));
                cx.give_back(
                    numbers
                        .collect::<Result<_, _>>()
                        .map_err(|_| Abort::bad("numbers"))?,
                );
            }
            14 => cx.put_exact(0, &Self::mapped(cx)?.to_le_bytes())?,
            15 => {
                let [ms] = cx.in_words(0)?;
                cx.sleep(Duration::from_millis(ms.into()))?;
                Self::echo(cx, 1, same)?;
            }
            NOOP => {}
            _ => return Ok(Outcome::Done(status::UNSUPPORTED)),
        }
        Ok(Outcome::Done(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_fnv1a() {
        assert_eq!(checksum(CHECKSUM, b""), 0xcbf29ce484222325);
        assert_eq!(checksum(CHECKSUM, b"a"), 0xaf63dc4c8601ec8c);
        assert_eq!(checksum(CHECKSUM, b"foobar"), 0x85944171f73967e8);
    }

    #[test]
    fn pattern_differs_between_pages_and_seeds() {
        let page = |seed, at: usize| (0..4096).map(|j| pattern(seed, at + j)).collect::<Vec<_>>();
        assert_ne!(page(0, 0), page(0, 4096));
        assert_ne!(page(0, 0), page(0, 65536));
        assert_ne!(page(0, 0), page(1, 0));
        assert_eq!(pattern(7, 300), ((7 + 131 * 300 + 17) % 256) as u8);
    }
}
