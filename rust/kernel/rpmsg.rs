// SPDX-License-Identifier: GPL-2.0

//! Abstractions for the remote processor messaging (rpmsg) bus.
//!
//! An rpmsg device is a channel to a service on a remote processor. A driver gets one endpoint with
//! it, the default endpoint, which it opens in [`Driver::probe`] with [`Endpoint::open`].
//!
//! C header: [`include/linux/rpmsg.h`](srctree/include/linux/rpmsg.h)

use crate::{
    acpi,
    bindings,
    device,
    device_id::{
        RawDeviceId,
        RawDeviceIdIndex, //
    },
    driver,
    error::{
        from_result,
        to_result, //
    },
    new_mutex,
    of,
    prelude::*,
    sync::{
        aref::AlwaysRefCounted,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        rcu,
        srcu::new_srcu,
        Arc,
        Mutex,
        Srcu, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
    ThisModule, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{
        offset_of,
        MaybeUninit, //
    },
    ptr::{
        null,
        null_mut,
        NonNull, //
    },
    slice, //
};

/// An adapter for the registration of rpmsg drivers.
pub struct Adapter<T: Driver>(T);

// SAFETY:
// - `bindings::rpmsg_driver` is a C type declared as `repr(C)`.
// - `PrivateData<'bound, T>` is the type of the driver's device private data.
// - `struct rpmsg_driver` embeds a `struct device_driver`.
// - `DEVICE_DRIVER_OFFSET` is the correct byte offset to the embedded `struct device_driver`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::rpmsg_driver;
    type DriverData<'bound> = PrivateData<'bound, T>;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(Self::DriverType, drv);
}

// SAFETY: A call to `unregister` for a given instance of `DriverType` is guaranteed to be valid if
// a preceding call to `register` has been successful.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        rpdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        let of_table = match T::OF_ID_TABLE {
            Some(table) => table.as_ptr(),
            None => null(),
        };

        let id_table = match T::ID_TABLE {
            Some(table) => table.as_ptr(),
            None => null(),
        };

        // The bus makes the default endpoint, and GLINK announces receive buffers for it, only if
        // there is a callback.
        //
        // SAFETY: It's safe to set the fields of `struct rpmsg_driver` on initialization.
        unsafe {
            (*rpdrv.get()).drv.name = name.as_char_ptr();
            (*rpdrv.get()).drv.of_match_table = of_table;
            (*rpdrv.get()).id_table = id_table;
            (*rpdrv.get()).probe = Some(Self::probe_callback);
            (*rpdrv.get()).remove = Some(Self::remove_callback);
            (*rpdrv.get()).callback = Some(receive_callback);
            (*rpdrv.get()).wants = Some(Self::wants_callback);
        }

        // SAFETY: `rpdrv` is guaranteed to be a valid `DriverType`.
        to_result(unsafe { bindings::__register_rpmsg_driver(rpdrv.get(), module.as_ptr()) })
    }

    unsafe fn unregister(rpdrv: &Opaque<Self::DriverType>) {
        // SAFETY: `rpdrv` is guaranteed to be a valid `DriverType`.
        unsafe { bindings::unregister_rpmsg_driver(rpdrv.get()) };
    }
}

impl<T: Driver> Adapter<T> {
    /// Returns the entry of the tables of `T` that `rpdev` was matched by, in the bus's order.
    fn device_info(rpdev: &Device) -> Option<&'static T::IdInfo> {
        // What the bus noted in the device may be of another driver, whose table had the same name.
        if let Some(info) = T::ID_TABLE.and_then(|table| find_id(table, rpdev.name())) {
            return Some(info);
        }

