// SPDX-License-Identifier: GPL-2.0

//! Intents of a GLINK channel: buffers that one side announces to the other, for one message each.
//!
//! Only bookkeeping, no I/O. [`Ours`] are the buffers that we have announced and the guest fills,
//! [`Theirs`] those that the guest has announced and we fill. The side that fills a buffer counts
//! it as taken until the other says that it is done with it, and whether it may be used again
//! (Linux: `struct glink_core_rx_intent` in `drivers/rpmsg/qcom_glink_native.c`).

use std::collections::BTreeMap;

use thiserror::Error;

/// Most intents of one side.
const MAX_COUNT: usize = 512;
/// Largest intent in bytes.
const MAX_SIZE: u32 = 1 << 16;

/// Something that the guest may not do with intents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadIntent {
    /// An intent that was not announced, or is gone.
    #[error("no intent {0}")]
    Unknown(u32),
    /// Announced while there is one of that number.
    #[error("intent {0} announced twice")]
    Twice(u32),
    /// A message that is longer than the intent.
    #[error("{len} bytes for intent {iid} of {size}")]
    TooLong {
        /// The intent.
        iid: u32,
        /// Its size.
        size: u32,
        /// Bytes of the message, those to come included.
        len: usize,
    },
    /// Done with an intent that was not filled.
    #[error("done with intent {0}, which was not used")]
    Idle(u32),
}

struct Buffer {
    size: u32,
    reuse: bool,
    data: Vec<u8>,
}

/// A message that has filled one of our intents.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled {
    /// The message.
    pub message: Vec<u8>,
    /// Whether the guest may use the intent again; else it is gone.
    pub reuse: bool,
}

/// Intents that we have announced.
#[derive(Default)]
pub struct Ours {
    last: u32,
    buffers: BTreeMap<u32, Buffer>,
}

impl Ours {
    /// Makes an intent of `size` bytes to announce, which is done with after one message unless
    /// `reuse`. `None` when it is too large or there are too many.
    pub fn offer(&mut self, size: u32, reuse: bool) -> Option<u32> {
        if size > MAX_SIZE || self.buffers.len() >= MAX_COUNT {
            return None;
        }
        loop {
            // From 1, and none that is in use.
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.buffers.contains_key(&self.last) {
                break;
            }
        }
        let buffer = Buffer {
            size,
            reuse,
            data: Vec::new(),
        };
        self.buffers.insert(self.last, buffer);
        Some(self.last)
    }

    /// Takes a chunk of a message of which `left` bytes are still to come. Gives the message when
    /// it is complete.
    ///
    /// # Errors
    ///
    /// [`BadIntent`]; the message is dropped.
    pub fn fill(&mut self, iid: u32, chunk: &[u8], left: u32) -> Result<Option<Filled>, BadIntent> {
        let buffer = self.buffers.get_mut(&iid).ok_or(BadIntent::Unknown(iid))?;
        let len = buffer.data.len() + chunk.len() + left as usize;
        if len > buffer.size as usize {
            buffer.data.clear();
            let size = buffer.size;
            return Err(BadIntent::TooLong { iid, size, len });
        }
        buffer.data.extend_from_slice(chunk);
        if left != 0 {
            return Ok(None);
        }
        let message = std::mem::take(&mut buffer.data);
        let reuse = buffer.reuse;
        if !reuse {
            self.buffers.remove(&iid);
        }
        Ok(Some(Filled { message, reuse }))
    }
}

/// Intents that the guest has announced.
#[derive(Default)]
pub struct Theirs {
    /// Size by number.
    free: BTreeMap<u32, u32>,
    taken: BTreeMap<u32, u32>,
}

impl Theirs {
    /// Adds an intent.
    ///
    /// # Errors
    ///
    /// [`BadIntent::Twice`].
    pub fn add(&mut self, iid: u32, size: u32) -> Result<(), BadIntent> {
        if self.free.contains_key(&iid) || self.taken.contains_key(&iid) {
            return Err(BadIntent::Twice(iid));
        }
        self.free.insert(iid, size);
        Ok(())
    }

    /// Whether an intent for a message of `len` bytes is free.
    pub fn fits(&self, len: usize) -> bool {
        self.free.values().any(|size| *size as usize >= len)
    }

