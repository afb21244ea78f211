// SPDX-License-Identifier: GPL-2.0

//! What the DSP insists on.
//!
//! Each rule names its source: a line of `drivers/misc/fastrpc.c` of Linux 7.3.4 that keeps it, or
//! a rule of the driver's design. A violation is recorded and logged; the DSP goes on as well as
//! it can. `fastrpc.ko` passes every rule of [`Profile::Fastrpc`]; the other rules hold for
//! [`Profile::Qda`] only, each for the reason given at [`Rule::only_qda`]. The checks themselves
//! are in [`crate::check`].

use crate::wire::Scalars;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whose driver is being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Upstream `drivers/misc/fastrpc.c`.
    Fastrpc,
    /// The driver of this repository: every rule.
    #[default]
    Qda,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $name:literal $source:literal,)*) => {
        /// The rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $rule,)* }

        impl Rule {
            /// All rules.
            pub const ALL: &'static [Rule] = &[$(Rule::$rule,)*];

            /// Name, as scripts and reports use it.
            pub const fn name(self) -> &'static str {
                match self { $(Rule::$rule => $name,)* }
            }

            /// Where the rule comes from.
            pub const fn source(self) -> &'static str {
                match self { $(Rule::$rule => $source,)* }
            }
        }
    };
}

rules! {
    /// A message is 40 bytes.
    MessageLength "message-length" "fastrpc.c:1279",
    /// `client_id` is 0 on calls that the kernel builds, and only on them.
    KernelClient "kernel-client" "fastrpc.c:1269",
    /// A user call names a live DSP process.
    UnknownClient "unknown-client" "fastrpc.c:1689, design rule 11",
    /// A new process has an id that no live one has, until the RELEASE is answered.
    ClientReused "client-reused" "fastrpc.c:1736, design rule 11",
    /// One call at a time per (client, thread); one that its caller abandoned must be allowed.
    ThreadBusy "thread-busy" "fastrpc.c:1267,1395, design rule 11",
    /// No two outstanding calls have the same context.
    DuplicateContext "duplicate-context" "fastrpc.c:747-754",
    /// Context bits 3:0 tell the process' protection domain.
    PdBits "pd-bits" "fastrpc.c:1272, 1839, 1608, 1501",
    /// Context bits 7:4 are 0.
    ContextReserved "context-reserved" "fastrpc.c:50-53, design rule 11",
    /// Scalars of a kernel call are exactly those of its method, attributes 0.
    KernelScalars "kernel-scalars" "fastrpc.c:1535, 1651, 1718, 1838, 1898, 2012, 2111, 2178, 2247",
    /// Buffers of a kernel call have exactly the sizes of their structures.
    KernelSize "kernel-size" "fastrpc.c:166-194, 1462, 1569, 1892",
    /// Fields of a kernel call agree with each other.
    KernelField "kernel-field" "fastrpc.c:1497-1533, 1602-1641, 2097, 2229",
    /// A process begins with four times the memory of its image, at least 2 MiB, in whole MiB.
    ProcessMemory "process-memory" "fastrpc.c:1616",
    /// The signature of an image is a part of it.
    SignatureLength "signature-length" "uapi/drm/qda_accel.h: siglen",
    /// The metadata buffer is page aligned.
    MetaUnaligned "meta-unaligned" "fastrpc.c:498, 1105 (dma_alloc_coherent)",
    /// `size` is a multiple of 4096.
    SizeUnaligned "size-unaligned" "fastrpc.c:1276",
    /// `size` covers the metadata and every inline argument.
    SizeTooSmall "size-too-small" "fastrpc.c:1025-1043",
    /// `size` is no more than that takes, rounded up to 4096.
    SizeTooLarge "size-too-large" "fastrpc.c:1025-1043, 1276",
    /// The bank number of an address is one of the DSP's.
    NoSuchBank "no-such-bank" "fastrpc.c:523",
    /// An address fits the bank's DMA width and does not run into the bank number.
    AddressTooWide "address-too-wide" "fastrpc.c:2383",
    /// All addresses of a process are in one bank, or in banks that have a stream id in common.
    BankMixed "bank-mixed" "fastrpc.c:524,880, design rule 5",
    /// A non-empty buffer has a `pv`.
    PvZero "pv-zero" "fastrpc.c:1140,1167, design rule 4",
    /// `num` is 1 for arguments with bytes, 0 for others.
    ListNumber "list-number" "fastrpc.c:1131,1197",
    /// `pgidx` is an index of the page table.
    PageIndex "page-index" "fastrpc.c:1132,1198",
    /// A page entry of a buffer starts at a page, so that the low 12 bits of `pv` mean one thing.
    PageUnaligned "page-unaligned" "fastrpc.c:1171",
    /// A page entry covers its argument.
    PageTooSmall "page-too-small" "fastrpc.c:1149-1153,1173-1175",
    /// No argument lies on the tables of its own call.
    ArgumentOnTables "argument-on-tables" "fastrpc.c:1119",
    /// All that page entries name is mapped in the bank.
    Unmapped "unmapped" "fastrpc.c:1141,1168",
    /// List of returned numbers and poll word are zero when the call is sent.
    StaleTail "stale-tail" "fastrpc.c:1111, design rule 14",
    /// The address of a static process' heap is physical: no bank number.
    HeapHasBank "heap-has-bank" "fastrpc.c:1520, 2533",
    /// The heap of static processes is what the device tree reserves.
    HeapWrong "heap-wrong" "fastrpc.c:1520, 2533",
    /// The heap of static processes is handed over with the first of them, and only then.
    HeapOnce "heap-once" "fastrpc.c:1510-1531",
    /// Where the processor itself is behind the SMMU, that lets it at all of the heap, at its
    /// physical address.
    HeapUnreachable "heap-unreachable" "qcom_q6v5_pas.c:275",
    /// `pv` of an inline argument is its own I/O virtual address.
    PvNotIova "pv-not-iova" "design rule 4",
    /// No `pv` is a kernel address.
    KernelPointer "kernel-pointer" "design rule 4",
    /// Inline arguments have storage of their own.
    ArgumentsOverlap "arguments-overlap" "design rule 4",
    /// A handle's offset and length lie within its page entry.
    HandleRange "handle-range" "design rule 8",
    /// A number is mapped once.
    MappedTwice "mapped-twice" "design rule 17",
    /// What is unmapped was mapped, with the same address and length.
    UnknownMapping "unknown-mapping" "fastrpc.c:2035-2049, 2155-2169, design rule 17",
    /// Every process is released before its channel goes.
    MissingRelease "missing-release" "fastrpc.c:1730, design rule 13",
    /// Two banks share a page table only if they have a stream id in common.
    BankShared "bank-shared" "design rule 5",
}

