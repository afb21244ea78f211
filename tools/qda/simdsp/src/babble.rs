// SPDX-License-Identifier: GPL-2.0

//! Numbers that only look random, and a DSP that talks without being asked.

use crate::dsp::Dsp;
use crate::wire::{Notice, Response, PD_EXIT_CTX};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Messages that the guest is to take in one go, at most.
const BURST: usize = 64;
/// Pause between two bursts, at least.
const PAUSE: Duration = Duration::from_micros(200);
/// Pause between two looks whether the guest has read what there is.
const LOOK: Duration = Duration::from_micros(50);
/// How long it waits for a channel before it looks whether it is to go on.
const WAIT: Duration = Duration::from_millis(20);
/// Longest message.
const LONGEST: usize = 64;
/// First id that is no process': the guest counts from 1.
const NOBODY: i32 = 1 << 29;

/// A sequence of numbers that a seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// The next number, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.draw() as u8).collect()
    }
}

/// A message that means nothing to the guest: none answers a call, names a process that there is,
/// or says that one has ended of which nobody knows which.
pub fn nonsense(random: &mut Random) -> Vec<u8> {
    let status = random.draw() as i32;
    // Bits that no context has.
    let odd = random.draw() | 1 << (5 + random.below(3));
    let answer = |ctx| {
        Response {
            ctx,
            retval: status,
        }
        .encode()
        .to_vec()
    };
    match random.below(6) {
        // A sequence number from the far end.
        0 => answer(u64::MAX << 32 | random.below(1 << 20)),
        1 => answer(if odd == PD_EXIT_CTX { 0 } else { odd }),
        2 => Notice {
            client_id: NOBODY + random.below(1 << 20) as i32,
            state: random.below(6) as u32,
        }
        .encode()
        .to_vec(),
        // A word of signalling.
        3 => random.bytes(8),
        // Too short for an answer, whatever the context.
        4 => {
            let len = random.below(16) as usize;
            random.bytes(len)
        }
        _ => {
            let mut long = answer(odd & !0xFFFF_0000_0000);
            let len = 16 + random.below(LONGEST as u64 - 15) as usize;
            long.resize(len, status as u8);
            long
        }
    }
}

impl Dsp {
    /// Sends the guest messages that it has not asked for, in bursts: the next when it has read the
    /// last, and has had as long again for itself. A machine that does nothing but take interrupts
    /// can't do anything about them, whatever the driver. Ends early with `stop`.
    ///
    /// # Errors
    ///
    /// The channel is or was closed, or fails.
    pub(crate) fn tell(&self, messages: &[Vec<u8>], stop: impl Fn() -> bool) -> anyhow::Result<()> {
        let _turn = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
        for burst in messages.chunks(BURST) {
            let since = Instant::now();
            let channel = self.channel()?;
            for message in burst {
                channel.send(message)?;
            }
            while !channel.is_read()? && !stop() {
                thread::sleep(LOOK);
            }
            let rest = Instant::now() + since.elapsed().max(PAUSE);
            while Instant::now() < rest && !stop() {
                thread::sleep(PAUSE);
            }
            if stop() {
                break;
            }
        }
        Ok(())
    }

    /// The guest has read a message that it had not asked for, if the channel is still that of
    /// `epoch`.
    fn was_read(&self, epoch: u64) {
        let mut inner = self.inner();
        if epoch == self.epoch() {
            inner.windows.read();
        }
    }
}

/// Messages that the guest has read although it had not asked for anything on its channel yet, as
/// its driver may not have finished its probe, or for anything but the end of processes any more,
/// as its driver may be leaving.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    state: State,
    /// Read before the guest's first message.
    pub early: u64,
    /// Read between the guest's last messages, each a RELEASE, and the end of the channel.
    pub late: u64,
}

/// What the guest has said on its channel.
#[derive(Debug, Default)]
enum State {
    /// There is none.
    #[default]
    Closed,
    /// Nothing.
    Opened,
    /// Something that a driver says which is there to stay.
    Asked,
    /// A RELEASE last, since which it has read so many messages.
    Released(u64),
}

