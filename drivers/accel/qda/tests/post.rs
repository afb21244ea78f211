// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the call engine: messages for which the transport has no room at once.

use super::bench::{
    answer,
    status_of,
    Bench,
    Client,
    Token,
    PATIENCE_MS, //
};
use crate::{
    call::{
        Calls,
        Host,
        Outcome,
        Pending, //
    },
    proto::Message,
    table::Class,
    transport::Transport, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        Mutex, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
    workqueue::{
        OwnedQueue,
        QueueFlag, //
    }, //
};

/// A transport without room for any message until somebody makes some.
#[pin_data]
struct Narrow {
    /// Messages that waited for room.
    begun: Atomic<u32>,
    #[pin]
    room: Completion,
    /// What comes of them then.
    #[pin]
    result: Mutex<Result>,
    #[pin]
    sent: Mutex<KVec<i32>>,
    /// Who has answered each of them before it was sent.
    answers: Option<Arc<Calls<Token>>>,
}

impl Transport for Narrow {
    fn send(&self, message: &Message) -> Result {
        self.begun.fetch_add(1, Relaxed);
        if !self
            .room
            .wait_for_completion_timeout(msecs_to_jiffies(PATIENCE_MS))
        {
            return Err(EIO);
        }
        if let Some(calls) = &self.answers {
            answer(calls, message.context, message.tid);
        }
        let result = *self.result.lock();
        if result.is_ok() {
            self.sent.lock().push(message.tid, GFP_KERNEL)?;
        }
        result
    }

    fn try_send(&self, _message: &Message) -> Result {
        Err(EAGAIN)
    }

    fn close(&self) {}
}

impl Host for Narrow {
    fn transport(&self) -> &dyn Transport {
        self
    }

    fn exited(&self, _client_id: i32) {}
}

/// A transport that has no room, and that has the process die before it says so.
struct Deserter(Arc<Calls<Token>>);

impl Transport for Deserter {
    fn send(&self, _message: &Message) -> Result {
        Err(EIO)
    }

    fn try_send(&self, _message: &Message) -> Result {
        self.0.desert(1);
        Err(EAGAIN)
    }

    fn close(&self) {}
}

/// What has come of submitting a call.
type Submitted = (i32, Result<Pending<Token>>);

/// Callers, each a thread of its own.
struct Callers {
    narrow: Arc<Narrow>,
    over: Arc<Mutex<KVec<Submitted>>>,
    threads: OwnedQueue,
}

impl Callers {
    fn new(bench: &Bench, answers: bool) -> Result<Self> {
        let narrow = Arc::pin_init(
            pin_init!(Narrow {
                begun: Atomic::new(0),
                room <- Completion::new(),
                result <- new_mutex!(Ok(())),
                sent <- new_mutex!(KVec::new()),
                answers: answers.then(|| bench.calls.clone()),
            }),
            GFP_KERNEL,
        )?;

        bench.calls.set_host(narrow.clone());
        Ok(Self {
            narrow,
            over: Arc::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?,
            threads: OwnedQueue::new(c"qda_kunit_callers", QueueFlag::Unbound, 0)?,
        })
    }

    /// Makes call `number` of a client.
    fn call(&self, bench: &Client, client_id: i32, number: i32) -> Result {
        let (narrow, over, client) = (self.narrow.clone(), self.over.clone(), bench.clone());

        self.threads.try_spawn(GFP_KERNEL, move || {
            let pending = client.submit_to(&*narrow, Class::User, client_id, number);
            let noted = over.lock().push((number, pending), GFP_KERNEL);

            assert!(noted.is_ok());
        })?;
        Ok(())
    }

    /// As [`Callers::call`]; when this returns, the message waits behind those that came before.
    fn call_behind(&self, bench: &Client, client_id: i32, number: i32) -> Result {
        let before = bench.calls.outstanding();

        self.call(bench, client_id, number)?;
        self.wait(|| bench.calls.outstanding() == before + 1);
        // It is in the table before it waits.
        fsleep(Delta::from_millis(20));
        Ok(())
    }

