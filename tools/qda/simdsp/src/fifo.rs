// SPDX-License-Identifier: GPL-2.0

//! The two FIFOs in the message RAM of a `qcom,glink-rpm` edge.
//!
//! The last 256 bytes of the message RAM are a table of contents: magic, count, then
//! `{id, offset, size}` per FIFO. A FIFO is `le32 tail, le32 head`, then `size` bytes; the reader
//! owns tail, the writer head (Linux: `drivers/rpmsg/qcom_glink_rpm.c`).

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use anyhow::ensure;

use crate::board::Region;
use crate::ram::OutOfRam;
use crate::ram::Ram;

const TOC_SIZE: u64 = 256;
const TOC_MAGIC: u32 = 0x6772_7430;
/// Guest to DSP ("ap2r").
const ID_TO_DSP: u32 = 0x6170_3272;
/// DSP to guest ("r2ap").
const ID_TO_GUEST: u32 = 0x7232_6170;
/// Bytes of tail and head before the data.
const INDICES: u64 = 8;

/// One FIFO in guest RAM.
pub struct Fifo {
    ram: Arc<Ram>,
    tail: u64,
    head: u64,
    data: u64,
    size: u32,
    /// As writer: up to where the reader's leavings are erased.
    erased: AtomicU32,
}

impl Fifo {
    /// Bytes of data that it can hold.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Where the writer goes on; published with Release by the writer.
    pub fn head(&self) -> Result<u32, OutOfRam> {
        self.ram.load_u32(self.head)
    }

    /// Where the reader goes on.
    pub fn tail(&self) -> Result<u32, OutOfRam> {
        self.ram.load_u32(self.tail)
    }

    /// Empties the FIFO from the reader's side by setting tail to `at`.
    pub fn set_tail(&self, at: u32) -> Result<(), OutOfRam> {
        self.ram.store_u32(self.tail, at)
    }

    /// Sets head, as a writer that starts anew does.
    pub fn set_head(&self, at: u32) -> Result<(), OutOfRam> {
        self.ram.store_u32(self.head, at)
    }

    /// Bytes that a reader finds between `tail` and `head`.
    fn used(&self, tail: u32, head: u32) -> u32 {
        if head < tail {
            self.size - tail + head
        } else {
            head - tail
        }
    }

    /// Copies all unread bytes, without consuming them.
    ///
    /// # Errors
    ///
    /// When an index lies outside the FIFO: the other side is broken.
    pub fn peek(&self, buf: &mut Vec<u8>) -> anyhow::Result<()> {
        let (tail, head) = (self.tail()?, self.head()?);
        ensure!(
            tail < self.size && head < self.size,
            "FIFO indices {tail:#x}, {head:#x} in {:#x} bytes",
            self.size
        );
        buf.resize(self.used(tail, head) as usize, 0);
        let first = buf.len().min((self.size - tail) as usize);
        let (a, b) = buf.split_at_mut(first);
        self.ram.read(self.data + u64::from(tail), a)?;
        self.ram.read(self.data, b)?;
        Ok(())
    }

    /// Fills `count` bytes from index `at` with `value`.
    fn fill(&self, at: u32, count: u32, value: u8) -> Result<(), OutOfRam> {
        let filler = vec![value; count as usize];
        let first = count.min(self.size - at);
        let (a, b) = filler.split_at(first as usize);
        self.ram.write(self.data + u64::from(at), a)?;
        self.ram.write(self.data, b)
    }

    /// Consumes `count` bytes that [`peek`](Self::peek) showed, and erases them with 0xff.
    ///
    /// That decodes as no frame, so what a writer that started anew leaves behind its reset head is
    /// never taken for frames.
    pub fn advance(&self, count: u32) -> Result<(), OutOfRam> {
        let tail = self.tail()?;
        self.fill(tail, count, 0xff)?;
        self.set_tail((tail + count) % self.size)
    }

    /// Writes `bytes` (a multiple of 8) if they fit; whether they did.
    ///
    /// The FIFO is never filled to the last byte: head equal to tail means empty. What the reader
    /// has consumed is erased with zeros, which the guest reads as VERSION 0 and passes over: an
    /// interrupt that was pending while its transport started anew makes it read from 0 up to our
    /// old head.
    ///
    /// # Errors
    ///
    /// When an index lies outside the FIFO, or `bytes` could never fit.
    pub fn write(&self, bytes: &[u8]) -> anyhow::Result<bool> {
        ensure!(
            bytes.len() % 8 == 0 && bytes.len() < self.size as usize,
            "{} bytes can't go through a FIFO of {}",
            bytes.len(),
            self.size
        );
        let (tail, head) = (self.tail()?, self.head()?);
        ensure!(
            tail < self.size && head < self.size,
            "FIFO indices {tail:#x}, {head:#x} in {:#x} bytes",
            self.size
        );
        if bytes.len() as u32 >= self.size - self.used(tail, head) {
            return Ok(false);
        }
        let erased = self.erased.swap(tail, Ordering::Relaxed);
        self.fill(erased, self.used(erased, tail), 0)?;
        let first = bytes.len().min((self.size - head) as usize);
        let (a, b) = bytes.split_at(first);
        self.ram.write(self.data + u64::from(head), a)?;
        self.ram.write(self.data, b)?;
        self.set_head((head + bytes.len() as u32) % self.size)?;
        Ok(true)
    }
}

