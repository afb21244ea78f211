// SPDX-License-Identifier: GPL-2.0

//! Guests that break the rules: each test breaks one, and the record names it.

mod guest;

use guest::{config, words, Arg, Caller, Guest, Ram, Raw};
use simdsp::glink::Side;
use simdsp::port::Memory as _;
use simdsp::strict::Profile;

const FAULT: i32 = 0x8000_0401u32 as i32;
const BAD_STATE: i32 = 0x8000_040Du32 as i32;
const BAD_PARAMETER: i32 = 0x8000_040Eu32 as i32;

/// Sends an echo of 16 bytes, changed by `edit`; gives the status and the broken rules.
fn echo(edit: impl Fn(&mut Raw)) -> (Option<i32>, Vec<&'static str>) {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    let mut raw = guest.encode(caller, module, 2, &[Arg::In(vec![5; 16]), Arg::Out(16)]);
    edit(&mut raw);
    // Where the tables say that the out argument is.
    let data = (word(&raw, 64) & 0xffff_ffff) + word(&raw, 16) % 4096;
    let is_message = raw.message.len() == 40;
    guest.send_raw(raw);
    if !is_message {
        assert!(guest.is_quiet());
        return (None, guest.broken());
    }
    let answer = guest.raw_answer();
    let status = answer.map(|raw| i32::from_le_bytes(raw[8..12].try_into().unwrap()));
    if status == Some(0) {
        assert_eq!(guest.peek(1, data, 16), [5; 16]);
    }
    (status, guest.broken())
}

