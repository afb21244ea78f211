// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the reserved memory of a DSP: how the DSP gets at it, in which order it changes
//! hands, and when the DSP hears of it.
//!
//! Who lets the DSP at it is a recording here. That shows which steps are taken, and nothing of
//! what firmware or an IOMMU make of them.

use crate::{
    domain::Domain,
    heap::{
        Heap,
        Region, //
    },
    reserved::{
        Purpose,
        Way, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    remote_memory::{
        Given,
        Knows,
        Means, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

const HEAP: Region = Region {
    start: 0x9_8000_0000,
    size: 0xc0_0000,
};

/// A step by which memory changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Take,
    Give,
    TakeBack,
    Release,
}

/// Means that note the steps, and at one of which they fail.
struct Recorder {
    steps: Arc<Mutex<KVec<Step>>>,
    refused: Option<Step>,
}

impl Recorder {
    fn step(&self, step: Step) -> Result {
        self.steps.lock().push(step, GFP_KERNEL)?;
        match self.refused == Some(step) {
            true => Err(EPERM),
            false => Ok(()),
        }
    }
}

impl Means for Recorder {
    fn take(&mut self) -> Result {
        self.step(Step::Take)
    }

    fn give(&mut self) -> Result {
        self.step(Step::Give)
    }

    fn take_back(&mut self) -> Result {
        self.step(Step::TakeBack)
    }

    fn release(&mut self) {
        self.step(Step::Release).expect("memory for a test");
    }
}

/// The steps from beginning to end, where one is refused or none.
fn steps(refused: Option<Step>) -> Result<Arc<Mutex<KVec<Step>>>> {
    let steps = Arc::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?;
    let given = Given::new(Recorder {
        steps: steps.clone(),
        refused,
    });

    let is_refused = matches!(refused, Some(Step::Take | Step::Give));
    assert_eq!(given.is_err(), is_refused);
    Ok(steps)
}

#[kunit_tests(qda_heap_order_of_calls_only)]
mod order {
    use super::*;

    #[test]
    fn nobody_else_has_memory_that_is_given() -> Result {
        use Step::*;

        assert_eq!(steps(None)?.lock()[..], [Take, Give, TakeBack, Release][..]);
        Ok(())
    }

    #[test]
    fn what_somebody_else_uses_is_not_given() -> Result {
        assert_eq!(steps(Some(Step::Take))?.lock()[..], [Step::Take][..]);
        Ok(())
    }

    #[test]
    fn what_was_refused_is_not_taken_back() -> Result {
        use Step::*;

        assert_eq!(steps(Some(Give))?.lock()[..], [Take, Give, Release][..]);
        Ok(())
    }

    #[test]
    fn what_does_not_come_back_is_never_used_again() -> Result {
        use Step::*;

        assert_eq!(
            steps(Some(TakeBack))?.lock()[..],
            [Take, Give, TakeBack][..]
        );
        Ok(())
    }
}

#[kunit_tests(qda_reserved)]
mod choice {
    use super::*;

    const HLOS: u32 = 3;
    const LPASS: u32 = 0x16;
    const ADSP_HEAP: u32 = 0x25;

    #[test]
    fn the_secure_world_is_called_for_owners() {
        assert_eq!(Way::of(&[LPASS, ADSP_HEAP], false), Way::Assign);
        assert_eq!(Way::of(&[], false), Way::Open);
    }

    #[test]
    fn behind_an_iommu_of_ours_there_are_no_owners() {
        assert_eq!(Way::of(&[LPASS, ADSP_HEAP], true), Way::Map);
        assert_eq!(Way::of(&[], true), Way::Map);
    }

    #[test]
    fn only_those_who_call_the_secure_world_wait_for_it() {
        let never_asked = || -> bool { panic!("asked for nothing") };

        assert!(Way::Assign.has_to_wait(|| false));
        assert!(!Way::Assign.has_to_wait(|| true));
        assert!(!Way::Open.has_to_wait(never_asked));
        assert!(!Way::Map.has_to_wait(never_asked));
    }

    #[test]
    fn memory_has_one_use() {
        for way in [Way::Open, Way::Assign, Way::Map] {
            for owners in [&[HLOS, LPASS][..], &[LPASS]] {
                assert_eq!(Purpose::of(Domain::Adsp, way, owners), Purpose::Heap);
            }
        }
        assert_eq!(Purpose::of(Domain::Sdsp, Way::Open, &[]), Purpose::Pool);
        assert_eq!(Purpose::of(Domain::Sdsp, Way::Map, &[LPASS]), Purpose::Pool);
    }

    #[test]
    fn buffers_are_not_of_memory_that_the_kernel_has_no_access_to() {
        let shared = [HLOS, LPASS];

        assert_eq!(
            Purpose::of(Domain::Sdsp, Way::Assign, &shared),
            Purpose::Pool
        );
        assert_eq!(
            Purpose::of(Domain::Sdsp, Way::Assign, &[LPASS]),
            Purpose::Own
        );
    }
}

#[kunit_tests(qda_heap)]
mod cases {
    use super::*;

    #[test]
    fn heap_is_handed_over_once() -> Result {
        let heap = Heap::new(Some(HEAP), Knows::No)?;
        let offer = heap.offer()?.ok_or(EINVAL)?;

        assert!(heap.exists());
        assert_eq!(offer.region, HEAP);
        offer.given();
        assert!(heap.offer()?.is_none());
        assert!(heap.offer()?.is_none());
        assert_eq!(heap.knows(), Knows::Yes);
        Ok(())
    }

    #[test]
    fn heap_that_the_dsp_refused_is_offered_again() -> Result {
        let heap = Heap::new(Some(HEAP), Knows::No)?;

        drop(heap.offer()?);
        assert_eq!(heap.knows(), Knows::No);
        let offer = heap.offer()?.ok_or(EINVAL)?;
        assert_eq!(heap.offer().err(), Some(EBUSY));
        drop(offer);
        assert!(heap.offer()?.is_some());
        Ok(())
    }

    #[test]
    fn the_dsp_may_have_a_heap_before_it_answers() -> Result {
        let heap = Heap::new(Some(HEAP), Knows::No)?;
        let offer = heap.offer()?.ok_or(EINVAL)?;

        assert_eq!(heap.knows(), Knows::Maybe);
        offer.lost();
        assert_eq!(heap.knows(), Knows::Maybe);

        // A refusal the next time says nothing about the first.
        drop(heap.offer()?.ok_or(EINVAL)?);
        assert_eq!(heap.knows(), Knows::Maybe);
        Ok(())
    }

    #[test]
    fn heap_that_was_left_with_the_dsp_is_not_handed_over() -> Result {
        let heap = Heap::new(Some(HEAP), Knows::Yes)?;

        assert!(heap.exists());
        assert!(heap.offer()?.is_none());

        let heap = Heap::new(Some(HEAP), Knows::Maybe)?;
        assert!(heap.offer()?.is_some());
        Ok(())
    }

    #[test]
    fn no_heap_no_static_processes() -> Result {
        let heap = Heap::new(None, Knows::No)?;

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
