// SPDX-License-Identifier: GPL-2.0

//! Guest RAM: the file that QEMU maps as the memory of the virt machine.
//!
//! Both sides map the file shared, so every access here is to memory that the guest may change at
//! the same moment. Nothing hands out a reference into it: bytes are copied with relaxed atomics
//! and words that order others (FIFO indices) are loaded with Acquire and stored with Release.

use std::fs::File;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use anyhow::ensure;
use anyhow::Context;
use memmap2::MmapOptions;
use memmap2::MmapRaw;
use thiserror::Error;

/// First physical address of RAM on QEMU's virt machine.
pub const VIRT_RAM_BASE: u64 = 0x4000_0000;

/// A physical range that is not wholly in guest RAM, or not aligned to its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("physical {pa:#x}+{len:#x} is not guest RAM")]
pub struct OutOfRam {
    /// First address.
    pub pa: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Guest RAM, by guest physical address.
///
/// # Invariants
///
/// `map` covers the addresses from `base`, page aligned, and stays mapped until drop.
pub struct Ram {
    map: MmapRaw,
    base: u64,
}

impl Ram {
    /// Creates the file at `path` with `len` zero bytes (sparse) and maps it at `base`.
    ///
    /// # Errors
    ///
    /// When the file can't be created, or `len` is 0.
    pub fn create(path: &Path, base: u64, len: u64) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(|| format!("create guest RAM file {}", path.display()))?;
        file.set_len(len)
            .with_context(|| format!("size {} to {len} bytes", path.display()))?;
        Self::map(&file, base).with_context(|| format!("map {}", path.display()))
    }

