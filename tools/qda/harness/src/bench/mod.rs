// SPDX-License-Identifier: GPL-2.0

//! The benchmark: boots the guest twice, once for times and once for counts of instructions, and
//! does that on a coherent board and on one that is not; makes a table, a file and drawings of what
//! its program prints.

mod pairs;
mod plot;
mod results;
mod symbol;
mod table;
mod target;

use crate::boot::{self, Wish};
use crate::outcome::Outcome;
use crate::suite::{Boot, BENCH, BENCH_INCOHERENT};
use crate::Paths;
use anyhow::{Context, Result};
use results::Results;
use std::fs;
use std::process::Command;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Times,
    Instructions,
}

/// Whether the DSPs see the caches of the CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Board {
    Coherent,
    NonCoherent,
}

/// What is asked of a benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Rounds of each row; the drivers take turns in each. Fewer than nine are too few for a verdict
    /// on times.
    #[arg(long, default_value_t = 12)]
    rounds: u32,
    /// Milliseconds that a driver has in a round.
    #[arg(long, default_value_t = 150)]
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
    /// Only one of the two boards.
    #[arg(long)]
    board: Option<Board>,
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
        tree: digest(paths),
        command: "make bench".to_string(),
        setting: format!(
            "{}; {cpus} of the host's {host} CPUs ({}); service time of the DSP {} µs",
            line_of("qemu-system-aarch64", &["--version"]),
            cpu_name(),
            f64::from(options.service) / 1000.0,
        ),
        ..Results::default()
    };
    println!("== bench: {}", results.setting);
    for (board, base, suffix) in [
        (Board::Coherent, BENCH, ""),
        (Board::NonCoherent, BENCH_INCOHERENT, ".non-coherent"),
    ] {
        if options.board.is_some_and(|wanted| wanted != board) {
            continue;
        }
        results.incoherent = board == Board::NonCoherent;
        let boot = Boot {
            kernel: Box::leak(options.kernel.clone().into_boxed_str()),
            ..base
        };
        let begin = |mode: &str, numbers: &[u32]| {
            let mut words = vec![mode.to_string()];
            words.extend(numbers.iter().map(u32::to_string));
            words.push(options.rows.clone());
            Some(words)
        };
        if options.only != Some(Part::Instructions) {
            println!("== times, board {}", boot.board);
            let numbers = [options.rounds, options.ms, options.service];
            let wish = Wish {
                args: begin("time", &numbers),
                console_log: Some(dir.join(format!("bench{suffix}.console.log"))),
                cpus: Some(cpus),
                ..Wish::default()
            };
            part(paths, &mut results, &boot, wish)?;
        }
        if options.only != Some(Part::Times) {
            println!("== instructions, board {}", boot.board);
            let numbers = [options.runs, options.calls, options.idle_service];
            let wish = Wish {
                args: begin("instructions", &numbers),
                console_log: Some(dir.join(format!("bench.instructions{suffix}.console.log"))),
                cpus: Some(1),
                icount: true,
                ..Wish::default()
            };
            part(paths, &mut results, &boot, wish)?;
        }
    }
    if options.only != Some(Part::Times) {
        profile(paths, options, &mut results)?;
    }
    report(paths, &results)
}

/// Finds out where instructions go in the rows whose targets are missed.
fn profile(paths: &Paths, options: &Options, results: &mut Results) -> Result<()> {
    let rows = target::missed_rows(&target::targets(results));
    if rows.is_empty() {
        return Ok(());
    }
    println!("== profiles of what missed its target");
    results.incoherent = false;
    let boot = Boot {
        kernel: Box::leak(options.kernel.clone().into_boxed_str()),
        ..BENCH
    };
    let mut words: Vec<_> = ["profile", "2000", "0"].map(String::from).into();
    words.extend([options.idle_service.to_string(), rows.join("+")]);
    let wish = Wish {
        args: Some(words),
        console_log: Some(paths.results().join("bench.profile.console.log")),
        cpus: Some(1),
        icount: true,
        ..Wish::default()
    };
    part(paths, results, &boot, wish)
}

