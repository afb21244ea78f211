// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of submissions: what waits and whose turn it is, and calls of the engine that nobody
//! waits for.

use super::bench::{
    status_of,
    Bench,
    Echo,
    Token, //
};
use crate::{
    call::{
        Outcome,
        Pending,
        Refusal,
        Spare,
        Watch,
        Watcher, //
    },
    ring::Ring,
    table::{
        RESERVED,
        SLOTS, //
    },
    threads::Threads,
    transport::Transport,
    turns::Turns, //
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

/// Counts the calls whose ends it has heard of, and adds their tokens up.
struct Ear {
    heard: Atomic<u32>,
    tokens: Atomic<u32>,
    queues: Atomic<u32>,
}

impl Ear {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                heard: Atomic::new(0),
                tokens: Atomic::new(0),
                queues: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    fn heard(&self) -> u32 {
        self.heard.load(Relaxed)
    }
}

impl Watcher for Ear {
    fn ended(&self, token: u32, queue: Option<&OwnedQueue>) {
        self.heard.fetch_add(1, Relaxed);
        self.tokens.fetch_add(token, Relaxed);
        self.queues.fetch_add(u32::from(queue.is_some()), Relaxed);
    }
}

/// Who refused a call, and what it was.
type Unsent = (Refusal, Option<(Token, Spare<Token>)>);

/// Sends call `number` of client 1, of whose end `ear` is to hear.
fn submit(
    bench: &Bench,
    transport: &dyn Transport,
    ear: &Arc<Ear>,
    number: i32,
) -> core::result::Result<Pending<Token>, Unsent> {
    let spare = Spare::new().map_err(|error| (Refusal::Table(error), None))?;
    let watch = Watch {
        watcher: ear.clone(),
        token: number as u32,
    };

    bench.calls.submit_watched(
        |message| transport.try_send(message),
        &bench.dead,
        bench.request(1, number),
        bench.token(number),
        spare,
        watch,
    )
}

fn sent(bench: &Bench, ear: &Arc<Ear>, number: i32) -> Result<Pending<Token>> {
    submit(bench, &*bench.memory, ear, number).map_err(|(refusal, _)| match refusal {
        Refusal::Table(error) | Refusal::Transport(error) => error,
    })
}

#[kunit_tests(qda_submissions)]
mod cases {
    use super::*;

    #[test]
    fn the_end_is_heard_of_and_frees_the_slot() -> Result {
        let bench = Bench::new()?;
        let ear = Ear::new()?;
        let mut waiting = KVec::new();

        for number in 0..10 {
            waiting.push(sent(&bench, &ear, number)?, GFP_KERNEL)?;
        }
        assert_eq!(ear.heard(), 0);
        for index in 0..10 {
            bench.answer(bench.message(index).context, -3);
            // The second time it is no answer.
            bench.answer(bench.message(index).context, -4);
        }
        assert_eq!(ear.heard(), 10);
        assert_eq!(ear.tokens.load(Relaxed), 45);
        assert_eq!(ear.queues.load(Relaxed), 10);
        assert_eq!(bench.calls.ignored(), 10);

        // All slots are there for others, while the results are kept.
        let mut others = KVec::new();
        for number in 0..SLOTS - 1 - RESERVED {
            others.push(bench.user(number as i32)?, GFP_KERNEL)?;
        }
        assert_eq!(bench.drops(), 0);
        for (number, pending) in (0..).zip(waiting) {
            let (outcome, token, spare) = pending.reclaim();

            assert_eq!(outcome, Outcome::Status(-3));
            assert!(token.is_some_and(|token| token.number() == number));
            assert!(spare.is_some());
        }
        assert_eq!(bench.drops(), 10);
        Ok(())
    }

    #[test]
    fn the_end_may_come_before_sending_is_over() -> Result {
        let bench = Bench::new()?;
        let ear = Ear::new()?;
        let echo = Echo(bench.calls.clone());
        let pending = submit(&bench, &echo, &ear, 42);

        assert_eq!(ear.heard(), 1);
        assert_eq!(pending.ok().and_then(|p| status_of(p, 42)), Some(42));
        Ok(())
    }

    #[test]
    fn the_end_of_the_process_is_heard_of_when_the_payload_has_gone() -> Result {
        let bench = Bench::new()?;
        let ear = Ear::new()?;
        let pending = sent(&bench, &ear, 1)?;

        bench.calls.retire(2);
        assert_eq!(ear.heard(), 0);
        bench.calls.retire(1);
        assert_eq!((ear.heard(), bench.drops()), (1, 1));
        let (outcome, token) = pending.collect();
        assert_eq!(outcome, Outcome::Gone);
        assert!(token.is_none());
        bench.answer(bench.message(0).context, 0);
        assert_eq!(ear.heard(), 1);
        Ok(())
    }

    #[test]
    fn an_abandoned_call_is_heard_of_too() -> Result {
        let bench = Bench::new()?;
        let ear = Ear::new()?;

        drop(sent(&bench, &ear, 1)?);
        bench.answer(bench.message(0).context, 0);
        assert_eq!(ear.heard(), 1);
        bench.calls.drain();
        assert_eq!((bench.drops(), bench.late()), (1, 1));
        Ok(())
    }

    #[test]
    fn what_was_not_sent_comes_back() -> Result {
        let bench = Bench::new()?;
        let ear = Ear::new()?;

        bench.memory.broken.store(true, Relaxed);
        let refused = submit(&bench, &*bench.memory, &ear, 1).err();
        let Some((refusal, Some((token, _spare)))) = refused else {
            panic!("it was sent");
        };
        assert_eq!(refusal, Refusal::Transport(EREMOTEIO));
        assert_eq!((token.number(), bench.drops(), ear.heard()), (1, 0, 0));
        drop(token);

        bench.memory.broken.store(false, Relaxed);
        let mut others = KVec::new();
        for number in 0..SLOTS - 1 - RESERVED {
            others.push(bench.user(number as i32)?, GFP_KERNEL)?;
        }
        let refused = submit(&bench, &*bench.memory, &ear, 2).err();
        let Some((refusal, Some((token, _spare)))) = refused else {
            panic!("there was a slot");
        };
        assert_eq!(refusal, Refusal::Table(ENOSPC));
        assert_eq!((token.number(), ear.heard()), (2, 0));

        bench.calls.begin_close();
        let refused = submit(&bench, &*bench.memory, &ear, 3).err();
        assert!(matches!(refused, Some((Refusal::Table(EPIPE), Some((..))))));
        Ok(())
    }

    #[test]
    fn a_slot_is_waited_for() -> Result {
        let bench = Bench::new()?;
        let dsp = OwnedQueue::new(c"qda_kunit_dsp", QueueFlag::Unbound, 0)?;
        let mut waiting = KVec::new();

        // There is one.
        bench.calls.wait_for_slot();
        for number in 0..SLOTS - 1 - RESERVED {
            waiting.push(bench.user(number as i32)?, GFP_KERNEL)?;
        }

        // Of a call that is collected.
        let first = waiting.pop().ok_or(EINVAL)?;
        bench.answer(bench.message(waiting.len()).context, 0);
        dsp.try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            first.collect();
        })?;
        bench.calls.wait_for_slot();
        waiting.push(bench.user(0)?, GFP_KERNEL)?;

        // Of one that was abandoned.
        drop(waiting.pop());
        let (client, context) = (bench.clone(), bench.message(waiting.len() + 1).context);
        dsp.try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            client.answer(context, 0);
        })?;
        bench.calls.wait_for_slot();
        waiting.push(bench.user(0)?, GFP_KERNEL)?;

        // Not for ever.
        let client = bench.clone();
        dsp.try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            client.calls.begin_close();
        })?;
        bench.calls.wait_for_slot();
        Ok(())
    }
}

