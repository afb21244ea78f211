// SPDX-License-Identifier: GPL-2.0

//! The message RAM of a `qcom,glink-rpm` edge, with its two FIFOs.
//!
//! The last 256 bytes are a table of contents: magic, count, then `{id, offset, size}` per FIFO. A
//! FIFO is `le32 tail, le32 head`, then `size` bytes (Linux: `drivers/rpmsg/qcom_glink_rpm.c`).

use std::sync::Arc;

use anyhow::ensure;

use crate::board::Region;
use crate::fifo::Fifo;
use crate::fifo::Pipes;
use crate::ram::Ram;

const TOC_SIZE: u64 = 256;
const TOC_MAGIC: u32 = 0x6772_7430;
/// Guest to DSP ("ap2r").
const ID_TO_DSP: u32 = 0x6170_3272;
/// DSP to guest ("r2ap").
const ID_TO_GUEST: u32 = 0x7232_6170;
/// Bytes of tail and head before the data.
const INDICES: u64 = 8;

/// Lays two FIFOs of `size` data bytes (a multiple of 8) into `region`, empty, and writes the table
/// of contents, magic last.
///
/// # Errors
///
/// When the region is not in RAM or too small.
pub fn lay(ram: &Arc<Ram>, region: Region, size: u32) -> anyhow::Result<Pipes> {
    let stride = INDICES + u64::from(size);
    ensure!(
        ram.contains(region.base, region.len),
        "message RAM {region} is not in guest RAM"
    );
    ensure!(
        size > 0 && size % 8 == 0 && 2 * stride + TOC_SIZE <= region.len,
        "two FIFOs of {size} bytes don't fit message RAM {region}"
    );
    let toc = region.base + region.len - TOC_SIZE;
    let fifo = |i: u64, id: u32| -> anyhow::Result<Fifo> {
        let offset = i * stride;
        let entry = toc + 8 + 12 * i;
        ram.store_u32(entry, id)?;
        ram.store_u32(entry + 4, offset as u32)?;
        ram.store_u32(entry + 8, size)?;
        let base = region.base + offset;
        Ok(Fifo::new(ram, base, base + 4, base + INDICES, size)?)
    };
    let pipes = Pipes::new(fifo(0, ID_TO_DSP)?, fifo(1, ID_TO_GUEST)?)?;
    ram.store_u32(toc + 4, 2)?;
    ram.store_u32(toc, TOC_MAGIC)?;
    Ok(pipes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::VIRT_RAM_BASE;

    fn region(len: u64) -> Region {
        Region {
            base: VIRT_RAM_BASE,
            len,
        }
    }

    #[test]
    fn table_of_contents() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, 0x10000).unwrap());
        lay(&ram, region(0x10000), 0x100).unwrap();
        let word = |off: u64| ram.load_u32(VIRT_RAM_BASE + 0xff00 + off).unwrap();
        let words: Vec<u32> = (0..8).map(|i| word(4 * i)).collect();
        assert_eq!(
            words,
            [0x67727430, 2, 0x61703272, 0, 0x100, 0x72326170, 0x108, 0x100]
        );
    }

    #[test]
    fn too_large_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, 0x1000).unwrap());
        assert!(lay(&ram, region(0x2000), 8).is_err());
        assert!(lay(&ram, region(0x1000), 0x800).is_err());
        assert!(lay(&ram, region(0x1000), 12).is_err());
        assert!(lay(&ram, region(0x1000), 16).is_ok());
    }
}
