// SPDX-License-Identifier: GPL-2.0

//! What the layout of a call promises.

use crate::decode::{self, Entry};
use crate::layout::{Arg, BankPrefix, Layout, MAX_INLINE};
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::ops::Range;

/// Unit of the protocol, here on purpose not the driver's constant.
const PAGE: u64 = 4096;

/// Where the number of a bank may stand in an address, by SoC.
const POSITIONS: [u32; 2] = [32, 56];

/// An argument in place whose pointer and address agree.
fn buffer() -> impl Strategy<Value = Arg> {
    let len = prop_oneof![1u64..100, 4000u64..4200, 1u64..1 << 28];

    (1u64..1 << 35, 1u64..0xe_0000, 0u64..PAGE, len).prop_map(|(pointer, page, low, len)| {
        Arg::Buffer {
            pv: pointer * PAGE + low,
            address: page * PAGE + low,
            len,
        }
    })
}

fn arg() -> impl Strategy<Value = Arg> {
    let len = prop_oneof![1usize..300, 4000usize..4200, 1usize..100_000];

    prop_oneof![
        1 => Just(Arg::Empty),
        4 => len.prop_map(|len| Arg::Inline { len }),
        2 => buffer(),
    ]
}

/// Arguments of one call: mostly few, at times as many as scalars can tell.
fn args() -> impl Strategy<Value = Vec<Arg>> {
    prop_oneof![
        6 => prop::collection::vec(arg(), 0..=12),
        1 => prop::collection::vec(arg(), 0..=255 + 255),
    ]
}

fn bank() -> impl Strategy<Value = (u32, u32)> {
    (1u32..16, prop::sample::select(&POSITIONS[..]))
}

/// Address of a call's memory, in the lower half of a bank of 4 GiB.
fn base() -> impl Strategy<Value = u64> {
    (1u64..1 << 19).prop_map(|page| page * PAGE)
}

/// The memory of a call as it is when the message is sent, without the bytes of its arguments.
fn encoded(args: &[Arg], base: u64, (number, position): (u32, u32)) -> (Layout, Vec<u8>) {
    let layout = Layout::new(args).unwrap();
    let mut words = vec![0; layout.entry_words()];
    let prefix = BankPrefix::new(number, position).unwrap();

    layout.encode(args, base, prefix, &mut words).unwrap();
    let mut memory = bytes_of(&words);
    memory.resize(layout.tables_len(), 0);
    (layout, memory)
}

/// Words as the DSP finds them.
fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn places(layout: &Layout, args: &[Arg]) -> Vec<(usize, Range<usize>)> {
    layout.inline(args).collect()
}

/// A buffer that is passed by number, with a part of it.
fn handle() -> impl Strategy<Value = Arg> {
    let size = 1u64..1 << 16;
    let number = any::<i32>();

    (number, 1u64..0xe_0000, size, any::<u32>(), any::<u32>()).prop_map(
        |(number, page, pages, a, b)| {
            let size = pages * PAGE;
            let offset = u64::from(a) % size;
            Arg::Handle {
                number,
                offset: offset as u32,
                len: (u64::from(b) % (size - offset + 1)) as u32,
                address: page * PAGE,
                size,
            }
        },
    )
}

