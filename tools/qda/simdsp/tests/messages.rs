// SPDX-License-Identifier: GPL-2.0

//! The message log: its ring in the guest's memory, the thread that waits for lines, and the end.

mod guest;

use guest::{words, Arg, Caller, Guest, Sent};

const BAD_STATE: i32 = 0x8000_040Du32 as i32;
/// Bytes of the ring with its index.
const LEN: u64 = 4096;
/// Address of the ring in the guest's process.
const ADDRESS: u64 = 0x7f00_0000_1000;
/// Number by which the ring is mapped.
const NUMBER: u32 = 11;

fn next2(ctx: u32, outs: &[&[u8]]) -> Vec<Arg> {
    let mut packed: Vec<u8> = Vec::new();
    for out in outs {
        packed.extend((out.len() as u32).to_le_bytes());
        packed.resize(packed.len().next_multiple_of(8), 0);
        packed.extend(*out);
    }
    let head = words(&[ctx, 0, packed.len() as u32, 256]);
    vec![head, Arg::In(packed), Arg::Out(16), Arg::Out(256)]
}

fn word(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap())
}

/// A guest with a message log: caller, its listening thread's parked call, and the ring's address.
fn with_log(guest: &mut Guest) -> (Caller, Caller, Sent, u64) {
    let caller = guest.attach(1, 1);
    let thread = Caller { tid: 50, ..caller };
    let parked = guest.send(thread, 7, 6, &next2(0, &[]));
    let init = [words(&[0, 0, 0x10, 0, LEN as u32, 0]), Arg::Out(8)];
    let started = guest.send(caller, 5, 4, &init);
    // The DSP opens the service,
    let (status, outs) = guest.take(&parked);
    assert_eq!(
        (status, word(&outs[0], 1), word(&outs[0], 2)),
        (0, 0, 0x0002_0200)
    );
    let opened = [&9u32.to_le_bytes()[..], &[0; 4]].concat();
    let parked = guest.send(
        thread,
        7,
        6,
        &next2(word(&outs[0], 0), &[&opened, &[0; 256]]),
    );
    // and asks for memory, which is mapped before the answer.
    let (status, outs) = guest.take(&parked);
    assert_eq!(
        (status, word(&outs[0], 1), word(&outs[0], 2)),
        (0, 9, 0x0201_0100)
    );
    assert_eq!(word(&outs[1][8..], 6), LEN as u32);
    let ring = guest.alloc(1, LEN);
    let page = [1u64 << 32 | ring, LEN].map(u64::to_le_bytes).concat();
    let map = [
        words(&[1, NUMBER, 0, 3, 0, 0, 16, 0]),
        Arg::In(page),
        Arg::In(vec![]),
        Arg::Out(8),
    ];
    let kernel = Guest::kernel(thread);
    assert_eq!(guest.call(kernel, 1, 10, &map).0, 0);
    let buffer = [ADDRESS, NUMBER.into()].map(u64::to_le_bytes).concat();
    let parked = guest.send(thread, 7, 6, &next2(word(&outs[0], 0), &[&buffer]));
    let (status, outs) = guest.take(&started);
    assert_eq!((status, &outs[0]), (0, &ADDRESS.to_le_bytes().to_vec()));
    (caller, thread, parked, ring)
}