/// Changes a little-endian word of the metadata.
fn put(raw: &mut Raw, at: usize, value: u64) {
    raw.meta[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn word(raw: &Raw, at: usize) -> u64 {
    u64::from_le_bytes(raw.meta[at..at + 8].try_into().unwrap())
}

#[test]
fn messages() {
    assert_eq!(echo(|_| ()), (Some(0), vec![]));
    assert_eq!(
        echo(|raw| raw.message.truncate(39)),
        (None, vec!["message-length"])
    );
    assert_eq!(echo(|raw| raw.message[8] |= 1), (Some(0), vec!["pd-bits"]));
    assert_eq!(
        echo(|raw| raw.message[8] |= 0x20),
        (Some(0), vec!["context-reserved"])
    );
    assert_eq!(
        echo(|raw| raw.message[32] = 1),
        (Some(FAULT), vec!["size-unaligned", "unmapped"])
    );
    assert_eq!(
        echo(|raw| raw.message[0] = 9),
        (Some(BAD_STATE), vec!["unknown-client"])
    );
    assert_eq!(
        echo(|raw| raw.message[0] = 0),
        (Some(BAD_STATE), vec!["unknown-client"])
    );
    assert_eq!(
        echo(|raw| raw.message[33] = 32),
        (Some(FAULT), vec!["unmapped"])
    );
    assert_eq!(
        echo(|raw| raw.message[33] = 0),
        (Some(0), vec!["size-too-small"])
    );
    // Bank 2 exists, but maps nothing there; bank 9 does not exist.
    assert_eq!(
        echo(|raw| raw.message[28] = 2),
        (Some(FAULT), vec!["unmapped"])
    );
    assert_eq!(
        echo(|raw| raw.message[28] = 9),
        (Some(FAULT), vec!["no-such-bank", "unmapped"])
    );
    let (status, broken) = echo(|raw| {
        raw.message[16..20].copy_from_slice(&1u32.to_le_bytes());
        raw.message[23] = 1;
    });
    assert_eq!(
        (status, broken),
        (Some(0x8000_0414u32 as i32), vec!["kernel-client"])
    );
}

#[test]
fn tables() {
    // Two arguments: pv at 0 and 16, list at 32, pages at 48.
    assert_eq!(
        echo(|raw| put(raw, 16, 0)).1,
        ["pv-zero", "argument-on-tables", "pv-not-iova"]
    );
    assert_eq!(
        echo(|raw| put(raw, 16, word(raw, 16) + 8)),
        (Some(0), vec![]),
        "free to place"
    );
    let (status, broken) = echo(|raw| put(raw, 16, word(raw, 0)));
    assert_eq!((status, broken), (Some(0), vec!["arguments-overlap"]));
    let kernel = |raw: &mut Raw| put(raw, 0, word(raw, 0) | 0xffff_8000_0000_0000);
    assert_eq!(
        echo(kernel),
        (Some(0), vec!["kernel-pointer", "pv-not-iova"])
    );
    assert_eq!(echo(|raw| put(raw, 32, 2)), (Some(0), vec!["list-number"]));
    assert_eq!(
        echo(|raw| put(raw, 32, 0)),
        (Some(BAD_PARAMETER), vec!["list-number"])
    );
    assert_eq!(
        echo(|raw| put(raw, 40, 7 << 32 | 1)),
        (Some(BAD_PARAMETER), vec!["page-index"])
    );
    let (status, broken) = echo(|raw| put(raw, 40, 1));
    assert_eq!(
        (status, broken),
        (Some(0), vec![]),
        "both arguments may name one page entry"
    );
    // The page entry of the out argument: one page on, which is not mapped.
    let wrong_page = |raw: &mut Raw| put(raw, 64, word(raw, 64) + 4096);
    assert_eq!(echo(wrong_page), (Some(FAULT), vec!["unmapped"]));
    let wrong_bank = |raw: &mut Raw| put(raw, 64, word(raw, 64) + (1 << 32));
    assert_eq!(
        echo(wrong_bank),
        (Some(FAULT), vec!["bank-mixed", "unmapped"])
    );
    let no_bank = |raw: &mut Raw| put(raw, 64, word(raw, 64) & 0xffff_ffff);
    assert_eq!(
        echo(no_bank),
        (Some(FAULT), vec!["no-such-bank", "bank-mixed", "unmapped"])
    );
    let too_small = |raw: &mut Raw| put(raw, 72, 0);
    assert_eq!(
        echo(too_small),
        (Some(BAD_PARAMETER), vec!["page-too-small"])
    );
    assert_eq!(
        echo(|raw| put(raw, 72, 8192)),
        (Some(FAULT), vec!["unmapped"])
    );
    let unaligned = |raw: &mut Raw| put(raw, 64, word(raw, 64) + 8);
    assert!(echo(unaligned).1.contains(&"page-unaligned"));
    assert_eq!(echo(|raw| put(raw, 80, 3)), (Some(0), vec!["stale-tail"]));
    assert_eq!(
        echo(|raw| put(raw, 80 + 384, 3)),
        (Some(0), vec!["stale-tail"])
    );
    assert!(echo(|raw| put(raw, 24, 1 << 40))
        .1
        .contains(&"page-too-small"));
}

/// What `fastrpc.ko` does and the other driver may not: kernel addresses, shared storage, and more
/// memory than a call takes.
#[test]
fn upstream_is_let_off() {
    for (profile, broken) in [
        (Profile::Fastrpc, &[][..]),
        (
            Profile::Qda,
            &[
                "size-too-large",
                "kernel-pointer",
                "pv-not-iova",
                "arguments-overlap",
            ],
        ),
    ] {
        let mut guest = Guest::new();
        guest.dsp.judge().set_profile(profile);
        let caller = guest.attach(1, 1);
        let module = guest.open(caller, "simdsp");
        let mut raw = guest.encode(caller, module, 2, &[Arg::In(vec![5; 16]), Arg::Out(16)]);
        let kernel = word(&raw, 0) | 0xffff_8000_0000_0000;
        put(&mut raw, 0, kernel);
        put(&mut raw, 16, kernel);
        guest.ram.map(1, raw.sent.addr + raw.sent.size, 4096);
        raw.message[33] = 0x20;
        let sent = guest.send_raw(raw);
        assert_eq!(guest.answer(), (sent.ctx, 0));
        let mut found = guest.broken();
        found.sort_unstable();
        found.dedup();
        let mut wanted = broken.to_vec();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{profile:?}");
    }
}

#[test]
fn registered_buffers_keep_the_users_pointer() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    let page = guest.alloc(1, 8192);
    guest
        .ram
        .write(1, page + 4090, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        .unwrap();
    let mapped = Arg::Mapped {
        pv: 0x7fff_0000_0ffa,
        page,
        len: 10,
        out: false,
    };
    let (status, outs) = guest.call(caller, module, 2, &[mapped, Arg::Out(10)]);
    assert_eq!((status, &outs[0][..3]), (0, &[1u8, 2, 3][..]));
    guest.ram.unmap(1, page + 4096, 4096);
    let mapped = Arg::Mapped {
        pv: 0x7fff_0000_0ffa,
        page,
        len: 10,
        out: false,
    };
    assert_eq!(
        guest.call(caller, module, 2, &[mapped, Arg::Out(10)]).0,
        FAULT
    );
    assert_eq!(guest.broken(), ["unmapped"]);
    assert_eq!(guest.ask("faults").lines().count(), 2);
    assert!(guest.ask("faults").ends_with(" r"));
}

#[test]
fn order_of_calls() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    let held = guest.send(caller, module, 9, &[]);
    let behind = guest.send(caller, module, 2, &[]);
    assert_eq!(guest.broken(), ["thread-busy"]);
    let mut same = guest.encode(Caller { tid: 5, ..caller }, module, 2, &[]);
    same.message[8..16].copy_from_slice(&held.ctx.to_le_bytes());
    guest.send_raw(same);
    assert_eq!(guest.broken(), ["thread-busy", "duplicate-context"]);
    // The one with the other's context; the held one's thread is still busy.
    assert_eq!(guest.answer(), (held.ctx, 0));
    assert!(guest.is_quiet());
    guest.wait_stat("held", 1);
    assert_eq!(guest.ask("release-held cdsp"), "ok 1");
    assert_eq!(guest.answer(), (held.ctx, 0));
    assert_eq!(guest.answer(), (behind.ctx, 0));
}

#[test]
fn clients() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let kernel = Guest::kernel(caller);
    assert_eq!(
        guest.call(kernel, 1, 0, &[words(&[1])]).0,
        0x8000_041Au32 as i32
    );
    assert_eq!(guest.broken(), ["client-reused"]);
    assert_eq!(guest.call(kernel, 1, 0, &[words(&[0])]).0, BAD_PARAMETER);
    guest.release(caller);
    // Files that were opened and closed are released without ever having been a process.
    guest.release(caller);
    assert_eq!(guest.broken().len(), 2);
    // Attached again with the domain of a created process.
    let wrong = Caller { pd: 1, ..kernel };
    assert_eq!(guest.call(wrong, 1, 0, &[words(&[1])]).0, 0);
    assert_eq!(guest.broken()[2..], ["pd-bits"]);
    // The process uses another bank than before.
    let module = guest.open(caller, "simdsp");
    assert_eq!(
        guest.call(Caller { bank: 2, ..caller }, module, 2, &[]).0,
        0
    );
    assert_eq!(guest.broken()[3..], ["bank-mixed"]);
    guest.dsp.closed(Side::Guest);
    assert_eq!(guest.broken()[4..], ["missing-release"]);
}

