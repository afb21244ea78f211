// SPDX-License-Identifier: GPL-2.0

//! What differs between SoCs.

use crate::domain::Domain;
use kernel::{
    of,
    prelude::*, //
};

/// Data of one SoC generation.
pub(crate) struct SocData {
    bank_position: u32,
    cdsp_dma_bits: u32,
    polls: bool,
}

/// Machines whose DSPs can be polled though [`SocData`] does not say so: those that were made
/// before it could. The list is closed.
const POLLING_MACHINES: [&CStr; 10] = [
    c"qcom,milos",
    c"qcom,qcs8300",
    c"qcom,sa8775p",
    c"qcom,sar2130p",
    c"qcom,sm8450",
    c"qcom,sm8550",
    c"qcom,sm8650",
    c"qcom,sm8750",
    c"qcom,x1e80100",
    c"qcom,x1p42100",
];

impl SocData {
    /// Bit of a DSP address at which the number of the context bank begins.
    pub(crate) fn bank_position(&self) -> u32 {
        self.bank_position
    }

    /// Width of the addresses that a DSP of `domain` can use in a bank, in bits.
    pub(crate) fn dma_bits(&self, domain: Domain) -> u32 {
        match domain {
            Domain::Cdsp => self.cdsp_dma_bits,
            _ => 32,
        }
    }

    /// Whether the DSPs write the poll words of calls, on this machine.
    pub(crate) fn polls(&self) -> bool {
        self.polls
            || POLLING_MACHINES
                .iter()
                .any(|machine| of::machine_is_compatible(machine))
    }
}

const DEFAULT: SocData = SocData {
    bank_position: 32,
    cdsp_dma_bits: 32,
    polls: false,
};

const KAANAPALI: SocData = SocData {
    bank_position: 56,
    cdsp_dma_bits: 34,
    polls: true,
};

kernel::of_device_table!(
    OF_TABLE,
    SocData,
    [
        (of::DeviceId::new(c"qcom,kaanapali-fastrpc"), KAANAPALI),
        (of::DeviceId::new(c"qcom,fastrpc"), DEFAULT),
    ]
);

/// Device-tree nodes that the driver binds.
pub(crate) const OF_ID_TABLE: of::IdTable<SocData> = &OF_TABLE;