    /// Waits until `count` messages have waited for room.
    fn await_begun(&self, count: u32) {
        self.wait(|| self.narrow.begun.load(Relaxed) == count);
    }

    /// Waits until `count` callers are back, of those that are not taken yet.
    fn await_over(&self, count: usize) {
        self.wait(|| self.over.lock().len() == count);
    }

    fn wait(&self, done: impl Fn() -> bool) {
        for _ in 0..PATIENCE_MS {
            if done() {
                return;
            }
            fsleep(Delta::from_millis(1));
        }
    }

    /// What has come of call `number`, whose caller is back.
    fn take(&self, number: i32) -> Option<Result<Pending<Token>>> {
        let mut over = self.over.lock();
        let index = over.iter().position(|(other, _)| *other == number)?;

        Some(over.remove(index).ok()?.1)
    }

    /// Why call `number` was not sent, whose caller is back.
    fn error_of(&self, number: i32) -> Option<Error> {
        self.take(number)?.err()
    }

    fn make_room_for_one(&self, result: Result) {
        *self.narrow.result.lock() = result;
        self.narrow.room.complete();
    }

    fn make_room(&self, result: Result) {
        *self.narrow.result.lock() = result;
        self.narrow.room.complete_all();
    }
}

#[kunit_tests(qda_post)]
mod cases {
    use super::*;

    #[test]
    fn messages_wait_for_room_one_after_the_other() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;

        for number in 1..=3 {
            callers.call_behind(&bench, 1, number)?;
        }
        callers.await_begun(1);
        fsleep(Delta::from_millis(20));
        assert_eq!(callers.narrow.begun.load(Relaxed), 1);
        assert!(callers.over.lock().is_empty());
        assert!(!bench.calls.wait_until_sent(1, Delta::from_millis(5)));