        // SAFETY: The device is bound to a driver whose OF table is that of `T`, and whose other
        // tables generic code can't see.
        unsafe { <Self as driver::Adapter>::id_info(rpdev.as_ref()) }
    }

    extern "C" fn wants_callback(rpdev: *mut bindings::rpmsg_device) -> bindings::rpmsg_want {
        // SAFETY: The rpmsg bus only ever calls the wants callback with a valid pointer to a
        // `struct rpmsg_device`.
        let rpdev = unsafe { &*rpdev.cast::<Device>() };

        T::wants(rpdev) as bindings::rpmsg_want
    }

    extern "C" fn probe_callback(rpdev: *mut bindings::rpmsg_device) -> c_int {
        // SAFETY: The rpmsg bus only ever calls the probe callback with a valid pointer to a
        // `struct rpmsg_device`.
        //
        // INVARIANT: `rpdev` is valid for the duration of `probe_callback()`, and bound to a driver
        // of this abstraction.
        let rpdev = unsafe { &*rpdev.cast::<Device<device::CoreInternal<'_>>>() };
        let info = Self::device_info(rpdev);

        from_result(|| {
            let channel = Arc::pin_init(Channel::new(), GFP_KERNEL)?;
            let private_data = KBox::pin_init(
                pin_init!(PrivateData::<'_, T> {
                    channel,
                    data: UnsafeCell::new(MaybeUninit::uninit()),
                    probed: UnsafeCell::new(false),
                }),
                GFP_KERNEL,
            )?;

            // Releases what the pointer points to, to `receive_callback`, which may run any time.
            //
            // SAFETY: `into_foreign()` returns a pointer to a `PrivateData`, which the core drops
            // when there is no endpoint any more.
            unsafe { rpdev.private_data() }.store(private_data.into_foreign().cast(), Release);

            // SAFETY: The private data has just been stored, and the core drops it only after this
            // callback has returned and the endpoint is gone.
            let private_data = unsafe { rpdev.as_ref().drvdata_borrow::<PrivateData<'_, T>>() };
            let data = T::probe(rpdev, info);

            // SAFETY:
            // - Nobody else accesses `data` before `probed` is set; the slot is uninitialized.
            // - The private data is pinned, and never moved out of.
            // - On error `probed` stays `false`, and the slot is not touched again.
            let result =
                unsafe { pin_init::raw_try_init((*private_data.data.get()).as_mut_ptr(), data) };

            match result {
                Ok(()) => {
                    // SAFETY: Nobody else accesses `probed` during the probe.
                    unsafe { *private_data.probed.get() = true };
                    Ok(0)
                }
                Err(error) => {
                    // The bus destroys the endpoint next.
                    private_data.channel.close();
                    Err(error)
                }
            }
        })
    }

    extern "C" fn remove_callback(rpdev: *mut bindings::rpmsg_device) {
        // SAFETY: The rpmsg bus only ever calls the remove callback with a valid pointer to a
        // `struct rpmsg_device`.
        //
        // INVARIANT: `rpdev` is valid for the duration of `remove_callback()`, and bound to a
        // driver of this abstraction.
        let rpdev = unsafe { &*rpdev.cast::<Device<device::CoreInternal<'_>>>() };

        // SAFETY: `remove_callback` is only ever called after a successful call to
        // `probe_callback`, which stored a `Pin<KBox<PrivateData<'_, T>>>`.
        let private_data = unsafe { rpdev.as_ref().drvdata_borrow::<PrivateData<'_, T>>() };

        // SAFETY: `probe_callback` was successful, hence `data` is initialized and only shared.
        let data = unsafe { (*private_data.data.get()).assume_init_ref() };

        // SAFETY: The private data is pinned, and `data` is never moved out of it.
        T::unbind(rpdev, unsafe { Pin::new_unchecked(data) });

        // The bus destroys the endpoint next, and the core drops the private data after that.
        private_data.channel.close();
    }
}

impl<T: Driver> driver::Adapter for Adapter<T> {
    type IdInfo = T::IdInfo;

    fn acpi_id_table() -> Option<acpi::IdTable<Self::IdInfo>> {
        None
    }

    fn of_id_table() -> Option<of::IdTable<Self::IdInfo>> {
        T::OF_ID_TABLE
    }
}

/// Called by the transport with each message, often in hard interrupt context.
///
/// The bus may call it from before `probe_callback` until it has destroyed the endpoint.
extern "C" fn receive_callback(
    rpdev: *mut bindings::rpmsg_device,
    msg: *mut c_void,
    len: c_int,
    _priv: *mut c_void,
    src: u32,
) -> c_int {
    // SAFETY: The transport passes a valid pointer to a `struct rpmsg_device`.
    let rpdev = unsafe { &*rpdev.cast::<Device>() };

    // SAFETY: While there is an endpoint with this callback, the device is being bound to, bound
    // to or being unbound from a driver of this abstraction, so that its private data is not set
    // yet or valid.
    let Some(channel) = (unsafe { rpdev.channel() }) else {
        return 0;
    };

    let msg: &[u8] = match usize::try_from(len) {
        // SAFETY: The transport passes a valid pointer to `len` bytes, which nobody writes to while
        // the callback runs.
        Ok(len) if len > 0 => unsafe { slice::from_raw_parts(msg.cast(), len) },
        _ => &[],
    };

    channel.receive(rpdev, msg, src);
    0
}

/// What the bus core keeps for the driver: its data and the state of the default endpoint.
#[doc(hidden)]
#[repr(C)]
#[pin_data(PinnedDrop)]
pub struct PrivateData<'bound, T: Driver> {
    /// Must be first: [`Device::channel`] finds it without knowing `T`.
    channel: Arc<Channel>,
    /// Initialized if `probed` is `true`.
    #[pin]
    data: UnsafeCell<MaybeUninit<T::Data<'bound>>>,
    /// Set once, at the end of a successful probe.
    probed: UnsafeCell<bool>,
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for PrivateData<'_, T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: We have exclusive access to `self`, and `data` is initialized if `probed` says
        // so. It is dropped in place.
        unsafe {
            if *self.probed.get() {
                (*self.data.get()).assume_init_drop();
            }
        }
    }
}

