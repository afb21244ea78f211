// SPDX-License-Identifier: GPL-2.0

//! The control port: how a test in the guest talks to the simulator.
//!
//! A stream of lines, one request, one answer. An answer starts with `ok`, `fail` or `error
//! <why>`. Answers marked * go on with n lines after `ok <n>`. `<dsp>` is a label; numbers may be
//! decimal or 0x-hexadecimal, statuses may be negative.
//!
//! | request | answer |
//! |---|---|
//! | `begin <test>` | `ok`; forgets scripts and records, loads the script of that name, if there is one |
//! | `end` | `ok`, or `fail <n>` and n lines of problems, after waiting up to 10 s for the test's calls and processes to end |
//! | `script <JSON on one line>` | `ok`; see [`crate::script`] |
//! | `allow <rule>` | `ok`; the test may break this rule of [`crate::strict`] |
//! | `allow-leaks` | `ok`; the driver is known to leave memory mapped, which `end` doesn't count then |
//! | `expect-fault <n>` | `ok`; adds to the number of faults that `end` wants |
//! | `expect-fault any` | `ok`; `end` takes any number of faults |
//! | `profile fastrpc\|qda [dsp]` | `ok`; whose driver is judged, on one DSP or on all |
//! | `stat <dsp> <key>` | `ok <number>`; keys below |
//! | `faults` | `ok <n>`*: `<dsp> client <c> bank <b> <kind> sid <s> iova <hex> level <l> r\|w` |
//! | `violations` | `ok <n>`*: `<dsp> <rule> (<source>): <detail>` |
//! | `release-held <dsp> [status]` | `ok <n calls>`; without a status they are executed |
//! | `complete-listener <dsp> <status>` | `ok <n calls>` |
//! | `kill <dsp> <client>` | `ok`; the process dies: its calls fail, later ones too, and the DSP sends the notice |
//! | `kill <dsp> <client> named` | `ok`; as before, but parked calls are not answered before the process is released, and the notice says which process it was |
//! | `say <dsp> <hex or -> [n]` | `ok`; the DSP sends this message, once or n times |
//! | `babble <dsp> on <seed>` or `babble <dsp> off` | `ok <messages>`, those since the last time; the DSP sends messages that mean nothing, whenever it has a channel, until the test ends |
//! | `reverse <dsp> <handle> <method> [client:<n>] [in:<hex>]... [out:<len>]...` | `ok <status> <hex or -> ...` |
//! | `reverse-open <dsp> <name>` | `ok <status> <handle> <error>` |
//! | `read-file <dsp> <name>` | `ok <hex or ->`; a file of the guest, by the service apps_std |
//! | `message <dsp> <text>` | `ok`; a line of the DSP for the log of the guest's message daemon |
//! | `restart <dsp> [ms]` | `ok`; the DSP closes its channel, and offers it again after 200 ms or so many |
//! | `crash <dsp>` | `ok`; the DSP hangs until the guest stops its remote processor, or `restart` |
//! | `touch <dsp> <client> <iova> <len> r\|w` | `ok`, or `fault <kind> sid <s> iova <hex> level <l> r\|w`; not counted as a fault of the test |
//! | `mappings <dsp> <bank>` | `ok <n>`*: `<iova hex> <pa hex> <len hex> r\|rw` |
//! | `entries <dsp> <bank> <iova> <len>` | `ok <n>`; pages and blocks of the bank's page table for this range |
//! | `streams <dsp> <bank>` | `ok <n>`*: stream id in hex |
//! | `processes <dsp>` | `ok <n>`*: `client <c> bank <b or -> memory <iova hex> <len hex> maps <n>`, both 0 when it was given none, and for each of the n ` <iova hex> <len hex>`: first the numbers that it maps, then its heap |
//! | `calls <dsp>` | `ok <n>`*: `client <c> method <m> at <iova hex> <len hex> args <n>`, and for each of the n ` <iova hex> <len hex>`, both 0 when it has no bytes: the calls that are held |
//! | `survey` | `ok banks <n> tables <n> mapped <bytes> shared <pairs>`, over all DSPs; see below |
//! | `edus` | `ok <n>`*: stream id in hex of each `edu` device that the board has |
//! | `edu <sid> read\|write <iova> <len>` | `ok`; it begins to copy from, or to, memory, which takes 0.1 s |
//! | `edu <sid> busy` | `ok 0` or `ok 1` |
//! | `dsps` | `ok <n>`*: `<label> sid_pos <n> banks <b>,<b>...` |
//! | `trace on\|off` | `ok`; messages go to the log |
//! | `hot <link> on <ns> [group]` or `hot <link> off` | `ok <answers> <late>`, those since the last time; the link's thread spins, and answers what needs no thinking after so many nanoseconds, and so many calls together, when they are there; no other call is answered sooner |
//! | `help` | `ok <n>`*: names of the requests |
//!
//! Keys of `stat`. Growing: `messages`, `invokes` (not built by the kernel), `kernel_calls`,
//! `replies`, `drops` (answers swallowed by a script), `attaches`, `creates`, `releases` (answered
//! 0), `heaps` (of static processes, handed over), `queries` (of attributes, answered 0),
//! `query_pd` (protection domain of the newest of them), `opens`, `last_client` (id of the newest
//! process). Since the test began: `faults`, `violations`. Since the last `babble`: `babbled`
//! (messages that mean nothing and that the guest has read), `babbled_early` (those that it has
//! read before its first message on its channel), `babbled_late` (those between its last messages,
//! each a RELEASE, and the end of the channel). Now: `outstanding`, `processes`, those
//! of each domain (`root`, `sensors`, `user`, `static`), those in poll mode (`polled`), `threads`
//! (that have called and have not exited), `held`, `listeners`, `parked` (held and listeners),
//! `waiters` (for messages), `maps` (numbers and heap pieces mapped into processes), `mappings`
//! (bytes that all banks map), `heap_reached` (bytes of the reserved memory that the processor
//! itself reaches through the SMMU, at their physical addresses), `banks`.
//!
//! Banks without a stream id reach all memory; they count as mapping nothing. `survey` counts the
//! other banks, the page tables that their streams are translated by, the bytes that these map, and
//! pairs of banks that share a table although the device tree gives them no stream id in common.

