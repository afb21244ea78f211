// SPDX-License-Identifier: GPL-2.0

//! Processes, modules and threads of a DSP, seen from a guest that keeps the rules.

mod guest;

use guest::{words, Arg, Caller, Guest};
use simdsp::glink::Side;
use std::time::Duration;

fn numbers(values: impl Iterator<Item = i32>) -> Vec<u8> {
    values.flat_map(i32::to_le_bytes).collect()
}

#[test]
fn attach_echo_release() {
    let mut guest = Guest::new();
    let caller = guest.attach(3, 2);
    let module = guest.open(caller, "simdsp");
    let data: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
    let args = [
        Arg::In(data.clone()),
        Arg::In(vec![]),
        Arg::In(vec![9]),
        Arg::Out(data.len()),
        Arg::Out(0),
        Arg::Out(1),
    ];
    let (status, outs) = guest.call(caller, module, 2, &args);
    assert_eq!(status, 0);
    assert_eq!(outs, [data, vec![], vec![9]]);
    let (status, outs) = guest.call(caller, module, 11, &[Arg::In(vec![1, 2]), Arg::Out(2)]);
    assert_eq!((status, &outs[0]), (0, &vec![254, 253]));
    guest.release(caller);
    assert_eq!(guest.ask("stat cdsp attaches"), "ok 1");
    assert_eq!(guest.ask("stat cdsp releases"), "ok 1");
    assert_eq!(guest.ask("stat cdsp invokes"), "ok 3");
    assert_eq!(guest.ask("stat cdsp last_client"), "ok 3");
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn calculator_by_uri() {
    let mut guest = Guest::new();
    let (caller, memory) = guest.create(1, 1);
    let uri = "file:///libcalculator_skel.so?calculator_skel_handle_invoke&_modver=1.0&_idlver=1.2.3&_dom=cdsp";
    let module = guest.open(caller, uri);
    let data = Arg::In(numbers(0..1000));
    let (status, outs) = guest.call(
        caller,
        module,
        2,
        &[words(&[1000]), data.clone(), Arg::Out(8)],
    );
    assert_eq!((status, &outs[0]), (0, &499_500i64.to_le_bytes().to_vec()));
    let (status, outs) = guest.call(
        caller,
        module,
        3,
        &[words(&[1000]), data.clone(), Arg::Out(4)],
    );
    assert_eq!((status, &outs[0]), (0, &999i32.to_le_bytes().to_vec()));
    // The count must be that of the array, the result must fit.
    let bad = 0x8000_040Eu32 as i32;
    assert_eq!(
        guest
            .call(
                caller,
                module,
                2,
                &[words(&[999]), data.clone(), Arg::Out(8)]
            )
            .0,
        bad
    );
    assert_eq!(
        guest
            .call(caller, module, 2, &[words(&[1000]), data, Arg::Out(4)])
            .0,
        bad
    );
    // From a registered buffer, in the middle of a page.
    let buffer = guest.alloc(1, 3 << 12);
    use simdsp::port::Memory as _;
    guest
        .ram
        .write(1, buffer + 4096 + 0x10, &numbers(-3..1))
        .unwrap();
    let mapped = Arg::Mapped {
        pv: 0x7f12_3456_7010,
        page: buffer + 4096,
        len: 16,
        out: false,
    };
    let (status, outs) = guest.call(caller, module, 2, &[words(&[4]), mapped, Arg::Out(8)]);
    assert_eq!((status, &outs[0]), (0, &(-6i64).to_le_bytes().to_vec()));
    guest.release(caller);
    guest.ram.unmap(1, memory, 2 << 20);
    guest.ram.unmap(1, buffer, 3 << 12);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn unknown_names_and_handles() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let args = [
        words(&[5, 64]),
        Arg::In(b"none\0".to_vec()),
        Arg::Out(8),
        Arg::Out(64),
    ];
    let (status, outs) = guest.call(caller, 8, 2, &args);
    assert_eq!(
        (status, &outs[0][4..]),
        (0, &0x8000_043Eu32.to_le_bytes()[..])
    );
    assert!(outs[1].starts_with(b"error 0x8000043e\0"));
    for handle in [5, 6, 9, 20, 0x7777] {
        assert_eq!(guest.call(caller, handle, 2, &[]).0, 0x8000_0414u32 as i32);
    }
    let module = guest.open(caller, "calculator");
    let close = [words(&[module, 64]), Arg::Out(4), Arg::Out(64)];
    assert_eq!(guest.call(caller, 0, 1, &close).1[0], [0; 4]);
    assert_eq!(
        guest.call(caller, 0, 1, &close).1[0],
        0x8000_040Eu32.to_le_bytes()
    );
    guest.release(caller);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn threads_are_serial_and_run_at_once() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    assert_eq!(guest.ask("allow thread-busy"), "ok");
    let slow = guest.send(caller, module, 7, &[words(&[300])]);
    let behind = guest.send(caller, module, 2, &[]);
    let other = guest.send(Caller { tid: 7, ..caller }, module, 2, &[]);
    assert_eq!(guest.answer().0, other.ctx);
    assert_eq!(guest.answer().0, slow.ctx);
    assert_eq!(guest.answer().0, behind.ctx);
    // More at once than machines have processors.
    let sent: Vec<_> = (0..200)
        .map(|i| {
            guest.send(
                Caller {
                    tid: 1000 + i,
                    ..caller
                },
                module,
                7,
                &[words(&[200])],
            )
        })
        .collect();
    let start = std::time::Instant::now();
    let mut answered: Vec<_> = sent.iter().map(|_| guest.answer().0).collect();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "one after the other would take 40 s"
    );
    answered.sort_unstable();
    assert_eq!(
        answered,
        sent.iter().map(|call| call.ctx).collect::<Vec<_>>()
    );
    sent.iter()
        .chain([&slow, &behind, &other])
        .for_each(|call| guest.free(call));
    guest.release(caller);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn capabilities() {
    let mut guest = Guest::new();
    let caller = Caller {
        client: 0,
        tid: 1,
        pd: 0,
        bank: 1,
    };
    let (status, outs) = guest.call(caller, 2, 0, &[words(&[255]), Arg::Out(1020)]);
    let word = |id: usize| u32::from_le_bytes(outs[0][4 * id - 4..4 * id].try_into().unwrap());
    assert_eq!(
        (status, word(1), word(2), word(255)),
        (0, 1, 0, 0xff51_0255)
    );
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn heap_and_mapped_buffers() {
    let mut guest = Guest::new();
    let (caller, memory) = guest.create(4, 1);
    let kernel = Guest::kernel(caller);
    let buffer = guest.alloc(1, 8192);
    let page = Arg::In(
        [1u64 << 32 | buffer, 8192]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
    );
    let map = [words(&[4, 0x1000, 0, 0, 16, 0]), page.clone(), Arg::Out(8)];
    let (status, outs) = guest.call(kernel, 1, 4, &map);
    assert_eq!(status, 0);
    let vaddr =
        |out: &[u8]| [0, 4].map(|at| u32::from_le_bytes(out[at..at + 4].try_into().unwrap()));
    let [low, high] = vaddr(&outs[0]);
    let map = [
        words(&[4, 77, 0, 0, 0, 0, 16, 0]),
        page,
        Arg::In(vec![]),
        Arg::Out(8),
    ];
    let (status, outs) = guest.call(kernel, 1, 10, &map);
    assert_eq!(status, 0);
    assert_eq!(guest.ask("stat cdsp maps"), "ok 2");
    assert_eq!(
        guest.ask("processes cdsp"),
        format!(
            "ok 1\nclient 4 bank 1 memory {memory:#x} 0x200000 \
             maps 2 {buffer:#x} 0x2000 {buffer:#x} 0x2000"
        )
    );
    // The process uses the buffer by its number.
    let module = guest.open(caller, "simdsp");
    assert_eq!(
        guest
            .call(
                caller,
                module,
                14,
                &[words(&[77, 4096, 16, 1]), Arg::Out(8)]
            )
            .0,
        0
    );
    assert_eq!(guest.peek(1, buffer + 4096, 3), [0, 131, 6]);
    let [a, b] = vaddr(&outs[0]);
    assert_eq!(
        guest
            .call(kernel, 1, 11, &[words(&[4, 77, a, b, 8192, 0])])
            .0,
        0
    );
    assert_eq!(
        guest
            .call(kernel, 1, 5, &[words(&[4, 0, low, high, 8192, 0])])
            .0,
        0
    );
    assert_eq!(guest.ask("stat cdsp maps"), "ok 0");
    guest.release(caller);
    guest.ram.unmap(1, memory, 2 << 20);
    guest.ram.unmap(1, buffer, 8192);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn an_image_must_be_elf() {
    let mut guest = Guest::new();
    let memory = guest.alloc(1, 2 << 20);
    let kernel = Caller {
        client: 0,
        tid: 1,
        pd: 1,
        bank: 1,
    };
    let page = Arg::In(
        [1u64 << 32 | memory, 2 << 20]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
    );
    for (image, status) in [
        (&b"audiopd\0"[..], 0x8000_0406u32),
        (&b"\x7fELF...."[..], 0),
    ] {
        let args = [
            words(&[6, 2, image.len() as u32, 1, 0, 0]),
            Arg::In(b"x\0".to_vec()),
            Arg::In(image.to_vec()),
            page.clone(),
        ];
        assert_eq!(guest.call(kernel, 1, 6, &args).0, status as i32);
    }
    assert_eq!(guest.call(kernel, 1, 1, &[words(&[6])]).0, 0);
    guest.ram.unmap(1, memory, 2 << 20);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn poll_word_and_returned_numbers() {
    let mut guest = Guest::new();
    let (caller, memory) = guest.create(1, 1);
    let module = guest.open(caller, "simdsp");
    let tail = |guest: &Guest, sent: &guest::Sent| {
        let fdlist = sent.addr + 40 * sent.args as u64;
        (guest.peek(1, fdlist, 24), guest.peek(1, fdlist + 384, 4))
    };
    let numbers: Vec<u8> = [5u64, 9]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let sent = guest.send(caller, module, 13, &[Arg::In(numbers.clone())]);
    assert_eq!(guest.answer(), (sent.ctx, 0));
    assert_eq!(
        tail(&guest, &sent),
        ([&numbers[..], &[0; 8]].concat(), vec![0; 4])
    );
    guest.free(&sent);
    assert_eq!(guest.call(caller, 4, 9, &[words(&[1, 1000])]).0, 0);
    let sent = guest.send(caller, module, 2, &[]);
    assert_eq!(guest.answer(), (sent.ctx, 0));
    assert_eq!(tail(&guest, &sent).1, 0xdecafu32.to_le_bytes());
    guest.free(&sent);
    // Not for calls that fail, and not for static handles.
    let sent = guest.send(caller, module, 8, &[words(&[7])]);
    assert_eq!(guest.answer(), (sent.ctx, 7));
    assert_eq!(tail(&guest, &sent).1, [0; 4]);
    guest.free(&sent);
    let sent = guest.send(caller, 4, 3, &[]);
    assert_eq!(guest.answer(), (sent.ctx, 0));
    assert_eq!(tail(&guest, &sent).1, [0; 4]);
    guest.free(&sent);
    guest.release(caller);
    guest.ram.unmap(1, memory, 2 << 20);
    assert_eq!(guest.ask("end"), "ok");
}

/// A call that makes a static process, with the heap's address and size, or none.
fn static_process(client: u32, heap: Option<(u64, u64)>) -> [Arg; 3] {
    let (addr, size) = heap.unwrap_or((0, 0));
    let page = [addr, size].into_iter().flat_map(|word| word.to_le_bytes());
    [
        words(&[client, 8, u32::from(heap.is_some())]),
        Arg::In(b"audiopd\0".to_vec()),
        Arg::In(page.collect()),
    ]
}

#[test]
fn static_processes_and_their_heap() {
    const HEAP: (u64, u64) = (0x9_8000_0000, 0xc0_0000);
    const BAD: i32 = 0x8000_040Eu32 as i32;
    let mut guest = Guest::with(simdsp::dsp::Config {
        banks: guest::BANKS.to_vec(),
        heap: Some((HEAP.0 & 0xffff_ffff, HEAP.1)),
        ..simdsp::dsp::Config::default()
    });
    let heap = Some((HEAP.0 & 0xffff_ffff, HEAP.1));
    let kernel = Caller {
        client: 0,
        tid: 1,
        pd: 1,
        bank: 1,
    };
    let make = |guest: &mut Guest, client, heap| {
        guest.dsp.begin_test();
        let status = guest.call(kernel, 1, 8, &static_process(client, heap)).0;
        (status, guest.broken())
    };

    // It comes with the first process, one that the DSP takes.
    assert_eq!(make(&mut guest, 1, None), (BAD, vec!["heap-once"]));
    let script = r#"script {"rules":[{"handle":1,"method":8,"actions":[{"fail":9}]}]}"#;
    guest.dsp.begin_test();
    assert_eq!(guest.ask(script), "ok");
    assert_eq!(guest.call(kernel, 1, 8, &static_process(1, heap)).0, 9);
    assert_eq!(guest.ask("stat cdsp heaps"), "ok 0");
    assert_eq!(make(&mut guest, 1, heap), (0, vec![]));
    assert_eq!(make(&mut guest, 2, None), (0, vec![]));
    assert_eq!(make(&mut guest, 3, heap), (BAD, vec!["heap-once"]));
    assert_eq!(guest.ask("stat cdsp heaps"), "ok 1");

    // A DSP that came up anew has none, and wants the right one.
    guest.dsp.begin_test();
    guest.dsp.closed(Side::Dsp);
    guest.reopen();
    let wrong = heap.map(|(addr, size)| (addr + 4096, size));
    assert_eq!(make(&mut guest, 1, wrong), (0, vec!["heap-wrong"]));
}

#[test]
fn a_process_dies_alone() {
    const BAD_STATE: i32 = 0x8000_040Du32 as i32;
    let mut guest = Guest::new();
    let (doomed, memory) = guest.create(1, 1);
    let other = guest.attach(2, 2);
    let module = guest.open(doomed, "simdsp");
    let fine = guest.open(other, "simdsp");
    let held = guest.send(doomed, module, 9, &[]);
    let safe = guest.send(other, fine, 9, &[]);
    while guest.ask("stat cdsp held") != "ok 2" {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(guest.ask("kill cdsp 7").starts_with("error"));
    assert_eq!(guest.ask("kill cdsp 1"), "ok");
    assert_eq!(guest.answer(), (held.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (0xabcd_abcd, 0));
    guest.free(&held);

    // Later calls fail, others' do not, and it is to be released all the same.
    assert_eq!(guest.call(doomed, module, 2, &[]).0, BAD_STATE);
    assert_eq!(guest.ask("stat cdsp held"), "ok 1");
    assert_eq!(guest.ask("release-held cdsp 0"), "ok 1");
    assert_eq!(guest.answer(), (safe.ctx, 0));
    guest.free(&safe);
    guest.release(doomed);
    guest.release(other);
    guest.ram.unmap(1, memory, 2 << 20);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn a_process_that_died_is_named() {
    const BAD_STATE: i32 = 0x8000_040Du32 as i32;
    let mut guest = Guest::new();
    let doomed = guest.attach(1, 1);
    let module = guest.open(doomed, "simdsp");
    let held = guest.send(doomed, module, 9, &[]);
    guest.wait_stat("held", 1);
    assert!(guest.ask("kill cdsp 1 twice").starts_with("error"));
    assert_eq!(guest.ask("kill cdsp 1 named"), "ok");
    let notice = guest.raw_answer().expect("a notice");
    assert_eq!(notice[..8], 0xabcd_abcdu64.to_le_bytes());
    assert_eq!(notice[8..20], [4, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
    assert!(guest.is_quiet());

    // What it was at is answered when it is released.
    let kernel = Caller {
        tid: 77,
        ..Guest::kernel(doomed)
    };
    let release = guest.send(kernel, 1, 1, &[words(&[1])]);
    assert_eq!(guest.answer(), (held.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (release.ctx, 0));
    guest.free(&held);
    guest.free(&release);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn polled_thread_may_call_again() {
    // The answer to the first call is late; its poll word is not.
    let mut guest = Guest::new();
    let (caller, memory) = guest.create(1, 1);
    let module = guest.open(caller, "simdsp");
    let script = r#"script {"rules":[{"module":"simdsp","method":2,"nth":1,
        "actions":[{"poll_word":912559},{"touch":{"iova":4096,"len":1,"after_ms":0}},"drop"]}]}"#
        .replace('\n', " ");
    assert_eq!(guest.ask(&script), "ok");
    assert_eq!(guest.ask("expect-fault 1"), "ok");
    let first = guest.send(caller, module, 2, &[]);
    while guest.peek(1, first.addr + 384, 4) != 912559u32.to_le_bytes() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(guest.call(caller, module, 2, &[]).0, 0);
    guest.free(&first);
    guest.release(caller);
    guest.ram.unmap(1, memory, 2 << 20);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn handles() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 3);
    let module = guest.open(caller, "simdsp");
    let buffer = guest.alloc(3, 3 << 12);
    let handle = |offset, len, out| Arg::Handle {
        fd: 12,
        offset,
        len,
        page: buffer,
        size: 3 << 12,
        out,
    };
    let args = [
        words(&[7]),
        Arg::Out(8),
        handle(0, 1, false),
        handle(5000, 300, true),
    ];
    let (status, outs) = guest.call(caller, module, 12, &args);
    assert_eq!(status, 0);
    assert_eq!(
        outs[0],
        0xaf63_bd4c_8601_b7dfu64.to_le_bytes(),
        "FNV-1a of one zero byte"
    );
    assert_eq!(guest.peek(3, buffer + 4999, 4), [0, 7, 138, 13]);
    guest.release(caller);
    guest.ram.unmap(3, buffer, 3 << 12);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn sid_at_bit_56() {
    let mut guest = Guest::with(simdsp::dsp::Config {
        sid_pos: 56,
        banks: vec![1],
        ..Default::default()
    });
    let (caller, memory) = guest.create(1, 1);
    let module = guest.open(caller, "simdsp");
    let (status, outs) = guest.call(caller, module, 2, &[Arg::In(vec![1, 2, 3]), Arg::Out(3)]);
    assert_eq!((status, &outs[0]), (0, &vec![1, 2, 3]));
    guest.release(caller);
    guest.ram.unmap(1, memory, 2 << 20);
    assert_eq!(guest.ask("end"), "ok");
}
