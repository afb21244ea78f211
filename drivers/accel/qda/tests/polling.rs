// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the call engine: calls whose success shows before they are answered.

use super::bench::{
    has_ended,
    status_of,
    Bench, //
};
use core::cell::Cell;
use kernel::{
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

#[kunit_tests(qda_polling)]
mod cases {
    use super::*;

    #[test]
    fn success_frees_nothing_before_the_answer() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        assert!(pending.poll(|_| true));
        assert!(!has_ended(&pending));
        let mut borrowed = pending.borrow().ok_or(EINVAL)?;
        assert!(borrowed.payload().is_some());
        drop(borrowed);
        drop(pending);
        assert_eq!(bench.drops(), 0);

        // The slot is taken, and its answer is expected.
        bench.answer(bench.message(0).context, 0);
        bench.calls.drain();
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.late(), 1);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn answer_may_come_while_the_payload_is_borrowed() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        assert!(pending.poll(|_| true));
        let borrowed = pending.borrow().ok_or(EINVAL)?;
        bench.answer(bench.message(0).context, 0);
        assert_eq!(bench.drops(), 0);
        assert_eq!(bench.late(), 0);
        drop(borrowed);
        assert_eq!(bench.drops(), 0);
        drop(pending);
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.late(), 1);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn process_may_end_while_the_payload_is_borrowed() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;
        let borrowed = pending.borrow().ok_or(EINVAL)?;

        bench.calls.retire(1);
        assert_eq!(bench.drops(), 0);
        drop(borrowed);
        drop(pending);
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.late(), 0);

        // It answers nothing any more.
        bench.answer(bench.message(0).context, 0);
        assert_eq!(bench.calls.ignored(), 1);
        Ok(())
    }

    #[test]
    fn payload_of_a_process_that_has_ended_is_gone() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        bench.calls.retire(1);
        assert!(!pending.poll(|_| true));
        assert!(pending.borrow().is_none());
        assert_eq!(bench.drops(), 1);
        Ok(())
    }

    #[test]
    fn answer_ends_the_polling() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;
        let looks = Cell::new(0);

        // The answer comes at the third look.
        let done = pending.poll(|_| {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                bench.answer(bench.message(0).context, -5);
            }
            false
        });
        assert!(!done);
        assert_eq!(looks.get(), 3);
        assert_eq!(status_of(pending, 1), Some(-5));
        Ok(())
    }

    #[test]
    fn polling_has_an_end() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;
        let start = Instant::<Monotonic>::now();

        assert!(!pending.poll(|_| false));
        assert!(start.elapsed() >= Delta::from_millis(10));
        assert!(!has_ended(&pending));

        // As if it had not been polled.
        bench.answer(bench.message(0).context, 4);
        assert_eq!(status_of(pending, 1), Some(4));
        Ok(())
    }
}
