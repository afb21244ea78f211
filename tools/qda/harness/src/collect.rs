// SPDX-License-Identifier: GPL-2.0

//! From the console of one boot to the tests that ran in it.

use crate::console::Line;
use crate::outcome::Case;
use crate::splat::Watch;
use crate::tap;

/// How many last lines are kept, to be shown when a program or the guest failed as a whole.
const TAIL: usize = 25;

/// kselftest's exit status for "all of it skipped".
const SKIPPED: i32 = 4;

/// The last lines of something.
#[derive(Default)]
struct Tail(Vec<String>);

impl Tail {
    fn push(&mut self, line: &str) {
        self.0.push(line.trim_end().to_string());
        if self.0.len() > TAIL {
            self.0.remove(0);
        }
    }

    fn text(&self) -> String {
        self.0.join("\n")
    }
}

/// A program of the suite while it runs.
struct Program {
    name: String,
    tap: tap::Reader,
    tail: Tail,
}

impl Program {
    /// What is still to be said when it has ended.
    fn end(self, prefix: &str, status: Option<i32>) -> Vec<Case> {
        let name = format!("{prefix}{}", self.name);
        let planned = self.tap.planned();
        let mut failed = self.tap.failed();
        let mut cases = self.tap.finish();
        failed |= !cases.is_empty();
        let why = match status {
            None => "its time was up".to_string(),
            Some(status @ 129..) => format!("killed by signal {}", status - 128),
            Some(status) => format!("exit status {status}"),
        };
        let detail = format!("{why}\n{}", self.tail.text());
        match status {
            Some(0) if planned => {}
            Some(0) => cases.push(Case::passed(name)),
            Some(SKIPPED) if !failed && planned => {}
            Some(SKIPPED) if !failed => cases.push(Case::skipped(name, "exit status 4")),
            // Its failed tests are the reason for a status of 1.
            Some(1) if failed => {}
            _ => cases.push(Case::failed(name, detail)),
        }
        cases
    }
}

/// What a line of the console brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Tests that have a result now.
    pub cases: Vec<Case>,
    /// A line that a program printed.
    pub output: Option<String>,
    /// A program that ended, with its exit status; `None` when its time was up.
    pub ended: Option<Option<i32>>,
}

/// Collects the tests of one boot, console line by console line.
pub struct Collector {
    prefix: String,
    program: Option<Program>,
    kunit: Option<tap::Reader>,
    splats: Watch,
    began: bool,
    ended: bool,
    tail: Tail,
}

impl Collector {
    /// `prefix` goes before the name of each test; with `kunit`, the kernel's own messages are
    /// read as KTAP.
    pub fn new(prefix: &str, kunit: bool) -> Self {
        Self {
            prefix: prefix.to_string(),
            program: None,
            kunit: kunit.then(|| tap::Reader::new(prefix)),
            splats: Watch::default(),
            began: false,
            ended: false,
            tail: Tail::default(),
        }
    }

    /// Whether the guest's init has begun with the suite, that is, whether the boot is over.
    pub fn began(&self) -> bool {
        self.began
    }

    /// Takes the next line.
    pub fn line(&mut self, raw: &str) -> News {
        self.tail.push(raw);
        let mut news = News::default();
        match Line::parse(raw) {
            Line::Kernel(message) => {
                if self.splats.see(&message) {
                    news.cases
                        .push(self.failed("the kernel complains", &message));
                }
                if let Some(kunit) = &mut self.kunit {
                    news.cases.extend(kunit.line(&message));
                }
            }
            Line::SuiteBegin(_) => self.began = true,
            Line::SuiteEnd(_) => self.ended = true,
            Line::SuiteNote(note) => news.cases.push(self.failed("the guest's init", &note)),
            Line::Begin(name) => {
                self.program = Some(Program {
                    tap: tap::Reader::new(&format!("{}{name}: ", self.prefix)),
                    name,
                    tail: Tail::default(),
                });
            }
            Line::Output(text) => {
                if let Some(program) = &mut self.program {
                    program.tail.push(&text);
                    news.cases = program.tap.line(&text);
                }
                news.output = Some(text);
            }
            Line::Continued(text) => news.output = Some(text),
            Line::End(name, status) => {
                news.cases = match self.program.take() {
                    Some(program) => program.end(&self.prefix, status),
                    None => vec![self.failed(&name, "it ended and had not begun")],
                };
                news.ended = Some(status);
            }
        }
        news
    }

