// SPDX-License-Identifier: GPL-2.0

//! The calculator: sum and maximum of an array of int32, computed here in Rust.
//!
//! | method | scalars | in 0 | in 1 | out 0 |
//! |---|---|---|---|---|
//! | 2 sum | 0x02020100 | u32 count | int32\[count\] | int64 |
//! | 3 max | 0x03020100 | u32 count | int32\[count\] | int32 |
//!
//! The maximum of nothing is a bad parameter, its sum is 0.

use super::{Module, Outcome};
use crate::call::{Abort, Cx};
use crate::wire::status;

/// The calculator module.
#[derive(Debug)]
pub struct Calculator;

fn sum(values: impl Iterator<Item = i32>) -> i64 {
    values.map(i64::from).sum()
}

fn numbers(data: &[u8]) -> impl Iterator<Item = i32> + '_ {
    data.chunks_exact(4)
        .map(|word| i32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

impl Module for Calculator {
    fn name(&self) -> &'static str {
        "calculator"
    }

    fn invoke(&self, cx: &Cx<'_>) -> Result<Outcome, Abort> {
        let result = match (cx.method(), cx.ins(), cx.outs()) {
            (2 | 3, 2, 1) => {
                let [count] = cx.in_words(0)?;
                let data = cx.in_buf(1)?;
                if data.len() as u64 != 4 * u64::from(count) {
                    return Err(Abort::bad(format!(
                        "{count} numbers in {} bytes",
                        data.len()
                    )));
                }
                if cx.method() == 2 {
                    sum(numbers(&data)).to_le_bytes().to_vec()
                } else {
                    let max = numbers(&data)
                        .max()
                        .ok_or_else(|| Abort::bad("no numbers"))?;
                    max.to_le_bytes().to_vec()
                }
            }
            _ => return Ok(Outcome::Done(status::UNSUPPORTED)),
        };
        cx.put_exact(0, &result)?;
        Ok(Outcome::Done(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_overflow() {
        assert_eq!(sum([i32::MAX; 3].into_iter()), 3 * i64::from(i32::MAX));
        assert_eq!(sum(0..1000), 499_500);
        let bytes: Vec<u8> = [-5i32, 7].iter().flat_map(|n| n.to_le_bytes()).collect();
        assert_eq!(numbers(&bytes).max(), Some(7));
    }
}