/// Takes the messages that come in at an endpoint.
pub trait Receiver: Send + Sync + 'static {
    /// Called with each message and the address of its sender.
    ///
    /// The message is a buffer of the transport, valid for the call, without alignment, and filled
    /// by the remote processor: nothing in it can be relied upon.
    ///
    /// Runs in atomic context, with GLINK in a hard interrupt: must not sleep, nor drop the last
    /// reference to anything whose destructor may sleep, e.g. a [`Sender`]. Locks are
    /// [`SpinLockIrq`](crate::sync::SpinLockIrq) or such that are taken with interrupts off.
    /// Calls for one endpoint don't overlap.
    fn receive(&self, msg: &[u8], src: u32);
}

/// State of the default endpoint of a device, from the beginning of a probe on.
#[pin_data]
struct Channel {
    /// The endpoint, or NULL while messages can't be sent. Valid within an SRCU read-side critical
    /// section in which it was read.
    ept: Atomic<*mut bindings::rpmsg_endpoint>,
    /// The receiver, or NULL while messages are dropped; else from [`KBox::into_raw`]. Valid within
    /// an RCU read-side critical section in which it was read.
    receiver: Atomic<*mut Arc<dyn Receiver>>,
    /// Messages that nobody received.
    dropped: Atomic<usize>,
    /// Guards `ept`.
    #[pin]
    senders: Srcu,
    /// Whether `ept` and `receiver` have ever been set; held to change them.
    #[pin]
    opened: Mutex<bool>,
}

impl Channel {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ept: Atomic::new(null_mut()),
            receiver: Atomic::new(null_mut()),
            dropped: Atomic::new(0),
            senders <- new_srcu!("rpmsg::Channel::senders"),
            opened <- new_mutex!(false, "rpmsg::Channel::opened"),
        })
    }

    /// Lets messages pass in both directions.
    ///
    /// # Safety
    ///
    /// `ept` must be valid until [`Self::close`] has returned.
    unsafe fn open(
        &self,
        ept: *mut bindings::rpmsg_endpoint,
        receiver: Arc<dyn Receiver>,
    ) -> Result {
        let receiver = KBox::new(receiver, GFP_KERNEL)?;
        let mut opened = self.opened.lock();

        if *opened {
            return Err(EBUSY);
        }

        *opened = true;
        self.ept.store(ept, Release);
        self.receiver.store(KBox::into_raw(receiver), Release);
        Ok(())
    }

    /// Stops all messages, for good. Afterwards neither a send nor a receive is in progress.
    fn close(&self) {
        let _opened = self.opened.lock();

        if !self.ept.xchg(null_mut(), Full).is_null() {
            self.senders.synchronize();
        }

        let receiver = self.receiver.xchg(null_mut(), Full);
        if !receiver.is_null() {
            rcu::synchronize_rcu();

            // SAFETY: The pointer comes from `KBox::into_raw` in `open`. It was taken out of its
            // place under the lock, and nobody who read it before is still using it.
            drop(unsafe { KBox::from_raw(receiver) });
        }
    }

    fn receive(&self, rpdev: &Device, msg: &[u8], src: u32) {
        let _guard = rcu::read_lock();

        // SAFETY: If it is not NULL, then it points to a receiver that `close` doesn't drop before
        // the RCU read-side critical section has ended.
        match unsafe { self.receiver.load(Acquire).as_ref() } {
            Some(receiver) => receiver.receive(msg, src),
            None => {
                let dropped = self.dropped.fetch_add(1, Relaxed).wrapping_add(1);

                // A remote processor may send as fast as it can: tell of 1, 2, 4, ...
                if dropped.is_power_of_two() {
                    dev_dbg!(
                        rpdev.as_ref(),
                        "{} messages dropped, nobody receives\n",
                        dropped
                    );
                }
            }
        }
    }

    /// Sends `msg` with `send`, unless the endpoint is closed.
    fn send_with(
        &self,
        msg: &[u8],
        send: unsafe extern "C" fn(*mut bindings::rpmsg_endpoint, *const c_void, c_int) -> c_int,
    ) -> Result {
        let len = c_int::try_from(msg.len()).map_err(|_| EMSGSIZE)?;
        let _guard = self.senders.read_lock();

        let ept = self.ept.load(Acquire);
        if ept.is_null() {
            return Err(EPIPE);
        }

        // SAFETY: `ept` is valid since we are in an SRCU read-side critical section, and `msg` is
        // an array of `len` bytes.
        to_result(unsafe { send(ept, msg.as_ptr().cast(), len) })
    }
}

