// SPDX-License-Identifier: GPL-2.0

//! What the call table promises, tried beside a model: a plain list of outstanding calls.
//!
//! Every operation of a random sequence is done on both, and must have the same result. Calls count
//! how often they are dropped, so that one that is lost or returned twice shows.

use crate::proto::{Context, ProtectionDomain, CONTEXT_PD_EXIT};
use crate::table::{Answer, CallTable, Class, Phase};
use kernel::prelude::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Slots that can be in use at once, how many of them programs can have, and how many only the end
/// of a process can have.
const ALL: usize = 255;
const USERS: usize = 251;
const RESERVED_RELEASE: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Allocate and insert, so many times.
    Submit(Class, ProtectionDomain, u8, usize),
    /// Answer the nth outstanding call.
    Answer(prop::sample::Index),
    /// Answer the nth context ever given out, outstanding or not.
    AnswerAny(prop::sample::Index),
    /// Answer the nth outstanding call with one bit of its context changed.
    AnswerChanged(prop::sample::Index, u32),
    /// Answer an arbitrary context.
    AnswerUnknown(u64),
    /// Take the nth context ever given out.
    Take(prop::sample::Index),
    /// Abandon the nth context ever given out.
    Abandon(prop::sample::Index),
    /// Abandon the nth outstanding call.
    AbandonLive(prop::sample::Index),
    /// Reap until nothing is left to.
    Reap,
    /// Evict until no call of this client is left.
    Evict(u8),
    /// Move on to a phase.
    Advance(Phase),
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        4 => Just(Class::User),
        1 => Just(Class::Static),
        1 => Just(Class::Kernel),
        1 => Just(Class::Release),
    ]
}

fn pd() -> impl Strategy<Value = ProtectionDomain> {
    prop_oneof![Just(ProtectionDomain::Root), Just(ProtectionDomain::User)]
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    let count = prop_oneof![8 => 1usize..10, 1 => 200usize..300];
    let phase = prop_oneof![
        8 => Just(Phase::Open),
        2 => Just(Phase::Closing),
        1 => Just(Phase::Closed),
    ];

    prop_oneof![
        60 => (class(), pd(), 0u8..4, count).prop_map(|(c, p, k, n)| Op::Submit(c, p, k, n)),
        40 => index().prop_map(Op::Answer),
        20 => index().prop_map(Op::AnswerAny),
        10 => (index(), 0u32..64).prop_map(|(i, bit)| Op::AnswerChanged(i, bit)),
        5 => any::<u64>().prop_map(Op::AnswerUnknown),
        30 => index().prop_map(Op::Take),
        20 => index().prop_map(Op::Abandon),
        20 => index().prop_map(Op::AbandonLive),
        10 => Just(Op::Reap),
        10 => (0u8..4).prop_map(Op::Evict),
        5 => phase.prop_map(Op::Advance),
    ]
}

/// How often each call was dropped, by its number.
type Drops = Rc<RefCell<Vec<usize>>>;

/// What is put into the table.
#[derive(Debug, PartialEq)]
struct Call {
    number: usize,
    client: u8,
    drops: Drops,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.drops.borrow_mut()[self.number] += 1;
    }
}

/// An outstanding call, in the model.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    context: u64,
    number: usize,
    client: u8,
    answered: bool,
    abandoned: bool,
}

/// What an answer was for, in the model.
#[derive(Debug, PartialEq, Eq)]
enum Answered {
    Waiting(usize),
    Abandoned(usize),
    Unknown,
}

/// The table and its model.
struct Both {
    table: CallTable<Call>,
    drops: Drops,
    outstanding: Vec<Outstanding>,
    phase: Phase,
    contexts: Vec<u64>,
    last_slot: usize,
}

impl Both {
    fn new() -> Self {
        Self {
            table: CallTable::new().unwrap(),
            drops: Drops::default(),
            outstanding: Vec::new(),
            phase: Phase::Open,
            contexts: Vec::new(),
            last_slot: 0,
        }
    }

