// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the call engine: sending, answering, waiting, leaving.

use super::bench::{
    answer,
    has_ended,
    receive,
    status_of,
    wait,
    Bench,
    Count,
    Echo,
    PATIENCE_MS, //
};
use crate::{
    call::Outcome,
    table::{
        Class,
        RESERVED,
        SLOTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::{
        OwnedQueue,
        QueueFlag, //
    }, //
};

/// Calls that programs can have outstanding.
const USERS: usize = SLOTS - 1 - RESERVED;

#[kunit_tests(qda_calls)]
mod cases {
    use super::*;

    #[test]
    fn message_is_sent_as_given_with_a_context() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(17)?;
        let message = bench.message(0);

        assert_eq!(bench.memory.sent.lock().len(), 1);
        // Call 1, slot 1, user process.
        assert_eq!(message.context, 0x1_0101);
        assert_eq!(message.tid, 17);
        assert_eq!(message.handle, 3);
        assert_eq!(message.scalars, 0x0200_0000);
        assert_eq!(message.address, 0x1_0000_1000);
        assert_eq!(message.size, 4096);
        assert!(!has_ended(&pending));
        Ok(())
    }

    #[test]
    fn payload_lives_until_the_call_is_collected() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        bench.answer(bench.message(0).context, -7);
        assert!(has_ended(&pending));
        assert_eq!(pending.wait_interruptible(), Ok(()));
        assert_eq!(pending.wait_killable(0), Ok(()));
        assert_eq!(bench.drops(), 0);

        let (outcome, token) = pending.collect();
        assert_eq!(outcome, Outcome::Status(-7));
        assert_eq!(bench.drops(), 0);
        drop(token);
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn a_call_that_is_over_serves_another() -> Result {
        let bench = Bench::new()?;
        let first = bench.user(1)?;
        bench.answer(bench.message(0).context, 5);

        let (outcome, token, spare) = first.reclaim();
        assert_eq!(outcome, Outcome::Status(5));
        assert!(spare.is_some());
        drop(token);

        // Nothing of the first is left in the second: not its end, its client, or its context.
        let second = bench.submit_with(&*bench.memory, Class::User, 2, 2, spare)?;
        assert!(!has_ended(&second));
        bench.answer(bench.message(0).context, 6);
        bench.calls.retire(1);
        assert!(!has_ended(&second));
        bench.answer(bench.message(1).context, 7);
        assert_eq!(status_of(second, 2), Some(7));
        assert_eq!(bench.drops(), 2);
        Ok(())
    }

    #[test]
    fn a_call_that_goes_on_serves_no_other() -> Result {
        let bench = Bench::new()?;
        let (outcome, token, spare) = bench.user(1)?.reclaim();

        assert_eq!(outcome, Outcome::Gone);
        assert!(token.is_none() && spare.is_none());
        bench.answer(bench.message(0).context, 0);
        let mut tries = 0;
        while bench.drops() == 0 {
            // The reaper may not have run yet.
            tries += 1;
            assert!(tries < PATIENCE_MS);
            fsleep(Delta::from_millis(1));
        }
        Ok(())
    }

    #[test]
    fn every_status_is_passed_on() -> Result {
        let bench = Bench::new()?;

        for (index, status) in [0, 1, -1, -512, i32::MIN, i32::MAX].into_iter().enumerate() {
            let pending = bench.user(1)?;

            bench.answer(bench.message(index).context, status);
            assert_eq!(status_of(pending, 1), Some(status));
        }
        Ok(())
    }

    #[test]
    fn answer_may_come_before_send_returns() -> Result {
        let bench = Bench::new()?;
        let pending = bench.submit_to(&Echo(bench.calls.clone()), Class::User, 1, 42)?;

        assert!(has_ended(&pending));
        assert_eq!(status_of(pending, 42), Some(42));
        assert_eq!(bench.drops(), 1);
        Ok(())
    }

    #[test]
    fn waits_end_when_their_time_is_up() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        assert_eq!(pending.wait_killable(1), Err(ETIMEDOUT));
        assert!(!pending.wait_uninterruptible(1));

        // The call goes on.
        bench.answer(bench.message(0).context, 3);
        assert_eq!(status_of(pending, 1), Some(3));
        Ok(())
    }

    #[test]
    fn answers_out_of_order_reach_their_waiters() -> Result {
        let bench = Bench::new()?;
        let mut waiting = KVec::new();

        for number in 0..10 {
            waiting.push(bench.user(number)?, GFP_KERNEL)?;
        }
        for index in [3, 9, 0, 1, 8, 2, 7, 4, 6, 5] {
            let message = bench.message(index);

            assert!(!has_ended(&waiting[index]));
            bench.answer(message.context, 100 + message.tid);
            assert!(has_ended(&waiting[index]));
        }
        for (number, pending) in (0..).zip(waiting) {
            assert_eq!(status_of(pending, number), Some(100 + number));
        }
        assert_eq!(bench.drops(), 10);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn late_answer_of_an_abandoned_call_is_reaped() -> Result {
        let bench = Bench::new()?;

        for number in 0..20 {
            drop(bench.user(number)?);
        }
        assert_eq!(bench.drops(), 0);
        for index in 0..20 {
            bench.answer(bench.message(index).context, 0);
        }
        bench.calls.drain();
        assert_eq!(bench.drops(), 20);
        assert_eq!(bench.late(), 20);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn answered_call_is_dropped_when_it_is_abandoned() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        bench.answer(bench.message(0).context, 0);
        assert_eq!(bench.drops(), 0);
        drop(pending);
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.late(), 1);
        Ok(())
    }

    #[test]
    fn call_that_is_collected_too_early_is_abandoned() -> Result {
        let bench = Bench::new()?;
        let (outcome, token) = bench.user(1)?.collect();

        assert_eq!(outcome, Outcome::Gone);
        assert!(token.is_none());
        assert_eq!(bench.drops(), 0);
        bench.answer(bench.message(0).context, 0);
        bench.calls.drain();
        assert_eq!(bench.drops(), 1);
        assert_eq!(bench.calls.ignored(), 0);
        Ok(())
    }

    #[test]
    fn messages_that_are_no_answer_are_counted_and_ignored() -> Result {
        let bench = Bench::new()?;
        let mut ignored = 0;

        let earlier = bench.user(1)?;
        let stale = bench.message(0).context;
        bench.answer(stale, 0);
        assert_eq!(status_of(earlier, 1), Some(0));

        // The slots have come round: this call is in the one of the earlier call.
        for number in 2..SLOTS {
            drop(bench.submit_to(&Echo(bench.calls.clone()), Class::User, 1, number as i32)?);
        }
        let pending = bench.user(-1)?;
        let context = bench.message(1).context;
        assert_eq!(context & 0xff00, stale & 0xff00);

        let mut bytes = [0u8; 24];
        bytes[..8].copy_from_slice(&context.to_le_bytes());
        for len in 0..16 {
            receive(&bench.calls, &bytes[..len]);
            ignored += 1;
        }
        for bit in 0..64 {
            bench.answer(context ^ 1 << bit, 0);
            ignored += 1;
        }
        for other in [stale, 0, u64::MAX] {
            bench.answer(other, 0);
            ignored += 1;
        }
        assert_eq!(bench.calls.ignored(), ignored);
        assert_eq!(bench.calls.exits(), 0);
        bench.answer(0xabcd_abcd, 0);
        bench.answer(0xabcd_abcd, -1);
        assert_eq!(bench.calls.exits(), 2);
        assert_eq!(bench.calls.ignored(), ignored);
        assert!(!has_ended(&pending));

        // Longer than needed is an answer, the second time is none.
        bytes[8..12].copy_from_slice(&5i32.to_le_bytes());
        receive(&bench.calls, &bytes);
        assert!(has_ended(&pending));
        assert_eq!(bench.calls.ignored(), ignored);
        bench.answer(context, 6);
        assert_eq!(bench.calls.ignored(), ignored + 1);
        assert_eq!(status_of(pending, -1), Some(5));
        bench.answer(context, 7);
        assert_eq!(bench.calls.ignored(), ignored + 2);
        Ok(())
    }

    #[test]
    fn failed_send_leaves_nothing() -> Result {
        let bench = Bench::new()?;

        bench.memory.broken.store(true, Relaxed);
        for number in 0..300 {
            assert_eq!(bench.user(number).err(), Some(EREMOTEIO));
        }
        assert_eq!(bench.drops(), 300);

        // No slot is used.
        bench.memory.broken.store(false, Relaxed);
        let mut waiting = KVec::new();
        for number in 0..USERS {
            waiting.push(bench.user(number as i32)?, GFP_KERNEL)?;
        }
        Ok(())
    }

    #[test]
    fn full_table_still_takes_releases() -> Result {
        let bench = Bench::new()?;
        let mut waiting = KVec::new();

        for number in 0..USERS {
            waiting.push(bench.user(number as i32)?, GFP_KERNEL)?;
        }
        assert_eq!(bench.user(0).err(), Some(ENOSPC));
        assert_eq!(bench.drops(), 1);
        for _ in 0..RESERVED {
            waiting.push(bench.submit(Class::Release, 1, 0)?, GFP_KERNEL)?;
        }
        assert_eq!(bench.submit(Class::Release, 1, 0).err(), Some(ENOSPC));

        // Leaving frees no slot; what was answered and collected does.
        drop(waiting);
        assert_eq!(bench.user(0).err(), Some(ENOSPC));
        for index in 0..=RESERVED {
            bench.answer(bench.message(index).context, 0);
        }
        let mut tries = 0;
        while bench.user(0).is_err() {
            // The reaper may not have run yet.
            tries += 1;
            assert!(tries < PATIENCE_MS);
            fsleep(Delta::from_millis(1));
        }
        Ok(())
    }

    #[test]
    fn waiter_is_woken_by_the_answer() -> Result {
        let bench = Bench::new()?;
        let woken: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let waiters = OwnedQueue::new(c"qda_kunit_waiters", QueueFlag::Unbound, 0)?;

        for number in 0..8 {
            let pending = bench.user(number)?;
            let woken = woken.clone();

            waiters.try_spawn(GFP_KERNEL, move || {
                if wait(pending, number) == Some(number) {
                    woken.fetch_add(1, Relaxed);
                }
            })?;
        }
        fsleep(Delta::from_millis(20));
        assert_eq!(woken.load(Relaxed), 0);
        for index in (0..8).rev() {
            let message = bench.message(index);
            bench.answer(message.context, message.tid);
        }
        drop(waiters);
        assert_eq!(woken.load(Relaxed), 8);
        assert_eq!(bench.drops(), 8);
        Ok(())
    }

    /// Four threads call, one answers: in another order, and at times twice. Every fifth call is
    /// abandoned at once.
    #[test]
    fn calls_of_many_threads_all_end() -> Result {
        const THREADS: i32 = 4;
        const CALLS: i32 = 250;

        let bench = Bench::new()?;
        let failed: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let over = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        let twice: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let dsp = OwnedQueue::new(c"qda_kunit_dsp", QueueFlag::Unbound, 0)?;
        let threads = OwnedQueue::new(c"qda_kunit_threads", QueueFlag::Unbound, 0)?;

        let (calls, memory) = (bench.calls.clone(), bench.memory.clone());
        let (answers_twice, stop) = (twice.clone(), over.clone());
        dsp.try_spawn(GFP_KERNEL, move || loop {
            let last = stop.load(Relaxed);
            let messages = core::mem::take(&mut *memory.sent.lock());

            for message in messages.iter().rev() {
                answer(&calls, message.context, message.tid);
                if message.tid % 7 == 0 {
                    answer(&calls, message.context, -1);
                    answers_twice.fetch_add(1, Relaxed);
                }
            }
            if last {
                break;
            }
            fsleep(Delta::from_micros(50));
        })?;

        for thread in 0..THREADS {
            let failed = failed.clone();
            let client = bench.clone();

            threads.try_spawn(GFP_KERNEL, move || {
                for number in thread * CALLS..(thread + 1) * CALLS {
                    let ended = client.user(number).map(|pending| {
                        if number % 5 == 0 {
                            drop(pending);
                            true
                        } else {
                            wait(pending, number) == Some(number)
                        }
                    });
                    if ended != Ok(true) {
                        failed.fetch_add(1, Relaxed);
                    }
                }
            })?;
        }
        drop(threads);
        over.store(true, Relaxed);
        drop(dsp);
        bench.calls.drain();

        assert_eq!(failed.load(Relaxed), 0);
        assert_eq!(bench.drops(), (THREADS * CALLS) as u32);
        assert_eq!(bench.calls.ignored(), u64::from(twice.load(Relaxed)));
        assert!(twice.load(Relaxed) > 0);
        Ok(())
    }
}
