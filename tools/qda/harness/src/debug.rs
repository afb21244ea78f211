// SPDX-License-Identifier: GPL-2.0

//! The run on the debug kernel: the guest's suites, on a kernel that finds what others survive.

use crate::suite::{Boot, Suite, What};
use simdsp::strict::Profile;

/// The configuration of the debug kernel.
pub const KERNEL: &str = "debug";

/// How much longer things take there, at most. Suites divide the counts of long tests by it.
pub const SLOWER: u64 = 4;

/// Suites of which nothing is repeated there: they are about other drivers, of 32-bit programs,
/// which that kernel does not run, or count by tracing, which it does not have.
const FOREIGN: &[&str] = &["reference", "compat32", "hot-path", "bench-smoke"];

/// Kernels of which a run of all suites has nothing: they take as long to build as all suites take
/// to run.
const OWN_TARGETS: &[&str] = &[KERNEL, "page64k"];

impl Suite {
    /// Its boots, on the ordinary kernels or on the debug one.
    pub fn boots(&self, debug: bool) -> Vec<Boot> {
        let What::Guest(boots) = self.what else {
            return Vec::new();
        };
        if !debug {
            return boots.to_vec();
        }
        let ours = |boot: &&Boot| {
            boot.profile == Profile::Qda
                && matches!(boot.kernel, "normal" | KERNEL)
                && !FOREIGN.contains(&self.name)
        };
        let moved = |boot: &Boot| Boot {
            kernel: KERNEL,
            limit: boot.limit.saturating_mul(SLOWER),
            ..boot.clone()
        };
        boots.iter().filter(ours).map(moved).collect()
    }

    /// Whether a run of all suites on that kernel has it.
    pub fn is_for(&self, debug: bool) -> bool {
        match debug {
            true => !self.boots(debug).is_empty(),
            false => match self.what {
                What::Guest(boots) => boots.iter().any(|boot| !OWN_TARGETS.contains(&boot.kernel)),
                What::Cargo(_) => true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::SUITES;

    fn suite(name: &str) -> &'static Suite {
        SUITES.iter().find(|suite| suite.name == name).unwrap()
    }

    #[test]
    fn what_runs_where() {
        for (name, normal, debug) in [
            ("host-core", true, false),
            ("reference", true, false),
            ("page64k", false, false),
            ("compat32", true, false),
            ("hot-path", true, false),
            ("bench-smoke", true, false),
            ("e2e", true, true),
            ("faultinject", false, true),
            ("canaries", false, true),
        ] {
            assert_eq!(suite(name).is_for(false), normal, "{name}");
            assert_eq!(suite(name).is_for(true), debug, "{name}");
        }
    }

    #[test]
    fn all_its_boots_are_of_the_debug_kernel() {
        for suite in SUITES {
            assert!(suite.boots(true).iter().all(|boot| boot.kernel == KERNEL));
        }
        // The other half of this suite is about fastrpc.ko.
        assert_eq!(suite("clients").boots(true).len(), 3);
    }
}
