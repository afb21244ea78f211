// SPDX-License-Identifier: GPL-2.0

//! Calls to the secure world of Qualcomm SoCs (SCM, the secure channel manager).
//!
//! C header:
//! [`include/linux/firmware/qcom/qcom_scm.h`](srctree/include/linux/firmware/qcom/qcom_scm.h)

use crate::{
    bindings,
    error::to_result,
    io::PhysAddr,
    prelude::*, //
};

/// The virtual machine that the kernel runs in.
pub const VMID_HLOS: u32 = bindings::QCOM_SCM_VMID_HLOS;

/// Returns whether the secure world can be called yet.
///
/// # Examples
///
/// ```
/// use kernel::qcom_scm;
///
/// fn probe() -> Result {
///     if !qcom_scm::is_available() {
///         return Err(EPROBE_DEFER);
///     }
///     Ok(())
/// }
/// ```
#[doc(alias = "qcom_scm_is_available")]
pub fn is_available() -> bool {
    // SAFETY: There is nothing that a caller must ensure.
    unsafe { bindings::qcom_scm_is_available() }
}

/// Gives memory of the virtual machines `from` to the virtual machines `to`, which get all access
/// to it; those that are not among them lose theirs. May sleep.
///
/// # Errors
///
/// - [`EPROBE_DEFER`]: the secure world can't be called yet.
/// - [`EINVAL`]: `to` is empty, or there is no such virtual machine.
/// - [`ENOMEM`], and what the secure world reports.
///
/// # Safety
///
/// While [`VMID_HLOS`] is not among its owners, nothing of the kernel may access the memory.
#[doc(alias = "qcom_scm_assign_mem")]
pub unsafe fn assign_mem(start: PhysAddr, size: usize, from: &[u32], to: &[u32]) -> Result {
    if !is_available() {
        return Err(EPROBE_DEFER);
    }
    if to.is_empty() {
        return Err(EINVAL);
    }

    let mut owners = 0u64;
    for &vmid in from {
        owners |= 1u64.checked_shl(vmid).ok_or(EINVAL)?;
    }
    let mut permissions = KVec::with_capacity(to.len(), GFP_KERNEL)?;
    for &vmid in to {
        permissions.push(
            bindings::qcom_scm_vmperm {
                vmid: i32::try_from(vmid).map_err(|_| EINVAL)?,
                perm: (bindings::QCOM_SCM_PERM_READ
                    | bindings::QCOM_SCM_PERM_WRITE
                    | bindings::QCOM_SCM_PERM_EXEC) as i32,
            },
            GFP_KERNEL,
        )?;
    }

    // SAFETY: The secure world is there, `permissions` has as many entries as are passed, and by
    // the requirements of this function nobody misses the memory.
    to_result(unsafe {
        bindings::qcom_scm_assign_mem(
            start,
            size,
            &mut owners,
            permissions.as_ptr(),
            permissions.len() as u32,
        )
    })
}
