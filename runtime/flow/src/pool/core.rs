//! The run queue with its permits, shared by workers, committer and operators. One lock, held for moments, taken
//! per batch and never per event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tidemill_bus::Log;

use super::Cell;
use super::budget::Budget;
use super::errands::Errands;
use super::permits::{Permit, Permits};
use super::turn::Rest;
use crate::limits;
use crate::scheduler::{Policy, Ripeness, Scheduler, Slot};

/// Monotonic time, from any beginning.
pub(crate) trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Duration;
}

/// The machine's clock.
pub(crate) struct Monotonic(Instant);

impl Monotonic {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What all threads of a flow share.
pub(crate) struct Core {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// The clock by which work is measured.
    pub(crate) clock: Box<dyn Clock>,
    /// Bytes of unanswered transactions.
    pub(crate) budget: Budget,
    /// What is left for the thread that may wait.
    pub(crate) errands: Errands,
    in_flight: AtomicUsize,
    starving: AtomicUsize,
    stopping: AtomicBool,
    queue: Mutex<Queue>,
    /// Told when there may be something to take.
    work: Condvar,
    /// Told when a slow permit is back.
    slow: Condvar,
    /// Told, while the flow stops, when nothing is in flight.
    drained: Condvar,
}

struct Queue {
    scheduler: Scheduler<Arc<Cell>>,
    permits: Permits,
    /// Ready drivers that found no budget.
    starved: Vec<Arc<Cell>>,
}

/// A driver to serve.
pub(crate) struct Job {
    pub(crate) cell: Arc<Cell>,
    pub(crate) since: Duration,
}

/// What a turn used of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// What it gives back.
    pub(crate) permit: Permit,
    /// How long it waited for it.
    pub(crate) waited: Duration,
    /// What came of it.
    pub(crate) worth: Worth,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing that was the handler's fault.
    Fair,
    /// The handler's call failed as a whole.
    Wasted,
}

impl Used {
    /// What a turn that took `took` is charged with.
    fn charge(self, took: Duration) -> Duration {
        let ran = took.saturating_sub(self.waited);
        match self.worth {
            Worth::Fair => ran,
            Worth::Wasted => ran.saturating_mul(limits::WASTE_WEIGHT),
        }
    }
}

impl Core {
    /// A core whose `permits` calls run at a time, with `bytes` of budget.
    pub(crate) fn new(log: Arc<dyn Log>, clock: Box<dyn Clock>, options: (usize, usize, Policy)) -> Self {
        let (permits, bytes, policy) = options;
        let queue =
            Queue { scheduler: Scheduler::new(policy), permits: Permits::new(permits), starved: Vec::new() };
        Self {
            log,
            clock,
            budget: Budget::new(bytes),
            errands: Errands::default(),
            in_flight: AtomicUsize::new(0),
            starving: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            queue: Mutex::new(queue),
            work: Condvar::new(),
            slow: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    /// A place in the scheduler.
    pub(crate) fn open(&self) -> Slot {
        self.queue.lock().scheduler.open()
    }

    /// Gives a place back; nothing of it may be running.
    pub(crate) fn close(&self, slot: Slot) {
        let mut queue = self.queue.lock();
        queue.starved.retain(|cell| cell.slot() != slot);
        queue.scheduler.close(slot);
    }

    /// Puts drivers in the queue that were woken just now.
    pub(crate) fn enqueue(&self, woken: impl IntoIterator<Item = Arc<Cell>>) {
        let now = self.clock.now();
        let mut queue = self.queue.lock();
        for cell in woken {
            queue.push(cell, Ripeness::Fresh, now);
        }
        if queue.permits.has_quick() {
            self.work.notify_one();
        }
    }

    /// Waits for a driver to serve and a permit to do so; `None` when the flow stops.
    pub(crate) fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if self.stopping.load(Ordering::SeqCst) {
                return None;
            }
            let now = self.clock.now();
            queue.ring(now);
            if queue.permits.has_quick()
                && let Some((_, cell)) = queue.scheduler.take(now)
            {
                queue.permits.take_quick();
                if queue.permits.has_quick() && queue.scheduler.has_work() {
                    self.work.notify_one();
                }
                return Some(Job { cell, since: now });
            }
            match queue.scheduler.next_timer() {
                Some(timer) => {
                    self.work.wait_for(&mut queue, timer.saturating_sub(now));
                }
                None => self.work.wait(&mut queue),
            }
        }
    }

    /// Takes a driver without a permit or a thread.
    #[cfg(test)]
    pub(crate) fn poll(&self) -> Option<Job> {
        let now = self.clock.now();
        let mut queue = self.queue.lock();
        queue.ring(now);
        queue.scheduler.take(now).map(|(_, cell)| Job { cell, since: now })
    }

