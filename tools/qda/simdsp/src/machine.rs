// SPDX-License-Identifier: GPL-2.0

//! A whole machine: guest, board, links and memory of its DSPs.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use serde_json::json;
use tempfile::TempDir;

use crate::board::Board;
use crate::board::DspNode;
use crate::board::Edge;
use crate::board::Place;
use crate::console::Console;
use crate::console::Tee;
use crate::edu::Edu;
use crate::floor::Floor;
use crate::glink::Doorbell;
use crate::glink::Endpoint;
use crate::glink::Link;
use crate::glink::Restarter;
use crate::glink::Service;
use crate::glink::Wires;
use crate::message_ram;
use crate::pace::Pace;
use crate::power::Power;
use crate::qemu::dial;
use crate::qemu::Boot;
use crate::qemu::Hardware;
use crate::qemu::Qemu;
use crate::qemu::CONTROL_SOCKET;
use crate::qemu::QMP_SOCKET;
use crate::qemu::QTEST_SOCKET;
use crate::qmp::Qmp;
use crate::qtest::Qtest;
use crate::ram::Ram;
use crate::ram::VIRT_RAM_BASE;
use crate::smem;
use crate::smmu::DspMemory;
use crate::smmu::QtestRegisters;
use crate::smmu::Smmu;
use crate::trace::FaultLog;
use crate::trace::Trace;

/// Bytes of each FIFO in message RAM: more than all calls that a channel can have outstanding.
const FIFO_SIZE: u32 = 0x7000;
/// How long QEMU may take to make its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long QEMU may take to leave when asked to.
const QUIT_LIMIT: Duration = Duration::from_secs(5);
/// Guest errors of any Linux: QEMU's GIC lacks GICD_TYPER2, which is read as 0 where it isn't.
const HARMLESS: &[&str] =
    &["gicv3_dist_read: invalid guest read at offset 000000000000000c size 4"];

/// What QEMU says of an access of an `edu` device that its SMMUv3 refuses.
const REFUSED: &[&str] = &[
    "smmuv3-iommu-memory-region-",
    "Invalid read at addr ",
    "Invalid write at addr ",
];

/// What to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The guest's hardware.
    pub hardware: Hardware,
    /// Kernel image (arm64 `Image`).
    pub kernel: PathBuf,
    /// Initial RAM file system.
    pub initrd: Option<PathBuf>,
    /// Added to the kernel command line, which begins with the console.
    pub append: String,
    /// The board's `.dtsi`.
    pub board: PathBuf,
    /// Where RAM file, device tree and QEMU's log go; a temporary directory without one. Needs
    /// room for the RAM that the guest really uses; not `/dev/shm`, which may be small.
    pub dir: Option<PathBuf>,
    /// Console on our own terminal instead of [`Machine::console`].
    pub interactive: bool,
    /// The console's lines also go to this file.
    pub console_log: Option<PathBuf>,
    /// The console's lines also go to standard output.
    pub console_stdout: bool,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
}

impl Config {
    /// Boots `kernel` on `board` with everything else at its default.
    pub fn new(kernel: impl Into<PathBuf>, board: impl Into<PathBuf>) -> Self {
        Self {
            hardware: Hardware::default(),
            kernel: kernel.into(),
            initrd: None,
            append: String::new(),
            board: board.into(),
            dir: None,
            interactive: false,
            console_log: None,
            console_stdout: false,
            extra: Vec::new(),
        }
    }
}

/// A machine that somebody else started, with the options of [`crate::qemu`] and paused (`-S`).
#[derive(Debug, Clone)]
pub struct Running {
    /// Its RAM file (`share=on`).
    pub ram: PathBuf,
    /// Its device tree, compiled, board included.
    pub dtb: PathBuf,
    /// Its qtest socket.
    pub qtest: PathBuf,
    /// Its QMP socket.
    pub qmp: PathBuf,
    /// The socket of its control port, if it has one.
    pub control: Option<PathBuf>,
}

/// What an endpoint is made from: one DSP's place in the machine.
pub struct Seat<'a> {
    /// The edge it hangs on.
    pub edge: &'a Edge,
    /// Its device tree node.
    pub node: &'a DspNode,
    /// Its label, or the edge's when the node has none.
    pub label: &'a str,
    /// Its memory.
    pub memory: Arc<DspMemory>,
    /// Where faults are recorded.
    pub faults: FaultLog,
    /// Where walks are recorded.
    pub trace: Trace,
}

