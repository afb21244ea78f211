// SPDX-License-Identifier: GPL-2.0

//! What differs between SoCs.

use kernel::{
    of,
    prelude::*, //
};

/// Data of one SoC generation.
pub(crate) struct SocData {
    bank_position: u32,
    cdsp_dma_bits: u32,
}

impl SocData {
    /// Bit of a DSP address at which the number of the context bank begins.
    pub(crate) fn bank_position(&self) -> u32 {
        self.bank_position
    }

    /// Width of the addresses that the DSP called `dsp` can use in a bank, in bits.
    pub(crate) fn dma_bits(&self, dsp: &CStr) -> u32 {
        if dsp.to_bytes().starts_with(b"cdsp") {
            self.cdsp_dma_bits
        } else {
            32
        }
    }
}

const DEFAULT: SocData = SocData {
    bank_position: 32,
    cdsp_dma_bits: 32,
};

const KAANAPALI: SocData = SocData {
    bank_position: 56,
    cdsp_dma_bits: 34,
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
