// SPDX-License-Identifier: GPL-2.0

//! Boots the guest with the simulated DSP, and runs the test suites, the demo or a shell in it.
//!
//! The make targets build what this needs and call it; see `make help`.

mod bench;
mod boot;
mod canary;
mod cargo;
mod catalogue;
mod clients;
mod collect;
mod console;
mod debug;
mod host;
mod outcome;
mod pool;
mod report;
mod soak;
mod socs;
mod splat;
mod steps;
mod suite;
mod tap;

use anyhow::{bail, ensure, Context, Result};
use boot::Wish;
use canary::Canary;
use clap::{Parser, Subcommand};
use outcome::{Case, Outcome, Summary};
use report::Reporter;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use steps::{Step, Steps};
use suite::{Boot, Suite, What, SUITES};

#[derive(Parser)]
#[command(about = "Runs the guest with the simulated DSP")]
struct Cli {
    /// The repository.
    #[arg(long, default_value = ".")]
    top: PathBuf,
    /// The build directory.
    #[arg(long, env = "BUILD", default_value = "build")]
    build: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run test suites; all of them when none is named.
    Test {
        suites: Vec<String>,
        /// On the debug kernel.
        #[arg(long)]
        debug: bool,
        /// Only the first boot of each suite, and all with planted mistakes.
        #[arg(long)]
        brief: bool,
        /// How many suites run at a time; without it twice as many as there are CPUs, on the debug
        /// kernel as many, but at most four.
        #[arg(long, env = "SUITE_JOBS")]
        jobs: Option<usize>,
        /// Leave the table of the steps to the run that this is a part of.
        #[arg(long)]
        part: bool,
        /// Begin the suites that count what a guest does in short pauses only when this file
        /// exists: other work has ended then.
        #[arg(long, env = "QUIET_AFTER")]
        quiet_after: Option<PathBuf>,
    },
    /// Run one suite; what `test` calls.
    #[command(hide = true)]
    Suite {
        name: String,
        #[arg(long)]
        debug: bool,
        #[arg(long)]
        brief: bool,
        /// Whether a terminal shows the lines.
        #[arg(long)]
        color: bool,
    },
    /// Print what the last runs of tests came to together, on every kernel.
    Total,
    /// Run the sample.
    Demo {
        /// Seed of the numbers that it computes with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Prove isolation, and print the matrix of who reaches what.
    Isolation {
        /// How many times clients are killed.
        #[arg(long, env = "KILLS", default_value_t = 1000)]
        kills: u32,
        /// Seed of when they are, and of what they do.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Try the catalogue of bugs on both drivers; all of it when no row is named.
    Catalogue { rows: Vec<String> },
    /// List the kernels that the catalogue needs.
    CatalogueKernels { rows: Vec<String> },
    /// Kill, restart and reload by the thousand; nothing is to be left.
    Soak(soak::Options),
    /// Try the DSPs of every SoC in the kernel's own device trees, or of some.
    Socs { socs: Vec<String> },
    /// A shell in the guest.
    Shell,
    /// Measure the drivers side by side.
    Bench(bench::Options),
    /// Put the last measurement into the documentation.
    BenchDocs,
    /// List the suites.
    List,
    /// List the kernels that suites need; all of them when none is named.
    Kernels {
        suites: Vec<String>,
        /// For a run on the debug kernel.
        #[arg(long)]
        debug: bool,
    },
}

/// How many suites run at a time. A guest keeps a CPU busy for a third of the time, with the debug
/// kernel for longer. Four guests take 2 GiB of memory.
fn default_jobs(debug: bool) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let each = if debug { 1 } else { 2 };
    (each * cpus).min(4)
}

/// Where things are.
pub struct Paths {
    pub top: PathBuf,
    pub build: PathBuf,
    /// Whether the run is one on the debug kernel, whose results have a directory of their own.
    pub debug: bool,
    /// Whether only the first boot of each suite is wanted.
    pub brief: bool,
}

impl Paths {
    fn results(&self) -> PathBuf {
        match self.debug {
            true => self.build.join("results/debug"),
            false => self.build.join("results"),
        }
    }
}

/// Runs one suite. What keeps it from running is a failed test of it.
fn run_suite(paths: &Paths, suite: &Suite, color: bool) -> Result<bool> {
    let mut report = Reporter::new(suite.name, suite.about, color);
    let mut cases = match suite.what {
        What::Cargo(args) => host::run(paths, suite.name, args, &mut report)?,
        What::Guest(_) => {
            let mut cases = Vec::new();
            let boots = suite.boots(paths.debug);
            let wanted =
                |number, boot: &Boot| !paths.brief || number == 0 || boot.brief || boot.is_canary();
            for (number, boot) in boots.iter().enumerate() {
                if !wanted(number, boot) {
                    continue;
                }
                cases.extend(run_boot(paths, suite, number, boot, &mut report));
            }
            cases
        }
    };
    if !cases.iter().any(|case| case.outcome != Outcome::Skipped) {
        let case = Case::failed("the suite", "it ran nothing");
        report.case(&case);
        cases.push(case);
    }
    if suite.name == "kunit" && !cases.iter().any(|case| case.name.starts_with("qda")) {
        let case = Case::failed("the driver's own suites", "none of them ran");
        report.case(&case);
        cases.push(case);
    }
    let mut summary = Summary::of(suite.name, &cases, report.elapsed());
    summary.cpu = steps::cpu_time();
    outcome::write_tap(
        &paths.results(),
        suite.name,
        &cases,
        &versions(paths, suite),
    )?;
    if suite.name == "clients" {
        println!();
        for line in clients::table(&cases, &versions(paths, suite)) {
            println!("{line}");
        }
        println!();
    }
    report.end(&summary);
    outcome::write_suite(&paths.results(), &summary)?;
    Ok(summary.failed == 0)
}

/// Runs one boot of a suite; its tests.
fn run_boot(
    paths: &Paths,
    suite: &Suite,
    number: usize,
    boot: &Boot,
    report: &mut Reporter,
) -> Vec<Case> {
    report.step(&format!(
        "boot: kernel {}, board {}, {}",
        boot.kernel, boot.board, boot.script
    ));
    let log = match number {
        0 => format!("{}.console.log", suite.name),
        _ => format!(
            "{}.{number}-{}-{}.console.log",
            suite.name, boot.board, boot.script
        ),
    };
    let wish = Wish {
        console_log: Some(paths.results().join(log)),
        ..Wish::default()
    };
    run_wish(paths, boot, &wish, report)
}

/// Runs a boot as it is wished; its tests.
fn run_wish(paths: &Paths, boot: &Boot, wish: &Wish, report: &mut Reporter) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut canary = Canary::new(boot.prefix, boot.canary);
    let ended = boot::run(paths, boot, wish, &mut |_, news| {
        for case in news.cases {
            if !canary.is_it(&case) {
                report.case(&case);
                cases.push(case);
            }
        }
    });
    let mut last = match ended {
        Ok(ended) => ended.cases,
        Err(error) => vec![Case::failed(
            format!("{}the machine", boot.prefix),
            format!("{error:#}"),
        )],
    };
    if boot.is_canary() {
        last.push(canary.end());
    }
    for case in last {
        report.case(&case);
        cases.push(case);
    }
    cases
}