/// Makes the endpoint of each DSP.
pub type Factory<'a> = dyn FnMut(Seat<'_>) -> anyhow::Result<Arc<dyn Endpoint>> + 'a;

/// One DSP of a running machine.
pub struct Dsp {
    /// Its label, or the edge's when the node has none.
    pub label: String,
    /// Its device tree node.
    pub node: DspNode,
    /// Its memory.
    pub memory: Arc<DspMemory>,
    /// Restarts its channel, or crashes it.
    pub restarter: Restarter,
}

/// How a machine ended.
#[derive(Debug)]
pub struct Exit {
    /// QEMU's exit status; success also when the guest panicked or rebooted.
    pub status: ExitStatus,
    /// What QEMU said on standard error.
    pub stderr: String,
    /// What the guest did wrong to its devices, by QEMU.
    pub guest_errors: Vec<String>,
}

impl Exit {
    /// Fails unless QEMU ended in order and had nothing to complain about.
    ///
    /// # Errors
    ///
    /// With what it said.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.status.success(),
            "QEMU ended with {}:\n{}",
            self.status,
            self.stderr
        );
        ensure!(
            self.guest_errors.is_empty(),
            "QEMU logged guest errors:\n{}",
            self.guest_errors.join("\n")
        );
        Ok(())
    }
}

/// A running machine. Dropping it ends the links, then QEMU.
pub struct Machine {
    links: Vec<Link>,
    dsps: Vec<Dsp>,
    edus: Vec<Arc<Edu>>,
    control: Option<UnixStream>,
    faults: FaultLog,
    trace: Trace,
    qmp: Qmp,
    qemu: Option<Qemu>,
    board: Board,
    error_log: Option<PathBuf>,
    _dir: Option<TempDir>,
}

struct GicLine {
    qtest: Arc<Qtest>,
    gic: String,
    spi: u32,
}

impl Doorbell for GicLine {
    fn ring(&self) -> anyhow::Result<()> {
        self.qtest.pulse(&self.gic, self.spi)
    }
}

/// The board of `config`, compiled for its hardware.
///
/// # Errors
///
/// When QEMU or dtc is missing or refuses, or the board is malformed.
pub fn compile_board(hardware: &Hardware, board: &Path) -> anyhow::Result<Board> {
    let dir = tempfile::tempdir()?;
    Board::load(&hardware.dump_dtb(dir.path())?, board)
}

/// Lays out the FIFOs of all edges. Must be done before the guest's transport looks.
fn lay_wires(ram: &Arc<Ram>, board: &Board) -> anyhow::Result<Vec<Wires>> {
    let host = |edge: &Edge| match edge.place {
        Place::Smem { host, .. } => Some(host),
        Place::MessageRam(_) => None,
    };
    let hosts: Vec<u16> = board.edges.iter().filter_map(host).collect();
    let mut smem = match board.smem {
        Some(region) => smem::lay(ram, region, &hosts)?,
        None => Vec::new(),
    }
    .into_iter();
    let mut lay = |edge: &Edge| {
        let mailbox = edge.mailbox;
        ensure!(
            ram.contains(mailbox.base, mailbox.len),
            "mailbox {mailbox} is not in guest RAM"
        );
        match edge.place {
            Place::MessageRam(region) => Ok(Wires {
                pipes: message_ram::lay(ram, region, FIFO_SIZE)?,
                intents: false,
                power: None,
            }),
            Place::Smem { power, .. } => Ok(Wires {
                pipes: smem.next().context("no partition in SMEM")?,
                intents: true,
                power: Some(Power::new(ram, power)?),
            }),
        }
    };
    let edges = board.edges.iter();
    edges
        .map(|edge| lay(edge).with_context(|| format!("edge {}", edge.name)))
        .collect()
}

