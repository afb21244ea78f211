// SPDX-License-Identifier: GPL-2.0

//! Binding to a DSP's channel, and the accel device that comes of it.

#[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
use crate::compat::Nodes;
use crate::{
    bank::Pool,
    call::Calls,
    channel::{
        Channel,
        Owner,
        Receiver,
        Traits, //
    },
    domain::{
        Domain,
        Domains, //
    },
    file::QdaFile,
    gem::Buffer,
    module_parameters,
    reclaim::Registrations,
    region::Region,
    reserved::{
        Holding,
        Reserved, //
    },
    soc::{
        SocData,
        OF_ID_TABLE, //
    },
    transport::Rpmsg, //
};
use kernel::{
    device::{
        self,
        Core, //
    },
    drm::{
        self,
        gem::HugePages, //
    },
    of,
    prelude::*,
    rpmsg,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    },
    uapi, //
};

/// The driver of DSP channels.
pub(crate) struct QdaRpmsgDriver;

/// The DRM driver.
pub(crate) struct QdaDriver;

/// An accel device.
pub(crate) type QdaDevice<Ctx = drm::Normal> = drm::Device<QdaDriver, Ctx>;

/// What an accel device has for as long as anybody holds it, the DSP or not.
pub(crate) struct DeviceData {
    /// The DSP.
    pub(crate) channel: Arc<Channel>,
}

/// An accel device that user space can open. Dropped in this order: no ioctl runs when the channel
/// ends, and all buffers that the channel had are gone before the device is.
///
/// An object of DRM does not hold its device: handles and dma-bufs do, by files. A DSP process may
/// outlive its client's files, and has buffers.
struct Registered<'bound> {
    registration: drm::Registration<'bound, QdaDriver>,
    owner: Owner,
    _device: ARef<QdaDevice>,
}

impl<'bound> Registered<'bound> {
    /// Registers an accel device for the channel of `owner`.
    ///
    /// # Errors
    ///
    /// Whatever DRM reports.
    fn new(rpdev: &'bound rpmsg::Device<device::Bound>, owner: Owner) -> Result<Self> {
        let channel = owner.0.clone();
        let drm = drm::UnregisteredDevice::<QdaDriver>::new(rpdev, Ok(DeviceData { channel }))?;

        if let Err(error) = drm.use_huge_pages(HugePages::WithinSize) {
            dev_warn!(rpdev.as_ref(), "no huge pages for buffers ({:?})\n", error);
        }

        // SAFETY: The registration is stored in the driver's data, which is dropped when the driver
        // is unbound; it is never forgotten.
        let registration =
            unsafe { drm::Registration::new(rpdev.as_ref(), drm, Ok::<_, Error>(()), 0)? };
        Ok(Self {
            _device: registration.device().into(),
            registration,
            owner,
        })
    }
}

/// What the driver has of a DSP while it is bound. Dropped in this order: memory that was given
/// away comes back when the DSP hears of nothing any more.
pub(crate) struct Bound<'bound> {
    #[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
    nodes: Nodes,
    _reclaim: Registrations,
    registered: Registered<'bound>,
    _reserved: Holding,
}

impl rpmsg::Driver for QdaRpmsgDriver {
    type IdInfo = SocData;
    type Data<'bound> = Bound<'bound>;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(OF_ID_TABLE);

    fn wants(rpdev: &rpmsg::Device) -> rpmsg::Want {
        let dev: &device::Device = rpdev.as_ref();
        let name = dev
            .fwnode()
            .and_then(|node| node.property_read::<CString>(c"label").optional());
        let name = name.as_ref().map_or(&b""[..], |name| name.to_bytes());

        match Domains(module_parameters::domains.value()).have(name) {
            Some(true) => rpmsg::Want::First,
            Some(false) => rpmsg::Want::Not,
            // Programs may count on the other driver.
            None => rpmsg::Want::Last,
        }
    }

    fn probe<'bound>(
        rpdev: &'bound rpmsg::Device<Core<'_>>,
        soc: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let dev: &device::Device<device::Bound> = rpdev.as_ref();
        let soc = soc.ok_or(ENODEV)?;
        let node = dev.fwnode().ok_or(ENODEV)?;

