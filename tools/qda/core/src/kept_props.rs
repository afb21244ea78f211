// SPDX-License-Identifier: GPL-2.0

//! What is kept for some time, tried beside a model: a list in the order of uses.

use crate::kept::Kept;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Use(usize),
    Take(usize),
    /// Trims what has an even key, or all.
    Trim(bool),
    TakeOldest,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..8).prop_map(Op::Use),
        1 => (0usize..8).prop_map(Op::Take),
        1 => any::<bool>().prop_map(Op::Trim),
        1 => Just(Op::TakeOldest),
    ]
}

/// A thing of the model; the one that was used last comes last.
struct Thing {
    key: usize,
    /// Whether it was used since things were trimmed.
    fresh: bool,
}

fn bytes(key: usize) -> usize {
    (key + 1) * 100
}

proptest! {
    #[test]
    fn what_was_used_lately_stays_longest(ops in prop::collection::vec(op(), 0..200)) {
        let mut kept = Kept::new();
        let mut model: Vec<Thing> = Vec::new();

        for op in ops {
            match op {
                Op::Use(key) => {
                    let known = model.iter().position(|thing| thing.key == key);
                    let found = kept.find(key).copied();
                    prop_assert_eq!(found, known.map(|_| key));
                    match known {
                        Some(index) => {
                            model.remove(index);
                        }
                        None => prop_assert_eq!(kept.insert(key, bytes(key), key), Ok(())),
                    }
                    model.push(Thing { key, fresh: true });
                }
                Op::Take(key) => {
                    let known = model.iter().position(|thing| thing.key == key);
                    if let Some(index) = known {
                        model.remove(index);
                    }
                    prop_assert_eq!(kept.take(key), known.map(|_| key));
                }
                Op::Trim(all) => {
                    let mut stale: Vec<_> = core::iter::from_fn(|| {
                        kept.take_stale(|key| all || key % 2 == 0)
                    })
                    .collect();
                    let mut expected: Vec<_> = model
                        .iter()
                        .filter(|thing| !thing.fresh && (all || thing.key % 2 == 0))
                        .map(|thing| thing.key)
                        .collect();
                    stale.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(stale, expected);
                    model.retain(|thing| thing.fresh || !(all || thing.key % 2 == 0));

                    kept.age();
                    model.iter_mut().for_each(|thing| thing.fresh = false);
                }
                Op::TakeOldest => {
                    let oldest = (!model.is_empty()).then(|| model.remove(0).key);
                    prop_assert_eq!(kept.take_oldest(), oldest);
                }
            }
            let total: usize = model.iter().map(|thing| bytes(thing.key)).sum();
            prop_assert_eq!(kept.bytes(), total);
            prop_assert_eq!(kept.is_empty(), model.is_empty());
        }
    }
}