    /// What a request for a slot must end with.
    fn refusal(&self, class: Class) -> Option<Error> {
        let used = self.outstanding.len();

        match (class, self.phase) {
            (_, Phase::Closed) => Some(EPIPE),
            (Class::User | Class::Static | Class::Kernel, Phase::Closing) => Some(EPIPE),
            (Class::User, _) => (used >= USERS).then_some(ENOSPC),
            (Class::Static | Class::Kernel, _) => {
                (used >= ALL - RESERVED_RELEASE).then_some(ENOSPC)
            }
            (Class::Release, _) => (used >= ALL).then_some(ENOSPC),
        }
    }

    fn submit(&mut self, class: Class, pd: ProtectionDomain, client: u8) {
        let refusal = self.refusal(class);
        let context = match (self.table.allocate(class, pd), refusal) {
            (Ok(context), None) => context,
            (Err(error), Some(refusal)) => return assert_eq!(error, refusal),
            (result, refusal) => panic!("{result:?} where the model has {refusal:?}"),
        };

        // Never slot 0, never one in use, and the next free one after the last.
        let slot = (context.0 >> 8 & 0xff) as usize;
        let mut in_use = [false; ALL + 1];
        for call in &self.outstanding {
            in_use[(call.context >> 8 & 0xff) as usize] = true;
        }
        let next = (1..=ALL)
            .map(|step| (self.last_slot + step - 1) % ALL + 1)
            .find(|&slot| !in_use[slot]);
        assert_ne!(slot, 0);
        assert_eq!(Some(slot), next);
        self.last_slot = slot;

        // The sequence only goes up, so that no context comes twice.
        let sequence = context.0 >> 16;
        assert!(self
            .contexts
            .last()
            .is_none_or(|last| sequence > last >> 16));
        assert_eq!(context.0 & 0xff, pd as u64);
        assert_ne!(context.0, CONTEXT_PD_EXIT);

        let number = self.drops.borrow().len();
        self.drops.borrow_mut().push(0);
        self.contexts.push(context.0);
        self.outstanding.push(Outstanding {
            context: context.0,
            number,
            client,
            answered: false,
            abandoned: false,
        });
        let drops = self.drops.clone();
        self.table.insert(
            context,
            Call {
                number,
                client,
                drops,
            },
        );
    }

    fn answer(&mut self, context: u64) {
        let expected = match self.outstanding.iter_mut().find(|c| c.context == context) {
            Some(call) if !call.answered => {
                call.answered = true;
                match call.abandoned {
                    true => Answered::Abandoned(call.number),
                    false => Answered::Waiting(call.number),
                }
            }
            _ => Answered::Unknown,
        };
        let found = match self.table.answer(context) {
            Answer::Waiting(call) => Answered::Waiting(call.number),
            Answer::Abandoned(call) => Answered::Abandoned(call.number),
            Answer::Unknown => Answered::Unknown,
        };

        assert_eq!(found, expected);
    }

    fn take(&mut self, context: u64) {
        let call = self.table.take(Context(context));
        let index = self.outstanding.iter().position(|c| c.context == context);

        self.taken_out(call, index);
    }

    fn abandon(&mut self, context: u64) {
        let call = self.table.abandon(Context(context));
        let mut index = self.outstanding.iter().position(|c| c.context == context);

        if let Some(i) = index {
            self.outstanding[i].abandoned = true;
            if !self.outstanding[i].answered {
                // It stays, until the DSP answers.
                index = None;
            }
        }
        self.taken_out(call, index);
    }

    fn reap(&mut self) {
        while let Some(call) = self.table.reap() {
            let index = self
                .outstanding
                .iter()
                .position(|c| c.number == call.number);
            let found = self.outstanding[index.unwrap()];

            assert!(found.answered && found.abandoned);
            self.taken_out(Some(call), index);
        }
        assert!(!self.outstanding.iter().any(|c| c.answered && c.abandoned));
    }

