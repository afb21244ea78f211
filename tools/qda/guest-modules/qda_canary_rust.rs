// SPDX-License-Identifier: GPL-2.0

//! A mistake on purpose: a sum that does not fit. A kernel with overflow checks reports it.

use core::hint::black_box;
use kernel::prelude::*;

module! {
    type: Canary,
    name: "qda_canary_rust",
    authors: ["QDA authors"],
    description: "A mistake for a debug kernel to find",
    license: "GPL",
}

struct Canary;

impl kernel::Module for Canary {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let sum = black_box(u8::MAX) + black_box(1);
        pr_info!("the sum is {sum}\n");
        Ok(Self)
    }
}
