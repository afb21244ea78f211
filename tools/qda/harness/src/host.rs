// SPDX-License-Identifier: GPL-2.0

//! Runs a suite of `cargo test`.

use crate::cargo::Reader;
use crate::outcome::Case;
use crate::report::Reporter;
use crate::Paths;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Runs `cargo test` with `args` and returns its tests.
///
/// # Errors
///
/// When cargo cannot be started, or its log not be written. Tests that do not compile are a
/// failed test, not an error.
pub fn run(paths: &Paths, suite: &str, args: &[&str], report: &mut Reporter) -> Result<Vec<Case>> {
    let log_path = paths.results().join(format!("{suite}.log"));
    let mut log =
        File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;
    report.step(&format!("cargo test {}", args.join(" ")));
    // One stream, so that the names of the test programs stand before their tests.
    let mut child = Command::new("sh")
        .args(["-c", r#"exec cargo test "$@" 2>&1"#, "cargo"])
        .args(["--release", "--locked", "--no-fail-fast"])
        .arg("--manifest-path")
        .arg(paths.top.join("tools/qda/Cargo.toml"))
        .args(args)
        .env("CARGO_TERM_COLOR", "never")
        .env(
            "CARGO_TARGET_DIR",
            std::path::absolute(paths.build.join("cargo"))?,
        )
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo test")?;
    let output = child.stdout.take().context("output of cargo test")?;
    let mut reader = Reader::default();
    let mut tail: Vec<String> = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(log, "{line}")?;
        let before = reader.line(&line);
        for case in &reader.cases()[before..] {
            report.case(case);
        }
        tail.push(line);
        if tail.len() > 40 {
            tail.remove(0);
        }
    }
    let status = child.wait()?;
    let mut cases = reader.finish();
    let failed = |case: &Case| case.outcome == crate::outcome::Outcome::Failed;
    if !status.success() && !cases.iter().any(failed) {
        let case = Case::failed("cargo test", format!("{status}\n{}", tail.join("\n")));
        report.case(&case);
        cases.push(case);
    }
    Ok(cases)
}
