// SPDX-License-Identifier: GPL-2.0

//! The last resort before the kernel kills a process to have memory.
//!
//! C header: [`include/linux/oom.h`](srctree/include/linux/oom.h)

use crate::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// Somebody who can give memory back where otherwise a process would be killed for it.
pub trait Notify: Send + Sync + 'static {
    /// Gives memory back, and returns how many pages of it. If it is not 0 nobody is killed, and
    /// the allocation is tried again.
    ///
    /// Called by whoever allocates memory, with whatever locks it holds. It may sleep, but takes no
    /// lock that is held while memory is allocated, and waits for nobody who does without a bound.
    fn out_of_memory(&self) -> usize;
}

/// The registration of a notifier, undone when this is dropped. It does not run afterwards.
///
/// # Examples
///
/// ```
/// use kernel::{
///     oom::{
///         Notify,
///         Registration, //
///     },
///     sync::Arc, //
/// };
///
/// struct Nothing;
///
/// impl Notify for Nothing {
///     fn out_of_memory(&self) -> usize {
///         0
///     }
/// }
///
/// let notifier = Arc::new(Nothing, GFP_KERNEL)?;
/// let registration = KBox::pin_init(Registration::new(notifier), GFP_KERNEL)?;
///
/// drop(registration);
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// `block` is registered.
#[repr(C)]
#[pin_data(PinnedDrop)]
pub struct Registration<T: Notify> {
    // At this place for the callback.
    #[pin]
    block: Opaque<bindings::notifier_block>,
    notifier: Arc<T>,
}

// SAFETY: It can be unregistered by any thread, and the notifier can be dropped by any.
unsafe impl<T: Notify> Send for Registration<T> {}
// SAFETY: There is nothing to be done with a shared reference.
unsafe impl<T: Notify> Sync for Registration<T> {}

impl<T: Notify> Registration<T> {
    /// Registers `notifier`.
    pub fn new(notifier: Arc<T>) -> impl PinInit<Self, Error> {
        // INVARIANT: It is registered once it is initialized. This comes last, since it may be
        // called at once.
        try_pin_init!(Self {
            notifier,
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                // SAFETY: `slot` is for this, and stays where it is until it is unregistered.
                unsafe {
                    slot.write(bindings::notifier_block {
                        notifier_call: Some(Self::callback),
                        ..Default::default()
                    });
                    to_result(bindings::register_oom_notifier(slot))
                }
            }),
        })
    }

    /// # Safety
    ///
    /// For the notifier chain.
    unsafe extern "C" fn callback(
        block: *mut bindings::notifier_block,
        _event: c_ulong,
        freed: *mut c_void,
    ) -> c_int {
        // SAFETY: The block is the first field of a registration.
        let this = unsafe { &*block.cast::<Self>() };

        // SAFETY: The chain is called with a number of pages.
        unsafe { *freed.cast::<c_ulong>() += this.notifier.out_of_memory() };
        bindings::NOTIFY_OK as c_int
    }
}

#[pinned_drop]
impl<T: Notify> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the invariant it is registered. This waits for those that call it.
        unsafe { bindings::unregister_oom_notifier(self.block.get()) };
    }
}

#[macros::kunit_tests(rust_kernel_oom)]
mod tests {
    use super::*;
    use crate::sync::atomic::{
        Atomic,
        Relaxed, //
    };

    /// Gives some pages back, once.
    struct Once(Atomic<usize>);

    impl Notify for Once {
        fn out_of_memory(&self) -> usize {
            self.0.xchg(0, Relaxed)
        }
    }

    type Registered = Pin<KBox<Registration<Once>>>;

    fn once(pages: usize) -> Result<(Arc<Once>, Registered)> {
        let notifier = Arc::new(Once(Atomic::new(pages)), GFP_KERNEL)?;
        let registration = KBox::pin_init(Registration::new(notifier.clone()), GFP_KERNEL)?;

        Ok((notifier, registration))
    }

    /// Calls as the chain does. `freed` is what those before have given back; returns the sum.
    fn call(registration: &Registration<Once>, mut freed: usize) -> usize {
        let block = registration.block.get();
        let data = (&raw mut freed).cast();

        // SAFETY: The block is registered, and takes a number of pages.
        let ret = unsafe { (*block).notifier_call.map(|call| call(block, 0, data)) };
        assert_eq!(ret, Some(bindings::NOTIFY_OK as c_int));
        freed
    }

    #[test]
    fn what_is_given_back_is_added() -> Result {
        let (notifier, registration) = once(7)?;

        assert_eq!(call(&registration, 5), 12);
        assert_eq!(notifier.0.load(Relaxed), 0);
        assert_eq!(call(&registration, 5), 5);
        Ok(())
    }

    #[test]
    fn the_chain_has_it_until_it_is_dropped() -> Result {
        let (notifier, registration) = once(0)?;
        let block = registration.block.get();

        // SAFETY: The block is registered, is not used meanwhile, and is registered again at once.
        let (first, second, again) = unsafe {
            (
                bindings::unregister_oom_notifier(block),
                bindings::unregister_oom_notifier(block),
                bindings::register_oom_notifier(block),
            )
        };
        assert_eq!(first, 0);
        assert_eq!(second, ENOENT.to_errno());
        assert_eq!(again, 0);
        drop(registration);
        assert!(Arc::into_unique_or_drop(notifier).is_some());
        Ok(())
    }
}
