// SPDX-License-Identifier: GPL-2.0

//! Launching QEMU: the machine's command line, and a child that never outlives us.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;

use crate::console::Console;
use crate::console::Tee;

/// Name of the virtio-serial port on which the guest talks to the simulator.
pub const CONTROL_PORT: &str = "qda.ctl";
/// Socket names in the machine's directory.
pub const QTEST_SOCKET: &str = "qtest.sock";
/// See [`QTEST_SOCKET`].
pub const QMP_SOCKET: &str = "qmp.sock";
/// See [`QTEST_SOCKET`].
pub const CONTROL_SOCKET: &str = "control.sock";

/// Lines of QEMU's standard error that are kept.
const STDERR_LINES: usize = 50;

/// Connects to a socket that QEMU may be about to listen on.
pub(crate) fn dial(path: &Path, what: &str) -> anyhow::Result<UnixStream> {
    let since = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::NotFound
                ) && since.elapsed() < Duration::from_secs(2) =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("connect to {what} socket {}", path.display()))
            }
        }
    }
}

/// What the guest is made of.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// QEMU binary; looked up in PATH.
    pub qemu: PathBuf,
    /// CPU model.
    pub cpu: String,
    /// Number of CPUs.
    pub smp: u32,
    /// RAM in MiB.
    pub mem_mib: u32,
    /// Run by the count of instructions: the guest's PMU then counts them exactly. Needs one CPU.
    pub icount: bool,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            qemu: "qemu-system-aarch64".into(),
            cpu: "cortex-a57".into(),
            smp: 2,
            mem_mib: 512,
            icount: false,
        }
    }
}

impl Hardware {
    /// RAM in bytes.
    pub fn mem_bytes(&self) -> u64 {
        u64::from(self.mem_mib) << 20
    }

    fn command(&self, machine_options: &str) -> Command {
        let mut command = Command::new(&self.qemu);
        command
            .args(["-no-user-config", "-nodefaults", "-nic", "none"])
            .args(["-display", "none"])
            .arg("-M")
            .arg(format!("virt,iommu=smmuv3,gic-version=3{machine_options}"))
            .args(["-cpu", &self.cpu])
            .args(if self.icount {
                &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"][..]
            } else {
                &["-accel", "tcg,thread=multi"]
            })
            .args(["-smp", &self.smp.to_string()])
            .args(["-m", &self.mem_mib.to_string()]);
        command
    }

    fn missing(&self) -> String {
        format!(
            "run {} (Debian package qemu-system-arm)",
            self.qemu.display()
        )
    }

    /// The device tree that QEMU makes for this hardware.
    ///
    /// # Errors
    ///
    /// When QEMU is missing or refuses; with what it says.
    pub fn dump_dtb(&self, dir: &Path) -> anyhow::Result<Vec<u8>> {
        let file = dir.join("qemu.dtb");
        let mut option = OsString::from(",dumpdtb=");
        option.push(&file);
        let option = option.to_str().context("directory name is not UTF-8")?;
        let out = self
            .command(option)
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.missing())?;
        if !out.status.success() {
            bail!(
                "QEMU can't make a device tree: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        std::fs::read(&file).with_context(|| format!("read {}", file.display()))
    }
}

/// What to boot, and where its files are.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM file system.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// Device tree.
    pub dtb: PathBuf,
    /// RAM file of exactly the size of the hardware's RAM.
    pub ram: PathBuf,
    /// Where the sockets are made; a short path (sockets allow 107 bytes).
    pub sockets: PathBuf,
    /// Where QEMU logs what the guest did wrong to its devices.
    pub error_log: PathBuf,
    /// Console on our own terminal (leave with Ctrl-A X) instead of a [`Console`].
    pub interactive: bool,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
}

