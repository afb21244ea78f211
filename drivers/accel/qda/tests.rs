// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what needs no device: the names of DSPs, the wire format, the layout of a call,
//! the table of calls, the states of a session and of the heap of static processes and, in
//! [`calls`], [`polling`], [`closing`] and [`submissions`], the call engine.
//!
//! Fixed vectors, taken from the protocol. The same files are tried on random input on the host,
//! by `tools/qda/core`.

mod bench;
mod calls;
mod closing;
mod heap;
mod polling;
mod state;
mod submissions;

use kernel::prelude::*;

#[kunit_tests(qda_domain)]
mod domain {
    use super::*;
    use crate::domain::{
        Domain,
        Domains, //
    };

    #[test]
    fn a_name_begins_with_its_sort() {
        assert_eq!(Domain::of(b"cdsp"), Ok(Domain::Cdsp));
        assert_eq!(Domain::of(b"gdsp0"), Ok(Domain::Gdsp));
        assert_eq!(Domain::of(b"dsp"), Err(EINVAL));
        assert_eq!(Domain::of(b""), Err(EINVAL));
    }

    #[test]
    fn nobody_has_said_who_has_them() {
        assert_eq!(Domains(-1).have(b"cdsp"), None);
        assert_eq!(Domains(i32::MIN).have(b"what"), None);
    }

    #[test]
    fn each_has_a_bit() {
        let of_bits = [
            (0x1, &b"adsp"[..]),
            (0x2, b"mdsp"),
            (0x4, b"sdsp"),
            (0x8, b"cdsp"),
            (0x10, b"gdsp"),
            (0x10, b"gdsp0"),
            (0x800, b"cdsp1"),
            (0x1000, b"gdsp1"),
            (0x0800_0000, b"cdsp3"),
        ];

        for (bit, name) in of_bits {
            assert_eq!(Domains(bit).have(name), Some(true));
            assert_eq!(Domains(i32::MAX ^ bit).have(name), Some(false));
        }
    }

    #[test]
    fn others_have_none() {
        for name in [&b"cdsp4"[..], b"cdsp10", b"cdsp-x", b"dsp", b""] {
            assert_eq!(Domains(i32::MAX).have(name), Some(false));
        }
    }
}

#[kunit_tests(qda_proto)]
mod proto {
    use super::*;
    use crate::{
        exits::Exits,
        proto::{
            status_to_value,
            Context,
            Message,
            ProtectionDomain,
            Reply,
            Scalars, //
        }, //
    };

    #[test]
    fn scalars_of_kernel_calls_are_the_published_ones() {
        assert_eq!(Scalars::new(0, 1, 0).0, 0x0001_0000);
        assert_eq!(Scalars::new(1, 1, 0).0, 0x0101_0000);
        assert_eq!(Scalars::new(4, 2, 1).0, 0x0402_0100);
        assert_eq!(Scalars::new(7, 4, 0).0, 0x0704_0000);
        assert_eq!(Scalars::new(8, 3, 0).0, 0x0803_0000);
        assert_eq!(Scalars::new(0, 1, 1).0, 0x0001_0100);
        assert_eq!(Scalars::new(10, 3, 1).0, 0x0a03_0100);
    }

    #[test]
    fn scalars_count_arguments() {
        let all = Scalars(0xffff_ffff);
        let some = Scalars(0xe502_0334);

        assert_eq!(all.in_bufs(), 255);
        assert_eq!(all.out_bufs(), 255);
        assert_eq!(all.buffers(), 510);
        assert_eq!(all.handles(), 30);
        assert_eq!(some.in_bufs(), 2);
        assert_eq!(some.out_bufs(), 3);
        assert_eq!(some.handles(), 7);
    }

    #[test]
    fn context_has_sequence_slot_and_domain() {
        let context = Context::new(0x1234_5678_9abc, 0xde, ProtectionDomain::User);

        assert_eq!(context.0, 0x1234_5678_9abc_de01);
        assert_eq!(context.slot(), 0xde);
        assert_eq!(Context::new(1, 255, ProtectionDomain::Root).0, 0x1_ff00);
        assert_eq!(Context::new(2, 1, ProtectionDomain::Sensors).0, 0x2_0102);
    }

