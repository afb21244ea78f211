// SPDX-License-Identifier: GPL-2.0

//! What a call needs of the kernel's own memory, kept for the next call.

use crate::{
    call::Spare,
    invoke::{
        Invoke,
        Loans,
        UserArg, //
    },
    layout::Arg,
    mapped::Mapped,
    payload::{
        Payload,
        Place, //
    }, //
};
use core::ops::{
    Deref,
    DerefMut, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};

/// Frames that a process keeps: more calls at once allocate theirs.
const KEPT: usize = 32;

/// Frames that a process keeps when it makes no calls.
const KEPT_IDLE: usize = 1;

/// Most arguments of a call whose frame is kept.
const KEPT_ARGS: usize = 128;

/// The lists of a call, and the call itself.
pub(crate) struct Lists {
    /// Arguments as the program passed them.
    pub(crate) user: Option<KVec<UserArg>>,
    /// Arguments as the DSP sees them.
    pub(crate) args: KVec<Arg>,
    /// Uses of the buffers among them.
    pub(crate) buffers: KVec<Arc<Mapped>>,
    /// What goes before the inline arguments.
    pub(crate) tables: KVec<u64>,
    /// The call, when it is over.
    pub(crate) call: Option<Spare<Payload>>,
    /// What the DSP may touch, while there is a call.
    pub(crate) place: Option<Place>,
    /// What the program asked for, if it does not wait for the call.
    pub(crate) invoke: Option<Invoke>,
    /// Numbers that are lent to the DSP with the call, until it is sent.
    pub(crate) loans: Loans,
}

impl Lists {
    /// Takes the list of arguments as the program passes them, which is empty.
    pub(crate) fn take_user(&mut self) -> KVec<UserArg> {
        self.user.take().unwrap_or_default()
    }

    fn clear(&mut self) {
        if let Some(user) = &mut self.user {
            user.clear();
        }
        self.args.clear();
        self.buffers.clear();
        self.tables.clear();
    }
}

/// Lists that are empty at first, with room for as much as an earlier call had. A box, since it
/// moves with every step of a call.
pub(crate) struct Frame(KBox<Lists>);

impl Frame {
    /// One without room.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        let lists = KBox::new(
            Lists {
                user: None,
                args: KVec::new(),
                buffers: KVec::new(),
                tables: KVec::new(),
                call: None,
                place: None,
                invoke: None,
                loans: Loans::default(),
            },
            GFP_KERNEL,
        )?;

        Ok(Self(lists))
    }

    /// Without what the last call has left in the lists.
    pub(crate) fn emptied(mut self) -> Self {
        self.clear();
        self
    }
}

impl Deref for Frame {
    type Target = Lists;

    fn deref(&self) -> &Lists {
        &self.0
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut Lists {
        &mut self.0
    }
}

/// The frames of one process that no call has.
#[pin_data]
pub(crate) struct Frames {
    #[pin]
    kept: SpinLock<KVec<Frame>>,
    /// Whether a call took one since [`Frames::trim`].
    recent: Atomic<bool>,
}

impl Frames {
    /// None, with room for those that will be kept.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            kept <- {
                let kept = KVec::with_capacity(KEPT, GFP_KERNEL)?;
                new_spinlock!(kept)
            },
            recent: Atomic::new(false),
        }? Error)
    }

    /// A frame for a call: `other`, if there is one.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn get(&self, other: Option<Frame>) -> Result<Frame> {
        self.recent.store(true, Relaxed);
        let frame = other.or_else(|| self.kept.lock().pop());

        frame.map_or_else(Frame::new, Ok)
    }

    /// Keeps the frame of a call that is over, if there is room. Returns whether there are more
    /// now than a process needs that makes no calls.
    pub(crate) fn put(&self, frame: Frame) -> bool {
        let frame = frame.emptied();
        if frame.args.capacity() > KEPT_ARGS {
            return false;
        }

        let mut kept = self.kept.lock();
        let refused = kept.push_within_capacity(frame);
        let many = kept.len() > KEPT_IDLE;
        drop(kept);
        // The frame comes back if there is no room, and goes without the lock.
        drop(refused);
        many
    }

    /// Lets go of frames that are not needed, if there was no call since the last time. Returns
    /// whether there are still some.
    pub(crate) fn trim(&self) -> bool {
        if self.recent.xchg(false, Relaxed) {
            return true;
        }
        loop {
            let mut kept = self.kept.lock();
            if kept.len() <= KEPT_IDLE {
                return false;
            }
            let frame = kept.pop();
            drop(kept);
            drop(frame);
        }
    }
}
