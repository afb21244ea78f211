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

#[macros::kunit_tests(rust_kernel_shrinker)]
mod tests {
    use super::*;
    use crate::sync::atomic::{
        Atomic,
        Relaxed, //
    };

    /// `SHRINKER_REGISTERED`, which the core sets.
    const REGISTERED: u32 = 1;

    /// Has some objects, of which it gives back as many as are wanted, unless it is busy.
    struct Cache {
        left: Atomic<usize>,
        busy: Atomic<bool>,
    }

    impl Shrink for Cache {
        fn count(&self) -> usize {
            self.left.load(Relaxed)
        }

        fn scan(&self, wanted: usize) -> Option<usize> {
            if self.busy.load(Relaxed) {
                return None;
            }

            let given = wanted.min(self.count());
            self.left.fetch_sub(given, Relaxed);
            Some(given)
        }
    }

    fn cache(objects: usize) -> Result<(Arc<Cache>, Registration<Cache>)> {
        let cache = Arc::new(
            Cache {
                left: Atomic::new(objects),
                busy: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        let registration = Registration::new(c"kunit", cache.clone())?;

        Ok((cache, registration))
    }

    /// Asks as the shrinker core does. Returns what it is told.
    fn count(registration: &Registration<Cache>) -> usize {
        let raw = registration.shrinker.as_ptr();
        let mut control = bindings::shrink_control::default();

        // SAFETY: The shrinker is registered, and `control` outlives the call.
        unsafe {
            (*raw)
                .count_objects
                .map_or(0, |count| count(raw, &mut control))
        }
    }

    /// The same for `wanted` objects.
    fn scan(registration: &Registration<Cache>, wanted: usize) -> usize {
        let raw = registration.shrinker.as_ptr();
        let mut control = bindings::shrink_control {
            nr_to_scan: wanted,
            ..Default::default()
        };

        // SAFETY: As in `count()`.
        unsafe {
            (*raw)
                .scan_objects
                .map_or(0, |scan| scan(raw, &mut control))
        }
    }

    #[test]
    fn the_cache_is_asked() -> Result {
        let (cache, registration) = cache(5)?;

        assert_eq!(count(&registration), 5);
        assert_eq!(scan(&registration, 2), 2);
        assert_eq!(cache.left.load(Relaxed), 3);
        assert_eq!(count(&registration), 3);
        assert_eq!(scan(&registration, 128), 3);
        Ok(())
    }

    #[test]
    fn an_empty_cache_says_so() -> Result {
        let (_, registration) = cache(0)?;

        // `SHRINK_EMPTY` as the core has it: 0 means that nothing is known.
        assert_eq!(count(&registration), usize::MAX - 1);
        assert_eq!(scan(&registration, 128), 0);
        Ok(())
    }

    #[test]
    fn a_busy_cache_is_left_alone() -> Result {
        let (cache, registration) = cache(5)?;

        cache.busy.store(true, Relaxed);
        // `SHRINK_STOP`: the core asks no more for now.
        assert_eq!(scan(&registration, 2), usize::MAX);
        assert_eq!(count(&registration), 5);
        cache.busy.store(false, Relaxed);
        assert_eq!(scan(&registration, 2), 2);
        Ok(())
    }

    #[test]
    fn the_core_knows_it_while_it_is_registered() -> Result {
        let (cache, registration) = cache(1)?;
        let raw = registration.shrinker.as_ptr();

        // SAFETY: The shrinker is registered.
        let flags = unsafe { (*raw).flags };
        assert_ne!(flags & REGISTERED, 0);
        drop(registration);
        assert!(Arc::into_unique_or_drop(cache).is_some());
        Ok(())
    }
}
