// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of messages, replies and notices, as they go over the wire.

use crate::proto::{
    status_to_value,
    Context,
    Message,
    ProtectionDomain,
    Reply,
    Scalars, //
};
use kernel::prelude::*;

#[kunit_tests(qda_proto)]
mod cases {
    use super::*;

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
    fn restart_codes_are_refused() {
        for status in [i32::MIN, -531, -511, -110, -1, 0, 1, 0x4e, i32::MAX] {
            assert_eq!(status_to_value(status), Ok(status));
        }
        for status in -530..=-512 {
            assert_eq!(status_to_value(status), Err(EREMOTEIO));
        }
    }
}
