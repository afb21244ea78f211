// SPDX-License-Identifier: GPL-2.0

//! Client of QEMU's qtest socket: the bus as the CPU sees it, and interrupt lines.
//!
//! One line per command, one line per answer. QEMU aborts on an interrupt number that the device
//! does not have, so numbers come from the board description, never from the guest.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;

use crate::qemu::dial;

/// A qtest connection; threads take turns.
pub struct Qtest {
    io: Mutex<BufReader<UnixStream>>,
}

impl Qtest {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = dial(path, "qtest")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            io: Mutex::new(BufReader::new(stream)),
        })
    }

    /// Sends `commands` in one write and returns the word after `OK` of each answer.
    fn run(&self, commands: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut io = self.io.lock().expect("qtest lock");
        let mut text = commands.join("\n");
        text.push('\n');
        io.get_mut()
            .write_all(text.as_bytes())
            .context("write to qtest")?;
        let mut answers = Vec::with_capacity(commands.len());
        while answers.len() < commands.len() {
            let mut line = String::new();
            if io.read_line(&mut line).context("read from qtest")? == 0 {
                bail!("qtest closed the connection: QEMU is gone");
            }
            let line = line.trim_end();
            if line.starts_with("IRQ ") {
                continue;
            }
            let Some(value) = line.strip_prefix("OK") else {
                bail!("qtest: {:?} answered {line:?}", commands[answers.len()]);
            };
            answers.push(value.trim().to_owned());
        }
        Ok(answers)
    }

    fn read(&self, command: &str) -> anyhow::Result<u64> {
        let answer = &self.run(&[command])?[0];
        u64::from_str_radix(answer.trim_start_matches("0x"), 16)
            .with_context(|| format!("qtest: {command:?} answered {answer:?}"))
    }

    /// Reads a 32-bit register at physical address `pa`.
    ///
    /// # Errors
    ///
    /// When QEMU is gone.
    pub fn readl(&self, pa: u64) -> anyhow::Result<u32> {
        Ok(self.read(&format!("readl {pa:#x}"))? as u32)
    }

    /// Reads a 64-bit register at physical address `pa`.
    ///
    /// # Errors
    ///
    /// When QEMU is gone.
    pub fn readq(&self, pa: u64) -> anyhow::Result<u64> {
        self.read(&format!("readq {pa:#x}"))
    }

    /// Writes a 32-bit register at physical address `pa`.
    ///
    /// # Errors
    ///
    /// When QEMU is gone.
    pub fn writel(&self, pa: u64, value: u32) -> anyhow::Result<()> {
        self.run(&[&format!("writel {pa:#x} {value:#x}")]).map(drop)
    }

    /// Writes a 64-bit register at physical address `pa`.
    ///
    /// # Errors
    ///
    /// When QEMU is gone.
    pub fn writeq(&self, pa: u64, value: u64) -> anyhow::Result<()> {
        self.run(&[&format!("writeq {pa:#x} {value:#x}")]).map(drop)
    }

    /// Raises and lowers input `line` of the device at `qom_path`: one edge.
    ///
    /// # Errors
    ///
    /// When QEMU is gone. It aborts, too, when the device has no such input.
    pub fn pulse(&self, qom_path: &str, line: u32) -> anyhow::Result<()> {
        let up = format!("set_irq_in {qom_path} unnamed-gpio-in {line} 1");
        let down = format!("set_irq_in {qom_path} unnamed-gpio-in {line} 0");
        self.run(&[&up, &down]).map(drop)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// Plays QEMU: answers each line by `script`, in order, and returns what it was sent.
    pub(crate) fn serve(
        script: &'static [&'static str],
    ) -> (Qtest, thread::JoinHandle<Vec<String>>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qt");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let _dir = dir;
            let (stream, _) = listener.accept().unwrap();
            let mut io = BufReader::new(stream);
            let mut seen = Vec::new();
            for answer in script {
                let mut line = String::new();
                io.read_line(&mut line).unwrap();
                seen.push(line.trim_end().to_owned());
                io.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            seen
        });
        (Qtest::connect(&path).unwrap(), server)
    }

    #[test]
    fn reads_and_pulses() {
        let (qt, server) = serve(&["OK 0x00000000000000ff\n", "IRQ raise 3\nOK\n", "OK\n"]);
        assert_eq!(qt.readq(0x905_0080).unwrap(), 0xff);
        qt.pulse("/machine/unattached/device[1]", 200).unwrap();
        let seen = server.join().unwrap();
        assert_eq!(seen[0], "readq 0x9050080");
        assert!(seen[1].ends_with("unnamed-gpio-in 200 1"), "{seen:?}");
        assert!(seen[2].ends_with("unnamed-gpio-in 200 0"), "{seen:?}");
    }

    #[test]
    fn a_refusal_and_a_hang_up_are_errors() {
        let (qt, server) = serve(&["FAIL Unknown command\n"]);
        assert!(qt.readl(0).unwrap_err().to_string().contains("FAIL"));
        server.join().unwrap();
        assert!(qt.readl(0).is_err());
    }
}
