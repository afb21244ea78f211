// SPDX-License-Identifier: GPL-2.0

//! The benchmark: boots the guest twice, once for times and once for counts of instructions, and
//! makes a table, a file and drawings of what its program prints.

mod plot;
mod results;
mod table;
mod target;

use crate::boot::{self, Wish};
use crate::outcome::Outcome;
use crate::suite::{Boot, BENCH};
use crate::Paths;
use anyhow::{Context, Result};
use results::Results;
use std::fs;
use std::process::Command;
use target::Verdict;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Times,
    Instructions,
}

/// What is asked of a benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Rounds of each row; the drivers take turns in each.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Milliseconds that a driver has in a round.
    #[arg(long, default_value_t = 250)]
    ms: u32,
    /// Runs in which instructions are counted.
    #[arg(long, default_value_t = 10)]
    runs: u32,
    /// Calls of each run.
    #[arg(long, default_value_t = 200)]
    calls: u32,
    /// Nanoseconds that the simulated DSP takes for a call.
    #[arg(long, default_value_t = 5000)]
    service: u32,
    /// The same while instructions are counted: long enough for the guest to have gone idle.
    #[arg(long, default_value_t = 500_000)]
    idle_service: u32,
    /// How the names of the rows begin that are wanted, with + between; all without.
    #[arg(long, default_value = "")]
    rows: String,
    /// Only times, or only instructions.
    #[arg(long)]
    only: Option<Part>,
    /// Configuration of the kernel.
    #[arg(long, default_value = "bench")]
    kernel: String,
}

/// The first line that a command prints, or nothing.
fn line_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or_default().to_string()
}

/// One boot: hands its lines to `results`.
fn part(paths: &Paths, results: &mut Results, boot: &Boot, wish: Wish) -> Result<()> {
    let mut bad = Vec::new();
    let mut last = String::new();
    let ended = boot::run(paths, boot, &wish, &mut |_, news| {
        if let Some(line) = news.output {
            if let Err(error) = results.line(&line) {
                bad.push(format!("{line}: {error:#}"));
            }
            let row = line.split(' ').find(|word| word.starts_with("row="));
            if let Some(row) = row.filter(|row| *row != last) {
                last = row.to_string();
                println!("   {}", &row[4..]);
            }
        }
        bad.extend(failures(news.cases));
    })?;
    bad.extend(failures(ended.cases));
    results.wrong.extend(bad);
    Ok(())
}

fn failures(cases: Vec<crate::outcome::Case>) -> Vec<String> {
    let failed = cases.into_iter().filter(|c| c.outcome == Outcome::Failed);
    failed
        .map(|c| format!("{}: {}", c.name, c.detail))
        .collect()
}

/// Runs the benchmark. Whether all targets are met.
///
/// # Errors
///
/// When the machine does not start, or results cannot be written.
pub fn run(paths: &Paths, options: &Options) -> Result<bool> {
    let dir = paths.results();
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    // The link's thread has a CPU of its own.
    let cpus = host.saturating_sub(1).clamp(1, 4) as u32;
    let mut results = Results {
        date: line_of("date", &["-u", "+%Y-%m-%d"]),
        command: "make bench".to_string(),
        setting: format!(
            "{}; {cpus} of the host's {host} CPUs ({}); service time of the DSP {} µs",
            line_of("qemu-system-aarch64", &["--version"]),
            cpu_name(),
            f64::from(options.service) / 1000.0,
        ),
        ..Results::default()
    };
    let boot = Boot {
        kernel: Box::leak(options.kernel.clone().into_boxed_str()),
        ..BENCH
    };

    println!("== bench: {}", results.setting);
    let begin = |mode: &str, numbers: &[u32]| {
        let mut words = vec![mode.to_string()];
        words.extend(numbers.iter().map(u32::to_string));
        words.push(options.rows.clone());
        Some(words)
    };
    if options.only != Some(Part::Instructions) {
        println!("== times");
        let numbers = [options.rounds, options.ms, options.service];
        let wish = Wish {
            args: begin("time", &numbers),
            console_log: Some(dir.join("bench.console.log")),
            cpus: Some(cpus),
            ..Wish::default()
        };
        part(paths, &mut results, &boot, wish)?;
    }
    if options.only != Some(Part::Times) {
        println!("== instructions");
        let numbers = [options.runs, options.calls, options.idle_service];
        let wish = Wish {
            args: begin("instructions", &numbers),
            console_log: Some(dir.join("bench.instructions.console.log")),
            cpus: Some(1),
            icount: true,
            ..Wish::default()
        };
        part(paths, &mut results, &boot, wish)?;
    }
    report(paths, &results)
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or("unknown", |(_, name)| name.trim()).to_string()
}

/// Writes and prints what there is. Whether all targets are met.
fn report(paths: &Paths, results: &Results) -> Result<bool> {
    let dir = paths.results();
    let targets = target::targets(results);
    let late: u64 = results
        .rows
        .iter()
        .flat_map(|row| row.drivers.values())
        .flat_map(|measured| &measured.times)
        .map(|time| time.late)
        .sum();
    let text = format!(
        "{}\n{}\n{}\n{late} answers of the simulator came later than they were to\n",
        table::rows(results),
        table::spreads(results),
        table::targets(&targets)
    );
    println!("\n{text}");
    fs::write(dir.join("bench.txt"), &text).context("writing bench.txt")?;
    let mut json = serde_json::to_string_pretty(results)?;
    json.push('\n');
    fs::write(dir.join("bench.json"), json).context("writing bench.json")?;
    plot::all(results, &dir)?;
    for wrong in &results.wrong {
        println!("error: {wrong}");
    }
    println!(
        "{} has the numbers, and the drawings are beside it",
        dir.join("bench.json").display()
    );
    Ok(results.wrong.is_empty() && targets.iter().all(|target| target.verdict == Verdict::Met))
}

/// Puts the last results into the documentation.
///
/// # Errors
///
/// When there are none, or a file cannot be written.
pub fn document(paths: &Paths) -> Result<bool> {
    let dir = paths.results();
    let json =
        fs::read_to_string(dir.join("bench.json")).context("make bench makes the results")?;
    let results: Results = serde_json::from_str(&json)?;
    let docs = paths.top.join("Documentation/accel/qda");
    let indent = |text: &str| -> String {
        text.lines()
            .map(|line| format!("    {line}").trim_end().to_string() + "\n")
            .collect()
    };
    let mut page = format!(
        ".. SPDX-License-Identifier: GPL-2.0\n\n\
         ===========\nMeasurements\n===========\n\n\
         Of {}, by ``{}``. {}.\n\n\
         Both drivers ran in one boot of one kernel, each on a simulated DSP of its own. The CPU is\n\
         emulated, and the DSP answers without doing anything: the numbers compare what the drivers do\n\
         around a call. They say nothing about hardware.\n\n\
         \"floor\" sends and receives what a call does, and nothing else.\n\n::\n\n",
        results.date, results.command, results.setting
    )
    .replace("===========", "============");
    page += &indent(&table::rows(&results));
    page += "\nWhat was wanted::\n\n";
    page += &indent(&table::targets(&target::targets(&results)));
    for file in plot::FILES {
        if dir.join(file).exists() {
            fs::copy(dir.join(file), docs.join(file)).with_context(|| file.to_string())?;
            page += &format!("\n.. kernel-figure:: {file}\n   :alt: {file}\n");
        }
    }
    let path = docs.join("measurements.rst");
    fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(true)
}
