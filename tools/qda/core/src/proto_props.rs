// SPDX-License-Identifier: GPL-2.0

//! What the wire format promises.

use crate::proto::{
    status_to_value, Context, Message, ProtectionDomain, Reply, Scalars, CONTEXT_PD_EXIT,
    DSP_PAGE_SIZE, FDLIST_LEN, HANDLE_KERNEL, HANDLE_UTILITIES, LAST_STATIC_HANDLE, POLL_DONE,
    STATUS_UNSUPPORTED,
};
use kernel::prelude::*;
use proptest::prelude::*;

fn pd() -> impl Strategy<Value = ProtectionDomain> {
    prop_oneof![
        Just(ProtectionDomain::Root),
        Just(ProtectionDomain::User),
        Just(ProtectionDomain::Sensors),
    ]
}

/// A message of `len` bytes that begins with `context` and `status`, as far as they fit.
fn answer(context: u64, status: i32, rest: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(context.to_le_bytes());
    bytes.extend(status.to_le_bytes());
    bytes.extend(rest);
    bytes.resize(len.max(bytes.len()), 0xee);
    bytes.truncate(len);
    bytes
}

#[test]
fn constants_are_the_protocols() {
    assert_eq!(DSP_PAGE_SIZE, 0x1000);
    assert_eq!(HANDLE_KERNEL, 1);
    assert_eq!(HANDLE_UTILITIES, 2);
    assert_eq!(LAST_STATIC_HANDLE, 20);
    assert_eq!(POLL_DONE, 0xdecaf);
    assert_eq!(STATUS_UNSUPPORTED.cast_unsigned(), 0x8000_0414);
    assert_eq!(FDLIST_LEN, 16);
    assert_eq!(CONTEXT_PD_EXIT, 0xabcd_abcd);
    assert_eq!(Message::LEN, 40);
    assert_eq!(ProtectionDomain::Root as u64, 0);
    assert_eq!(ProtectionDomain::User as u64, 1);
    assert_eq!(ProtectionDomain::Sensors as u64, 2);
}

/// Every call that the kernel makes itself has a published scalars word.
#[test]
fn scalars_of_kernel_calls_are_the_published_ones() {
    for (method, in_bufs, out_bufs, word) in [
        (0, 1, 0, 0x0001_0000),
        (1, 1, 0, 0x0101_0000),
        (4, 2, 1, 0x0402_0100),
        (5, 1, 0, 0x0501_0000),
        (6, 4, 0, 0x0604_0000),
        (7, 4, 0, 0x0704_0000),
        (8, 3, 0, 0x0803_0000),
        (10, 3, 1, 0x0a03_0100),
        (11, 1, 0, 0x0b01_0000),
    ] {
        assert_eq!(Scalars::new(method, in_bufs, out_bufs), Scalars(word));
    }
}

