// SPDX-License-Identifier: GPL-2.0

//! Boots an arm64 guest under QEMU and plays its DSPs.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use simdsp::machine::compile_board;
use simdsp::machine::Config;
use simdsp::machine::Running;
use simdsp::qemu::Hardware;
use simdsp::sim::Options;
use simdsp::sim::Sim;
use simdsp::strict::Profile;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Where the log goes; standard error without it. RUST_LOG sets the level.
    #[arg(long, global = true)]
    log: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot a guest and serve its DSPs until it powers off.
    Boot(BootArgs),
    /// Serve the DSPs of a QEMU that was started paused (-S), and let it go.
    Join(JoinArgs),
    /// Compile a board to a device tree.
    Dtb {
        #[command(flatten)]
        hardware: HardwareArgs,
        /// The board's .dtsi.
        #[arg(long)]
        board: PathBuf,
        /// The file to write.
        #[arg(short)]
        output: PathBuf,
    },
}

#[derive(Args)]
struct HardwareArgs {
    /// QEMU binary.
    #[arg(long, default_value = "qemu-system-aarch64")]
    qemu: PathBuf,
    /// CPU model.
    #[arg(long, default_value = "cortex-a57")]
    cpu: String,
    /// Number of CPUs.
    #[arg(long, default_value_t = 2)]
    smp: u32,
    /// RAM in MiB; boards need 512 or more.
    #[arg(long, default_value_t = 512)]
    mem: u32,
}

impl From<HardwareArgs> for Hardware {
    fn from(args: HardwareArgs) -> Self {
        Self {
            qemu: args.qemu,
            cpu: args.cpu,
            smp: args.smp,
            mem_mib: args.mem,
            ..Self::default()
        }
    }
}

#[derive(Args)]
struct SimArgs {
    /// Log each page that the DSPs walk, and each message.
    #[arg(long)]
    trace: bool,
    /// The guest runs the kernel's fastrpc driver: judge by its habits.
    #[arg(long)]
    fastrpc: bool,
    /// Directory of the scripts that tests load by name.
    #[arg(long)]
    scripts: Option<PathBuf>,
}

impl SimArgs {
    fn options(&self) -> Options {
        Options {
            profile: if self.fastrpc {
                Profile::Fastrpc
            } else {
                Profile::Qda
            },
            scripts: self.scripts.clone(),
        }
    }

    fn apply(&self, sim: &Sim) {
        sim.machine.trace().set(self.trace);
        sim.dsps.iter().for_each(|dsp| dsp.set_trace(self.trace));
    }
}

#[derive(Args)]
struct BootArgs {
    #[command(flatten)]
    hardware: HardwareArgs,
    #[command(flatten)]
    sim: SimArgs,
    /// arm64 kernel image.
    #[arg(long)]
    kernel: PathBuf,
    /// Initial RAM file system.
    #[arg(long)]
    initrd: Option<PathBuf>,
    /// The board's .dtsi.
    #[arg(long)]
    board: PathBuf,
    /// More for the kernel command line.
    #[arg(long, default_value = "")]
    append: String,
    /// Give the guest's console this terminal (leave with Ctrl-A X).
    #[arg(long)]
    interactive: bool,
    /// Where RAM file, device tree and QEMU's log go; a temporary directory without it.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Kill the guest after so many seconds.
    #[arg(long)]
    timeout: Option<u64>,
}

#[derive(Args)]
struct JoinArgs {
    #[command(flatten)]
    sim: SimArgs,
    /// RAM file of the machine.
    #[arg(long)]
    ram: PathBuf,
    /// Its device tree, board included.
    #[arg(long)]
    dtb: PathBuf,
    /// Its qtest socket.
    #[arg(long)]
    qtest: PathBuf,
    /// Its QMP socket.
    #[arg(long)]
    qmp: PathBuf,
    /// Socket of its control port.
    #[arg(long)]
    control: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("simdsp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let interactive = matches!(&cli.command, Command::Boot(b) if b.interactive);
    let level = if interactive && cli.log.is_none() {
        "warn"
    } else {
        "info"
    };
    let env = env_logger::Env::default().default_filter_or(level);
    let mut logger = env_logger::Builder::from_env(env);
    if let Some(path) = &cli.log {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open log {}", path.display()))?;
        logger.target(env_logger::Target::Pipe(Box::new(file)));
    }
    logger.init();
    match cli.command {
        Command::Boot(args) => boot(args),
        Command::Join(args) => join(args),
        Command::Dtb {
            hardware,
            board,
            output,
        } => {
            let board = compile_board(&hardware.into(), &board)?;
            std::fs::write(&output, board.dtb)
                .with_context(|| format!("write {}", output.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn boot(args: BootArgs) -> anyhow::Result<ExitCode> {
    let config = Config {
        hardware: args.hardware.into(),
        initrd: args.initrd,
        append: args.append,
        dir: args.dir,
        interactive: args.interactive,
        console_stdout: !args.interactive,
        ..Config::new(args.kernel, args.board)
    };
    let sim = Sim::start(&config, &args.sim.options())?;
    args.sim.apply(&sim);
    let limit = args.timeout.map_or(Duration::MAX, Duration::from_secs);
    let mut spent = Duration::ZERO;
    const STEP: Duration = Duration::from_millis(100);
    let exit = loop {
        let exit = sim.machine.wait(STEP);
        sim.log_walks();
        if exit.is_some() || spent >= limit {
            break exit;
        }
        spent += STEP;
    };
    let Some(exit) = exit else {
        sim.machine.shutdown()?;
        anyhow::bail!("the guest did not power off within {limit:?}");
    };
    exit.check()?;
    Ok(ExitCode::SUCCESS)
}

fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let running = Running {
        ram: args.ram,
        dtb: args.dtb,
        qtest: args.qtest,
        qmp: args.qmp,
        control: args.control,
    };
    let sim = Sim::join(&running, &args.sim.options())?;
    args.sim.apply(&sim);
    // Ends when QEMU does.
    while sim.machine.is_alive() {
        std::thread::sleep(Duration::from_millis(100));
        sim.log_walks();
    }
    Ok(ExitCode::SUCCESS)
}
