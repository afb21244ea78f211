// SPDX-License-Identifier: GPL-2.0

//! Client of QEMU's monitor socket (QMP): finding the interrupt controller, ending the machine.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use serde_json::json;
use serde_json::Value;

use crate::qemu::dial;

/// A QMP connection after capability negotiation.
pub struct Qmp {
    io: Mutex<BufReader<UnixStream>>,
}

impl Qmp {
    /// Connects to the socket at `path` and negotiates.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or the greeting is not QMP's.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = dial(path, "QMP")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut io = BufReader::new(stream);
        let greeting = read_value(&mut io)?;
        let version = &greeting["QMP"]["version"]["qemu"];
        if !version.is_object() {
            bail!("not a QMP greeting: {greeting}");
        }
        log::info!(
            "QEMU {}.{}.{}",
            version["major"],
            version["minor"],
            version["micro"]
        );
        let qmp = Self { io: Mutex::new(io) };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns its `return` value; events that come in between are dropped.
    ///
    /// # Errors
    ///
    /// The `desc` of QEMU's error, or that the connection is gone.
    pub fn execute(&self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let mut io = self.io.lock().expect("qmp lock");
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(io.get_mut(), "{request}").context("write to QMP")?;
        loop {
            let mut answer = read_value(&mut *io)?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QMP {command}: {}", error["desc"]);
            }
            log::debug!("QMP event {answer}");
        }
    }

    /// QOM path of the GICv2 or GICv3, whose unnamed inputs are the SPIs.
    ///
    /// Its index among the unattached devices depends on the number of CPUs.
    ///
    /// # Errors
    ///
    /// When the machine has none.
    pub fn find_gic(&self) -> anyhow::Result<String> {
        const PARENT: &str = "/machine/unattached";
        let children = self.execute("qom-list", json!({ "path": PARENT }))?;
        children
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| {
                matches!(
                    c["type"].as_str(),
                    Some("child<arm-gicv3>" | "child<arm_gic>")
                )
            })
            .and_then(|c| c["name"].as_str())
            .map(|name| format!("{PARENT}/{name}"))
            .ok_or_else(|| anyhow!("no GIC under {PARENT}: {children}"))
    }

    /// Asks QEMU to exit.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn quit(&self) -> anyhow::Result<()> {
        self.execute("quit", json!({})).map(drop)
    }
}

fn read_value(io: &mut impl BufRead) -> anyhow::Result<Value> {
    let mut line = String::new();
    if io.read_line(&mut line).context("read from QMP")? == 0 {
        bail!("QMP closed the connection: QEMU is gone");
    }
    serde_json::from_str(&line).with_context(|| format!("QMP sent {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn finds_the_gic_past_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut io = BufReader::new(stream);
            let greeting =
                json!({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}});
            writeln!(io.get_mut(), "{greeting}").unwrap();
            let answers = [
                vec![json!({"return": {}})],
                vec![
                    json!({"event": "RESUME"}),
                    json!({"return": [
                        {"name": "device[0]", "type": "child<cortex-a57-arm-cpu>"},
                        {"name": "device[2]", "type": "child<arm-gicv3>"}]}),
                ],
                vec![json!({"error": {"class": "GenericError", "desc": "no such thing"}})],
            ];
            for answer in answers {
                read_value(&mut io).unwrap();
                for a in answer {
                    writeln!(io.get_mut(), "{a}").unwrap();
                }
            }
        });
        let qmp = Qmp::connect(&path).unwrap();
        assert_eq!(qmp.find_gic().unwrap(), "/machine/unattached/device[2]");
        let error = qmp.execute("x", json!({})).unwrap_err();
        assert!(error.to_string().contains("no such thing"));
        server.join().unwrap();
    }
}
