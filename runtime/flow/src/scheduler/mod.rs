//! Which driver is served next. A state machine without thread or clock: time is an argument, counted from any
//! beginning. Knows drivers only as something to hand back, and handlers as numbers.

mod fair;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fair::Fair;

use crate::limits;

/// By what rule handlers share the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Deficit round-robin by time used: each handler that has work gets the same time.
    #[default]
    Fair,
}

/// A handler's place in the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// How much a ready driver has waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ripeness {
    /// Enough for a batch worth its call.
    Ripe,
    /// Something; it may linger for more while the workers have better to do.
    Fresh,
}

/// A driver's entry among the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer(Duration, u64);

/// The run queue.
pub(crate) struct Scheduler<T> {
    fair: Fair<T>,
    /// What lingers, since when.
    fresh: VecDeque<(Duration, Slot, T)>,
    timers: BTreeMap<Timer, T>,
    timers_set: u64,
}

impl<T> Scheduler<T> {
    /// Nothing to do yet.
    pub(crate) fn new(policy: Policy) -> Self {
        match policy {
            Policy::Fair => {
                Self { fair: Fair::default(), fresh: VecDeque::new(), timers: BTreeMap::new(), timers_set: 0 }
            }
        }
    }

    /// A place for a handler.
    pub(crate) fn open(&mut self) -> Slot {
        self.fair.open()
    }

    /// A handler is gone; what it had in the queue is handed out no more.
    pub(crate) fn close(&mut self, slot: Slot) {
        self.fresh.retain(|(_, owner, _)| *owner != slot);
        self.fair.close(slot);
    }

    /// A driver of `slot` has something to do since `now`.
    pub(crate) fn ready(&mut self, slot: Slot, driver: T, ripeness: Ripeness, now: Duration) {
        match ripeness {
            Ripeness::Ripe => self.fair.push(slot, driver),
            Ripeness::Fresh => self.fresh.push_back((now, slot, driver)),
        }
    }

