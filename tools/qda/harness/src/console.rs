// SPDX-License-Identifier: GPL-2.0

//! The guest's console: what a line of it is.
//!
//! Everything on it is a record of the kernel's log. The programs of a suite get theirs in by
//! `qda-run` (see `tools/qda/guest/qda-run.c`), which marks each of their lines.

use regex::Regex;
use std::sync::LazyLock;

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The guest's init began to run a suite.
    SuiteBegin(String),
    /// The suite came to its end.
    SuiteEnd(String),
    /// A word of the guest's init about something that went wrong.
    SuiteNote(String),
    /// A program of the suite begins.
    Begin(String),
    /// A program ended; the status is `None` when its time was up.
    End(String, Option<i32>),
    /// A line that a program printed.
    Output(String),
    /// The rest of a program's line that was too long for one record.
    Continued(String),
    /// A message of the kernel itself, without its time stamp.
    Kernel(String),
}

/// The time stamp, with the caller's id that `CONFIG_PRINTK_CALLER` adds.
static STAMP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[ *[0-9]+\.[0-9]+\](\[ *[TC][0-9]+\])? ?").unwrap());

impl Line {
    /// Reads one line of the console, without its end.
    pub fn parse(raw: &str) -> Self {
        let raw = raw.trim_end_matches(['\r', '\n']);
        let text = match STAMP.find(raw) {
            Some(stamp) => &raw[stamp.end()..],
            None => return Self::Kernel(raw.to_string()),
        };
        if let Some(rest) = text.strip_prefix("qda| ") {
            return Self::Output(rest.to_string());
        }
        // The kernel drops blanks at the end of a record.
        if text == "qda|" {
            return Self::Output(String::new());
        }
        if let Some(rest) = text.strip_prefix("qda+ ") {
            return Self::Continued(rest.to_string());
        }
        if let Some(rest) = text.strip_prefix("qda-run: ") {
            return Self::run(rest).unwrap_or_else(|| Self::Kernel(text.to_string()));
        }
        if let Some(rest) = text.strip_prefix("qda-suite: ") {
            return match rest.split_once(' ') {
                Some(("begin", name)) => Self::SuiteBegin(name.to_string()),
                Some(("end", name)) => Self::SuiteEnd(name.to_string()),
                _ => Self::SuiteNote(rest.to_string()),
            };
        }
        Self::Kernel(text.to_string())
    }

    /// What `qda-run` says about a program.
    fn run(rest: &str) -> Option<Self> {
        if let Some(name) = rest.strip_prefix("begin ") {
            return Some(Self::Begin(name.to_string()));
        }
        let (name, status) = rest.strip_prefix("end ")?.rsplit_once(" status ")?;
        let status = match status {
            "timeout" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self::End(name.to_string(), status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_told_apart() {
        let parse = |text: &str| Line::parse(&format!("[    1.204000] {text}\r\n"));
        assert_eq!(
            parse("qda-suite: begin e2e"),
            Line::SuiteBegin("e2e".into())
        );
        assert_eq!(parse("qda-run: begin basic"), Line::Begin("basic".into()));
        assert_eq!(
            parse("qda-run: end basic status 139"),
            Line::End("basic".into(), Some(139))
        );
        assert_eq!(
            parse("qda-run: end basic status timeout"),
            Line::End("basic".into(), None)
        );
        assert_eq!(
            parse("qda|     indented"),
            Line::Output("    indented".into())
        );
        assert_eq!(parse("qda|"), Line::Output(String::new()));
        assert_eq!(
            parse("qda-suite: qda.ko does not load"),
            Line::SuiteNote("qda.ko does not load".into())
        );
    }

    #[test]
    fn a_program_cannot_pass_for_the_kernel() {
        assert_eq!(
            Line::parse("[    2.000001][   T12] qda| WARNING: mine"),
            Line::Output("WARNING: mine".into())
        );
    }

    #[test]
    fn indentation_of_ktap_stays() {
        assert_eq!(
            Line::parse("[    0.700000]     ok 1 test"),
            Line::Kernel("    ok 1 test".into())
        );
    }

    proptest! {
        #[test]
        fn anything_is_a_line(raw in ".{0,200}") {
            Line::parse(&raw);
        }
    }
}
