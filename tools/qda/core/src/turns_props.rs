// SPDX-License-Identifier: GPL-2.0

//! What taking turns promises, whoever comes, goes, and wants something.

use crate::turns::Turns;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Add,
    Remove(prop::sample::Index),
    /// The nth member wants so many turns more.
    Want(prop::sample::Index, u8),
    Next,
    /// As `Next`, but the turn cannot be used.
    Undone,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;

    prop_oneof![
        2 => Just(Op::Add),
        1 => index().prop_map(Op::Remove),
        4 => (index(), 1u8..5).prop_map(|(member, count)| Op::Want(member, count)),
        8 => Just(Op::Next),
        2 => Just(Op::Undone),
    ]
}

proptest! {
    #[test]
    fn nobody_who_waits_is_passed_twice_by_another(ops in prop::collection::vec(op(), 0..200)) {
        let mut turns = Turns::new();
        let mut added = 0;
        // Turns that each member wants, and whom it has seen have one since it began to wait.
        let mut wants: BTreeMap<u32, u8> = BTreeMap::new();
        let mut passed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();

        for op in ops {
            let nth = |index: prop::sample::Index| {
                (!wants.is_empty()).then(|| *wants.keys().nth(index.index(wants.len())).unwrap())
            };
            match op {
                Op::Add => {
                    turns.add(added).unwrap();
                    wants.insert(added, 0);
                    added += 1;
                }
                Op::Remove(index) => {
                    if let Some(member) = nth(index) {
                        prop_assert_eq!(turns.remove(|m| *m == member), Some(member));
                        prop_assert_eq!(turns.remove(|m| *m == member), None);
                        wants.remove(&member);
                        passed.remove(&member);
                    }
                }
                Op::Want(index, count) => {
                    if let Some(member) = nth(index) {
                        let want = wants.get_mut(&member).unwrap();
                        if *want == 0 {
                            passed.insert(member, Vec::new());
                        }
                        *want = want.saturating_add(count);
                    }
                }
                Op::Next | Op::Undone => {
                    let undone = matches!(op, Op::Undone);
                    let next = turns.next(|member| (wants[member] > 0).then_some(*member));
                    // Whoever wants a turn can have it.
                    prop_assert_eq!(next.is_some(), wants.values().any(|want| *want > 0));
                    let Some(member) = next else { continue };
                    if undone {
                        turns.undo();
                        let again = turns.next(|m| (wants[m] > 0).then_some(*m));
                        prop_assert_eq!(again, Some(member));
                        turns.undo();
                        continue;
                    }
                    *wants.get_mut(&member).unwrap() -= 1;
                    passed.remove(&member);
                    for seen in passed.values_mut() {
                        prop_assert!(!seen.contains(&member));
                        seen.push(member);
                    }
                    if wants[&member] > 0 {
                        passed.insert(member, Vec::new());
                    }
                }
            }
        }
    }

    #[test]
    fn those_who_always_want_get_the_same(count in 1usize..20, rounds in 1usize..20) {
        let mut turns = Turns::new();
        for member in 0..count {
            turns.add(member).unwrap();
        }
        let mut had = vec![0; count];
        for _ in 0..count * rounds {
            had[turns.next(|member| Some(*member)).unwrap()] += 1;
        }
        prop_assert!(had.iter().all(|&had| had == rounds));
    }
}
