// SPDX-License-Identifier: GPL-2.0

//! The numbers by which a DSP process knows buffers.
//!
//! A number is what the client passed, unchanged: the DSP hands it to the client's code, and gives
//! it back. A buffer may be held under a number in two ways, at the same time: mapped by the
//! client, at an address of the DSP; and lent with calls, as often as calls passed it, until the
//! DSP gives it back.
//!
//! A number may come to mean another buffer, as a file descriptor does that was closed, while the
//! DSP has not given the first one back. Then calls lend the other one, the DSP may still use the
//! first, and so both are held. What the DSP gives back then is the one that was lent last.
//!
//! Pure code, generic over what a buffer is; the lock around it is in [`crate::process`].

use kernel::prelude::*;

/// Most buffers that one DSP process may hold.
pub(crate) const MAX_NUMBERS: usize = 16_384;

/// How far a mapping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    /// There is none.
    None,
    /// The DSP was asked for it, or to undo it, and may have done so.
    Asked,
    /// It is at this address and of this length.
    At { address: u64, len: u64 },
}

struct Entry<T> {
    number: i32,
    buffer: T,
    mapping: Mapping,
    lent: u32,
}

/// Buffers that a DSP process holds, by number.
///
/// # Invariants
///
/// - No two entries have the same number and buffer.
/// - No two entries of a number are mapped.
/// - Each entry is mapped or lent.
pub(crate) struct Numbers<T> {
    /// In the order in which they came, so that what a number means now is found last.
    entries: KVVec<Entry<T>>,
}

impl<T: PartialEq> Numbers<T> {
    /// No buffers.
    pub(crate) fn new() -> Self {
        Self {
            entries: KVVec::new(),
        }
    }

    /// The last entry of `number` for which `wanted` holds.
    fn find(&self, number: i32, wanted: impl Fn(&Entry<T>) -> bool) -> Option<usize> {
        self.entries
            .iter()
            .rposition(|entry| entry.number == number && wanted(entry))
    }

    /// The buffer that is held under a number, the last one if there are several.
    pub(crate) fn get(&self, number: i32) -> Option<&T> {
        let index = self.find(number, |_| true)?;

        Some(&self.entries[index].buffer)
    }

    /// The buffer that [`Numbers::take_back`] would take back.
    pub(crate) fn lent(&self, number: i32) -> Option<&T> {
        let index = self.find(number, |entry| entry.lent != 0)?;

        Some(&self.entries[index].buffer)
    }

    /// A buffer that is held, under whatever number, and for which `wanted` holds.
    pub(crate) fn find_held(&self, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        let entry = self.entries.iter().find(|entry| wanted(&entry.buffer))?;

        Some(&entry.buffer)
    }

    /// The entry of `number` and `buffer`, made now if there is none.
    fn enter(&mut self, number: i32, buffer: T) -> Result<&mut Entry<T>> {
        let index = match self.find(number, |entry| entry.buffer == buffer) {
            Some(index) => index,
            None if self.entries.len() >= MAX_NUMBERS => return Err(ENOSPC),
            None => {
                self.entries.push(
                    Entry {
                        number,
                        buffer,
                        mapping: Mapping::None,
                        lent: 0,
                    },
                    GFP_KERNEL,
                )?;
                self.entries.len() - 1
            }
        };
        Ok(&mut self.entries[index])
    }

    /// Removes an entry that is neither mapped nor lent any more; its buffer is to be dropped
    /// without the lock.
    fn settle(&mut self, index: usize) -> Option<T> {
        let entry = &self.entries[index];
        if entry.mapping != Mapping::None || entry.lent != 0 {
            return None;
        }
        Some(self.entries.remove(index).ok()?.buffer)
    }

    /// Notes that a call passes `buffer` as `number`.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`]: too many buffers are held, or this one too often.
    /// - [`ENOMEM`].
    pub(crate) fn lend(&mut self, number: i32, buffer: T) -> Result {
        let entry = self.enter(number, buffer)?;

        entry.lent = entry.lent.checked_add(1).ok_or(ENOSPC)?;
        Ok(())
    }

    /// Takes back one reference that the DSP has given back. Returns whether it had one, and the
    /// buffer if that was the last.
    pub(crate) fn take_back(&mut self, number: i32) -> (bool, Option<T>) {
        let Some(index) = self.find(number, |entry| entry.lent != 0) else {
            return (false, None);
        };

        self.entries[index].lent -= 1;
        (true, self.settle(index))
    }

    /// Notes that the DSP is being asked to map `buffer` as `number`.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: the number is held for another buffer, or is mapped.
    /// - [`ENOSPC`]: too many numbers are held.
    /// - [`ENOMEM`].
    pub(crate) fn ask_map(&mut self, number: i32, buffer: T) -> Result {
        let is_in_the_way =
            |entry: &Entry<T>| entry.buffer != buffer || entry.mapping != Mapping::None;

        if self.find(number, is_in_the_way).is_some() {
            return Err(EEXIST);
        }

        self.enter(number, buffer)?.mapping = Mapping::Asked;
        Ok(())
    }

    /// The entry of a number that is mapped, or asked for.
    fn mapping_of(&self, number: i32) -> Option<usize> {
        self.find(number, |entry| entry.mapping != Mapping::None)
    }

    /// The buffer that is mapped as `number`, or asked for.
    pub(crate) fn mapping(&self, number: i32) -> Option<&T> {
        let index = self.mapping_of(number)?;

        Some(&self.entries[index].buffer)
    }

    /// Notes that the DSP has mapped what [`Numbers::ask_map`] asked for.
    pub(crate) fn mapped(&mut self, number: i32, address: u64, len: u64) {
        if let Some(index) = self.mapping_of(number) {
            self.entries[index].mapping = Mapping::At { address, len };
        }
    }

    /// Notes that a mapping is no more, or never came about. Returns the buffer if nothing else
    /// holds it.
    pub(crate) fn unmapped(&mut self, number: i32) -> Option<T> {
        let index = self.mapping_of(number)?;

        self.entries[index].mapping = Mapping::None;
        self.settle(index)
    }

    /// Notes that the DSP is being asked to undo the mapping of `number`, or of whatever number for
    /// `None`, at `address`. Returns its number and length.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such mapping.
    pub(crate) fn ask_unmap(&mut self, number: Option<i32>, address: u64) -> Result<(i32, u64)> {
        for entry in self.entries.iter_mut() {
            match entry.mapping {
                Mapping::At { address: at, len }
                    if at == address && number.is_none_or(|number| number == entry.number) =>
                {
                    entry.mapping = Mapping::Asked;
                    return Ok((entry.number, len));
                }
                _ => {}
            }
        }
        Err(EINVAL)
    }
}
