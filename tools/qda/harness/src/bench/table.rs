// SPDX-License-Identifier: GPL-2.0

//! The results as text.

use super::pairs;
use super::results::{spread, Counts, Measured, Results, Row};
use super::target::{Target, Verdict};
use std::fmt::Write as _;

const DRIVERS: [&str; 3] = ["floor", "fastrpc", "qda"];

/// A number with three significant digits or more, in seven places, or a dash.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value.abs() >= 9.999e6 => format!("{:.1}M", value / 1e6),
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
fn two(row: &Row, of: impl Fn(&Counts) -> f64) -> String {
    DRIVERS[1..]
        .iter()
        .map(|driver| {
            let counts = row.driver(driver).and_then(|m| m.counts.as_ref());
            let each = counts.map(|counts| of(counts) / counts.calls.max(1) as f64);
            format!(
                "{:>9}",
                each.map_or("-".to_string(), |each| format!("{each:.1}"))
            )
        })
        .collect()
}

/// Instructions of qda as a part of fastrpc's.
fn instructions(row: &Row) -> String {
    let of = |driver| row.driver(driver).and_then(Measured::instructions);
    let ratio = of("qda").zip(of("fastrpc")).map(|(qda, other)| qda / other);
    format!("{:>8}", number(ratio))
}

/// From where to where, if that is known.
fn interval(interval: Option<(f64, f64)>) -> String {
    let text = interval.map(|(low, high)| format!("({low:.2} to {high:.2})"));
    text.unwrap_or_default()
}

/// The ratio of wall times, pair by pair, and its interval.
fn ratios(row: &Row) -> String {
    let absent = row.drivers.iter().find(|(_, measured)| measured.absent);
    if let Some((driver, _)) = absent {
        return format!("  {driver} has no such thing");
    }
    match pairs::ratio(row, "qda", "fastrpc", |time| time.p50) {
        Some(ratio) => format!("  {:.2} {}", ratio.middle, interval(ratio.interval)),
        None => String::new(),
    }
}

/// The first lines of a table; `last` is its last kind of counts.
fn head(text: &mut String, what: &str, last: &str) {
    let title = |title: &str, width: usize| format!("{title:^width$}");
    let _ = writeln!(
        text,
        "{:24}{}{}{}{}   qda/ {}{}{}  wall p50,",
        "",
        title("wall p50, µs", 24),
        title("wall p99, µs", 24),
        title("CPU, µs", 24),
        title("instructions", 24),
        title("system calls", 18),
        title("allocations", 18),
        title(last, 18),
    );
    let _ = writeln!(
        text,
        "{what:24}{} fastrpc{}  qda/fastrpc",
        "   floor fastrpc     qda".repeat(4),
        "  fastrpc      qda".repeat(3),
    );
}

/// A line of a table.
fn line(text: &mut String, row: &Row, last: impl Fn(&Counts) -> f64) {
    let _ = writeln!(
        text,
        "{:24}{}{}{}{}{}{}{}{}{}",
        row.name,
        three(row, Measured::p50),
        three(row, Measured::p99),
        three(row, Measured::cpu),
        three(row, Measured::instructions),
        instructions(row),
        two(row, |counts| counts.syscalls as f64),
        two(row, |counts| counts.allocs as f64),
        two(row, last),
        ratios(row)
    );
}

