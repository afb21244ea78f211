// SPDX-License-Identifier: GPL-2.0

//! Threads of the DSP that make the calls which no thread of the client waits for.
//!
//! The DSP has a thread for each thread number that a client calls it by, from the first call until
//! it is told that the thread has exited. It makes one call at a time.
//!
//! Pure code; the lock around it is in [`crate::queue`].

/// Most threads of a queue.
pub(crate) const MAX_THREADS: u32 = u64::BITS;

/// Above every number that a thread of the machine can have, and below those of calls that end
/// processes.
const BASE: i32 = 1 << 29;

/// Some threads of the DSP, by their index.
pub(crate) struct Threads {
    /// Those that there may be.
    all: u64,
    /// Those that have a call.
    busy: u64,
    /// Those that the DSP has, as far as it is known.
    known: u64,
    /// Those that had a call since [`Threads::age`].
    recent: u64,
}

impl Threads {
    /// `count` threads, 1 to [`MAX_THREADS`], none of which the DSP has heard of.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            all: u64::MAX >> (MAX_THREADS - count.clamp(1, MAX_THREADS)),
            busy: 0,
            known: 0,
            recent: 0,
        }
    }

    /// The number by which the DSP knows a thread.
    pub(crate) fn number(index: u32) -> i32 {
        // CAST: less than `MAX_THREADS`.
        BASE | index as i32
    }

    fn bit(index: u32) -> u64 {
        1 << (index % MAX_THREADS)
    }

    /// Takes a thread for a call; one that the DSP has, if that is possible.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let free = self.all & !self.busy;
        let known = free & self.known;
        let index = match if known != 0 { known } else { free } {
            0 => return None,
            bits => bits.trailing_zeros(),
        };

        self.busy |= Self::bit(index);
        self.known |= Self::bit(index);
        self.recent |= Self::bit(index);
        Some(index)
    }

    /// The thread has made its call.
    pub(crate) fn put(&mut self, index: u32) {
        self.busy &= !Self::bit(index);
    }

    /// Begins a new interval in which threads have calls or not.
    pub(crate) fn age(&mut self) {
        self.recent = self.busy;
    }

    /// Takes a thread that has no call, and had none since [`Threads::age`], to be ended.
    pub(crate) fn take_idle(&mut self) -> Option<u32> {
        let index = match self.known & !self.busy & !self.recent {
            0 => return None,
            bits => bits.trailing_zeros(),
        };

        self.busy |= Self::bit(index);
        Some(index)
    }

    /// The thread was ended; it may begin anew.
    pub(crate) fn exited(&mut self, index: u32) {
        self.known &= !Self::bit(index);
        self.put(index);
    }

    /// Whether the DSP has any.
    pub(crate) fn any(&self) -> bool {
        self.known != 0
    }
}
