// SPDX-License-Identifier: GPL-2.0

//! Memory that the device tree reserves for a remote processor of a Qualcomm SoC.
//!
//! A driver of a service on such a processor hands it the memory once. The processor keeps it for
//! as long as it runs, which may be longer than the driver is bound, or even there: what the driver
//! [leaves](RemoteMemory::leave) is kept here until the processor is down.
//!
//! C header: [`qcom_rproc.h`](srctree/include/linux/remoteproc/qcom_rproc.h)

use crate::{
    bindings,
    cma,
    device::Device,
    error::from_err_ptr,
    io::PhysAddr,
    iommu::identity::IdentityMapping,
    new_mutex,
    of::ReservedMemory,
    prelude::*,
    qcom_scm,
    str::CString,
    sync::{
        aref::ARef,
        Mutex,
        SetOnce, //
    },
    types::Opaque, //
};

/// The steps by which memory changes hands.
pub trait Means {
    /// Takes it from the rest of the kernel.
    ///
    /// # Errors
    ///
    /// Whatever keeps the kernel from letting go of it; nothing has changed then.
    fn take(&mut self) -> Result;

    /// Gives it to the remote processor.
    ///
    /// # Errors
    ///
    /// Whatever refuses that; nothing has changed then.
    fn give(&mut self) -> Result;

    /// Takes it back from the remote processor.
    ///
    /// # Errors
    ///
    /// Whatever refuses that; the processor has it still.
    fn take_back(&mut self) -> Result;

    /// Lets the rest of the kernel have it again.
    fn release(&mut self);
}

/// Memory that a remote processor has. Dropping it takes the memory back.
///
/// # Examples
///
/// ```
/// use kernel::remote_memory::{
///     Given,
///     Means, //
/// };
///
/// /// Memory that no remote processor accepts.
/// struct Refused<'a>(&'a mut KVec<&'static str>);
///
/// impl Means for Refused<'_> {
///     fn take(&mut self) -> Result {
///         Ok(self.0.push("take", GFP_KERNEL)?)
///     }
///
///     fn give(&mut self) -> Result {
///         Err(EPERM)
///     }
///
///     fn take_back(&mut self) -> Result {
///         Ok(self.0.push("take back", GFP_KERNEL)?)
///     }
///
///     fn release(&mut self) {
///         let _ = self.0.push("release", GFP_KERNEL);
///     }
/// }
///
/// let mut steps = KVec::new();
/// assert_eq!(Given::new(Refused(&mut steps)).err(), Some(EPERM));
/// assert_eq!(steps[..], ["take", "release"][..]);
/// # Ok::<(), Error>(())
/// ```
pub struct Given<M: Means>(M);

impl<M: Means> Given<M> {
    /// Takes memory from the kernel, and gives it to the processor.
    ///
    /// # Errors
    ///
    /// Those of [`Means::take`] and [`Means::give`].
    pub fn new(mut means: M) -> Result<Self> {
        means.take()?;
        match means.give() {
            Ok(()) => Ok(Self(means)),
            Err(error) => {
                means.release();
                Err(error)
            }
        }
    }
}

impl<M: Means> Drop for Given<M> {
    fn drop(&mut self) {
        match self.0.take_back() {
            Ok(()) => self.0.release(),
            // The processor can still write there: nobody else may ever have it.
            Err(error) => pr_err!("reserved memory was not given back: {:?}\n", error),
        }
    }
}

/// Whether a remote processor knows that it has the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// It was never told.
    No,
    /// It may have been told, or may have forgotten it.
    Maybe,
    /// It was told.
    Yes,
}

/// How a remote processor gets at memory.
pub enum Access {
    /// It can do so already.
    Open,
    /// The secure world gives it to these virtual machines, and takes it from the kernel's, unless
    /// that is among them.
    Assigned(KVec<u32>),
    /// The IOMMU maps it for the processor, whose device this is, at its physical address.
    Mapped(ARef<Device>),
}

/// The memory, and what has been done with it.
struct Region {
    memory: ReservedMemory,
    /// Whether the kernel goes on using it.
    shared: bool,
    access: Access,
    pages: Option<cma::WholeArea>,
    mapping: Option<IdentityMapping>,
}

impl Region {
    fn size(&self) -> Result<usize> {
        usize::try_from(self.memory.size()).map_err(|_| EINVAL)
    }

