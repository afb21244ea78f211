// SPDX-License-Identifier: GPL-2.0

//! What the slots of banks promise, for any order of leases that come and go.

use crate::slots::{Choice, Slots, Want, PHYSICAL};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Lease(u8, Want),
    /// The DSP process of the nth lease is ending.
    Ending(prop::sample::Index),
    /// The nth lease ends.
    End(prop::sample::Index),
    /// The DSP process of the nth lease never said that it ended.
    Stuck(prop::sample::Index),
}

fn want() -> impl Strategy<Value = Want> {
    prop_oneof![
        4 => Just(Want::Process),
        1 => Just(Want::Visit),
        1 => Just(Want::OwnProcess),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;

    prop_oneof![
        6 => (0u8..6, want()).prop_map(|(client, want)| Op::Lease(client, want)),
        2 => index().prop_map(Op::Ending),
        4 => index().prop_map(Op::End),
        1 => index().prop_map(Op::Stuck),
    ]
}

#[derive(Clone, Copy)]
struct Held {
    slot: usize,
    client: u8,
    want: Want,
    ending: bool,
}

/// Slots with their address spaces, as a device tree may have them.
fn spaces() -> impl Strategy<Value = Vec<usize>> {
    let space = prop_oneof![6 => 0usize..5, 1 => Just(PHYSICAL)];

    prop::collection::vec(space, 1..10)
}

proptest! {
    #[test]
    fn no_slot_has_two_clients_and_what_is_own_is_shared_by_nobody(
        spaces in spaces(), ops in prop::collection::vec(op(), 0..80),
    ) {
        let mut slots = Slots::new();
        for space in &spaces {
            slots.add(*space).unwrap();
        }
        let isolated = |slot: usize| {
            spaces[slot] != PHYSICAL && spaces.iter().filter(|s| **s == spaces[slot]).count() == 1
        };
        let mut held: Vec<Held> = Vec::new();
        let mut stuck = vec![false; spaces.len()];

        for op in ops {
            match op {
                Op::Lease(client, want) => {
                    let in_slot = |slot: usize, held: &[Held]| {
                        held.iter().filter(|h| h.slot == slot).count()
                    };
                    let free: Vec<_> = (0..spaces.len())
                        .filter(|slot| in_slot(*slot, &held) == 0 && !stuck[*slot])
                        .collect();
                    match slots.choose(Some(&client), want) {
                        Choice::Slot(slot) => {
                            let others: Vec<_> = held.iter().filter(|h| h.slot == slot).collect();
                            prop_assert!(!stuck[slot]);
                            prop_assert!(others.iter().all(|h| h.client == client));
                            prop_assert!(others.iter().all(|h| h.want != Want::OwnProcess));
                            prop_assert!(want != Want::OwnProcess || others.is_empty());
                            prop_assert!(want != Want::OwnProcess || isolated(slot));
                            // A second process shares only where nothing is free.
                            let processes = others.iter().filter(|h| h.want != Want::Visit).count();
                            prop_assert!(
                                want != Want::Process || processes == 0 || free.is_empty()
                            );
                            // Shared address spaces are given last.
                            prop_assert!(
                                !others.is_empty()
                                    || isolated(slot)
                                    || !free.iter().any(|slot| isolated(*slot))
                            );
                            slots.take(slot, Some(client), want);
                            held.push(Held { slot, client, want, ending: false });
                        }
                        // Somebody is about to leave a slot, all of it.
                        Choice::Wait => {
                            let leaving = (0..spaces.len()).any(|slot| {
                                let mut here = held.iter().filter(|h| h.slot == slot).peekable();
                                here.peek().is_some() && here.all(|h| h.ending)
                            });
                            prop_assert!(leaving);
                        }
                        Choice::Busy => prop_assert!(
                            want == Want::OwnProcess || free.is_empty()
                        ),
                    }
                }
                Op::Ending(index) if !held.is_empty() => {
                    let index = index.index(held.len());
                    let held = &mut held[index];
                    if !held.ending {
                        held.ending = true;
                        slots.ending(held.slot);
                    }
                }
                Op::Stuck(index) if !held.is_empty() => {
                    let slot = held[index.index(held.len())].slot;
                    stuck[slot] = true;
                    slots.stuck(slot);
                }
                Op::End(index) if !held.is_empty() => {
                    let end = held.remove(index.index(held.len()));
                    let last = !held.iter().any(|h| h.slot == end.slot);
                    let client = slots.give_back(end.slot, end.want, end.ending);
                    prop_assert_eq!(client, last.then_some(end.client));
                }
                _ => {}
            }
            prop_assert_eq!(slots.in_use(), !held.is_empty());
            for one in &held {
                let others = held.iter().filter(|h| h.slot == one.slot).count() > 1;
                prop_assert_eq!(slots.is_shared(one.slot), others || !isolated(one.slot));
            }
        }
    }

    #[test]
    fn strangers_without_identity_share_nothing(count in 1usize..6) {
        let mut slots = Slots::<u8>::new();
        for space in 0..count {
            slots.add(space).unwrap();
        }
        for _ in 0..count {
            let Choice::Slot(slot) = slots.choose(None, Want::Visit) else {
                panic!("a slot is free");
            };
            slots.take(slot, None, Want::Visit);
        }
        prop_assert_eq!(slots.choose(None, Want::Visit), Choice::Busy);
    }
}