proptest! {
    #[test]
    fn scalars_round_trip(method in 0u8..32, in_bufs: u8, out_bufs: u8) {
        let scalars = Scalars::new(method, in_bufs, out_bufs);

        prop_assert_eq!(scalars.0 >> 24, u32::from(method));
        prop_assert_eq!(scalars.in_bufs(), usize::from(in_bufs));
        prop_assert_eq!(scalars.out_bufs(), usize::from(out_bufs));
        prop_assert_eq!(scalars.buffers(), usize::from(in_bufs) + usize::from(out_bufs));
        prop_assert_eq!(scalars.handles(), 0);
    }

    #[test]
    fn scalars_count_what_their_bytes_say(word: u32) {
        // From the top: attributes and method, in-buffers, out-buffers, handles.
        let [_, in_bufs, out_bufs, handles] = word.to_be_bytes();
        let scalars = Scalars(word);

        prop_assert_eq!(scalars.in_bufs(), usize::from(in_bufs));
        prop_assert_eq!(scalars.out_bufs(), usize::from(out_bufs));
        prop_assert_eq!(scalars.buffers(), usize::from(in_bufs) + usize::from(out_bufs));
        prop_assert_eq!(scalars.handles(), usize::from(handles / 16) + usize::from(handles % 16));
        prop_assert_eq!(scalars.args(), scalars.buffers() + scalars.handles());
        prop_assert!(scalars.args() <= 255 + 255 + 15 + 15);
    }

    #[test]
    fn scalars_never_have_attributes_of_their_own(method: u8, in_bufs: u8, out_bufs: u8) {
        prop_assert_eq!(Scalars::new(method, in_bufs, out_bufs).0 >> 29, 0);
    }

    #[test]
    fn context_names_sequence_slot_and_domain(sequence in 0u64..1 << 48, slot: u8, pd in pd()) {
        let context = Context::new(sequence, slot, pd);

        prop_assert_eq!(context.0 >> 16, sequence);
        prop_assert_eq!(context.slot(), usize::from(slot));
        // Bits 7:4 are 0: bit 4 would ask for no reply.
        prop_assert_eq!(context.0 & 0xff, pd as u64);
        prop_assert_ne!(context.0, CONTEXT_PD_EXIT);
    }

    #[test]
    fn message_fields_are_at_their_offsets(
        client_id: i32, tid: i32, context: u64, handle: u32, scalars: u32, address: u64, size: u64,
    ) {
        let message = Message { client_id, tid, context, handle, scalars, address, size };
        let bytes = message.to_bytes();

        prop_assert_eq!(bytes.len(), 40);
        prop_assert_eq!(&bytes[0..4], &client_id.to_le_bytes());
        prop_assert_eq!(&bytes[4..8], &tid.to_le_bytes());
        prop_assert_eq!(&bytes[8..16], &context.to_le_bytes());
        prop_assert_eq!(&bytes[16..20], &handle.to_le_bytes());
        prop_assert_eq!(&bytes[20..24], &scalars.to_le_bytes());
        prop_assert_eq!(&bytes[24..32], &address.to_le_bytes());
        prop_assert_eq!(&bytes[32..40], &size.to_le_bytes());
    }

    #[test]
    fn answer_of_16_bytes_or_more_is_read_whatever_follows(
        context: u64, status: i32, rest in prop::collection::vec(any::<u8>(), 0..64),
        len in 16usize..80,
    ) {
        prop_assume!(context != CONTEXT_PD_EXIT);
        let bytes = answer(context, status, &rest, len);

        prop_assert_eq!(Reply::parse(&bytes), Reply::Done { context, status });
    }

    #[test]
    fn message_below_16_bytes_is_never_an_answer(
        context in prop_oneof![any::<u64>(), Just(CONTEXT_PD_EXIT)], status: i32,
        rest: [u8; 4], len in 0usize..16,
    ) {
        let expected = if len == 8 { Reply::Signal } else { Reply::Short };

        prop_assert_eq!(Reply::parse(&answer(context, status, &rest, len)), expected);
    }

    #[test]
    fn end_of_a_protection_domain_is_never_an_answer(
        status: i32, rest: [u8; 16], len in 16usize..=28,
    ) {
        let bytes = answer(0xabcd_abcd, status, &rest, len);

        let is_notice = matches!(Reply::parse(&bytes), Reply::PdExit { .. } | Reply::PdState);
        prop_assert!(is_notice);
    }

    /// A process is named by a whole notice of its end, and by nothing else.
    #[test]
    fn process_that_has_ended_is_the_one_that_is_named(
        kind in prop_oneof![4 => Just(4), 1 => any::<i32>()],
        id: i32, state in 0u32..6, more: [u8; 8], len in 16usize..=28,
    ) {
        let mut rest = id.to_le_bytes().to_vec();
        rest.extend(state.to_le_bytes());
        rest.extend(more);
        let bytes = answer(0xabcd_abcd, kind, &rest, len);

        let whole = kind == 4 && len >= 20;
        let expected = if whole && !(1..=3).contains(&state) {
            Reply::PdState
        } else {
            Reply::PdExit { client_id: (whole && id > 0).then_some(id) }
        };
        prop_assert_eq!(Reply::parse(&bytes), expected);
    }

    /// Only the whole context is the notice, not one that has its low half.
    #[test]
    fn context_with_the_notices_low_half_is_an_answer(high in 1u64..1 << 32, status: i32) {
        let context = high << 32 | 0xabcd_abcd;
        let bytes = answer(context, status, &[0; 4], 16);

        prop_assert_eq!(Reply::parse(&bytes), Reply::Done { context, status });
    }

    #[test]
    fn status_is_refused_only_if_it_is_a_restart_code(
        status in prop_oneof![any::<i32>(), -600i32..600],
    ) {
        let expected = if (-530..=-512).contains(&status) {
            Err(EREMOTEIO)
        } else {
            Ok(status)
        };

        prop_assert_eq!(status_to_value(status), expected);
    }
}

#[test]
fn status_bounds_are_exact() {
    for status in [-531, -511, -1, 0, 1, i32::MIN, i32::MAX] {
        assert_eq!(status_to_value(status), Ok(status));
    }
    for status in -530..=-512 {
        assert_eq!(status_to_value(status), Err(EREMOTEIO));
    }
}
