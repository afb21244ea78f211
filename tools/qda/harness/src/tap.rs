// SPDX-License-Identifier: GPL-2.0

//! Reads TAP, as the kselftest harness prints it, and KTAP, as KUnit does: the same with nesting,
//! each level indented by four blanks.

use crate::outcome::{Case, Outcome};
use regex::Regex;
use std::sync::LazyLock;

static RESULT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(not )?ok\b *([0-9]+)? *(?:- *)?(.*)$").unwrap());
static PLAN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^1\.\.([0-9]+)(?: *# *(?i:skip)(.*))?$").unwrap());

/// How many comment lines before a failed test are kept as its detail.
const DETAIL: usize = 30;

/// One level of nesting.
#[derive(Default)]
struct Level {
    name: Option<String>,
    plan: Option<usize>,
    results: usize,
    /// Whether a test of this level failed since the level above had its last result.
    failed: bool,
}

/// Collects the tests of one document, line by line. Other output may stand between the lines.
pub struct Reader {
    prefix: String,
    levels: Vec<Level>,
    cases: Vec<Case>,
    comments: Vec<String>,
    plans: usize,
    failed: bool,
}

impl Reader {
    /// A reader that puts `prefix` before the name of each test.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_string(),
            levels: vec![Level::default()],
            cases: Vec::new(),
            comments: Vec::new(),
            plans: 0,
            failed: false,
        }
    }

    /// Whether any plan was seen, that is, whether this is TAP at all.
    pub fn planned(&self) -> bool {
        self.plans > 0
    }

    /// Whether a test failed.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Takes the next line; returns the tests that it ended.
    pub fn line(&mut self, line: &str) -> Vec<Case> {
        let text = line.trim_start_matches(' ');
        let depth = (line.len() - text.len()) / 4;
        if text.starts_with("TAP version") || text.starts_with("KTAP version") {
            self.close(depth);
            self.open(depth);
        } else if let Some(name) = text.strip_prefix("# Subtest: ") {
            self.open(depth);
            self.levels[depth].name = Some(name.trim().to_string());
        } else if let Some(plan) = PLAN.captures(text) {
            self.open(depth);
            self.plans += 1;
            self.levels[depth].plan = plan[1].parse().ok();
            if let (0, Some(why)) = (self.levels[depth].plan.unwrap_or(0), plan.get(2)) {
                self.push(depth, "all of it", Outcome::Skipped, why.as_str().trim());
            }
        } else if let Some(result) = RESULT.captures(text) {
            self.result(depth, result.get(1).is_none(), &result[3]);
        } else if !text.is_empty() {
            let comment = text.trim_start_matches('#').trim();
            self.comments.push(comment.to_string());
            if self.comments.len() > DETAIL {
                self.comments.remove(0);
            }
        }
        std::mem::take(&mut self.cases)
    }

    /// Ends the document; returns what remains to be said: plans that were not kept, as failed
    /// tests.
    pub fn finish(mut self) -> Vec<Case> {
        self.close(0);
        self.cases
    }

    /// Makes sure that there is a level of this depth.
    fn open(&mut self, depth: usize) {
        while self.levels.len() <= depth {
            self.levels.push(Level::default());
        }
    }

    /// Ends all levels from this depth down, and checks their plans.
    fn close(&mut self, depth: usize) {
        while self.levels.len() > depth {
            let level = self.levels.pop().unwrap_or_default();
            if let Some(plan) = level.plan {
                if plan != level.results {
                    let name = level.name.as_deref().unwrap_or("tests");
                    let why = format!("{plan} tests were planned, {} have a result", level.results);
                    let detail = [why.as_str(), &self.comments.join("\n")].join("\n");
                    let name = format!("{}{name} complete", self.prefix);
                    self.cases.push(Case::failed(name, detail));
                    self.failed = true;
                    if let Some(above) = self.levels.last_mut() {
                        above.failed = true;
                    }
                }
            }
        }
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
    }

    fn result(&mut self, depth: usize, ok: bool, rest: &str) {
        let (name, directive) = match rest.split_once('#') {
            Some((name, directive)) => (name.trim(), directive.trim()),
            None => (rest.trim(), ""),
        };
        let skipped = ok && directive.to_ascii_lowercase().starts_with("skip");
        // A result after results of a deeper level is the sum of those.
        let nested = self.levels.len() > depth + 1;
        let failed_below = nested && self.levels[depth + 1..].iter().any(|level| level.failed);
        let ran_below = nested && self.levels[depth + 1..].iter().any(|l| l.results > 0);
        let before = self.cases.len();
        self.close(depth + 1);
        let failed_below = failed_below || self.cases.len() > before;
        self.open(depth);
        self.levels[depth].results += 1;
        if !ok {
            self.levels[depth].failed = true;
        }
        if ran_below && (ok || failed_below) {
            self.levels[depth].failed |= failed_below;
            self.comments.clear();
            return;
        }
        let outcome = match (ok, skipped) {
            (false, _) => Outcome::Failed,
            (true, true) => Outcome::Skipped,
            (true, false) => Outcome::Passed,
        };
        let detail = match outcome {
            Outcome::Passed => String::new(),
            Outcome::Failed => self.comments.join("\n"),
            Outcome::Skipped => directive[4..].trim().to_string(),
        };
        self.push(depth, name, outcome, &detail);
        self.comments.clear();
    }

    /// Adds a test, named with the levels that it is in.
    fn push(&mut self, depth: usize, name: &str, outcome: Outcome, detail: &str) {
        let mut full = self.prefix.clone();
        for level in &self.levels[..=depth] {
            if let Some(subtest) = &level.name {
                full.push_str(subtest);
                full.push('.');
            }
        }
        self.failed |= outcome == Outcome::Failed;
        full.push_str(if name.is_empty() { "unnamed" } else { name });
        self.cases.push(Case {
            name: full,
            outcome,
            detail: detail.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Case> {
        let mut reader = Reader::new("p: ");
        let mut cases: Vec<_> = text.lines().flat_map(|line| reader.line(line)).collect();
        cases.extend(reader.finish());
        cases
    }

    fn short(cases: &[Case]) -> Vec<(&str, Outcome)> {
        cases
            .iter()
            .map(|case| (case.name.as_str(), case.outcome))
            .collect()
    }

    #[test]
    fn kselftest() {
        let cases = read(
            "TAP version 13\n1..3\n# Starting 3 tests\n#  RUN a.b ...\n#  OK a.b\nok 1 a.b\n\
             # x.c:12:c:Expected 1 (1) == 2 (2)\nnot ok 2 a.c\nok 3 a.d # SKIP no control port\n\
             # Totals: pass:1 fail:1",
        );
        assert_eq!(
            short(&cases),
            [
                ("p: a.b", Outcome::Passed),
                ("p: a.c", Outcome::Failed),
                ("p: a.d", Outcome::Skipped)
            ]
        );
        assert!(cases[1].detail.contains("Expected 1"));
        assert_eq!(cases[2].detail, "no control port");
    }

    #[test]
    fn kunit_counts_leaves() {
        let cases = read(
            "KTAP version 1\n1..2\n    KTAP version 1\n    # Subtest: s\n    # module: kernel\n    1..2\n    \
             ok 1 x\n        KTAP version 1\n        # Subtest: params\n        ok 1 one\n        ok 2 two\n    \
             ok 2 params\n# s: pass:2\nok 1 s\n    KTAP version 1\n    # Subtest: t\n    1..1\n    \
             # y: ASSERTION FAILED at f.rs:1\n    not ok 1 y\nnot ok 2 t",
        );
        assert_eq!(
            short(&cases),
            [
                ("p: s.x", Outcome::Passed),
                ("p: s.params.one", Outcome::Passed),
                ("p: s.params.two", Outcome::Passed),
                ("p: t.y", Outcome::Failed)
            ]
        );
        assert!(cases[3].detail.contains("ASSERTION"));
    }

    #[test]
    fn a_crash_breaks_the_plan() {
        let cases = read("TAP version 13\n1..2\nok 1 a");
        assert_eq!(
            short(&cases),
            [
                ("p: a", Outcome::Passed),
                ("p: tests complete", Outcome::Failed)
            ]
        );
    }

    #[test]
    fn a_suite_may_fail_by_itself() {
        let cases =
            read("KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n    ok 1 x\nnot ok 1 s");
        assert_eq!(
            short(&cases),
            [("p: s.x", Outcome::Passed), ("p: s", Outcome::Failed)]
        );
    }

    #[test]
    fn a_second_document_begins_anew() {
        let cases = read("KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n1..1\nok 1 b");
        assert_eq!(
            short(&cases),
            [("p: a", Outcome::Passed), ("p: b", Outcome::Passed)]
        );
    }

    #[test]
    fn a_skipped_plan_is_a_skipped_test() {
        let cases = read("TAP version 13\n1..0 # SKIP no such device");
        assert_eq!(short(&cases), [("p: all of it", Outcome::Skipped)]);
        assert_eq!(cases[0].detail, "no such device");
    }

    proptest! {
        /// Whatever the counts, the leaves come out, and a short document is noticed.
        #[test]
        fn plans_are_kept(planned in 1usize..20, printed in 0usize..20) {
            let mut text = format!("TAP version 13\n1..{planned}\n");
            for n in 1..=printed {
                text.push_str(&format!("ok {n} t{n}\n"));
            }
            let cases = read(&text);
            let failed = cases.iter().filter(|c| c.outcome == Outcome::Failed).count();
            prop_assert_eq!(failed, usize::from(planned != printed));
            prop_assert_eq!(cases.len() - failed, printed);
        }

        #[test]
        fn anything_is_read(lines in proptest::collection::vec(" {0,12}(ok|not ok|1\\.\\.|# |KTAP version 1|x).{0,12}", 0..30)) {
            read(&lines.join("\n"));
        }
    }
}