    /// Ends the collection: what is still to be said. `problem` is why the boot ended, if not by
    /// the guest's own will.
    pub fn finish(mut self, problem: Option<String>) -> Vec<Case> {
        let mut cases = Vec::new();
        if let Some(program) = self.program.take() {
            let detail = format!("the guest ended in it\n{}", program.tail.text());
            cases.push(self.failed(&program.name, &detail));
        }
        if problem.is_some() || !self.ended {
            let why = problem.unwrap_or_else(|| "it ended before the suite did".to_string());
            let detail = format!("{why}\nlast lines of the console:\n{}", self.tail.text());
            cases.push(self.failed("the guest", &detail));
        }
        if let Some(kunit) = self.kunit.take() {
            if !kunit.planned() {
                cases.push(self.failed("KUnit", "no results in the kernel's log"));
            }
            cases.extend(kunit.finish());
        }
        cases
    }

    fn failed(&self, name: &str, detail: &str) -> Case {
        Case::failed(format!("{}{name}", self.prefix), detail.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    /// Runs a console, each line given without its time stamp.
    fn collect(kunit: bool, lines: &[&str]) -> Vec<Case> {
        let mut collector = Collector::new("", kunit);
        let mut cases = Vec::new();
        for line in lines {
            cases.extend(collector.line(&format!("[    1.000000] {line}")).cases);
        }
        cases.extend(collector.finish(None));
        cases
    }

    fn failures(cases: &[Case]) -> Vec<&str> {
        let failed = cases.iter().filter(|c| c.outcome == Outcome::Failed);
        failed.map(|case| case.name.as_str()).collect()
    }

    #[test]
    fn a_good_boot() {
        let cases = collect(
            false,
            &[
                "Booting Linux",
                "qda-suite: begin e2e",
                "qda-run: begin basic",
                "qda| TAP version 13",
                "qda| 1..2",
                "qda| ok 1 query",
                "qda| ok 2 mmap # SKIP no port",
                "qda-run: end basic status 0",
                "qda-run: begin plain",
                "qda-run: end plain status 0",
                "qda-suite: end e2e",
            ],
        );
        assert_eq!(failures(&cases), [""; 0]);
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["basic: query", "basic: mmap", "plain"]);
    }

    #[test]
    fn what_goes_wrong_is_a_failure() {
        let crashed = [
            "qda-suite: begin e2e",
            "qda-run: begin basic",
            "qda| 1..2",
            "qda| ok 1 query",
            "qda-run: end basic status 139",
            "qda-suite: end e2e",
        ];
        assert_eq!(
            failures(&collect(false, &crashed)),
            ["basic: tests complete", "basic"]
        );
        let stuck = [
            "qda-suite: begin e2e",
            "qda-run: begin basic",
            "qda-run: end basic status timeout",
            "qda-suite: end e2e",
        ];
        assert_eq!(failures(&collect(false, &stuck)), ["basic"]);
        let died = [
            "qda-suite: begin e2e",
            "qda-run: begin basic",
            "Kernel panic - not syncing",
        ];
        assert_eq!(
            failures(&collect(false, &died)),
            ["the kernel complains", "basic", "the guest"]
        );
        let splat = [
            "qda-suite: begin e2e",
            "WARNING: x.c:1 at f",
            "qda-suite: end e2e",
        ];
        assert_eq!(failures(&collect(false, &splat)), ["the kernel complains"]);
        let lying = [
            "qda-suite: begin e2e",
            "qda-run: begin basic",
            "qda| 1..1",
            "qda| ok 1 query",
            "qda-run: end basic status 1",
            "qda-suite: end e2e",
        ];
        assert_eq!(failures(&collect(false, &lying)), ["basic"]);
    }

    #[test]
    fn kunit_is_read_from_the_kernel() {
        let cases = collect(
            true,
            &[
                "KTAP version 1",
                "1..1",
                "    # Subtest: qda_proto",
                "    1..1",
                "    ok 1 scalars",
                "ok 1 qda_proto",
                "qda-suite: begin kunit",
                "qda-suite: end kunit",
            ],
        );
        assert_eq!(cases, [Case::passed("qda_proto.scalars")]);
        let none = collect(true, &["qda-suite: begin kunit", "qda-suite: end kunit"]);
        assert_eq!(failures(&none), ["KUnit"]);
    }
}
