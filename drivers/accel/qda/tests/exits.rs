// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of processes that end on their own: notices of that, and calls of the dead.

use super::bench::{
    has_ended,
    receive,
    status_of,
    Bench,
    Memory, //
};
use crate::{
    call::{
        Host,
        Outcome, //
    },
    exits::Exits,
    table::Class,
    transport::Transport, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

#[kunit_tests(qda_exits)]
mod cases {
    use super::*;

    #[test]
    fn notices_wait_once_each() {
        let mut exits = Exits::new();

        assert!(!exits.note(None));
        assert_eq!(exits.take(), None);
        for id in 1..=64 {
            assert!(exits.note(Some(id)));
            assert!(!exits.note(Some(id)));
        }
        assert!(!exits.note(Some(65)));
        assert_eq!(exits.total(), 130);

        let mut sum = 0;
        while let Some(id) = exits.take() {
            sum += id;
        }
        assert_eq!(sum, 64 * 65 / 2);
        assert!(exits.note(Some(65)));
        assert_eq!(exits.take(), Some(65));
    }

    #[test]
    fn callers_leave_a_dead_process_and_its_calls_stay() -> Result {
        let bench = Bench::new()?;
        let mine = bench.submit(Class::User, 1, 10)?;
        let kernels = bench.submit(Class::Kernel, 1, 11)?;
        let release = bench.submit(Class::Release, 1, 12)?;
        let other = bench.submit(Class::User, 2, 13)?;

        // One that is answered already has its answer.
        let earlier = bench.submit(Class::User, 1, 14)?;
        let later = bench.submit(Class::User, 1, 15)?;
        bench.answer(bench.message(4).context, 4);
        bench.calls.desert(1);
        assert_eq!(status_of(earlier, 14), Some(4));
        // One that is answered before its caller has left has none.
        bench.answer(bench.message(5).context, 5);
        assert_eq!(status_of(later, 15), None);
        assert_eq!(bench.drops(), 2);
        assert_eq!(bench.late(), 1);

        assert_eq!(mine.wait_interruptible(), Ok(()));
        assert!(!kernels.wait_uninterruptible(0));
        assert!(!release.wait_uninterruptible(0));
        assert!(!other.wait_uninterruptible(0));
        let (outcome, token) = mine.collect();
        assert_eq!(outcome, Outcome::Gone);
        assert!(token.is_none());

        // It has its slot and its memory, until it is answered or the process has ended.
        assert_eq!(bench.calls.outstanding(), 4);
        assert_eq!(bench.drops(), 2);
        bench.answer(bench.message(1).context, 5);
        assert_eq!(status_of(kernels, 11), Some(5));
        assert_eq!(bench.drops(), 3);
        bench.calls.retire(1);
        assert!(has_ended(&release));
        assert_eq!(bench.drops(), 5);
        bench.answer(bench.message(0).context, 0);
        assert_eq!(bench.calls.ignored(), 1);
        drop(release);
        assert!(!has_ended(&other));
        assert_eq!(bench.calls.outstanding(), 1);
        Ok(())
    }

    #[test]
    fn dead_process_takes_no_calls_but_those_that_end_it() -> Result {
        let bench = Bench::new()?;

        bench.dead.store(true, Relaxed);
        assert_eq!(bench.submit(Class::User, 1, 1).err(), Some(EPIPE));
        assert_eq!(bench.submit(Class::Kernel, 1, 2).err(), Some(EPIPE));
        assert!(bench.memory.sent.lock().is_empty());
        assert_eq!(bench.drops(), 2);
        let release = bench.submit(Class::Release, 1, 3)?;
        bench.answer(bench.message(0).context, 0);
        assert_eq!(status_of(release, 3), Some(0));
        Ok(())
    }

    /// Adds up the numbers of the processes that have ended.
    struct Sum(Atomic<i32>, Arc<Memory>);

    impl Host for Sum {
        fn transport(&self) -> &dyn Transport {
            &*self.1
        }

        fn exited(&self, client_id: i32) {
            self.0.fetch_add(client_id, Relaxed);
        }
    }

    #[test]
    fn notices_reach_their_handler_once() -> Result {
        let bench = Bench::new()?;
        let sum = Arc::new(Sum(Atomic::new(0), bench.memory.clone()), GFP_KERNEL)?;
        let notice = |id: i32, state: u32| {
            let mut bytes = [0u8; 24];
            bytes[..8].copy_from_slice(&0xabcd_abcdu64.to_le_bytes());
            bytes[8] = 4;
            bytes[12..16].copy_from_slice(&id.to_le_bytes());
            bytes[16..20].copy_from_slice(&state.to_le_bytes());
            receive(&bench.calls, &bytes);
        };

        bench.calls.set_host(sum.clone());
        for id in [1, 20, 300] {
            notice(id, 3);
            notice(-id, 1);
            notice(1000 * id, 0);
        }
        bench.answer(0xabcd_abcd, 0);
        bench.calls.drain();
        assert_eq!(sum.0.load(Relaxed), 321);
        assert_eq!(bench.calls.exits(), 7);
        assert_eq!(bench.calls.ignored(), 3);

        // The channel is closed.
        notice(5, 1);
        assert_eq!(sum.0.load(Relaxed), 321);
        Ok(())
    }
}
