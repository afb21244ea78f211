// SPDX-License-Identifier: GPL-2.0

//! What the numbers of buffers promise, tried beside a model: a map.

use crate::numbers::Numbers;
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Op {
    Lend(i32, u8),
    TakeBack(i32),
    AskMap(i32, u8),
    Mapped(i32, u64),
    Unmapped(i32),
    AskUnmap(Option<i32>, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let number = || -1i32..5;
    let buffer = || 0u8..3;
    let address = || 0u64..3;

    prop_oneof![
        (number(), buffer()).prop_map(|(n, b)| Op::Lend(n, b)),
        number().prop_map(Op::TakeBack),
        (number(), buffer()).prop_map(|(n, b)| Op::AskMap(n, b)),
        (number(), address()).prop_map(|(n, a)| Op::Mapped(n, a)),
        number().prop_map(Op::Unmapped),
        (prop::option::of(number()), address()).prop_map(|(n, a)| Op::AskUnmap(n, a)),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Map {
    No,
    Asked,
    At(u64),
}

struct Model {
    buffer: u8,
    lent: u32,
    map: Map,
}

fn gone(model: &mut BTreeMap<i32, Model>, number: i32) -> Option<u8> {
    let entry = &model[&number];
    if entry.lent == 0 && entry.map == Map::No {
        return model.remove(&number).map(|entry| entry.buffer);
    }
    None
}

proptest! {
    #[test]
    fn a_number_is_one_buffer_until_nothing_holds_it(ops in prop::collection::vec(op(), 0..100)) {
        let mut numbers = Numbers::new();
        let mut model: BTreeMap<i32, Model> = BTreeMap::new();

        for op in ops {
            match op {
                Op::Lend(number, buffer) => {
                    let other = model.get(&number).is_some_and(|entry| entry.buffer != buffer);
                    let expected = if other { Err(EEXIST) } else { Ok(()) };
                    prop_assert_eq!(numbers.lend(number, buffer), expected);
                    if !other {
                        let new = Model { buffer, lent: 0, map: Map::No };
                        model.entry(number).or_insert(new).lent += 1;
                    }
                }
                Op::TakeBack(number) => {
                    let expected = match model.get_mut(&number) {
                        Some(entry) if entry.lent > 0 => {
                            entry.lent -= 1;
                            (true, gone(&mut model, number))
                        }
                        _ => (false, None),
                    };
                    prop_assert_eq!(numbers.take_back(number), expected);
                }
                Op::AskMap(number, buffer) => {
                    let taken = model
                        .get(&number)
                        .is_some_and(|entry| entry.buffer != buffer || entry.map != Map::No);
                    let expected = if taken { Err(EEXIST) } else { Ok(()) };
                    prop_assert_eq!(numbers.ask_map(number, buffer), expected);
                    if !taken {
                        let new = Model { buffer, lent: 0, map: Map::No };
                        model.entry(number).or_insert(new).map = Map::Asked;
                    }
                }
                // The driver says these two only of what it has asked for.
                Op::Mapped(number, address) => {
                    if let Some(entry) = model.get_mut(&number) {
                        if entry.map == Map::Asked {
                            entry.map = Map::At(address);
                            numbers.mapped(number, address, 10);
                        }
                    }
                }
                Op::Unmapped(number) => {
                    if model.get(&number).is_some_and(|entry| entry.map == Map::Asked) {
                        model.get_mut(&number).unwrap().map = Map::No;
                        prop_assert_eq!(numbers.unmapped(number), gone(&mut model, number));
                    }
                }
                Op::AskUnmap(number, address) => {
                    let matches: Vec<_> = model
                        .iter()
                        .filter(|(n, entry)| {
                            entry.map == Map::At(address) && number.is_none_or(|m| m == **n)
                        })
                        .map(|(n, _)| *n)
                        .collect();
                    match numbers.ask_unmap(number, address) {
                        Ok((found, len)) => {
                            prop_assert!(matches.contains(&found));
                            prop_assert_eq!(len, 10);
                            model.get_mut(&found).unwrap().map = Map::Asked;
                        }
                        Err(error) => {
                            prop_assert_eq!(error, EINVAL);
                            prop_assert!(matches.is_empty());
                        }
                    }
                }
            }
            for number in -1..5 {
                let expected = model.get(&number).map(|entry| &entry.buffer);
                prop_assert_eq!(numbers.get(number), expected);
            }
        }
    }
}
