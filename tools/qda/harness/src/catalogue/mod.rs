// SPDX-License-Identifier: GPL-2.0

//! The catalogue of bugs, tried on both drivers, and the table of what came out.

mod rows;
mod verdict;

use crate::boot::{self, Wish};
use crate::debug;
use crate::suite::{self, Boot};
use crate::Paths;
use anyhow::{bail, Context, Result};
use rows::{How, Row, Test, ROWS};
use simdsp::strict::Profile;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;
use verdict::Verdict;

/// A driver that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// The kernel's own.
    Fastrpc,
    /// The new one.
    Qda,
}

impl Driver {
    /// Name of its module.
    fn module(self) -> &'static str {
        match self {
            Self::Fastrpc => "fastrpc",
            Self::Qda => "qda",
        }
    }

    fn profile(self) -> Profile {
        match self {
            Self::Fastrpc => Profile::Fastrpc,
            Self::Qda => Profile::Qda,
        }
    }
}

/// A row, and what came out: on the kernel's own driver, and on the new one.
struct Tried {
    row: &'static Row,
    fastrpc: String,
    qda: String,
    /// Drivers of which nothing came out.
    untried: usize,
}

impl Tried {
    /// Whether the new driver fails it.
    fn is_not_ok(&self) -> bool {
        matches!(self.row.how, How::Test(_)) && self.qda != "ok"
    }

    /// Whether something is wrong: with the new driver, or with the test on either.
    fn is_bad(&self) -> bool {
        self.is_not_ok() || self.untried != 0
    }
}

/// What the table says of the kernel's own driver.
fn upstream(row: &Row, outcome: String) -> String {
    match (outcome.as_str(), row.fixed) {
        ("ok", true) => "ok, fixed".to_string(),
        // The report is open, but the simulated DSP and its clients don't bring it about.
        ("ok", false) => "not reproduced".to_string(),
        _ => outcome,
    }
}

/// Boots for one row on one driver.
fn try_on(paths: &Paths, row: &Row, test: &Test, driver: Driver) -> Result<Verdict> {
    let boot = Boot {
        kernel: test.kernel,
        board: test.board,
        profile: driver.profile(),
        limit: match test.kernel {
            debug::KERNEL => debug::SLOWER * suite::CATALOGUE.limit,
            _ => suite::CATALOGUE.limit,
        },
        ..suite::CATALOGUE
    };
    let mut args = vec![driver.module().to_string()];
    match test.program {
        [] => args.push(row.id.to_string()),
        program => args.extend(program.iter().map(ToString::to_string)),
    }
    let dir = paths.results().join("catalogue");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let log = dir.join(format!("{}.{}.console.log", row.id, driver.module()));
    let wish = Wish {
        args: Some(args),
        console_log: Some(log),
        ..Wish::default()
    };
    let mut verdict = Verdict::default();
    let ended = boot::run(paths, &boot, &wish, &mut |_, mut news| {
        // What else the upstream driver leaks is not what the row is about.
        let counts = |name: &str| driver == Driver::Qda || !name.starts_with("kmemleak");
        news.cases.retain(|case| counts(&case.name));
        verdict.see(&news);
    })?;
    verdict.cases(&ended.cases);
    Ok(verdict)
}

/// Tries one row on the drivers that it is for.
fn try_row(paths: &Paths, row: &'static Row) -> Result<Tried> {
    let mut result = Tried {
        row,
        fastrpc: String::new(),
        qda: String::new(),
        untried: 0,
    };
    let How::Test(test) = &row.how else {
        return Ok(result);
    };
    for driver in [Driver::Fastrpc, Driver::Qda] {
        if driver == Driver::Fastrpc && !row.is_published() {
            continue;
        }
        let start = Instant::now();
        // What keeps QEMU from starting, on a busy machine, may be over soon.
        let verdict = try_on(paths, row, test, driver).or_else(|error| {
            println!("{:4} {:10} once more: {error:#}", row.id, driver.module());
            try_on(paths, row, test, driver)
        })?;
        let outcome = verdict.outcome();
        result.untried += usize::from(!verdict.is_tried());
        println!(
            "{:4} {:10} {} ({:.0} s)",
            row.id,
            driver.module(),
            outcome,
            start.elapsed().as_secs_f64()
        );
        match driver {
            Driver::Fastrpc => result.fastrpc = upstream(row, outcome),
            Driver::Qda => {
                for line in verdict.details().iter().flat_map(|text| text.lines()) {
                    println!("     {line}");
                }
                result.qda = outcome;
            }
        }
    }
    Ok(result)
}

