// SPDX-License-Identifier: GPL-2.0

//! How a link is served while something is measured: by a thread that spins, in a fixed time.
//!
//! Calls that are made side by side can be answered together, when so many of them are there, with
//! one interrupt for all. How many answers the guest finds at a time is then no matter of how fast
//! the host is.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The pace of one link; off until switched on.
#[derive(Debug, Default)]
pub struct Pace {
    hot: AtomicBool,
    service: AtomicU64,
    group: AtomicUsize,
    served: AtomicU64,
    late: AtomicU64,
}

impl Pace {
    /// Makes the link's thread spin, which takes a whole CPU, and answer what needs no thinking
    /// after `service`, `group` calls at a time; or sleep again.
    pub fn set(&self, service: Option<Duration>, group: usize) {
        let nanos = service.unwrap_or_default().as_nanos();
        self.service
            .store(nanos.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.group.store(group, Ordering::Relaxed);
        self.served.store(0, Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        self.hot.store(service.is_some(), Ordering::Release);
    }

    /// Whether the link's thread spins.
    pub fn is_hot(&self) -> bool {
        self.hot.load(Ordering::Acquire)
    }

    /// Answers since it was switched on, and how many of them took longer than they were to.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.served.load(Ordering::Relaxed),
            self.late.load(Ordering::Relaxed),
        )
    }

    /// How many calls are answered together; more than one only while it is switched on.
    pub fn group(&self) -> usize {
        match self.is_hot() {
            true => self.group.load(Ordering::Relaxed).max(1),
            false => 1,
        }
    }

    fn service(&self) -> Duration {
        Duration::from_nanos(self.service.load(Ordering::Relaxed))
    }

    /// Spins until the service time of a message that came at `began` is over. Those of a group are
    /// waited for by [`Pace::rest`].
    pub fn keep(&self, began: Instant) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if self.group() > 1 {
            return;
        }
        let service = self.service();
        if began.elapsed() > service {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        while began.elapsed() < service {
            std::hint::spin_loop();
        }
    }

    /// Sleeps for the rest of the service time of what came at `began`, if it is switched on. No
    /// answer is early then, of the calls that need more than this thread either.
    pub fn rest(&self, began: Instant) {
        if self.is_hot() {
            std::thread::sleep(self.service().saturating_sub(began.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_kept_and_what_is_late_counted() {
        let pace = Pace::default();
        assert!(!pace.is_hot());
        pace.rest(Instant::now());
        pace.set(Some(Duration::from_millis(2)), 1);
        assert!(pace.is_hot());
        let began = Instant::now();
        pace.keep(began);
        assert!(began.elapsed() >= Duration::from_millis(2));
        pace.keep(began);
        assert_eq!(pace.counts(), (2, 1));
        pace.set(None, 1);
        assert_eq!((pace.is_hot(), pace.counts()), (false, (0, 0)));
    }

    #[test]
    fn a_group_waits_once() {
        let pace = Pace::default();
        assert_eq!(pace.group(), 1);
        pace.set(Some(Duration::from_secs(600)), 3);
        assert_eq!(pace.group(), 3);
        pace.keep(Instant::now());
        assert_eq!(pace.counts(), (1, 0));
        pace.set(Some(Duration::from_millis(2)), 3);
        let began = Instant::now();
        pace.rest(began);
        assert!(began.elapsed() >= Duration::from_millis(2));
        pace.set(None, 3);
        assert_eq!(pace.group(), 1);
    }
}