impl Boot {
    fn command(&self, hardware: &Hardware) -> anyhow::Result<Command> {
        let text = |p: &Path| -> anyhow::Result<String> {
            let p = std::path::absolute(p)?;
            let p = p.to_str().context("file name is not UTF-8")?;
            // QEMU reads a comma in an option value as the next option, unless doubled.
            Ok(p.replace(',', ",,"))
        };
        let socket = |name: &str| text(&self.sockets.join(name));
        let server = "server=on,wait=off";
        let mut command = hardware.command(",memory-backend=ram");
        command
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=ram,size={}M,mem-path={},share=on",
                hardware.mem_mib,
                text(&self.ram)?
            ))
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-dtb")
            .arg(&self.dtb)
            .args(["-append", &self.append])
            .arg("-no-reboot")
            .args(["-d", "guest_errors", "-D"])
            .arg(&self.error_log)
            .arg("-qtest")
            .arg(format!("unix:{},{server}", socket(QTEST_SOCKET)?))
            .args(["-qtest-log", "none"])
            .arg("-qmp")
            .arg(format!("unix:{},{server}", socket(QMP_SOCKET)?))
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .args(["-device", "virtio-serial-device"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=ctl,path={},{server}",
                socket(CONTROL_SOCKET)?
            ))
            .arg("-device")
            .arg(format!("virtserialport,chardev=ctl,name={CONTROL_PORT}"));
        if let Some(initrd) = &self.initrd {
            command.arg("-initrd").arg(initrd);
        }
        if self.interactive {
            command.args(["-serial", "mon:stdio"]);
        } else {
            command
                .args(["-chardev", "stdio,id=con,signal=off"])
                .args(["-serial", "chardev:con"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
        }
        command.args(&self.extra).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Where the child stands, and its last words.
#[derive(Default)]
struct Life {
    status: Option<ExitStatus>,
    stderr: VecDeque<String>,
}

#[derive(Default)]
struct Shared {
    life: Mutex<Life>,
    changed: Condvar,
    kill: AtomicBool,
}

/// A running QEMU. Dropping it kills it.
///
/// The child is made and waited for by one thread, which lives as long as it does: the kernel kills
/// a child with `PR_SET_PDEATHSIG` when the *thread* that made it ends.
pub struct Qemu {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    console: Option<Console>,
}

impl Qemu {
    /// Starts QEMU. `tee` says where the console also goes, unless it is interactive.
    ///
    /// # Errors
    ///
    /// When QEMU can't be started.
    pub fn start(hardware: &Hardware, boot: &Boot, tee: Tee) -> anyhow::Result<Self> {
        let mut command = boot.command(hardware)?;
        log::debug!("{command:?}");
        // SAFETY: between fork and exec only one system call is made; nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                let signal = Some(rustix::process::Signal::KILL);
                Ok(rustix::process::set_parent_process_death_signal(signal)?)
            });
        }
        let shared = Arc::new(Shared::default());
        let (started, result) = mpsc::sync_channel(1);
        let keeper = thread::Builder::new().name("qemu".into()).spawn({
            let shared = Arc::clone(&shared);
            move || match command.spawn() {
                Ok(mut child) => {
                    let pipes = (child.stdin.take(), child.stdout.take());
                    let stderr = child.stderr.take().expect("piped");
                    let listener = {
                        let shared = Arc::clone(&shared);
                        thread::spawn(move || shared.listen(BufReader::new(stderr)))
                    };
                    // The receiver waits for it.
                    let _ = started.send(Ok(pipes));
                    shared.keep(&mut child);
                    let _ = listener.join();
                    shared.changed.notify_all();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let (stdin, stdout) = result
            .recv()
            .context("the thread that starts QEMU died")?
            .with_context(|| hardware.missing())?;
        let console = stdout
            .map(|out| Console::start(out, stdin, tee))
            .transpose()?;
        Ok(Self {
            shared,
            keeper: Some(keeper),
            console,
        })
    }

    /// The console, unless interactive.
    pub fn console(&self) -> Option<&Console> {
        self.console.as_ref()
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.life.lock().expect("QEMU's life").status
    }

    /// Waits up to `timeout` for its end.
    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        let mut life = self.shared.life.lock().expect("QEMU's life");
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if life.status.is_some() || left.is_zero() {
                return life.status;
            }
            life = self
                .shared
                .changed
                .wait_timeout(life, left)
                .expect("QEMU's life")
                .0;
        }
    }

    /// The last lines that QEMU wrote to its standard error.
    pub fn stderr(&self) -> String {
        let life = self.shared.life.lock().expect("QEMU's life");
        Vec::from(life.stderr.clone()).join("\n")
    }

    /// Kills it at once.
    pub fn kill(&self) {
        self.shared.kill.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn keep(&self, child: &mut Child) {
        let status = loop {
            if self.kill.load(Ordering::Relaxed) {
                // Fails when it is dead already.
                let _ = child.kill();
            }
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Err(error) => {
                    log::error!("wait for QEMU: {error}");
                    return;
                }
            }
        };
        self.life.lock().expect("QEMU's life").status = Some(status);
        self.changed.notify_all();
    }

    fn listen(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            log::warn!("QEMU: {line}");
            let mut life = self.life.lock().expect("QEMU's life");
            if life.stderr.len() == STDERR_LINES {
                life.stderr.pop_front();
            }
            life.stderr.push_back(line);
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