#[test]
fn lines_go_to_the_thread_that_waits() {
    let mut guest = Guest::new();
    let (caller, _, parked, ring) = with_log(&mut guest);
    let reader = Caller { tid: 51, ..caller };
    assert!(guest
        .ask("message cdsp too early")
        .starts_with("error nobody"));
    let wait = [Arg::Out(8)];
    let mut next = 0;
    for line in ["a line", "and another one"] {
        let waiting = guest.send(reader, 5, 5, &wait);
        guest.wait_stat("waiters", 1);
        assert_eq!(guest.ask(&format!("message cdsp {line}")), "ok");
        let (status, outs) = guest.take(&waiting);
        let len = line.len() as u64 + 1;
        assert_eq!((status, &outs[0]), (0, &len.to_le_bytes().to_vec()));
        let text = guest.peek(1, ring + next, len);
        assert_eq!(text, [line.as_bytes(), &[0]].concat());
        next += len;
        let index = guest.peek(1, ring + LEN - 4, 4);
        assert_eq!(u64::from(word(&index, 0)), next);
    }
    // There is one log only.
    let again = [words(&[0, 0, 0x10, 0, LEN as u32, 0]), Arg::Out(8)];
    assert_eq!(guest.call(caller, 5, 4, &again), (0, vec![vec![0; 8]]));
    // Its end wakes the reader, and later waits do not wait.
    let waiting = guest.send(reader, 5, 5, &wait);
    guest.wait_stat("waiters", 1);
    let end = guest.send(caller, 5, 3, &[]);
    assert_eq!(guest.answer(), (waiting.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (end.ctx, 0));
    assert_eq!(guest.call(reader, 5, 5, &wait).0, BAD_STATE);
    [&waiting, &end]
        .into_iter()
        .for_each(|call| guest.free(call));
    let release = guest.send(Guest::kernel(caller), 1, 1, &[words(&[1])]);
    assert_eq!(guest.answer(), (parked.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (release.ctx, 0));
    [&parked, &release]
        .into_iter()
        .for_each(|call| guest.free(call));
    guest.ram.unmap(1, ring, LEN);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn the_ring_wraps() {
    let mut guest = Guest::new();
    let (caller, _, _, ring) = with_log(&mut guest);
    let reader = Caller { tid: 51, ..caller };
    let line = "x".repeat(99);
    for turn in 1..=60u64 {
        let waiting = guest.send(reader, 5, 5, &[Arg::Out(8)]);
        guest.wait_stat("waiters", 1);
        assert_eq!(guest.ask(&format!("message cdsp {line}")), "ok");
        assert_eq!(guest.take(&waiting).0, 0);
        let index = guest.peek(1, ring + LEN - 4, 4);
        assert_eq!(u64::from(word(&index, 0)), 100 * turn % (LEN - 4));
    }
    let long = "y".repeat(256);
    let waiting = guest.send(reader, 5, 5, &[Arg::Out(8)]);
    guest.wait_stat("waiters", 1);
    assert!(guest
        .ask(&format!("message cdsp {long}"))
        .starts_with("error 256"));
    // The process ends, and with it the wait.
    let exit = guest.send(caller, 4, 2, &[]);
    let mut answers = [guest.answer(), guest.answer(), guest.answer()];
    answers.sort_unstable_by_key(|(ctx, _)| *ctx);
    assert!(answers.contains(&(waiting.ctx, BAD_STATE)) && answers.contains(&(exit.ctx, 0)));
}

#[test]
fn without_memory_there_is_no_log() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let thread = Caller { tid: 50, ..caller };
    let parked = guest.send(thread, 7, 6, &next2(0, &[]));
    let init = [words(&[0, 0, 0x10, 0, LEN as u32, 0]), Arg::Out(8)];
    let started = guest.send(caller, 5, 4, &init);
    let (_, outs) = guest.take(&parked);
    // The service is not to be had.
    let refused = [&[0; 4], &44u32.to_le_bytes()[..]].concat();
    let parked = guest.send(
        thread,
        7,
        6,
        &next2(word(&outs[0], 0), &[&refused, &[0; 256]]),
    );
    assert_eq!(guest.take(&started).0, 0x8000_0402u32 as i32);
    // Sizes that are none.
    for len in [0u32, 4095, 4100, 0x8000_0000] {
        let bad = [words(&[0, 0, 0x10, 0, len, 0]), Arg::Out(8)];
        assert_eq!(guest.call(caller, 5, 4, &bad).0, 0x8000_040Eu32 as i32);
    }
    let release = guest.send(Guest::kernel(caller), 1, 1, &[words(&[1])]);
    assert_eq!(guest.answer(), (parked.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (release.ctx, 0));
    [&parked, &release]
        .into_iter()
        .for_each(|call| guest.free(call));
    assert_eq!(guest.ask("end"), "ok");
}