impl Machine {
    /// Compiles the board, starts QEMU and serves its DSPs with what `factory` makes.
    ///
    /// # Errors
    ///
    /// When a file or program is missing, the board is malformed, or QEMU ends at once; each with
    /// what was said.
    pub fn start(config: &Config, factory: &mut Factory<'_>) -> anyhow::Result<Self> {
        let mut files = vec![&config.kernel];
        files.extend(&config.initrd);
        for file in files {
            ensure!(file.is_file(), "{} is not a file", file.display());
        }
        let temp = TempDir::with_prefix("simdsp-").context("make a temporary directory")?;
        let dir = config.dir.as_deref().unwrap_or(temp.path());
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;

        let board = Board::load(&config.hardware.dump_dtb(temp.path())?, &config.board)?;
        let boot = Boot {
            kernel: config.kernel.clone(),
            initrd: config.initrd.clone(),
            append: format!("console=ttyAMA0 panic=-1 {}", config.append),
            dtb: dir.join("board.dtb"),
            ram: dir.join("ram"),
            sockets: temp.path().to_owned(),
            error_log: dir.join("qemu.log"),
            interactive: config.interactive,
            extra: [board.pci.qemu_args(), config.extra.clone()].concat(),
        };
        std::fs::write(&boot.dtb, &board.dtb)
            .with_context(|| format!("write {}", boot.dtb.display()))?;
        let ram = Ram::create(&boot.ram, VIRT_RAM_BASE, config.hardware.mem_bytes())?;
        let ram = Arc::new(ram);
        let wires = lay_wires(&ram, &board)?;

        let file = config
            .console_log
            .as_ref()
            .map(|path| File::create(path).with_context(|| format!("create {}", path.display())))
            .transpose()?;
        let tee = Tee {
            file,
            stdout: config.console_stdout,
        };
        let qemu = Qemu::start(&config.hardware, &boot, tee)?;
        let socket = |name: &str| temp.path().join(name);
        for name in [QTEST_SOCKET, QMP_SOCKET, CONTROL_SOCKET] {
            await_socket(&qemu, &socket(name))?;
        }
        let running = Running {
            ram: boot.ram.clone(),
            dtb: boot.dtb.clone(),
            qtest: socket(QTEST_SOCKET),
            qmp: socket(QMP_SOCKET),
            control: Some(socket(CONTROL_SOCKET)),
        };
        let mut machine = Self::assemble(board, ram, wires, &running, factory)
            .map_err(|error| explain(&qemu, error))?;
        machine.qemu = Some(qemu);
        machine.error_log = Some(boot.error_log);
        if config.dir.is_none() {
            // QEMU and we have it mapped; nobody needs its name, and it can't be left behind.
            std::fs::remove_file(&boot.ram).context("unlink the RAM file")?;
        }
        machine._dir = Some(temp);
        Ok(machine)
    }

