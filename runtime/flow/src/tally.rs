//! What a handler has done, counted by many threads without a lock. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::driver::Effects;
use crate::handler::Fault;
use crate::status::{Counters, Histogram};

/// The kinds of faults, as [`Fault::kind`] names them.
const KINDS: [&str; 7] = ["error", "trap", "deadline", "memory", "output", "lie", "host"];

/// The counters of one handler.
#[derive(Default)]
pub(crate) struct Tally {
    events_in: AtomicU64,
    events_out: AtomicU64,
    dead_letters: AtomicU64,
    dropped: AtomicU64,
    batches: AtomicU64,
    aborts: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    faults: [AtomicU64; KINDS.len()],
    batch_events: Classes,
    call_us: Classes,
    commit_us: Classes,
}

/// A histogram under way.
#[derive(Default)]
struct Classes {
    classes: [AtomicU64; Histogram::CLASSES],
    sum: AtomicU64,
}

impl Tally {
    /// A call with `events` events took this long.
    pub(crate) fn called(&self, events: usize, elapsed: Duration) {
        self.batches.fetch_add(1, Relaxed);
        self.batch_events.count(events as u64);
        self.call_us.count(micros(elapsed));
    }

    /// A call failed as a whole.
    pub(crate) fn fault(&self, fault: &Fault) {
        let kind = KINDS.iter().position(|kind| *kind == fault.kind()).expect("every kind is listed");
        self.faults[kind].fetch_add(1, Relaxed);
    }

    /// An event will be tried again.
    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Offsets were gone before they were read.
    pub(crate) fn lost(&self, offsets: u64) {
        self.lost.fetch_add(offsets, Relaxed);
    }

    /// A transaction was answered after this long.
    pub(crate) fn answered(&self, elapsed: Duration) {
        self.commit_us.count(micros(elapsed));
    }

    /// A transaction was aborted.
    pub(crate) fn aborted(&self) {
        self.aborts.fetch_add(1, Relaxed);
    }

    /// A transaction is committed.
    pub(crate) fn committed(&self, effects: Effects) {
        self.events_in.fetch_add(effects.events_in, Relaxed);
        self.events_out.fetch_add(effects.events_out, Relaxed);
        if effects.dead_letters + effects.dropped > 0 {
            self.dead_letters.fetch_add(effects.dead_letters, Relaxed);
            self.dropped.fetch_add(effects.dropped, Relaxed);
        }
    }

    /// The counters as they are.
    pub(crate) fn counters(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Counters {
            events_in: of(&self.events_in),
            events_out: of(&self.events_out),
            batches: of(&self.batches),
            aborts: of(&self.aborts),
            retries: of(&self.retries),
            dead_letters: of(&self.dead_letters),
            dropped: of(&self.dropped),
            lost: of(&self.lost),
            faults: KINDS.iter().zip(&self.faults).map(|(kind, count)| (*kind, of(count))).collect(),
            batch_events: self.batch_events.histogram(),
            call_us: self.call_us.histogram(),
            commit_us: self.commit_us.histogram(),
        }
    }
}

impl Classes {
    fn count(&self, number: u64) {
        self.classes[Histogram::class_of(number)].fetch_add(1, Relaxed);
        self.sum.fetch_add(number, Relaxed);
    }

    fn histogram(&self) -> Histogram {
        let classes = std::array::from_fn(|class| self.classes[class].load(Relaxed));
        Histogram { classes, sum: self.sum.load(Relaxed) }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_counted_under_its_name() {
        let text = String::new;
        let faults = [
            Fault::Refused(text()),
            Fault::Trap { message: text(), backtrace: text() },
            Fault::Deadline(Duration::ZERO),
            Fault::Memory { asked: 0, limit: 0 },
            Fault::OutputTooLarge { limit: 0 },
            Fault::Lie(text()),
            Fault::Host(text()),
        ];
        let tally = Tally::default();
        for fault in &faults {
            tally.fault(fault);
        }
        let expected: Vec<_> = faults.iter().map(|fault| (fault.kind(), 1)).collect();
        assert_eq!(tally.counters().faults, expected);
    }
}
