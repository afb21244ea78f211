// SPDX-License-Identifier: GPL-2.0

//! Shrinkers: caches that give memory back when the system is short of it.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use crate::{
    bindings,
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};
use core::ptr::NonNull;

/// A cache that can give memory back.
///
/// Both functions are called by whoever allocates memory, with whatever locks it holds, also in the
/// middle of an allocation by the cache's own user. They must not sleep, nor take a lock that is
/// held while memory is allocated.
pub trait Shrink: Send + Sync + 'static {
    /// Returns how many objects could be given back; 0 if there are none.
    fn count(&self) -> usize;

    /// Gives up to `wanted` objects back, or sees to it that they soon are. Returns how many, or
    /// [`None`] if nothing more can be done now.
    fn scan(&self, wanted: usize) -> Option<usize>;
}

/// The registration of a shrinker, undone when this is dropped. Neither function runs afterwards.
///
/// # Examples
///
/// ```
/// use kernel::{
///     shrinker::{
///         Registration,
///         Shrink, //
///     },
///     sync::{
///         atomic::{
///             Atomic,
///             Relaxed, //
///         },
///         Arc, //
///     }, //
/// };
///
/// struct Cache(Atomic<usize>);
///
/// impl Shrink for Cache {
///     fn count(&self) -> usize {
///         self.0.load(Relaxed)
///     }
///
///     fn scan(&self, _wanted: usize) -> Option<usize> {
///         Some(self.0.xchg(0, Relaxed))
///     }
/// }
///
/// let cache = Arc::new(Cache(Atomic::new(3)), GFP_KERNEL)?;
/// let registration = Registration::new(c"example", cache.clone())?;
///
/// drop(registration);
/// assert_eq!(Arc::into_unique_or_drop(cache).map(|_| ()), Some(()));
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// The pointer is that of a registered shrinker, whose `private_data` is that of `_cache`.
pub struct Registration<T: Shrink> {
    shrinker: NonNull<bindings::shrinker>,
    _cache: Arc<T>,
}

// SAFETY: A shrinker can be freed by any thread, and the cache can be dropped by any.
unsafe impl<T: Shrink> Send for Registration<T> {}
// SAFETY: There is nothing to be done with a shared reference.
unsafe impl<T: Shrink> Sync for Registration<T> {}

impl<T: Shrink> Registration<T> {
    /// Registers `cache` as a shrinker with a name for debugging.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &CStr, cache: Arc<T>) -> Result<Self> {
        // SAFETY: The format takes one string, which is copied.
        let shrinker =
            unsafe { bindings::shrinker_alloc(0, c"%s".as_char_ptr(), name.as_char_ptr()) };
        let shrinker = NonNull::new(shrinker).ok_or(ENOMEM)?;

        // SAFETY: The shrinker is ours, and not registered yet.
        unsafe {
            let raw = shrinker.as_ptr();

            (*raw).count_objects = Some(Self::count_callback);
            (*raw).scan_objects = Some(Self::scan_callback);
            (*raw).seeks = bindings::DEFAULT_SEEKS as i32;
            (*raw).private_data = Arc::as_ptr(&cache).cast_mut().cast();
            bindings::shrinker_register(raw);
        }

        // INVARIANT: It was just registered with that data.
        Ok(Self {
            shrinker,
            _cache: cache,
        })
    }

    /// # Safety
    ///
    /// `shrinker` must be registered by [`Self::new()`].
    unsafe fn cache<'a>(shrinker: *mut bindings::shrinker) -> &'a T {
        // SAFETY: By the invariant this is the cache, which is held until nobody calls any more.
        unsafe { &*(*shrinker).private_data.cast::<T>() }
    }

    /// # Safety
    ///
    /// For the shrinker core.
    unsafe extern "C" fn count_callback(
        shrinker: *mut bindings::shrinker,
        _control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: This is called only for shrinkers that are registered.
        let count = unsafe { Self::cache(shrinker) }.count();

        if count == 0 {
            return EMPTY;
        }
        count
    }

    /// # Safety
    ///
    /// For the shrinker core.
    unsafe extern "C" fn scan_callback(
        shrinker: *mut bindings::shrinker,
        control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: `control` is valid for the duration of the call.
        let wanted = unsafe { (*control).nr_to_scan };

        // SAFETY: As in `count_callback()`.
        let scanned = unsafe { Self::cache(shrinker) }.scan(wanted);
        scanned.unwrap_or(STOP)
    }
}

impl<T: Shrink> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the shrinker is registered. This waits for those that use it.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// `SHRINK_STOP`.
const STOP: c_ulong = !0;

/// `SHRINK_EMPTY`.
const EMPTY: c_ulong = !0 - 1;
