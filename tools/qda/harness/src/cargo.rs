// SPDX-License-Identifier: GPL-2.0

//! Suites that run on the host: what `cargo test` says.

use crate::outcome::{Case, Outcome};
use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

static TEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, (.*))?$").unwrap()
});
static BINARY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(?:Running|Doc-tests) (?:unittests )?(\S+)").unwrap());

/// Collects the tests of a run of `cargo test`.
#[derive(Default)]
pub struct Reader {
    binary: String,
    cases: Vec<Case>,
    /// The output of failed tests, by name.
    output: HashMap<String, String>,
    section: Option<String>,
}

impl Reader {
    /// Takes the next line; returns how many tests there were before it.
    pub fn line(&mut self, line: &str) -> usize {
        let before = self.cases.len();
        if let Some(test) = TEST.captures(line) {
            let detail = test.get(3).map_or("", |why| why.as_str());
            self.cases.push(Case {
                name: format!("{}{}", self.binary, &test[1]),
                outcome: match &test[2] {
                    "ok" => Outcome::Passed,
                    "ignored" => Outcome::Skipped,
                    _ => Outcome::Failed,
                },
                detail: detail.to_string(),
            });
        } else if let Some(binary) = BINARY.captures(line) {
            let path = &binary[1];
            // The library's own tests are named by their module alone.
            self.binary = match path.rsplit('/').next().unwrap_or(path) {
                "lib.rs" | "main.rs" => String::new(),
                name => format!("{}::", name.trim_end_matches(".rs")),
            };
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.section = Some(name.to_string());
        } else if line.starts_with("failures:") || line.starts_with("test result:") {
            self.section = None;
        } else if let Some(section) = &self.section {
            let output = self.output.entry(section.clone()).or_default();
            output.push_str(line);
            output.push('\n');
        }
        before
    }

    /// The tests so far.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The tests; those that failed with what they printed.
    pub fn finish(mut self) -> Vec<Case> {
        for case in &mut self.cases {
            if case.outcome == Outcome::Failed {
                let output = self
                    .output
                    .iter()
                    .find(|(name, _)| case.name.ends_with(name.as_str()));
                if let Some((_, output)) = output {
                    case.detail = output.clone();
                }
            }
        }
        self.cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_names_and_output() {
        let mut reader = Reader::default();
        for line in [
            "     Running unittests src/lib.rs (target/release/deps/simdsp-1)",
            "running 2 tests",
            "test wire::tests::round_trip ... ok",
            "test slow ... ignored, takes long",
            "     Running tests/guest.rs (target/release/deps/guest-1)",
            "test attach ... FAILED",
            "",
            "failures:",
            "",
            "---- attach stdout ----",
            "assertion failed: left == right",
            "",
            "failures:",
            "    attach",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored",
        ] {
            reader.line(line);
        }
        let cases = reader.finish();
        assert_eq!(cases[0], Case::passed("wire::tests::round_trip"));
        assert_eq!(cases[1].outcome, Outcome::Skipped);
        assert_eq!(cases[1].detail, "takes long");
        assert_eq!(cases[2].name, "guest::attach");
        assert!(cases[2].detail.contains("left == right"));
    }
}
