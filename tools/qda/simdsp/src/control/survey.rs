// SPDX-License-Identifier: GPL-2.0

//! What all banks of all DSPs map, and which of them share a page table: read from the SMMU's own
//! tables, whatever the driver believes.

use super::Server;
use crate::port::Bank;
use crate::strict::Rule;
use std::collections::BTreeMap;

/// What the tables of all banks say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Banks behind the SMMU.
    pub banks: usize,
    /// Different page tables that their streams are translated by.
    pub tables: usize,
    /// Bytes that they map, a table that is shared counted once for each bank.
    pub mapped: u64,
    /// Pairs of banks that share a page table without a common stream id: DSP and bank of each,
    /// and the table's root.
    pub shared: Vec<(Place, Place, u64)>,
}

/// A bank of a DSP, given by its position among the server's.
pub type Place = (usize, Bank);

impl Server {
    /// Looks at all banks.
    pub fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let mut roots: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        for (number, dsp) in self.dsps.iter().enumerate() {
            for &bank in &dsp.config().banks {
                if dsp.memory.streams(bank).is_empty() {
                    continue;
                }
                survey.banks += 1;
                survey.mapped += dsp.mapped_bytes(bank);
                for (_, root) in dsp.memory.tables(bank) {
                    let places = roots.entry(root).or_default();
                    if places.last() != Some(&(number, bank)) {
                        places.push((number, bank));
                    }
                }
            }
        }
        survey.tables = roots.len();
        for (root, places) in roots {
            for (i, &one) in places.iter().enumerate() {
                let mut foreign = places[..i].to_vec();
                foreign.retain(|&other| !self.is_one_context(one, other));
                survey
                    .shared
                    .extend(foreign.into_iter().map(|other| (other, one, root)));
            }
        }
        survey
    }

    /// Whether the device tree gives two banks one address space.
    fn is_one_context(&self, one: Place, other: Place) -> bool {
        one.0 == other.0 && self.dsps[one.0].is_one_context(one.1, other.1)
    }

    /// Reports banks that share a page table and must not.
    pub(super) fn check_shared(&self) {
        for ((dsp, bank), (other_dsp, other), root) in self.survey().shared {
            let label = self.dsps[dsp].label();
            let detail = format!("{label} bank {bank} and bank {other} have table {root:#x}");
            self.dsps[other_dsp]
                .judge()
                .report(Rule::BankShared, detail);
        }
    }
}