    /// Maps the RAM file of a machine that is already there.
    ///
    /// # Errors
    ///
    /// When the file can't be opened or is empty.
    pub fn open(path: &Path, base: u64) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("open guest RAM file {}", path.display()))?;
        Self::map(&file, base).with_context(|| format!("map {}", path.display()))
    }

    fn map(file: &File, base: u64) -> anyhow::Result<Self> {
        ensure!(file.metadata()?.len() > 0, "guest RAM file is empty");
        Ok(Self {
            map: MmapOptions::new().map_raw(file)?,
            base,
        })
    }

    /// First physical address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Never: an empty file isn't mapped.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether `len` bytes from `pa` are all in RAM.
    pub fn contains(&self, pa: u64, len: u64) -> bool {
        self.offset(pa, len).is_ok()
    }

    fn offset(&self, pa: u64, len: u64) -> Result<usize, OutOfRam> {
        pa.checked_sub(self.base)
            .filter(|off| {
                off.checked_add(len)
                    .is_some_and(|end| end <= self.map.len() as u64)
            })
            .map(|off| off as usize)
            .ok_or(OutOfRam { pa, len })
    }

    fn word(&self, pa: u64, size: u64) -> Result<*mut u8, OutOfRam> {
        if pa % size != 0 {
            return Err(OutOfRam { pa, len: size });
        }
        let off = self.offset(pa, size)?;
        // SAFETY: `offset` has checked that `off + size` is inside the mapping.
        Ok(unsafe { self.map.as_mut_ptr().add(off) })
    }

    fn byte(&self, off: usize) -> &AtomicU8 {
        debug_assert!(off < self.map.len());
        // SAFETY: callers pass offsets that `offset` has checked; atomics may alias anything that
        // other processes do to the shared mapping, which lives as long as `self`.
        unsafe { AtomicU8::from_ptr(self.map.as_mut_ptr().add(off)) }
    }

    fn qword(&self, off: usize) -> &AtomicU64 {
        debug_assert!(off % 8 == 0 && off + 8 <= self.map.len());
        // SAFETY: as `byte`; the mapping is page aligned and `off` is a multiple of 8.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(off).cast()) }
    }

    /// Copies out of RAM; no order among the bytes.
    ///
    /// # Errors
    ///
    /// [`OutOfRam`] when any byte is outside; then `buf` is unchanged.
    pub fn read(&self, pa: u64, buf: &mut [u8]) -> Result<(), OutOfRam> {
        let mut off = self.offset(pa, buf.len() as u64)?;
        let head = buf.len().min(off.wrapping_neg() % 8);
        let (head, body) = buf.split_at_mut(head);
        for b in head {
            *b = self.byte(off).load(Ordering::Relaxed);
            off += 1;
        }
        let mut words = body.chunks_exact_mut(8);
        for w in &mut words {
            w.copy_from_slice(&self.qword(off).load(Ordering::Relaxed).to_ne_bytes());
            off += 8;
        }
        for b in words.into_remainder() {
            *b = self.byte(off).load(Ordering::Relaxed);
            off += 1;
        }
        Ok(())
    }

    /// Copies into RAM; no order among the bytes.
    ///
    /// # Errors
    ///
    /// [`OutOfRam`] when any byte is outside; then nothing is written.
    pub fn write(&self, pa: u64, data: &[u8]) -> Result<(), OutOfRam> {
        let mut off = self.offset(pa, data.len() as u64)?;
        let (head, body) = data.split_at(data.len().min(off.wrapping_neg() % 8));
        for b in head {
            self.byte(off).store(*b, Ordering::Relaxed);
            off += 1;
        }
        let words = body.chunks_exact(8);
        let tail = words.remainder();
        for w in words {
            let w = w.try_into().expect("chunks of 8");
            self.qword(off)
                .store(u64::from_ne_bytes(w), Ordering::Relaxed);
            off += 8;
        }
        for b in tail {
            self.byte(off).store(*b, Ordering::Relaxed);
            off += 1;
        }
        Ok(())
    }

    /// Loads a little-endian word with Acquire: what its writer stored before it is visible after.
    ///
    /// # Errors
    ///
    /// [`OutOfRam`] when outside RAM or not 4-byte aligned.
    pub fn load_u32(&self, pa: u64) -> Result<u32, OutOfRam> {
        let p = self.word(pa, 4)?;
        // SAFETY: `word` checked range and alignment.
        let v = unsafe { AtomicU32::from_ptr(p.cast()) }.load(Ordering::Acquire);
        Ok(u32::from_le(v))
    }

    /// Stores a little-endian word with Release: all stored before it is visible to who loads it.
    ///
    /// # Errors
    ///
    /// [`OutOfRam`] when outside RAM or not 4-byte aligned.
    pub fn store_u32(&self, pa: u64, value: u32) -> Result<(), OutOfRam> {
        let p = self.word(pa, 4)?;
        // SAFETY: `word` checked range and alignment.
        unsafe { AtomicU32::from_ptr(p.cast()) }.store(value.to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads a little-endian doubleword with Acquire; a table descriptor is read in one piece.
    ///
    /// # Errors
    ///
    /// [`OutOfRam`] when outside RAM or not 8-byte aligned.
    pub fn load_u64(&self, pa: u64) -> Result<u64, OutOfRam> {
        let p = self.word(pa, 8)?;
        // SAFETY: `word` checked range and alignment.
        let v = unsafe { AtomicU64::from_ptr(p.cast()) }.load(Ordering::Acquire);
        Ok(u64::from_le(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ram() -> (tempfile::NamedTempFile, Ram) {
        let f = tempfile::NamedTempFile::new().unwrap();
        let ram = Ram::create(f.path(), VIRT_RAM_BASE, 8192).unwrap();
        (f, ram)
    }

    #[test]
    fn bounds() {
        let (_f, ram) = ram();
        let end = VIRT_RAM_BASE + 8192;
        let mut b = [0u8; 2];
        assert!(ram.read(end - 2, &mut b).is_ok());
        assert!(ram.read(end - 1, &mut b).is_err());
        assert!(ram.read(VIRT_RAM_BASE - 1, &mut b).is_err());
        assert!(ram.write(u64::MAX, &b).is_err());
        assert!(ram.load_u64(end - 8).is_ok());
        assert!(ram.load_u64(end - 4).is_err());
        assert!(ram.load_u32(VIRT_RAM_BASE + 2).is_err());
        assert!(ram.contains(end, 0));
        assert!(!ram.contains(end, 1));
    }

    #[test]
    fn a_second_mapping_sees_it() {
        let (f, ram) = ram();
        let other = Ram::open(f.path(), VIRT_RAM_BASE).unwrap();
        ram.store_u32(VIRT_RAM_BASE + 4, 0x1234_5678).unwrap();
        assert_eq!(other.load_u64(VIRT_RAM_BASE).unwrap(), 0x1234_5678 << 32);
    }

    proptest! {
        #[test]
        fn copies_at_any_alignment(
            off in 0u64..64,
            data in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (f, ram) = ram();
            ram.write(VIRT_RAM_BASE + off, &data).unwrap();
            let mut back = vec![0; data.len()];
            ram.read(VIRT_RAM_BASE + off, &mut back).unwrap();
            prop_assert_eq!(&back, &data);
            let file = std::fs::read(f.path()).unwrap();
            prop_assert_eq!(&file[off as usize..off as usize + data.len()], &data[..]);
            prop_assert!(file[..off as usize].iter().all(|b| *b == 0));
            prop_assert!(file[off as usize + data.len()..].iter().all(|b| *b == 0));
        }
    }
}
