// SPDX-License-Identifier: GPL-2.0

//! The guest's serial console, read line by line by any number of readers.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// What came since the last newline, e.g. a prompt.
    partial: String,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

/// A console; clones share it.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
    input: Arc<Mutex<Option<ChildStdin>>>,
}

/// Where the console's bytes also go.
#[derive(Default)]
pub struct Tee {
    /// Appended to this file.
    pub file: Option<File>,
    /// Copied to standard output.
    pub stdout: bool,
}

/// What [`Lines::next`] got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Nothing in time.
    Timeout,
    /// The console is closed and all was read.
    End,
}

impl Console {
    /// Reads `output` in a thread of its own until it ends; `input` is the guest's keyboard.
    ///
    /// # Errors
    ///
    /// When no thread can be had.
    pub fn start(
        mut output: impl Read + Send + 'static,
        input: Option<ChildStdin>,
        mut tee: Tee,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sink = Arc::clone(&shared);
        thread::Builder::new()
            .name("console".into())
            .spawn(move || {
                let mut buf = [0; 4096];
                let mut pending = Vec::new();
                while let Ok(n @ 1..) = output.read(&mut buf) {
                    if let Some(file) = &mut tee.file {
                        // A full disk must not stop the guest.
                        let _ = file.write_all(&buf[..n]);
                    }
                    if tee.stdout {
                        let mut out = std::io::stdout().lock();
                        let _ = out.write_all(&buf[..n]).and_then(|()| out.flush());
                    }
                    sink.take(&buf[..n], &mut pending);
                }
                let mut state = sink.state.lock().expect("console");
                if !state.partial.is_empty() {
                    let last = std::mem::take(&mut state.partial);
                    state.lines.push(last);
                }
                state.ended = true;
                sink.news.notify_all();
            })?;
        Ok(Self {
            shared,
            input: Arc::new(Mutex::new(input)),
        })
    }

    /// A reader that begins with the first line.
    pub fn lines(&self) -> Lines {
        Lines {
            shared: Arc::clone(&self.shared),
            next: 0,
        }
    }

    /// All complete lines so far.
    pub fn text(&self) -> Vec<String> {
        self.shared.state.lock().expect("console").lines.clone()
    }

    /// Waits until a line, or what stands on the unfinished last one, contains `needle`; the line.
    ///
    /// # Errors
    ///
    /// When `timeout` passes or the console ends first; with the last lines seen.
    pub fn wait_for(&self, needle: &str, timeout: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + timeout;
        let mut seen = 0;
        let mut state = self.shared.state.lock().expect("console");
        loop {
            let fresh = state.lines[seen..].iter().chain([&state.partial]);
            if let Some(line) = fresh.into_iter().find(|l| l.contains(needle)) {
                return Ok(line.clone());
            }
            seen = state.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let tail = state.lines[seen.saturating_sub(10)..].join("\n");
                let why = if state.ended { "ended" } else { "is silent" };
                bail!("console {why} without {needle:?}; last lines:\n{tail}");
            }
            state = self
                .shared
                .news
                .wait_timeout(state, left)
                .expect("console")
                .0;
        }
    }

    /// Types `text` on the guest's keyboard.
    ///
    /// # Errors
    ///
    /// When the console has no input, or QEMU is gone.
    pub fn send(&self, text: &str) -> anyhow::Result<()> {
        let mut input = self.input.lock().expect("console input");
        let input = input.as_mut().context("the console has no input")?;
        input.write_all(text.as_bytes())?;
        input.flush()?;
        Ok(())
    }
}

impl Shared {
    fn take(&self, bytes: &[u8], pending: &mut Vec<u8>) {
        let mut state = self.state.lock().expect("console");
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(pending);
                    state.lines.push(line.trim_end_matches('\r').to_owned());
                    pending.clear();
                }
                byte => pending.push(*byte),
            }
        }
        state.partial = String::from_utf8_lossy(pending).into_owned();
        self.news.notify_all();
    }
}

/// A reader of a console, with its own place.
pub struct Lines {
    shared: Arc<Shared>,
    next: usize,
}

impl Lines {
    /// The next line, waiting up to `timeout` for it.
    pub fn next(&mut self, timeout: Duration) -> Line {
        let until = Instant::now() + timeout;
        let mut state = self.shared.state.lock().expect("console");
        loop {
            if let Some(line) = state.lines.get(self.next) {
                self.next += 1;
                return Line::Text(line.clone());
            }
            if state.ended {
                return Line::End;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Line::Timeout;
            }
            state = self
                .shared
                .news
                .wait_timeout(state, left)
                .expect("console")
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn lines_prompts_and_end() {
        let (mut guest, host) = UnixStream::pair().unwrap();
        let mut log = tempfile::tempfile().unwrap();
        let tee = Tee {
            file: Some(log.try_clone().unwrap()),
            stdout: false,
        };
        let console = Console::start(host, None, tee).unwrap();
        let mut lines = console.lines();
        let short = Duration::from_millis(20);
        let long = Duration::from_secs(5);
        assert_eq!(lines.next(short), Line::Timeout);
        guest.write_all(b"one\r\ntw\xc3").unwrap();
        guest.write_all(b"\xa4o\nlogin: ").unwrap();
        assert_eq!(console.wait_for("login:", long).unwrap(), "login: ");
        assert_eq!(lines.next(long), Line::Text("one".into()));
        assert_eq!(lines.next(long), Line::Text("twäo".into()));
        let silent = console.wait_for("panic", short).unwrap_err().to_string();
        assert!(
            silent.contains("silent") && silent.contains("twäo"),
            "{silent}"
        );
        drop(guest);
        assert_eq!(lines.next(long), Line::Text("login: ".into()));
        assert_eq!(lines.next(long), Line::End);
        assert!(console
            .wait_for("panic", long)
            .unwrap_err()
            .to_string()
            .contains("ended"));
        assert!(console.send("x").is_err());
        let mut text = String::new();
        std::io::Seek::rewind(&mut log).unwrap();
        log.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\r\ntwäo\nlogin: ");
    }
}