    fn assign(&self, from: &[u32], to: &[u32]) -> Result {
        // SAFETY: By the safety requirements of `RemoteMemory::new()` nothing of the kernel uses
        // the memory, unless the kernel keeps its access.
        unsafe { qcom_scm::assign_mem(self.memory.start(), self.size()?, from, to) }
    }
}

impl Means for Region {
    fn take(&mut self) -> Result {
        if !self.shared {
            self.pages = cma::WholeArea::allocate(self.memory.start(), self.memory.size())?;
        }
        Ok(())
    }

    fn give(&mut self) -> Result {
        match &self.access {
            Access::Open => {}
            Access::Assigned(owners) => self.assign(&[qcom_scm::VMID_HLOS], owners)?,
            Access::Mapped(processor) => {
                // SAFETY: By the safety requirements of `RemoteMemory::new()` the driver of the
                // processor waits for us. Nothing of the kernel uses the memory.
                self.mapping =
                    unsafe { IdentityMapping::new(processor, self.memory.start(), self.size()?)? };
            }
        }
        Ok(())
    }

    fn take_back(&mut self) -> Result {
        match &self.access {
            Access::Open => {}
            Access::Assigned(owners) => self.assign(owners, &[qcom_scm::VMID_HLOS])?,
            Access::Mapped(_) => self.mapping = None,
        }
        Ok(())
    }

    fn release(&mut self) {
        self.pages = None;
    }
}

/// Reserved memory that a remote processor has.
///
/// Dropping it takes the memory back, which is right only as long as the processor has not been
/// told of it; else it has to be [left](Self::leave).
pub struct RemoteMemory {
    /// What is known of it while it is left.
    knows: Knows,
    _given: Given<Region>,
    start: PhysAddr,
    /// The device of the edge that leads to the processor: it goes when the processor stops.
    edge: ARef<Device>,
    /// What the driver of the processor calls that when it tells of stops.
    name: CString,
}

impl RemoteMemory {
    /// Hands `memory` to the processor at the other end of `edge`. Returns whether it knows that
    /// already, from a driver that has left it there.
    ///
    /// Where the page allocator lends the memory out, all of it is allocated first, so that nobody
    /// else uses it. Where it is `shared` the kernel goes on using it.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `edge` has no property "label", which the processor is called by, or `memory`
    ///   can't be what it is.
    /// - [`EBUSY`]: somebody else uses the memory.
    /// - those of [`qcom_scm::assign_mem`] and [`IdentityMapping::new`].
    /// - [`ENOMEM`].
    ///
    /// # Safety
    ///
    /// Nothing else of the kernel may use the memory as long as the processor may have it, unless
    /// it is `shared`; then the access must leave it to the kernel.
    ///
    /// `edge` must lead to the processor that `access` names, if it does, and be removed before
    /// that stops.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use kernel::{
    ///     device::Device,
    ///     of,
    ///     remote_memory::{
    ///         Access,
    ///         Knows,
    ///         RemoteMemory, //
    ///     }, //
    /// };
    ///
    /// /// Gives the processor its heap, and tells it of that, unless it knows.
    /// fn give(edge: &Device, heap: of::ReservedMemory, tell: fn()) -> Result {
    ///     // SAFETY: The heap is for the processor alone. `edge` leads to it.
    ///     let (memory, knows) = unsafe { RemoteMemory::new(heap, false, Access::Open, edge)? };
    ///
    ///     if knows != Knows::Yes {
    ///         tell();
    ///     }
    ///     memory.leave(Knows::Yes);
    ///     Ok(())
    /// }
    /// ```
    pub unsafe fn new(
        memory: ReservedMemory,
        shared: bool,
        access: Access,
        edge: &Device,
    ) -> Result<(Self, Knows)> {
        let name: CString = edge
            .fwnode()
            .ok_or(EINVAL)?
            .property_read(c"label")
            .required_by(edge)?;

        // One that the processor had before it was started anew comes back here, where nobody has
        // told of the stop.
        let left = LeftMemory::get()?.take(memory.start());
        if let Some(left) = left.filter(|left| core::ptr::eq(&*left.edge, edge)) {
            let knows = left.knows;
            return Ok((left, knows));
        }

        watch(&name)?;
        let _given = Given::new(Region {
            memory,
            shared,
            access,
            pages: None,
            mapping: None,
        })?;
        Ok((
            Self {
                knows: Knows::No,
                _given,
                start: memory.start(),
                edge: edge.into(),
                name,
            },
            Knows::No,
        ))
    }

