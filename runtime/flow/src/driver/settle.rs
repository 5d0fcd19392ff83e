//! What a call comes to: done, tried again, or given up, event by event and as a whole.

use std::time::Duration;

use tidemill_bus::transaction::Progress;
use tidemill_bus::{Batch, Offset};

use super::{Driver, Plan};
use crate::config::{Retry, Then};
use crate::handler::Fault;
use crate::isolation::{Suspicion, part_deadline};
use crate::output::Stop;
use crate::retry::{self, Failed};

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Where the input stands after it.
    pub(crate) progress: Progress,
    /// What becomes of the event that it stopped at.
    pub(crate) ending: Ending,
    /// Attempts made at that event.
    pub(crate) attempts: u32,
}

/// What becomes of an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// None failed.
    Clean,
    /// It is tried again.
    Retry,
    /// It goes to the dead letters.
    DeadLetter,
    /// It is dropped.
    Drop,
    /// The partition stops before it.
    Halt,
    /// Nothing: the version that gives it up is on trial, and it is the version that goes.
    Refused,
}

/// A batch with where the read ended.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    /// The plan that it was read by.
    pub(crate) plan: Plan,
    /// The events, at least one.
    pub(crate) batch: &'a Batch,
    /// The position after it.
    pub(crate) next: Offset,
}

impl Driver {
    /// How long a call with `count` events may run.
    pub(crate) fn deadline(&self, plan: Plan, count: usize, whole: Duration) -> Duration {
        if plan.part { part_deadline(whole, count, self.size.expected(count)) } else { whole }
    }

    /// A call took `elapsed`.
    pub(crate) fn measured(&mut self, batch: &Batch, elapsed: Duration) {
        self.size.measured(batch.len(), batch.columns.byte_len(), elapsed);
    }

    /// A call settled the first `settled` events of the batch, and stopped there if `stop` says so.
    pub(crate) fn settled(
        &mut self,
        taken: Taken<'_>,
        settled: usize,
        stop: Option<&Stop>,
        (retry, now_ms): (&Retry, i64),
    ) -> Settlement {
        self.recovered();
        self.inputs[taken.plan.input].isolation.settled(settled);
        match stop {
            Some(stop) => self.give_way(taken, settled, (&stop.reason, stop.after_ms), (retry, now_ms)),
            None => Settlement {
                progress: Progress { next: taken.next, ..Progress::default() },
                ending: Ending::Clean,
                attempts: 0,
            },
        }
    }

    /// The handler failed a call as a whole. `None`: nothing is to be committed, the driver goes on in parts.
    pub(crate) fn faulted(
        &mut self,
        taken: Taken<'_>,
        fault: &Fault,
        (retry, now_ms): (&Retry, i64),
    ) -> Option<Settlement> {
        self.inputs[taken.plan.input].more = true;
        assert!(!matches!(fault, Fault::Host(_)), "a fault of the host is no event's");
        self.recovered();
        match self.inputs[taken.plan.input].isolation.failed(taken.batch.len()) {
            Suspicion::Halved => None,
            Suspicion::Guilty => Some(self.give_way(taken, 0, (&fault.to_string(), None), (retry, now_ms))),
        }
    }

    /// A call of `plan` could not be made, or not be finished, for `reason`: it is made again later.
    pub(crate) fn put_off(&mut self, plan: Plan, reason: &str, now_ms: i64) {
        self.inputs[plan.input].more = true;
        self.trouble(reason, now_ms);
    }

    /// A call of `plan` is as if it never was, for the version that made it goes.
    pub(crate) fn turned_down(&mut self, plan: Plan) {
        self.inputs[plan.input].more = true;
    }

    /// Event `index` of the batch was not done: it is tried again, or the policy decides.
    fn give_way(
        &mut self,
        taken: Taken<'_>,
        index: usize,
        (reason, after_ms): (&str, Option<u64>),
        (retry, now_ms): (&Retry, i64),
    ) -> Settlement {
        let on_trial = self.is_on_trial();
        let input = &mut self.inputs[taken.plan.input];
        let offset = taken.batch.offset(index);
        let attempts = if index == 0 { taken.plan.attempt } else { 1 };
        let before = Progress { next: offset, attempts, not_before: 0 };
        let behind = if index + 1 < taken.batch.len() { taken.batch.offset(index + 1) } else { taken.next };
        let past = Progress { next: behind, ..Progress::default() };
        input.more = true;
        let (progress, ending) = if attempts < retry.attempts {
            let failed = Failed { driver: self.key, offset, attempts, after_ms };
            let not_before = now_ms.saturating_add(retry::pause_ms(retry, failed));
            (Progress { not_before, ..before }, Ending::Retry)
        } else if on_trial {
            (before, Ending::Refused)
        } else {
            match retry.then {
                Then::DeadLetter => (past, Ending::DeadLetter),
                Then::Drop => (past, Ending::Drop),
                Then::Stop => {
                    input.stopped = Some(format!(
                        "gave up at offset {offset} after {attempts} attempts: {}",
                        crate::dead_letter::bounded(reason)
                    ));
                    (before, Ending::Halt)
                }
            }
        };
        if matches!(ending, Ending::DeadLetter | Ending::Drop) {
            input.isolation.settled(1);
        }
        Settlement { progress, ending, attempts }
    }
}