mod lines;
mod survey;

use crate::dsp::Dsp;
use crate::edu::Edu;
use crate::glink::Restarter;
use crate::pace::Pace;
use crate::pd::listener::{Answer, Reverse};
use crate::pd::{apps_remotectl, apps_std};
use crate::port::{Bank, Fault};
use crate::script::Script;
use crate::stats::FaultRecord;
use anyhow::{anyhow, bail, Context as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long `end` waits for calls and processes: longer than a guest takes that is slow and has to
/// share its CPU, shorter than a test waits for the answer.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a reverse call waits for a listener, and for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how many milliseconds a DSP that restarts is away.
const RESTART_MS: u64 = 200;

#[derive(Debug, Default)]
struct Test {
    name: Option<String>,
    faults: u64,
    any_faults: bool,
    /// Whether memory may stay mapped.
    leaks: bool,
    /// Clients that lived before it began, by DSP; not its business.
    before: BTreeMap<String, BTreeSet<i32>>,
}

/// Serves control ports, and is the same as a Rust API.
#[derive(Debug)]
pub struct Server {
    dsps: Vec<Arc<Dsp>>,
    restarters: BTreeMap<String, Restarter>,
    edus: Vec<Arc<Edu>>,
    scripts: Option<PathBuf>,
    paces: Vec<(String, Arc<Pace>)>,
    test: Mutex<Test>,
}

impl Server {
    /// A server for these DSPs.
    pub fn new(dsps: Vec<Arc<Dsp>>) -> Self {
        Self {
            dsps,
            restarters: BTreeMap::new(),
            edus: Vec::new(),
            scripts: None,
            paces: Vec::new(),
            test: Mutex::new(Test::default()),
        }
    }

    /// Loads scripts of tests from this directory.
    pub fn with_scripts(mut self, dir: impl Into<PathBuf>) -> Self {
        self.scripts = Some(dir.into());
        self
    }

    /// Restarts the DSP with this label by `restarter`.
    pub fn with_restarter(mut self, label: &str, restarter: Restarter) -> Self {
        self.restarters.insert(label.into(), restarter);
        self
    }

    /// What restarts the DSP with this label.
    ///
    /// # Errors
    ///
    /// It can't be restarted.
    pub fn restarter(&self, label: &str) -> anyhow::Result<&Restarter> {
        let found = self.restarters.get(label);
        found.ok_or_else(|| anyhow!("DSP {label:?} can't be restarted"))
    }

    /// Offers these devices to tests.
    pub fn with_edus(mut self, edus: &[Arc<Edu>]) -> Self {
        self.edus = edus.to_vec();
        self
    }

    /// Lets these links be measured; see [`crate::machine::Machine::paces`].
    pub fn with_paces(mut self, paces: Vec<(String, Arc<Pace>)>) -> Self {
        self.paces = paces;
        self
    }

    /// Sets the pace of a link, and how many calls it answers together. Gives how many answers it gave at the last one, and how many of
    /// them late.
    ///
    /// # Errors
    ///
    /// There is no such link.
    pub fn set_pace(
        &self,
        link: &str,
        service: Option<Duration>,
        group: usize,
    ) -> anyhow::Result<(u64, u64)> {
        let found = self.paces.iter().find(|(label, _)| label == link);
        let (_, pace) = found.ok_or_else(|| anyhow!("no link {link:?}"))?;
        let counts = pace.counts();
        pace.set(service, group);
        Ok(counts)
    }

    fn test(&self) -> MutexGuard<'_, Test> {
        self.test.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The DSP with this label.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn dsp(&self, label: &str) -> anyhow::Result<&Arc<Dsp>> {
        let found = self.dsps.iter().find(|dsp| dsp.label() == label);
        found.ok_or_else(|| anyhow!("no DSP {label:?}"))
    }

    /// Starts a test.
    ///
    /// # Errors
    ///
    /// Its script is wrong.
    pub fn begin(&self, name: &str) -> anyhow::Result<()> {
        log::info!("test {name}");
        let script = match &self.scripts {
            Some(dir) => Script::load(dir, name)?,
            None => Script::default(),
        };
        let before = |dsp: &Arc<Dsp>| {
            let clients = dsp
                .processes()
                .iter()
                .map(|process| process.client)
                .collect();
            (dsp.label().to_owned(), clients)
        };
        *self.test() = Test {
            name: Some(name.into()),
            faults: 0,
            any_faults: false,
            leaks: false,
            before: self.dsps.iter().map(before).collect(),
        };
        for dsp in &self.dsps {
            dsp.begin_test();
        }
        self.script(&script);
        Ok(())
    }

    /// Adds a script.
    pub fn script(&self, script: &Script) {
        self.expect_faults(script.expect_faults);
        for dsp in &self.dsps {
            dsp.add_script(script);
        }
    }

    /// Adds to the number of faults that the test means to cause.
    pub fn expect_faults(&self, n: u64) {
        self.test().faults += n;
    }

    /// Lets the test cause any number of faults.
    pub fn expect_any_faults(&self) {
        self.test().any_faults = true;
    }

    /// Doesn't count memory that stays mapped.
    pub fn allow_leaks(&self) {
        self.test().leaks = true;
    }

    /// Ends a test: gives its problems, none when all is well.
    ///
    /// # Errors
    ///
    /// No test was begun.
    pub fn end(&self) -> anyhow::Result<Vec<String>> {
        let test = std::mem::take(&mut *self.test());
        let name = test.name.clone().context("no test was begun")?;
        let deadline = Instant::now() + SETTLE;
        let mut left = self.leftovers(&test);
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = self.leftovers(&test);
        }
        self.check_shared();
        let mut problems = left;
        for dsp in &self.dsps {
            let violations = dsp.judge().violations();
            problems.extend(
                violations
                    .iter()
                    .map(|violation| format!("{} {violation}", dsp.label())),
            );
            let more = dsp.judge().count() - violations.len() as u64;
            if more != 0 {
                problems.push(format!("{} {more} violations more", dsp.label()));
            }
        }
        let faults: u64 = self.dsps.iter().filter_map(|dsp| dsp.stat("faults")).sum();
        if faults != test.faults && !test.any_faults {
            problems.push(format!("{faults} faults, {} expected", test.faults));
            problems.extend(self.faults());
        }
        for dsp in &self.dsps {
            dsp.begin_test();
        }
        log::info!("test {name}: {} problems", problems.len());
        for problem in &problems {
            log::warn!("test {name}: {problem}");
        }
        Ok(problems)
    }

    /// What the test has not cleaned up yet.
    fn leftovers(&self, test: &Test) -> Vec<String> {
        let mut left = Vec::new();
        for dsp in &self.dsps {
            let label = dsp.label();
            let none = BTreeSet::new();
            let before = test.before.get(label).unwrap_or(&none);
            let mut foreign = BTreeSet::new();
            for process in dsp.processes() {
                if before.contains(&process.client) {
                    foreign.extend(process.known_bank());
                } else {
                    left.push(format!("{label} client {} is alive", process.client));
                }
            }
            let inner = dsp.inner();
            let calls = inner.outstanding.values().map(|call| call.request);
            let calls: Vec<_> = calls
                .filter(|request| !before.contains(&request.client_id))
                .collect();
            drop(inner);
            for request in calls {
                left.push(format!(
                    "{label} call {:#x} of client {} on handle {} is outstanding",
                    request.ctx, request.client_id, request.handle
                ));
            }
            for bank in dsp.used_banks() {
                let is_foreign = |other: &Bank| dsp.is_one_context(bank, *other);
                let bytes = dsp.mapped_bytes(bank);
                if bytes != 0 && !foreign.iter().any(is_foreign) && !test.leaks {
                    left.push(format!("{label} bank {bank}: {bytes:#x} bytes are mapped"));
                }
            }
        }
        left
    }

    fn faults(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for dsp in &self.dsps {
            for FaultRecord {
                client,
                bank,
                fault,
            } in dsp.faults()
            {
                lines.push(format!(
                    "{} client {client} bank {bank} {}",
                    dsp.label(),
                    fault_line(&fault)
                ));
            }
        }
        lines
    }

    /// Makes a call to the guest: through `client`, or the first process that listens.
    ///
    /// # Errors
    ///
    /// Nobody listens or answers within 5 s each.
    pub fn reverse(
        &self,
        dsp: &Dsp,
        client: Option<i32>,
        call: &Reverse,
    ) -> anyhow::Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listens = |process: &Arc<crate::process::Process>| {
                process.listener.parked() != 0
                    && client.is_none_or(|client| client == process.client)
            };
            if let Some(process) = dsp.processes().into_iter().find(listens) {
                return dsp.reverse(&process, call, PATIENCE);
            }
            if Instant::now() > deadline {
                bail!("no listener is parked");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Opens an interface of the guest by name; gives status, handle and error word.
    ///
    /// # Errors
    ///
    /// As for [`Server::reverse`]; the guest sent too little.
    pub fn reverse_open(&self, dsp: &Dsp, name: &str) -> anyhow::Result<(i32, u32, u32)> {
        apps_remotectl::opened(&self.reverse(dsp, None, &apps_remotectl::open(name))?)
    }

    /// Reads a file of the guest, through the first process that listens.
    ///
    /// # Errors
    ///
    /// As for [`Server::reverse`]; the guest has no such file.
    pub fn read_file(&self, dsp: &Dsp, name: &str) -> anyhow::Result<Vec<u8>> {
        apps_std::read_file(|call| self.reverse(dsp, None, call), name)
    }

    /// Writes a line to the message log of the first process that has a reader for it.
    ///
    /// # Errors
    ///
    /// No thread waits for messages, or the log can't be reached.
    pub fn message(&self, dsp: &Dsp, line: &str) -> anyhow::Result<()> {
        let processes = dsp.processes();
        let process = processes
            .iter()
            .find(|process| process.messages.waiters() != 0)
            .context("nobody waits for messages")?;
        process.messages.write(dsp, line)
    }

    /// Answers all parked listeners of a DSP.
    pub fn complete_listeners(&self, dsp: &Dsp, status: i32) -> usize {
        let processes = dsp.processes();
        processes
            .iter()
            .map(|process| dsp.complete_listeners(process, status))
            .sum()
    }
}

fn fault_line(fault: &Fault) -> String {
    let way = if fault.write { "w" } else { "r" };
    format!(
        "{} sid {:#x} iova {:#x} level {} {way}",
        fault.kind, fault.sid, fault.iova, fault.level
    )
}