        callers.make_room(Ok(()));
        callers.await_over(3);
        assert!(bench.calls.wait_until_sent(1, Delta::from_millis(1000)));
        let mut sent = 0;
        for number in callers.narrow.sent.lock().iter() {
            sent += number;
        }
        assert_eq!(callers.narrow.sent.lock().len(), 3);
        assert_eq!(sent, 6);
        for number in 1..=3 {
            assert!(callers.take(number).is_some_and(|pending| pending.is_ok()));
        }
        Ok(())
    }

    #[test]
    fn answer_may_come_before_sending_is_over() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, true)?;

        callers.call(&bench, 1, 7)?;
        callers.await_begun(1);
        callers.make_room(Ok(()));
        callers.await_over(1);
        let pending = callers.take(7).ok_or(EINVAL)??;
        assert!(pending.wait_uninterruptible(msecs_to_jiffies(PATIENCE_MS)));
        assert_eq!(status_of(pending, 7), Some(7));
        assert!(bench.calls.wait_until_sent(1, Delta::from_millis(1000)));
        assert_eq!(bench.calls.outstanding(), 0);
        Ok(())
    }

    #[test]
    fn what_cannot_be_sent_leaves_nothing() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;

        callers.call(&bench, 1, 1)?;
        callers.await_begun(1);
        callers.make_room(Err(EIO));
        callers.await_over(1);
        assert_eq!(callers.error_of(1), Some(EIO));
        assert_eq!(bench.calls.outstanding(), 0);
        assert_eq!(bench.drops(), 1);
        Ok(())
    }

    #[test]
    fn all_give_up_who_have_waited_as_long() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;

        callers.call(&bench, 1, 1)?;
        callers.await_begun(1);
        for number in 2..=3 {
            callers.call_behind(&bench, 1, number)?;
        }
        callers.make_room_for_one(Ok(()));
        callers.await_begun(2);
        // This one has a wait of its own before it.
        callers.call_behind(&bench, 1, 4)?;

        callers.make_room_for_one(Err(ETIMEDOUT));
        callers.await_begun(3);
        callers.await_over(3);
        for number in 2..=3 {
            assert_eq!(callers.error_of(number), Some(ETIMEDOUT));
        }
        callers.make_room_for_one(Ok(()));
        callers.await_over(2);
        for number in [1, 4] {
            assert!(callers.take(number).is_some_and(|pending| pending.is_ok()));
        }
        assert_eq!(callers.narrow.begun.load(Relaxed), 3);
        Ok(())
    }

    #[test]
    fn end_of_a_process_takes_back_what_waits() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;

        callers.call(&bench, 1, 1)?;
        callers.await_begun(1);
        for number in 2..=3 {
            callers.call_behind(&bench, number, number)?;
        }
        fsleep(Delta::from_millis(20));

        // The others are not concerned, and what the transport has cannot be taken back.
        bench.calls.recall(2);
        bench.calls.recall(1);
        callers.await_over(1);
        assert_eq!(callers.error_of(2), Some(EPIPE));
        assert!(!bench.calls.wait_until_sent(1, Delta::from_millis(5)));
        assert_eq!(bench.calls.outstanding(), 2);

        callers.make_room(Ok(()));
        callers.await_over(2);
        assert_eq!(callers.narrow.sent.lock().len(), 2);
        assert!(callers.take(1).is_some_and(|pending| pending.is_ok()));
        assert!(callers.take(3).is_some_and(|pending| pending.is_ok()));
        Ok(())
    }

    /// The caller is told that it has to leave while the transport has the message.
    #[test]
    fn a_caller_may_leave_while_the_transport_has_it() -> Result {
        for result in [Ok(()), Err(EIO)] {
            let bench = Bench::new()?;
            let callers = Callers::new(&bench, false)?;

            callers.call(&bench, 1, 1)?;
            callers.await_begun(1);
            bench.calls.desert(1);
            callers.await_over(1);
            let pending = callers.take(1).ok_or(EINVAL)??;
            assert!(matches!(pending.collect(), (Outcome::Gone, None)));
            assert!(!bench.calls.wait_until_sent(1, Delta::from_millis(5)));
            assert_eq!(bench.drops(), 0);

            callers.make_room(result);
            assert!(bench.calls.wait_until_sent(1, Delta::from_millis(1000)));
            // What the DSP has stays until it answers; the rest goes.
            callers.wait(|| bench.calls.outstanding() == usize::from(result.is_ok()));
            assert_eq!(bench.calls.outstanding(), usize::from(result.is_ok()));
            bench.calls.finish_close();
            callers.wait(|| bench.drops() == 1);
            assert_eq!(bench.drops(), 1);
        }
        Ok(())
    }

    #[test]
    fn nothing_waits_for_a_process_that_died_meanwhile() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;
        let deserter = Deserter(bench.calls.clone());

        let pending = bench.submit_to(&deserter, Class::User, 1, 1);
        assert_eq!(pending.err(), Some(EPIPE));
        assert_eq!(bench.calls.outstanding(), 0);
        assert_eq!(bench.drops(), 1);
        assert_eq!(callers.narrow.begun.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn end_of_the_channel_ends_those_who_wait_for_room() -> Result {
        let bench = Bench::new()?;
        let callers = Callers::new(&bench, false)?;

        callers.call(&bench, 1, 1)?;
        callers.await_begun(1);
        callers.call_behind(&bench, 1, 2)?;
        bench.calls.begin_close();
        bench.calls.finish_close();
        callers.await_over(2);
        for number in 1..=2 {
            let pending = callers.take(number).ok_or(EINVAL)??;
            assert!(matches!(pending.collect(), (Outcome::Gone, None)));
        }
        callers.make_room(Err(EPIPE));
        bench.calls.drain();
        assert_eq!(callers.narrow.begun.load(Relaxed), 1);
        assert_eq!(bench.drops(), 2);
        Ok(())
    }
}
