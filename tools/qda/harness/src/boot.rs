// SPDX-License-Identifier: GPL-2.0

//! One boot of the guest, with a simulated DSP at each of the board's FastRPC nodes.

use crate::collect::{Collector, News};
use crate::debug;
use crate::outcome::Case;
use crate::suite::Boot;
use crate::Paths;
use anyhow::{ensure, Context, Result};
use simdsp::console::Line;
use simdsp::machine::Config;
use simdsp::sim::{Options, Sim};
use simdsp::strict::Profile;
use simdsp::trace::Walk;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a powered-off guest's QEMU may take to go.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// How often the time is looked at while the guest is silent.
const TICK: Duration = Duration::from_millis(500);

/// A machine with its DSPs, and the directory that it needs.
struct Running {
    sim: Sim,
    _dir: TempDir,
}

/// The machine of a boot; `append` ends its kernel's command line.
fn config(paths: &Paths, boot: &Boot, append: &str) -> Result<Config> {
    let kernel = paths
        .build
        .join(format!("kernel-{}/arch/arm64/boot/Image", boot.kernel));
    let initrd = paths.build.join(format!("guest-{}.cpio", boot.kernel));
    for file in [&kernel, &initrd] {
        ensure!(
            file.exists(),
            "{} is missing; the make targets build it",
            file.display()
        );
    }
    let board = paths
        .top
        .join(format!("tools/qda/boards/{}.dtsi", boot.board));
    let mut config = Config::new(kernel, board);
    config.initrd = Some(initrd);
    config.append = append.to_string();
    config.extra = boot.qemu.iter().map(ToString::to_string).collect();
    config.hardware.mem_mib = boot.memory;
    Ok(config)
}

fn start(paths: &Paths, mut config: Config, profile: Profile) -> Result<Running> {
    // The guest's RAM is a file: not in the system's directory for temporary files, which may be
    // small and in memory. Each run has a directory of its own.
    let run = paths.build.join("run");
    fs::create_dir_all(&run).with_context(|| format!("creating {}", run.display()))?;
    let dir = TempDir::with_prefix_in("guest-", &run)?;
    config.dir = Some(dir.path().to_path_buf());
    let options = Options {
        profile,
        scripts: Some(paths.top.join("tools/qda/tests/scripts")),
    };
    Ok(Running {
        sim: Sim::start(&config, &options)?,
        _dir: dir,
    })
}

/// What a boot came to.
pub struct Ended {
    /// Tests that got their result only at the end.
    pub cases: Vec<Case>,
    /// Pages that the DSPs walked, where this was asked for.
    pub walks: Vec<Walk>,
}

/// What is wanted of a boot beyond its description.
#[derive(Default)]
pub struct Wish {
    /// Arguments of the suite's script, in place of its own.
    pub args: Option<Vec<String>>,
    /// Record the pages that the DSPs walk.
    pub trace: bool,
    /// The board's file, if not the boot's own.
    pub board: Option<PathBuf>,
    /// Where the console goes.
    pub console_log: Option<PathBuf>,
    /// CPUs of the guest, if not as many as usual.
    pub cpus: Option<u32>,
    /// Run by the count of instructions.
    pub icount: bool,
}

/// The kernel's command line of a boot.
fn command_line(boot: &Boot, wish: &Wish) -> String {
    let args = match &wish.args {
        Some(args) => args.join(","),
        None => boot.args.join(","),
    };
    let mut line = format!(
        "loglevel=7 printk.devkmsg=on guest.suite={} {}",
        boot.script, boot.append
    );
    if !args.is_empty() {
        line.push_str(&format!(" guest.args={args}"));
    }
    if boot.kernel == debug::KERNEL {
        line.push_str(&format!(" guest.slower={}", debug::SLOWER));
    }
    line
}

/// Boots the guest and hands what its console brings to `on`, until it powers off, dies or is out
/// of time.
///
/// # Errors
///
/// When the machine does not start. What goes wrong later is a failed test.
pub fn run(
    paths: &Paths,
    boot: &Boot,
    wish: &Wish,
    on: &mut dyn FnMut(&Collector, News),
) -> Result<Ended> {
    let mut config = config(paths, boot, &command_line(boot, wish))?;
    if let Some(board) = &wish.board {
        config.board = board.clone();
    }
    config.console_log = wish.console_log.clone();
    config.hardware.smp = wish.cpus.unwrap_or(config.hardware.smp);
    config.hardware.icount = wish.icount;
    let Running { sim, _dir } = start(paths, config, boot.profile)?;
    sim.machine.trace().set(wish.trace);
    let mut lines = sim
        .machine
        .console()
        .context("the machine has no console")?
        .lines();
    let mut collector = Collector::new(boot.prefix, boot.kunit);
    let deadline = Instant::now() + Duration::from_secs(boot.limit.min(86400));
    let mut problem = None;
    loop {
        match lines.next(TICK) {
            Line::Text(text) => {
                let news = collector.line(&text);
                on(&collector, news);
            }
            Line::End => break,
            Line::Timeout if Instant::now() > deadline => {
                problem = Some(format!("no end after {} s", boot.limit));
                break;
            }
            Line::Timeout => {}
        }
    }
    if problem.is_none() {
        problem = match sim.machine.wait(EXIT_LIMIT) {
            None => Some("QEMU does not end".to_string()),
            Some(exit) => exit.check().err().map(|error| format!("{error:#}")),
        };
    }
    let mut cases = collector.finish(problem);
    for dsp in &sim.dsps {
        // Those of the tests that ask by the control port are theirs; what is left came outside.
        let violations = dsp.judge().violations();
        if !violations.is_empty() {
            let detail: Vec<_> = violations.iter().map(ToString::to_string).collect();
            let name = format!("{}the simulated {} is content", boot.prefix, dsp.label());
            cases.push(Case::failed(name, detail.join("\n")));
        }
    }
    let walks = sim.machine.trace().take();
    sim.machine.shutdown()?;
    Ok(Ended { cases, walks })
}

/// Boots the guest with the console on our own terminal.
///
/// # Errors
///
/// When the machine does not start.
pub fn interactive(paths: &Paths, boot: &Boot) -> Result<()> {
    let mut config = config(paths, boot, &command_line(boot, &Wish::default()))?;
    config.interactive = true;
    let Running { sim, _dir } = start(paths, config, Profile::Qda)?;
    while sim.machine.wait(TICK).is_none() {}
    sim.machine.shutdown()
}
