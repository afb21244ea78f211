// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the table of calls.

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
use kernel::prelude::*;

#[kunit_tests(qda_table)]
mod cases {
    use super::*;

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
            let class = match number {
                0 => Class::Static,
                _ if number < RESERVED - RESERVED_RELEASE => Class::Kernel,
                _ => Class::Release,
            };
            submit(&mut table, class, USERS + number)?;
        }
        assert_eq!(table.allocate(Class::Static, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Kernel, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Release, PD), Err(ENOSPC));

        // Slot 1 is free again, but a program may not have it.
        assert_eq!(table.evict(|&number| number == 0), Some(0));
        assert_eq!(table.allocate(Class::User, PD), Err(ENOSPC));
        assert_eq!(table.allocate(Class::Static, PD), Err(ENOSPC));
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
        assert_eq!(table.allocate(Class::Static, PD), Err(EPIPE));
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
