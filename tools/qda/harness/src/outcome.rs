// SPDX-License-Identifier: GPL-2.0

//! What tests and suites come to, and the files that say so.

use crate::steps::{Step, Steps};
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub outcome: Outcome,
    /// Why it failed or was skipped: lines, which may be empty.
    pub detail: String,
}

impl Case {
    pub fn passed(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Passed,
            detail: String::new(),
        }
    }

    pub fn failed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Failed,
            detail: detail.into(),
        }
    }

    pub fn skipped(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Skipped,
            detail: detail.into(),
        }
    }
}

/// What a suite came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub suite: String,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub seconds: f64,
    /// The CPU time that it took, in seconds.
    #[serde(default)]
    pub cpu: f64,
}

impl Summary {
    /// Counts a suite's tests. One that ran nothing has failed.
    pub fn of(suite: &str, cases: &[Case], took: Duration) -> Self {
        let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
        Self {
            suite: suite.to_string(),
            passed: count(Outcome::Passed),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            cpu: 0.0,
        }
    }
}

/// The last line of a run.
pub fn total_line(summaries: &[Summary]) -> String {
    let sum = |field: fn(&Summary) -> usize| summaries.iter().map(field).sum::<usize>();
    format!(
        "{} passed, {} failed, {} skipped",
        sum(|s| s.passed),
        sum(|s| s.failed),
        sum(|s| s.skipped)
    )
}

/// A suite's tests as a TAP document.
pub fn to_tap(cases: &[Case], notes: &[String]) -> String {
    let mut tap = String::from("TAP version 13\n");
    for note in notes {
        let _ = writeln!(tap, "# {note}");
    }
    let _ = writeln!(tap, "1..{}", cases.len());
    for (number, case) in (1..).zip(cases) {
        // A hash would begin a directive.
        let name = case.name.replace('#', "_");
        let _ = match case.outcome {
            Outcome::Passed => writeln!(tap, "ok {number} - {name}"),
            Outcome::Failed => writeln!(tap, "not ok {number} - {name}"),
            Outcome::Skipped => {
                let why = case.detail.lines().next().unwrap_or("");
                writeln!(tap, "ok {number} - {name} # SKIP {why}")
            }
        };
        if case.outcome == Outcome::Failed {
            for line in case.detail.lines() {
                let _ = writeln!(tap, "#   {line}");
            }
        }
    }
    tap
}

/// Writes a suite's TAP file.
pub fn write_tap(dir: &Path, suite: &str, cases: &[Case], notes: &[String]) -> Result<()> {
    let path = dir.join(format!("{suite}.tap"));
    fs::write(&path, to_tap(cases, notes)).with_context(|| format!("writing {}", path.display()))
}

/// What `summary.json` has.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Run {
    suites: Vec<Summary>,
    steps: Vec<Step>,
    /// How long the run took, and what is left of the time that CI gives, in seconds.
    seconds: Option<f64>,
    left: Option<f64>,
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Writes `summary.json`: the results of suites, and the steps of the run.
pub fn write_summary(dir: &Path, suites: &[Summary], steps: &Steps) -> Result<()> {
    let run = Run {
        suites: suites.to_vec(),
        steps: steps.list.clone(),
        seconds: steps.seconds(),
        left: steps.left(),
    };
    write_json(&dir.join("summary.json"), &run)
}

/// Reads the suites of `summary.json`; none when there is none that can be read.
pub fn read_summary(dir: &Path) -> Vec<Summary> {
    let run: Run = read_json(&dir.join("summary.json")).unwrap_or_default();
    run.suites
}

/// The file in which a suite's process leaves what it came to.
fn of_suite(dir: &Path, suite: &str) -> PathBuf {
    dir.join(format!("{suite}.json"))
}

/// Writes what a suite came to.
pub fn write_suite(dir: &Path, summary: &Summary) -> Result<()> {
    write_json(&of_suite(dir, &summary.suite), summary)
}

/// Reads what a suite came to.
pub fn read_suite(dir: &Path, suite: &str) -> Option<Summary> {
    read_json(&of_suite(dir, suite))
}

/// Removes what a suite came to in an earlier run.
pub fn forget(dir: &Path, suite: &str) {
    let _ = fs::remove_file(of_suite(dir, suite));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases() -> Vec<Case> {
        vec![
            Case::passed("a"),
            Case::failed("b", "expected 1\ngot 2"),
            Case::skipped("c", "no hardware"),
        ]
    }

    #[test]
    fn totals_are_one_exact_line() {
        let one = Summary::of("x", &cases(), Duration::from_millis(1234));
        assert_eq!(one.seconds, 1.2);
        assert_eq!(
            total_line(&[one.clone(), one]),
            "2 passed, 2 failed, 2 skipped"
        );
    }

    #[test]
    fn tap_reads_back() {
        let tap = to_tap(&cases(), &["a note".into()]);
        let mut reader = crate::tap::Reader::new("");
        let read = tap.lines().flat_map(|line| reader.line(line));
        let outcomes: Vec<_> = read.map(|case| case.outcome).collect();
        assert!(reader.finish().is_empty());
        assert_eq!(
            outcomes,
            [Outcome::Passed, Outcome::Failed, Outcome::Skipped]
        );
    }

    #[test]
    fn the_summary_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let one = Summary::of("x", &cases(), Duration::ZERO);
        write_summary(dir.path(), std::slice::from_ref(&one), &Steps::default()).unwrap();
        assert_eq!(read_summary(dir.path()), [one]);
    }

    #[test]
    fn a_suite_leaves_its_result_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let one = Summary::of("x", &cases(), Duration::ZERO);
        write_suite(dir.path(), &one).unwrap();
        assert_eq!(read_suite(dir.path(), "x"), Some(one));
        forget(dir.path(), "x");
        assert_eq!(read_suite(dir.path(), "x"), None);
    }
}
