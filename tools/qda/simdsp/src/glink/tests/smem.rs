// SPDX-License-Identifier: GPL-2.0

//! Links as they are over SMEM: intents, and a guest that starts and stops the processor.

use super::*;

impl Guest {
    /// INTENT of the DSP: size and id of each.
    fn intents(&self, rcid: u16) -> Vec<(u32, u32)> {
        let (cid, count) = self.expect(5);
        assert_eq!(cid, rcid);
        let words = self.get(8 * count);
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap());
        words
            .chunks(8)
            .map(|pair| (word(&pair[..4]), word(&pair[4..])))
            .collect()
    }

    /// A chunk of a message: TX_DATA (9) or its continuation (12).
    fn data(&self, command: u16, lcid: u16, iid: u32, chunk: &[u8], left: u32) {
        self.word(command, lcid, iid);
        let mut rest = (chunk.len() as u32).to_le_bytes().to_vec();
        rest.extend(left.to_le_bytes());
        rest.extend(chunk);
        rest.resize(rest.len().next_multiple_of(8), 0);
        self.put(&rest);
    }

    /// A message of the DSP in one chunk: intent and payload.
    fn message(&self, rcid: u16) -> (u32, Vec<u8>) {
        let (cid, iid) = self.expect(9);
        assert_eq!(cid, rcid);
        let sizes = self.get(8);
        let len = u32::from_le_bytes(sizes[..4].try_into().unwrap());
        assert_eq!(sizes[4..], [0; 4]);
        let mut payload = self.get(len.next_multiple_of(8));
        payload.truncate(len as usize);
        (iid, payload)
    }

    /// INTENT with one intent.
    fn announce(&self, lcid: u16, size: u32, iid: u32) {
        self.word(5, lcid, 1);
        self.put(&[size.to_le_bytes(), iid.to_le_bytes()].concat());
    }

    /// Starts or stops the processor, as the driver of a remote processor does.
    fn switch(&self, on: bool) {
        self.ram.store_u32(POWER, u32::from(on)).unwrap();
        let since = Instant::now();
        while self.ram.load_u32(POWER + 4).unwrap() != u32::from(on) {
            assert!(since.elapsed() < Duration::from_secs(5));
            thread::sleep(Duration::from_micros(50));
        }
    }
}

#[test]
fn intents_of_both_sides() {
    let (guest, _link, echo, _) = start_link(true, false);
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    let ours = guest.intents(rcid);
    assert_eq!(ours.len(), FIRST_INTENTS.0);
    assert!(ours.iter().all(|(size, _)| *size == FIRST_INTENTS.1));
    // One intent of the guest is used again and again.
    guest.announce(7, 1024, 3);
    for (i, (_, iid)) in ours.iter().cycle().take(30).enumerate() {
        let payload = vec![i as u8; 1 + i % 60];
        guest.data(9, 7, *iid, &payload, 0);
        // The order of RX_DONE and answer is not certain.
        let (mut done, mut answer) = (None, None);
        while done.is_none() || answer.is_none() {
            match guest.next_command() {
                14 => done = Some(guest.expect(14)),
                _ => answer = Some(guest.message(rcid)),
            }
        }
        assert_eq!(done, Some((rcid, *iid)));
        assert_eq!(answer, Some((3, payload)));
        guest.word(14, 7, 3);
    }
    assert_eq!(echo.log.lock().unwrap().len(), 31);
}

#[test]
fn intents_on_request() {
    let (guest, _link, echo, _) = start_link(true, false);
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.intents(rcid);
    // The guest asks; every second intent is for one message.
    let mut granted = Vec::new();
    for (round, size) in [100u32, 200].into_iter().enumerate() {
        guest.word(7, 7, size);
        let [(bytes, iid)] = guest.intents(rcid)[..] else {
            panic!()
        };
        assert_eq!((bytes, guest.expect(8)), (size, (rcid, 1)));
        guest.data(9, 7, iid, &[1; 56], 44);
        guest.data(12, 7, iid, &[2; 44], 0);
        let (mut done, mut asked) = (None, None);
        while done.is_none() || asked.is_none() {
            match guest.next_command() {
                // The DSP has no intent for its answer: it asks.
                7 => asked = Some(guest.expect(7)),
                command => done = Some((command, guest.expect(command))),
            }
        }
        assert_eq!(done, Some(([6, 14][round], (rcid, iid))));
        assert_eq!(asked, Some((rcid, 100)));
        guest.announce(7, 100, size);
        guest.word(8, 7, 1);
        let (used, payload) = guest.message(rcid);
        assert_eq!(
            (used, payload),
            (size, [[1; 56].as_slice(), &[2; 44]].concat())
        );
        guest.word(6, 7, size);
        granted.push(iid);
    }
    // The first is gone: what comes for it is dropped. None is larger than the DSP can hold.
    guest.data(9, 7, granted[0], b"nowhere", 0);
    guest.word(7, 7, 1 << 20);
    assert_eq!(guest.expect(8), (rcid, 0));
    wait_log(&echo, &["opened", "message 100", "message 100"]);
}