    /// Serves the DSPs of a machine that is running already, and lets it go if it was paused.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub fn join(running: &Running, factory: &mut Factory<'_>) -> anyhow::Result<Self> {
        let dtb = std::fs::read(&running.dtb)
            .with_context(|| format!("read {}", running.dtb.display()))?;
        let board = Board::read(dtb)?;
        let ram = Arc::new(Ram::open(&running.ram, VIRT_RAM_BASE)?);
        let wires = lay_wires(&ram, &board)?;
        let machine = Self::assemble(board, ram, wires, running, factory)?;
        machine.qmp.execute("cont", json!({}))?;
        Ok(machine)
    }

    fn assemble(
        board: Board,
        ram: Arc<Ram>,
        wires: Vec<Wires>,
        running: &Running,
        factory: &mut Factory<'_>,
    ) -> anyhow::Result<Self> {
        let qtest = Arc::new(Qtest::connect(&running.qtest)?);
        let qmp = Qmp::connect(&running.qmp)?;
        let gic = qmp.find_gic()?;
        let control = running
            .control
            .as_deref()
            .map(|path| dial(path, "control"))
            .transpose()?;
        let registers = QtestRegisters {
            qtest: Arc::clone(&qtest),
            base: board.smmu.base,
        };
        let smmu = Arc::new(Smmu::new(ram, Box::new(registers)));
        let (faults, trace) = (FaultLog::default(), Trace::default());
        let mut links = Vec::new();
        let mut dsps = Vec::new();
        for (edge, wires) in board.edges.iter().zip(wires) {
            let mut services = Vec::new();
            let mut seats = Vec::new();
            for node in &edge.dsps {
                let label = node.label.as_deref().unwrap_or(&edge.label);
                let memory = Arc::new(DspMemory::new(
                    node,
                    label,
                    Arc::clone(&smmu),
                    faults.clone(),
                    trace.clone(),
                ));
                let endpoint = factory(Seat {
                    edge,
                    node,
                    label,
                    memory: Arc::clone(&memory),
                    faults: faults.clone(),
                    trace: trace.clone(),
                })?;
                services.push(Service {
                    name: node.channel.clone(),
                    endpoint,
                });
                seats.push((label.to_owned(), node.clone(), memory));
            }
            services.extend(edge.floors.iter().map(|channel| Service {
                name: channel.clone(),
                endpoint: Arc::new(Floor::default()),
            }));
            let line = GicLine {
                qtest: Arc::clone(&qtest),
                gic: gic.clone(),
                spi: edge.spi,
            };
            let link = Link::start(&edge.label, wires, Arc::new(line), services)?;
            dsps.extend(seats.into_iter().map(|(label, node, memory)| Dsp {
                restarter: link.restarter(&node.channel),
                label,
                node,
                memory,
            }));
            links.push(link);
        }
        let edu = |rid: &u32| {
            let edu = Edu::new(Arc::clone(&qtest), board.pci.ecam.base, *rid);
            Arc::new(edu)
        };
        Ok(Self {
            links,
            dsps,
            edus: board.pci.edus.iter().map(edu).collect(),
            control,
            faults,
            trace,
            qmp,
            qemu: None,
            board,
            error_log: None,
            _dir: None,
        })
    }

    /// The board it runs on.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Its DSPs, in tree order.
    pub fn dsps(&self) -> &[Dsp] {
        &self.dsps
    }

    /// The DSP called `label`.
    pub fn dsp(&self, label: &str) -> Option<&Dsp> {
        self.dsps.iter().find(|d| d.label == label)
    }

    /// Its `edu` devices.
    pub fn edus(&self) -> &[Arc<Edu>] {
        &self.edus
    }

    /// All faults of all its DSPs.
    pub fn faults(&self) -> &FaultLog {
        &self.faults
    }

    /// The walks of all its DSPs; off until switched on.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The guest's console; none when interactive or joined.
    pub fn console(&self) -> Option<&Console> {
        self.qemu.as_ref()?.console()
    }

    /// Takes the stream of the control port (virtio-serial port `qda.ctl`), once.
    pub fn take_control(&mut self) -> Option<UnixStream> {
        self.control.take()
    }

    /// How each of its links is served, by the label of the edge.
    pub fn paces(&self) -> Vec<(String, Arc<Pace>)> {
        let edges = self.board.edges.iter();
        edges
            .zip(&self.links)
            .map(|(edge, link)| (edge.label.clone(), link.pace()))
            .collect()
    }

    /// Waits up to `timeout` for the guest to power off or reboot. `None`: it still runs, or was
    /// joined, so that its end is not ours to see.
    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let qemu = self.qemu.as_ref()?;
        let status = qemu.wait(timeout)?;
        let guest_errors = self
            .error_log
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        let refused = if self.edus.is_empty() { &[] } else { REFUSED };
        let expected = |line: &str| HARMLESS.iter().chain(refused).any(|e| line.starts_with(e));
        Some(Exit {
            status,
            stderr: qemu.stderr(),
            guest_errors: guest_errors
                .lines()
                .filter(|line| !expected(line))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Whether QEMU still answers.
    pub fn is_alive(&self) -> bool {
        match &self.qemu {
            Some(qemu) => qemu.status().is_none(),
            None => self.qmp.execute("query-status", json!({})).is_ok(),
        }
    }

    /// Ends the machine, however far the guest is.
    ///
    /// # Errors
    ///
    /// When QEMU did not leave when asked to and was killed.
    pub fn shutdown(self) -> anyhow::Result<()> {
        let Some(qemu) = &self.qemu else {
            return Ok(());
        };
        if qemu.status().is_none() {
            // Fails when QEMU leaves by itself meanwhile, which the wait sees.
            let _ = self.qmp.quit();
            ensure!(
                qemu.wait(QUIT_LIMIT).is_some(),
                "QEMU did not leave within {QUIT_LIMIT:?} and was killed"
            );
        }
        Ok(())
    }
}

/// Waits for one of QEMU's sockets.
fn await_socket(qemu: &Qemu, path: &Path) -> anyhow::Result<()> {
    let since = Instant::now();
    while !path.exists() {
        if let Some(status) = qemu.wait(Duration::from_millis(5)) {
            bail!("QEMU ended at once with {status}:\n{}", qemu.stderr());
        }
        ensure!(
            since.elapsed() < START_LIMIT,
            "QEMU made no socket {} within {START_LIMIT:?}",
            path.display()
        );
    }
    Ok(())
}

/// Adds QEMU's own words to an error that its end may have caused.
fn explain(qemu: &Qemu, error: anyhow::Error) -> anyhow::Error {
    match qemu.wait(Duration::from_millis(200)) {
        Some(status) => error.context(format!(
            "QEMU ended at once with {status}:\n{}",
            qemu.stderr()
        )),
        None => error,
    }
}
