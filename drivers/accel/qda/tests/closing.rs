// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the call engine: the end of a channel, of a process, of the work.

use super::bench::{
    has_ended,
    status_of,
    Bench,
    Count,
    Token,
    PATIENCE_MS, //
};
use crate::{
    call::{
        Calls,
        Outcome, //
    },
    proto::Message,
    table::Class,
    transport::Transport, //
};
use kernel::{
    impl_has_work,
    new_work,
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
        msecs_to_jiffies,
        Delta, //
    },
    workqueue::{
        OwnedQueue,
        QueueFlag,
        Work,
        WorkItem, //
    }, //
};

/// Looks, when it is to send a call of client 1, for whose calls are being sent.
struct Looker {
    calls: Arc<Calls<Token>>,
    saw_its_own: Atomic<bool>,
    saw_others: Atomic<bool>,
}

impl Looker {
    fn is_sending(&self, client_id: i32) -> bool {
        !self.calls.wait_until_sent(client_id, Delta::from_millis(5))
    }
}

impl Transport for Looker {
    fn send(&self, _message: &Message) -> Result {
        self.saw_its_own.store(self.is_sending(1), Relaxed);
        self.saw_others.store(self.is_sending(2), Relaxed);
        Ok(())
    }

    fn try_send(&self, message: &Message) -> Result {
        self.send(message)
    }

    fn close(&self) {}
}

#[kunit_tests(qda_closing)]
mod cases {
    use super::*;

    #[test]
    fn call_that_is_being_sent_is_waited_for() -> Result {
        let bench = Bench::new()?;
        let looker = Looker {
            calls: bench.calls.clone(),
            saw_its_own: Atomic::new(false),
            saw_others: Atomic::new(false),
        };

        // That of another client is outstanding, but sent.
        let other = bench.submit(Class::User, 2, 1)?;
        let pending = bench.submit_to(&looker, Class::User, 1, 2)?;
        assert!(looker.saw_its_own.load(Relaxed));
        assert!(!looker.saw_others.load(Relaxed));
        assert!(!looker.is_sending(1));
        drop((other, pending));
        Ok(())
    }

    #[test]
    fn closing_channel_refuses_all_but_releases() -> Result {
        let bench = Bench::new()?;
        let pending = bench.user(1)?;

        bench.calls.begin_close();
        assert_eq!(bench.user(2).err(), Some(EPIPE));
        assert_eq!(bench.submit(Class::Kernel, 1, 3).err(), Some(EPIPE));
        assert_eq!(bench.drops(), 2);

        // What is outstanding can still be answered.
        let release = bench.submit(Class::Release, 1, 4)?;
        bench.answer(bench.message(1).context, 0);
        assert_eq!(status_of(release, 4), Some(0));
        bench.answer(bench.message(0).context, 0);
        assert_eq!(status_of(pending, 1), Some(0));

        bench.calls.finish_close();
        assert_eq!(bench.submit(Class::Release, 1, 5).err(), Some(EPIPE));
        assert_eq!(bench.drops(), 5);
        Ok(())
    }

    #[test]
    fn end_of_the_channel_wakes_all_who_wait() -> Result {
        let bench = Bench::new()?;
        let gone: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let waiters = OwnedQueue::new(c"qda_kunit_waiters", QueueFlag::Unbound, 0)?;

        for number in 0..8 {
            let pending = bench.user(number)?;
            let gone = gone.clone();

            waiters.try_spawn(GFP_KERNEL, move || {
                if pending.wait_uninterruptible(msecs_to_jiffies(PATIENCE_MS))
                    && matches!(pending.collect(), (Outcome::Gone, None))
                {
                    gone.fetch_add(1, Relaxed);
                }
            })?;
        }
        // Some of them sleep by now, which does not matter for the result.
        fsleep(Delta::from_millis(20));

        bench.calls.begin_close();
        assert_eq!(gone.load(Relaxed), 0);
        bench.calls.finish_close();
        // What the DSP could touch is gone already.
        assert_eq!(bench.drops(), 8);
        drop(waiters);
        assert_eq!(gone.load(Relaxed), 8);

        bench.answer(bench.message(0).context, 0);
        assert_eq!(bench.calls.ignored(), 1);
        Ok(())
    }