    #[test]
    fn message_is_40_bytes_little_endian() {
        let bytes = Message {
            client_id: 0x0403_0201,
            tid: 0x0807_0605,
            context: 0x100f_0e0d_0c0b_0a09,
            handle: 0x1413_1211,
            scalars: 0x1817_1615,
            address: 0x201f_1e1d_1c1b_1a19,
            size: 0x2827_2625_2423_2221,
        }
        .to_bytes();

        assert_eq!(bytes.len(), 40);
        for (byte, expected) in bytes.into_iter().zip(1u8..) {
            assert_eq!(byte, expected);
        }
    }

    #[test]
    fn reply_needs_16_bytes() {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&0x1_0201u64.to_le_bytes());
        bytes[8..12].copy_from_slice(&(-5i32).to_le_bytes());
        bytes[12..].fill(0xee);

        for len in 0..=bytes.len() {
            let expected = match len {
                8 => Reply::Signal,
                0..=15 => Reply::Short,
                _ => Reply::Done {
                    context: 0x1_0201,
                    status: -5,
                },
            };
            assert_eq!(Reply::parse(&bytes[..len]), expected);
        }
    }

    #[test]
    fn end_of_a_protection_domain_is_no_answer() {
        let mut bytes = [0u8; 16];

        bytes[..8].copy_from_slice(&0xabcd_abcdu64.to_le_bytes());
        assert_eq!(Reply::parse(&bytes), Reply::PdExit { client_id: None });
        bytes[4] = 1;
        assert!(matches!(Reply::parse(&bytes), Reply::Done { .. }));
    }

    #[test]
    fn end_of_a_protection_domain_may_name_its_process() {
        let notice = |kind: u32, id: u32, state: u32, len: usize| {
            let mut bytes = [0u8; 28];

            bytes[..8].copy_from_slice(&0xabcd_abcdu64.to_le_bytes());
            bytes[8..12].copy_from_slice(&kind.to_le_bytes());
            bytes[12..16].copy_from_slice(&id.to_le_bytes());
            bytes[16..20].copy_from_slice(&state.to_le_bytes());
            Reply::parse(&bytes[..len])
        };
        let ended = |client_id| Reply::PdExit { client_id };

        for len in [20, 24, 28] {
            for state in 1..=3 {
                assert_eq!(notice(4, 7, state, len), ended(Some(7)));
                assert_eq!(notice(4, 0x7fff_ffff, state, len), ended(Some(i32::MAX)));
                assert_eq!(notice(4, 0, state, len), ended(None));
                assert_eq!(notice(4, 0x8000_0000, state, len), ended(None));
            }
            for state in [0, 4, u32::MAX] {
                assert_eq!(notice(4, 7, state, len), Reply::PdState);
            }
            assert_eq!(notice(0, 7, 1, len), ended(None));
        }
        // What is cut off is not there.
        for len in 16..20 {
            assert_eq!(notice(4, 7, 1, len), ended(None));
        }
    }

    #[test]
    fn notices_wait_once_each() {
        let mut exits = Exits::new();

        assert!(!exits.note(None));
        assert_eq!(exits.take(), None);
        for id in 1..=64 {
            assert!(exits.note(Some(id)));
            assert!(!exits.note(Some(id)));
        }
        assert!(!exits.note(Some(65)));
        assert_eq!(exits.total(), 130);

        let mut sum = 0;
        while let Some(id) = exits.take() {
            sum += id;
        }
        assert_eq!(sum, 64 * 65 / 2);
        assert!(exits.note(Some(65)));
        assert_eq!(exits.take(), Some(65));
    }

    #[test]
    fn restart_codes_are_refused() {
        for status in [i32::MIN, -531, -511, -110, -1, 0, 1, 0x4e, i32::MAX] {
            assert_eq!(status_to_value(status), Ok(status));
        }
        for status in -530..=-512 {
            assert_eq!(status_to_value(status), Err(EREMOTEIO));
        }
    }
}

#[kunit_tests(qda_layout)]
mod layout {
    use super::*;
    use crate::layout::{
        Arg,
        BankPrefix,
        Layout,
        MAX_INLINE, //
    };

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    /// The tables of a call in bank 3, whose number starts at bit 32.
    fn encode(args: &[Arg], base: u64) -> Result<KVec<u8>> {
        let layout = Layout::new(args)?;
        let mut tables = KVec::from_elem(0u64, layout.entry_words(), GFP_KERNEL)?;
        let mut bytes = KVec::new();

        layout.encode(args, base, BankPrefix::new(3, 32)?, &mut tables)?;
        bytes.extend_from_slice(tables.as_bytes(), GFP_KERNEL)?;
        Ok(bytes)
    }