/// The default endpoint of a device, open for messages.
///
/// Dropping it closes it. The abstraction also closes it itself, after [`Driver::unbind`] or when
/// the probe failed, since the bus destroys the C endpoint then; an [`Endpoint`] that lives longer
/// is harmless.
pub struct Endpoint(Sender);

impl Endpoint {
    /// Opens the default endpoint of `rpdev`: from now on messages go to `receiver`, also before
    /// the probe has ended. This can be done once each time the driver is bound.
    ///
    /// Messages that came before are lost. Some transports let the remote processor send only after
    /// the probe.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if it has been opened before, even if it is closed now, [`ENOMEM`] if there is no
    /// memory.
    pub fn open<R: Receiver>(rpdev: &Device<device::Core<'_>>, receiver: Arc<R>) -> Result<Self> {
        // SAFETY: `rpdev` is bound to a driver of this abstraction by its type invariant, and we
        // are in a callback of the driver, so that the private data is there.
        let channel = unsafe { rpdev.channel() }.ok_or(ENODEV)?;

        // SAFETY: `rpdev.as_raw()` is a valid pointer by the type invariant. The bus sets `ept`
        // before it calls the driver, and changes it only after.
        let ept = unsafe { (*rpdev.as_raw()).ept };

        // SAFETY: The bus destroys the endpoint after a failed probe or after the removal. Before
        // that, `probe_callback` and `remove_callback` close the channel, and `Core` tells that
        // none of them has come to that point.
        unsafe { channel.open(ept, receiver)? };

        Ok(Self(Sender(channel.clone())))
    }

    /// Closes the endpoint, unless it is closed already.
    ///
    /// Waits for sends and receives in progress, thus may sleep, and must not be called by the
    /// receiver. Afterwards the receiver is not called any more, and its reference is dropped.
    pub fn close(&self) {
        self.0 .0.close();
    }

    /// Returns a handle to send with.
    pub fn sender(&self) -> Sender {
        self.0.clone()
    }

