//! What a version on trial comes to in this partition: it has proved itself, or it goes and its call never was.

use std::sync::Arc;

use super::Work;
use crate::driver::{Settlement, Taken};
use crate::output::Failure;
use crate::pool::Cell;

impl Work {
    /// The version has had its first commit here; whether it was the last place, others see to.
    pub(super) fn prove(&self, cell: &Cell) {
        let installed = cell.installed();
        cell.prove(self.settings.generation);
        let tried_out = !installed.trial.is_of(self.settings.generation) || installed.unproved() == 0;
        if tried_out && !installed.is_noted(self.settings.handler.version()) {
            cell.core().errands.conclude(Arc::clone(installed));
        }
    }

    /// The version stopped at its first event while it is on trial: the next attempt leaves no record of this one.
    pub(super) fn try_again_unseen(&mut self, cell: &Cell, taken: Taken<'_>, settlement: Settlement) {
        cell.installed().tally.retry();
        self.driver.keep_in_mind(taken.plan, settlement.progress);
        cell.core().release(taken.plan.limit.bytes);
    }

    /// The version fails on trial: nothing of the call is settled, no event is blamed, and no driver of the handler
    /// makes another call until the former version is back.
    pub(super) fn turn_down(&mut self, cell: &Cell, taken: Taken<'_>, reason: &str) {
        let (installed, core) = (cell.installed(), cell.core());
        self.discard();
        self.driver.turned_down(taken.plan);
        core.release(taken.plan.limit.bytes);
        if installed.trial.fail(&self.settings, reason, core.log.now_ms()) {
            core.errands.conclude(Arc::clone(installed));
        }
    }
}

/// Why a call that came back whole speaks against the version that made it: it gave up every event.
pub(super) fn gave_up_all(rejected: &[Failure], settled: usize) -> Option<String> {
    let first = rejected.first().filter(|_| rejected.len() == settled)?;
    Some(format!("gave up all {settled} events of a batch: {}", first.reason))
}
