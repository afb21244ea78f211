// SPDX-License-Identifier: GPL-2.0

//! The DSP's threads: calls of one (client, thread) one after the other, all others at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A thread of the guest: wire client id and thread id.
pub type Key = (i32, i32);

/// A place in a lane; keeps the lane busy until [`Lanes::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    key: Key,
    epoch: u64,
}

#[derive(Debug)]
struct State<J> {
    epoch: u64,
    /// Jobs that wait behind the running one of their lane; an entry means that one runs.
    waiting: HashMap<Key, VecDeque<J>>,
    runnable: VecDeque<(Ticket, J)>,
    idle: usize,
    workers: usize,
    stopped: bool,
}

/// Queues of jobs. Workers are threads of the owner, which starts one when [`Lanes::submit`] says
/// so; they end by themselves when there is nothing to do.
#[derive(Debug)]
pub struct Lanes<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    max: usize,
}

/// How long a worker without work stays.
const IDLE: Duration = Duration::from_secs(2);

impl<J> Lanes<J> {
    /// Lanes for at most `max` workers.
    pub fn new(max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                epoch: 0,
                waiting: HashMap::new(),
                runnable: VecDeque::new(),
                idle: 0,
                workers: 0,
                stopped: false,
            }),
            wake: Condvar::new(),
            max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job. Returns whether the caller must start a worker.
    #[must_use]
    pub fn submit(&self, key: Key, job: J) -> bool {
        let mut state = self.state();
        if let Some(lane) = state.waiting.get_mut(&key) {
            lane.push_back(job);
            return false;
        }
        state.waiting.insert(key, VecDeque::new());
        let ticket = Ticket {
            key,
            epoch: state.epoch,
        };
        self.run(&mut state, ticket, job)
    }

    /// Queues a job again that holds its lane already. Returns as [`Lanes::submit`] does.
    #[must_use]
    pub fn resubmit(&self, ticket: Ticket, job: J) -> bool {
        let mut state = self.state();
        ticket.epoch == state.epoch && self.run(&mut state, ticket, job)
    }

    fn run(&self, state: &mut State<J>, ticket: Ticket, job: J) -> bool {
        state.runnable.push_back((ticket, job));
        self.wake.notify_one();
        let more = state.runnable.len() > state.idle && state.workers < self.max && !state.stopped;
        if more {
            state.workers += 1;
        }
        more
    }

    /// Ends a job; the next one of its lane may run. Returns as [`Lanes::submit`] does.
    #[must_use]
    pub fn finish(&self, ticket: Ticket) -> bool {
        let mut state = self.state();
        if ticket.epoch != state.epoch {
            return false;
        }
        match state.waiting.get_mut(&ticket.key).map(VecDeque::pop_front) {
            Some(Some(job)) => self.run(&mut state, ticket, job),
            Some(None) => {
                state.waiting.remove(&ticket.key);
                false
            }
            None => false,
        }
    }

    /// Forgets all jobs; tickets given out so far mean nothing any more.
    pub fn clear(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.waiting.clear();
        state.runnable.clear();
    }

    /// Waits for work. `None` tells the worker to end.
    pub fn next(&self) -> Option<(Ticket, J)> {
        let mut state = self.state();
        loop {
            if let Some(work) = state.runnable.pop_front() {
                return Some(work);
            }
            if state.stopped {
                state.workers -= 1;
                return None;
            }
            state.idle += 1;
            let (guard, timeout) = self
                .wake
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.runnable.is_empty() {
                state.workers -= 1;
                return None;
            }
        }
    }

    /// Ends all workers as soon as they ask for work.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.clear();
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_serial_and_lanes_are_not() {
        let lanes = Lanes::new(8);
        let _ = lanes.submit((1, 1), 'a');
        let _ = lanes.submit((1, 1), 'b');
        let _ = lanes.submit((1, 2), 'c');
        let (first, a) = lanes.next().unwrap();
        let (_, c) = lanes.next().unwrap();
        assert_eq!((a, c), ('a', 'c'));
        assert!(lanes.state().runnable.is_empty());
        let _ = lanes.finish(first);
        assert_eq!(lanes.next().unwrap().1, 'b');
    }

    #[test]
    fn a_lane_is_free_after_its_last_job() {
        let lanes = Lanes::new(1);
        assert!(lanes.submit((1, 1), 1));
        let (ticket, _) = lanes.next().unwrap();
        let _ = lanes.finish(ticket);
        let _ = lanes.submit((1, 1), 2);
        assert_eq!(lanes.next().unwrap().1, 2);
    }

    #[test]
    fn old_tickets_do_nothing() {
        let lanes = Lanes::new(1);
        let _ = lanes.submit((1, 1), 1);
        let (old, _) = lanes.next().unwrap();
        lanes.clear();
        let _ = lanes.submit((1, 1), 2);
        let _ = lanes.submit((1, 1), 3);
        let _ = lanes.finish(old);
        assert!(!lanes.resubmit(old, 9));
        assert_eq!(lanes.next().unwrap().1, 2);
        assert!(lanes.state().runnable.is_empty());
    }

    #[test]
    fn workers_are_bounded() {
        let lanes = Lanes::new(2);
        let started = (0..10).filter(|i| lanes.submit((1, *i), ())).count();
        assert_eq!(started, 2);
    }
}
