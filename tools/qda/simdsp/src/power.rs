// SPDX-License-Identifier: GPL-2.0

//! The registers by which a guest starts and stops a remote processor.
//!
//! Two words in plain RAM: in the first the guest says whether the processor shall run, in the
//! second the processor says whether it does. A driver that has stopped it and sees the second word
//! at 0 can rely on that it touches no memory any more.

use std::sync::Arc;

use crate::board::Region;
use crate::ram::OutOfRam;
use crate::ram::Ram;

/// Offsets of the words.
const WANTED: u64 = 0;
const RUNNING: u64 = 4;

/// The two words.
pub struct Power {
    ram: Arc<Ram>,
    base: u64,
}

impl Power {
    /// The registers in `region`, of a processor that doesn't run.
    ///
    /// # Errors
    ///
    /// When they are not in RAM.
    pub fn new(ram: &Arc<Ram>, region: Region) -> Result<Self, OutOfRam> {
        let power = Self {
            ram: Arc::clone(ram),
            base: region.base,
        };
        power.ram.store_u32(power.base + WANTED, 0)?;
        power.tell(false)?;
        Ok(power)
    }

    /// Whether the guest wants the processor to run.
    ///
    /// # Errors
    ///
    /// When the register is not in RAM.
    pub fn wanted(&self) -> Result<bool, OutOfRam> {
        Ok(self.ram.load_u32(self.base + WANTED)? != 0)
    }

    /// Tells the guest whether the processor runs.
    ///
    /// # Errors
    ///
    /// When the register is not in RAM.
    pub fn tell(&self, running: bool) -> Result<(), OutOfRam> {
        self.ram.store_u32(self.base + RUNNING, u32::from(running))
    }
}