    /// hexagonrpcd opening a file.
    #[test]
    fn four_inline_arguments() -> Result {
        let args = [8, 22, 8, 256].map(|len| Arg::Inline { len });
        let layout = Layout::new(&args)?;
        let tables = encode(&args, 0x8000_0000)?;

        assert_eq!(layout.tables_len(), 548);
        assert_eq!(layout.fdlist(), 160..288);
        assert_eq!(layout.poll_word(), 544..548);
        assert_eq!(layout.size(), 4096);
        for (index, place) in layout.inline(&args) {
            let start = [640, 768, 896, 1024][index];
            let len = [8, 22, 8, 256][index];

            assert_eq!(place, start..start + len);
            assert_eq!(u64_at(&tables, 16 * index), 0x8000_0000 + start as u64);
            assert_eq!(u64_at(&tables, 16 * index + 8), len as u64);
            assert_eq!(u32_at(&tables, 64 + 8 * index), 1);
            assert_eq!(u32_at(&tables, 64 + 8 * index + 4), index as u32);
            assert_eq!(u64_at(&tables, 96 + 16 * index), 0x3_8000_0000);
            assert_eq!(u64_at(&tables, 96 + 16 * index + 8), 4096);
        }
        assert_eq!(layout.trailer(), 160..548);
        Ok(())
    }

    #[test]
    fn no_arguments() -> Result {
        let layout = Layout::new(&[])?;

        assert_eq!(layout.tables_len(), 388);
        assert_eq!(layout.size(), 4096);
        assert_eq!(layout.fdlist(), 0..128);
        assert_eq!(layout.poll_word(), 384..388);
        Ok(())
    }

    /// Whatever the kernel's page size is: the protocol's is 4096 bytes.
    #[test]
    fn size_is_in_units_of_4096() -> Result {
        // One argument begins at 512.
        for (len, size) in [(3584, 4096), (3585, 8192), (7680, 8192), (7681, 12288)] {
            assert_eq!(Layout::new(&[Arg::Inline { len }])?.size(), size);
        }
        Ok(())
    }

    /// An inline argument that begins in another page than the tables.
    #[test]
    fn page_of_an_inline_argument_is_its_own() -> Result {
        let args = [Arg::Inline { len: 4000 }, Arg::Inline { len: 5000 }];
        let tables = encode(&args, 0x1_0000)?;

        // The second begins at 512 + 4000, rounded up to 4608, and ends at 9608.
        assert_eq!(u64_at(&tables, 16), 0x1_1200);
        assert_eq!(u64_at(&tables, 48 + 16), 0x3_0001_1000);
        assert_eq!(u64_at(&tables, 48 + 24), 8192);
        Ok(())
    }

    #[test]
    fn argument_without_bytes_has_no_entries() -> Result {
        let tables = encode(&[Arg::Empty, Arg::Inline { len: 1 }], 0x1000)?;

        assert_eq!(u64_at(&tables, 0), 0);
        assert_eq!(u64_at(&tables, 8), 0);
        assert_eq!(u64_at(&tables, 32), 0);
        assert_eq!(u64_at(&tables, 48), 0);
        assert_eq!(u64_at(&tables, 56), 0);
        // The other one uses the entry of its own index.
        assert_eq!(u64_at(&tables, 40), 1 << 32 | 1);
        assert_eq!(u64_at(&tables, 64), 0x3_0000_1000);
        Ok(())
    }

    #[test]
    fn buffer_is_told_by_its_page_and_the_users_pointer() -> Result {
        let args = [Arg::Buffer {
            pv: 0xffff_8765_4abc,
            address: 0x4000_5abc,
            len: 0x1545,
        }];
        let tables = encode(&args, 0x1000)?;

        assert_eq!(u64_at(&tables, 0), 0xffff_8765_4abc);
        assert_eq!(u64_at(&tables, 8), 0x1545);
        assert_eq!(u64_at(&tables, 24), 0x3_4000_5000);
        // One byte past the second page.
        assert_eq!(u64_at(&tables, 32), 0x3000);
        assert_eq!(Layout::new(&args)?.size(), 4096);
        Ok(())
    }

