// SPDX-License-Identifier: GPL-2.0

//! What the ring promises, for any order of what programs, the sender and the DSP do.

use crate::ring::Ring;
use kernel::alloc::flags::GFP_KERNEL;
use kernel::error::code::{EAGAIN, EBUSY, ENOENT};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve(usize),
    /// The nth that is reserved is accepted.
    Publish(prop::sample::Index),
    /// The nth that is reserved is not.
    Discard(prop::sample::Index),
    TakeWaiting,
    /// The nth that is being sent could not be.
    PutBack(prop::sample::Index),
    Sent(prop::sample::Index),
    Fail(prop::sample::Index),
    /// The nth that the DSP may have ends.
    Ended(prop::sample::Index),
    /// The nth of all that ever were is cancelled.
    Cancel(prop::sample::Index),
    TakeDone,
    Free(prop::sample::Index),
    GiveBack(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;

    prop_oneof![
        6 => (0usize..60).prop_map(Op::Reserve),
        6 => index().prop_map(Op::Publish),
        1 => index().prop_map(Op::Discard),
        5 => Just(Op::TakeWaiting),
        1 => index().prop_map(Op::PutBack),
        5 => index().prop_map(Op::Sent),
        1 => index().prop_map(Op::Fail),
        5 => index().prop_map(Op::Ended),
        2 => index().prop_map(Op::Cancel),
        5 => Just(Op::TakeDone),
        5 => index().prop_map(Op::Free),
        1 => index().prop_map(Op::GiveBack),
    ]
}

/// A submission as the model has it; `user_data` tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    slot: u16,
    id: u64,
    user_data: u64,
    bytes: usize,
    ended: bool,
}

/// Where each submission is.
#[derive(Default)]
struct Model {
    reserved: Vec<Entry>,
    waiting: VecDeque<Entry>,
    sending: Vec<Entry>,
    sent: Vec<Entry>,
    done: VecDeque<Entry>,
    taken: Vec<Entry>,
}

impl Model {
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.reserved
            .iter()
            .chain(&self.waiting)
            .chain(&self.sending)
            .chain(&self.sent)
            .chain(&self.done)
            .chain(&self.taken)
    }
}

fn pick(entries: &mut Vec<Entry>, index: prop::sample::Index) -> Option<Entry> {
    (!entries.is_empty()).then(|| entries.remove(index.index(entries.len())))
}

/// Most bytes of the rings here.
const BYTES: usize = 100;

