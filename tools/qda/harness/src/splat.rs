// SPDX-License-Identifier: GPL-2.0

//! Messages by which the kernel says that something is wrong with it. During a test none is
//! expected: each makes its suite fail.

use regex::Regex;
use std::sync::LazyLock;

/// What looks like one and is none: checks say, at boot, that they work, or were told not to; and
/// kmemleak looks at more than it need to where an allocation of its own was made to fail.
static HARMLESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^DMA-API: (preallocated \d+ debug entries|debugging enabled by kernel config|",
        r"debugging disabled on kernel command line)$|",
        r"^kmemleak: (Kernel memory leak detector initialized \(mem pool available: \d+\)|",
        r"Cannot allocate a scan area, scanning the full object)$"
    ))
    .unwrap()
});

static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\bWARNING:|\bBUG:|\bBUG at |\bOops\b|Call trace:|Kernel panic|KASAN:|KFENCE:|UBSAN:|KCSAN:|",
        r"\bBUG [\w:-]+ \(|kmemleak: (\d+ new|Cannot|Memory pool|.* disabled)|",
        r"trying to register non-static key|turning off the locking|possible deadlock|",
        r"possible recursive locking|inconsistent lock state|",
        r"suspicious RCU usage|scheduling while atomic|sleeping function called|",
        r"bad: scheduling from|refcount_t: |Unable to handle kernel|Unhandled fault|",
        r"Internal error:|list_(add|del) corruption|rcu: INFO: .*(stall|self-detected)|",
        r"blocked for more than|DMA-API: |held lock freed|memory leak|rust_kernel: panicked|",
        r"panicked at |Aliasing StreamID|segfault at |unhandled exception|Out of memory"
    ))
    .unwrap()
});

/// How many lines of the console a splat takes at most: what follows in them belongs to it.
const LENGTH: usize = 80;

/// Finds splats in the kernel's messages.
#[derive(Default)]
pub struct Watch {
    line: usize,
    last: Option<usize>,
}

impl Watch {
    /// Looks at the next message of the kernel. Returns whether a splat begins there.
    pub fn see(&mut self, message: &str) -> bool {
        self.line += 1;
        if !PATTERN.is_match(message) || HARMLESS.is_match(message) {
            return false;
        }
        let begins = self.last.is_none_or(|last| self.line - last > LENGTH);
        self.last = Some(self.line);
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splats_are_seen_once_each() {
        let mut watch = Watch::default();
        assert!(watch.see("WARNING: drivers/iommu/iommu.c:654 at iommu_probe_device+0x1/0x2"));
        assert!(!watch.see("Call trace:"));
        for _ in 0..LENGTH + 1 {
            assert!(!watch.see("qda rpmsg: registered"));
        }
        assert!(watch.see("BUG: scheduling while atomic: kworker/0:1/9/0x00010002"));
    }

    #[test]
    fn ordinary_messages_are_none() {
        let mut watch = Watch::default();
        for message in [
            "rcu: Hierarchical RCU implementation.",
            "random: crng init done",
            "qda: loading out-of-tree module taints kernel.",
            "debug: ok",
            "Unknown kernel command line parameters \"guest.suite=e2e\"",
            "DMA-API: preallocated 65536 debug entries",
            "DMA-API: debugging enabled by kernel config",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 15674)",
            "kmemleak: Cannot allocate a scan area, scanning the full object",
            "kasan: KernelAddressSanitizer initialized (generic)",
        ] {
            assert!(!watch.see(message), "{message}");
        }
    }

    #[test]
    fn the_usual_ones_are_splats() {
        for message in [
            "Unable to handle kernel NULL pointer dereference at virtual address 0000",
            "Internal error: Oops: 0000000096000004 [#1]  SMP",
            "refcount_t: underflow; use-after-free.",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task qda_invoke:61 blocked for more than 30 seconds.",
            "WARNING: possible circular locking dependency detected",
            "rust_kernel: panicked at drivers/accel/qda/proto.rs:1:2:",
            "DMA-API: debugging out of memory - disabling",
            "DMA-API: qda 0: device driver frees DMA memory with different size",
            "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
            "kmemleak: Kernel memory leak detector disabled",
            "kmemleak: Cannot allocate a kmemleak_object structure",
            "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "INFO: trying to register non-static key.",
        ] {
            assert!(Watch::default().see(message), "{message}");
        }
    }
}
