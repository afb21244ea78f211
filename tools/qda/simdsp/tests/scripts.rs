// SPDX-License-Identifier: GPL-2.0

//! Scripts, reverse calls, and the control port.

mod guest;

use guest::{words, Arg, Caller, Guest, Sent};
use simdsp::glink::Side;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BAD_STATE: i32 = 0x8000_040Du32 as i32;

/// A guest with a process that has the debug module open.
fn opened() -> (Guest, Caller, u32) {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let module = guest.open(caller, "simdsp");
    (guest, caller, module)
}

/// Sends an echo to which the script gives these actions.
fn scripted(guest: &mut Guest, caller: Caller, module: u32, actions: &str) -> Sent {
    let script = format!(
        r#"script {{"replace":true,"rules":[{{"module":"simdsp","method":2,"actions":[{actions}]}}]}}"#
    );
    assert_eq!(guest.ask(&script), "ok");
    guest.send(caller, module, 2, &[Arg::In(vec![7; 8]), Arg::Out(8)])
}

/// On a link that is measured, the call that does nothing is answered without a look at its tables,
/// and every other as always.
#[test]
fn measured() {
    let (mut guest, caller, module) = opened();
    let noop = |guest: &mut Guest| {
        let mut raw = guest.encode(caller, module, 16, &[Arg::In(vec![7; 8])]);
        let ctx = raw.sent.ctx;
        // A length that no page entry covers.
        raw.meta[8..16].copy_from_slice(&(1u64 << 20).to_le_bytes());
        guest.send_raw(raw);
        let answer = guest.raw_answer().expect("an answer");
        assert_eq!(answer[..8], ctx.to_le_bytes());
        i32::from_le_bytes(answer[8..12].try_into().unwrap())
    };
    assert_ne!(noop(&mut guest), 0);
    assert_eq!(guest.ask("hot cdsp on 1000"), "ok 0 0");
    assert_eq!(noop(&mut guest), 0);
    let sent = guest.send(caller, module, 2, &[Arg::In(vec![7; 8]), Arg::Out(8)]);
    assert!(guest.raw_answer().is_some());
    assert_eq!(guest.outs(&sent), [vec![7; 8]]);
    assert!(guest.ask("hot cdsp off").starts_with("ok 1 "));
    assert_ne!(noop(&mut guest), 0);
    assert!(guest.ask("hot adsp off").starts_with("error "));
}

/// No call on a link that is measured is answered before the service time is over.
#[test]
fn measured_calls_of_all_kinds_take_their_time() {
    let (mut guest, caller, module) = opened();
    guest.ask("hot cdsp on 30000000");
    let began = Instant::now();
    guest.send(caller, module, 2, &[Arg::In(vec![7; 8]), Arg::Out(8)]);
    assert!(guest.raw_answer().is_some());
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(guest.ask("hot cdsp off"), "ok 0 0");
}

#[test]
fn entries_of_a_bank() {
    let guest = Guest::new();
    guest.ram.map(2, 0x10000, 3 * 4096);
    assert_eq!(guest.ask("entries cdsp 2 0x10800 0x2000"), "ok 3");
    assert!(guest
        .ask("entries cdsp 2 0x10000 0x4000")
        .starts_with("error "));
    assert!(guest.ask("entries cdsp 2 0x10000").starts_with("error "));
}