impl Rule {
    /// The rule of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// Whether `fastrpc.ko` is let off, because:
    ///
    /// * it sends kernel addresses and shares the storage of overlapping inline arguments;
    /// * it rounds the size of a call up to its kernel's pages, which may have 64 KiB;
    /// * it passes a handle's offset, the length of a signature, and repeated MEM_MAPs of one fd,
    ///   as the program gave them;
    /// * MEM_UNMAP of an fd that was never mapped reaches the DSP with address 0;
    /// * it sends no RELEASE when the channel goes while files are open.
    pub const fn only_qda(self) -> bool {
        matches!(
            self,
            Rule::SizeTooLarge
                | Rule::SignatureLength
                | Rule::PvNotIova
                | Rule::KernelPointer
                | Rule::ArgumentsOverlap
                | Rule::HandleRange
                | Rule::MappedTwice
                | Rule::UnknownMapping
                | Rule::MissingRelease
        )
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.rule.name(),
            self.rule.source(),
            self.detail
        )
    }
}

/// Violations kept; later ones are only counted.
const KEPT: usize = 200;

#[derive(Debug, Default)]
struct Record {
    profile: Profile,
    allowed: BTreeSet<Rule>,
    kept: Vec<Violation>,
    count: u64,
}

/// The record of one DSP.
#[derive(Debug, Default)]
pub struct Judge {
    label: String,
    record: Mutex<Record>,
}

impl Judge {
    /// A record without violations.
    pub fn new(label: &str, profile: Profile) -> Self {
        Self {
            label: label.into(),
            record: Mutex::new(Record {
                profile,
                ..Record::default()
            }),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a violation, unless the profile or the test allows it.
    pub fn report(&self, rule: Rule, detail: impl Into<String>) {
        let mut record = self.record();
        let detail = detail.into();
        if record.allowed.contains(&rule) || (rule.only_qda() && record.profile != Profile::Qda) {
            log::debug!("{}: allowed: {}: {detail}", self.label, rule.name());
            return;
        }
        let violation = Violation { rule, detail };
        log::warn!("{}: violation: {violation}", self.label);
        record.count += 1;
        if record.kept.len() < KEPT {
            record.kept.push(violation);
        }
    }

    /// Lets the current test break a rule.
    pub fn allow(&self, rule: Rule) {
        self.record().allowed.insert(rule);
    }

    /// Whose driver it is from now on.
    pub fn set_profile(&self, profile: Profile) {
        self.record().profile = profile;
    }

    /// Whose driver it is.
    pub fn profile(&self) -> Profile {
        self.record().profile
    }

    /// Violations since the last [`Judge::reset`].
    pub fn count(&self) -> u64 {
        self.record().count
    }

    /// The violations (the first 200).
    pub fn violations(&self) -> Vec<Violation> {
        self.record().kept.clone()
    }

    /// Starts a test: forgets violations and allowances.
    pub fn reset(&self) {
        let mut record = self.record();
        record.kept.clear();
        record.allowed.clear();
        record.count = 0;
    }
}

/// Scalars of the calls that the kernel builds on handle 1, by method.
pub const fn kernel_scalars(method: u32) -> Option<Scalars> {
    Some(Scalars(match method {
        0 => 0x0001_0000,
        1 => 0x0101_0000,
        4 => 0x0402_0100,
        5 => 0x0501_0000,
        6 => 0x0604_0000,
        7 => 0x0704_0000,
        8 => 0x0803_0000,
        10 => 0x0A03_0100,
        11 => 0x0B01_0000,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_and_allowances() {
        let judge = Judge::new("cdsp", Profile::Fastrpc);
        judge.report(Rule::PvNotIova, "x");
        assert_eq!(judge.count(), 0);
        judge.report(Rule::PvZero, "x");
        judge.set_profile(Profile::Qda);
        judge.report(Rule::PvNotIova, "x");
        assert_eq!(judge.count(), 2);
        judge.reset();
        judge.allow(Rule::PvZero);
        judge.report(Rule::PvZero, "x");
        assert_eq!((judge.count(), judge.violations().len()), (0, 0));
    }

    #[test]
    fn names_are_unique() {
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(*rule));
        }
    }
}