proptest! {
    #[test]
    fn inline_arguments_overlap_neither_each_other_nor_the_tables(args in args()) {
        let layout = Layout::new(&args).unwrap();
        let mut end = 40 * args.len() + 388;

        prop_assert_eq!(layout.tables_len(), end);
        for (_, place) in layout.inline(&args) {
            prop_assert!(place.start >= end);
            prop_assert_eq!(place.start % 128, 0);
            // No more room is left than alignment asks for.
            prop_assert!(place.start - end < 128);
            end = place.end;
        }
        prop_assert!(end <= layout.size());
    }

    #[test]
    fn every_inline_argument_has_one_place_of_its_length(args in args()) {
        let layout = Layout::new(&args).unwrap();
        let expected: Vec<_> = args.iter().enumerate().filter_map(|(index, arg)| match arg {
            Arg::Inline { len } => Some((index, *len)),
            _ => None,
        }).collect();
        let found: Vec<_> = layout.inline(&args).map(|(i, place)| (i, place.len())).collect();

        prop_assert_eq!(found, expected);
    }

    #[test]
    fn size_is_whole_protocol_pages_and_no_page_more(args in args()) {
        let layout = Layout::new(&args).unwrap();
        let end = places(&layout, &args)
            .last()
            .map_or(layout.tables_len(), |(_, place)| place.end);

        prop_assert_eq!(layout.size() % 4096, 0);
        prop_assert!(layout.size() >= end);
        prop_assert!(layout.size() - end < 4096);
    }

    #[test]
    fn dsp_finds_every_argument_at_its_page_plus_the_low_bits_of_its_pointer(
        args in args(), base in base(), bank in bank(),
    ) {
        let (number, position) = bank;
        let (layout, memory) = encoded(&args, base, bank);
        let mut inline = layout.inline(&args);

        for (arg, entry) in args.iter().zip(decode::entries(&memory, args.len())) {
            let (address, len) = match *arg {
                Arg::Empty => {
                    prop_assert_eq!(entry, Entry::NONE);
                    continue;
                }
                Arg::Inline { len } => (base + inline.next().unwrap().1.start as u64, len as u64),
                Arg::Buffer { address, len, .. } => (address, len),
                Arg::Handle { .. } => unreachable!("handles have a test of their own"),
            };

            prop_assert_eq!(entry.pages, 1);
            prop_assert_eq!(entry.len, len);
            prop_assert_eq!(entry.address(position), address);
            prop_assert_eq!(entry.bank(position), u64::from(number));
            prop_assert_eq!(entry.page_address % PAGE, 0);
        }
    }

    #[test]
    fn handles_have_their_number_and_all_of_their_buffer(
        buffers in args(), handles in prop::collection::vec(handle(), 1..=30),
        base in base(), bank in bank(),
    ) {
        let (number, position) = bank;
        let args: Vec<Arg> = buffers.iter().chain(&handles).copied().collect();
        let (_, memory) = encoded(&args, base, bank);
        let entries = decode::entries(&memory, args.len());

        for (arg, entry) in args.iter().zip(entries).skip(buffers.len()) {
            let Arg::Handle { number: of_buffer, offset, len, address, size } = *arg else {
                unreachable!();
            };
            // {s32 number, u32 offset, u32 length, u32 0}
            prop_assert_eq!(entry.pv as i32, of_buffer);
            prop_assert_eq!((entry.pv >> 32) as u32, offset);
            prop_assert_eq!(entry.len, u64::from(len));
            prop_assert_eq!(entry.pages, u32::from(len != 0));
            if len != 0 {
                prop_assert_eq!(entry.page_address, u64::from(number) << position | address);
                prop_assert_eq!(entry.page_size, size);
            }
        }
    }

    #[test]
    fn page_entries_cover_their_arguments_exactly(
        args in args(), base in base(), bank in bank(),
    ) {
        let (_, memory) = encoded(&args, base, bank);

        for entry in decode::entries(&memory, args.len()) {
            let end = (entry.pv & 0xfff) + entry.len;

            prop_assert_eq!(entry.page_size % PAGE, 0);
            prop_assert!(entry.page_size >= end);
            prop_assert!(entry.len == 0 || entry.page_size - end < PAGE);
        }
    }

    #[test]
    fn every_argument_uses_the_page_entry_of_its_own_index(
        args in args(), base in base(), bank in bank(),
    ) {
        let (_, memory) = encoded(&args, base, bank);

        for (index, entry) in decode::entries(&memory, args.len()).iter().enumerate() {
            let expected = if entry.len == 0 { 0 } else { index };
            prop_assert_eq!(entry.page_index as usize, expected);
        }
    }

    #[test]
    fn pointer_is_0_exactly_if_there_are_no_bytes(
        args in args(), base in base(), bank in bank(),
    ) {
        let (_, memory) = encoded(&args, base, bank);

        for (arg, entry) in args.iter().zip(decode::entries(&memory, args.len())) {
            prop_assert_eq!(entry.pv == 0, *arg == Arg::Empty);
            prop_assert_eq!(entry.len == 0, *arg == Arg::Empty);
        }
    }

    #[test]
    fn pointers_of_inline_arguments_are_their_own_addresses_without_bank(
        args in args(), base in base(), bank in bank(),
    ) {
        let (layout, memory) = encoded(&args, base, bank);
        let entries = decode::entries(&memory, args.len());
        let mut seen = HashSet::new();

        for (index, place) in layout.inline(&args) {
            prop_assert_eq!(entries[index].pv, base + place.start as u64);
            prop_assert!(seen.insert(entries[index].pv));
        }
    }

    #[test]
    fn pointers_of_buffers_are_passed_on_unchanged(
        args in args(), base in base(), bank in bank(),
    ) {
        let (_, memory) = encoded(&args, base, bank);

        for (arg, entry) in args.iter().zip(decode::entries(&memory, args.len())) {
            if let Arg::Buffer { pv, .. } = arg {
                prop_assert_eq!(entry.pv, *pv);
            }
        }
    }

    #[test]
    fn what_the_dsp_writes_to_lies_behind_the_tables(args in args()) {
        let layout = Layout::new(&args).unwrap();
        let start = 40 * args.len();

        prop_assert_eq!(8 * layout.entry_words(), start);
        prop_assert_eq!(layout.trailer(), start..start + 388);
        prop_assert_eq!(layout.fdlist(), start..start + 128);
        prop_assert_eq!(layout.poll_word(), start + 384..start + 388);
    }

    #[test]
    fn nothing_behind_the_tables_is_written(
        args in args(), base in base(), bank in bank(), fill: u64, extra in 0usize..60,
    ) {
        let (layout, expected) = encoded(&args, base, bank);
        let prefix = BankPrefix::new(bank.0, bank.1).unwrap();
        let mut words = vec![0; layout.entry_words()];
        words.resize(layout.entry_words() + extra, fill);

        layout.encode(&args, base, prefix, &mut words).unwrap();

        let (tables, behind) = words.split_at(layout.entry_words());
        prop_assert_eq!(&bytes_of(tables)[..], &expected[..layout.trailer().start]);
        prop_assert!(behind.iter().all(|&word| word == fill));
    }

    #[test]
    fn buffer_whose_low_bits_disagree_is_refused(
        mut args in args(), bad in buffer(), at: prop::sample::Index, base in base(),
        bank in bank(), by in 1u64..PAGE,
    ) {
        let Arg::Buffer { pv, address, len } = bad else { unreachable!() };
        let low = (address + by) % PAGE;
        let at = at.index(args.len() + 1);
        args.insert(at, Arg::Buffer { pv: pv - pv % PAGE + low, address, len });

        let layout = Layout::new(&args).unwrap();
        let prefix = BankPrefix::new(bank.0, bank.1).unwrap();
        let mut words = vec![0; layout.entry_words()];

        prop_assert_eq!(layout.encode(&args, base, prefix, &mut words), Err(EINVAL));
    }

    #[test]
    fn buffer_with_pointer_0_is_refused(
        mut args in args(), page in 1u64..1 << 19, len in 1u64..1 << 20, base in base(),
        bank in bank(),
    ) {
        args.push(Arg::Buffer { pv: 0, address: page * PAGE, len });

        let layout = Layout::new(&args).unwrap();
        let prefix = BankPrefix::new(bank.0, bank.1).unwrap();
        let mut words = vec![0; layout.entry_words()];

        prop_assert_eq!(layout.encode(&args, base, prefix, &mut words), Err(EINVAL));
    }

    #[test]
    fn memory_at_0_or_within_a_page_is_refused(args in args(), base in base(), low in 1u64..PAGE) {
        let layout = Layout::new(&args).unwrap();
        let prefix = BankPrefix::new(1, 32).unwrap();
        let mut words = vec![0; layout.entry_words()];

        prop_assert_eq!(layout.encode(&args, base + low, prefix, &mut words), Err(EINVAL));
        prop_assert_eq!(layout.encode(&args, 0, prefix, &mut words), Err(EINVAL));
    }

    #[test]
    fn room_that_is_too_small_is_refused(
        args in args(), base in base(), part: prop::sample::Index,
    ) {
        prop_assume!(!args.is_empty());
        let layout = Layout::new(&args).unwrap();
        let prefix = BankPrefix::new(1, 32).unwrap();
        let mut words = vec![0; part.index(layout.entry_words())];

        prop_assert_eq!(layout.encode(&args, base, prefix, &mut words), Err(EINVAL));
    }

    /// Alignment does not count, so that the limit does not depend on how the bytes are split.
    #[test]
    fn inline_data_above_64_mib_is_refused_however_split(
        cuts in prop::collection::btree_set(1usize..64 << 20, 0..20), more in 1usize..1 << 20,
        at: prop::sample::Index,
    ) {
        let mut args = Vec::new();
        let mut last = 0;
        for cut in cuts.into_iter().chain([64 << 20]) {
            args.push(Arg::Inline { len: cut - last });
            last = cut;
        }
        prop_assert!(Layout::new(&args).is_ok());

        args.insert(at.index(args.len() + 1), Arg::Inline { len: more });
        prop_assert_eq!(Layout::new(&args), Err(E2BIG));
    }

    #[test]
    fn lengths_whose_sum_wraps_are_refused(mut args in args(), less in 0usize..1000) {
        args.push(Arg::Inline { len: usize::MAX - less });
        args.push(Arg::Inline { len: usize::MAX - less });

        prop_assert_eq!(Layout::new(&args), Err(E2BIG));
    }

    /// Buffers are not copied: no limit applies to them.
    #[test]
    fn buffers_of_any_size_take_no_room(count in 0usize..=510, len in 1u64..=u64::MAX) {
        let args = vec![Arg::Buffer { pv: PAGE, address: PAGE, len }; count];
        let layout = Layout::new(&args).unwrap();

        prop_assert_eq!(layout.size(), (40 * count + 388).next_multiple_of(4096));
    }

    #[test]
    fn prefix_is_the_number_at_its_position(
        number: u32, position in 0u32..80, address in 0u64..1 << 32,
    ) {
        let fits = position < 64
            && u128::from(number) << position <= u128::from(u64::MAX);

        match BankPrefix::new(number, position) {
            Ok(prefix) => {
                prop_assert!(fits);
                prop_assert_eq!(prefix.apply(0).map(|a| a >> position), Ok(u64::from(number)));
                if address >> position == 0 {
                    let applied = prefix.apply(address).unwrap();
                    prop_assert_eq!(applied >> position, u64::from(number));
                    prop_assert_eq!(applied & ((1 << position) - 1), address);
                } else {
                    prop_assert_eq!(prefix.apply(address), Err(EINVAL));
                }
            }
            Err(error) => {
                prop_assert!(!fits);
                prop_assert_eq!(error, EINVAL);
            }
        }
    }
}