    /// Takes the smallest free intent for a message of `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<u32> {
        let fits = self.free.iter().filter(|(_, size)| **size as usize >= len);
        let (&iid, &size) = fits.min_by_key(|(_, size)| **size)?;
        self.free.remove(&iid);
        self.taken.insert(iid, size);
        Some(iid)
    }

    /// The guest has done with an intent; it is free again if it can be used again.
    ///
    /// # Errors
    ///
    /// [`BadIntent::Idle`] or [`BadIntent::Unknown`].
    pub fn done(&mut self, iid: u32, reuse: bool) -> Result<(), BadIntent> {
        let Some(size) = self.taken.remove(&iid) else {
            return Err(match self.free.contains_key(&iid) {
                true => BadIntent::Idle(iid),
                false => BadIntent::Unknown(iid),
            });
        };
        if reuse {
            self.free.insert(iid, size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_in_chunks() {
        let mut ours = Ours::default();
        let iid = ours.offer(8, false).unwrap();
        assert_eq!(ours.fill(iid, b"abc", 5), Ok(None));
        let filled = Filled {
            message: b"abcdefgh".to_vec(),
            reuse: false,
        };
        assert_eq!(ours.fill(iid, b"defgh", 0), Ok(Some(filled)));
        assert_eq!(ours.fill(iid, b"x", 0), Err(BadIntent::Unknown(iid)));
    }

    #[test]
    fn what_is_too_long_is_dropped() {
        let mut ours = Ours::default();
        let iid = ours.offer(8, true).unwrap();
        assert_eq!(ours.fill(iid, b"abc", 4), Ok(None));
        assert!(matches!(
            ours.fill(iid, b"defg", 3),
            Err(BadIntent::TooLong { len: 10, .. })
        ));
        let filled = ours.fill(iid, b"12345678", 0).unwrap().unwrap();
        assert_eq!(filled.message, b"12345678");
        assert!(ours.fill(iid, &[], u32::MAX).is_err());
    }

    #[test]
    fn bounds_of_offers() {
        let mut ours = Ours::default();
        assert_eq!(ours.offer(MAX_SIZE + 1, true), None);
        let ids: Vec<_> = (0..MAX_COUNT).map(|_| ours.offer(1, true)).collect();
        assert!(ids.iter().all(Option::is_some));
        assert_eq!(ours.offer(1, true), None);
    }

    #[test]
    fn the_smallest_that_fits() {
        let mut theirs = Theirs::default();
        for (iid, size) in [(1, 64), (2, 16), (3, 40)] {
            theirs.add(iid, size).unwrap();
        }
        assert_eq!(theirs.take(17), Some(3));
        assert_eq!(theirs.take(17), Some(1));
        assert_eq!(theirs.take(17), None);
        assert_eq!(theirs.done(2, true), Err(BadIntent::Idle(2)));
        assert_eq!(theirs.done(9, true), Err(BadIntent::Unknown(9)));
        assert_eq!(theirs.add(3, 40), Err(BadIntent::Twice(3)));
        theirs.done(3, false).unwrap();
        assert_eq!(theirs.add(3, 40), Ok(()));
    }

    proptest! {
        /// Against a model: an intent is in one hand at a time, a message goes only into one that
        /// is free and large enough, and what isn't reused is gone.
        #[test]
        fn theirs_is_in_one_hand(
            ops in proptest::collection::vec((0u8..3, 1u32..8, 0u32..100, any::<bool>()), 0..200)
        ) {
            let mut theirs = Theirs::default();
            let mut model: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
            for (op, iid, size, reuse) in ops {
                let known = model.get(&iid).copied();
                match op {
                    0 => {
                        prop_assert_eq!(theirs.add(iid, size).is_ok(), known.is_none());
                        model.entry(iid).or_insert((size, false));
                    }
                    1 => {
                        let free = |v: &&(u32, bool)| !v.1 && v.0 >= size;
                        let best = model.values().filter(free).map(|v| v.0).min();
                        let taken = theirs.take(size as usize);
                        prop_assert_eq!(taken.map(|iid| model[&iid]), best.map(|s| (s, false)));
                        if let Some(iid) = taken {
                            model.get_mut(&iid).unwrap().1 = true;
                        }
                    }
                    _ => {
                        let was_taken = known.is_some_and(|v| v.1);
                        prop_assert_eq!(theirs.done(iid, reuse).is_ok(), was_taken);
                        if was_taken {
                            model.insert(iid, (known.unwrap().0, false));
                            if !reuse {
                                model.remove(&iid);
                            }
                        }
                    }
                }
            }
        }

        /// Messages cut at any place come out whole, from several intents at once.
        #[test]
        fn ours_puts_messages_together(
            messages in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 1..40), 1usize..10, any::<bool>()), 1..6)
        ) {
            let mut ours = Ours::default();
            let mut rest: Vec<_> = messages
                .iter()
                .map(|(m, cut, reuse)| {
                    (ours.offer(m.len() as u32, *reuse).unwrap(), &m[..], *cut)
                })
                .collect();
            let mut whole = BTreeMap::new();
            while rest.iter().any(|(_, left, _)| !left.is_empty()) {
                for (iid, left, cut) in rest.iter_mut().filter(|(_, left, _)| !left.is_empty()) {
                    let (chunk, more) = left.split_at((*cut).min(left.len()));
                    if let Some(filled) = ours.fill(*iid, chunk, more.len() as u32).unwrap() {
                        prop_assert!(more.is_empty());
                        whole.insert(*iid, filled);
                    }
                    *left = more;
                }
            }
            for ((iid, ..), (message, _, reuse)) in rest.iter().zip(&messages) {
                prop_assert_eq!(&whole[iid].message, message);
                prop_assert_eq!(ours.fill(*iid, b"x", 0).is_ok(), *reuse);
            }
        }
    }
}