#[kunit_tests(qda_queue_parts)]
mod parts {
    use super::*;

    #[test]
    fn submissions_keep_their_order() -> Result {
        let mut ring = Ring::new(3, 100, GFP_KERNEL)?;
        let mut ids = [0; 3];

        for number in 0..3u64 {
            let (slot, id) = ring.reserve(10 + number, 0)?;
            ring.publish(slot, number);
            ids[number as usize] = id;
        }
        assert_eq!(ring.reserve(0, 0), Err(EAGAIN));

        // The second is taken back, the others are sent and end the other way round.
        let (slot, kept) = ring.cancel(ids[1])?;
        assert_eq!(kept, 1);
        ring.finish(slot, 101);
        let first = ring.take_waiting().ok_or(EINVAL)?;
        assert_eq!(ring.cancel(ids[0]), Err(EBUSY));
        let third = ring.take_waiting().ok_or(EINVAL)?;
        assert_eq!((first.1, third.1), (0, 2));
        assert!(!ring.sent(third.0, 2));
        assert!(ring.ended(third.0));
        assert!(ring.ended(first.0) && !ring.ended(first.0));
        assert!(ring.sent(first.0, 0));

        for (user_data, kept) in [(11, 101), (12, 2), (10, 0)] {
            let done = ring.take_done().ok_or(EINVAL)?;

            assert_eq!((done.user_data, done.kept), (user_data, kept));
            assert_eq!(done.id, ids[(user_data - 10) as usize]);
            ring.free(done.slot);
            assert_eq!(ring.cancel(done.id), Err(ENOENT));
        }
        assert!(ring.take_done().is_none());
        assert_eq!(ring.outstanding(), 0);
        Ok(())
    }

    #[test]
    fn bytes_are_bounded_but_for_one() -> Result {
        let mut ring = Ring::<()>::new(8, 100, GFP_KERNEL)?;
        let (large, _) = ring.reserve(0, 200)?;

        assert_eq!(ring.reserve(0, 1), Err(EAGAIN));
        ring.reserve(0, 0)?;
        ring.free(large);
        ring.reserve(0, 60)?;
        ring.reserve(0, 40)?;
        assert_eq!(ring.reserve(0, 1), Err(EAGAIN));
        Ok(())
    }

    #[test]
    fn threads_come_and_go() {
        let mut threads = Threads::new(2);

        assert_eq!(threads.take(), Some(0));
        assert_eq!(threads.take(), Some(1));
        assert_eq!(threads.take(), None);
        threads.put(1);
        // It had a call just now.
        assert_eq!(threads.take_idle(), None);
        threads.age();
        assert_eq!(threads.take_idle(), Some(1));
        assert_eq!(threads.take(), None);
        threads.exited(1);
        assert!(threads.any());
        assert_eq!(threads.take(), Some(1));
        assert_eq!(Threads::number(1), 0x2000_0001);
    }

    #[test]
    fn everybody_has_a_turn() -> Result {
        let mut turns = Turns::new();
        let mut order = KVec::new();

        for member in 0..4 {
            turns.add(member)?;
        }
        // The second wants none, and the third leaves after a while.
        for round in 0..7 {
            if round == 4 {
                assert_eq!(turns.remove(|member| *member == 2), Some(2));
            }
            let next = turns.next(|member| (*member != 1).then_some(*member));
            order.push(next.ok_or(EINVAL)?, GFP_KERNEL)?;
        }
        assert_eq!(&order[..], [0, 2, 3, 0, 3, 0, 3]);
        turns.undo();
        assert_eq!(turns.next(|member| Some(*member)), Some(3));
        Ok(())
    }
}
