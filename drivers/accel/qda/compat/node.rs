// SPDX-License-Identifier: GPL-2.0

//! The device nodes: one or two for each DSP.

use super::{
    file::CompatFile,
    seats::Seats, //
};
use crate::{
    domain::Domain,
    driver::QdaDevice,
    kind::Access, //
};
use kernel::{
    miscdevice::MiscDeviceRegistration,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// What a node is of.
pub(crate) struct Node {
    /// The DSP.
    pub(crate) device: ARef<QdaDevice>,
    /// What those who opened it may do.
    pub(crate) access: Access,
    /// The seats of those who opened one.
    pub(crate) seats: Arc<Seats>,
}

/// The nodes of one DSP.
pub(crate) struct Nodes {
    nodes: KVec<Pin<KBox<MiscDeviceRegistration<CompatFile>>>>,
    seats: Arc<Seats>,
}

impl Nodes {
    /// Makes the nodes of `device`. On a DSP that has unsigned processes: `fastrpc-cdsp-secure`
    /// for whoever may have every process, and `fastrpc-cdsp` for unsigned ones. On another only
    /// one of them: the latter, if the device tree says that anybody may do anything.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: there are such nodes, of another driver.
    /// - [`ENOMEM`].
    pub(crate) fn new(device: &QdaDevice) -> Result<Self> {
        let channel = &device.channel;
        let kinds: &[bool] = match channel.domain {
            Domain::Cdsp | Domain::Gdsp => &[true, false],
            Domain::Adsp | Domain::Mdsp | Domain::Sdsp if channel.non_secure => &[false],
            Domain::Adsp | Domain::Mdsp | Domain::Sdsp => &[true],
        };
        let seats = Seats::new()?;
        let mut nodes = KVec::new();

        for &secure in kinds {
            let suffix = if secure { "-secure" } else { "" };
            let name = CString::try_from_fmt(fmt!("fastrpc-{}{}", &*channel.name, suffix))?;
            let node = Node {
                device: device.into(),
                access: Access::Node { secure },
                seats: seats.clone(),
            };
            let registration = MiscDeviceRegistration::register_named(name, node);

            nodes.push(KBox::try_pin_init(registration, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self { nodes, seats })
    }

    /// Takes back what open files have of the channel, which has ended.
    pub(crate) fn close(&self) {
        self.seats.close();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // From here on nobody can open one, and then nobody takes a seat.
        self.nodes.clear();
        self.seats.close();
    }
}
