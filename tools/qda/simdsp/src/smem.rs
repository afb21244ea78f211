// SPDX-License-Identifier: GPL-2.0

//! SMEM: the memory that all processors of a SoC share, as its boot loader leaves it.
//!
//! A header with the table of the global heap, one private partition for each pair of the guest and
//! a remote processor, and in the last 4 KiB the table of the partitions (Linux:
//! `drivers/soc/qcom/smem.c`; the names are those of its structures). Items can be allocated, never
//! freed. Each partition has the three items of a GLINK edge (`drivers/rpmsg/qcom_glink_smem.c`):
//! they are laid here, before the guest runs, because a lock in plain RAM excludes nobody.

use std::sync::Arc;

use anyhow::ensure;
use zerocopy::little_endian::U16;
use zerocopy::little_endian::U32;
use zerocopy::FromBytes;
use zerocopy::FromZeros;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;

use crate::board::Region;
use crate::fifo::Fifo;
use crate::fifo::Pipes;
use crate::ram::OutOfRam;
use crate::ram::Ram;

/// Items of the global heap.
const ITEM_COUNT: usize = 512;
/// Where the boot loader has its version, and the version of a global heap without partition.
const SBL_VERSION_INDEX: usize = 7;
const GLOBAL_HEAP_VERSION: u32 = 11 << 16;
/// The guest's number.
const HOST_APPS: u16 = 0;

const PTABLE_MAGIC: [u8; 4] = *b"$TOC";
const PARTITION_MAGIC: [u8; 4] = *b"$PRT";
const CANARY: u16 = 0xa5a5;
/// Bytes at the end of the region for the table of the partitions.
const PTABLE_SIZE: u64 = 0x1000;
/// Bytes at the begin for the header and the global heap.
const HEAP_SIZE: u64 = 0x10000;
/// Bytes of a partition.
const PARTITION_SIZE: u64 = 0x10000;
const CACHELINE: u32 = 32;