    /// Returns how many messages came while the endpoint was not open.
    pub fn dropped(&self) -> usize {
        self.0 .0.dropped.load(Relaxed)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

/// A handle to send messages through an [`Endpoint`].
///
/// It can be kept and used for as long as one likes; when the endpoint is closed, sending fails.
/// Sends take no lock here and can go on in parallel. A send in progress delays the closing.
///
/// Dropping the last handle, and the endpoint, may sleep.
#[derive(Clone)]
pub struct Sender(Arc<Channel>);

impl Sender {
    /// Sends `msg`. May sleep until the transport has room for it.
    ///
    /// # Errors
    ///
    /// [`EPIPE`] if the endpoint is closed, [`EMSGSIZE`] if the message is longer than a C `int`
    /// can tell, and whatever the transport returns: often [`ENOMEM`] or [`EMSGSIZE`] for messages
    /// that it has no room for, and [`EIO`] or [`ETIMEDOUT`] if the remote processor is gone.
    pub fn send(&self, msg: &[u8]) -> Result {
        self.0.send_with(msg, bindings::rpmsg_send)
    }

    /// Sends `msg` if there is room for it at once. Does not sleep.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], and an error of the transport if there is no room, e.g. [`EAGAIN`],
    /// [`EBUSY`] or [`ENOMEM`].
    pub fn try_send(&self, msg: &[u8]) -> Result {
        self.0.send_with(msg, bindings::rpmsg_trysend)
    }
}

/// Declares a kernel module that exposes a single rpmsg driver.
///
/// # Examples
///
/// ```ignore
/// kernel::module_rpmsg_driver! {
///     type: MyDriver,
///     name: "Module name",
///     authors: ["Author name"],
///     description: "Description",
///     license: "GPL v2",
/// }
/// ```
#[macro_export]
macro_rules! module_rpmsg_driver {
    ($($f:tt)*) => {
        $crate::module_driver!(<T>, $crate::rpmsg::Adapter<T>, { $($f)* });
    };
}

/// The name of a service, for tables of them.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct DeviceId(bindings::rpmsg_device_id);

impl DeviceId {
    /// Creates a [`DeviceId`] from the name of a service, of at most 31 bytes.
    pub const fn new(name: &'static CStr) -> Self {
        let name = name.to_bytes();
        let mut id: bindings::rpmsg_device_id = pin_init::zeroed();

        assert!(
            name.len() < bindings::RPMSG_NAME_SIZE as usize,
            "name of service too long"
        );

        let mut i = 0;
        while i < name.len() {
            id.name[i] = name[i];
            i += 1;
        }

        Self(id)
    }
}

// SAFETY: `DeviceId` is a `#[repr(transparent)]` wrapper of `rpmsg_device_id` and does not add
// additional invariants, so it's safe to transmute to `RawType`.
unsafe impl RawDeviceId for DeviceId {
    type RawType = bindings::rpmsg_device_id;
}

// SAFETY: `DRIVER_DATA_OFFSET` is the offset to the `driver_data` field.
unsafe impl RawDeviceIdIndex for DeviceId {
    const DRIVER_DATA_OFFSET: usize = offset_of!(bindings::rpmsg_device_id, driver_data);
}

/// Table of names of services.
pub type IdTable<T> = &'static dyn kernel::device_id::IdTable<DeviceId, T>;

/// Creates a table of names of services, with its alias for modpost.
#[macro_export]
macro_rules! rpmsg_device_table {
    ($($tt:tt)*) => {
        $crate::module_device_table!("rpmsg", $crate::rpmsg::DeviceId, $($tt)*);
    };
}

/// Returns what `table` has for the service `name`.
fn find_id<I: 'static>(table: IdTable<I>, name: &[u8]) -> Option<&'static I> {
    let mut id = table.as_ptr().cast::<DeviceId>();

    loop {
        // SAFETY: `id` points to an entry of the table, or to the one of zeros that ends it, which
        // we don't go beyond. Both live forever.
        let entry = unsafe { &*id };

        if entry.0.name[0] == 0 {
            return None;
        }

        if up_to_nul(&entry.0.name) == name {
            // SAFETY: The entry is one of a table with infos of type `I`.
            return Some(unsafe { entry.info_unchecked::<I>() });
        }

        // SAFETY: This was not the last entry.
        id = unsafe { id.add(1) };
    }
}

/// Returns the bytes before the first NUL, if there is one.
fn up_to_nul(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// How much a driver wants a channel that its tables match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Want {
    /// Not at all.
    Not = bindings::rpmsg_want_RPMSG_WANT_NOT,
    /// If no other driver wants it.
    Last = bindings::rpmsg_want_RPMSG_WANT_LAST,
    /// As a driver that does not say.
    Usual = bindings::rpmsg_want_RPMSG_WANT_USUAL,
    /// Before other drivers.
    First = bindings::rpmsg_want_RPMSG_WANT_FIRST,
}

/// The rpmsg driver trait.
///
/// # Examples
///
/// A driver that tells the remote processor a number and counts what it gets back.
///
///```
/// use kernel::{
///     device::Core,
///     of,
///     rpmsg,
///     sync::{
///         atomic::{
///             Atomic,
///             Relaxed, //
///         },
///         Arc, //
///     }, //
/// };
///
/// struct Counter(Atomic<usize>);
///
/// impl rpmsg::Receiver for Counter {
///     fn receive(&self, msg: &[u8], _src: u32) {
///         self.0.fetch_add(msg.len(), Relaxed);
///     }
/// }
///
/// struct MyDriver {
///     endpoint: rpmsg::Endpoint,
///     counter: Arc<Counter>,
/// }
///
/// kernel::of_device_table!(
///     OF_TABLE,
///     <MyDriver as rpmsg::Driver>::IdInfo,
///     [(of::DeviceId::new(c"test,remote-counter"), 1)]
/// );
///
/// kernel::rpmsg_device_table!(
///     ID_TABLE,
///     <MyDriver as rpmsg::Driver>::IdInfo,
///     [(rpmsg::DeviceId::new(c"remote-counter"), 2)]
/// );
///
/// impl rpmsg::Driver for MyDriver {
///     type IdInfo = u32;
///     type Data<'bound> = Self;
///     const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);
///     const ID_TABLE: Option<rpmsg::IdTable<Self::IdInfo>> = Some(&ID_TABLE);
///
///     fn wants(rpdev: &rpmsg::Device) -> rpmsg::Want {
///         match rpdev.name() {
///             // An older driver has these as well, and programs that use it.
///             b"remote-counter" => rpmsg::Want::Last,
///             _ => rpmsg::Want::Usual,
///         }
///     }
///
///     fn probe<'bound>(
///         rpdev: &'bound rpmsg::Device<Core<'_>>,
///         info: Option<&'bound Self::IdInfo>,
///     ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
///         let version = info.copied().ok_or(ENODEV)?;
///         let counter = Arc::new(Counter(Atomic::new(0)), GFP_KERNEL)?;
///         let endpoint = rpmsg::Endpoint::open(rpdev, counter.clone())?;
///
///         // The answer may come before the probe has ended.
///         endpoint.sender().send(&version.to_le_bytes())?;
///         Ok(MyDriver { endpoint, counter })
///     }
///
///     fn unbind<'bound>(
///         rpdev: &'bound rpmsg::Device<Core<'_>>,
///         this: Pin<&Self::Data<'bound>>,
///     ) {
///         this.endpoint.close();
///         dev_info!(rpdev.as_ref(), "{} bytes\n", this.counter.0.load(Relaxed));
///     }
/// }
///```
pub trait Driver: 'static {
    /// The type holding information about each device id supported by the driver.
    // TODO: Use associated_type_defaults once stabilized:
    //
    // ```
    // type IdInfo: 'static = ();
    // ```
    type IdInfo: 'static;

    /// The type of the driver's bus device private data.
    type Data<'bound>: Send + 'bound;

    /// The table of OF device ids supported by the driver.
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = None;

    /// The table of names of services supported by the driver.
    const ID_TABLE: Option<IdTable<Self::IdInfo>> = None;

    /// How much the driver wants a channel that its tables match.
    ///
    /// Of several drivers the one that wants it most gets it. Not asked where userspace has chosen,
    /// by `driver_override`. The device may be bound to another driver meanwhile.
    fn wants(rpdev: &Device) -> Want {
        let _ = rpdev;
        Want::Usual
    }

    /// Rpmsg driver probe.
    ///
    /// Called when a channel for the driver appears. Implementers should open the endpoint here,
    /// see [`Endpoint::open`]. The name of the channel is looked for in [`Self::ID_TABLE`] first,
    /// then its node in [`Self::OF_ID_TABLE`].
    fn probe<'bound>(
        rpdev: &'bound Device<device::Core<'_>>,
        id_info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// Rpmsg driver unbind.
    ///
    /// Called when the driver is unbound, or when the channel vanishes because the remote processor
    /// has closed it or has stopped. In the former case messages can still be sent and received.
    /// When it returns, the endpoint is closed, then [`Self::Data`] is dropped.
    fn unbind<'bound>(rpdev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (rpdev, this);
    }
}