    /// When the next timer runs out.
    #[cfg(test)]
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.queue.lock().scheduler.next_timer()
    }

    /// A turn is over: charges it, and puts the driver where it waits. Wakes nobody: whoever had the turn asks for
    /// the [`Core::next`] one, and wakes another if there is work for two.
    pub(crate) fn finish(&self, job: Job, rest: Rest, used: Option<Used>) {
        let Job { cell, since } = job;
        let now = self.clock.now();
        let mut queue = self.queue.lock();
        let slot = cell.slot();
        let took = now.saturating_sub(since);
        queue.scheduler.charge(slot, used.map_or(took, |used| used.charge(took)));
        if let Some(Used { permit, .. }) = used {
            queue.give_back(slot, permit);
            if permit == Permit::Slow {
                self.slow.notify_one();
            }
        }
        match rest {
            Rest::Ready(ripeness) => {
                cell.requeue();
                queue.push(cell, ripeness, now);
            }
            Rest::Until(until) => {
                cell.set_timer(|old| queue.scheduler.set_timer(old, until, Arc::clone(&cell)));
                queue.rest(&cell, now);
            }
            Rest::Idle => queue.rest(&cell, now),
            Rest::Starved => self.starve(&mut queue, cell, now),
        }
    }

    /// A driver without bytes waits until some are given back. Whoever gives the last ones back sees that one
    /// waits, or this sees that none are taken: each writes its own mark before it reads the other's.
    fn starve(&self, queue: &mut Queue, cell: Arc<Cell>, now: Duration) {
        cell.requeue();
        self.starving.fetch_add(1, Ordering::SeqCst);
        queue.starved.push(cell);
        if self.budget.used() == 0 {
            self.feed(queue, now);
        }
    }

    fn feed(&self, queue: &mut Queue, now: Duration) {
        self.starving.fetch_sub(queue.starved.len(), Ordering::SeqCst);
        for cell in std::mem::take(&mut queue.starved) {
            queue.push(cell, Ripeness::Ripe, now);
        }
    }

    /// A transaction is handed in.
    pub(crate) fn launched(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    /// A transaction of `bytes` is answered.
    pub(crate) fn landed(&self, bytes: usize) {
        self.release(bytes);
        let left = self.in_flight.fetch_sub(1, Ordering::SeqCst) - 1;
        if left == 0 && self.stopping.load(Ordering::SeqCst) {
            drop(self.queue.lock());
            self.drained.notify_all();
        }
    }

    /// Gives bytes of the budget back, and lets those try again that found none.
    pub(crate) fn release(&self, bytes: usize) {
        self.budget.release(bytes);
        if self.starving.load(Ordering::SeqCst) > 0 {
            let now = self.clock.now();
            let mut queue = self.queue.lock();
            self.feed(&mut queue, now);
            if queue.permits.has_quick() {
                self.work.notify_one();
            }
        }
    }

    /// A call runs long: its worker gives its permit back and waits for a slow one. Until it ends, its handler
    /// gets no further permit. Returns how long it waited.
    pub(crate) fn slow(&self, slot: Slot) -> Duration {
        let begun = self.clock.now();
        let mut queue = self.queue.lock();
        queue.turn_slow(slot);
        self.work.notify_one();
        while !queue.permits.take_slow() {
            self.slow.wait(&mut queue);
        }
        self.clock.now().saturating_sub(begun)
    }

    /// No driver is handed out any more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(self.queue.lock());
        self.work.notify_all();
    }

    /// Waits, after the workers have ended, until every transaction is answered; then forgets all drivers.
    pub(crate) fn drain(&self) {
        let mut queue = self.queue.lock();
        while self.in_flight.load(Ordering::SeqCst) > 0 {
            self.drained.wait(&mut queue);
        }
        queue.scheduler.clear();
        queue.starved.clear();
    }
}

impl Queue {
    /// A call of `slot` has ended.
    fn give_back(&mut self, slot: Slot, permit: Permit) {
        self.permits.give_back(permit);
        match permit {
            Permit::Quick => self.scheduler.was_quick(slot),
            Permit::Slow => {
                self.scheduler.release(slot);
                self.scheduler.crowd(self.permits.is_crowded());
            }
        }
    }

    /// A call of `slot` has become slow.
    fn turn_slow(&mut self, slot: Slot) {
        self.permits.turn_slow();
        self.scheduler.hold(slot);
        self.scheduler.crowd(self.permits.is_crowded());
    }

    /// Puts a driver in the queue. The place of a handler that is gone may be another's by now.
    fn push(&mut self, cell: Arc<Cell>, ripeness: Ripeness, now: Duration) {
        if !cell.installed().is_gone() {
            self.scheduler.ready(cell.slot(), cell, ripeness, now);
        }
    }

    /// Wakes the drivers whose timers have run out.
    fn ring(&mut self, now: Duration) {
        while let Some(cell) = self.scheduler.due(now) {
            if cell.wake() {
                self.push(cell, Ripeness::Ripe, now);
            }
        }
    }

    /// Lets a driver rest, unless it was woken during its turn.
    fn rest(&mut self, cell: &Arc<Cell>, now: Duration) {
        if cell.rest() {
            cell.installed().changed();
        } else {
            self.push(Arc::clone(cell), Ripeness::Fresh, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_nothing_is_charged_many_times_over() {
        let millis = Duration::from_millis;
        let used = |worth| Used { permit: Permit::Quick, waited: millis(2), worth };
        assert_eq!(used(Worth::Fair).charge(millis(5)), millis(3));
        assert_eq!(used(Worth::Wasted).charge(millis(5)), millis(3) * limits::WASTE_WEIGHT);
        assert_eq!(used(Worth::Wasted).charge(millis(1)), Duration::ZERO);
    }
}