proptest! {
    #[test]
    fn everything_accepted_completes_once(
        depth in 1usize..9, ops in prop::collection::vec(op(), 0..300),
    ) {
        let mut ring: Ring<u64> = Ring::new(depth, BYTES, GFP_KERNEL).unwrap();
        let mut model = Model::default();
        let mut ids = BTreeSet::new();
        let mut old: Vec<u64> = vec![0, u64::MAX, 1 << 16];
        let mut count = 0;

        prop_assert_eq!(ring.depth(), depth);
        for op in ops {
            match op {
                Op::Reserve(bytes) => {
                    count += 1;
                    let has: usize = model.all().map(|entry| entry.bytes).sum();
                    let room = model.all().count() < depth
                        && (bytes == 0 || has == 0 || has + bytes <= BYTES);
                    match ring.reserve(count, bytes) {
                        Ok((slot, id)) => {
                            prop_assert!(room);
                            prop_assert!(id != 0 && ids.insert(id));
                            prop_assert!(model.all().all(|entry| entry.slot != slot));
                            let user_data = count;
                            model.reserved.push(Entry { slot, id, user_data, bytes, ended: false });
                            old.push(id);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, EAGAIN);
                            prop_assert!(!room);
                        }
                    }
                }
                Op::Publish(index) => {
                    if let Some(entry) = pick(&mut model.reserved, index) {
                        ring.publish(entry.slot, entry.user_data);
                        model.waiting.push_back(entry);
                    }
                }
                Op::Discard(index) => {
                    if let Some(entry) = pick(&mut model.reserved, index) {
                        ring.free(entry.slot);
                    }
                }
                Op::TakeWaiting => {
                    let taken = ring.take_waiting();
                    let entry = model.waiting.pop_front();
                    prop_assert_eq!(taken, entry.map(|entry| (entry.slot, entry.user_data)));
                    model.sending.extend(entry);
                }
                Op::PutBack(index) => {
                    if let Some(mut entry) = pick(&mut model.sending, index) {
                        ring.put_back(entry.slot, entry.user_data);
                        entry.ended = false;
                        model.waiting.push_front(entry);
                    }
                }
                Op::Sent(index) => {
                    if let Some(entry) = pick(&mut model.sending, index) {
                        prop_assert_eq!(ring.sent(entry.slot, entry.user_data), entry.ended);
                        match entry.ended {
                            true => model.done.push_back(entry),
                            false => model.sent.push(entry),
                        }
                    }
                }
                Op::Fail(index) => {
                    if let Some(entry) = pick(&mut model.sending, index) {
                        ring.finish(entry.slot, entry.user_data);
                        model.done.push_back(entry);
                    }
                }
                Op::Ended(index) => {
                    let sending = model.sending.len();
                    let all = sending + model.sent.len();
                    if all == 0 {
                        continue;
                    }
                    match index.index(all) {
                        at if at < sending => {
                            let entry = &mut model.sending[at];
                            prop_assert_eq!(ring.ended(entry.slot), !entry.ended);
                            entry.ended = true;
                        }
                        at => {
                            let entry = model.sent.remove(at - sending);
                            prop_assert!(ring.ended(entry.slot));
                            // The DSP may answer what it likes, as often as it likes.
                            prop_assert!(!ring.ended(entry.slot));
                            model.done.push_back(entry);
                        }
                    }
                }
                Op::Cancel(index) => {
                    let id = old[index.index(old.len())];
                    let waits = model.waiting.iter().position(|entry| entry.id == id);
                    let on_its_way = model.sending.iter().chain(&model.sent).any(|e| e.id == id);
                    match (ring.cancel(id), waits) {
                        (Ok(taken), Some(at)) => {
                            let entry = model.waiting.remove(at).unwrap();
                            prop_assert_eq!(taken, (entry.slot, entry.user_data));
                            ring.finish(entry.slot, entry.user_data);
                            model.done.push_back(entry);
                        }
                        (Err(error), None) => {
                            prop_assert_eq!(error, if on_its_way { EBUSY } else { ENOENT });
                        }
                        (result, waits) => prop_assert!(false, "{result:?}, {waits:?}"),
                    }
                }
                Op::TakeDone => {
                    let taken = ring.take_done();
                    let entry = model.done.pop_front();
                    prop_assert_eq!(
                        taken.map(|done| (done.slot, done.id, done.user_data, done.kept)),
                        entry.map(|e| (e.slot, e.id, e.user_data, e.user_data))
                    );
                    model.taken.extend(entry);
                }
                Op::Free(index) => {
                    if let Some(entry) = pick(&mut model.taken, index) {
                        ring.free(entry.slot);
                    }
                }
                Op::GiveBack(index) => {
                    if let Some(entry) = pick(&mut model.taken, index) {
                        ring.give_back(entry.slot, entry.user_data);
                        model.done.push_front(entry);
                    }
                }
            }
            prop_assert_eq!(ring.done(), model.done.len());
            prop_assert_eq!(ring.has_waiting(), !model.waiting.is_empty());
            prop_assert_eq!(ring.outstanding(), model.all().count());
        }

        // In the end every slot can be had again.
        for entry in &model.done {
            let user_data = entry.user_data;
            prop_assert_eq!(ring.replace_done(entry.slot.into(), 0), Some(user_data));
        }
        for entry in &model.sent {
            prop_assert_eq!(ring.replace_done(entry.slot.into(), 7), Some(7));
            ring.ended(entry.slot);
        }
        while let Some((slot, _)) = ring.take_waiting() {
            ring.finish(slot, 0);
        }
        for entry in &model.sending {
            ring.finish(entry.slot, 0);
        }
        for entry in model.reserved.iter().chain(&model.taken) {
            ring.free(entry.slot);
        }
        while let Some(done) = ring.take_done() {
            ring.free(done.slot);
        }
        prop_assert_eq!(ring.outstanding(), 0);
        for _ in 0..depth {
            prop_assert!(ring.reserve(0, 0).is_ok());
        }
        prop_assert_eq!(ring.reserve(0, 0), Err(EAGAIN));
    }
}
