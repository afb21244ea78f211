// SPDX-License-Identifier: GPL-2.0

//! What a driver came to in one boot, in a word or two.

use crate::collect::News;
use crate::outcome::{Case, Outcome};
use regex::Regex;
use std::sync::LazyLock;

/// The outcome of a boot in which no test had a result.
const DID_NOT_RUN: &str = "did not run";

/// Outcomes of tests that could not do what they are about; what else came out says nothing then.
const NOT_TRIED: [&str; 3] = [DID_NOT_RUN, "not provoked", "skipped"];

/// What a message of the kernel's complaints says, the first that fits.
const COMPLAINTS: &[(&str, &str)] = &[
    ("refcount_t: underflow", "reference underflow"),
    ("refcount_t: ", "reference count"),
    ("list_add corruption", "list corruption"),
    ("list_del corruption", "list corruption"),
    ("NULL pointer dereference", "oops: NULL pointer"),
    ("Unable to handle kernel", "oops"),
    ("Oops", "oops"),
    ("blocked for more than", "hang"),
    ("stall", "hang"),
    ("circular locking", "deadlock"),
    ("recursive locking", "deadlock"),
    ("possible deadlock", "deadlock"),
    ("WARNING:", "warning"),
    ("Kernel panic", "panic"),
];

static KASAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"KASAN: ([a-z-]+)").unwrap());

/// Collects what happens in a boot.
#[derive(Debug, Default)]
pub struct Verdict {
    words: Vec<String>,
    passed: usize,
    details: Vec<String>,
}

impl Verdict {
    /// Takes what a line of the console brought.
    pub fn see(&mut self, news: &News) {
        if let Some(word) = news
            .output
            .as_deref()
            .and_then(|line| line.strip_prefix("# outcome: "))
        {
            self.add(word);
        }
        if news.ended == Some(None) {
            self.add("hang");
        }
        self.cases(&news.cases);
    }

    /// Takes tests that have a result.
    pub fn cases(&mut self, cases: &[Case]) {
        for case in cases {
            match case.outcome {
                Outcome::Passed => self.passed += 1,
                Outcome::Skipped => self.add("skipped"),
                Outcome::Failed => {
                    self.details.push(format!("{}: {}", case.name, case.detail));
                    match case.name.as_str() {
                        "the kernel complains" => self.add(&complaint(&case.detail)),
                        name if name.ends_with("is content") => self.add("protocol violated"),
                        "the guest" if case.detail.starts_with("no end") => self.add("hang"),
                        _ => {}
                    }
                }
            }
        }
    }

    fn add(&mut self, word: &str) {
        if !self.words.iter().any(|known| known == word) {
            self.words.push(word.to_string());
        }
    }

    /// The outcome: "ok", or all that was wrong.
    pub fn outcome(&self) -> String {
        match (self.words.is_empty(), self.details.is_empty(), self.passed) {
            (true, true, 0) => DID_NOT_RUN.to_string(),
            (true, true, _) => "ok".to_string(),
            (true, false, _) => "failed".to_string(),
            (false, ..) => self.words.join(", "),
        }
    }

    /// Whether it tells anything of the driver.
    pub fn is_tried(&self) -> bool {
        let outcome = self.outcome();
        !outcome.split(", ").any(|word| NOT_TRIED.contains(&word))
    }

    /// Why it is not "ok".
    pub fn details(&self) -> &[String] {
        &self.details
    }
}

/// The class of a complaint of the kernel.
fn complaint(message: &str) -> String {
    if let Some(found) = KASAN.captures(message) {
        return format!("KASAN: {}", &found[1]);
    }
    let fits = |(part, _): &&(&str, &str)| message.contains(part);
    let found = COMPLAINTS.iter().find(fits);
    found
        .map_or("kernel complaint", |(_, word)| word)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(news: &[News]) -> String {
        let mut verdict = Verdict::default();
        news.iter().for_each(|news| verdict.see(news));
        verdict.outcome()
    }

    fn result(case: Case) -> News {
        News {
            cases: vec![case],
            ..News::default()
        }
    }

    fn line(text: &str) -> News {
        News {
            output: Some(text.to_string()),
            ..News::default()
        }
    }

    #[test]
    fn all_that_was_wrong() {
        let good = result(Case::passed("catalogue: P1.x"));
        let bad = result(Case::failed("catalogue: P1.x", ""));
        let splat = |text| result(Case::failed("the kernel complains", text));
        assert_eq!(verdict(&[]), "did not run");
        assert_eq!(verdict(std::slice::from_ref(&good)), "ok");
        assert_eq!(verdict(std::slice::from_ref(&bad)), "failed");
        assert_eq!(
            verdict(&[line("# outcome: leak"), line("# outcome: leak"), bad]),
            "leak"
        );
        assert_eq!(
            verdict(&[
                splat("BUG: KASAN: slab-use-after-free in fastrpc_x+0x1/0x2"),
                line("# outcome: wrong errno"),
            ]),
            "KASAN: slab-use-after-free, wrong errno"
        );
        assert_eq!(
            verdict(&[splat(
                "Unable to handle kernel paging request at virtual address 2000000"
            )]),
            "oops"
        );
        let late = News {
            ended: Some(None),
            ..News::default()
        };
        assert_eq!(verdict(&[late, good]), "hang");
    }

    #[test]
    fn a_boot_that_says_nothing() {
        let is_tried = |news: &[News]| {
            let mut verdict = Verdict::default();
            news.iter().for_each(|news| verdict.see(news));
            verdict.is_tried()
        };
        let good = result(Case::passed("catalogue: P1.x"));
        let bad = result(Case::failed("catalogue: P1.x", ""));
        assert!(!is_tried(&[]));
        assert!(is_tried(std::slice::from_ref(&good)));
        assert!(is_tried(std::slice::from_ref(&bad)));
        assert!(is_tried(&[line("# outcome: leak"), bad]));
        let void = [line("# outcome: leak"), line("# outcome: not provoked")];
        assert!(!is_tried(&void));
    }
}