    /// Leaves the memory with the processor, until that is down; takes it back if the processor
    /// does not know of it.
    pub fn leave(mut self, knows: Knows) {
        self.knows = knows;
        match LeftMemory::get() {
            _ if knows == Knows::No => {}
            Ok(left) => left.put(self),
            Err(_) => core::mem::forget(self),
        }
    }
}

/// What processors have though no driver is bound.
struct LeftMemory(Pin<KBox<Mutex<KVec<RemoteMemory>>>>);

static LEFT: SetOnce<LeftMemory> = SetOnce::new();

impl LeftMemory {
    fn get() -> Result<&'static Self> {
        loop {
            if let Some(left) = LEFT.as_ref() {
                return Ok(left);
            }
            // Should somebody else be faster, then theirs is there in a moment.
            let left = KBox::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?;
            LEFT.populate(Self(left));
        }
    }

    fn put(&self, memory: RemoteMemory) {
        let mut left = self.0.lock();

        if left.reserve(1, GFP_KERNEL).is_err() {
            pr_err!("no memory to remember what {} has\n", &*memory.name);
            // It has it for good.
            core::mem::forget(memory);
            return;
        }
        let _ = left.push_within_capacity(memory);
    }

    /// Takes out what begins at `start`.
    fn take(&self, start: PhysAddr) -> Option<RemoteMemory> {
        let mut left = self.0.lock();
        let index = left.iter().position(|memory| memory.start == start)?;

        left.remove(index).ok()
    }

    /// Takes out what the processor `name` has.
    fn take_of(&self, name: &CStr) -> Option<RemoteMemory> {
        let mut left = self.0.lock();
        let index = left.iter().position(|memory| *memory.name == *name)?;

        left.remove(index).ok()
    }
}

/// A processor whose stops we are told of, for good.
#[repr(C)]
struct Watch {
    /// Must be first: [`event`] is given it, and whoever looks for leaks finds it.
    block: Opaque<bindings::notifier_block>,
    name: CString,
}

// SAFETY: The notifier chain has a lock for what is not constant.
unsafe impl Send for Watch {}

type Watches = Mutex<KVec<KBox<Watch>>>;

/// The processors that are watched.
static WATCHES: SetOnce<Pin<KBox<Watches>>> = SetOnce::new();

/// Called when a processor starts and stops, in a thread that may sleep.
extern "C" fn event(
    block: *mut bindings::notifier_block,
    action: c_ulong,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: `block` is the first field of a `Watch`, which lives for ever.
    let watch = unsafe { &*block.cast::<Watch>() };

    if action == bindings::qcom_ssr_notify_type_QCOM_SSR_AFTER_SHUTDOWN as c_ulong {
        if let Some(left) = LEFT.as_ref() {
            // Without the lock: giving it back may take its time.
            while let Some(memory) = left.take_of(&watch.name) {
                drop(memory);
            }
        }
    }
    bindings::NOTIFY_DONE as c_int
}

/// Has what is left to the processor `name` given back when that is down.
///
/// Where no driver tells of stops this does nothing: then it is given back when the processor is
/// started anew.
fn watch(name: &CStr) -> Result {
    let watches = loop {
        if let Some(watches) = WATCHES.as_ref() {
            break watches;
        }
        let watches = KBox::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?;
        WATCHES.populate(watches);
    };
    let mut watches = watches.lock();

    if watches
        .iter()
        .any(|watch: &KBox<Watch>| *watch.name == *name)
    {
        return Ok(());
    }
    let watch = KBox::new(
        Watch {
            block: Opaque::new(bindings::notifier_block {
                notifier_call: Some(event),
                ..Default::default()
            }),
            name: CString::try_from_fmt(fmt!("{}", name))?,
        },
        GFP_KERNEL,
    )?;
    watches.reserve(1, GFP_KERNEL)?;

    // SAFETY: Both are valid. The block stays where it is for ever, since nothing is ever taken out
    // of `WATCHES`.
    let cookie = from_err_ptr(unsafe {
        bindings::qcom_ssr_notifier_register(name.as_char_ptr(), watch.block.get())
    });
    match cookie {
        Ok(_) => {
            let _ = watches.push_within_capacity(watch);
            Ok(())
        }
        Err(ENODEV) => Ok(()),
        Err(error) => Err(error),
    }
}
