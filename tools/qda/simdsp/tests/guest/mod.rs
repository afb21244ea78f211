// SPDX-License-Identifier: GPL-2.0

//! The guest's side for tests: memory with pages that are there or not, a channel, and an encoder
//! of calls that shares no code with the simulator's decoder.

#![allow(dead_code)]

use simdsp::control::Server;
use simdsp::dsp::{Config, Dsp};
use simdsp::pace::Pace;
use simdsp::port::{Bank, Channel, Fault, Mapping, Memory};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PAGE: u64 = 4096;

/// Banks of the test DSP.
pub const BANKS: [Bank; 3] = [1, 2, 3];

/// Pages by bank and page number, and banks that are seen through another one's stream or table.
#[derive(Default)]
pub struct Ram(
    Mutex<BTreeMap<(Bank, u64), Vec<u8>>>,
    Mutex<BTreeMap<Bank, (u32, Bank)>>,
);

impl Ram {
    /// Has `bank` use stream id `sid` and the page table of another bank.
    pub fn join(&self, bank: Bank, sid: u32, other: Bank) {
        self.1.lock().unwrap().insert(bank, (sid, other));
    }

    fn joined(&self, bank: Bank) -> (u32, Bank) {
        let joined = self.1.lock().unwrap().get(&bank).copied();
        joined.unwrap_or((0x1400 + bank, bank))
    }

    pub fn map(&self, bank: Bank, iova: u64, len: u64) {
        for page in iova / PAGE..(iova + len).div_ceil(PAGE) {
            self.0
                .lock()
                .unwrap()
                .insert((bank, page), vec![0; PAGE as usize]);
        }
    }

    pub fn unmap(&self, bank: Bank, iova: u64, len: u64) {
        for page in iova / PAGE..(iova + len).div_ceil(PAGE) {
            self.0.lock().unwrap().remove(&(bank, page));
        }
    }

    /// Calls `each` with the offset of each piece that lies in one page, and the piece.
    fn access(
        &self,
        bank: Bank,
        iova: u64,
        len: usize,
        write: bool,
        mut each: impl FnMut(usize, &mut [u8]),
    ) -> Result<(), Fault> {
        let mut pages = self.0.lock().unwrap();
        let mut done = 0;
        while done < len {
            let at = iova + done as u64;
            let page = pages.get_mut(&(bank, at / PAGE)).ok_or(Fault {
                kind: "F_TRANSLATION",
                sid: 0x1400 + bank,
                iova: at,
                level: 3,
                write,
            })?;
            let start = (at % PAGE) as usize;
            let end = (start + len - done).min(page.len());
            each(done, &mut page[start..end]);
            done += end - start;
        }
        Ok(())
    }
}

impl Memory for Ram {
    fn read(&self, bank: Bank, iova: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.access(bank, iova, buf.len(), false, |at, piece| {
            buf[at..at + piece.len()].copy_from_slice(piece);
        })
    }
    fn write(&self, bank: Bank, iova: u64, data: &[u8]) -> Result<(), Fault> {
        self.access(bank, iova, data.len(), true, |at, piece| {
            piece.copy_from_slice(&data[at..at + piece.len()]);
        })
    }
    fn mappings(&self, bank: Bank) -> Result<Vec<Mapping>, Fault> {
        let pages = self.0.lock().unwrap();
        let mine = pages.keys().filter(|(of, _)| *of == bank);
        Ok(mine
            .map(|(_, page)| Mapping {
                iova: page * PAGE,
                pa: page * PAGE,
                len: PAGE,
                writable: true,
            })
            .collect())
    }
    fn entries(&self, bank: Bank, iova: u64, len: u64) -> Result<u64, Fault> {
        let mut pages = 0;
        self.access(bank, iova, len as usize, false, |_, _| pages += 1)?;
        Ok(pages)
    }

    fn streams(&self, bank: Bank) -> Vec<u32> {
        vec![self.joined(bank).0]
    }
    fn tables(&self, bank: Bank) -> Vec<(u32, u64)> {
        let (sid, table) = self.joined(bank);
        vec![(sid, 0x4000_0000 + u64::from(table) * PAGE)]
    }
}

struct Answers {
    sender: Mutex<Sender<Vec<u8>>>,
    pace: Arc<Pace>,
    deaf: Arc<AtomicBool>,
}