    #[test]
    fn ambiguous_buffers_are_refused() {
        let buffer = |pv, address| Arg::Buffer {
            pv,
            address,
            len: 1,
        };

        assert!(encode(&[buffer(0x7001, 0x5001)], 0x1000).is_ok());
        assert_eq!(
            encode(&[buffer(0x7001, 0x5000)], 0x1000).err(),
            Some(EINVAL)
        );
        assert_eq!(
            encode(&[buffer(0x7001, 0x5801)], 0x1000).err(),
            Some(EINVAL)
        );
        assert_eq!(encode(&[buffer(0, 0x5000)], 0x1000).err(), Some(EINVAL));
    }

    #[test]
    fn memory_must_be_a_page_that_is_not_0() {
        assert_eq!(encode(&[], 0).err(), Some(EINVAL));
        assert_eq!(encode(&[], 0x1800).err(), Some(EINVAL));
        assert!(encode(&[], 0x1000).is_ok());
    }

    #[test]
    fn room_for_the_tables_is_checked() -> Result {
        let args = [Arg::Inline { len: 1 }];
        let layout = Layout::new(&args)?;
        let mut tables = KVec::from_elem(0u64, layout.entry_words() - 1, GFP_KERNEL)?;

        assert_eq!(
            layout.encode(&args, 0x1000, BankPrefix::new(3, 32)?, &mut tables),
            Err(EINVAL)
        );
        Ok(())
    }

    #[test]
    fn inline_data_is_limited_to_64_mib() {
        let half = Arg::Inline {
            len: MAX_INLINE / 2,
        };

        assert_eq!(MAX_INLINE, 64 << 20);
        assert!(Layout::new(&[half, half]).is_ok());
        assert_eq!(
            Layout::new(&[half, Arg::Inline { len: 1 }, half]).err(),
            Some(E2BIG)
        );
        assert_eq!(
            Layout::new(&[half, Arg::Inline { len: usize::MAX }]).err(),
            Some(E2BIG)
        );
    }

    #[test]
    fn prefix_is_above_the_address() -> Result {
        assert_eq!(BankPrefix::new(5, 32)?.apply(0x1234_5000)?, 0x5_1234_5000);
        assert_eq!(
            BankPrefix::new(5, 56)?.apply(0x3_1234_5000)?,
            0x0500_0003_1234_5000
        );
        assert_eq!(BankPrefix::new(0, 32)?.apply(0x1000)?, 0x1000);
        assert_eq!(BankPrefix::new(5, 32)?.apply(1 << 32), Err(EINVAL));
        assert_eq!(BankPrefix::new(256, 56).err(), Some(EINVAL));
        assert_eq!(BankPrefix::new(1, 64).err(), Some(EINVAL));
        Ok(())
    }
}

#[kunit_tests(qda_table)]
mod table {
    use super::*;
    use crate::{
        proto::{
            Context,
            ProtectionDomain, //
        },
        table::{
            Answer,
            CallTable,
            Class,
            Phase,
            RESERVED,
            RESERVED_RELEASE,
            SLOTS, //
        },
    };

    const PD: ProtectionDomain = ProtectionDomain::User;
    const USERS: usize = SLOTS - 1 - RESERVED;

    fn submit<T>(table: &mut CallTable<T>, class: Class, call: T) -> Result<Context> {
        let context = table.allocate(class, PD)?;

        table.insert(context, call);
        Ok(context)
    }

    #[test]
    fn slots_are_given_in_turn_and_never_0() -> Result {
        let mut table = CallTable::new()?;

        for round in 0..2 {
            for slot in 1..SLOTS {
                let context = submit(&mut table, Class::User, slot)?;
                let sequence = (round * (SLOTS - 1) + slot) as u64;

                assert_eq!(context, Context::new(sequence, slot as u8, PD));
                assert_eq!(table.take(context), Some(slot));
            }
        }
        Ok(())
    }

    #[test]
    fn whole_context_is_compared() -> Result {
        let mut table = CallTable::new()?;
        let context = submit(&mut table, Class::User, ())?;

        for bit in 0..64 {
            assert_eq!(table.answer(context.0 ^ 1 << bit), Answer::Unknown);
            assert_eq!(table.take(Context(context.0 ^ 1 << bit)), None);
        }
        assert_eq!(table.answer(context.0), Answer::Waiting(&()));
        Ok(())
    }

