// SPDX-License-Identifier: GPL-2.0

//! The two FIFOs of an edge, wherever [`crate::message_ram`] or [`crate::smem`] has put them.
//!
//! A FIFO is a ring of bytes with two indices: the reader owns tail, the writer head.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use anyhow::ensure;

use crate::ram::OutOfRam;
use crate::ram::Ram;

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
    /// A FIFO of `size` bytes at `data`, a multiple of 8, with its indices at `tail` and `head`;
    /// empty.
    ///
    /// # Errors
    ///
    /// When it is not in RAM.
    pub fn new(
        ram: &Arc<Ram>,
        tail: u64,
        head: u64,
        data: u64,
        size: u32,
    ) -> Result<Self, OutOfRam> {
        let fifo = Self {
            ram: Arc::clone(ram),
            tail,
            head,
            data,
            size,
            erased: AtomicU32::new(0),
        };
        fifo.reset()?;
        Ok(fifo)
    }

    /// Empties it when neither side is at work.
    fn reset(&self) -> Result<(), OutOfRam> {
        self.set_tail(0)?;
        self.set_head(0)?;
        self.erased.store(0, Ordering::Relaxed);
        Ok(())
    }

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

    /// Whether the reader has read all of it.
    ///
    /// # Errors
    ///
    /// When it is not in RAM.
    pub fn is_empty(&self) -> Result<bool, OutOfRam> {
        Ok(self.tail()? == self.head()?)
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
    /// The two FIFOs of an edge.
    ///
    /// # Errors
    ///
    /// When they are not in RAM.
    pub fn new(to_dsp: Fifo, to_guest: Fifo) -> Result<Self, OutOfRam> {
        // As if it had been read; see `Fifo::advance`.
        to_dsp.fill(0, to_dsp.size, 0xff)?;
        Ok(Self { to_dsp, to_guest })
    }

    /// Empties both, as a DSP does that starts while the guest waits for it.
    ///
    /// # Errors
    ///
    /// When they are not in RAM.
    pub fn reset(&self) -> Result<(), OutOfRam> {
        self.to_dsp.reset()?;
        self.to_guest.reset()
    }

    /// Whether the guest's transport has started anew and nothing of it was read yet.
    ///
    /// It sets its own two indices to 0, leaves ours alone and writes a VERSION frame at 0. Ask
    /// this when the FIFO is empty or shows erased bytes: after a true wrap it shows frames, and
    /// bytes that were read are erased.
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
    /// When they are not in RAM.
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
        let fifo = |at: u64| {
            let at = VIRT_RAM_BASE + at;
            Fifo::new(&ram, at, at + 4, at + 8, size).unwrap()
        };
        let pipes = Pipes::new(fifo(0), fifo(0x8000)).unwrap();
        (ram, pipes)
    }

    #[test]
    fn what_never_fits_is_an_error() {
        let (_ram, pipes) = pipes(16);
        assert!(pipes.to_guest.write(&[0; 16]).is_err());
        assert!(pipes.to_guest.write(&[0; 7]).is_err());
    }

    #[test]
    fn reset_empties() {
        let (_ram, pipes) = pipes(64);
        assert!(pipes.to_guest.write(&[1; 24]).unwrap());
        pipes.to_dsp.set_head(40).unwrap();
        pipes.reset().unwrap();
        let mut seen = vec![1];
        pipes.to_dsp.peek(&mut seen).unwrap();
        assert!(seen.is_empty());
        assert_eq!(pipes.to_guest.head().unwrap(), 0);
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