    fn evict(&mut self, client: u8) {
        while let Some(call) = self.table.evict(|call| call.client == client) {
            let index = self
                .outstanding
                .iter()
                .position(|c| c.number == call.number);

            assert_eq!(call.client, client);
            self.taken_out(Some(call), index);
        }
        assert!(!self.outstanding.iter().any(|c| c.client == client));
    }

    /// Compares a call that the table gave out with the one at `index` of the model, and drops it.
    fn taken_out(&mut self, call: Option<Call>, index: Option<usize>) {
        let expected = index.map(|i| self.outstanding.remove(i));
        let number = call.as_ref().map(|call| call.number);

        assert_eq!(number, expected.map(|call| call.number));
        if let Some(number) = number {
            assert_eq!(self.drops.borrow()[number], 0);
            drop(call);
            assert_eq!(self.drops.borrow()[number], 1);
        }
    }

    fn apply(&mut self, op: Op) {
        let live = |index: prop::sample::Index| {
            let calls = &self.outstanding;
            (!calls.is_empty()).then(|| index.get(calls).context)
        };
        let ever = |index: prop::sample::Index| {
            let contexts = &self.contexts;
            (!contexts.is_empty()).then(|| *index.get(contexts))
        };

        match op {
            Op::Submit(class, pd, client, count) => {
                (0..count).for_each(|_| self.submit(class, pd, client))
            }
            Op::Answer(index) => live(index).into_iter().for_each(|c| self.answer(c)),
            Op::AnswerAny(index) => ever(index).into_iter().for_each(|c| self.answer(c)),
            Op::AnswerChanged(index, bit) => live(index)
                .into_iter()
                .for_each(|c| self.answer(c ^ 1 << bit)),
            Op::AnswerUnknown(context) => self.answer(context),
            Op::Take(index) => ever(index).into_iter().for_each(|c| self.take(c)),
            Op::Abandon(index) => ever(index).into_iter().for_each(|c| self.abandon(c)),
            Op::AbandonLive(index) => live(index).into_iter().for_each(|c| self.abandon(c)),
            Op::Reap => self.reap(),
            Op::Evict(client) => self.evict(client),
            Op::Advance(phase) => {
                self.table.advance(phase);
                self.phase = self.phase.max(phase);
            }
        }

        // What is outstanding is in the table, alive; what is not was dropped, once.
        let mut expected = vec![1; self.contexts.len()];
        for call in &self.outstanding {
            expected[call.number] = 0;
        }
        assert_eq!(*self.drops.borrow(), expected);

        let mut numbers: Vec<_> = self.table.calls().map(|call| call.number).collect();
        numbers.sort_unstable();
        assert!(numbers
            .iter()
            .copied()
            .eq(self.outstanding.iter().map(|call| call.number)));
        assert_eq!(self.table.used(), numbers.len());
        // Each is found by its context, and none by one that is used up.
        let mut named: Vec<_> = self
            .table
            .iter_mut()
            .map(|(c, call)| (call.number, c.0))
            .collect();
        named.sort_unstable();
        assert!(named.into_iter().eq(self
            .outstanding
            .iter()
            .map(|call| (call.number, call.context))));
        for (number, &context) in self.contexts.iter().enumerate() {
            let found = self.table.get_mut(Context(context)).map(|call| call.number);
            let is_there = numbers.binary_search(&number).is_ok();

            assert_eq!(found, is_there.then_some(number));
        }
        assert_eq!(self.table.is_open(), self.phase == Phase::Open);
        assert_eq!(
            self.table.is_full(Class::User),
            self.phase == Phase::Open && numbers.len() >= USERS
        );
        assert_eq!(
            self.table.is_full(Class::Release),
            self.phase < Phase::Closed && numbers.len() >= ALL
        );
    }

