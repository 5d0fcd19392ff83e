//! A batch read and handed to the handler, and what follows its return or its fault.

use std::sync::Arc;

use tidemill_bus::Batch;
use tidemill_bus::transaction::StateWrites;

use super::Work;
use super::commit::Return;
use super::contain::contained;
use super::tried::gave_up_all;
use crate::driver::{Ending, Plan, Taken};
use crate::handler::{Call, Fault};
use crate::outcome::Scatter;
use crate::output::{Output, Stop};
use crate::pool::Cell;
use crate::pool::worker::Worker;

/// What became of a plan to read.
pub(super) enum Read {
    /// There were no bytes for it.
    Starved,
    /// Nothing came of it: ask again.
    Nothing,
    /// A call was made.
    Called,
}

impl Work {
    pub(super) fn read(&mut self, cell: &Arc<Cell>, worker: &mut Worker, plan: Plan) -> Read {
        let core = cell.core();
        let bytes = plan.limit.bytes;
        if !core.budget.reserve(bytes) {
            return Read::Starved;
        }
        let mut batch = std::mem::replace(&mut worker.batch, Batch::new(plan.source));
        batch.reset(plan.source);
        let read = match core.log.read(plan.source, plan.from, plan.limit, &mut batch) {
            Ok(end) => {
                self.driver.read(plan, batch.len(), end);
                if batch.is_empty() {
                    core.release(bytes);
                    Read::Nothing
                } else {
                    self.call(cell, worker, Taken { plan, batch: &batch, next: end.next });
                    Read::Called
                }
            }
            Err(error) => {
                let lost = self.driver.read_failed(plan, &error, core.log.now_ms());
                cell.installed().tally.lost(lost);
                core.release(bytes);
                Read::Nothing
            }
        };
        worker.batch = batch;
        read
    }

    /// Calls the handler, and commits what comes of it.
    fn call(&mut self, cell: &Arc<Cell>, worker: &mut Worker, taken: Taken<'_>) {
        if let Err(fault) = contained(|| self.instantiate(worker)) {
            // Without an instance there is no call, and no event to blame, whoever is at fault.
            let reason = format!("cannot be instantiated: {fault}");
            if self.is_to_blame(&fault) {
                cell.installed().tally.fault(&fault);
                worker.pace.wasted();
                return self.turn_down(cell, taken, &reason);
            }
            return self.put_off(cell, taken, &fault, &reason);
        }
        let result = contained(|| {
            self.process(cell, worker, taken).and_then(|output| self.judge(cell, worker, taken, output))
        });
        match result {
            Ok(returned) => self.settle(cell, returned),
            Err(fault @ Fault::Host(_)) => {
                // A panic may have left the tables half filled.
                worker.scatter = Scatter::default();
                self.put_off(cell, taken, &fault, &fault.to_string());
            }
            Err(fault) => {
                worker.pace.wasted();
                self.suspect(cell, taken, &fault);
            }
        }
    }

    /// A call came back whole: `settled` events are done, and it stopped there if `stop` says so.
    fn settle(&mut self, cell: &Arc<Cell>, (back, stop, settled): (Return<'_>, Option<Stop>, usize)) {
        let (taken, now_ms) = (back.taken, cell.core().log.now_ms());
        if self.driver.is_on_trial()
            && let Some(reason) = gave_up_all(&back.rejected, settled)
        {
            return self.turn_down(cell, taken, &reason);
        }
        let policy = self.settings.config.retry;
        let settlement = self.driver.settled(taken, settled, stop.as_ref(), (&policy, now_ms));
        let reason = stop.map(|stop| stop.reason).unwrap_or_default();
        match settlement.ending {
            Ending::Refused => self.turn_down(cell, taken, &format!("stopped too often: {reason}")),
            Ending::Retry if settled == 0 && self.driver.is_on_trial() => {
                self.try_again_unseen(cell, taken, settlement);
            }
            _ => self.commit(cell, back, settlement, (settled, "stopped", &reason)),
        }
    }

    /// The guest failed the call as a whole: an event of it is at fault, or the version.
    fn suspect(&mut self, cell: &Arc<Cell>, taken: Taken<'_>, fault: &Fault) {
        cell.installed().tally.fault(fault);
        if self.is_to_blame(fault) {
            return self.turn_down(cell, taken, &fault.to_string());
        }
        if !fault.keeps_instance() {
            self.discard();
        }
        let policy = self.settings.config.retry;
        let Some(settlement) = self.driver.faulted(taken, fault, (&policy, cell.core().log.now_ms())) else {
            return cell.core().release(taken.plan.limit.bytes);
        };
        let back = Return { taken, blocks: Vec::new(), rejected: Vec::new(), state: StateWrites::default() };
        self.commit(cell, back, settlement, (0, fault.kind(), &fault.to_string()));
    }

    /// Whether a fault is one of the version rather than of an event.
    fn is_to_blame(&self, fault: &Fault) -> bool {
        self.driver.is_on_trial() && !matches!(fault, Fault::Host(_))
    }

    /// Makes an instance if there is none.
    fn instantiate(&mut self, worker: &Worker) -> Result<(), Fault> {
        if self.instance.is_none() {
            let pace = Arc::clone(&worker.pace) as _;
            self.instance = Some(self.settings.handler.instantiate_at(self.driver.key(), pace)?);
        }
        Ok(())
    }

    /// The call is as if it never was: nothing is settled, no event is blamed, and it is tried again later.
    pub(super) fn put_off(&mut self, cell: &Cell, taken: Taken<'_>, fault: &Fault, reason: &str) {
        cell.installed().tally.fault(fault);
        self.discard();
        self.driver.put_off(taken.plan, reason, cell.core().log.now_ms());
        cell.core().release(taken.plan.limit.bytes);
    }

    /// Throws the instance away. One that panicked may do so again; what it then keeps of the host is lost.
    pub(super) fn discard(&mut self) {
        let instance = self.instance.take();
        let _ = contained(|| {
            drop(instance);
            Ok(())
        });
    }

    fn process(&mut self, cell: &Cell, worker: &Worker, taken: Taken<'_>) -> Result<Output, Fault> {
        let Taken { plan, batch, .. } = taken;
        let asked = Call {
            batch,
            topic: &self.driver.inputs()[plan.input].topic.name,
            attempt: plan.attempt,
            deadline: self.driver.deadline(plan, batch.len(), self.settings.config.limits.deadline),
            state: Arc::clone(&self.layers) as _,
            pace: Arc::clone(&worker.pace) as _,
        };
        let instance = self.instance.as_mut().expect("a call comes after its instance");
        let (begun, waited) = (cell.core().clock.now(), worker.pace.waited());
        let result = instance.process(asked);
        // Waiting for a slow permit is no work.
        let waited = worker.pace.waited().saturating_sub(waited);
        let elapsed = cell.core().clock.now().saturating_sub(begun + waited);
        cell.installed().tally.called(batch.len(), elapsed);
        if result.is_ok() {
            self.driver.measured(batch, elapsed);
        }
        result
    }
}