    #[test]
    fn end_of_a_process_ends_its_own_calls_only() -> Result {
        let bench = Bench::new()?;
        let other = bench.submit(Class::User, 2, 20)?;
        let unanswered = bench.submit(Class::User, 1, 10)?;
        let kernels = bench.submit(Class::Kernel, 1, 11)?;
        let answered = bench.submit(Class::User, 1, 12)?;
        drop(bench.submit(Class::User, 1, 13)?);
        bench.answer(bench.message(3).context, 9);

        bench.calls.retire(1);
        assert_eq!(bench.drops(), 4);
        assert!(has_ended(&unanswered));
        assert!(has_ended(&kernels));
        assert!(!has_ended(&other));
        assert!(matches!(unanswered.collect(), (Outcome::Gone, None)));
        assert!(matches!(kernels.collect(), (Outcome::Gone, None)));
        // It was answered, but its memory is gone with the process.
        assert!(matches!(answered.collect(), (Outcome::Status(9), None)));

        for index in 1..5 {
            bench.answer(bench.message(index).context, 0);
        }
        assert_eq!(bench.calls.ignored(), 4);
        bench.answer(bench.message(0).context, 0);
        assert_eq!(status_of(other, 20), Some(0));
        assert_eq!(bench.drops(), 5);
        Ok(())
    }

    /// Whoever sees that a call has gone finds its payload gone, and whoever has ended a process
    /// can rely on that. One thread polls, so that it sees the end as early as can be.
    #[test]
    fn payload_is_gone_before_the_waiter_knows() -> Result {
        const ROUNDS: u32 = 200;

        let bench = Bench::new()?;
        let polled: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let late: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let waiters = OwnedQueue::new(c"qda_kunit_waiters", QueueFlag::Unbound, 0)?;
        let mut waiting = KVec::new();
        for round in 1..=ROUNDS {
            waiting.push(bench.submit(Class::User, round as i32, 0)?, GFP_KERNEL)?;
        }

        let (now_polled, came_late) = (polled.clone(), late.clone());
        waiters.try_spawn(GFP_KERNEL, move || {
            for pending in waiting {
                now_polled.fetch_add(1, Relaxed);
                while !has_ended(&pending) {}
                if !matches!(pending.collect(), (Outcome::Gone, None)) {
                    came_late.fetch_add(1, Relaxed);
                }
            }
        })?;
        for round in 1..=ROUNDS {
            while polled.load(Relaxed) < round {
                fsleep(Delta::from_micros(1));
            }
            bench.calls.retire(round as i32);
            assert_eq!(bench.drops(), round);
        }
        drop(waiters);
        assert_eq!(late.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn work_runs_before_drain_returns_and_never_after() -> Result {
        let bench = Bench::new()?;
        let ran: Count = Arc::new(Atomic::new(0), GFP_KERNEL)?;

        let job = Job::new(&ran)?;
        assert!(bench.calls.enqueue(job).is_ok());
        bench.calls.drain();
        assert_eq!(ran.load(Relaxed), 1);

        let job = Job::new(&ran)?;
        assert!(bench.calls.enqueue(job).is_err());
        bench.calls.drain();
        assert_eq!(ran.load(Relaxed), 1);
        Ok(())
    }
}

/// Work that counts how often it ran.
#[pin_data]
struct Job {
    ran: Count,
    #[pin]
    work: Work<Job>,
}

impl_has_work! {
    impl HasWork<Self> for Job { self.work }
}

impl Job {
    fn new(ran: &Count) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                ran: ran.clone(),
                work <- new_work!("qda::tests::Job"),
            }),
            GFP_KERNEL,
        )
    }
}

impl WorkItem for Job {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.ran.fetch_add(1, Relaxed);
    }
}