/// Items of a GLINK edge: the indices of both FIFOs, the FIFO to the DSP, the FIFO to the guest.
const DESCRIPTOR: u16 = 478;
const FIFO_TO_DSP: u16 = 479;
const FIFO_TO_GUEST: u16 = 480;
const DESCRIPTOR_SIZE: u32 = 32;
const FIFO_SIZE: u32 = 0x4000;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct GlobalEntry {
    allocated: U32,
    offset: U32,
    size: U32,
    aux_base: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    proc_comm: [[U32; 4]; 4],
    version: [U32; 32],
    initialized: U32,
    free_offset: U32,
    available: U32,
    reserved: U32,
    toc: [GlobalEntry; ITEM_COUNT],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PartitionTable {
    magic: [u8; 4],
    version: U32,
    num_entries: U32,
    reserved: [U32; 5],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PartitionEntry {
    offset: U32,
    size: U32,
    flags: U32,
    host0: U16,
    host1: U16,
    cacheline: U32,
    reserved: [U32; 7],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PartitionHeader {
    magic: [u8; 4],
    host0: U16,
    host1: U16,
    size: U32,
    offset_free_uncached: U32,
    offset_free_cached: U32,
    reserved: [U32; 3],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PrivateEntry {
    canary: U16,
    item: U16,
    size: U32,
    padding_data: U16,
    padding_hdr: U16,
    reserved: U32,
}

/// Lays SMEM into `region` with a partition for each of `hosts`, the remote processors; the FIFOs
/// of each, in the same order.
///
/// # Errors
///
/// When the region is not in RAM or too small, or a host is there twice.
pub fn lay(ram: &Arc<Ram>, region: Region, hosts: &[u16]) -> anyhow::Result<Vec<Pipes>> {
    ensure!(
        ram.contains(region.base, region.len),
        "SMEM {region} is not in guest RAM"
    );
    let table = region.base + region.len.saturating_sub(PTABLE_SIZE);
    let partition = |i: usize| HEAP_SIZE + i as u64 * PARTITION_SIZE;
    ensure!(
        partition(hosts.len()) + PTABLE_SIZE <= region.len,
        "{} partitions don't fit SMEM {region}",
        hosts.len()
    );
    let mut pipes = Vec::new();
    let mut entries = Vec::new();
    for (i, host) in hosts.iter().enumerate() {
        ensure!(!hosts[..i].contains(host), "remote processor {host} twice");
        pipes.push(lay_partition(ram, region.base + partition(i), *host)?);
        entries.push(PartitionEntry {
            offset: U32::new(partition(i) as u32),
            size: U32::new(PARTITION_SIZE as u32),
            flags: U32::ZERO,
            host0: U16::new(HOST_APPS),
            host1: U16::new(*host),
            cacheline: U32::new(CACHELINE),
            reserved: [U32::ZERO; 7],
        });
    }
    let head = PartitionTable {
        magic: PTABLE_MAGIC,
        version: U32::new(1),
        num_entries: U32::new(entries.len() as u32),
        reserved: [U32::ZERO; 5],
    };
    ram.write(table, head.as_bytes())?;
    ram.write(
        table + size_of::<PartitionTable>() as u64,
        entries.as_bytes(),
    )?;
    // Last: the guest looks for `initialized`.
    ram.write(region.base, header().as_bytes())?;
    Ok(pipes)
}

/// The header, with an empty global heap behind it.
fn header() -> Header {
    let mut header = Header::new_zeroed();
    let used = size_of::<Header>() as u64;
    header.version[SBL_VERSION_INDEX] = U32::new(GLOBAL_HEAP_VERSION);
    header.initialized = U32::new(1);
    header.free_offset = U32::new(used as u32);
    header.available = U32::new((HEAP_SIZE - used) as u32);
    header
}

/// Lays the partition of `host` at `base`, with the items of a GLINK edge.
fn lay_partition(ram: &Arc<Ram>, base: u64, host: u16) -> Result<Pipes, OutOfRam> {
    let mut free = size_of::<PartitionHeader>() as u64;
    let mut item = |item: u16, size: u32| -> Result<u64, OutOfRam> {
        let entry = PrivateEntry {
            canary: U16::new(CANARY),
            item: U16::new(item),
            size: U32::new(size),
            padding_data: U16::ZERO,
            padding_hdr: U16::ZERO,
            reserved: U32::ZERO,
        };
        ram.write(base + free, entry.as_bytes())?;
        let data = free + size_of::<PrivateEntry>() as u64;
        free = data + u64::from(size);
        Ok(base + data)
    };
    let indices = item(DESCRIPTOR, DESCRIPTOR_SIZE)?;
    let to_dsp = item(FIFO_TO_DSP, FIFO_SIZE)?;
    let to_guest = item(FIFO_TO_GUEST, FIFO_SIZE)?;
    let header = PartitionHeader {
        magic: PARTITION_MAGIC,
        host0: U16::new(HOST_APPS),
        host1: U16::new(host),
        size: U32::new(PARTITION_SIZE as u32),
        offset_free_uncached: U32::new(free as u32),
        offset_free_cached: U32::new(PARTITION_SIZE as u32),
        reserved: [U32::ZERO; 3],
    };
    ram.write(base, header.as_bytes())?;
    // Tail and head of the FIFO that the guest writes, then of the one that it reads.
    Pipes::new(
        Fifo::new(ram, indices, indices + 4, to_dsp, FIFO_SIZE)?,
        Fifo::new(ram, indices + 8, indices + 12, to_guest, FIFO_SIZE)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::VIRT_RAM_BASE;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LEN: u64 = 0x100000;

    fn smem(hosts: &[u16]) -> (Arc<Ram>, anyhow::Result<Vec<Pipes>>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, LEN).unwrap());
        let region = Region {
            base: VIRT_RAM_BASE,
            len: LEN,
        };
        let pipes = lay(&ram, region, hosts);
        (ram, pipes)
    }

    /// The words of the kernel's driver rather than our structures, at offsets in the region.
    struct Reader(Arc<Ram>);

    impl Reader {
        fn word(&self, at: u64) -> u64 {
            u64::from(self.0.load_u32(VIRT_RAM_BASE + at).unwrap())
        }

        fn half(&self, at: u64) -> u64 {
            self.word(at & !3) >> (8 * (at & 2)) & 0xffff
        }

        /// `qcom_smem_enumerate_partitions()`: offset of the partition shared with `host`.
        fn partition(&self, host: u16) -> Option<u64> {
            let table = LEN - 0x1000;
            assert_eq!(self.word(table), 0x434f_5424);
            assert_eq!(self.word(table + 4), 1);
            (0..self.word(table + 8))
                .map(|i| table + 32 + 48 * i)
                .find(|e| self.half(e + 12) == 0 && self.half(e + 14) == u64::from(host))
                .map(|e| {
                    let base = self.word(e);
                    assert_eq!(self.word(base), 0x5452_5024);
                    assert_eq!(self.half(base + 6), u64::from(host));
                    assert_eq!(self.word(base + 8), self.word(e + 4));
                    base
                })
        }

        /// `qcom_smem_get_private()`: offset and size of an item.
        fn item(&self, base: u64, item: u64) -> Option<(u64, u64)> {
            let end = base + self.word(base + 12);
            assert!(end <= base + self.word(base + 16));
            let mut at = base + 32;
            while at < end {
                assert_eq!(self.half(at), 0xa5a5);
                let data = at + 16 + self.half(at + 10);
                let size = self.word(at + 4);
                if self.half(at + 2) == item {
                    return Some((data, size - self.half(at + 8)));
                }
                at = data + size;
            }
            assert_eq!(at, end);
            None
        }
    }

    #[test]
    fn header_of_a_global_heap() {
        let (ram, pipes) = smem(&[]);
        pipes.unwrap();
        let smem = Reader(ram);
        assert_eq!(smem.word(92), 11 << 16);
        assert_eq!((smem.word(192), smem.word(204)), (1, 0));
        let (free, available) = (smem.word(196), smem.word(200));
        assert_eq!(free, 208 + 16 * 512);
        assert_eq!(free % 8, 0);
        assert!(free + available <= LEN - 0x1000);
        assert!((0..512).all(|item| smem.word(208 + 16 * item) == 0));
    }

    #[test]
    fn too_many_and_twice_are_refused() {
        let hosts: Vec<u16> = (1..).take(14).collect();
        assert!(smem(&hosts).1.is_ok());
        let hosts: Vec<u16> = (1..).take(15).collect();
        assert!(smem(&hosts).1.is_err());
        assert!(smem(&[5, 2, 5]).1.is_err());
    }

    proptest! {
        /// The guest finds every partition and item, none overlaps another, and the FIFOs are those
        /// that the DSP uses.
        #[test]
        fn the_guest_finds_everything(
            hosts in proptest::collection::btree_set(1u16..100, 0..10)
        ) {
            let hosts: Vec<u16> = hosts.into_iter().collect();
            let (ram, pipes) = smem(&hosts);
            let pipes = pipes.unwrap();
            let smem = Reader(Arc::clone(&ram));
            let mut used: BTreeSet<(u64, u64)> = [(0, smem.word(196) + smem.word(200))].into();
            for (host, pipes) in hosts.iter().zip(&pipes) {
                let base = smem.partition(*host).unwrap();
                let (indices, size) = smem.item(base, 478).unwrap();
                prop_assert_eq!(size, 32);
                used.insert((indices, indices + 32));
                for (i, (item, fifo)) in
                    [(479, &pipes.to_dsp), (480, &pipes.to_guest)].into_iter().enumerate()
                {
                    let (data, size) = smem.item(base, item).unwrap();
                    prop_assert_eq!((data % 8, size), (0, u64::from(fifo.size())));
                    prop_assert!(data + size <= base + smem.word(base + 8));
                    used.insert((data, data + size));
                    // What one writes by `Fifo`, the other finds by SMEM.
                    let index = VIRT_RAM_BASE + indices + 8 * i as u64;
                    fifo.set_tail(8).unwrap();
                    fifo.set_head(16).unwrap();
                    ram.write(VIRT_RAM_BASE + data + 8, &host.to_le_bytes()).unwrap();
                    prop_assert_eq!(ram.load_u32(index).unwrap(), 8);
                    prop_assert_eq!(ram.load_u32(index + 4).unwrap(), 16);
                    let mut seen = Vec::new();
                    fifo.peek(&mut seen).unwrap();
                    prop_assert_eq!(&seen[..2], host.to_le_bytes());
                }
                prop_assert_eq!(smem.item(base, 477), None);
            }
            prop_assert_eq!(smem.partition(100), None);
            let ranges: Vec<_> = used.into_iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }
}
