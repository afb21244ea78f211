// SPDX-License-Identifier: GPL-2.0

//! What a DSP remembers for tests: numbers, faults, banks that were used.

use crate::call::Call;
use crate::dsp::{Dsp, Inner};
use crate::port::{Bank, Fault, Mapping};
use crate::process::{Domain, Process};
use crate::script::Script;
use crate::strict::Rule;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults kept for a report; later ones are only counted.
const KEPT_FAULTS: usize = 200;
/// A fault of an access that a call made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRecord {
    /// Client id of the call.
    pub client: i32,
    /// Bank of the access.
    pub bank: Bank,
    /// What the SMMU said.
    pub fault: Fault,
}

/// Numbers that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub messages: AtomicU64,
    pub invokes: AtomicU64,
    pub kernel_calls: AtomicU64,
    pub replies: AtomicU64,
    pub drops: AtomicU64,
    pub attaches: AtomicU64,
    pub creates: AtomicU64,
    pub releases: AtomicU64,
    pub heaps: AtomicU64,
    pub queries: AtomicU64,
    pub query_pd: AtomicU64,
    pub opens: AtomicU64,
    pub faults: AtomicU64,
    pub last_client: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Dsp {
    /// Adds a script to those that are active.
    pub fn add_script(&self, script: &Script) {
        for rule in script.allow.iter().filter_map(|name| Rule::named(name)) {
            self.judge().allow(rule);
        }
        self.inner().script.add(self.label(), script);
    }

    /// Starts a test: forgets scripts, violations, faults, and which banks were used.
    pub fn begin_test(&self) {
        self.judge().reset();
        let mut inner = self.inner();
        inner.script.clear();
        inner.babble = None;
        inner.faults.clear();
        inner.used.clear();
        self.counters.faults.store(0, Ordering::Relaxed);
    }

    /// Faults since the test began (the first 200).
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.inner().faults.clone()
    }

    /// Banks that messages named since the test began.
    pub fn used_banks(&self) -> BTreeSet<Bank> {
        self.inner().used.clone()
    }

    pub(crate) fn record_fault(&self, call: &Call, bank: Bank, fault: &Fault) {
        if call.epoch != self.epoch() {
            return;
        }
        log::info!(
            "{}: client {} bank {bank}: {fault}",
            self.label(),
            call.request.client_id
        );
        count(&self.counters.faults);
        let mut inner = self.inner();
        if inner.faults.len() < KEPT_FAULTS {
            inner.faults.push(FaultRecord {
                client: call.request.client_id,
                bank,
                fault: fault.clone(),
            });
        }
    }

    /// A number of the DSP, by the names that [`crate::control`] documents.
    pub fn stat(&self, key: &str) -> Option<u64> {
        let c = &self.counters;
        let counter = match key {
            "messages" => &c.messages,
            "invokes" => &c.invokes,
            "kernel_calls" => &c.kernel_calls,
            "replies" => &c.replies,
            "drops" => &c.drops,
            "attaches" => &c.attaches,
            "creates" => &c.creates,
            "releases" => &c.releases,
            "heaps" => &c.heaps,
            "queries" => &c.queries,
            "query_pd" => &c.query_pd,
            "opens" => &c.opens,
            "faults" => &c.faults,
            "last_client" => &c.last_client,
            _ => return self.gauge(key),
        };
        Some(counter.load(Ordering::Relaxed))
    }

    /// How many bytes of the heap the processor itself reaches at their physical addresses;
    /// [`None`] if it is not behind the SMMU.
    pub fn reachable_heap(&self) -> Option<u64> {
        let (start, len) = self.config().heap?;
        let mappings = self.memory.own_mappings().ok()??;
        let reached = |mapping: &Mapping| {
            let end = (mapping.iova + mapping.len).min(start + len);
            end.saturating_sub(mapping.iova.max(start))
        };

        let same = mappings.iter().filter(|m| m.iova == m.pa && m.writable);
        Some(same.map(reached).sum())
    }

    fn gauge(&self, key: &str) -> Option<u64> {
        let listeners = |inner: &Inner| -> usize {
            inner
                .processes
                .values()
                .map(|process| process.listener.parked())
                .sum()
        };
        Some(match key {
            "violations" => self.judge().count(),
            "outstanding" => self.inner().outstanding.len() as u64,
            "processes" => self.inner().processes.len() as u64,
            "heap_reached" => self.reachable_heap().unwrap_or(0),
            "babbled" => {
                let inner = self.inner();
                inner.babble.as_ref().map_or(0, |babble| babble.sent())
            }
            "babbled_early" => self.inner().windows.early,
            "babbled_late" => self.inner().windows.late,
            "held" => self.inner().held.len() as u64,
            "listeners" => listeners(&self.inner()) as u64,
            "waiters" => {
                let inner = self.inner();
                let processes = inner.processes.values();
                processes.map(|p| p.messages.waiters() as u64).sum()
            }
            "threads" => {
                let inner = self.inner();
                inner.processes.values().map(|p| p.threads() as u64).sum()
            }
            "root" => self.count_processes(|p| p.domain == Domain::Root),
            "sensors" => self.count_processes(|p| p.domain == Domain::Sensors),
            "user" => self.count_processes(|p| p.domain == Domain::User),
            "static" => self.count_processes(|p| p.domain == Domain::Static),
            "polled" => self.count_processes(Process::polls),
            "parked" => {
                let inner = self.inner();
                (inner.held.len() + listeners(&inner)) as u64
            }
            "maps" => self
                .inner()
                .processes
                .values()
                .map(|process| process.holds() as u64)
                .sum(),
            "mappings" => self
                .config()
                .banks
                .iter()
                .map(|bank| self.mapped_bytes(*bank))
                .sum(),
            "banks" => self.config().banks.len() as u64,
            _ => return None,
        })
    }

    fn count_processes(&self, which: impl Fn(&Process) -> bool) -> u64 {
        let inner = self.inner();
        inner.processes.values().filter(|p| which(p)).count() as u64
    }

    /// Bytes that a bank maps; 0 when the bank has no table, or is not behind the SMMU.
    pub fn mapped_bytes(&self, bank: Bank) -> u64 {
        if self.memory.streams(bank).is_empty() {
            return 0;
        }
        let mappings = self.memory.mappings(bank).unwrap_or_default();
        mappings.iter().map(|mapping| mapping.len).sum()
    }
}