#[test]
fn a_guest_that_grants_no_intent() {
    let (guest, link, echo, _) = start_link(true, false);
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.intents(rcid);
    wait_log(&echo, &["opened"]);
    let channel = echo.channel.lock().unwrap().clone().unwrap();
    let send = |channel: &Arc<dyn Channel>| {
        let channel = Arc::clone(channel);
        thread::spawn(move || channel.send(b"word").unwrap_err().to_string())
    };
    let refused = send(&channel);
    assert_eq!(guest.expect(7), (rcid, 4));
    guest.word(8, 7, 0);
    assert!(refused.join().unwrap().contains("has no intent"));
    // One that waits when the link goes is not left behind.
    let waiting = send(&channel);
    assert_eq!(guest.expect(7), (rcid, 4));
    drop(link);
    assert!(waiting.join().unwrap().contains("closed"));
}

#[test]
fn the_guest_stops_and_starts_the_processor() {
    let (guest, _link, echo, _) = start_link(true, true);
    let mut want = Vec::new();
    for round in 0..5 {
        guest.switch(true);
        let rcid = guest.come_up();
        guest.bind(rcid, 7);
        let (_, iid) = guest.intents(rcid)[0];
        guest.announce(7, 64, 1);
        guest.data(9, 7, iid, &[round; 40], 0);
        want.extend(["opened", "message 40"]);
        wait_log(&echo, &want);
        guest.switch(false);
        want.push("closed");
        wait_log(&echo, &want);
        // What it had to say is not heard any more, and what we say does not get out.
        let head = guest.ram.load_u32(RX + 4).unwrap();
        guest.data(9, 7, iid, &[round; 40], 0);
        let channel = echo.channel.lock().unwrap().clone().unwrap();
        assert!(channel.send(b"late").is_err());
        thread::sleep(Duration::from_millis(5));
        assert_eq!(guest.ram.load_u32(RX + 4).unwrap(), head);
    }
    wait_log(&echo, &want);
}

#[test]
fn a_crashed_processor_does_nothing() {
    let (guest, link, echo, _) = start_link(true, true);
    guest.switch(true);
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.intents(rcid);
    wait_log(&echo, &["opened"]);
    link.restarter(NAME).crash().unwrap();
    wait_log(&echo, &["opened", "closed"]);
    let indices = || [TX, RX + 4].map(|at| guest.ram.load_u32(at).unwrap());
    let before = indices();
    guest.announce(7, 64, 1);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(indices(), before);
    // The guest notices, and starts it again.
    guest.switch(false);
    guest.switch(true);
    let rcid = guest.come_up();
    guest.bind(rcid, 8);
    wait_log(&echo, &["opened", "closed", "opened"]);
}

#[test]
fn a_crashed_processor_restarts() {
    let (guest, link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    let restarter = link.restarter(NAME);
    restarter.crash().unwrap();
    guest.data(9, 7, 0, b"dropped", 0);
    restarter.restart(Duration::from_millis(10)).unwrap();
    assert_eq!(guest.expect(3).0, rcid);
    guest.word(3, 7, 0);
    guest.word(11, rcid, 0);
    assert_eq!(guest.expect(11).0, 7);
    let again = guest.offered();
    guest.bind(again, 9);
    wait_log(&echo, &["opened", "closed", "opened"]);
}

/// A driver that is being unbound because of it must not wait for us.
#[test]
fn a_channel_that_closes_still_takes_messages() {
    let (guest, link, echo, _) = start_link(true, true);
    guest.switch(true);
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    let (_, iid) = guest.intents(rcid)[0];
    link.restarter(NAME).restart(Duration::ZERO).unwrap();
    assert_eq!(guest.expect(3).0, rcid);
    guest.data(9, 7, iid, b"last words", 0);
    assert_eq!(guest.expect(14), (rcid, iid));
    guest.word(7, 7, 40);
    assert_eq!(guest.intents(rcid).len(), 1);
    assert_eq!(guest.expect(8), (rcid, 1));
    guest.word(3, 7, 0);
    guest.word(11, rcid, 0);
    assert_eq!(guest.expect(11).0, 7);
    // None of it counts for the channel that comes then.
    let again = guest.offered();
    guest.bind(again, 8);
    assert_eq!(guest.intents(again), [1, 2, 3, 4].map(|iid| (64, iid)));
    wait_log(&echo, &["opened", "closed", "opened"]);
}