#[test]
fn limit_of_inline_data_is_64_mib() {
    let inline = |len| Layout::new(&[Arg::Inline { len }]);

    assert_eq!(MAX_INLINE, 67_108_864);
    assert!(inline(67_108_864).is_ok());
    assert_eq!(inline(67_108_865), Err(E2BIG));
}

/// hexagonrpcd opening a file: two in-buffers, two out-buffers.
#[test]
fn worked_example_of_four_arguments() {
    let args = [8, 22, 8, 256].map(|len| Arg::Inline { len });
    let (layout, memory) = encoded(&args, 0x8000_0000, (3, 32));
    let starts: Vec<_> = layout.inline(&args).map(|(_, place)| place.start).collect();

    assert_eq!(layout.tables_len(), 548);
    assert_eq!(layout.fdlist(), 160..288);
    assert_eq!(starts, [640, 768, 896, 1024]);
    assert_eq!(layout.size(), 4096);
    for (i, len) in [8u64, 22, 8, 256].into_iter().enumerate() {
        assert_eq!(
            memory[16 * i..][..8],
            (0x8000_0280 + 128 * i as u64).to_le_bytes()
        );
        assert_eq!(memory[16 * i + 8..][..8], len.to_le_bytes());
        assert_eq!(memory[64 + 8 * i..][..4], 1u32.to_le_bytes());
        assert_eq!(memory[64 + 8 * i + 4..][..4], (i as u32).to_le_bytes());
        assert_eq!(memory[96 + 16 * i..][..8], 0x3_8000_0000u64.to_le_bytes());
        assert_eq!(memory[96 + 16 * i + 8..][..8], 4096u64.to_le_bytes());
    }
}

/// Attaching to the root process: one in-buffer of four bytes.
#[test]
fn worked_example_of_one_argument() {
    let args = [Arg::Inline { len: 4 }];
    let layout = Layout::new(&args).unwrap();

    assert_eq!(places(&layout, &args), [(0, 512..516)]);
    assert_eq!(layout.size(), 4096);
}

#[test]
fn sizes_of_tables_are_the_protocols() {
    for (n, len) in [(0, 388), (1, 428), (2, 468), (4, 548), (6, 628)] {
        assert_eq!(Layout::new(&vec![Arg::Empty; n]).unwrap().tables_len(), len);
    }
}