/// The rows.
pub fn rows(results: &Results) -> String {
    let mut text = String::new();
    let is_call = |row: &&Row| {
        let other = |m: &Measured| !m.memory.is_empty() || m.entries.is_some();
        !row.drivers.values().any(other)
    };
    let of = |incoherent| {
        let rows = results.rows.iter().filter(is_call);
        rows.filter(move |row| row.incoherent == incoherent)
    };
    head(&mut text, "a call of", "DMA maps");
    for row in of(false) {
        line(&mut text, row, |counts| {
            (counts.maps + counts.unmaps) as f64
        });
    }
    if of(true).next().is_some() {
        let _ = writeln!(text, "\nwhere the DSP does not see the caches of the CPU");
        head(&mut text, "a call with 1 MiB", "KiB synced");
        for row in of(true) {
            line(&mut text, row, |counts| counts.synced as f64 / 1024.0);
        }
    }
    let _ = writeln!(text, "\n{:24}{:>24}", "throughput", "calls a second");
    for row in results
        .rows
        .iter()
        .filter(|row| row.name.starts_with("threads"))
    {
        let _ = writeln!(text, "{:24}{}", row.name, three(row, Measured::rate));
    }
    let _ = writeln!(text, "\n{:24}{:>24}", "memory", "KiB");
    for row in &results.rows {
        let kib = |m: &Measured| Some(m.memory()? / 1024.0);
        if row.drivers.values().any(|m| !m.memory.is_empty()) {
            let _ = writeln!(text, "{:24}{}", row.name, three(row, kib));
        }
    }
    let _ = writeln!(text, "\n{:24}{:>24}", "the IOMMU's tables", "entries");
    for row in &results.rows {
        let entries = |m: &Measured| Some(m.entries? as f64);
        if row.drivers.values().any(|m| m.entries.is_some()) {
            let _ = writeln!(text, "{:24}{}", row.name, three(row, entries));
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
                    "{:24} {driver:8} {:>9.0} instructions a call, spread {:.2} % over {} runs; \
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

/// The profiles that there are: of each row and driver, functions by how much is done in them.
pub fn profiles(results: &Results) -> String {
    let mut text = String::new();
    for row in &results.rows {
        for (driver, measured) in &row.drivers {
            if measured.profile.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}, {driver}", row.name);
            for function in &measured.profile {
                let (all, own) = (100.0 * function.all, 100.0 * function.own);
                let _ = writeln!(text, "  {all:5.1} % {own:5.1} %  {}", function.name);
            }
            text.push('\n');
        }
    }
    text
}

/// The targets.
pub fn targets(list: &[Target]) -> String {
    let mut text = String::new();
    for target in list {
        let verdict = match (target.verdict, target.value) {
            (Verdict::Met, _) => "met",
            (Verdict::Within, _) => "within the interval",
            (Verdict::Missed, _) => "MISSED",
            (Verdict::Unknown, Some(_)) => "TOO FEW PAIRS",
            (Verdict::Unknown, None) => "NOT MEASURED",
        };
        let _ = writeln!(
            text,
            "{:66} {:>8} {:>8} {:16}  {verdict}",
            target.what,
            target.limit,
            number(target.value),
            interval(target.interval),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit() {
        let text = |value| number(Some(value));
        assert_eq!(number(None), "-");
        assert_eq!(
            [text(1.234), text(12.34), text(123.4)],
            ["1.23", "12.3", "123"]
        );
        assert_eq!([text(1234567.0), text(171034795.0)], ["1234567", "171.0M"]);
        for value in [0.0, 9_999_999.0, 10_000_000.0, 99_999_999.0, 4.2e9, -3464.0] {
            assert!(text(value).len() <= 7, "{}", text(value));
        }
    }

    #[test]
    fn each_kind_of_row_has_its_table() {
        let mut results = Results::default();
        let count = "syscalls=4 allocs=0 maps=2 unmaps=2 iommu_maps=0 iommu_unmaps=0 own_allocs=0 \
                     own_maps=0 synced=4194304";
        for line in [
            "instructions row=noop driver=fastrpc round=0 calls=1 each=400 switches=2",
            "instructions row=noop driver=qda round=0 calls=1 each=100 switches=2",
            "absent row=in-flight-32 driver=fastrpc",
            "time row=in-flight-32 driver=qda round=0 calls=1 p50=1 p99=1 cpu=1 rate=1 late=0",
            "memory row=idle-session driver=qda round=0 bytes=2048",
            "entries row=entries-64 driver=qda count=32",
            &format!("count row=noop driver=qda calls=4 {count}"),
        ] {
            results.line(line).unwrap();
        }
        let coherent = rows(&results);
        assert!(!coherent.contains("synced"));
        results.incoherent = true;
        let line = format!("count row=cached-in driver=qda calls=4 {count}");
        results.line(&line).unwrap();
        let text = rows(&results);
        let line = |name: &str| {
            let found = text.lines().find(|line| line.starts_with(name)).unwrap();
            found.split_whitespace().collect::<Vec<_>>()
        };
        let noop = line("noop");
        assert_eq!(noop[10..14], ["-", "400", "100", "0.25"]);
        assert_eq!(noop.last(), Some(&"1.0"));
        assert_eq!(line("cached-in").last(), Some(&"1024.0"));
        assert!(line("in-flight-32").ends_with(&["has", "no", "such", "thing"]));
        assert_eq!(line("idle-session"), ["idle-session", "-", "-", "2.00"]);
        assert_eq!(line("entries-64"), ["entries-64", "-", "-", "32.0"]);
    }
}
