// SPDX-License-Identifier: GPL-2.0

//! Vectors whose allocations may fail.

use core::ops::{Deref, DerefMut};

/// There was no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// How an allocation is made; means nothing on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(());

/// Values of [`Flags`].
pub mod flags {
    use super::Flags;

    /// May sleep.
    pub const GFP_KERNEL: Flags = Flags(());
}

/// A vector: the kernel's interface in front of [`Vec`].
#[derive(Debug, Default)]
pub struct KVec<T>(Vec<T>);

/// A vector that need not be contiguous in memory; the same, on the host.
pub type KVVec<T> = KVec<T>;

/// An index that is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveError;

impl<T> KVec<T> {
    /// An empty vector.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Removes element `index`, keeping the order of the others.
    ///
    /// # Errors
    ///
    /// [`RemoveError`] if there is no such element.
    pub fn remove(&mut self, index: usize) -> Result<T, RemoveError> {
        if index < self.0.len() {
            Ok(self.0.remove(index))
        } else {
            Err(RemoveError)
        }
    }

    /// A vector with room for `capacity` elements.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory for it.
    pub fn with_capacity(capacity: usize, _flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Vec::new();
        vec.try_reserve_exact(capacity).map_err(|_| AllocError)?;
        Ok(Self(vec))
    }

    /// Appends `value`.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory for it.
    pub fn push(&mut self, value: T, _flags: Flags) -> Result<(), AllocError> {
        self.0.try_reserve(1).map_err(|_| AllocError)?;
        self.0.push(value);
        Ok(())
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