/// The versions of the foreign programs that a suite ran.
fn versions(paths: &Paths, suite: &Suite) -> Vec<String> {
    if !matches!(suite.name, "reference" | "clients") {
        return Vec::new();
    }
    let file = paths.build.join("guest-normal/root/versions");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

/// The suites of these names; all that a run on that kernel has when there is none.
fn chosen(names: &[String], debug: bool) -> Result<Vec<&'static Suite>> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("no suite {name}; there are: {}", known.join(", "));
        }
    }
    let wanted = |suite: &&Suite| match names.is_empty() {
        true => suite.is_for(debug),
        false => names.iter().any(|name| name == suite.name),
    };
    Ok(SUITES.iter().filter(wanted).collect())
}

/// Prints which kernels suites boot, a line each, in the order in which to build them: others may
/// begin with what the normal one has built.
fn kernels(names: &[String], debug: bool) -> Result<bool> {
    let mut kernels = Vec::new();
    for suite in chosen(names, debug)? {
        kernels.extend(suite.boots(debug).iter().map(|boot| boot.kernel));
    }
    kernels.sort_unstable_by_key(|kernel| (*kernel != "normal", *kernel));
    kernels.dedup();
    for kernel in kernels {
        println!("{kernel}");
    }
    Ok(true)
}