impl Channel for Answers {
    fn send(&self, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.sender.lock().unwrap().send(payload.to_vec())?)
    }

    fn is_read(&self) -> anyhow::Result<bool> {
        Ok(!self.deaf.load(Ordering::Relaxed))
    }

    fn pace(&self) -> Option<&Pace> {
        Some(&self.pace)
    }
}

/// An argument of a call.
#[derive(Clone)]
pub enum Arg {
    In(Vec<u8>),
    Out(usize),
    /// Registered buffer: user pointer, page address without bank, bytes.
    Mapped {
        pv: u64,
        page: u64,
        len: u64,
        out: bool,
    },
    /// Handle: number, offset, bytes, page address without bank, bytes of the page entry.
    Handle {
        fd: i32,
        offset: u32,
        len: u32,
        page: u64,
        size: u64,
        out: bool,
    },
}

/// A call that was sent, and where its pieces are.
#[derive(Debug, Clone)]
pub struct Sent {
    pub ctx: u64,
    pub bank: Bank,
    pub addr: u64,
    pub size: u64,
    pub args: usize,
    /// Address and length of each out argument.
    pub outs: Vec<(u64, u64)>,
}

/// Who calls.
#[derive(Clone, Copy)]
pub struct Caller {
    pub client: i32,
    pub tid: i32,
    pub pd: u64,
    pub bank: Bank,
}

/// The wire form of a call before it is sent; tests break it.
pub struct Raw {
    pub message: Vec<u8>,
    pub meta: Vec<u8>,
    pub sent: Sent,
}

/// The test DSP, unless a test has one of its own.
pub fn config() -> Config {
    Config {
        banks: BANKS.to_vec(),
        ..Config::default()
    }
}

pub struct Guest {
    pub ram: Arc<Ram>,
    pub dsp: Arc<Dsp>,
    pub control: Arc<Server>,
    /// Whether it looks as if the guest had not read what it was sent.
    pub deaf: Arc<AtomicBool>,
    answers: Receiver<Vec<u8>>,
    sequence: u64,
    next: u64,
    sid_pos: u32,
}