/// Both FIFOs of an edge.
pub struct Pipes {
    /// Guest to DSP.
    pub to_dsp: Fifo,
    /// DSP to guest.
    pub to_guest: Fifo,
}

impl Pipes {
    /// Lays two FIFOs of `size` data bytes (a multiple of 8) into `region`, empty, and writes the
    /// table of contents, magic last.
    ///
    /// # Errors
    ///
    /// When the region is not in RAM or too small.
    pub fn create(ram: &Arc<Ram>, region: Region, size: u32) -> anyhow::Result<Self> {
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
        let mut pipes = Vec::new();
        for (i, id) in [ID_TO_DSP, ID_TO_GUEST].into_iter().enumerate() {
            let offset = i as u64 * stride;
            let entry = toc + 8 + 12 * i as u64;
            ram.store_u32(entry, id)?;
            ram.store_u32(entry + 4, offset as u32)?;
            ram.store_u32(entry + 8, size)?;
            let base = region.base + offset;
            let fifo = Fifo {
                ram: Arc::clone(ram),
                tail: base,
                head: base + 4,
                data: base + INDICES,
                size,
                erased: AtomicU32::new(0),
            };
            fifo.set_tail(0)?;
            fifo.set_head(0)?;
            pipes.push(fifo);
        }
        // As if it had been read; see `Fifo::advance`.
        pipes[0].fill(0, size, 0xff)?;
        ram.store_u32(toc + 4, 2)?;
        ram.store_u32(toc, TOC_MAGIC)?;
        let to_guest = pipes.pop().expect("two");
        let to_dsp = pipes.pop().expect("two");
        Ok(Self { to_dsp, to_guest })
    }

    /// Whether the guest's transport has started anew and nothing of it was read yet.
    ///
    /// `glink_rpm_probe()` sets its own two indices to 0, leaves ours alone and writes a VERSION
    /// frame at 0. Ask this when the FIFO is empty or shows erased bytes: after a true wrap it
    /// shows frames, and bytes that were read are erased.
    pub fn guest_restarted(&self) -> Result<bool, OutOfRam> {
        if self.to_dsp.head()? != 8 {
            return Ok(false);
        }
        let mut first = [0; 4];
        self.to_dsp.ram.read(self.to_dsp.data, &mut first)?;
        Ok(first == [0, 0, 1, 0])
    }

    /// Joins a guest that started anew: the other two indices go to 0 as well, unless the guest has
    /// read up to our old head already, which leaves us together there.
    ///
    /// # Errors
    ///
    /// When the message RAM is gone.
    pub fn follow_restart(&self) -> Result<(), OutOfRam> {
        if self.to_guest.tail()? == 0 {
            self.to_guest.set_head(0)?;
            self.to_guest.erased.store(0, Ordering::Relaxed);
        }
        self.to_dsp.set_tail(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::VIRT_RAM_BASE;
    use proptest::prelude::*;

    fn pipes(size: u32) -> (Arc<Ram>, Pipes) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, 0x10000).unwrap());
        let region = Region {
            base: VIRT_RAM_BASE,
            len: 0x10000,
        };
        let pipes = Pipes::create(&ram, region, size).unwrap();
        (ram, pipes)
    }

    #[test]
    fn table_of_contents() {
        let (ram, _) = pipes(0x100);
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
        let region = |len| Region {
            base: VIRT_RAM_BASE,
            len,
        };
        assert!(Pipes::create(&ram, region(0x2000), 8).is_err());
        assert!(Pipes::create(&ram, region(0x1000), 0x800).is_err());
        let fifo = Pipes::create(&ram, region(0x1000), 16).unwrap().to_guest;
        assert!(fifo.write(&[0; 16]).is_err());
    }

    #[test]
    fn a_bad_index_is_an_error() {
        let (_ram, pipes) = pipes(64);
        pipes.to_dsp.set_head(64).unwrap();
        assert!(pipes.to_dsp.peek(&mut Vec::new()).is_err());
    }

    proptest! {
        /// Whatever goes in comes out, in order, through any number of wraps; a full FIFO refuses.
        #[test]
        fn a_queue(ops in proptest::collection::vec((1usize..6, any::<bool>()), 1..200)) {
            let (_ram, pipes) = pipes(64);
            let fifo = &pipes.to_guest;
            let mut model = std::collections::VecDeque::new();
            let mut next = 0u8;
            for (n, push) in ops {
                if push {
                    let bytes: Vec<u8> = (0..8 * n).map(|i| next.wrapping_add(i as u8)).collect();
                    let fits = model.len() + bytes.len() < 64;
                    prop_assert_eq!(fifo.write(&bytes).unwrap(), fits);
                    if fits {
                        next = next.wrapping_add(bytes.len() as u8);
                        model.extend(bytes);
                    }
                } else {
                    let mut seen = Vec::new();
                    fifo.peek(&mut seen).unwrap();
                    prop_assert!(seen.iter().eq(model.iter()));
                    let take = (8 * n).min(model.len());
                    fifo.advance(take as u32).unwrap();
                    model.drain(..take);
                }
            }
        }
    }
}
