// SPDX-License-Identifier: GPL-2.0

//! Kills, restarts and reloads by the thousand, on the debug kernel.

use crate::boot::{self, Wish};
use crate::outcome::{self, Outcome, Summary};
use crate::{suite, Paths};
use anyhow::Result;
use clap::Args;
use std::time::Instant;

/// How much of what.
#[derive(Debug, Args)]
pub struct Options {
    /// Clients that are killed in the middle of calls.
    #[arg(long, env = "KILLS", default_value_t = 10_000)]
    kills: u32,
    /// Restarts of a DSP with calls in flight.
    #[arg(long, env = "RESTARTS", default_value_t = 1_000)]
    restarts: u32,
    /// Times that the driver's module is unloaded and loaded.
    #[arg(long, env = "RELOADS", default_value_t = 1_000)]
    reloads: u32,
    /// Seed of what the clients do, and of when they are killed.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

impl Options {
    /// Seconds after which the guest is taken for stuck, on a slow machine.
    fn limit(&self) -> u64 {
        let [kills, restarts, reloads] = [self.kills, self.restarts, self.reloads].map(u64::from);
        900 + 2 * kills + 20 * restarts + 8 * reloads
    }
}

/// Runs it, and shows what its program prints. Whether nothing was left of anything.
///
/// # Errors
///
/// The machine does not start.
pub fn run(paths: &Paths, options: &Options) -> Result<bool> {
    let mut boot = suite::SOAK;
    boot.limit = options.limit();
    let args = [
        options.kills,
        options.restarts,
        options.reloads,
        options.seed,
    ];
    let wish = Wish {
        args: Some(args.iter().map(ToString::to_string).collect()),
        console_log: Some(paths.build.join("soak.console.log")),
        ..Wish::default()
    };
    println!("kernel {}, board {}", boot.kernel, boot.board);
    let start = Instant::now();
    let mut cases = Vec::new();
    let ended = boot::run(paths, &boot, &wish, &mut |_, news| {
        if let Some(line) = news.output {
            // What is a comment to the harness is the program's word to people.
            println!("{}", line.strip_prefix("# ").unwrap_or(&line));
        }
        cases.extend(news.cases);
    })?;
    cases.extend(ended.cases);
    for case in &cases {
        if case.outcome != Outcome::Passed {
            println!("not passed: {}: {}", case.name, case.detail);
        }
    }
    let summary = Summary::of("soak", &cases, start.elapsed());
    println!("{}", outcome::total_line(std::slice::from_ref(&summary)));
    Ok(summary.failed == 0 && summary.passed > 0)
}
