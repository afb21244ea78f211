// SPDX-License-Identifier: GPL-2.0

//! Boots with a planted mistake: the kernel has to report it, and the report has to fail the boot.

use crate::outcome::{Case, Outcome};

/// What such a boot has come to so far.
pub struct Canary {
    prefix: &'static str,
    /// What has to be said and was not yet.
    missing: Vec<&'static str>,
    wanted: &'static [&'static str],
}

impl Canary {
    /// A boot in which each of `wanted` has to be said by a failure.
    pub fn new(prefix: &'static str, wanted: &'static [&'static str]) -> Self {
        Self {
            prefix,
            missing: wanted.to_vec(),
            wanted,
        }
    }

    /// Whether this is a failure that is wanted. Others count as in any boot.
    pub fn is_it(&mut self, case: &Case) -> bool {
        let says = |text: &str| {
            case.outcome == Outcome::Failed
                && (case.name.contains(text) || case.detail.contains(text))
        };
        self.missing.retain(|text| !says(text));
        self.wanted.iter().any(|text| says(text))
    }

    /// Ends the boot: it is good if all was said.
    pub fn end(self) -> Case {
        let name = format!("{}it is reported", self.prefix);
        match self.missing.first() {
            None => Case::passed(name),
            Some(text) => Case::failed(name, format!("nobody said \"{text}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_report_is_good() {
        let mut canary = Canary::new("leak: ", &["1 new suspected", "planted"]);
        assert!(!canary.is_it(&Case::passed("1 new suspected")));
        assert!(!canary.is_it(&Case::failed("the kernel complains", "BUG: KASAN: ...")));
        let complaint = "kmemleak: 1 new suspected memory leaks";
        assert!(canary.is_it(&Case::failed("the kernel complains", complaint)));
        assert!(canary.is_it(&Case::failed("the kernel complains", complaint)));
        assert!(canary.is_it(&Case::failed("kmemleak", "planted+0x1/0x2")));
        assert_eq!(canary.end(), Case::passed("leak: it is reported"));
    }

    #[test]
    fn half_of_it_is_a_failure() {
        let mut canary = Canary::new("", &["UBSAN", "planted"]);
        canary.is_it(&Case::failed("the kernel complains", "UBSAN: shift"));
        assert_eq!(canary.end().outcome, Outcome::Failed);
    }
}