#[test]
fn answers() {
    let (mut guest, caller, module) = opened();
    let mut run = |actions: &str, count: usize| {
        let sent = scripted(&mut guest, caller, module, actions);
        let answers: Vec<_> = (0..count).filter_map(|_| guest.raw_answer()).collect();
        assert_eq!(answers.len(), count);
        let out = guest.outs(&sent);
        (sent.ctx, answers, out)
    };
    let status = |raw: &[u8]| i32::from_le_bytes(raw[8..12].try_into().unwrap());
    let ctx = |raw: &[u8]| u64::from_le_bytes(raw[..8].try_into().unwrap());

    let (sent, got, out) = run(r#"{"status":-512}"#, 1);
    assert_eq!(
        (ctx(&got[0]), status(&got[0]), &out[0]),
        (sent, -512, &vec![7; 8])
    );
    let (_, got, _) = run(r#"{"short":8}"#, 1);
    assert_eq!(got[0].len(), 8);
    let (sent, got, _) = run(r#"{"long":40}"#, 1);
    assert_eq!((got[0].len(), ctx(&got[0])), (40, sent));
    let (sent, got, _) = run(r#"{"ctx":"stale"}"#, 1);
    assert_eq!(ctx(&got[0]), sent - 0x1_0000);
    let (_, got, _) = run(r#"{"ctx":"sentinel"}"#, 1);
    assert_eq!(ctx(&got[0]), 0xABCD_ABCD);
    let (sent, got, _) = run(r#"{"ctx_first":"unknown"}"#, 2);
    assert_eq!((ctx(&got[0]) == sent, ctx(&got[1])), (false, sent));
    let (sent, got, _) = run(r#"{"short_first":12}"#, 2);
    assert_eq!((got[0].len(), got[1].len(), ctx(&got[1])), (12, 16, sent));
    assert_eq!(got[0], got[1][..12]);
    let (sent, got, _) = run(r#""reply_twice""#, 2);
    assert_eq!((ctx(&got[0]), ctx(&got[1])), (sent, sent));
}

#[test]
fn unexecuted_dropped_and_flooded() {
    let (mut guest, caller, module) = opened();
    let sent = scripted(&mut guest, caller, module, r#"{"fail":2147484692}"#);
    let (status, outs) = guest.take(&sent);
    assert_eq!((status, &outs[0]), (0x8000_0414u32 as i32, &vec![0; 8]));

    let sent = scripted(&mut guest, caller, module, r#""drop""#);
    assert!(guest.is_quiet());
    assert_eq!(guest.outs(&sent)[0], [7; 8]);
    assert_eq!(guest.ask("stat cdsp drops"), "ok 1");

    let sent = scripted(&mut guest, caller, module, r#"{"flood":300}"#);
    for _ in 0..300 {
        assert_ne!(guest.answer().0, sent.ctx);
    }
    assert_eq!(guest.take(&sent).0, 0);
    guest.release(caller);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn metadata_is_rewritten() {
    let (mut guest, caller, module) = opened();
    let actions = r#"{"rewrite":{"word":"pv","index":1,"value":81985529216486895}},
        {"rewrite":{"word":"len","index":1,"value":4294967295}},
        {"rewrite":{"word":"page_size","index":0,"value":5}},
        {"fdlist":[9,10]},{"poll_word":912559}"#
        .replace('\n', "");
    let sent = scripted(&mut guest, caller, module, &actions);
    assert_eq!(guest.answer(), (sent.ctx, 0));
    let word = |at: u64| u64::from_le_bytes(guest.peek(1, sent.addr + at, 8).try_into().unwrap());
    assert_eq!(
        (word(16), word(24), word(56)),
        (0x0123_4567_89ab_cdef, 0xffff_ffff, 5)
    );
    assert_eq!((word(80), word(88), word(96)), (9, 10, 0));
    assert_eq!(word(80 + 384) as u32, 912_559);
}

#[test]
fn any_word_of_the_metadata_and_all_of_it() {
    let (mut guest, caller, module) = opened();
    let actions = r#"{"rewrite":{"word":"any","index":3,"value":4294967298}},
        {"rewrite":{"word":"any","index":116,"value":7}},
        {"rewrite":{"word":"any","index":117,"value":8}}"#
        .replace('\n', "");
    let before = guest.encode(caller, module, 2, &[Arg::In(vec![7; 8]), Arg::Out(8)]);
    let sent = scripted(&mut guest, caller, module, &actions);
    assert_eq!(guest.take(&sent).0, 0);
    let sent = scripted(&mut guest, caller, module, &actions);
    assert_eq!(guest.answer(), (sent.ctx, 0));
    let meta = guest.peek(1, sent.addr, 472);
    assert_eq!(meta[12..16], [2, 0, 0, 0]);
    // The poll word is the last; what lies behind it is not touched.
    assert_eq!(meta[464..472], [7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(meta[16 + 8..16 + 16], before.meta[16 + 8..16 + 16]);
    guest.free(&sent);

    let mut last = Vec::new();
    for _ in 0..2 {
        let sent = scripted(
            &mut guest,
            caller,
            module,
            r#"{"scramble":5},{"fdlist":[9]}"#,
        );
        assert_eq!(guest.answer(), (sent.ctx, 0));
        let meta = guest.peek(1, sent.addr, 472);
        assert!(meta[..80].iter().filter(|byte| **byte == 0).count() < 20);
        assert_eq!(meta[80..88], [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(meta[468..472], [0; 4]);
        // Every call has its own.
        assert_ne!(meta, last);
        assert_eq!(guest.outs(&sent)[0], [7; 8]);
        last = meta;
        guest.free(&sent);
    }

    // More numbers than there is room for end at the poll word.
    let list = vec!["7"; 60].join(",");
    let sent = scripted(
        &mut guest,
        caller,
        module,
        &format!(r#"{{"fdlist":[{list}]}}"#),
    );
    assert_eq!(guest.answer(), (sent.ctx, 0));
    let meta = guest.peek(1, sent.addr, 472);
    assert_eq!(meta[80 + 47 * 8..80 + 48 * 8], [7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(meta[464..468], [0; 4]);
}

#[test]
fn unasked() {
    let guest = Guest::new();
    assert_eq!(guest.ask("say cdsp 01ff 2"), "ok");
    assert_eq!(guest.raw_answer().as_deref(), Some(&[1, 255][..]));
    assert_eq!(guest.raw_answer().as_deref(), Some(&[1, 255][..]));
    assert_eq!(guest.ask("say cdsp -"), "ok");
    assert_eq!(guest.raw_answer().as_deref(), Some(&[][..]));
    assert!(guest.ask("say cdsp 1").starts_with("error "));

    // The same seed says the same.
    let mut said = Vec::new();
    for _ in 0..2 {
        assert_eq!(guest.ask("babble cdsp on 7"), "ok 0");
        said.push((0..20).map(|_| guest.raw_answer()).collect::<Vec<_>>());
        let count = guest.ask("babble cdsp off");
        let count: u64 = count.strip_prefix("ok ").unwrap().parse().unwrap();
        // The last may be counted a little later.
        assert!(count >= 19, "{count}");
        while !guest.is_quiet() {}
    }
    assert_eq!(said[0], said[1]);
    assert!(guest.ask("babble cdsp on").starts_with("error "));
    assert_eq!(guest.ask("babble cdsp on 8"), "ok 0");
    assert_eq!(guest.ask("end"), "ok");
    while !guest.is_quiet() {}
    assert!(guest.is_quiet());
}

/// A DSP that babbles waits for a guest that reads slowly.
#[test]
fn babble_waits() {
    let guest = Guest::new();
    guest.deaf.store(true, Ordering::Relaxed);
    assert_eq!(guest.ask("babble cdsp on 7"), "ok 0");
    assert!(guest.raw_answer().is_some());
    assert!(guest.is_quiet());
    guest.deaf.store(false, Ordering::Relaxed);
    assert!(guest.raw_answer().is_some());
    assert!(guest.raw_answer().is_some());
    // One that waits can be stopped as well.
    guest.deaf.store(true, Ordering::Relaxed);
    while !guest.is_quiet() {}
    let count = guest.ask("babble cdsp off");
    assert!(count.starts_with("ok "), "{count}");
}

#[test]
fn held_calls() {
    let (mut guest, caller, module) = opened();
    let sent = scripted(&mut guest, caller, module, r#""hold""#);
    assert!(guest.is_quiet());
    guest.wait_stat("held", 1);
    assert_eq!(guest.ask("release-held cdsp"), "ok 1");
    let (status, outs) = guest.take(&sent);
    assert_eq!((status, &outs[0]), (0, &vec![7; 8]));

    let sent = scripted(&mut guest, caller, module, r#""hold""#);
    let module_held = guest.send(Caller { tid: 9, ..caller }, module, 9, &[]);
    guest.wait_stat("held", 2);
    assert_eq!(guest.ask("release-held cdsp -110"), "ok 2");
    let mut both = [guest.answer(), guest.answer()];
    both.sort_unstable();
    assert_eq!(both, [(sent.ctx, -110), (module_held.ctx, -110)]);
    // Not executed: nothing was written.
    assert_eq!(guest.outs(&sent)[0], [0; 8]);
    guest.free(&module_held);

    // RELEASE answers held and sleeping calls first.
    let sent = scripted(&mut guest, caller, module, r#""hold""#);
    let asleep = guest.send(Caller { tid: 9, ..caller }, module, 7, &[words(&[60_000])]);
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    let kernel = Caller {
        tid: 77,
        ..Guest::kernel(caller)
    };
    let release = guest.send(kernel, 1, 1, &[words(&[1])]);
    let mut first = [guest.answer(), guest.answer()];
    first.sort_unstable();
    assert_eq!(first, [(sent.ctx, BAD_STATE), (asleep.ctx, BAD_STATE)]);
    assert_eq!(guest.answer(), (release.ctx, 0));
    assert!(start.elapsed() < Duration::from_secs(20));
    [sent, asleep, release]
        .iter()
        .for_each(|call| guest.free(call));
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn touches_and_expected_faults() {
    let (mut guest, caller, module) = opened();
    guest.ram.map(2, 0x1000, 4096);
    let touch = |iova: u32, len: u32, write: u32| [words(&[iova, 0, len, write])];
    let secret = touch(0x1000, 4, 0);
    // Another session's address is not this one's.
    assert_eq!(
        guest.call(caller, module, 6, &secret).0,
        0x8000_0401u32 as i32
    );
    assert_eq!(
        guest.ask("faults"),
        "ok 1\ncdsp client 1 bank 1 F_TRANSLATION sid 0x1401 iova 0x1000 level 3 r"
    );
    assert_eq!(guest.ask("expect-fault 1"), "ok");
    let mine = guest.alloc(1, 4096);
    assert_eq!(
        guest.call(caller, module, 6, &touch(mine as u32, 4, 1)).0,
        0
    );
    assert_eq!(guest.peek(1, mine, 5), [0xA5, 0xA5, 0xA5, 0xA5, 0]);
    assert_eq!(guest.ask(&format!("touch cdsp 1 {mine:#x} 4096 w")), "ok");
    let refused = guest.ask(&format!("touch cdsp 1 {mine:#x} 4097 w"));
    let wanted = format!(
        "fault F_TRANSLATION sid 0x1401 iova {:#x} level 3 w",
        mine + 4096
    );
    assert_eq!(refused, wanted);
    assert!(guest.ask("touch cdsp 5 0 1 r").starts_with("error "));
    guest.release(caller);
    guest.ram.unmap(1, mine, 4096);
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn the_end_finds_what_is_left() {
    let (mut guest, caller, module) = opened();
    let leak = guest.alloc(1, 8192);
    assert_eq!(
        guest.call(caller, module, 6, &[words(&[0, 0, 4, 0])]).0,
        0x8000_0401u32 as i32
    );
    guest.send(caller, module, 9, &[]);
    let report = guest.ask("end");
    let mut lines = report.lines();
    assert_eq!(lines.next(), Some("fail 5"));
    for start in [
        "cdsp client 1 is alive",
        "cdsp call 0x",
        "cdsp bank 1: 0x3000 bytes are mapped",
        "1 faults, 0 expected",
        "cdsp client 1 bank 1 F_TRANSLATION",
    ] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(start), "{line}");
    }
    // What lived before a test is not its business.
    assert_eq!(guest.ask("begin second"), "ok");
    let second = guest.attach(2, 2);
    guest.release(second);
    assert_eq!(guest.ask("end"), "ok");
    let _ = leak;
    // A fault that was expected and did not come is a failure, too.
    assert_eq!(guest.ask("begin third"), "ok");
    assert_eq!(guest.ask("expect-fault 1"), "ok");
    assert_eq!(guest.ask("end"), "fail 1\n0 faults, 1 expected");
    assert_eq!(guest.ask("begin fourth"), "ok");
    assert_eq!(guest.ask("expect-fault any"), "ok");
    assert_eq!(guest.ask("end"), "ok");
}

#[test]
fn closing_ends_everything() {
    let (mut guest, caller, module) = opened();
    guest.send(caller, module, 9, &[]);
    guest.send(Caller { tid: 8, ..caller }, module, 7, &[words(&[60_000])]);
    std::thread::sleep(Duration::from_millis(30));
    guest.dsp.closed(Side::Dsp);
    assert!(guest.is_quiet());
    for key in ["outstanding", "processes", "parked", "violations"] {
        assert_eq!(guest.ask(&format!("stat cdsp {key}")), "ok 0", "{key}");
    }
}

fn next2(previous: &[u32; 3], packed: Vec<u8>, space: usize) -> Vec<Arg> {
    let [ctx, result, length] = *previous;
    let head = words(&[ctx, result, length, space as u32]);
    vec![head, Arg::In(packed), Arg::Out(16), Arg::Out(space)]
}

fn head(out: &[u8]) -> [u32; 4] {
    [0, 4, 8, 12].map(|at| u32::from_le_bytes(out[at..at + 4].try_into().unwrap()))
}

#[test]
fn reverse_calls() {
    let mut guest = Guest::new();
    let caller = guest.attach(1, 1);
    let thread = Caller { tid: 50, ..caller };
    assert_eq!(guest.call(thread, 3, 3, &[]).0, 0);
    // The control port asks in a thread of its own, as the call waits for this one.
    let control = guest.control.clone();
    let asked = std::thread::spawn(move || control.handle("reverse-open cdsp apps_std"));
    let sent = guest.send(thread, 3, 4, &next2(&[0, u32::MAX, 0], vec![], 20));
    let (status, outs) = guest.take(&sent);
    let [ctx, handle, sc, length] = head(&outs[0]);
    assert_eq!((status, handle, sc), (0, 0, 0x0002_0200));
    // It does not fit in 20 bytes: the rest is fetched.
    assert_eq!(length, 16 + 8 + 9 + 8);
    let fetch = [words(&[ctx, 20, 1000]), Arg::Out(4), Arg::Out(1000)];
    let (status, rest) = guest.call(thread, 3, 5, &fetch);
    assert_eq!((status, &rest[0]), (0, &length.to_le_bytes().to_vec()));
    let packed = [&outs[1][..], &rest[1][..length as usize - 20]].concat();
    assert_eq!(packed[24..], *b"apps_std\0\x08\0\0\0\0\x01\0\0");
    // The answer: handle 5, error 0; an error text.
    let mut answer = vec![8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    answer.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend([0; 256]);
    let length = answer.len() as u32;
    let parked = guest.send(thread, 3, 4, &next2(&[ctx, 0, length], answer, 256));
    assert_eq!(asked.join().unwrap(), "ok 0 5 0\n");
    guest.wait_stat("listeners", 1);
    // Through another handle, with data.
    let control = guest.control.clone();
    let asked = std::thread::spawn(move || {
        control.handle("reverse cdsp 5 2 client:1 in:0102ff out:2 out:0")
    });
    let (status, outs) = guest.take(&parked);
    let [ctx, handle, sc, length] = head(&outs[0]);
    assert_eq!((status, handle, sc, length), (0, 5, 0x0201_0200, 19));
    assert_eq!(
        outs[1][..19],
        [3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 255, 2, 0, 0, 0, 0, 0, 0, 0]
    );
    let answer = vec![2, 0, 0, 0, 0, 0, 0, 0, 0xAB, 0xCD, 0, 0, 0, 0];
    let parked = guest.send(thread, 3, 4, &next2(&[ctx, 7, 14], answer, 256));
    assert_eq!(asked.join().unwrap(), "ok 7 abcd -\n");
    guest.wait_stat("listeners", 1);
    // Completed with an error by the test, by the process' exit, and by RELEASE.
    assert_eq!(guest.ask("complete-listener cdsp 46"), "ok 1");
    assert_eq!(guest.take(&parked).0, 46);
    let parked = guest.send(thread, 7, 6, &next2(&[0, 0, 0], vec![], 256));
    guest.wait_stat("listeners", 1);
    let exit = guest.send(caller, 4, 2, &[]);
    assert_eq!(guest.answer(), (parked.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (exit.ctx, 0));
    // One that comes later is not left waiting.
    let late = next2(&[0, 0, 0], vec![], 256);
    assert_eq!(guest.call(thread, 7, 6, &late).0, BAD_STATE);
    guest.release(caller);
    let caller = guest.attach(1, 1);
    let parked = guest.send(thread, 7, 6, &next2(&[0, 0, 0], vec![], 256));
    guest.wait_stat("listeners", 1);
    let release = guest.send(Guest::kernel(caller), 1, 1, &[words(&[1])]);
    assert_eq!(guest.answer(), (parked.ctx, BAD_STATE));
    assert_eq!(guest.answer(), (release.ctx, 0));
    assert_eq!(guest.broken(), [""; 0]);
    assert!(guest
        .ask("reverse-open cdsp x")
        .starts_with("error no listener"));
}

#[test]
fn a_port_is_a_stream_of_lines() {
    use std::io::{BufRead, BufReader, Write};
    let guest = Guest::new();
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let control = guest.control.clone();
    let server = std::thread::spawn(move || control.serve(theirs));
    ours.write_all(b"dsps\r\nstat cdsp banks\nbogus\nmappings cdsp 1\n")
        .unwrap();
    let mut reader = BufReader::new(ours.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(line(), "ok 1\n");
    assert_eq!(line(), "cdsp sid_pos 32 banks 1,2,3\n");
    assert_eq!(line(), "ok 3\n");
    assert!(line().starts_with("error unknown request"));
    assert_eq!(line(), "ok 0\n");
    ours.shutdown(std::net::Shutdown::Both).unwrap();
    server.join().unwrap().unwrap();
}