fn test(
    paths: &Paths,
    names: &[String],
    jobs: usize,
    part: bool,
    quiet_after: Option<&Path>,
) -> Result<bool> {
    let suites = chosen(names, paths.debug)?;
    let results = paths.results();
    if paths.brief {
        println!("brief: few boots of each suite, mostly the first");
    }
    // What an earlier run left is not to be taken for this one's; a run of some suites replaces
    // their results alone.
    if names.is_empty() && results.exists() {
        fs::remove_dir_all(&results).with_context(|| format!("clearing {}", results.display()))?;
    }
    fs::create_dir_all(&results).with_context(|| format!("creating {}", results.display()))?;
    let summaries = Mutex::new(Vec::new());
    pool::run(paths, &suites, jobs, quiet_after, &|summary| {
        if let Err(error) = record(paths, summary) {
            eprintln!("error: {error:#}");
        }
        summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(summary.clone());
    });
    let summaries = summaries
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let mut all = outcome::read_summary(&results);
    all.retain(|earlier| !summaries.iter().any(|new| new.suite == earlier.suite));
    all.extend(summaries.iter().cloned());
    finish(paths, &summaries, &all, !part)
}

/// Counts a suite among the steps of the run.
fn record(paths: &Paths, summary: &Summary) -> Result<()> {
    let kernel = if paths.debug { " (debug)" } else { "" };
    let step = Step {
        name: format!("suite {}{kernel}", summary.suite),
        seconds: summary.seconds,
        cpu: summary.cpu,
    };
    steps::add(&paths.build, &step)
}

/// Ends a run: the table of its steps, the file, and at last one line.
fn finish(paths: &Paths, run: &[Summary], file: &[Summary], table: bool) -> Result<bool> {
    let steps = Steps::read(&paths.build);
    outcome::write_summary(&paths.results(), file, &steps)?;
    if table {
        println!();
        for line in steps.table() {
            println!("{line}");
        }
    }
    println!("{}", outcome::total_line(run));
    Ok(run.iter().all(|summary| summary.failed == 0))
}

/// Prints the table and one line for the last runs on the ordinary kernels and on the debug kernel.
fn total(paths: &Paths) -> Result<bool> {
    let normal = outcome::read_summary(&paths.results());
    let debug = outcome::read_summary(&paths.results().join("debug"));
    ensure!(
        !normal.is_empty(),
        "no results in {}",
        paths.results().display()
    );
    ensure!(!debug.is_empty(), "no results of the debug kernel");
    let both: Vec<_> = normal.iter().chain(&debug).cloned().collect();
    finish(paths, &both, &normal, true)
}

/// Runs the sample and shows what it prints, then the pages that the DSP walked for it.
fn demo(paths: &Paths, seed: u64) -> Result<bool> {
    println!("booting the guest");
    let log = paths.build.join("demo.console.log");
    let wish = Wish {
        args: Some(vec![seed.to_string()]),
        trace: true,
        console_log: Some(log.clone()),
        ..Wish::default()
    };
    let mut status = None;
    let mut began = false;
    let mut complaints = Vec::new();
    let ended = boot::run(paths, &suite::DEMO, &wish, &mut |collector, news| {
        if collector.began() && !began {
            began = true;
            println!("the guest is up; it runs the sample\n");
        }
        if let Some(line) = news.output {
            println!("{line}");
        }
        status = news.ended.unwrap_or(status);
        complaints.extend(news.cases);
    })?;
    complaints.extend(ended.cases);
    show_walks(&ended.walks);
    let mut good = status == Some(0);
    for case in &complaints {
        if case.outcome == Outcome::Failed {
            println!("error: {}: {}", case.name, case.detail);
            good = false;
        }
    }
    println!("the guest's console is in {}", log.display());
    Ok(good)
}

