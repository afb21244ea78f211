// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM printers.
//!
//! C header: [`include/drm/drm_print.h`](srctree/include/drm/drm_print.h)

use crate::{
    bindings,
    fmt,
    prelude::*,
    types::Opaque, //
};

/// Where the DRM core has something printed to, such as a file in procfs.
///
/// # Examples
///
/// ```
/// use kernel::{
///     drm::print::Printer,
///     prelude::*, //
/// };
///
/// fn show(printer: &Printer, jobs: u32) {
///     printer.print(fmt!("example-jobs:\t{}\n", jobs));
/// }
/// ```
///
/// # Invariants
///
/// `self.0` is a valid instance of a `struct drm_printer`, which only one thread uses.
#[repr(transparent)]
pub struct Printer(Opaque<bindings::drm_printer>);

impl Printer {
    /// Creates a reference from the C type.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a valid `struct drm_printer`, which no other thread uses, for the
    /// lifetime `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_printer) -> &'a Self {
        // SAFETY: By the safety requirements; `Printer` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Prints formatted text.
    pub fn print(&self, args: fmt::Arguments<'_>) {
        // SAFETY: `self.0` is valid by the type invariant, and `%pA` takes a pointer to
        // `fmt::Arguments`.
        unsafe {
            bindings::drm_printf(
                self.0.get(),
                c"%pA".as_char_ptr(),
                core::ptr::from_ref(&args).cast::<crate::ffi::c_void>(),
            )
        };
    }
}
