// SPDX-License-Identifier: GPL-2.0

//! What people see while suites run.

use crate::outcome::{Case, Outcome, Summary};
use std::time::{Duration, Instant};

/// Lines of a failed test's detail that are shown; the TAP file has all.
const SHOWN: usize = 20;

/// Prints tests as they end.
pub struct Reporter {
    suite: String,
    start: Instant,
    last: Instant,
    color: bool,
}

impl Reporter {
    /// Announces a suite.
    pub fn new(suite: &str, about: &str, color: bool) -> Self {
        println!("== {suite}: {about}");
        let now = Instant::now();
        Self {
            suite: suite.to_string(),
            start: now,
            last: now,
            color,
        }
    }

    /// Says what is being done now.
    pub fn step(&self, what: &str) {
        println!("   {what}");
    }

    /// Prints a test. Its time is that since the last one.
    pub fn case(&mut self, case: &Case) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        let (word, color) = match case.outcome {
            Outcome::Passed => ("  ok", "32"),
            Outcome::Failed => ("FAIL", "31"),
            Outcome::Skipped => ("skip", "33"),
        };
        let word = match self.color {
            true => format!("\x1b[{color}m{word}\x1b[0m"),
            false => word.to_string(),
        };
        println!(
            "{word} {} {} ({:.2} s)",
            self.suite,
            case.name,
            took.as_secs_f64()
        );
        match case.outcome {
            Outcome::Failed => {
                for line in case.detail.lines().take(SHOWN) {
                    println!("       {line}");
                }
            }
            Outcome::Skipped if !case.detail.is_empty() => println!("       {}", case.detail),
            _ => {}
        }
    }

    /// Time since the suite began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Prints what the suite came to.
    pub fn end(&self, summary: &Summary) {
        println!(
            "== {}: {} passed, {} failed, {} skipped, {} s, {:.1} s of CPU time",
            summary.suite,
            summary.passed,
            summary.failed,
            summary.skipped,
            summary.seconds,
            summary.cpu
        );
    }
}
