// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the reserved memory of a DSP: who owns it, and when the DSP hears of it.
//!
//! The secure world is a recording here. That shows which calls are made, in which order, and
//! nothing of what firmware makes of them.

use crate::{
    domain::Domain,
    heap::{
        Assigner,
        Heap,
        Region,
        Reserved, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

const HEAP: Region = Region {
    start: 0x9_8000_0000,
    size: 0xc0_0000,
};

/// What was asked of the secure world.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    WhetherAvailable,
    Assign(Region, KVec<u32>, KVec<u32>),
}

/// A secure world that does as its fields say.
#[pin_data]
struct World {
    #[pin]
    asked: Mutex<KVec<Asked>>,
    available: bool,
    answer: Result,
}

struct Recorder(Arc<World>);

fn copy(ids: &[u32]) -> KVec<u32> {
    let mut copy = KVec::new();

    copy.extend_from_slice(ids, GFP_KERNEL)
        .expect("memory for a test");
    copy
}

impl Assigner for Recorder {
    fn is_available(&self) -> bool {
        let mut asked = self.0.asked.lock();

        asked
            .push(Asked::WhetherAvailable, GFP_KERNEL)
            .expect("memory for a test");
        self.0.available
    }

    fn assign(&self, region: Region, from: &[u32], to: &[u32]) -> Result {
        let mut asked = self.0.asked.lock();

        asked.push(Asked::Assign(region, copy(from), copy(to)), GFP_KERNEL)?;
        self.0.answer
    }
}

fn world(available: bool, answer: Result) -> Result<Arc<World>> {
    Arc::pin_init(
        pin_init!(World {
            asked <- new_mutex!(KVec::new()),
            available,
            answer,
        }),
        GFP_KERNEL,
    )
}

fn reserved(region: Option<Region>, owners: &[u32]) -> Reserved {
    Reserved {
        region,
        owners: copy(owners),
    }
}

#[kunit_tests(qda_heap_scm_call_order_only)]
mod order {
    use super::*;

    const HLOS: u32 = 3;
    const LPASS: u32 = 0x16;
    const ADSP_HEAP: u32 = 0x25;

    #[test]
    fn memory_is_given_once_and_taken_back_at_the_end() -> Result {
        let world = world(true, Ok(()))?;
        let given = Asked::Assign(HEAP, copy(&[HLOS]), copy(&[LPASS, ADSP_HEAP]));
        let back = Asked::Assign(HEAP, copy(&[LPASS, ADSP_HEAP]), copy(&[HLOS]));

        let assigned = reserved(Some(HEAP), &[LPASS, ADSP_HEAP]).assign(Recorder(world.clone()))?;
        assert!(assigned.is_some());
        assert_eq!(world.asked.lock()[..], [Asked::WhetherAvailable, given][..]);
        drop(assigned);
        assert_eq!(world.asked.lock()[2..], [back][..]);
        Ok(())
    }

    #[test]
    fn nothing_is_given_before_the_secure_world_is_there() -> Result {
        let world = world(false, Ok(()))?;
        let owned = reserved(Some(HEAP), &[LPASS]).assign(Recorder(world.clone()));
        let bare = reserved(None, &[LPASS]).assign(Recorder(world.clone()));

        assert_eq!(owned.err(), Some(EPROBE_DEFER));
        assert_eq!(bare.err(), Some(EPROBE_DEFER));
        assert_eq!(
            world.asked.lock()[..],
            [Asked::WhetherAvailable, Asked::WhetherAvailable][..]
        );
        Ok(())
    }

    #[test]
    fn without_owners_the_secure_world_is_not_needed() -> Result {
        let world = world(false, Ok(()))?;

        assert!(reserved(Some(HEAP), &[])
            .assign(Recorder(world.clone()))?
            .is_none());
        assert!(reserved(None, &[])
            .assign(Recorder(world.clone()))?
            .is_none());
        assert!(world.asked.lock().is_empty());
        Ok(())
    }

    #[test]
    fn what_was_refused_is_not_taken_back() -> Result {
        let world = world(true, Err(EINVAL))?;
        let refused = reserved(Some(HEAP), &[LPASS]).assign(Recorder(world.clone()));

        assert_eq!(refused.err(), Some(EINVAL));
        assert_eq!(world.asked.lock().len(), 2);
        Ok(())
    }
}

#[kunit_tests(qda_heap)]
mod cases {
    use super::*;

    #[test]
    fn heap_is_handed_over_once() -> Result {
        let heap = Heap::new(Some(HEAP))?;
        let offer = heap.offer()?.ok_or(EINVAL)?;

        assert!(heap.exists());
        assert_eq!(offer.region, HEAP);
        offer.given();
        assert!(heap.offer()?.is_none());
        assert!(heap.offer()?.is_none());
        Ok(())
    }

    #[test]
    fn heap_that_the_dsp_refused_is_offered_again() -> Result {
        let heap = Heap::new(Some(HEAP))?;

        drop(heap.offer()?);
        let offer = heap.offer()?.ok_or(EINVAL)?;
        assert_eq!(heap.offer().err(), Some(EBUSY));
        drop(offer);
        assert!(heap.offer()?.is_some());
        Ok(())
    }

    #[test]
    fn no_heap_no_static_processes() -> Result {
        let heap = Heap::new(None)?;

        assert!(!heap.exists());
        assert_eq!(heap.offer().err(), Some(EOPNOTSUPP));
        Ok(())
    }

    #[test]
    fn names_tell_the_sort_of_dsp() {
        for (name, domain) in [
            ("adsp", Domain::Adsp),
            ("mdsp", Domain::Mdsp),
            ("sdsp", Domain::Sdsp),
            ("cdsp", Domain::Cdsp),
            ("cdsp3", Domain::Cdsp),
            ("gdsp0", Domain::Gdsp),
        ] {
            assert_eq!(Domain::of(name.as_bytes()), Ok(domain));
        }
        for name in ["", "c", "dsp", "xcdsp", "CDSP"] {
            assert_eq!(Domain::of(name.as_bytes()), Err(EINVAL));
        }
    }
}