impl Guest {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        Self::on(config, Ram::default())
    }

    pub fn on(config: Config, ram: Ram) -> Self {
        let ram = Arc::new(ram);
        let sid_pos = config.sid_pos;
        let dsp = Dsp::new(config, ram.clone());
        let (sender, answers) = channel();
        let pace = Arc::new(Pace::default());
        let deaf = Arc::new(AtomicBool::new(false));
        dsp.opened(Arc::new(Answers {
            sender: Mutex::new(sender),
            pace: pace.clone(),
            deaf: deaf.clone(),
        }));
        let paces = vec![(dsp.label().to_owned(), pace)];
        let control = Arc::new(Server::new(vec![dsp.clone()]).with_paces(paces));
        assert_eq!(control.handle("begin test"), "ok\n");
        Self {
            ram,
            dsp,
            control,
            deaf,
            answers,
            sequence: 0,
            next: 0x8000_0000,
            sid_pos,
        }
    }

    /// Opens the channel again after it was closed.
    pub fn reopen(&mut self) {
        let (sender, answers) = channel();
        self.dsp.opened(Arc::new(Answers {
            sender: Mutex::new(sender),
            pace: Arc::default(),
            deaf: self.deaf.clone(),
        }));
        self.answers = answers;
    }

    /// Fresh pages of a bank.
    pub fn alloc(&mut self, bank: Bank, len: u64) -> u64 {
        let at = self.next;
        // A hole behind each piece, so that running over its end faults.
        self.next += len.next_multiple_of(PAGE) + PAGE;
        self.ram.map(bank, at, len);
        at
    }

    fn banked(&self, bank: Bank, iova: u64) -> u64 {
        u64::from(bank) << self.sid_pos | iova
    }

    /// Encodes a call into fresh memory.
    pub fn encode(&mut self, caller: Caller, handle: u32, method: u32, args: &[Arg]) -> Raw {
        let counts = args.iter().fold([0u32; 4], |mut counts, arg| {
            let slot = match arg {
                Arg::In(_) | Arg::Mapped { out: false, .. } => 0,
                Arg::Out(_) | Arg::Mapped { out: true, .. } => 1,
                Arg::Handle { out: false, .. } => 2,
                Arg::Handle { out: true, .. } => 3,
            };
            counts[slot] += 1;
            counts
        });
        let sc = method * 0x0100_0000
            + counts[0] * 0x1_0000
            + counts[1] * 0x100
            + counts[2] * 0x10
            + counts[3];
        let n = args.len();
        // Inline data from the last argument to the first: the order is the sender's choice.
        let mut end = (40 * n + 388).next_multiple_of(128);
        let mut places = vec![0; n];
        for (i, arg) in args.iter().enumerate().rev() {
            let len = match arg {
                Arg::In(data) => data.len(),
                Arg::Out(len) => *len,
                _ => continue,
            };
            places[i] = end;
            end = (end + len).next_multiple_of(128);
        }
        let size = (end as u64).next_multiple_of(PAGE);
        let addr = self.alloc(caller.bank, size);
        let (mut words, mut lists, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        let mut data = vec![0; size as usize];
        let mut outs = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            let (pv, len, page, bytes) = match arg {
                Arg::In(_) | Arg::Out(_) => {
                    let len = match arg {
                        Arg::In(input) => {
                            data[places[i]..places[i] + input.len()].copy_from_slice(input);
                            input.len() as u64
                        }
                        Arg::Out(len) => {
                            outs.push((addr + places[i] as u64, *len as u64));
                            *len as u64
                        }
                        _ => 0,
                    };
                    let at = addr + places[i] as u64;
                    let span = (at + len).next_multiple_of(PAGE) - at / PAGE * PAGE;
                    (at, len, at / PAGE * PAGE, span)
                }
                Arg::Mapped { pv, page, len, out } => {
                    if *out {
                        outs.push((page + pv % PAGE, *len));
                    }
                    (*pv, *len, *page, (pv % PAGE + len).next_multiple_of(PAGE))
                }
                Arg::Handle {
                    fd,
                    offset,
                    len,
                    page,
                    size,
                    ..
                } => (
                    *fd as u32 as u64 | u64::from(*offset) << 32,
                    u64::from(*len),
                    *page,
                    *size,
                ),
            };
            let empty = len == 0;
            let some = |value: u64| if empty { 0 } else { value };
            words.extend([some(pv), len].iter().flat_map(|word| word.to_le_bytes()));
            lists.extend(
                [u32::from(!empty), i as u32]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
            let page = self.banked(caller.bank, page);
            pages.extend(
                [some(page), some(bytes)]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
        }
        let head = [words, lists, pages].concat();
        data[..head.len()].copy_from_slice(&head);
        self.sequence += 1;
        let slot = self.sequence % 255 + 1;
        let ctx = self.sequence << 16 | slot << 8 | caller.pd;
        let mut message = Vec::new();
        message.extend(caller.client.to_le_bytes());
        message.extend(caller.tid.to_le_bytes());
        message.extend(ctx.to_le_bytes());
        message.extend(handle.to_le_bytes());
        message.extend(sc.to_le_bytes());
        message.extend(self.banked(caller.bank, addr).to_le_bytes());
        message.extend(size.to_le_bytes());
        let sent = Sent {
            ctx,
            bank: caller.bank,
            addr,
            size,
            args: n,
            outs,
        };
        Raw {
            message,
            meta: data,
            sent,
        }
    }

    pub fn send_raw(&mut self, raw: Raw) -> Sent {
        self.ram
            .write(raw.sent.bank, raw.sent.addr, &raw.meta)
            .unwrap();
        self.dsp.message(&raw.message);
        raw.sent
    }

    pub fn send(&mut self, caller: Caller, handle: u32, method: u32, args: &[Arg]) -> Sent {
        let raw = self.encode(caller, handle, method, args);
        self.send_raw(raw)
    }

    /// The next message from the DSP, raw; none when it takes very long.
    pub fn raw_answer(&self) -> Option<Vec<u8>> {
        self.answers.recv_timeout(Duration::from_secs(20)).ok()
    }

    /// Whether the DSP says nothing for a while.
    pub fn is_quiet(&self) -> bool {
        self.answers
            .recv_timeout(Duration::from_millis(100))
            .is_err()
    }

    /// The next answer: context and status.
    pub fn answer(&self) -> (u64, i32) {
        let raw = self.raw_answer().expect("an answer");
        assert_eq!(raw.len(), 16);
        assert_eq!(raw[12..], [0; 4]);
        (
            u64::from_le_bytes(raw[..8].try_into().unwrap()),
            i32::from_le_bytes(raw[8..12].try_into().unwrap()),
        )
    }

    /// Takes the answer of a call: status and outs; frees its memory.
    pub fn take(&self, sent: &Sent) -> (i32, Vec<Vec<u8>>) {
        let (ctx, status) = self.answer();
        assert_eq!(ctx, sent.ctx);
        (status, self.outs(sent))
    }

    /// The outs of a call that was answered; frees its memory.
    pub fn outs(&self, sent: &Sent) -> Vec<Vec<u8>> {
        let read = |(addr, len): &(u64, u64)| self.peek(sent.bank, *addr, *len);
        let outs = sent.outs.iter().map(read).collect();
        self.free(sent);
        outs
    }

    pub fn free(&self, sent: &Sent) {
        self.ram.unmap(sent.bank, sent.addr, sent.size);
    }

    pub fn peek(&self, bank: Bank, iova: u64, len: u64) -> Vec<u8> {
        let mut data = vec![0; len as usize];
        self.ram.read(bank, iova, &mut data).unwrap();
        data
    }

    /// A call from start to end.
    pub fn call(
        &mut self,
        caller: Caller,
        handle: u32,
        method: u32,
        args: &[Arg],
    ) -> (i32, Vec<Vec<u8>>) {
        let sent = self.send(caller, handle, method, args);
        self.take(&sent)
    }

    /// A caller for the kernel's calls about `caller`.
    pub fn kernel(caller: Caller) -> Caller {
        Caller {
            client: 0,
            ..caller
        }
    }

    pub fn attach(&mut self, client: i32, bank: Bank) -> Caller {
        let caller = Caller {
            client,
            tid: 100 + client,
            pd: 0,
            bank,
        };
        let (status, _) = self.call(Self::kernel(caller), 1, 0, &[words(&[client as u32])]);
        assert_eq!(status, 0);
        caller
    }

    /// Creates an unsigned process; its memory stays mapped at the address given back.
    pub fn create(&mut self, client: i32, bank: Bank) -> (Caller, u64) {
        let caller = Caller {
            client,
            tid: 100 + client,
            pd: 1,
            bank,
        };
        let memory = self.alloc(bank, 2 << 20);
        let page = [self.banked(bank, memory), 2 << 20];
        let args = [
            words(&[client as u32, 5, 0, 1, 8, 0]),
            Arg::In(b"test\0".to_vec()),
            Arg::In(Vec::new()),
            Arg::In(page.iter().flat_map(|word| word.to_le_bytes()).collect()),
        ];
        assert_eq!(self.call(Self::kernel(caller), 1, 7, &args).0, 0);
        (caller, memory)
    }

    pub fn release(&mut self, caller: Caller) {
        let args = [words(&[caller.client as u32])];
        assert_eq!(self.call(Self::kernel(caller), 1, 1, &args).0, 0);
    }

    pub fn open(&mut self, caller: Caller, name: &str) -> u32 {
        let name = [name.as_bytes(), &[0]].concat();
        let args = [
            words(&[name.len() as u32, 64]),
            Arg::In(name),
            Arg::Out(8),
            Arg::Out(64),
        ];
        let (status, outs) = self.call(caller, 0, 0, &args);
        assert_eq!((status, &outs[0][4..]), (0, &[0u8; 4][..]));
        u32::from_le_bytes(outs[0][..4].try_into().unwrap())
    }

    /// One line of control.
    pub fn ask(&self, line: &str) -> String {
        self.control.handle(line).trim_end().to_owned()
    }

    /// Waits until a number of the DSP is this.
    pub fn wait_stat(&self, key: &str, value: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.dsp.stat(key) != Some(value) {
            assert!(Instant::now() < deadline, "{key} is not {value}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Names of the broken rules.
    pub fn broken(&self) -> Vec<&'static str> {
        let violations = self.dsp.judge().violations();
        violations
            .iter()
            .map(|violation| violation.rule.name())
            .collect()
    }
}

/// An in buffer of words.
pub fn words(words: &[u32]) -> Arg {
    Arg::In(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}
