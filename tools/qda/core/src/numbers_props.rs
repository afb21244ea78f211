// SPDX-License-Identifier: GPL-2.0

//! What the numbers of buffers promise, tried beside a model: a list.

use crate::numbers::Numbers;
use kernel::prelude::*;
use proptest::prelude::*;

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
    number: i32,
    buffer: u8,
    lent: u32,
    map: Map,
}

/// The last entry for which `wanted` holds.
fn last(model: &[Model], wanted: impl Fn(&Model) -> bool) -> Option<usize> {
    (0..model.len()).rev().find(|&index| wanted(&model[index]))
}

fn entry(model: &mut Vec<Model>, number: i32, buffer: u8) -> &mut Model {
    let known = last(model, |entry| {
        entry.number == number && entry.buffer == buffer
    });
    let index = known.unwrap_or_else(|| {
        model.push(Model {
            number,
            buffer,
            lent: 0,
            map: Map::No,
        });
        model.len() - 1
    });
    &mut model[index]
}

fn gone(model: &mut Vec<Model>, index: usize) -> Option<u8> {
    if model[index].lent == 0 && model[index].map == Map::No {
        return Some(model.remove(index).buffer);
    }
    None
}

proptest! {
    #[test]
    fn what_is_held_stays_and_what_was_lent_last_comes_back_first(
        ops in prop::collection::vec(op(), 0..100),
    ) {
        let mut numbers = Numbers::new();
        let mut model = Vec::new();

        for op in ops {
            match op {
                Op::Lend(number, buffer) => {
                    prop_assert_eq!(numbers.lend(number, buffer), Ok(()));
                    entry(&mut model, number, buffer).lent += 1;
                }
                Op::TakeBack(number) => {
                    let lent = last(&model, |entry| entry.number == number && entry.lent > 0);
                    let expected = match lent {
                        Some(index) => {
                            model[index].lent -= 1;
                            (true, gone(&mut model, index))
                        }
                        None => (false, None),
                    };
                    prop_assert_eq!(numbers.take_back(number), expected);
                }
                Op::AskMap(number, buffer) => {
                    let taken = model.iter().any(|entry| {
                        entry.number == number
                            && (entry.buffer != buffer || entry.map != Map::No)
                    });
                    let expected = if taken { Err(EEXIST) } else { Ok(()) };
                    prop_assert_eq!(numbers.ask_map(number, buffer), expected);
                    if !taken {
                        entry(&mut model, number, buffer).map = Map::Asked;
                    }
                }
                // The driver says these two only of what it has asked for.
                Op::Mapped(number, address) => {
                    let asked = |entry: &Model| entry.number == number && entry.map == Map::Asked;
                    if let Some(index) = last(&model, asked) {
                        model[index].map = Map::At(address);
                        numbers.mapped(number, address, 10);
                    }
                }
                Op::Unmapped(number) => {
                    let asked = |entry: &Model| entry.number == number && entry.map == Map::Asked;
                    if let Some(index) = last(&model, asked) {
                        model[index].map = Map::No;
                        prop_assert_eq!(numbers.unmapped(number), gone(&mut model, index));
                    }
                }
                Op::AskUnmap(number, address) => {
                    let matches: Vec<_> = (0..model.len())
                        .filter(|&index| {
                            model[index].map == Map::At(address)
                                && number.is_none_or(|number| number == model[index].number)
                        })
                        .collect();
                    match numbers.ask_unmap(number, address) {
                        Ok((found, len)) => {
                            let index = matches
                                .into_iter()
                                .find(|&index| model[index].number == found);
                            prop_assert!(index.is_some());
                            prop_assert_eq!(len, 10);
                            model[index.unwrap()].map = Map::Asked;
                        }
                        Err(error) => {
                            prop_assert_eq!(error, EINVAL);
                            prop_assert!(matches.is_empty());
                        }
                    }
                }
            }
            for number in -1..5 {
                let of = |wanted: &dyn Fn(&Model) -> bool| {
                    let index = last(&model, |entry| entry.number == number && wanted(entry))?;
                    Some(&model[index].buffer)
                };
                prop_assert_eq!(numbers.get(number), of(&|_| true));
                prop_assert_eq!(numbers.lent(number), of(&|entry| entry.lent > 0));
                prop_assert_eq!(numbers.mapping(number), of(&|entry| entry.map != Map::No));
            }
            for buffer in 0..3 {
                let held = model.iter().any(|entry| entry.buffer == buffer);
                prop_assert_eq!(numbers.find_held(|&other| other == buffer).is_some(), held);
            }
        }
    }
}