#[test]
fn kernel_calls() {
    let mut guest = Guest::new();
    let (caller, memory) = guest.create(1, 1);
    let kernel = Guest::kernel(caller);
    let entry = |addr: u64, size: u64| {
        Arg::In(
            [addr, size]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        )
    };
    let good = 1u64 << 32 | memory;
    let cases: Vec<(u32, Vec<Arg>, &str)> = vec![
        (0, vec![words(&[1, 0])], "kernel-size"),
        (0, vec![words(&[1]), Arg::Out(4)], "kernel-scalars"),
        (3, vec![words(&[1])], "kernel-scalars"),
        (
            4,
            vec![
                words(&[9, 0x1000, 0, 0, 16, 0]),
                entry(good, 4096),
                Arg::Out(8),
            ],
            "unknown-client",
        ),
        (
            4,
            vec![
                words(&[1, 0x1000, 0, 0, 1, 0]),
                entry(good, 4096),
                Arg::Out(8),
            ],
            "kernel-field",
        ),
        (
            4,
            vec![
                words(&[1, 0x1000, 0, 0, 16, 0]),
                entry(good, 4096),
                Arg::Out(16),
            ],
            "kernel-size",
        ),
        (
            4,
            vec![
                words(&[1, 0x1000, 0, 0, 16, 0]),
                entry(good, 3 << 20),
                Arg::Out(8),
            ],
            "unmapped",
        ),
        (
            4,
            vec![
                words(&[1, 0x1000, 0, 0, 16, 0]),
                entry(memory, 4096),
                Arg::Out(8),
            ],
            "no-such-bank",
        ),
        (5, vec![words(&[1, 0, 5, 0, 4096, 0])], "unknown-mapping"),
        (11, vec![words(&[1, 3, 5, 0, 4096, 0])], "unknown-mapping"),
        (
            8,
            vec![
                words(&[2, 2, 1]),
                Arg::In(b"a\0".to_vec()),
                entry(good, 4096),
            ],
            "heap-has-bank",
        ),
        (
            8,
            vec![
                words(&[3, 2, 0]),
                Arg::In(b"a\0".to_vec()),
                entry(0x4000_0000, 4096),
            ],
            "kernel-field",
        ),
        (
            8,
            vec![
                words(&[3, 2, 1]),
                Arg::In(b"a\0".to_vec()),
                entry(0x4000_0000, 4096),
            ],
            "heap-once",
        ),
        (
            6,
            vec![
                words(&[4, 2, 0, 1, 8, 0]),
                Arg::In(b"a\0".to_vec()),
                Arg::In(vec![]),
                entry(good, 4096),
            ],
            "kernel-field",
        ),
        (
            7,
            vec![
                words(&[4, 1, 0, 1, 8, 0]),
                Arg::In(b"a".to_vec()),
                Arg::In(vec![]),
                entry(good, 4096),
            ],
            "kernel-field",
        ),
        (
            7,
            vec![
                words(&[4, 9, 0, 1, 8, 0]),
                Arg::In(b"a\0".to_vec()),
                Arg::In(vec![]),
                entry(good, 4096),
            ],
            "kernel-size",
        ),
    ];
    for (i, (method, args, rule)) in cases.into_iter().enumerate() {
        guest.dsp.begin_test();
        guest.call(kernel, 1, method, &args);
        assert_eq!(guest.broken().first(), Some(&rule), "case {i}");
    }
    // A number that is held is not mapped again.
    guest.dsp.begin_test();
    let map = [
        words(&[1, 77, 0, 0, 0, 0, 16, 0]),
        entry(good, 4096),
        Arg::In(vec![]),
        Arg::Out(8),
    ];
    assert_eq!(guest.call(kernel, 1, 10, &map).0, 0);
    assert_eq!(guest.broken(), [""; 0]);
    assert_eq!(guest.call(kernel, 1, 10, &map).0, 0x8000_041Au32 as i32);
    assert_eq!(guest.broken(), ["mapped-twice"]);
    // The more there is of a program, the more memory it begins with; its signature is in it.
    let big = guest.alloc(1, 5 << 20);
    for (image, signature, size, broken) in [
        (0, 0, 2 << 20, &[][..]),
        (0, 0, 4096, &["process-memory"]),
        (0, 1, 2 << 20, &["signature-length"]),
        (600 << 10, 600 << 10, 3 << 20, &[]),
        (600 << 10, 0, 2 << 20, &["process-memory"]),
        (600 << 10, 0, 5 << 20, &["process-memory"]),
        (1 << 20, 0, 4 << 20, &[]),
        ((1 << 20) + 1, 0, 5 << 20, &[]),
    ] {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(image, 0);
        let create = [
            words(&[5, 2, image as u32, 1, 8, signature]),
            Arg::In(b"a\0".to_vec()),
            Arg::In(bytes),
            entry(1u64 << 32 | big, size),
        ];
        guest.dsp.begin_test();
        assert_eq!(guest.call(kernel, 1, 7, &create).0, 0);
        assert_eq!(guest.broken(), broken, "{image} bytes, {size} of memory");
        assert_eq!(guest.call(kernel, 1, 1, &[words(&[5])]).0, 0);
    }
    // Only the kernel builds these calls.
    guest.dsp.begin_test();
    assert_eq!(
        guest.call(caller, 1, 1, &[words(&[1])]).0,
        0x8000_0414u32 as i32
    );
    assert_eq!(guest.broken(), ["kernel-client"]);
    assert_eq!(guest.ask("stat cdsp processes"), "ok 2");
}

#[test]
fn shared_tables() {
    let guest = Guest::new();
    let survey = |mapped, tables, shared| {
        format!("ok banks 3 tables {tables} mapped {mapped} shared {shared}")
    };
    guest.ram.map(2, 0x1000, 8192);
    assert_eq!(guest.ask("survey"), survey(8192, 3, 0));
    // No message named any of these banks; they share all the same.
    guest.ram.join(3, 0x1403, 1);
    assert_eq!(guest.ask("survey"), survey(8192, 2, 1));
    assert!(guest.ask("end").contains("bank-shared"));
}

#[test]
fn banks_with_one_stream_may_share() {
    let ram = Ram::default();
    ram.join(3, 0x1401, 1);
    let mut guest = Guest::on(config(), ram);
    assert!(guest.ask("survey").ends_with("shared 0"));
    // A process of bank 1 may be called with memory of bank 3, its own by another number.
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    let caller = Caller { bank: 3, ..caller };
    let args = [Arg::In(vec![5; 16]), Arg::Out(16)];
    assert_eq!(guest.call(caller, module, 2, &args).0, 0);
    guest.release(caller);
    assert_eq!(guest.broken(), [""; 0]);
}