/// Lines of the walk log that are printed from its begin and from its end.
const WALKS_SHOWN: usize = 12;

fn show_walks(walks: &[simdsp::trace::Walk]) {
    let pages: u64 = walks.iter().map(|walk| walk.pages()).sum();
    println!("\nwhat the simulated DSP touched, by walking the SMMU's tables: {pages} pages");
    let hidden = walks.len().saturating_sub(2 * WALKS_SHOWN);
    for (number, walk) in walks.iter().enumerate() {
        if hidden > 0 && number == WALKS_SHOWN {
            println!("  ... {hidden} more accesses ...");
        }
        if hidden == 0 || !(WALKS_SHOWN..WALKS_SHOWN + hidden).contains(&number) {
            println!("  {walk}");
        }
    }
}

/// Runs the suite "isolation" with many kills, and shows what its programs print.
fn isolation(paths: &Paths, kills: u32, seed: u32) -> Result<bool> {
    let mut cases = Vec::new();
    for (number, boot) in suite::ISOLATION.iter().enumerate() {
        println!("== {}, {}", boot.board, boot.script);
        let mut boot = boot.clone();
        let mut args: Vec<_> = boot.args.iter().map(ToString::to_string).collect();
        if boot.script == "isolation" {
            args = vec![kills.to_string(), seed.to_string()];
            // A kill takes a tenth of a second, more on a slow machine.
            boot.limit += u64::from(kills);
        }
        let log = format!("isolation.{number}-{}.console.log", boot.board);
        let wish = Wish {
            args: Some(args),
            console_log: Some(paths.build.join(log)),
            ..Wish::default()
        };
        let before = cases.len();
        let ended = boot::run(paths, &boot, &wish, &mut |_, news| {
            if let Some(line) = news.output {
                // What is a comment to the harness is the program's word to people.
                println!("{}", line.strip_prefix("# ").unwrap_or(&line));
            }
            cases.extend(news.cases);
        })?;
        cases.extend(ended.cases);
        if cases[before..]
            .iter()
            .all(|case| case.outcome == Outcome::Skipped)
        {
            cases.push(Case::failed(boot.board, "nothing ran"));
        }
    }
    for case in &cases {
        if case.outcome != Outcome::Passed {
            println!("not passed: {}: {}", case.name, case.detail);
        }
    }
    let summary = Summary::of("isolation", &cases, std::time::Duration::ZERO);
    println!("{}", outcome::total_line(std::slice::from_ref(&summary)));
    Ok(summary.failed == 0)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::init();
    let paths = Paths {
        top: cli.top,
        build: cli.build,
        debug: matches!(
            cli.command,
            Command::Test { debug: true, .. } | Command::Suite { debug: true, .. }
        ),
        brief: matches!(
            cli.command,
            Command::Test { brief: true, .. } | Command::Suite { brief: true, .. }
        ),
    };
    let result = match cli.command {
        Command::Test {
            suites,
            jobs,
            part,
            quiet_after,
            ..
        } => {
            let jobs = jobs.unwrap_or_else(|| default_jobs(paths.debug));
            test(&paths, &suites, jobs, part, quiet_after.as_deref())
        }
        Command::Suite { name, color, .. } => {
            chosen(&[name], paths.debug).and_then(|suites| run_suite(&paths, suites[0], color))
        }
        Command::Total => total(&paths),
        Command::Demo { seed } => demo(&paths, seed),
        Command::Isolation { kills, seed } => isolation(&paths, kills, seed),
        Command::Catalogue { rows } => catalogue::run(&paths, &rows),
        Command::CatalogueKernels { rows } => catalogue::kernels(&rows),
        Command::Soak(options) => soak::run(&paths, &options),
        Command::Socs { socs } => socs::run(&paths, &socs),
        Command::Shell => boot::interactive(&paths, &suite::SHELL).map(|()| true),
        Command::Kernels { suites, debug } => kernels(&suites, debug),
        Command::Bench(options) => bench::run(&paths, &options),
        Command::BenchDocs => bench::document(&paths),
        Command::List => {
            for suite in SUITES {
                println!("{:12} {}", suite.name, suite.about);
            }
            Ok(true)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
