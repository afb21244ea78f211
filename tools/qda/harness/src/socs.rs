// SPDX-License-Identifier: GPL-2.0

//! Boots boards with the DSPs of every SoC that the kernel's own device trees have.

use crate::boot::Wish;
use crate::outcome::{self, Case, Summary};
use crate::report::Reporter;
use crate::suite::{Boot, Suite, What, SOC};
use crate::Paths;
use anyhow::{ensure, Context, Result};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;

/// What `socs.py` says of a board.
#[derive(Debug, PartialEq, Eq)]
struct Board {
    name: String,
    /// Arguments of the suite's script.
    dsps: String,
}

/// The lines of `socs.py`.
fn parse(list: &str) -> Result<Vec<Board>> {
    let board = |line: &str| {
        let (name, dsps) = line.split_once(' ').with_context(|| line.to_string())?;
        Ok(Board {
            name: name.to_string(),
            dsps: dsps.to_string(),
        })
    };
    list.lines().map(board).collect()
}

/// Makes the boards; the directory that they are in.
fn make(paths: &Paths, socs: &[String]) -> Result<(PathBuf, Vec<Board>)> {
    let directory = paths.build.join("socs");
    let script = paths.top.join("tools/qda/scripts/socs.py");
    let output = Command::new("python3")
        .arg(&script)
        .args([&paths.build.join("linux"), &directory])
        .args(socs)
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let boards = parse(&String::from_utf8(output.stdout)?)?;
    ensure!(!boards.is_empty(), "no SoC of this name");
    Ok((directory, boards))
}

/// Boots them all, or those of some SoCs.
///
/// # Errors
///
/// When the boards can't be made. A board that does not work is a failed test.
pub fn run(paths: &Paths, socs: &[String]) -> Result<bool> {
    let (directory, boards) = make(paths, socs)?;
    let suite = Suite {
        name: "socs",
        about: "the DSPs of the kernel's own device trees",
        what: What::Guest(&[]),
    };
    let mut report = Reporter::new(suite.name, suite.about, std::io::stdout().is_terminal());
    let mut cases: Vec<Case> = Vec::new();
    for board in &boards {
        let boot = Boot {
            // There are a few dozen, once.
            prefix: format!("{}: ", board.name).leak(),
            ..SOC
        };
        let wish = Wish {
            args: Some(vec![board.dsps.clone()]),
            board: Some(directory.join(format!("{}.dtsi", board.name))),
            console_log: Some(
                paths
                    .results()
                    .join(format!("socs.{}.console.log", board.name)),
            ),
            ..Wish::default()
        };
        cases.extend(crate::run_wish(paths, &boot, &wish, &mut report));
    }
    let dsps = boards.iter().map(|board| board.dsps.split('+').count());
    println!("{} boards with {} DSPs", boards.len(), dsps.sum::<usize>());
    let summary = Summary::of(suite.name, &cases, report.elapsed());
    outcome::write_tap(&paths.results(), suite.name, &cases, &[])?;
    report.end(&summary);
    Ok(summary.failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_script_says() {
        let boards = parse("sm8750 adsp+cdsp-14\ntalos cdsp+adsp\n").unwrap();
        assert_eq!(boards.len(), 2);
        assert_eq!(boards[0].name, "sm8750");
        assert_eq!(boards[0].dsps, "adsp+cdsp-14");
        assert!(parse("talos").is_err());
    }
}