/// The table: a line for each row.
fn table(results: &[Tried]) -> String {
    let width = |of: fn(&Tried) -> usize, head: &str| {
        let longest = results.iter().map(of).max().unwrap_or(0);
        longest.max(head.len()) + 2
    };
    let class = width(|result| result.row.class.len(), "class of bug");
    let source = width(|result| result.row.source.len(), "published as");
    let fastrpc = width(|result| result.fastrpc.len(), "fastrpc.ko");
    let mut text = String::new();
    let mut line = |id: &str, what: &str, by: &str, theirs: &str, ours: &str| {
        let line = format!("{id:5}{what:class$}{by:source$}{theirs:fastrpc$}{ours}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line("row", "class of bug", "published as", "fastrpc.ko", "qda");
    for Tried {
        row, fastrpc, qda, ..
    } in results
    {
        match row.how {
            How::Test(_) => line(row.id, row.class, row.source, fastrpc, qda),
            How::Not(why) => {
                line(row.id, row.class, row.source, "-", "-");
                line("", &format!("not provoked: {why}"), "", "", "");
            }
        }
    }
    text
}

/// How many of the published or observed rows are provoked, in words.
fn counts(results: &[Tried], published: bool) -> String {
    let kind = || {
        results
            .iter()
            .filter(move |r| r.row.is_published() == published)
    };
    let tried = kind().filter(|r| matches!(r.row.how, How::Test(_))).count();
    format!("{tried} of {}", kind().count())
}

/// The rows of these names; all of them when there is none.
fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    for name in names {
        if !ROWS.iter().any(|row| row.id == name) {
            bail!("no row {name}; there are P1 to P27 and O1 to O21");
        }
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.id);
    Ok(ROWS.iter().filter(wanted).collect())
}

/// Prints which kernels rows boot, a line each.
///
/// # Errors
///
/// There is no such row.
pub fn kernels(names: &[String]) -> Result<bool> {
    let kernel = |row: &Row| match row.how {
        How::Test(test) => Some(test.kernel),
        How::Not(_) => None,
    };
    let kernels: BTreeSet<_> = chosen(names)?.into_iter().filter_map(kernel).collect();
    for kernel in kernels {
        println!("{kernel}");
    }
    Ok(true)
}

/// Tries rows on both drivers and prints the table. Whether all is well on the new driver, and each
/// test says something of the drivers that it is for.
///
/// # Errors
///
/// There is no such row, or the machine does not start.
pub fn run(paths: &Paths, names: &[String]) -> Result<bool> {
    let mut results = Vec::new();
    for row in chosen(names)? {
        results.push(try_row(paths, row)?);
    }
    let table = table(&results);
    let file = paths.results().join("catalogue.txt");
    fs::write(&file, &table).with_context(|| format!("writing {}", file.display()))?;
    println!("\n{table}");
    println!(
        "{} published and {} observed entries provoked",
        counts(&results, true),
        counts(&results, false)
    );
    let untried: usize = results.iter().map(|result| result.untried).sum();
    let not_ok = results.iter().filter(|result| result.is_not_ok()).count();
    println!(
        "qda: {not_ok} not ok; boots that say nothing: {untried}; the table is in {}",
        file.display()
    );
    Ok(!results.iter().any(Tried::is_bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{What, SUITES};

    #[test]
    fn rows_are_numbered_and_mostly_provoked() {
        for (kind, count, least) in [('P', 27, 20), ('O', 21, 15)] {
            let rows: Vec<_> = ROWS.iter().filter(|r| r.id.starts_with(kind)).collect();
            let names: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
            let wanted: Vec<_> = (1..=count).map(|n| format!("{kind}{n}")).collect();
            assert_eq!(names, wanted);
            let tests = rows.iter().filter(|r| matches!(r.how, How::Test(_)));
            assert!(tests.count() >= least);
        }
    }

    #[test]
    fn make_test_has_all_rows_with_a_test_of_their_own() {
        let suite = SUITES.iter().find(|suite| suite.name == "catalogue");
        let What::Guest(boots) = suite.unwrap().what else {
            panic!("no suite of boots");
        };
        for row in ROWS {
            let How::Test(test) = row.how else { continue };
            let has = |boot: &&Boot| boot.board == test.board && boot.args.contains(&row.id);
            let count = boots.iter().filter(has).count();
            assert_eq!(count, usize::from(test.program.is_empty()), "{}", row.id);
        }
    }

    #[test]
    fn what_upstream_comes_to() {
        let row = |id| ROWS.iter().find(|row| row.id == id).unwrap();
        let (fixed, open) = (row("P1"), row("P4"));
        assert_eq!(upstream(fixed, "ok".to_string()), "ok, fixed");
        assert_eq!(upstream(open, "ok".to_string()), "not reproduced");
        assert_eq!(upstream(open, "oops".to_string()), "oops");
        let mut tried = Tried {
            row: open,
            fastrpc: "oops".to_string(),
            qda: "ok".to_string(),
            untried: 0,
        };
        assert!(!tried.is_bad());
        tried.untried = 1;
        assert!(tried.is_bad());
        (tried.untried, tried.qda) = (0, "leak".to_string());
        assert!(tried.is_bad());
        tried.row = row("P18");
        assert!(!tried.is_bad());
    }

    #[test]
    fn the_table_has_every_row() {
        let results: Vec<_> = ROWS
            .iter()
            .map(|row| Tried {
                row,
                fastrpc: "ok, fixed".to_string(),
                qda: "ok".to_string(),
                untried: 0,
            })
            .collect();
        let table = table(&results);
        for row in ROWS {
            let found = table
                .lines()
                .find(|line| line.starts_with(&format!("{} ", row.id)));
            assert!(found.unwrap().contains(row.class));
        }
        assert_eq!(counts(&results, false), "20 of 21");
    }
}