    #[test]
    fn call_is_answered_once() -> Result {
        let mut table = CallTable::new()?;
        let context = submit(&mut table, Class::User, 7)?;

        assert_eq!(table.answer(context.0), Answer::Waiting(&7));
        assert_eq!(table.answer(context.0), Answer::Unknown);
        assert_eq!(table.take(context), Some(7));
        assert_eq!(table.take(context), None);
        assert_eq!(table.answer(context.0), Answer::Unknown);
        Ok(())
    }

    #[test]
    fn abandoned_call_is_reaped_when_answered() -> Result {
        let mut table = CallTable::new()?;
        let context = submit(&mut table, Class::User, 7)?;

        assert_eq!(table.abandon(context), None);
        assert_eq!(table.reap(), None);
        assert_eq!(table.answer(context.0), Answer::Abandoned(&7));
        assert_eq!(table.reap(), Some(7));
        assert_eq!(table.reap(), None);
        Ok(())
    }

    #[test]
    fn answered_call_is_given_back_when_abandoned() -> Result {
        let mut table = CallTable::new()?;
        let context = submit(&mut table, Class::User, 7)?;

        assert_eq!(table.answer(context.0), Answer::Waiting(&7));
        assert_eq!(table.abandon(context), Some(7));
        assert_eq!(table.reap(), None);
        Ok(())
    }

    #[test]
    fn last_slots_are_the_kernels() -> Result {
        let mut table = CallTable::new()?;

        for number in 0..USERS {
            submit(&mut table, Class::User, number)?;
        }
        assert_eq!(table.allocate(Class::User, PD), Err(ENOSPC));
        for number in 0..RESERVED {
            let class = if number < RESERVED - RESERVED_RELEASE {
                Class::Kernel
            } else {
                Class::Release
            };
            submit(&mut table, class, USERS + number)?;
        }
        assert_eq!(table.allocate(Class::Kernel, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Release, PD), Err(ENOSPC));

        // Slot 1 is free again, but a program may not have it.
        assert_eq!(table.evict(|&number| number == 0), Some(0));
        assert_eq!(table.allocate(Class::User, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Kernel, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Release, PD)?.slot(), 1);
        Ok(())
    }

    #[test]
    fn closing_is_for_good() -> Result {
        let mut table = CallTable::<()>::new()?;

        table.advance(Phase::Closing);
        table.advance(Phase::Open);
        assert_eq!(table.allocate(Class::User, PD), Err(EPIPE));
        assert_eq!(table.allocate(Class::Kernel, PD), Err(EPIPE));
        assert!(table.allocate(Class::Release, PD).is_ok());
        table.advance(Phase::Closed);
        table.advance(Phase::Closing);
        assert_eq!(table.allocate(Class::Release, PD), Err(EPIPE));
        Ok(())
    }

    #[test]
    fn eviction_takes_what_is_asked_for() -> Result {
        let mut table = CallTable::new()?;

        for number in 0..10 {
            submit(&mut table, Class::User, number)?;
        }
        for expected in [1, 3, 5, 7, 9] {
            assert_eq!(table.evict(|number| number % 2 == 1), Some(expected));
        }
        assert_eq!(table.evict(|number| number % 2 == 1), None);
        assert_eq!(table.evict(|_| true), Some(0));
        Ok(())
    }
}

#[kunit_tests(qda_pages)]
mod pages {
    use crate::pages::{
        bits,
        find,
        unused,
        MAX_PAGES, //
    };

    #[test]
    fn the_first_run_that_fits_is_taken() {
        assert_eq!(find(unused(8), 8), Some(0..8));
        assert_eq!(find(unused(8), 9), None);
        assert_eq!(find(0b1011, 1), Some(2..3));
        assert_eq!(find(0b1011, 2), Some(4..6));
        assert_eq!(find(u64::MAX >> 1, 1), Some(63..64));
        assert_eq!(find(0, MAX_PAGES), Some(0..MAX_PAGES));
        assert_eq!(find(0, 0), None);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut used = unused(8);
        let first = find(used, 3);
        let Some(first) = first else {
            panic!("no pages")
        };
        used += bits(&first);
        let Some(second) = find(used, 5) else {
            panic!("no pages")
        };
        used += bits(&second);

        assert_eq!(second, 3..8);
        assert_eq!(find(used, 1), None);
        used -= bits(&first);
        assert_eq!(find(used, 3), Some(0..3));
        assert_eq!(find(used, 4), None);
    }
}