/// The rpmsg device representation: a channel to a service on a remote processor.
///
/// # Invariants
///
/// - A [`Device`] instance represents a valid `struct rpmsg_device` created by the C portion of the
///   kernel.
/// - While it is a `Device<Bound>`, it is bound to a driver that was registered with [`Adapter`].
#[repr(transparent)]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::rpmsg_device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Device<Ctx> {
    fn as_raw(&self) -> *mut bindings::rpmsg_device {
        self.0.get()
    }

    /// Returns the name of the service, of at most 32 bytes, not terminated.
    pub fn name(&self) -> &[u8] {
        // SAFETY: By the type invariant `self.as_raw()` is a valid pointer. The name is set before
        // the device is registered, and never changes.
        up_to_nul(unsafe { &(*self.as_raw()).id.name })
    }

    /// Returns the state of the default endpoint, if a driver of this abstraction has made one.
    ///
    /// # Safety
    ///
    /// The private data must be either NULL or a [`PrivateData`], which stays until the returned
    /// reference is not used any more.
    unsafe fn channel(&self) -> Option<&Arc<Channel>> {
        // SAFETY: Nothing is stored.
        let data = unsafe { self.private_data() }.load(Acquire);

        // SAFETY: By the safety requirements `data` is NULL or points to a `PrivateData`, which
        // begins with an `Arc<Channel>`, whatever its type parameters.
        unsafe { data.cast::<Arc<Channel>>().as_ref() }
    }

    /// Returns the place of the pointer to the private data. The endpoint's callback reads it while
    /// a probe writes it.
    ///
    /// # Safety
    ///
    /// Only pointers that the driver core may take for those to the private data are stored.
    unsafe fn private_data(&self) -> &Atomic<*mut c_void> {
        // SAFETY: By the type invariant the field is valid and aligned as long as `self` is. The
        // driver core writes it only when there is no endpoint whose callback could read it.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).dev.driver_data) }
    }

    /// Returns the device of the edge that the channel belongs to: the transport to the remote
    /// processor, which is removed when that stops.
    pub fn edge(&self) -> Option<&device::Device> {
        let dev: &device::Device<Ctx> = self.as_ref();

        dev.parent()
    }

    /// Returns the device of the remote processor, if it has a node in the device tree: the nearest
    /// one above the edge that has any.
    pub fn processor(&self) -> Option<&device::Device> {
        let mut dev = self.edge()?.parent()?;

        while dev.fwnode().is_none() {
            dev = dev.parent()?;
        }
        Some(dev)
    }

    /// Returns whether the channel vanishes, because the remote processor has closed it or stops.
    /// If it does not while the driver is being unbound, then it is userspace that wants that.
    pub fn is_vanishing(&self) -> bool {
        extern "C" fn is_it(child: *mut bindings::device, it: *mut c_void) -> c_int {
            c_int::from(child.cast() == it)
        }

        // The driver core takes a device from its parent before it unbinds the driver.
        //
        // SAFETY: By the type invariant the device is valid, and so is its parent. `is_it()` only
        // compares pointers.
        self.edge().is_some_and(|edge| unsafe {
            bindings::device_for_each_child(
                edge.as_raw(),
                (&raw mut (*self.as_raw()).dev).cast(),
                Some(is_it),
            ) == 0
        })
    }
}

