// SPDX-License-Identifier: GPL-2.0

//! The link against a guest that follows the kernel's driver word by word.

use super::server::FIRST_INTENTS;
use super::server::GARBAGE_LIMIT;
use super::slot::REOPEN;
use super::*;
use crate::board::Region;
use crate::message_ram;
use crate::ram::Ram;
use crate::ram::VIRT_RAM_BASE;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

mod smem;

const NAME: &str = "fastrpcglink-apps-dsp";
const SIZE: u32 = 0x400;
/// Offsets of the two FIFOs: guest to DSP, DSP to guest.
const TX: u64 = VIRT_RAM_BASE;
const RX: u64 = VIRT_RAM_BASE + 8 + SIZE as u64;

struct Bell(AtomicUsize);

impl Doorbell for Bell {
    fn ring(&self) -> anyhow::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Records what it is told and echoes messages.
#[derive(Default)]
struct Echo {
    log: Mutex<Vec<String>>,
    channel: Mutex<Option<Arc<dyn Channel>>>,
}

impl Endpoint for Echo {
    fn opened(&self, channel: Arc<dyn Channel>) {
        self.log.lock().unwrap().push("opened".into());
        *self.channel.lock().unwrap() = Some(channel);
    }
    fn message(&self, payload: &[u8]) {
        let entry = format!("message {}", payload.len());
        self.log.lock().unwrap().push(entry);
        let channel = self.channel.lock().unwrap().clone().unwrap();
        let payload = payload.to_vec();
        thread::spawn(move || channel.send(&payload).unwrap());
    }
    fn closed(&self, _by: Side) {
        self.log.lock().unwrap().push("closed".into());
    }
}

/// The guest's side, by the words of the kernel's driver rather than by `Fifo`.
struct Guest {
    ram: Arc<Ram>,
}

impl Guest {
    /// The kernel looks at its FIFO when interrupted, which is after the DSP has read VERSION
    /// (and erased it).
    fn probe(&self) {
        self.ram.store_u32(TX + 4, 0).unwrap();
        self.ram.store_u32(RX, 0).unwrap();
        self.put(&[0, 0, 1, 0, 0, 0, 0, 0]);
        let since = Instant::now();
        while self.ram.load_u32(TX + 8).unwrap() != u32::MAX {
            assert!(since.elapsed() < Duration::from_secs(5), "VERSION not read");
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn put(&self, bytes: &[u8]) {
        let head = self.ram.load_u32(TX + 4).unwrap();
        for (i, b) in bytes.iter().enumerate() {
            let at = (head + i as u32) % SIZE;
            self.ram.write(TX + 8 + u64::from(at), &[*b]).unwrap();
        }
        let head = (head + bytes.len() as u32) % SIZE;
        self.ram.store_u32(TX + 4, head).unwrap();
    }

    fn word(&self, command: u16, p1: u16, p2: u32) {
        let mut b = command.to_le_bytes().to_vec();
        b.extend(p1.to_le_bytes());
        b.extend(p2.to_le_bytes());
        self.put(&b);
    }

    /// Waits for `n` bytes and takes them.
    fn get(&self, n: u32) -> Vec<u8> {
        let since = Instant::now();
        let tail = self.ram.load_u32(RX).unwrap();
        loop {
            let head = self.ram.load_u32(RX + 4).unwrap();
            if (head + SIZE - tail) % SIZE >= n {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(5), "nothing came");
            thread::sleep(Duration::from_micros(50));
        }
        let mut out = vec![0; n as usize];
        for (i, b) in out.iter_mut().enumerate() {
            let at = (tail + i as u32) % SIZE;
            let byte = std::slice::from_mut(b);
            self.ram.read(RX + 8 + u64::from(at), byte).unwrap();
        }
        self.ram.store_u32(RX, (tail + n) % SIZE).unwrap();
        out
    }

    /// Waits for a frame; its command.
    fn next_command(&self) -> u16 {
        let tail = self.ram.load_u32(RX).unwrap();
        let head = self.get(8);
        self.ram.store_u32(RX, tail).unwrap();
        u16::from_le_bytes([head[0], head[1]])
    }

    fn expect(&self, command: u16) -> (u16, u32) {
        let h = self.get(8);
        let got = u16::from_le_bytes([h[0], h[1]]);
        assert_eq!(got, command, "{h:?}");
        let p1 = u16::from_le_bytes([h[2], h[3]]);
        (p1, u32::from_le_bytes([h[4], h[5], h[6], h[7]]))
    }

    /// Version handshake and the DSP's OPEN; its channel id.
    fn come_up(&self) -> u16 {
        self.probe();
        self.expect(1);
        self.expect(0);
        self.word(1, 1, 0);
        self.offered()
    }

    fn offered(&self) -> u16 {
        let (rcid, len) = self.expect(2);
        assert_eq!(len as usize, NAME.len() + 1);
        let name = self.get(len.next_multiple_of(8));
        assert_eq!(&name[..NAME.len()], NAME.as_bytes());
        rcid
    }

    /// What binding a driver does: OPEN_ACK, OPEN, wait for OPEN_ACK.
    fn bind(&self, rcid: u16, lcid: u16) {
        self.word(4, rcid, 0);
        self.word(2, lcid, NAME.len() as u32 + 1);
        let mut name = NAME.as_bytes().to_vec();
        name.resize((NAME.len() + 1).next_multiple_of(8), 0);
        self.put(&name);
        assert_eq!(self.expect(4).0, lcid);
    }

    fn echo(&self, rcid: u16, lcid: u16, payload: &[u8]) {
        self.word(9, lcid, 0);
        let mut rest = (payload.len() as u32).to_le_bytes().to_vec();
        rest.extend([0; 4]);
        rest.extend(payload);
        rest.resize(rest.len().next_multiple_of(8), 0);
        self.put(&rest);
        assert_eq!(self.expect(9).0, rcid);
        let back = self.get(rest.len() as u32);
        assert_eq!(back, rest);
    }
}

fn start() -> (Guest, Link, Arc<Echo>, Arc<Bell>) {
    start_link(false, false)
}

/// Where the words of the power register are.
const POWER: u64 = VIRT_RAM_BASE + 0x1000;

fn start_link(intents: bool, power: bool) -> (Guest, Link, Arc<Echo>, Arc<Bell>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, 0x2000).unwrap());
    let region = |base| Region { base, len: 0x1000 };
    let wires = Wires {
        pipes: message_ram::lay(&ram, region(VIRT_RAM_BASE), SIZE).unwrap(),
        intents,
        power: power.then(|| Power::new(&ram, region(POWER)).unwrap()),
    };
    let echo = Arc::new(Echo::default());
    let bell = Arc::new(Bell(AtomicUsize::new(0)));
    let service = Service {
        name: NAME.into(),
        endpoint: Arc::clone(&echo) as Arc<dyn Endpoint>,
    };
    let link = Link::start("test", wires, Arc::clone(&bell) as _, vec![service]).unwrap();
    (Guest { ram }, link, echo, bell)
}

fn wait_log(echo: &Echo, want: &[&str]) {
    let since = Instant::now();
    while *echo.log.lock().unwrap() != want {
        let log = echo.log.lock().unwrap().clone();
        assert!(since.elapsed() < Duration::from_secs(5), "{log:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn handshake_messages_and_wraps() {
    let (guest, link, echo, bell) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    for i in 0..200usize {
        guest.echo(rcid, 7, &vec![i as u8; 1 + i % 90]);
    }
    assert!(bell.0.load(Ordering::Relaxed) >= 204);
    drop(link);
    let log = echo.log.lock().unwrap();
    assert_eq!((log[0].as_str(), log.len()), ("opened", 202));
    assert_eq!(log.last().unwrap(), "closed");
}

#[test]
fn a_sender_can_tell_what_is_read() {
    let (guest, link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    wait_log(&echo, &["opened"]);
    let channel = echo.channel.lock().unwrap().clone().unwrap();
    assert!(channel.is_read().unwrap());
    channel.send(b"x").unwrap();
    assert!(!channel.is_read().unwrap());
    guest.get(24);
    assert!(channel.is_read().unwrap());
    // What nobody will read is not waited for.
    channel.send(b"x").unwrap();
    drop(link);
    assert!(channel.is_read().is_err());
}

/// Answers of a group are not to be had before the last of them, and come with one interrupt.
#[test]
fn a_group_is_answered_together() {
    let (guest, link, echo, bell) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    wait_log(&echo, &["opened"]);
    let channel = echo.channel.lock().unwrap().clone().unwrap();
    let pace = link.pace();
    pace.set(Some(Duration::from_millis(20)), 3);
    let rings = bell.0.load(Ordering::Relaxed);
    for _ in 0..2 {
        channel.post(b"x").unwrap();
    }
    thread::sleep(Duration::from_millis(30));
    assert!(channel.is_read().unwrap());
    let began = Instant::now();
    channel.post(b"x").unwrap();
    for _ in 0..3 {
        assert_eq!(guest.expect(9).0, rcid);
        guest.get(16);
    }
    assert!(began.elapsed() >= Duration::from_millis(20));
    // One more than a group is another group's; nothing is left when nobody is waited for.
    channel.post(b"x").unwrap();
    thread::sleep(Duration::from_millis(30));
    assert!(channel.is_read().unwrap());
    assert_eq!(bell.0.load(Ordering::Relaxed), rings + 1);
    pace.set(None, 1);
    assert_eq!(guest.expect(9).0, rcid);
}

#[test]
fn chunks_make_one_message() {
    let (guest, _link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.word(9, 7, 0);
    guest.put(b"\x08\0\0\0\x10\0\0\0abcdefgh");
    guest.word(12, 7, 0);
    guest.put(b"\x10\0\0\0\0\0\0\0ijklmnopqrstuvwx");
    assert_eq!(guest.expect(9).0, rcid);
    assert_eq!(guest.get(32)[8..], *b"abcdefghijklmnopqrstuvwx");
    wait_log(&echo, &["opened", "message 24"]);
}

#[test]
fn driver_unbinds_and_binds_again() {
    let (guest, _link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.echo(rcid, 7, b"x");
    guest.word(3, 7, 0);
    assert_eq!(guest.expect(11).0, 7);
    assert_eq!(guest.expect(3).0, rcid);
    let refused = echo.channel.lock().unwrap().clone().unwrap().send(b"late");
    assert!(refused.unwrap_err().to_string().contains("closed"));
    guest.word(11, rcid, 0);
    let again = guest.offered();
    assert_ne!(again, rcid);
    guest.bind(again, 8);
    guest.echo(again, 8, b"y");
    wait_log(
        &echo,
        &["opened", "message 1", "closed", "opened", "message 1"],
    );
}

#[test]
fn a_driver_that_refuses_is_asked_less_and_less() {
    let (guest, _link, _echo, _) = start();
    let mut rcid = guest.come_up();
    let mut pauses = Vec::new();
    for lcid in 1..4 {
        guest.bind(rcid, lcid);
        guest.word(3, lcid, 0);
        guest.expect(11);
        guest.expect(3);
        guest.word(11, rcid, 0);
        let since = Instant::now();
        rcid = guest.offered();
        pauses.push(since.elapsed());
    }
    assert!(
        pauses[2] > pauses[0] && pauses[2] >= REOPEN * 8,
        "{pauses:?}"
    );
}

#[test]
fn transport_starts_anew_at_any_place() {
    let (guest, _link, echo, _) = start();
    let mut want = Vec::new();
    for round in 0..40usize {
        let rcid = guest.come_up();
        guest.bind(rcid, 7);
        for i in 0..round {
            guest.echo(rcid, 7, &[i as u8; 40]);
        }
        want.push("opened");
        want.extend(std::iter::repeat_n("message 40", round));
        wait_log(&echo, &want);
        want.push("closed");
    }
}

/// The guest is caught between its two index writes: what lies behind is not replayed.
#[test]
fn stale_frames_are_not_replayed() {
    let (guest, _link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    for i in 0..30 {
        guest.echo(rcid, 7, &[i; 40]);
    }
    let mut want = vec!["opened"];
    want.extend(["message 40"; 30]);
    guest.ram.store_u32(TX + 4, 0).unwrap();
    thread::sleep(Duration::from_millis(20));
    wait_log(&echo, &want);
    guest.come_up();
    want.push("closed");
    wait_log(&echo, &want);
}

/// An interrupt was pending while the transport started: the guest has read all up to our head
/// before we see its VERSION, and found nothing but words to pass over.
#[test]
fn a_guest_that_has_read_ahead() {
    let (guest, _link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    for i in 0..10 {
        guest.echo(rcid, 7, &[i; 40]);
    }
    wait_log(&echo, &[&["opened"][..], &["message 40"; 10]].concat());
    let head = guest.ram.load_u32(RX + 4).unwrap();
    let last = head - 56;
    guest.ram.store_u32(RX, 0).unwrap();
    assert!(guest.get(last).iter().all(|b| *b == 0));
    guest.get(56);
    guest.ram.store_u32(TX + 4, 0).unwrap();
    guest.put(&[0, 0, 1, 0, 0, 0, 0, 0]);
    guest.expect(1);
    guest.expect(0);
    guest.word(1, 1, 0);
    let rcid = guest.offered();
    guest.bind(rcid, 7);
    guest.echo(rcid, 7, b"x");
}

#[test]
fn dsp_restart_takes_the_channel_and_offers_it_again() {
    let (guest, link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.echo(rcid, 7, b"x");
    let restarter = link.restarter(NAME);
    restarter.restart(Duration::from_millis(30)).unwrap();
    assert_eq!(guest.expect(3).0, rcid);
    // The driver's last words reach nobody; its endpoint closes; the transport agrees.
    guest.word(9, 7, 0);
    guest.put(b"\x08\0\0\0\0\0\0\0releases");
    guest.word(3, 7, 0);
    guest.word(11, rcid, 0);
    assert_eq!(guest.expect(11).0, 7);
    let again = guest.offered();
    guest.bind(again, 9);
    wait_log(&echo, &["opened", "message 1", "closed", "opened"]);
}

#[test]
fn garbage_is_dropped_and_the_link_lives() {
    let (guest, _link, _echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    guest.word(0x4242, 0, 0);
    thread::sleep(GARBAGE_LIMIT + Duration::from_millis(200));
    guest.echo(rcid, 7, b"still here");
}

#[test]
fn a_full_fifo_holds_the_sender() {
    let (guest, link, echo, _) = start();
    let rcid = guest.come_up();
    guest.bind(rcid, 7);
    wait_log(&echo, &["opened"]);
    let channel = echo.channel.lock().unwrap().clone().unwrap();
    let sender = thread::spawn(move || {
        (0..40u8)
            .map(|i| channel.send(&[i; 48]))
            .take_while(|r| r.is_ok())
            .count()
    });
    thread::sleep(Duration::from_millis(30));
    assert!(!sender.is_finished());
    for i in 0..20u8 {
        assert_eq!(guest.expect(9).0, rcid);
        assert_eq!(guest.get(56)[8..], [i; 48]);
    }
    drop(link);
    assert!(
        sender.join().unwrap() < 40,
        "sends fail once the link is gone"
    );
}