        let name: CString = node.property_read(c"label").required_by(dev)?;
        if name.to_bytes().is_empty()
            || name.to_bytes_with_nul().len() > uapi::QDA_NAME_LEN as usize
        {
            dev_err!(dev, "label is not the name of a DSP\n");
            return Err(EINVAL);
        }
        let domain = Domain::of(name.to_bytes()).inspect_err(|_| {
            dev_err!(dev, "{} is no sort of DSP\n", &*name);
        })?;

        let reserved = Reserved::read(rpdev, node, domain)?.hand_over()?;

        let banks = Pool::new(dev, node, &name, soc, reserved.is_pool())?;
        let region = if banks.is_translated() {
            None
        } else {
            Some(Region::new(node, &name, soc, reserved.is_pool())?)
        };
        let calls = Calls::new(&name)?;
        let receiver = Arc::new(Receiver(calls.clone()), GFP_KERNEL)?;
        let transport = KBox::new(Rpmsg::open(rpdev, receiver)?, GFP_KERNEL)?;
        let traits = Traits {
            name,
            domain,
            non_secure: node.property_read_bool(c"qcom,non-secure-domain"),
            polls: soc.polls(),
        };
        let heap = reserved.heap.clone();
        let owner = Owner(Channel::new(traits, calls, transport, banks, region, heap)?);
        let registered = Registered::new(rpdev, owner)?;

        let reclaim = Registrations::new(&registered.owner.0)?;

        Ok(Bound {
            #[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
            nodes: Nodes::new(registered.registration.device())?,
            _reclaim: reclaim,
            registered,
            _reserved: reserved,
        })
    }

    fn unbind<'bound>(_rpdev: &'bound rpmsg::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // Here the DSP can still be told that its processes end.
        this.registered.owner.0.shut_down();
        #[cfg(CONFIG_DRM_ACCEL_QDA_FASTRPC)]
        this.nodes.close();
    }
}

const INFO: drm::DriverInfo = drm::DriverInfo {
    major: 1,
    minor: 0,
    patchlevel: 0,
    name: c"qda",
    desc: c"Qualcomm DSP accelerator",
};

#[vtable]
impl drm::Driver for QdaDriver {
    type Data = DeviceData;
    type RegistrationData<'drm> = ();
    type File = QdaFile;
    type Object = Buffer;
    type ParentDevice<Ctx: device::DeviceContext> = rpmsg::Device<Ctx>;

    const INFO: drm::DriverInfo = INFO;
    const FEAT_COMPUTE_ACCEL: bool = true;

    // Those that wait for the DSP run without the registration guard: it is one lock for all DRM
    // devices of the machine.
    kernel::declare_drm_ioctls! {
        (QDA_QUERY, drm_qda_query, 0, QdaFile::query),
        (QDA_GEM_CREATE, drm_qda_gem_create, 0, QdaFile::gem_create),
        (QDA_GEM_MMAP_OFFSET, drm_qda_gem_mmap_offset, 0, QdaFile::gem_mmap_offset),
        (QDA_INIT_ATTACH, (), 0, unguarded QdaFile::init_attach),
        (QDA_INIT_CREATE, drm_qda_init_create, 0, unguarded QdaFile::init_create),
        (QDA_MAP, drm_qda_mem_map, 0, unguarded QdaFile::map),
        (QDA_MUNMAP, drm_qda_mem_unmap, 0, unguarded QdaFile::munmap),
        (QDA_INVOKE, drm_qda_invoke, 0, unguarded QdaFile::invoke),
        (QDA_GET_PARAM, drm_qda_get_param, 0, unguarded QdaFile::get_param),
        (QDA_SESSION_CREATE, drm_qda_session_create, 0, unguarded QdaFile::session_create),
        (QDA_CALL, drm_qda_call, 0, unguarded QdaFile::call),
        (QDA_BUFFER_CREATE, drm_qda_buffer_create, 0, QdaFile::buffer_create),
        (QDA_BUFFER_SYNC, drm_qda_buffer_sync, 0, unguarded QdaFile::buffer_sync),
        (QDA_QUEUE_CREATE, drm_qda_queue_create, 0, unguarded QdaFile::queue_create),
        (QDA_SUBMIT, drm_qda_submit, 0, unguarded QdaFile::submit),
        (QDA_CANCEL, drm_qda_cancel, 0, unguarded QdaFile::cancel),
        (QDA_REAP, drm_qda_reap, 0, unguarded QdaFile::reap),
    }
}