/// What tells one state of the sources from another.
fn digest(paths: &Paths) -> String {
    let script = paths.top.join("tools/qda/scripts/tree-digest.sh");
    line_of("bash", &[&script.to_string_lossy()])
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
        "{}\n{}\n{}\n{}{late} answers of the simulator came later than they were to\n",
        table::rows(results),
        table::spreads(results),
        table::targets(&targets),
        table::profiles(results)
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
    Ok(results.wrong.is_empty() && targets.iter().all(|target| target.verdict.is_good()))
}

/// What the numbers are of.
const ABOUT: &str = "\
(``tools/qda/scripts/tree-digest.sh`` prints what a tree is called: a digest of what is compiled into
the kernel.)

Both drivers ran in one boot of one kernel, each on a simulated DSP of its own. The CPU is emulated,
and the DSP answers without doing anything: the numbers compare what the drivers do around a call.
They say nothing about hardware.

\"floor\" sends and receives what a call does, and nothing else; of buffers it allocates the pages,
zeroes them and frees them, and maps them nowhere.

Times are of a guest that QEMU runs as fast as it can. Instructions are counted in another boot, with
``-icount``, where the DSP takes so long for an answer that the CPU is idle before it comes. Calls that
are made side by side (\"threads\", \"in-flight\") are answered there when all of them have come, with
one interrupt, so that how many answers come at a time does not depend on the host; by wall time they
are answered one after the other. ``threads-many`` are threads with up to 12 sessions, ``parked`` calls
have so many others beside them that the DSP does not answer.

What is done to buffers is one operation, the same with both drivers:

``alloc-free``
    The program allocates a buffer, which is zeroed, and maps it; writes to each of its pages; unmaps
    and frees it. When the operation is over its memory is free again, which is checked. fastrpc.ko
    also puts the buffer into the IOMMU's tables when it allocates it, QDA when it is used.
``alloc-use-free``
    The same, with one call between that has the buffer as an argument: the DSP reaches it with either
    driver. fastrpc.ko puts it into the tables once more for the call.
``map-unmap``
    A buffer that is there is mapped into the DSP process and unmapped again, with a call of the
    driver's own to the DSP for each.
``import``
    A dma-buf of the system heap is taken, used by one call, and let go.
``alloc``, ``free``, ``map``, ``unmap``
    Parts of these, by wall time only; no page is written to.

Where the DSP does not see the caches of the CPU, the argument of 1 MiB is a buffer of the kind that the
driver allocates if not asked for another (\"own\": both do not cache it), one that the CPU caches
(\"cached\": QDA's own; for fastrpc.ko, which has none, of the system heap), or a dma-buf of the system
heap that QDA has imported (\"imported\"); it is read by the DSP (\"in\") or written (\"out\"). \"KiB
synced\" is what the kernel cleaned and invalidated for a call. An emulated CPU has no caches: a line of
64 bytes takes it a few instructions, where hardware may have to wait for memory.

::

";

/// How the verdicts come about.
const VERDICTS: &str = "
What was wanted. Instructions come out the same every time. Of wall times each round is a pair of the
two drivers, one after the other, which take turns at being first; the value is the median of the ratios
of the pairs, and behind it stands the interval of the sign test, outside of which the true median is
with a probability of 5 % at most. A target is missed if the interval excludes it::

";

/// What the profiles are.
const PROFILES: &str = "
Where the instructions go in what missed its target: functions by their part of the samples, one for
each 20,011 instructions, with what they call, and without. What runs with interrupts disabled is seen
where it enables them::

";

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
         ============\nMeasurements\n============\n\n\
         Of the tree ``{}``, {}, by ``{}``. {}.\n\n",
        results.tree, results.date, results.command, results.setting
    );
    page += ABOUT;
    page += &indent(&table::rows(&results));
    page += VERDICTS;
    page += &indent(&table::targets(&target::targets(&results)));
    let profiles = table::profiles(&results);
    if !profiles.is_empty() {
        page += PROFILES;
        page += &indent(&profiles);
    }
    for file in plot::FILES {
        if dir.join(file).exists() {
            fs::copy(dir.join(file), docs.join(file)).with_context(|| file.to_string())?;
            page += &format!("\n.. kernel-figure:: {file}\n   :alt: {file}\n");
        }
    }
    let path = docs.join("measurements.rst");
    fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    if results.tree != digest(paths) {
        println!("warning: what was measured is not this tree: make bench");
    }
    Ok(true)
}