// SAFETY: `rpmsg::Device` is a transparent wrapper of `struct rpmsg_device`.
// The offset is guaranteed to point to a valid device field inside `rpmsg::Device`.
unsafe impl<Ctx: device::DeviceContext> device::AsBusDevice<Ctx> for Device<Ctx> {
    const OFFSET: usize = offset_of!(bindings::rpmsg_device, dev);
}

// SAFETY: `Device` is a transparent wrapper of a type that doesn't depend on `Device`'s generic
// argument.
kernel::impl_device_context_deref!(unsafe { Device });
kernel::impl_device_context_into_aref!(Device);

// SAFETY: Instances of `Device` are always reference-counted.
unsafe impl AlwaysRefCounted for Device {
    fn inc_ref(&self) {
        self.as_ref().inc_ref();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // CAST: `Self` is a transparent wrapper of `bindings::rpmsg_device`.
        let rpdev: *mut bindings::rpmsg_device = obj.cast().as_ptr();

        // SAFETY: By the type invariant `rpdev` is valid, and the safety requirements guarantee
        // that the refcount is non-zero.
        unsafe { bindings::put_device(&raw mut (*rpdev).dev) };
    }
}

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Device<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariant of `Self`, `self.as_raw()` is a pointer to a valid
        // `struct rpmsg_device`.
        let dev = unsafe { &raw mut (*self.as_raw()).dev };

        // SAFETY: `dev` points to a valid `struct device`.
        unsafe { device::Device::from_raw(dev) }
    }
}

// SAFETY: A `Device` is always reference-counted and can be released from any thread.
unsafe impl Send for Device {}

// SAFETY: `Device` can be shared among threads because all methods of `Device`
// (i.e. `Device<Normal>) are thread safe.
unsafe impl Sync for Device {}

// SAFETY: Same as `Device<Normal>` -- the underlying `struct rpmsg_device` is the same;
// `Bound` is a zero-sized type-state marker that does not affect thread safety.
unsafe impl Sync for Device<device::Bound> {}
