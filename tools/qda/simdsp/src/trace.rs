// SPDX-License-Identifier: GPL-2.0

//! Records of what the DSPs did with memory: faults always, walks when switched on.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use crate::port::Bank;
use crate::port::Fault;

/// Faults kept; a flood beyond it is only counted.
const FAULT_LIMIT: usize = 1 << 16;
/// Walks kept.
const WALK_LIMIT: usize = 1 << 20;

/// A fault, with when and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedFault {
    /// Time since the log was made.
    pub at: Duration,
    /// Label of the DSP.
    pub dsp: String,
    /// Bank of the access.
    pub bank: Bank,
    /// What was refused.
    pub fault: Fault,
}

impl fmt::Display for LoggedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.at.as_secs_f64();
        write!(
            f,
            "{secs:.3} {} bank {}: {}",
            self.dsp, self.bank, self.fault
        )
    }
}

#[derive(Debug)]
struct Faults {
    since: Instant,
    list: Mutex<Vec<LoggedFault>>,
    total: AtomicU64,
}

/// All faults of all DSPs of a machine; clones share one log.
#[derive(Debug, Clone)]
pub struct FaultLog(Arc<Faults>);

impl Default for FaultLog {
    fn default() -> Self {
        Self(Arc::new(Faults {
            since: Instant::now(),
            list: Mutex::new(Vec::new()),
            total: AtomicU64::new(0),
        }))
    }
}

impl FaultLog {
    /// Adds a fault of `bank` of the DSP with label `dsp`.
    pub fn push(&self, dsp: &str, bank: Bank, fault: &Fault) {
        let entry = LoggedFault {
            at: self.0.since.elapsed(),
            dsp: dsp.to_owned(),
            bank,
            fault: fault.clone(),
        };
        log::info!("fault: {entry}");
        self.0.total.fetch_add(1, Ordering::Relaxed);
        let mut list = self.0.list.lock().expect("fault log");
        if list.len() < FAULT_LIMIT {
            list.push(entry);
        }
    }

    /// Faults so far, also those that [`take`](Self::take) removed or that were too many to keep.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// A copy of the faults that are kept, oldest first.
    pub fn list(&self) -> Vec<LoggedFault> {
        self.0.list.lock().expect("fault log").clone()
    }

    /// Removes and returns the faults that are kept, oldest first.
    pub fn take(&self) -> Vec<LoggedFault> {
        std::mem::take(&mut self.0.list.lock().expect("fault log"))
    }
}

/// Granularity of the trace in bytes: the protocol's page, whatever the tables use.
const PAGE: u64 = 4096;

/// Pages that a DSP went through one after the other, contiguous on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Label of the DSP.
    pub dsp: String,
    /// Bank of the access.
    pub bank: Bank,
    /// Stream id; `None` for a bank with physical addresses.
    pub sid: Option<u32>,
    /// I/O virtual address of the first page.
    pub iova: u64,
    /// Physical address behind it.
    pub pa: u64,
    /// Length in bytes: whole pages of 4096.
    pub len: u64,
    /// Whether they were written.
    pub write: bool,
}

impl Walk {
    /// Number of pages of 4096 bytes.
    pub fn pages(&self) -> u64 {
        self.len / PAGE
    }

    /// Takes `next` in, if it is among these pages or goes on right after them.
    fn join(&mut self, next: &Walk) -> bool {
        let same = (self.bank, self.sid, self.write) == (next.bank, next.sid, next.write)
            && self.dsp == next.dsp
            && self.iova.wrapping_sub(self.pa) == next.iova.wrapping_sub(next.pa)
            && (self.iova..=self.iova + self.len).contains(&next.iova);
        if same {
            self.len = self.len.max(next.iova + next.len - self.iova);
        }
        same
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = if self.write { "write" } else { "read" };
        write!(f, "{} bank {} ", self.dsp, self.bank)?;
        match self.sid {
            Some(sid) => write!(f, "sid {sid:#x} ")?,
            None => write!(f, "no SMMU ")?,
        }
        write!(
            f,
            "{op} iova {:#x}+{:#x} -> pa {:#x} ({} page{})",
            self.iova,
            self.len,
            self.pa,
            self.pages(),
            if self.pages() == 1 { "" } else { "s" }
        )
    }
}

#[derive(Debug, Default)]
struct Walks {
    on: AtomicBool,
    list: Mutex<Vec<Walk>>,
}

/// The pages that the DSPs walked, while switched on; clones share one trace.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Walks>);

impl Trace {
    /// Switches recording; what is recorded stays until [`take`](Self::take).
    pub fn set(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    /// Whether walks are recorded.
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Records an access of any length and alignment to one page or block; joins the last record
    /// when it can.
    pub fn record(&self, mut walk: Walk) {
        if !self.is_on() {
            return;
        }
        let before = walk.iova % PAGE;
        walk.iova -= before;
        walk.pa -= before;
        walk.len = (before + walk.len).next_multiple_of(PAGE);
        let mut list = self.0.list.lock().expect("trace");
        if list.last_mut().is_some_and(|last| last.join(&walk)) {
            return;
        }
        if list.len() < WALK_LIMIT {
            list.push(walk);
        }
    }

    /// Removes and returns what was recorded, oldest first.
    pub fn take(&self) -> Vec<Walk> {
        std::mem::take(&mut self.0.list.lock().expect("trace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(iova: u64, pa: u64, len: u64) -> Walk {
        Walk {
            dsp: "cdsp".into(),
            bank: 1,
            sid: Some(0x1401),
            iova,
            pa,
            len,
            write: false,
        }
    }

    #[test]
    fn runs_are_joined_only_while_on() {
        let trace = Trace::default();
        trace.record(access(0x1000, 0x9000, 8));
        trace.set(true);
        trace.clone().record(access(0x1ffc, 0x9ffc, 4));
        trace.record(access(0x2000, 0xa000, 1));
        trace.record(access(0x1010, 0x9010, 1));
        trace.record(access(0x3000, 0x5000, 0x1001));
        let write = Walk {
            write: true,
            ..access(0x3000, 0x5000, 1)
        };
        trace.record(write);
        let walks: Vec<String> = trace.take().iter().map(Walk::to_string).collect();
        assert_eq!(
            walks,
            [
                "cdsp bank 1 sid 0x1401 read iova 0x1000+0x2000 -> pa 0x9000 (2 pages)",
                "cdsp bank 1 sid 0x1401 read iova 0x3000+0x2000 -> pa 0x5000 (2 pages)",
                "cdsp bank 1 sid 0x1401 write iova 0x3000+0x1000 -> pa 0x5000 (1 page)"
            ]
        );
        assert!(trace.take().is_empty());
    }

    #[test]
    fn faults_are_shared_and_counted() {
        let log = FaultLog::default();
        let fault = Fault {
            kind: "F_TRANSLATION",
            sid: 0x1402,
            iova: 0xfffd_0000,
            level: 3,
            write: true,
        };
        log.clone().push("cdsp", 2, &fault);
        let text = log.list()[0].to_string();
        assert!(
            text.ends_with("cdsp bank 2: F_TRANSLATION sid 0x1402 iova 0xfffd0000 level 3 (write)"),
            "{text}"
        );
        assert_eq!((log.take().len(), log.list().len(), log.total()), (1, 0, 1));
    }
}
