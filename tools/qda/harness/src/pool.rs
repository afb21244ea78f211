// SPDX-License-Identifier: GPL-2.0

//! Runs suites side by side, each in a process of its own.
//!
//! A guest waits more than it works: a DSP that does not answer is given its time, a driver that
//! gives up after seconds is to do so. The lines of a suite stay together: those of the suite that
//! began first are printed as they come, those of the others when it is their turn.

use crate::outcome::{self, Case, Summary};
use crate::suite::Suite;
use crate::Paths;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Suites that come last, one at a time: they count what is done in pauses of less than half
/// a second.
const QUIET: &[&str] = &["hot-path", "bench-smoke"];

/// Suites that come first, longest first: one that begins late would run when all others have
/// ended.
const LONG: &[&str] = &[
    "buffers",
    "hostile",
    "banks",
    "caches",
    "clients",
    "host-simdsp",
    "e2e",
    "catalogue",
    "isolation",
];

/// Keeps the lines of suites together.
#[derive(Default)]
struct Order {
    /// The suites that have begun and are not printed in full: lines that wait, and whether there
    /// will be no more. The first one's are printed at once.
    suites: BTreeMap<usize, (Vec<String>, bool)>,
}

impl Order {
    fn begin(&mut self, number: usize) {
        self.suites.insert(number, (Vec::new(), false));
    }

    /// Takes a line; returns what is to be printed now.
    fn line(&mut self, number: usize, line: String) -> Vec<String> {
        if let Some((lines, _)) = self.suites.get_mut(&number) {
            lines.push(line);
        }
        self.due()
    }

    /// Takes a suite's end; returns what is to be printed now.
    fn end(&mut self, number: usize) -> Vec<String> {
        if let Some((_, ended)) = self.suites.get_mut(&number) {
            *ended = true;
        }
        self.due()
    }

    fn due(&mut self) -> Vec<String> {
        let mut due = Vec::new();
        while let Some(mut first) = self.suites.first_entry() {
            let (lines, ended) = first.get_mut();
            due.append(lines);
            if !*ended {
                break;
            }
            first.remove();
        }
        due
    }
}

/// What the suites' threads share.
struct Pool<'a> {
    paths: &'a Paths,
    order: Mutex<Order>,
    done: &'a (dyn Fn(&Summary) + Sync),
}

impl Pool<'_> {
    fn order<R>(&self, f: impl FnOnce(&mut Order) -> R) -> R {
        f(&mut self.order.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prints what is due, in one go.
    fn print(&self, f: impl FnOnce(&mut Order) -> Vec<String>) {
        self.order(|order| {
            for line in f(order) {
                println!("{line}");
            }
        });
    }

    /// Runs the suites that nobody runs yet, one after the other.
    fn work(&self, suites: &[&Suite], next: &AtomicUsize) {
        loop {
            // Under the lock: a suite that began later must not be printed first.
            let (number, suite) = match self.order(|order| {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let suite = suites.get(number)?;
                order.begin(number);
                Some((number, suite))
            }) {
                Some(job) => job,
                None => return,
            };
            let summary = self.suite(number, suite).unwrap_or_else(|error| {
                let line = format!("FAIL {} the suite: {error:#}", suite.name);
                self.print(|order| order.line(number, line));
                let case = Case::failed("the suite", format!("{error:#}"));
                Summary::of(suite.name, &[case], std::time::Duration::ZERO)
            });
            self.print(|order| order.end(number));
            (self.done)(&summary);
        }
    }

    /// Runs a suite in a process of its own.
    fn suite(&self, number: usize, suite: &Suite) -> Result<Summary> {
        let paths = self.paths;
        outcome::forget(&paths.results(), suite.name);
        let flags = [
            ("--debug", paths.debug),
            ("--brief", paths.brief),
            ("--color", std::io::stdout().is_terminal()),
        ];
        let program = std::env::current_exe().context("finding this program")?;
        // One stream, so that errors stand where they belong.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 2>&1"#])
            .arg(program)
            .arg("--top")
            .arg(&paths.top)
            .arg("--build")
            .arg(&paths.build)
            .args(["suite", suite.name])
            .args(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting it")?;
        let output = child.stdout.take().context("its output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            self.print(|order| order.line(number, line));
        }
        let status = child.wait()?;
        outcome::read_suite(&paths.results(), suite.name)
            .with_context(|| format!("it left no result, {status}"))
    }
}

/// Waits until `file` exists, which says that other work on this machine has ended.
fn wait_for(file: &Path) {
    if !file.exists() {
        println!(
            "waiting for {} before the suites that count",
            file.display()
        );
    }
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Runs suites, `jobs` at a time, and hands each result to `done` as it comes. Those that want a
/// quiet machine wait for `quiet_after`.
pub fn run(
    paths: &Paths,
    suites: &[&Suite],
    jobs: usize,
    quiet_after: Option<&Path>,
    done: &(dyn Fn(&Summary) + Sync),
) {
    let pool = Pool {
        paths,
        order: Mutex::default(),
        done,
    };
    let (quiet, mut busy): (Vec<&Suite>, Vec<&Suite>) =
        suites.iter().partition(|suite| QUIET.contains(&suite.name));
    // Those that are not long stay in their order.
    busy.sort_by_key(|suite| {
        let place = LONG.iter().position(|name| *name == suite.name);
        place.unwrap_or(LONG.len())
    });
    for (suites, jobs, after) in [(busy, jobs, None), (quiet, 1, quiet_after)] {
        if let (Some(file), false) = (after, suites.is_empty()) {
            wait_for(file);
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| pool.work(&suites, &next));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_suite_stay_together() {
        let mut order = Order::default();
        let nothing = Vec::<String>::new();
        order.begin(0);
        order.begin(1);
        assert_eq!(order.line(0, "a1".into()), ["a1"]);
        assert_eq!(order.line(1, "b1".into()), nothing);
        assert_eq!(order.line(0, "a2".into()), ["a2"]);
        assert_eq!(order.end(0), ["b1"]);
        order.begin(2);
        assert_eq!(order.line(2, "c1".into()), nothing);
        assert_eq!(order.end(2), nothing);
        order.begin(3);
        assert_eq!(order.line(3, "d1".into()), nothing);
        assert_eq!(order.line(1, "b2".into()), ["b2"]);
        assert_eq!(order.end(1), ["c1", "d1"]);
        assert_eq!(order.end(3), nothing);
    }

    #[test]
    fn suites_that_are_named_are_suites() {
        let known = |name: &&str| crate::suite::SUITES.iter().any(|suite| suite.name == *name);
        assert!(QUIET.iter().chain(LONG).all(known));
    }
}
