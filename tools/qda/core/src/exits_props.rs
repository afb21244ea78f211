// SPDX-License-Identifier: GPL-2.0

//! What the list of processes that have ended promises, tried beside a model: a set of them.

use crate::exits::Exits;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Processes that can be noted at once.
const ROOM: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Op {
    Note(Option<i32>),
    Take,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1..100i32).prop_map(|id| Op::Note(Some(id))),
        1 => any::<i32>().prop_map(|id| Op::Note(Some(id))),
        1 => Just(Op::Note(None)),
        2 => Just(Op::Take),
    ]
}

proptest! {
    #[test]
    fn each_process_is_noted_once_until_it_is_taken(
        ops in prop::collection::vec(op(), 0..400),
    ) {
        let (mut exits, mut model, mut total) = (Exits::new(), BTreeSet::new(), 0);

        for op in ops {
            match op {
                Op::Note(id) => {
                    total += 1;
                    let is_new = id.is_some_and(|id| model.len() < ROOM && model.insert(id));
                    prop_assert_eq!(exits.note(id), is_new);
                }
                Op::Take => match exits.take() {
                    Some(id) => prop_assert!(model.remove(&id)),
                    None => prop_assert!(model.is_empty()),
                },
            }
        }
        prop_assert_eq!(exits.total(), total);
        while let Some(id) = exits.take() {
            prop_assert!(model.remove(&id));
        }
        prop_assert!(model.is_empty());
    }
}