    /// The driver to serve next: by the policy among those that are ripe or have lingered long enough; the
    /// caller is a worker that would else be idle, so if there is none of these, what lingers longest.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(Slot, T)> {
        while self.fresh.front().is_some_and(|(since, ..)| *since + limits::LINGER <= now) {
            if let Some((_, slot, driver)) = self.fresh.pop_front() {
                self.fair.push(slot, driver);
            }
        }
        if let Some(next) = self.fair.take() {
            return Some(next);
        }
        let at = self.fresh.iter().position(|(_, slot, _)| !self.fair.is_held(*slot))?;
        self.fresh.remove(at).map(|(_, slot, driver)| (slot, driver))
    }

    /// A driver of `slot` has used a worker for this long.
    pub(crate) fn charge(&mut self, slot: Slot, used: Duration) {
        self.fair.charge(slot, used);
    }

    /// A call of `slot` runs long: no driver of it is handed out until [`Scheduler::release`].
    pub(crate) fn hold(&mut self, slot: Slot) {
        self.fair.hold(slot);
    }

    /// A call of `slot` was over before it was a long one.
    pub(crate) fn was_quick(&mut self, slot: Slot) {
        self.fair.was_quick(slot);
    }

    /// Whether handlers whose last call was a long one wait too, because so many calls are.
    pub(crate) fn crowd(&mut self, crowded: bool) {
        self.fair.crowd(crowded);
    }

    /// The long call has ended.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.fair.release(slot);
    }

    /// Has `driver` handed out by [`Scheduler::due`] at `until`; takes the place of its `old` timer.
    pub(crate) fn set_timer(&mut self, old: Option<Timer>, until: Duration, driver: T) -> Timer {
        if let Some(old) = old {
            self.timers.remove(&old);
        }
        let timer = Timer(until, self.timers_set);
        self.timers_set += 1;
        self.timers.insert(timer, driver);
        timer
    }

    /// Takes the next driver whose timer has run out.
    pub(crate) fn due(&mut self, now: Duration) -> Option<T> {
        let first = self.timers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next timer runs out.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|(timer, _)| timer.0)
    }

    /// Whether something could be taken.
    pub(crate) fn has_work(&self) -> bool {
        self.fair.has_work() || self.fresh.iter().any(|(_, slot, _)| !self.fair.is_held(*slot))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.fair.clear();
        self.fresh.clear();
        self.timers.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_lingers_waits_behind_what_is_ripe_until_it_is_two_ms_old() {
        let mut scheduler = Scheduler::new(Policy::Fair);
        let (one, two) = (scheduler.open(), scheduler.open());
        scheduler.ready(one, "fresh", Ripeness::Fresh, Duration::ZERO);
        for name in ["a", "b", "c"] {
            scheduler.ready(two, name, Ripeness::Ripe, Duration::ZERO);
        }
        assert_eq!(scheduler.take(Duration::ZERO), Some((two, "a")));
        assert_eq!(scheduler.take(MS), Some((two, "b")));
        scheduler.charge(two, 5 * MS);
        assert_eq!(scheduler.take(2 * MS), Some((one, "fresh")));
        assert_eq!(scheduler.take(2 * MS), Some((two, "c")));
        assert_eq!(scheduler.take(2 * MS), None);
    }

    #[test]
    fn an_idle_worker_takes_what_lingers_at_once() {
        let mut scheduler = Scheduler::new(Policy::Fair);
        let slot = scheduler.open();
        scheduler.ready(slot, 7, Ripeness::Fresh, Duration::ZERO);
        assert_eq!(scheduler.take(Duration::ZERO), Some((slot, 7)));
    }

    #[test]
    fn a_held_handler_is_not_served_and_others_are() {
        let mut scheduler = Scheduler::new(Policy::Fair);
        let (one, two) = (scheduler.open(), scheduler.open());
        scheduler.ready(one, 1, Ripeness::Ripe, Duration::ZERO);
        scheduler.ready(one, 2, Ripeness::Fresh, Duration::ZERO);
        scheduler.ready(two, 3, Ripeness::Ripe, Duration::ZERO);
        scheduler.hold(one);
        assert_eq!(scheduler.take(9 * MS), Some((two, 3)));
        assert!(scheduler.take(9 * MS).is_none() && !scheduler.has_work());
        scheduler.release(one);
        assert!(scheduler.take(9 * MS).is_some() && scheduler.take(9 * MS).is_some());
    }

    #[test]
    fn a_driver_has_one_timer() {
        let mut scheduler = Scheduler::new(Policy::Fair);
        let timer = scheduler.set_timer(None, 5 * MS, 1);
        scheduler.set_timer(Some(timer), 3 * MS, 1);
        assert_eq!(scheduler.next_timer(), Some(3 * MS));
        assert_eq!(
            (scheduler.due(2 * MS), scheduler.due(3 * MS), scheduler.due(9 * MS)),
            (None, Some(1), None)
        );
    }

    proptest! {
        /// Handlers whose calls take different times, all with endless work.
        #[test]
        fn every_handler_with_work_gets_the_same_time(
            calls in proptest::collection::vec(1..3_000_u64, 2..6),
        ) {
            let mut scheduler = Scheduler::new(Policy::Fair);
            let slots: Vec<Slot> = calls.iter().map(|_| scheduler.open()).collect();
            for (driver, slot) in slots.iter().enumerate() {
                scheduler.ready(*slot, driver, Ripeness::Ripe, Duration::ZERO);
            }
            let mut used = vec![0; calls.len()];
            while used.iter().sum::<u64>() < 1_000_000 {
                let (slot, driver) = scheduler.take(Duration::ZERO).unwrap();
                used[driver] += calls[driver];
                scheduler.charge(slot, Duration::from_micros(calls[driver]));
                scheduler.ready(slot, driver, Ripeness::Ripe, Duration::ZERO);
            }
            let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
            prop_assert!(most - least <= 1_000 + 2 * 3_000, "{:?}", used);
        }

        /// Whatever is done, each driver made ready is handed out once, and none of a held handler.
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(
            steps in proptest::collection::vec((0..6_u8, 0..3_usize, 0..4_000_u64), 1..200),
        ) {
            let mut scheduler = Scheduler::new(Policy::Fair);
            let slots: Vec<Slot> = (0..3).map(|_| scheduler.open()).collect();
            let (mut waiting, mut held, mut now, mut next) = (Vec::new(), [0; 3], Duration::ZERO, 0);
            for (step, handler, number) in steps {
                now += Duration::from_micros(number);
                match step {
                    0 | 1 => {
                        let ripeness = if step == 0 { Ripeness::Ripe } else { Ripeness::Fresh };
                        scheduler.ready(slots[handler], next, ripeness, now);
                        waiting.push((slots[handler], next));
                        next += 1;
                    }
                    2 | 3 => match scheduler.take(now) {
                        Some(taken) => {
                            prop_assert_eq!(held[taken.0.0], 0);
                            let at = waiting.iter().position(|entry| *entry == taken);
                            prop_assert!(at.is_some());
                            waiting.remove(at.unwrap());
                            scheduler.charge(taken.0, Duration::from_micros(number));
                        }
                        None => prop_assert!(waiting.iter().all(|(slot, _)| held[slot.0] > 0)),
                    },
                    4 => { scheduler.hold(slots[handler]); held[handler] += 1; }
                    _ if held[handler] > 0 => { scheduler.release(slots[handler]); held[handler] -= 1; }
                    _ => {}
                }
                prop_assert_eq!(scheduler.has_work(), waiting.iter().any(|(slot, _)| held[slot.0] == 0));
            }
        }
    }
}
