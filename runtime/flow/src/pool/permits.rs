//! How many calls run at a time: quick ones as many as there are cores, slow ones a few beside them. Counts; knows no
//! thread and no handler. Whoever holds it waits.

use crate::limits;

/// What lets a call run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Quick,
    Slow,
}

/// The permits that are left.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    quick: usize,
    slow: usize,
    /// Calls that are slow, those that wait for a slow permit included: each has a worker to itself.
    slow_calls: usize,
    slow_calls_most: usize,
}

impl Permits {
    /// Permits for `cores` quick calls at a time.
    pub(super) fn new(cores: usize) -> Self {
        Self {
            quick: cores,
            slow: (cores * limits::SLOW_PERMITS_PER_TWO_CORES / 2).max(1),
            slow_calls: 0,
            slow_calls_most: cores * limits::SLOW_CALLS_PER_CORE,
        }
    }

    /// Whether a quick call may begin.
    pub(super) fn has_quick(&self) -> bool {
        self.quick > 0
    }

    /// A quick call begins.
    pub(super) fn take_quick(&mut self) {
        self.quick = self.quick.checked_sub(1).expect("a call begins with a permit");
    }

    /// A quick call has become slow: its permit is another's, and it waits.
    pub(super) fn turn_slow(&mut self) {
        self.quick += 1;
        self.slow_calls += 1;
    }

    /// A slow call goes on, if it may.
    pub(super) fn take_slow(&mut self) -> bool {
        let left = self.slow.checked_sub(1);
        self.slow = left.unwrap_or(0);
        left.is_some()
    }

    /// A call has ended.
    pub(super) fn give_back(&mut self, permit: Permit) {
        match permit {
            Permit::Quick => self.quick += 1,
            Permit::Slow => {
                self.slow += 1;
                self.slow_calls =
                    self.slow_calls.checked_sub(1).expect("only a slow call gives a slow permit");
            }
        }
    }

    /// Whether so many calls are slow that handlers which were slow before had better wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.slow_calls >= self.slow_calls_most
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::scheduler::{Policy, Ripeness, Scheduler, Slot};

    const CORES: usize = 2;

    /// A pool without threads: who holds which permit, and who waits for a slow one.
    struct Pool {
        permits: Permits,
        scheduler: Scheduler<usize>,
        slots: Vec<Slot>,
        quick: Vec<usize>,
        waiting: Vec<usize>,
        slow: Vec<usize>,
    }

    impl Pool {
        /// Handlers with one driver each, all with endless work.
        fn new(handlers: usize) -> Self {
            let mut scheduler = Scheduler::new(Policy::Fair);
            let slots: Vec<_> = (0..handlers).map(|_| scheduler.open()).collect();
            for (handler, slot) in slots.iter().enumerate() {
                scheduler.ready(*slot, handler, Ripeness::Ripe, Duration::ZERO);
            }
            let (quick, waiting, slow) = (Vec::new(), Vec::new(), Vec::new());
            Self { permits: Permits::new(CORES), scheduler, slots, quick, waiting, slow }
        }

        /// Idle workers take what they can get.
        fn fill(&mut self) {
            let busy = |pool: &Self| pool.quick.len() + pool.waiting.len() + pool.slow.len();
            while busy(self) < CORES * limits::WORKERS_PER_CORE && self.permits.has_quick() {
                let Some((_, handler)) = self.scheduler.take(Duration::ZERO) else { break };
                self.permits.take_quick();
                self.quick.push(handler);
            }
        }

        /// A quick call reaches the time after which it is slow.
        fn turn_slow(&mut self, at: usize) {
            let handler = self.quick.remove(at);
            self.permits.turn_slow();
            self.scheduler.hold(self.slots[handler]);
            self.waiting.push(handler);
            self.scheduler.crowd(self.permits.is_crowded());
            self.admit();
        }

        fn admit(&mut self) {
            while !self.waiting.is_empty() && self.permits.take_slow() {
                self.slow.push(self.waiting.remove(0));
            }
        }

