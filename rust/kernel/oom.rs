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
