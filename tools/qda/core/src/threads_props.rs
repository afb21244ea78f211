// SPDX-License-Identifier: GPL-2.0

//! What the threads of the DSP promise, for any order of calls and ends.

use crate::threads::{Threads, MAX_THREADS};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
enum Op {
    Take,
    /// The nth call ends.
    Put(prop::sample::Index),
    Age,
    TakeIdle,
    /// The nth thread that is being ended has ended.
    Exited(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;

    prop_oneof![
        6 => Just(Op::Take),
        5 => index().prop_map(Op::Put),
        1 => Just(Op::Age),
        2 => Just(Op::TakeIdle),
        2 => index().prop_map(Op::Exited),
    ]
}

/// Larger than the number of any thread of Linux.
const PID_MAX_LIMIT: i32 = 4 << 20;

proptest! {
    #[test]
    fn no_thread_has_two_calls(
        count in 1u32..=MAX_THREADS, ops in prop::collection::vec(op(), 0..300),
    ) {
        let mut threads = Threads::new(count);
        let mut calls: Vec<u32> = Vec::new();
        let mut ending: Vec<u32> = Vec::new();
        // Threads that the DSP has, and whether each had a call since `age`.
        let mut known: BTreeMap<u32, bool> = BTreeMap::new();

        for op in ops {
            let is_busy = |index: &u32, calls: &[u32], ending: &[u32]| {
                calls.contains(index) || ending.contains(index)
            };
            match op {
                Op::Take => {
                    let taken = threads.take();
                    prop_assert_eq!(taken.is_none(), calls.len() + ending.len() == count as usize);
                    let Some(index) = taken else { continue };
                    prop_assert!(index < count);
                    prop_assert!(!is_busy(&index, &calls, &ending));
                    // A new one only where the DSP has none that is free.
                    let free = known.keys().any(|other| !is_busy(other, &calls, &ending));
                    prop_assert!(known.contains_key(&index) || !free);
                    known.insert(index, true);
                    calls.push(index);
                }
                Op::Put(index) if !calls.is_empty() => {
                    threads.put(calls.remove(index.index(calls.len())));
                }
                Op::Age => {
                    threads.age();
                    for (index, recent) in &mut known {
                        *recent = is_busy(index, &calls, &ending);
                    }
                }
                Op::TakeIdle => {
                    let idle: Vec<_> = known
                        .iter()
                        .filter(|(index, recent)| !**recent && !is_busy(index, &calls, &ending))
                        .map(|(index, _)| *index)
                        .collect();
                    match threads.take_idle() {
                        Some(index) => {
                            prop_assert!(idle.contains(&index));
                            ending.push(index);
                        }
                        None => prop_assert!(idle.is_empty()),
                    }
                }
                Op::Exited(index) if !ending.is_empty() => {
                    let index = ending.remove(index.index(ending.len()));
                    threads.exited(index);
                    known.remove(&index);
                }
                _ => {}
            }
            prop_assert_eq!(threads.any(), !known.is_empty());
        }
    }
}

#[test]
fn numbers_are_those_of_no_other_thread() {
    let numbers: BTreeSet<i32> = (0..MAX_THREADS).map(Threads::number).collect();

    assert_eq!(numbers.len(), MAX_THREADS as usize);
    // Neither of one of Linux, nor of a call that ends a process.
    assert!(numbers
        .iter()
        .all(|number| *number > PID_MAX_LIMIT && *number < 1 << 30));
}
