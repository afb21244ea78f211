// SPDX-License-Identifier: GPL-2.0

//! The results as text.

use super::results::{spread, Measured, Results, Row};
use super::target::{Target, Verdict};
use std::fmt::Write as _;

const DRIVERS: [&str; 3] = ["floor", "fastrpc", "qda"];

/// A number with three significant digits, or a dash.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// One quantity of a row for each driver.
fn three(row: &Row, of: impl Fn(&Measured) -> Option<f64>) -> String {
    DRIVERS
        .iter()
        .map(|driver| format!("{:>8}", number(row.driver(driver).and_then(&of))))
        .collect()
}

/// A count for each call, of the two drivers.
fn two(row: &Row, of: impl Fn(&super::results::Counts) -> i64) -> String {
    DRIVERS[1..]
        .iter()
        .map(|driver| {
            let counts = row.driver(driver).and_then(|m| m.counts.as_ref());
            let each = counts.map(|counts| counts.each(of(counts)));
            format!(
                "{:>9}",
                each.map_or("-".to_string(), |each| format!("{each:.1}"))
            )
        })
        .collect()
}

/// The ratio of wall times, round by round: its middle, its least and its most.
fn ratios(row: &Row) -> String {
    let (Some(qda), Some(fastrpc)) = (row.driver("qda"), row.driver("fastrpc")) else {
        return match row.drivers.iter().find(|(_, measured)| measured.absent) {
            Some((driver, _)) => format!("  {driver} has no such thing"),
            None => String::new(),
        };
    };
    let rounds = qda.times.iter().zip(&fastrpc.times);
    let list: Vec<_> = rounds.map(|(q, f)| q.p50 / f.p50).collect();
    let Some(middle) = super::results::median(list.clone()) else {
        return String::new();
    };
    let low = list.iter().copied().fold(f64::INFINITY, f64::min);
    let high = list.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("  {middle:.2} ({low:.2} to {high:.2})")
}

/// The rows.
pub fn rows(results: &Results) -> String {
    let mut text = String::new();
    let head = |title: &str, width: usize| format!("{title:^width$}");
    let _ = writeln!(
        text,
        "{:20}{}{}{}{}{}{}{}  wall p50,",
        "",
        head("wall p50, µs", 24),
        head("wall p99, µs", 24),
        head("CPU, µs", 24),
        head("instructions", 24),
        head("system calls", 18),
        head("allocations", 18),
        head("DMA maps", 18),
    );
    let drivers = "   floor fastrpc     qda";
    let _ = writeln!(
        text,
        "{:20}{}{}  qda/fastrpc",
        "a call of",
        drivers.repeat(4),
        "  fastrpc      qda".repeat(3),
    );
    for row in &results.rows {
        if row.drivers.values().all(|m| !m.memory.is_empty()) {
            continue;
        }
        let _ = writeln!(
            text,
            "{:20}{}{}{}{}{}{}{}{}",
            row.name,
            three(row, Measured::p50),
            three(row, Measured::p99),
            three(row, Measured::cpu),
            three(row, Measured::instructions),
            two(row, |counts| counts.syscalls),
            two(row, |counts| counts.allocs),
            two(row, |counts| counts.maps + counts.unmaps),
            ratios(row)
        );
    }
    let _ = writeln!(text, "\n{:20}{:>24}", "throughput", "calls a second");
    for row in results
        .rows
        .iter()
        .filter(|row| row.name.starts_with("threads"))
    {
        let _ = writeln!(text, "{:20}{}", row.name, three(row, Measured::rate));
    }
    let _ = writeln!(text, "\n{:20}{:>24}", "memory", "KiB");
    for row in &results.rows {
        let kib = |m: &Measured| Some(m.memory()? / 1024.0);
        if row.drivers.values().any(|m| !m.memory.is_empty()) {
            let _ = writeln!(text, "{:20}{}", row.name, three(row, kib));
        }
    }
    text
}

/// The spread of the counted instructions of each row, and the switches between threads, whose
/// number is what makes the spread.
pub fn spreads(results: &Results) -> String {
    let mut text = String::new();
    for row in &results.rows {
        for (driver, measured) in &row.drivers {
            if let (Some(spread), true) = (
                spread(&measured.instructions),
                measured.instructions.len() > 1,
            ) {
                let _ = writeln!(
                    text,
                    "{:20} {driver:8} {:>9.0} instructions a call, spread {:.2} % over {} runs; \
                     {:.2} switches",
                    row.name,
                    measured.instructions().unwrap_or_default(),
                    spread * 100.0,
                    measured.instructions.len(),
                    measured.switches().unwrap_or_default()
                );
            }
        }
    }
    text
}

/// The targets.
pub fn targets(list: &[Target]) -> String {
    let mut text = String::new();
    for target in list {
        let verdict = match target.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Unknown => "NOT MEASURED",
        };
        let _ = writeln!(
            text,
            "{:66} {:>8} {:>8}  {verdict}",
            target.what,
            target.limit,
            number(target.value)
        );
    }
    text
}