    /// Drops the table: everything is dropped once by then.
    fn finish(self) {
        drop(self.table);
        assert!(self.drops.borrow().iter().all(|&drops| drops == 1));
    }
}

/// A full table of calls of programs.
fn full_of_users() -> Both {
    let mut both = Both::new();
    (0..USERS).for_each(|_| both.submit(Class::User, ProtectionDomain::User, 1));
    assert_eq!(both.outstanding.len(), USERS);
    both
}

proptest! {
    #[test]
    fn table_does_what_its_model_does(ops in prop::collection::vec(op(), 1..150)) {
        let mut both = Both::new();

        for op in ops {
            both.apply(op);
        }
        both.finish();
    }

    /// Slots come round again; contexts do not.
    #[test]
    fn stale_contexts_never_answer(rounds in 1usize..4, delay in 1usize..600) {
        let mut both = Both::new();

        for _ in 0..rounds * ALL {
            both.submit(Class::User, ProtectionDomain::User, 1);
            let now = both.contexts.len() - 1;
            if let Some(&stale) = now.checked_sub(delay).and_then(|i| both.contexts.get(i)) {
                prop_assert_eq!(both.table.answer(stale), Answer::Unknown);
                prop_assert!(both.table.take(Context(stale)).is_none());
                prop_assert!(both.table.abandon(Context(stale)).is_none());
            }
            both.answer(both.contexts[now]);
            both.take(both.contexts[now]);
        }
        both.finish();
    }

    #[test]
    fn only_one_of_two_answers_counts(abandoned: bool, count in 1usize..20) {
        let mut both = Both::new();
        both.submit(Class::User, ProtectionDomain::User, 1);
        let context = both.contexts[0];
        if abandoned {
            both.abandon(context);
        }

        both.answer(context);
        for _ in 0..count {
            prop_assert_eq!(both.table.answer(context), Answer::Unknown);
        }
        both.finish();
    }

    #[test]
    fn reserved_slots_are_for_the_kernels_calls(release: Vec<bool>) {
        let mut both = full_of_users();

        prop_assert_eq!(
            both.table.allocate(Class::User, ProtectionDomain::User),
            Err(ENOSPC)
        );
        for release in release {
            let class = if release { Class::Release } else { Class::Kernel };
            both.submit(class, ProtectionDomain::Root, 2);
        }
        prop_assert!(both.outstanding.len() <= ALL);
        both.finish();
    }

    #[test]
    fn phase_never_goes_back(phases in prop::collection::vec(
        prop::sample::select(vec![Phase::Open, Phase::Closing, Phase::Closed]), 1..10,
    )) {
        let mut both = Both::new();

        for phase in phases {
            both.apply(Op::Advance(phase));
            for class in [Class::User, Class::Static, Class::Kernel, Class::Release] {
                both.submit(class, ProtectionDomain::User, 1);
            }
        }
        both.finish();
    }
}

#[test]
fn closing_channel_takes_release_only() {
    let pd = ProtectionDomain::User;
    let mut both = full_of_users();

    both.apply(Op::Advance(Phase::Closing));
    assert_eq!(both.table.allocate(Class::User, pd), Err(EPIPE));
    assert_eq!(both.table.allocate(Class::Kernel, pd), Err(EPIPE));
    for _ in USERS..ALL {
        both.submit(Class::Release, pd, 1);
    }
    assert_eq!(both.table.allocate(Class::Release, pd), Err(ENOSPC));

    both.apply(Op::Advance(Phase::Closed));
    assert_eq!(both.table.allocate(Class::Release, pd), Err(EPIPE));
    both.finish();
}

/// No context of a call has 0 in its slot bits, whatever its sequence number.
#[test]
fn slot_0_is_never_answered() {
    let mut both = full_of_users();

    for sequence in 0..=USERS as u64 {
        for low in 0..=1 {
            both.answer(sequence << 16 | low);
        }
    }
    both.finish();
}
