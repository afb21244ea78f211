// SPDX-License-Identifier: GPL-2.0

//! QEMU's `edu`, a PCI device that copies between memory and a buffer of its own: a referee that is
//! not ours. Its accesses go through QEMU's SMMUv3, which has a TLB and reports events to the
//! guest.
//!
//! A board gives a function of it the requester id that a context bank has as stream id, and leaves
//! that id out of the PCI host's `iommu-map`, so that no driver of the guest knows of it. It is
//! driven from here, over qtest, as a driver would.

use std::sync::Arc;

use anyhow::ensure;

use crate::qtest::Qtest;

/// Most bytes of one transfer. The device has a page, but takes no transfer that ends with it.
pub const MAX_LEN: u64 = 2048;

/// Registers of the configuration space.
const COMMAND: u64 = 0x04;
const BAR0: u64 = 0x10;
/// Bits of [`COMMAND`]: answer to memory accesses, and make some.
const MEMORY_AND_MASTER: u32 = 0x6;

/// Registers of the device.
const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const CONTROL: u64 = 0x98;
/// Bits of [`CONTROL`].
const RUN: u64 = 1 << 0;
const TO_MEMORY: u64 = 1 << 1;
/// Where the device's buffer is, for itself.
const BUFFER: u64 = 0x40000;

/// Direction of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Into the device's buffer.
    FromMemory,
    /// Out of the device's buffer.
    ToMemory,
}

/// An `edu` device.
pub struct Edu {
    qtest: Arc<Qtest>,
    /// Its configuration space.
    config: u64,
    rid: u32,
}

impl std::fmt::Debug for Edu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edu")
            .field("rid", &self.rid)
            .finish_non_exhaustive()
    }
}

impl Edu {
    /// The function with requester id `rid` below the configuration space at `ecam`.
    pub fn new(qtest: Arc<Qtest>, ecam: u64, rid: u32) -> Self {
        Self {
            qtest,
            config: ecam + (u64::from(rid) << 12),
            rid,
        }
    }

    /// Stream id of its accesses.
    pub fn sid(&self) -> u32 {
        self.rid
    }

    /// Its registers. The guest has to have given them an address, which it does at boot.
    fn registers(&self) -> anyhow::Result<u64> {
        let bar = self.qtest.readl(self.config + BAR0)? & !0xf;
        ensure!(bar != 0, "the guest has not set up PCI yet");
        let command = self.qtest.readl(self.config + COMMAND)?;
        if command & MEMORY_AND_MASTER != MEMORY_AND_MASTER {
            // The upper half is the status, of which a 1 would clear bits.
            let command = command & 0xffff | MEMORY_AND_MASTER;
            self.qtest.writel(self.config + COMMAND, command)?;
        }
        Ok(bar.into())
    }

    /// Begins a transfer of `len` bytes at `iova`, which the device makes 100 ms later. An access
    /// that the SMMU refuses shows in the guest's log only.
    ///
    /// # Errors
    ///
    /// The device is busy, `len` is above [`MAX_LEN`], the guest has not set up PCI, or QEMU is
    /// gone.
    pub fn start(&self, way: Way, iova: u64, len: u64) -> anyhow::Result<()> {
        ensure!(len <= MAX_LEN, "{len} bytes, {MAX_LEN} are the most");
        ensure!(!self.is_busy()?, "the device is busy");
        let registers = self.registers()?;
        let (source, destination, control) = match way {
            Way::FromMemory => (iova, BUFFER, RUN),
            Way::ToMemory => (BUFFER, iova, RUN | TO_MEMORY),
        };
        self.qtest.writeq(registers + SOURCE, source)?;
        self.qtest.writeq(registers + DESTINATION, destination)?;
        self.qtest.writeq(registers + COUNT, len)?;
        self.qtest.writeq(registers + CONTROL, control)
    }

    /// Whether a transfer has not ended yet.
    ///
    /// # Errors
    ///
    /// The guest has not set up PCI, or QEMU is gone.
    pub fn is_busy(&self) -> anyhow::Result<bool> {
        let control = self.qtest.readq(self.registers()? + CONTROL)?;
        Ok(control & RUN != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qtest::tests::serve;

    #[test]
    fn a_transfer() {
        let (qtest, server) = serve(&[
            // Idle: base address, command with both bits missing, control.
            "OK 0x10100000\n",
            "OK 0x00100000\n",
            "OK\n",
            "OK 0x0\n",
            // Start.
            "OK 0x10100000\n",
            "OK 0x00100006\n",
            "OK\n",
            "OK\n",
            "OK\n",
            "OK\n",
            // Busy.
            "OK 0x10100000\n",
            "OK 0x00100006\n",
            "OK 0x3\n",
        ]);
        let edu = Edu::new(Arc::new(qtest), 0x40_1000_0000, 0x28);
        assert!(edu.start(Way::ToMemory, 0x1000, MAX_LEN + 1).is_err());
        edu.start(Way::ToMemory, 0xfffff000, 16).unwrap();
        assert!(edu.is_busy().unwrap());
        let seen = server.join().unwrap();
        assert_eq!(seen[0], "readl 0x4010028010");
        assert_eq!(seen[2], "writel 0x4010028004 0x6");
        let written = [
            "writeq 0x10100080 0x40000",
            "writeq 0x10100088 0xfffff000",
            "writeq 0x10100090 0x10",
            "writeq 0x10100098 0x3",
        ];
        assert_eq!(seen[6..10], written);
    }

    #[test]
    fn before_the_guest_is_up() {
        let (qtest, server) = serve(&["OK 0x0\n"]);
        let edu = Edu::new(Arc::new(qtest), 0x40_1000_0000, 0x28);
        let error = edu.is_busy().unwrap_err();
        assert!(error.to_string().contains("not set up"));
        server.join().unwrap();
    }
}
