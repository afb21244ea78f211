// SPDX-License-Identifier: GPL-2.0

//! Streams and their address spaces beside sets of ids.

use crate::streams::{place, Place, Stream};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Bits of an id, here.
const BITS: u32 = 5;

/// Few ids, so that many have some in common.
fn stream() -> impl Strategy<Value = Stream> {
    let mask = prop_oneof![3 => Just(0), 1 => 0..1u64 << BITS];

    (0usize..2, 0..1u64 << BITS, mask).prop_map(|(iommu, id, mask)| Stream { iommu, id, mask })
}

fn streams() -> impl Strategy<Value = Vec<Stream>> {
    prop::collection::vec(stream(), 0..4)
}

/// The ids that a stream stands for, one by one.
fn ids(stream: &Stream) -> BTreeSet<(usize, u64)> {
    (0..1u64 << BITS)
        .filter(|id| (id ^ stream.id) & !stream.mask == 0)
        .map(|id| (stream.iommu, id))
        .collect()
}

fn all_ids(streams: &[Stream]) -> BTreeSet<(usize, u64)> {
    streams.iter().flat_map(ids).collect()
}

/// What a device tree's banks come to: each gets a space of its own, shares one, or is left out.
fn spaces(banks: &[Vec<Stream>]) -> Vec<Vec<Stream>> {
    let mut spaces: Vec<Vec<Stream>> = Vec::new();

    for bank in banks {
        if place(bank, spaces.iter().map(Vec::as_slice)) == Place::New {
            spaces.push(bank.clone());
        }
    }
    spaces
}

proptest! {
    #[test]
    fn pairs_are_as_their_ids(one in stream(), other in stream()) {
        prop_assert_eq!(one.overlaps(&other), !ids(&one).is_disjoint(&ids(&other)));
        prop_assert_eq!(one.covers(&other), ids(&one).is_superset(&ids(&other)));
    }

    #[test]
    fn no_stream_leads_to_two_spaces(banks in prop::collection::vec(streams(), 0..6)) {
        let spaces = spaces(&banks);

        for (index, space) in spaces.iter().enumerate() {
            for other in &spaces[..index] {
                prop_assert!(all_ids(space).is_disjoint(&all_ids(other)));
            }
        }
    }

    #[test]
    fn a_bank_is_given_only_what_all_its_streams_lead_to(
        banks in prop::collection::vec(streams(), 0..6), bank in streams(),
    ) {
        let spaces = spaces(&banks);
        let ours = all_ids(&bank);
        let overlapping: Vec<_> = (0..spaces.len())
            .filter(|index| !ours.is_disjoint(&all_ids(&spaces[*index])))
            .collect();

        match place(&bank, spaces.iter().map(Vec::as_slice)) {
            Place::New => prop_assert!(overlapping.is_empty()),
            Place::Known(index) => {
                prop_assert_eq!(overlapping, [index]);
                prop_assert!(all_ids(&spaces[index]).is_superset(&ours));
            }
            Place::Split(index) => {
                prop_assert!(overlapping.contains(&index));
                // A stream may be covered by several entries together: no device tree has that.
                prop_assert!(
                    overlapping.len() > 1
                        || !bank.iter().all(|s| spaces[index].iter().any(|k| k.covers(s)))
                );
            }
        }
    }

    #[test]
    fn the_same_streams_share(bank in prop::collection::vec(stream(), 1..4)) {
        let spaces = [bank.as_slice()];

        prop_assert_eq!(place(&bank, spaces.into_iter()), Place::Known(0));
    }
}