        fn end(&mut self, permit: Permit, at: usize) -> usize {
            let calls = if permit == Permit::Quick { &mut self.quick } else { &mut self.slow };
            let handler = calls.remove(at);
            self.permits.give_back(permit);
            let slot = self.slots[handler];
            self.scheduler.charge(slot, Duration::from_millis(1));
            match permit {
                Permit::Quick => self.scheduler.was_quick(slot),
                Permit::Slow => self.scheduler.release(slot),
            }
            self.scheduler.crowd(self.permits.is_crowded());
            self.scheduler.ready(slot, handler, Ripeness::Ripe, Duration::ZERO);
            self.admit();
            handler
        }
    }

    #[test]
    fn with_so_many_slow_calls_a_handler_that_was_slow_waits() {
        let most = CORES * limits::SLOW_CALLS_PER_CORE;
        let mut pool = Pool::new(most + 1);
        // All are slow once, and become slow again until so many are.
        for _ in 0..=most {
            pool.fill();
            pool.turn_slow(0);
            pool.end(Permit::Slow, 0);
        }
        for slow in 0..most {
            assert!(!pool.permits.is_crowded(), "{slow} are slow");
            pool.fill();
            pool.turn_slow(0);
        }
        assert!(pool.permits.is_crowded());
        pool.quick.clear();
        pool.permits.quick = CORES;
        pool.fill();
        assert!(pool.quick.is_empty(), "a handler that was slow is served");
    }

    proptest! {
        /// Any number of handlers loop in every call, one does not: once each has been found out, the good one is
        /// served in every round, however long the slow calls take.
        #[test]
        fn handlers_that_loop_do_not_freeze_the_one_that_does_not(
            looping in 1..30_usize,
            ends in proptest::collection::vec(any::<(bool, prop::sample::Index)>(), 1..200),
        ) {
            let mut pool = Pool::new(looping + 1);
            let good = looping;
            // Each is slow once; what is slow ends, so that all get their first call.
            let mut found_out = std::collections::HashSet::new();
            while found_out.len() < looping {
                pool.fill();
                match pool.quick.iter().position(|&handler| handler != good) {
                    Some(at) => {
                        found_out.insert(pool.quick[at]);
                        pool.turn_slow(at);
                    }
                    None if pool.quick.contains(&good) => drop(pool.end(Permit::Quick, 0)),
                    None => drop(pool.end(Permit::Slow, 0)),
                }
            }
            // Slow calls that began before they were found out end, or they would have their workers for good.
            while pool.permits.is_crowded() && !pool.slow.is_empty() {
                pool.end(Permit::Slow, 0);
            }
            for (slow_ends, which) in ends {
                pool.fill();
                prop_assert!(pool.quick.len() <= CORES && pool.slow.len() <= 1);
                while let Some(at) = pool.quick.iter().position(|&handler| handler != good) {
                    pool.turn_slow(at);
                    pool.fill();
                }
                prop_assert!(pool.quick.contains(&good), "frozen by {:?} and {:?}", pool.waiting, pool.slow);
                pool.end(Permit::Quick, 0);
                if slow_ends && !pool.slow.is_empty() {
                    let at = which.index(pool.slow.len());
                    pool.end(Permit::Slow, at);
                }
            }
        }

        /// Whatever happens, every permit comes back.
        #[test]
        fn permits_are_neither_lost_nor_made(steps in proptest::collection::vec((0..3_u8, any::<prop::sample::Index>()), 1..300)) {
            let mut pool = Pool::new(5);
            for (step, which) in steps {
                pool.fill();
                match step {
                    0 if !pool.quick.is_empty() => pool.turn_slow(which.index(pool.quick.len())),
                    1 if !pool.quick.is_empty() => drop(pool.end(Permit::Quick, which.index(pool.quick.len()))),
                    2 if !pool.slow.is_empty() => drop(pool.end(Permit::Slow, which.index(pool.slow.len()))),
                    _ => {}
                }
                prop_assert_eq!(pool.permits.quick + pool.quick.len(), CORES);
                prop_assert_eq!(pool.permits.slow + pool.slow.len(), 1);
                prop_assert_eq!(pool.permits.slow_calls, pool.slow.len() + pool.waiting.len());
                prop_assert!(pool.waiting.is_empty() || pool.permits.slow == 0, "a slow permit lies idle");
            }
        }
    }
}