impl Windows {
    /// Counts from 0.
    pub fn reset(&mut self) {
        self.early = 0;
        self.late = 0;
    }

    /// The channel is open.
    pub fn opened(&mut self) {
        self.state = State::Opened;
    }

    /// The guest has sent a message.
    pub fn asked(&mut self, is_release: bool) {
        self.state = match self.state {
            State::Released(read) if is_release => State::Released(read),
            _ if is_release => State::Released(0),
            _ => State::Asked,
        };
    }

    /// The guest has read a message that it had not asked for.
    pub fn read(&mut self) {
        match &mut self.state {
            State::Opened => self.early += 1,
            State::Released(read) => *read += 1,
            State::Closed | State::Asked => {}
        }
    }

    /// The channel is gone.
    pub fn closed(&mut self) {
        if let State::Released(read) = self.state {
            self.late += read;
        }
        self.state = State::Closed;
    }
}

/// A thread that sends such messages for as long as this lives, whenever there is a channel.
#[derive(Debug)]
pub struct Babble {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Babble {
    /// Begins.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(crate) fn start(dsp: Weak<Dsp>, label: &str, seed: u64) -> std::io::Result<Self> {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let babble = Self {
            stop: stop.clone(),
            sent: sent.clone(),
        };
        let mut random = Random::new(seed);
        thread::Builder::new()
            .name(format!("{label} babble"))
            .spawn(move || {
                let stop = || stop.load(Ordering::Relaxed);
                while !stop() {
                    let Some(dsp) = dsp.upgrade() else { return };
                    let epoch = dsp.epoch();
                    if dsp.tell(&[nonsense(&mut random)], stop).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                        dsp.was_read(epoch);
                    } else if dsp.channel().is_ok() {
                        thread::sleep(PAUSE);
                    } else {
                        // Nobody can hear it. The next channel is used from its first moment on.
                        dsp.wait(Instant::now() + WAIT, |inner| inner.channel.is_some());
                    }
                }
            })?;
        Ok(babble)
    }

    /// Messages so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Babble {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows() {
        let mut windows = Windows::default();
        // Without a channel nothing counts.
        windows.read();
        windows.opened();
        windows.read();
        windows.read();
        windows.asked(false);
        windows.read();
        // A process that ends while the driver stays.
        windows.asked(true);
        windows.read();
        windows.asked(false);
        windows.closed();
        assert_eq!((windows.early, windows.late), (2, 0));

        windows.opened();
        windows.asked(true);
        windows.read();
        windows.asked(true);
        windows.read();
        assert_eq!((windows.early, windows.late), (2, 0));
        windows.closed();
        windows.read();
        assert_eq!((windows.early, windows.late), (2, 2));

        windows.reset();
        windows.closed();
        assert_eq!((windows.early, windows.late), (0, 0));
    }

    proptest! {
        #[test]
        fn seeds_decide(seed: u64) {
            let draw = || {
                let mut random = Random::new(seed);
                (0..50).map(|_| nonsense(&mut random)).collect::<Vec<_>>()
            };
            prop_assert_eq!(draw(), draw());
        }

        #[test]
        fn nonsense_answers_nothing(seed: u64) {
            let mut random = Random::new(seed);
            for _ in 0..200 {
                let message = nonsense(&mut random);
                prop_assert!(message.len() <= LONGEST);
                let Some(response) = Response::decode(&message) else { continue };
                if response.ctx == PD_EXIT_CTX {
                    prop_assert!(response.retval == 4 && message.len() == 24);
                    let id = i32::from_le_bytes(message[12..16].try_into().unwrap());
                    prop_assert!(id >= NOBODY);
                } else {
                    // A sequence number that the guest does not reach, or bits that it does not
                    // use.
                    prop_assert!(response.ctx >> 48 != 0 || response.ctx & 0xF0 != 0);
                }
            }
        }
    }
}
