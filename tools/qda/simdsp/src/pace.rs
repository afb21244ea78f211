// SPDX-License-Identifier: GPL-2.0

//! How a link is served while something is measured: by a thread that spins, in a fixed time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The pace of one link; off until switched on.
#[derive(Debug, Default)]
pub struct Pace {
    hot: AtomicBool,
    service: AtomicU64,
    served: AtomicU64,
    late: AtomicU64,
}

impl Pace {
    /// Makes the link's thread spin, which takes a whole CPU, and answer what needs no thinking
    /// after `service`; or sleep again.
    pub fn set(&self, service: Option<Duration>) {
        let nanos = service.unwrap_or_default().as_nanos();
        self.service
            .store(nanos.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
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

    /// Spins until the service time of a message that came at `began` is over.
    pub fn keep(&self, began: Instant) {
        let service = Duration::from_nanos(self.service.load(Ordering::Relaxed));
        self.served.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() > service {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        while began.elapsed() < service {
            std::hint::spin_loop();
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
        pace.set(Some(Duration::from_millis(2)));
        assert!(pace.is_hot());
        let began = Instant::now();
        pace.keep(began);
        assert!(began.elapsed() >= Duration::from_millis(2));
        pace.keep(began);
        assert_eq!(pace.counts(), (2, 1));
        pace.set(None);
        assert_eq!((pace.is_hot(), pace.counts()), (false, (0, 0)));
    }
}
