// SPDX-License-Identifier: GPL-2.0

//! The table of the client programs: how each did on each driver.

use crate::outcome::{Case, Outcome};

/// Drivers, as the boots of the suite are prefixed.
const DRIVERS: &[&str] = &["fastrpc.ko", "qda"];

/// Package that a program comes from.
fn package(program: &str) -> &str {
    match program {
        "hexagonrpcd" | "libfastrpc1" => program,
        _ => "fastrpc-support",
    }
}

/// Driver, program and test of a case named `<driver>: <file>: <program>.<test>`.
fn parts(case: &Case) -> Option<(&str, &str, &str)> {
    let (driver, rest) = case.name.split_once(": ")?;
    let (_, name) = rest.rsplit_once(": ")?;
    let (program, test) = name.split_once('.')?;
    DRIVERS.contains(&driver).then_some((driver, program, test))
}

/// The table, a line for each test. `versions` are lines of package and version.
pub fn table(cases: &[Case], versions: &[String]) -> Vec<String> {
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for (_, program, test) in cases.iter().filter_map(parts) {
        if !rows.contains(&(program, test)) {
            rows.push((program, test));
        }
    }
    let ran = |driver| cases.iter().filter_map(parts).any(|(on, ..)| on == driver);
    let drivers: Vec<_> = DRIVERS.iter().filter(|driver| ran(**driver)).collect();
    let version = |program| {
        let of = |line: &String| {
            let (name, version) = line.split_once(' ')?;
            (name == package(program)).then(|| version.to_string())
        };
        versions.iter().find_map(of).unwrap_or("?".to_string())
    };
    let line = |program: &str, version: &str, test: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<12}")).collect();
        format!("{program:<18}{version:<14}{test:<30}{cells}")
            .trim_end()
            .to_string()
    };
    let heads = drivers.iter().map(|driver| **driver).collect();
    let mut lines = vec![line("program", "version", "test", heads)];
    for (program, test) in rows {
        let cell = |driver: &str| {
            let here = |case: &&Case| parts(case) == Some((driver, program, test));
            match cases.iter().find(here).map(|case| case.outcome) {
                Some(Outcome::Passed) => "pass",
                Some(Outcome::Failed) => "FAIL",
                Some(Outcome::Skipped) => "skip",
                None => "-",
            }
        };
        let cells = drivers.iter().map(|driver| cell(driver)).collect();
        let title = program.replace('_', " ");
        lines.push(line(&title, &version(program), test, cells));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_test_and_a_column_for_each_driver() {
        let cases = [
            Case::passed("fastrpc.ko: clients_daemons: adsprpcd_audiopd.listens"),
            Case::passed("fastrpc.ko: clients_libfastrpc: libfastrpc1.calculates"),
            Case::failed("fastrpc.ko: the guest", "it ended"),
            Case::failed("qda: clients_daemons: adsprpcd_audiopd.listens", ""),
        ];
        let versions = ["fastrpc-support 1.0-1".into(), "libfastrpc1 2.0".into()];
        let table = table(&cases, &versions);
        let words: Vec<Vec<_>> = table
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words,
            [
                vec!["program", "version", "test", "fastrpc.ko", "qda"],
                vec!["adsprpcd", "audiopd", "1.0-1", "listens", "pass", "FAIL"],
                vec!["libfastrpc1", "2.0", "calculates", "pass", "-"],
            ]
        );
    }
}
